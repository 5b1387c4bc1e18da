"""python -m pg_test.bench.cancel [exports [words...]]: how long an export goes on after pg_cancel_backend.

Exports are cancelled at random moments: every function, with each codec and level, of a million ordinary rows, of texts
of 300 MB, of rows of 1,500 columns, and of arrays. Printed are the median and the longest time until the error is
there, and the most that the backend ran on a processor meanwhile, which other load on the machine does not change. The
words, if there are any, choose the cases whose line has them all.
"""

import random
import statistics
import sys
import threading
import time
from pathlib import Path

import psycopg

from ..lab import places, postgres
from ..lab.server import Server

PARQUET = (
    "none",
    "snappy",
    "lz4_raw",
    "gzip:1",
    "gzip:9",
    "brotli:1",
    "brotli:11",
    "zstd:1",
    "zstd:9",
    "zstd:11",
    "zstd:19",
    "zstd:22",
)
ARROW = ("none", "lz4", "zstd:1", "zstd:9", "zstd:19", "zstd:22")
COLUMNS = 1500
TABLES = {
    "rows": [
        (
            "CREATE TABLE rows AS SELECT i, i * 1.25 AS n, md5(i::text) AS s, "
            "now() + i * interval '1 s' AS ts FROM generate_series(1, 1000000) i"
        )
    ],
    "texts": [
        "CREATE UNLOGGED TABLE texts (a text)",
        "ALTER TABLE texts ALTER a SET STORAGE EXTERNAL",
        "INSERT INTO texts SELECT string_agg(md5(i::text), '') FROM generate_series(1, 9400000) i",
        "INSERT INTO texts SELECT a FROM texts",
    ],
    "wide": [
        f"CREATE TABLE wide ({', '.join(f'c{n} int4' for n in range(COLUMNS))})",
        f"INSERT INTO wide SELECT {', '.join(f'i * {n}' for n in range(COLUMNS))} FROM generate_series(1, 20000) i",
    ],
    "arrays": [
        (
            "CREATE TABLE arrays AS SELECT ARRAY[md5(i::text), md5((-i)::text), "
            "i::text] AS a FROM generate_series(1, 500000) i"
        )
    ],
}


def cases():
    """What is printed of each, and the call."""
    for table in TABLES:
        for scan in ("heap", "copy_binary"):
            for workers in (0, 2):
                for codec in PARQUET:
                    yield (
                        f"parquet {table} {scan} {codec} workers {workers}",
                        (
                            f"export_table_parquet('{table}', '{{0}}/t.parquet', overwrite => true, "
                            f"scan => '{scan}', compression => '{codec}', workers => {workers})"
                        ),
                    )
                for codec in ARROW:
                    yield (
                        f"arrow {table} {scan} {codec} workers {workers}",
                        (
                            f"export_table_arrow('{table}', '{{0}}/t.arrow', overwrite => true, scan => '{scan}', "
                            f"compression => '{codec}', workers => {workers})"
                        ),
                    )
        for codec in PARQUET:
            yield (
                f"query parquet {table} {codec}",
                (
                    f"export_query_parquet('SELECT * FROM {table}', '{{0}}/t.parquet', overwrite => true, "
                    f"compression => '{codec}')"
                ),
            )
        for codec in ARROW:
            yield (
                f"query arrow {table} {codec}",
                (
                    f"export_query_arrow('SELECT * FROM {table}', '{{0}}/t.arrow', overwrite => true, "
                    f"compression => '{codec}')"
                ),
            )
        for workers in (0, 2):
            yield (
                f"dump {table} workers {workers}",
                f"copy_binary_dump('{table}', '{{0}}/t.copy', overwrite => true, workers => {workers})",
            )


def processor(pid):
    """Milliseconds that a process has run on processors."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def cancelled(server, call, after):
    """Milliseconds from the cancel to the error, by the clock and of a processor; None when the export was quicker."""
    with server.connect() as connection, server.connect() as other:
        connection.execute("LOAD 'pg_strata'")
        pid, before = connection.info.backend_pid, []

        def cancel():
            time.sleep(after)
            before.extend([time.perf_counter(), processor(pid)])
            other.execute("SELECT pg_cancel_backend(%s)", (pid,))

        thread = threading.Thread(target=cancel)
        thread.start()
        try:
            connection.execute(f"SELECT {call}")
            return None
        except psycopg.errors.QueryCanceled:
            return (time.perf_counter() - before[0]) * 1000, processor(pid) - before[1]
        finally:
            thread.join()


def main(exports="20", *words):
    chance = random.Random(1)
    with Server(postgres.chosen(), "cancel") as server:
        directory = places.fresh(places.TARGET / "cancel", 0o777)
        chosen = [case for case in cases() if all(word in case[0].split() for word in words)]
        with server.connect() as connection:
            connection.execute("CREATE EXTENSION pg_strata")
            for table, statements in TABLES.items():
                if any(table in name.split() for name, _ in chosen):
                    for statement in statements:
                        connection.execute(statement)
        for name, call in chosen:
            call, longest = call.format(directory), 2.0
            times = []
            for _ in range(int(exports)):
                found = cancelled(server, call, chance.uniform(0.02, longest))
                # A slow export is cancelled later and later, to see its end too.
                longest = max(0.1, longest / 2) if found is None else min(8, longest * 1.3)
                times += [found] if found else []
            if not times:
                print(f"{name:<44} none was cancelled", flush=True)
                continue
            walls, processors = zip(*times)
            print(
                f"{name:<44} {len(times):>3} cancelled: median {statistics.median(walls):.0f} ms, "
                f"longest {max(walls):.0f} ms, "
                f"on a processor {max(processors):.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
