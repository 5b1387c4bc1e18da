"""A hot standby exports as its primary does, and says what it cannot."""

import psycopg
import pytest

from ..helpers import every_type
from ..helpers.support import SCANS, Background, copy_binary, entries, eventually, export, export_and_check, raises
from ..lab.server import Standby


@pytest.fixture(scope="module")
def standby(server):
    with Standby(server, "standby") as standby:
        yield standby


@pytest.fixture
def reader(standby, db):
    """Opens connections to the standby that see the test's schema as it is on the primary now."""
    opened = []

    def connect():
        standby.catch_up()
        connection = standby.connect()
        connection.execute(f"SET search_path = {db.schema}, public")
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("target", ["t.parquet", "parts"])
def test_every_type(db, reader, out, target, scan, workers):
    db.execute(every_type.TYPES)
    cases = [case for family in every_type.FAMILIES.values() for case in family]
    every_type.create(db, "t", cases, repeat=60)
    db.execute("DELETE FROM t WHERE c_int2 = 1; UPDATE t SET c_text = repeat(c_text, 3000) WHERE c_int2 = -1")
    connection = reader()
    assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    result = export_and_check(
        connection,
        "t",
        out / target,
        scan=scan,
        workers=workers,
        row_group_rows=200,
        ordered=target.endswith("parquet"),
    )
    assert result.workers == workers
    assert result.rows == db.execute("SELECT count(*) FROM t").fetchone()[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_copy_binary_dump(db, reader, out, workers):
    db.execute("CREATE TABLE t AS SELECT i, i / 7.0 AS n, repeat('x', i % 50) AS s FROM generate_series(1, 20000) i")
    connection = reader()
    connection.execute("SELECT * FROM copy_binary_dump('t', %s, %s)", (str(out / "t.bin"), workers))
    assert (out / "t.bin").read_bytes() == copy_binary(connection, "t")


@pytest.mark.parametrize("workers", [0, 2])
def test_what_the_primary_does_meanwhile_is_not_in_the_file(db, reader, out, workers):
    """A snapshot of the standby holds while replay goes on."""
    db.execute("CREATE TABLE t AS SELECT i, 'old' AS s FROM generate_series(1, 5000) i")
    connection = reader()
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t")
    db.execute("UPDATE t SET s = 'new'; INSERT INTO t SELECT -i, 'new' FROM generate_series(1, 500) i")
    other = reader()
    assert other.execute("SELECT count(*) FROM t WHERE s = 'new'").fetchone() == (5500,)
    assert export_and_check(connection, "t", out / "t.parquet", workers=workers).rows == 5000
    connection.execute("COMMIT")
    assert export_and_check(connection, "t", out / "t.parquet", workers=workers, overwrite=True).rows == 5500


@pytest.mark.parametrize("table", ["t", "parent"])
def test_unlogged_table(db, reader, out, table):
    """A standby has no rows of it: an error, never an empty file."""
    db.execute("""CREATE UNLOGGED TABLE t AS SELECT i FROM generate_series(1, 500) i; CREATE TABLE parent (i int);
        CREATE UNLOGGED TABLE child () INHERITS (parent)""")
    with raises("0A000") as caught:
        export(reader(), table, out / "t.parquet")
    assert "recovery" in caught.value.diag.message_primary
    assert entries(out) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_conflict_with_recovery(standby, db, reader, out, workers):
    """The primary removes rows that the export's snapshot still sees: PostgreSQL's own error, and no file."""
    db.execute("CREATE TABLE t AS SELECT md5(i::text) AS a, md5((-i)::text) AS b FROM generate_series(1, 500000) i")
    db.execute("CREATE TABLE busy AS SELECT i FROM generate_series(1, 500) i")
    connection = reader()
    connection.execute("ALTER SYSTEM SET max_standby_streaming_delay = 0")
    connection.execute("SELECT pg_reload_conf()")
    call = Background(lambda: export(connection, "t", out / "t.parquet", workers=workers, compression="gzip:9"))
    eventually(lambda: entries(out) or call.ended)
    db.execute("DELETE FROM busy")
    db.execute("VACUUM busy")
    with pytest.raises(psycopg.errors.SerializationFailure, match="conflict with recovery"):
        call.result()
    eventually(lambda: entries(out) == [])
    # Another session: while its workers end, PostgreSQL may end the first one too.
    connection = reader()
    connection.execute("ALTER SYSTEM RESET max_standby_streaming_delay")
    connection.execute("SELECT pg_reload_conf()")
    assert export(connection, "busy", out / "t.parquet", workers=workers).rows == 0
