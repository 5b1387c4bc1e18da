"""Exports that wait for a lock see what its holder has committed, as SELECT does; older snapshots are refused."""

import pyarrow as pa
import pytest

from ..helpers import oracle
from ..helpers.foreign import foreign, write
from ..helpers.support import SCANS, Background, eventually, export, raises

pytestmark = pytest.mark.fast

PLAIN = "CREATE TABLE t AS SELECT i AS a, i * 1.5 AS b FROM generate_series(1, 1000) i"
PARTITIONED = """CREATE TABLE t (a int, b numeric) PARTITION BY RANGE (a);
    CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (501);
    CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (501) TO (2001);
    INSERT INTO t SELECT i, i * 1.5 FROM generate_series(1, 1000) i"""
SUBPARTITIONED = (
    PARTITIONED
    + """; CREATE TABLE t3 PARTITION OF t FOR VALUES FROM (2001) TO (3001) PARTITION BY RANGE (a);
    CREATE TABLE t3a PARTITION OF t3 FOR VALUES FROM (2001) TO (2501);
    INSERT INTO t SELECT i, 0 FROM generate_series(2001, 2300) i"""
)
INHERITED = PLAIN + "; CREATE TABLE c () INHERITS (t); INSERT INTO c SELECT -i, i FROM generate_series(1, 300) i"
MORE = "SELECT i, i FROM generate_series(1001, 1500) i"
CHANGES = {
    "rewritten": (PLAIN, "ALTER TABLE t ALTER b TYPE text"),
    "reloaded": (PLAIN, f"TRUNCATE t; INSERT INTO t {MORE}"),
    "unlogged": (PLAIN, "ALTER TABLE t SET UNLOGGED"),
    "inserted": (PLAIN, f"LOCK TABLE t; INSERT INTO t {MORE}"),
    "partition reloaded": (PARTITIONED, f"TRUNCATE t2; INSERT INTO t {MORE}"),
    "partition rewritten": (PARTITIONED, "ALTER TABLE t2 SET UNLOGGED"),
    "sub-partition reloaded": (
        SUBPARTITIONED,
        "TRUNCATE t3a; INSERT INTO t SELECT i, 7 FROM generate_series(2100, 2499) i",
    ),
    "partition attached": (
        PARTITIONED,
        "LOCK TABLE t; CREATE TABLE t3 PARTITION OF t FOR VALUES FROM (2001) TO (3001);"
        "INSERT INTO t SELECT i, i FROM generate_series(2500, 2600) i",
    ),
    "partition detached": (PARTITIONED, "ALTER TABLE t DETACH PARTITION t1"),
    "partition dropped": (PARTITIONED, "DROP TABLE t1"),
    "child reloaded": (INHERITED, "TRUNCATE c; INSERT INTO c SELECT i, i FROM generate_series(1, 77) i"),
    "child added": (INHERITED, "LOCK TABLE t; CREATE TABLE d () INHERITS (t); INSERT INTO d VALUES (7, 7)"),
    "child dropped": (INHERITED, "LOCK TABLE t; DROP TABLE c"),
    "row added and moved": (
        PARTITIONED,
        "LOCK TABLE t2; INSERT INTO t VALUES (1999, 1); UPDATE t SET a = 1998 WHERE a = 5",
    ),
}


def waiting(db, connection):
    pid = connection.info.backend_pid
    return lambda: db.execute("SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted", (pid,)).fetchone()[0]


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("change", CHANGES)
def test_an_export_that_waited_sees_all(db, again, out, change, scan):
    prepare, statement = CHANGES[change]
    db.execute(prepare)
    holder, exporter = again(), again()
    holder.execute(f"BEGIN; {statement}")
    call = Background(lambda: export(exporter, "t", out / "t.parquet", scan=scan, workers=2))
    eventually(waiting(db, exporter))
    holder.execute("COMMIT")
    assert call.result().rows == db.execute("SELECT count(*) FROM t").fetchone()[0]
    oracle.check(db, "t", out / "t.parquet", ordered=False)


@pytest.mark.parametrize("call", ["SELECT rows FROM copy_binary_dump('t')", "SELECT rows FROM decode_table('t')"])
def test_other_functions_that_waited_see_all(db, again, call):
    db.execute(PLAIN)
    holder, other = again(), again()
    holder.execute(f"BEGIN; TRUNCATE t; INSERT INTO t {MORE}")
    called = Background(lambda: other.execute(call).fetchone()[0])
    eventually(waiting(db, other))
    holder.execute("COMMIT")
    assert called.result() == 500


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("change", [change for change in CHANGES if change not in ("inserted", "row added and moved")])
def test_a_snapshot_older_than_the_storage_is_an_error(db, again, out, change, level):
    prepare, statement = CHANGES[change]
    db.execute(prepare)
    other = again()
    other.execute(f"BEGIN ISOLATION LEVEL {level}")
    other.execute("SELECT 1")
    db.execute(f"BEGIN; {statement}; COMMIT")
    with raises("40001"):
        export(other, "t", out / "t.parquet")
    other.execute("ROLLBACK")
    assert list(out.iterdir()) == []
    other.execute(f"BEGIN ISOLATION LEVEL {level}")
    export(other, "t", out / "t.parquet")
    other.execute("COMMIT")
    oracle.check(db, "t", out / "t.parquet", ordered=False)


def test_a_materialized_view_refreshed_since_the_snapshot(db, again, out):
    db.execute("CREATE MATERIALIZED VIEW m AS SELECT i AS a FROM generate_series(1, 10) i")
    other = again()
    other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    other.execute("SELECT 1")
    db.execute("REFRESH MATERIALIZED VIEW m")
    with raises("40001"):
        export(other, "m", out / "m.parquet")
    other.execute("ROLLBACK")


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_kept_snapshot_sees_its_own_rows_and_no_later_ones(db, again, out, level):
    """Rows of others are left out as SELECT leaves them out; what the transaction itself rewrites is no error."""
    db.execute(PARTITIONED)
    other = again()
    other.execute(f"BEGIN ISOLATION LEVEL {level}")
    other.execute("SELECT 1")
    db.execute(f"INSERT INTO t {MORE}")
    other.execute(
        "TRUNCATE t2; INSERT INTO t VALUES (600, 1); ALTER TABLE t1 SET UNLOGGED; "
        "CREATE TABLE t3 PARTITION OF t DEFAULT; INSERT INTO t VALUES (-1, 0)"
    )
    assert export(other, "t", out / "t.parquet", workers=2).rows == 502
    oracle.check(other, "t", out / "t.parquet", ordered=False)
    other.execute("ROLLBACK")


def test_rows_of_the_same_statement_stay_out_and_those_before_are_in(db, out):
    """The newer snapshot is this transaction's as much as the statement's was."""
    db.execute(PLAIN)
    with db.transaction():
        db.execute("INSERT INTO t VALUES (-1, 0)")
        assert export(db, "t", out / "t.parquet", workers=2).rows == 1001
    db.execute(
        f"DO $$ BEGIN INSERT INTO t VALUES (-2, 0); PERFORM export_table_parquet('t', '{out}/u.parquet'); "
        "BEGIN PERFORM export_table_parquet('t', 'relative'); EXCEPTION WHEN invalid_name THEN NULL; END; "
        f"INSERT INTO t VALUES (-3, 0); PERFORM export_table_parquet('t', '{out}/v.parquet'); END $$"
    )
    assert [oracle.read_pyarrow(out / name).num_rows for name in ("u.parquet", "v.parquet")] == [1002, 1003]


def test_a_table_that_is_dropped_meanwhile(db, again, out):
    db.execute(PLAIN)
    holder, exporter = again(), again()
    holder.execute("BEGIN; DROP TABLE t")
    call = Background(lambda: export(exporter, "t", out / "t.parquet"))
    eventually(waiting(db, exporter))
    holder.execute("COMMIT")
    with raises("42P01") as caught:
        call.result()
    assert '"t"' in caught.value.diag.message_primary and list(out.iterdir()) == []


@pytest.mark.parametrize(
    "change, expected",
    [
        ("ALTER FOREIGN TABLE f OPTIONS (SET file '{out}/new.parquet')", [(2,)]),
        ("ALTER FOREIGN TABLE f ALTER a OPTIONS (field 'b')", [(7,)]),
    ],
)
def test_a_foreign_table_that_is_changed_meanwhile(db, again, out, change, expected):
    """A query, prepared or not, that waited for the change reads what the table is then."""
    write(out / "old.parquet", pa.table({"a": [1], "b": [7]}))
    write(out / "new.parquet", pa.table({"a": [2], "b": [8]}))
    foreign(db, "f", "a int8", file=out / "old.parquet")
    plain, prepared = again(), again()
    prepared.execute("SET plan_cache_mode = force_generic_plan; PREPARE q AS SELECT a FROM f")
    assert prepared.execute("EXECUTE q").fetchall() == [(1,)]
    db.execute("BEGIN")
    db.execute(change.format(out=out))
    calls = [
        Background(lambda: plain.execute("SELECT a FROM f").fetchall()),
        Background(lambda: prepared.execute("EXECUTE q").fetchall()),
    ]
    other = again()
    for connection in (plain, prepared):
        eventually(waiting(other, connection))
    db.execute("COMMIT")
    assert [call.result() for call in calls] == [expected, expected]
