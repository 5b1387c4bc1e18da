"""Large values and slow codecs: the right bytes, in little more memory than the values take themselves."""

import hashlib
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from ..helpers.support import export_and_check
from ..lab import places
from ..lab.server import Server

MEGABYTES = 70
BYTES = MEGABYTES << 20
# The value as it is read and as it is encoded, what was compressed of it, buffers of up to 64 MB that are kept, and the
# process itself.
MOST = {"heap": 4.2 * MEGABYTES, "copy_binary": 4.9 * MEGABYTES}


@pytest.fixture(scope="module")
def large(installation):
    """A server of few shared buffers, which count as a backend's memory once it has touched them; a table of texts that
    compress by half, and what md5 says of them."""
    with Server(installation, "large", shared_buffers="16MB") as server:
        with server.connect() as connection:
            connection.execute("CREATE EXTENSION pg_strata")
            connection.execute(
                "CREATE UNLOGGED TABLE large (i int, a text); ALTER TABLE large ALTER a SET STORAGE EXTERNAL"
            )
            connection.execute(
                "INSERT INTO large SELECT 1, left(string_agg(md5(i::text), ''), %s) FROM generate_series(1, %s) i",
                (BYTES, BYTES // 32 + 1),
            )
            connection.execute("INSERT INTO large SELECT n, right(a, -n) || n FROM large, generate_series(2, 4) n")
            connection.execute("UPDATE large SET a = NULL WHERE i = 3")
            connection.execute("VACUUM FULL large")
            expected = connection.execute("SELECT i, md5(a) FROM large ORDER BY ctid").fetchall()
        yield server, expected


def peak_mb(server, statement):
    """Of a new backend that runs it."""
    with server.connect() as connection:
        connection.execute(statement)
        status = Path(f"/proc/{connection.info.backend_pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def hashes(table):
    digest = lambda value: hashlib.md5(value.as_buffer()).hexdigest() if value.is_valid else None
    return [(i.as_py(), digest(a)) for i, a in zip(table["i"], table["a"])]


@pytest.fixture
def directory():
    return places.fresh(places.scratch("out", "large"), 0o777)


@pytest.mark.parametrize(
    "codec, scan",
    [
        *((codec, "heap") for codec in ("none", "snappy", "lz4_raw", "zstd:1")),
        ("none", "copy_binary"),
        ("zstd:1", "copy_binary"),
    ],
)
def test_parquet(large, directory, codec, scan):
    server, expected = large
    path = directory / "t.parquet"
    peak = peak_mb(
        server,
        f"SELECT export_table_parquet('large', '{path}', compression => '{codec}', scan => '{scan}', workers => 0)",
    )
    assert hashes(pq.read_table(path)) == expected
    assert duckdb.sql(f"SELECT i, md5(a) FROM '{path}'").fetchall() == expected
    assert peak < MOST[scan], f"{peak} MB"


@pytest.mark.parametrize(
    "codec, scan",
    [("none", "heap"), ("lz4", "heap"), ("zstd:1", "heap"), ("none", "copy_binary"), ("lz4", "copy_binary")],
)
def test_arrow(large, directory, codec, scan):
    server, expected = large
    path = directory / "t.arrow"
    peak = peak_mb(
        server,
        f"SELECT export_table_arrow('large', '{path}', compression => '{codec}', scan => '{scan}', workers => 0)",
    )
    assert hashes(pa.ipc.open_file(path).read_all()) == expected
    assert peak < MOST[scan], f"{peak} MB"


def test_dump(large, directory):
    server, expected = large
    path = directory / "t.copy"
    peak = peak_mb(server, f"SELECT copy_binary_dump('large', '{path}', workers => 0)")
    with server.connect() as connection:
        connection.execute(f"CREATE TEMP TABLE back (LIKE large); COPY back FROM '{path}' (FORMAT BINARY)")
        assert connection.execute("SELECT i, md5(a) FROM back ORDER BY ctid").fetchall() == expected
    assert peak < MOST["copy_binary"], f"{peak} MB"


@pytest.mark.parametrize("codec", ["zstd:13", "zstd:19", "zstd:22", "brotli:9", "brotli:11", "gzip:9"])
def test_slow_codecs(db, out, codec):
    """What is compressed in steps is read by all."""
    db.execute("""CREATE TABLE t AS SELECT i, md5(i::text) || md5((i * 7)::text) AS a, ARRAY[i, NULL, i * 5] AS l
                  FROM generate_series(1, 6000) i""")
    export_and_check(db, "t", out / "t.parquet", compression=codec)
    with db.cursor() as cursor:
        assert cursor.execute(
            f"SELECT count(*) FROM read_parquet('{out}/t.parquet') AS f(i int, a text, l int[]) JOIN t USING (i, a, l)"
        ).fetchone() == (6000,)
