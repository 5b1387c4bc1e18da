"""Who exports: a name, a codec, and a call that returns what it took."""

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Callable

import pyarrow.parquet as pq

from ..lab import build, places
from .memory import Peak, with_parallel_workers


@dataclass(frozen=True)
class Contestant:
    name: str
    codec: str  # empty: writes no file
    run: Callable  # (table, file) -> Run
    ours: bool = False

    @property
    def label(self):
        return f"{self.name}, {self.codec}" if self.codec else self.name


@dataclass(frozen=True)
class Run:
    seconds: float
    peak_mb: float


def statement(server, sql):
    """A call that times one SQL statement, from connecting on."""

    def run(table, file):
        began = time.perf_counter()
        with server.connect() as connection:
            backend = connection.info.backend_pid
            with Peak(lambda: with_parallel_workers(server.process.pid, backend)) as peak:
                connection.execute(sql.format(table=table, file=file))
                seconds = time.perf_counter() - began
        return Run(seconds, peak.mb)

    return run


def process(command):
    """A call that runs a peer's process; its last line of output may be the seconds that count."""

    def run(table, file):
        began = time.perf_counter()
        with subprocess.Popen(
            [*map(str, command(table, file))], stdout=subprocess.PIPE, text=True, cwd=places.ROOT
        ) as child:
            with Peak(lambda: [child.pid]) as peak:
                output = child.stdout.read().split()
        if child.returncode != 0:
            raise RuntimeError(f"exit status {child.returncode}")
        return Run(float(output[-1]) if output else time.perf_counter() - began, peak.mb)

    return run


def ours(server):
    for scan in ("heap", "copy_binary"):
        for codec in ("zstd", "snappy"):
            sql = (
                f"SELECT * FROM export_table_parquet('{{table}}', '{{file}}', "
                f"compression => '{codec}', scan => '{scan}', "
                "workers => 1, overwrite => true)"
            )
            yield Contestant(f"pg_strata {scan}", codec, statement(server, sql), ours=True)


def python_peers(server):
    for name, codecs in (("duckdb", ("zstd", "snappy")), ("adbc", ("zstd",)), ("connectorx", ("zstd",))):
        for codec in codecs:
            command = lambda table, file, name=name, codec=codec: [
                sys.executable,
                "-m",
                "pg_test.bench.peer",
                name,
                codec,
                table,
                file,
                server.dsn(),
                server.uri(),
            ]
            label = {"duckdb": "DuckDB", "adbc": "ADBC + pyarrow", "connectorx": "connectorx + pyarrow"}[name]
            yield Contestant(label, codec, process(command))


def pg2parquet(server):
    """crates.io's pg2parquet: minutes of compilation, so only when asked for."""
    program = build.TOOLS / "bin" / "pg2parquet"
    if not program.exists():
        places.say("building pg2parquet")
        subprocess.run(["cargo", "install", "--locked", "--root", str(build.TOOLS), "pg2parquet"], check=True)
    command = lambda table, file: [
        "env",
        "PGPASSWORD=none",
        program,
        "export",
        "--quiet",
        "--host",
        "127.0.0.1",
        "--port",
        server.port,
        "--user",
        "postgres",
        "--dbname",
        "postgres",
        "--table",
        table,
        "--compression",
        "zstd",
        "--output-file",
        file,
    ]
    yield Contestant("pg2parquet", "zstd", process(command))


def in_server(server):
    with server.connect() as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM pg_available_extensions")}
        if "pg_parquet" in names:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_parquet")
            for codec in ("zstd", "snappy"):
                yield Contestant(
                    "pg_parquet",
                    codec,
                    statement(server, f"COPY {{table}} TO '{{file}}' (FORMAT parquet, COMPRESSION '{codec}')"),
                )
    yield Contestant("COPY BINARY to /dev/null", "", statement(server, "COPY {table} TO '/dev/null' (FORMAT BINARY)"))


def own_stream(server):
    """Our COPY BINARY loop alone, in one process: without a path the stream is only counted."""
    yield Contestant(
        "pg_strata COPY BINARY loop", "", statement(server, "SELECT * FROM copy_binary_dump('{table}', workers => 0)")
    )


def all_of(server, peers):
    """Everyone, ours first; without the extension (to try the harness) only the peers."""
    with server.connect() as connection:
        present = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'pg_strata'").fetchone()
    found = [*ours(server), *own_stream(server)] if present else []
    found += [*python_peers(server), *in_server(server)]
    return [*found, *pg2parquet(server)] if peers == "all" else found


def clear(file):
    shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)


def numeric_became(file, column):
    """What the file makes of a numeric column."""
    kind = pq.read_schema(file).field(column).type
    kind = str(getattr(kind, "storage_type", kind))
    return {"double": "DOUBLE", "string": "STRING", "large_string": "STRING"}.get(
        kind, kind.replace("decimal128", "DECIMAL").replace(", ", ",")
    )
