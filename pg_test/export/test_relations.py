"""What can be named: partitions, inheritance, views, temporary tables, the caller's own rows."""

import json

import pytest

from ..helpers.support import SCANS, entries, export, export_and_check, raises

pytestmark = pytest.mark.fast

WORKERS = pytest.mark.parametrize("workers", [0, 2])
ON_EACH_SCAN = pytest.mark.parametrize("scan", SCANS)

PARTITIONED = """
CREATE TABLE t (id int NOT NULL, k text, n numeric, at date) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF t FOR VALUES FROM (0) TO (1000);
CREATE TABLE p2 (at date, gone int, n numeric, k text, id int NOT NULL);
ALTER TABLE p2 DROP gone;
ALTER TABLE t ATTACH PARTITION p2 FOR VALUES FROM (1000) TO (2000);
CREATE TABLE p3 PARTITION OF t FOR VALUES FROM (2000) TO (9000) PARTITION BY LIST (k);
CREATE TABLE p3a PARTITION OF p3 FOR VALUES IN ('a', 'b');
CREATE TABLE p3rest (k text, at date, id int NOT NULL, n numeric);
ALTER TABLE p3 ATTACH PARTITION p3rest DEFAULT;
CREATE TABLE empty PARTITION OF t FOR VALUES FROM (9000) TO (9001);
INSERT INTO t SELECT i, chr(97 + i % 4), i / 4.0, date '2026-01-01' + i FROM generate_series(0, 5000) i;
"""


@WORKERS
@ON_EACH_SCAN
@pytest.mark.parametrize("target", ["t.parquet", "parts"])
def test_partitions_with_other_column_orders(db, out, workers, scan, target):
    """By the parent's name; partitions whose attributes lie in another order and have dropped columns."""
    db.execute(PARTITIONED)
    export_and_check(db, "t", out / target, ordered=False, scan=scan, workers=workers)


def test_one_partition_and_a_subtree(db, out):
    db.execute(PARTITIONED)
    export_and_check(db, "p2", out / "p2.parquet")
    export_and_check(db, "p3", out / "p3.parquet", ordered=False)


def test_partitioned_table_without_partitions(db, out):
    db.execute("CREATE TABLE t (id int, n numeric) PARTITION BY HASH (id)")
    export_and_check(db, "t", out / "t.parquet")


@WORKERS
def test_partitions_of_foreign_kind_are_named_in_the_error(db, out, workers):
    """A foreign table as partition cannot be scanned: never skipped in silence."""
    db.execute(
        PARTITIONED
        + """CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
        CREATE FOREIGN TABLE far PARTITION OF t FOR VALUES FROM (9001) TO (9002) SERVER nowhere"""
    )
    try:
        with raises("42809"):
            export(db, "t", out / "t.parquet", workers=workers)
    finally:
        db.execute("DROP FOREIGN DATA WRAPPER nothing CASCADE")


def test_inheritance_parent(db, out):
    """As SELECT does: the parent's name stands for its children too, in the parent's columns."""
    db.execute("""CREATE TABLE t (a int, b text); CREATE TABLE child (c int) INHERITS (t);
        CREATE TABLE other (x int, b text, a int); ALTER TABLE other INHERIT t;
        INSERT INTO t VALUES (1, 'parent'); INSERT INTO child VALUES (2, 'child', 3);
        INSERT INTO other VALUES (9, 'other', 4)""")
    export_and_check(db, "t", out / "t.parquet", ordered=False)
    export_and_check(db, "child", out / "child.parquet")


@ON_EACH_SCAN
@WORKERS
def test_materialized_view(db, out, scan, workers):
    db.execute("CREATE MATERIALIZED VIEW t AS SELECT i, i::text AS s, i / 3.0 AS n FROM generate_series(1, 5000) i")
    export_and_check(db, "t", out / "t.parquet", scan=scan, workers=workers)


def test_unpopulated_materialized_view(db, out):
    db.execute("CREATE MATERIALIZED VIEW t AS SELECT 1 AS a WITH NO DATA")
    with raises("55000"):
        export(db, "t", out / "t.parquet")


@ON_EACH_SCAN
def test_unlogged_table(db, out, scan):
    db.execute("CREATE UNLOGGED TABLE t AS SELECT i, i::text AS s FROM generate_series(1, 5000) i")
    export_and_check(db, "t", out / "t.parquet", scan=scan, workers=2)


@ON_EACH_SCAN
def test_temporary_table_by_the_leader_alone(db, out, scan):
    db.execute("CREATE TEMPORARY TABLE mine AS SELECT i, repeat('x', 3000) AS s FROM generate_series(1, 2000) i")
    assert export_and_check(db, "mine", out / "t.parquet", scan=scan, workers=4).workers == 0


@WORKERS
@ON_EACH_SCAN
def test_uncommitted_rows_of_the_caller(db, again, out, scan, workers):
    """The caller's rows are in, also those of a subtransaction and not those rolled back; nobody else's are."""
    db.execute("CREATE TABLE t (id int, v text); INSERT INTO t SELECT i, 'old' FROM generate_series(1, 3000) i")
    other = again()
    other.execute("BEGIN; INSERT INTO t VALUES (-1, 'not committed')")
    db.execute(
        "BEGIN; INSERT INTO t SELECT i, 'mine' FROM generate_series(3001, 3500) i; "
        "UPDATE t SET v = 'changed' WHERE id < 10"
    )
    db.execute(
        "SAVEPOINT s; INSERT INTO t VALUES (9001, 'rolled back'); ROLLBACK TO s; SAVEPOINT s; "
        "INSERT INTO t VALUES (9002, 'kept'); DELETE FROM t WHERE id = 20"
    )
    assert export_and_check(db, "t", out / "t.parquet", scan=scan, workers=workers).rows == 3500
    db.execute("ROLLBACK")
    other.execute("ROLLBACK")


@WORKERS
def test_table_created_in_the_transaction(db, out, workers):
    db.execute("BEGIN; CREATE TABLE t AS SELECT i, i * 1.5 AS n FROM generate_series(1, 4000) i")
    export_and_check(db, "t", out / "t.parquet", workers=workers)
    db.execute("ROLLBACK")


@WORKERS
def test_repeatable_read_snapshot(db, again, out, workers):
    """In REPEATABLE READ the export sees what the transaction's first query saw."""
    db.execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 2000) i")
    db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM t LIMIT 1")
    again().execute("DELETE FROM t WHERE i % 2 = 0; INSERT INTO t SELECT -i FROM generate_series(1, 500) i")
    assert export_and_check(db, "t", out / "t.parquet", workers=workers).rows == 2000
    db.execute("COMMIT")


@pytest.mark.parametrize("mode", ["READ ONLY", "ISOLATION LEVEL SERIALIZABLE"])
def test_transaction_modes(db, out, mode):
    db.execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 2000) i")
    db.execute(f"BEGIN {mode}")
    export_and_check(db, "t", out / "t.parquet", workers=2)
    db.execute("COMMIT")


def test_names_that_need_quotes(db, out):
    db.execute('CREATE TABLE "Select ""1""" ("a b" int, "Δ" text)')
    db.execute('INSERT INTO "Select ""1""" VALUES (1, \'x\')')
    export_and_check(db, '"Select ""1"""', out / "Ünïcode name 'quoted'.parquet", columns=["Δ", "a b"])


@WORKERS
def test_table_that_grew_after_analyze(db, out, workers):
    """relpages is stale: what counts is the relation's size now."""
    db.execute(
        "CREATE TABLE t (i int, s text); ANALYZE t; "
        "INSERT INTO t SELECT i, repeat('y', 500) FROM generate_series(1, 5000) i"
    )
    export_and_check(db, "t", out / "t.parquet", workers=workers, row_group_rows=700)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
@ON_EACH_SCAN
def test_other_encodings(server, out, encoding, scan):
    """Text becomes UTF-8; the oracle reads through client_encoding UTF8, which converts as well."""
    name = f"db_{encoding.lower()}_{scan}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    text = {"LATIN1": "éàüß", "SQL_ASCII": "ascii é", "EUC_JP": "漢字"}[encoding]
    with server.connect(name) as connection:
        connection.execute("CREATE EXTENSION pg_strata")
        connection.execute("SET client_encoding = 'UTF8'")
        connection.execute(f"""CREATE TYPE e AS ENUM ('{text}');
            CREATE TABLE "{text}" AS SELECT i, '{text}'::text AS "{text}",
            '{text}'::char(8) AS c, ARRAY['{text}'] AS a, '{text}'::e AS e, ROW('{text}')::text AS r,
            '"{text}"'::json AS j
            FROM generate_series(1, 2000) i""")
        path = out / f"{text}.parquet"
        result = export_and_check(
            connection, f'"{text}"', path, scan=scan, workers=2, columns=["c", text, "a", "e", "r", "j"]
        )
        assert result.path == str(path)
        assert entries(out) == [f"{text}.parquet"]
        export_and_check(connection, f'"{text}"', out / text, ordered=False, scan=scan, workers=2)
        manifest = json.loads((out / text / "_SUCCESS").read_text())
        assert (
            manifest["table"]
            == connection.execute("SELECT quote_ident('public') || '.' || quote_ident(%s)", (text,)).fetchone()[0]
        )
        with raises("42703") as caught:
            export(connection, f'"{text}"', out / "no.parquet", columns=[text + "!"])
        shown = text if encoding == "SQL_ASCII" else "".join(f"\\u{{{ord(c):x}}}" for c in text)
        assert f'"{shown}!"' in caught.value.diag.message_primary
        connection.execute(f"""CREATE TABLE bad AS SELECT 'NaN'::numeric AS "{text}" """)
        for workers in (0, 2):
            with raises("22003") as caught:
                export(connection, "bad", out / "no.parquet", workers=workers)
            assert f'"{shown}"' in caught.value.diag.message_detail
        with raises("22023"):
            export(connection, f'"{text}"', out / "no.parquet", compression=text)
        connection.execute("SELECT set_config('pg_strata.export_directories', %s, false)", (str(out / text),))
        assert export(connection, f'"{text}"', out / text / "inside.parquet").rows == 2000
        with raises("42501"):
            export(connection, f'"{text}"', out / "outside.parquet")
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE {name}")


@ON_EACH_SCAN
def test_invalid_bytes_in_sql_ascii(server, out, scan):
    """Bytes that are no UTF-8 must not get into a STRING column: an error that names the place."""
    name = f"db_invalid_{scan}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'")
    with server.connect(name, client_encoding="SQL_ASCII") as connection:
        connection.execute(
            "CREATE EXTENSION pg_strata; CREATE TABLE t AS SELECT 1 AS i, E'ok' AS s; "
            "INSERT INTO t VALUES (2, E'\\xff\\xfe')"
        )
        with raises("22021") as caught:
            export(connection, "t", out / "t.parquet", scan=scan)
        said = f"{caught.value.diag.message_primary} {caught.value.diag.message_detail} {caught.value.diag.context}"
        assert "(0,2)" in said
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE {name}")
    assert not list(out.iterdir())
