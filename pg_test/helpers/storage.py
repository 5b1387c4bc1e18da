"""Tests of every form in which a heap keeps a value or a row: for files that have a fixture `check`, which exports
table t and holds the file against it, and a fixture `server`."""

import pyarrow.parquet as pq
import pytest

from . import oracle
from .support import SCANS, export, export_and_check, supports

pytestmark = pytest.mark.parametrize("scan", SCANS)


@pytest.mark.parametrize("storage", ["plain", "main", "external", "extended"])
def test_varlena_headers(db, check, storage):
    """Lengths around the one-byte header's 126 and TOAST's 2 kB, at every alignment, before and after fixed columns."""
    db.execute(
        f"CREATE TABLE t (a text, i int8, b bytea, s int2, c text); "
        f"ALTER TABLE t ALTER a SET STORAGE {storage}, ALTER b SET STORAGE {storage}"
    )
    db.execute("""INSERT INTO t SELECT repeat('x', n), n, decode(repeat('ab', n), 'hex'), n, repeat('é', n % 7)
                  FROM unnest(array[0,1,2,3,4,5,6,7,8,60,61,62,63,64,125,126,127,128,129,
                                    254,255,256,1000,2000,2030]) n""")
    check()


@pytest.mark.parametrize("method", ["pglz", "lz4"])
def test_compressed(db, check, method):
    """Inline-compressed and externally stored compressed values, text and numeric and arrays alike."""
    if method == "lz4" and not supports(db, "CREATE TABLE probe (x text COMPRESSION lz4)"):
        pytest.skip("this server is built without lz4")
    db.execute(f"SET default_toast_compression = {method}")
    db.execute("CREATE TABLE t (id int, c text, b bytea, j jsonb, n numeric, a int[])")
    db.execute("""INSERT INTO t SELECT i, repeat('abc', 1000 * i), decode(repeat('00ff', 3000 * i), 'hex'),
        jsonb_build_object('k', repeat('v', 4000 * i)), ('1.' || repeat('0', 9000 + i) || '1')::numeric,
        array_fill(i, ARRAY[5000])
        FROM generate_series(1, 20) i""")
    assert db.execute("SELECT count(*) FROM t WHERE pg_column_compression(c) = %s", (method,)).fetchone()[0] == 20
    check()


def test_external_uncompressed(db, check):
    db.execute("CREATE TABLE t (id int, c text, n int); ALTER TABLE t ALTER c SET STORAGE external")
    db.execute(
        "INSERT INTO t SELECT i, (SELECT string_agg(md5(i::text || k), '') FROM generate_series(1, 40 * i) k), "
        "i FROM generate_series(1, 40) i"
    )
    check()


def test_megabyte_values(db, check):
    """Over 1 MB each, incompressible and compressible, in row groups that the byte bound must end."""
    db.execute("CREATE TABLE t (id int, c text, b bytea)")
    db.execute("""INSERT INTO t SELECT i, repeat(md5(i::text), 40000), decode((SELECT string_agg(md5(i::text || k), '')
                  FROM generate_series(1, 70000) k), 'hex') FROM generate_series(1, 6) i""")
    check(row_group_bytes=2_000_000)


def test_huge_value(db, out, scan):
    """200 MB in one value."""
    db.execute("CREATE TABLE t AS SELECT 1 AS id, repeat('0123456789', 20000000) AS c")
    assert export(db, "t", out / "t.parquet", scan=scan).rows == 1
    column = pq.read_table(out / "t.parquet")["c"].chunk(0)
    assert column[0].as_buffer().to_pybytes() == b"0123456789" * 20_000_000


def test_dropped_columns(db, check):
    db.execute(
        "CREATE TABLE t (a int, b text, c numeric NOT NULL, d date); INSERT INTO t VALUES (1, 'x', 1.5, '2026-01-01')"
    )
    db.execute(
        "ALTER TABLE t DROP b; INSERT INTO t VALUES (2, 2.5, NULL); ALTER TABLE t DROP a; "
        "INSERT INTO t VALUES (3.5, '2027-01-01')"
    )
    check()
    db.execute("ALTER TABLE t DROP c, DROP d")
    assert not oracle.select(db, "SELECT * FROM t")[0]


def test_added_columns_with_default(db, check):
    """attmissingval: the rows of before hold nothing, the catalog holds the value."""
    db.execute("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 500)")
    db.execute("""ALTER TABLE t ADD b int DEFAULT 42, ADD c text NOT NULL DEFAULT 'added', ADD d numeric DEFAULT 1.50,
        ADD e int[] DEFAULT '{1,2}', ADD f text, ADD g timestamptz DEFAULT '2026-01-01 00:00:00+00',
        ADD h numeric(10,2) DEFAULT 7,
        ADD k text DEFAULT repeat('long', 100), ADD u uuid DEFAULT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'""")
    db.execute(
        "INSERT INTO t (a, b) SELECT i, NULL FROM generate_series(501, 600) i; UPDATE t SET c = 'set' WHERE a % 7 = 0"
    )
    db.execute("ALTER TABLE t ADD z int; ALTER TABLE t DROP f")
    check()


def test_generated_columns(db, check):
    db.execute("CREATE TABLE t (a int NOT NULL, s int GENERATED ALWAYS AS (a * 2) STORED, b text)")
    db.execute("INSERT INTO t (a, b) SELECT i, i::text FROM generate_series(1, 1000) i")
    check()


def test_virtual_generated_columns(db, out, scan):
    """PostgreSQL 18: the value is nowhere in the heap, so the heap scan has to decline or compute it."""
    if db.info.server_version < 180000:
        pytest.skip("virtual generated columns come with PostgreSQL 18")
    db.execute(
        "CREATE TABLE t (a int, v int GENERATED ALWAYS AS (a + 1) VIRTUAL); "
        "INSERT INTO t SELECT generate_series(1, 100)"
    )
    export_and_check(db, "t", out / "t.parquet")


def test_1600_columns(db, check):
    """All NULL but some, so that the null bitmap is as long as it gets."""
    db.execute("CREATE TABLE t (" + ", ".join(f"c{i} {'int' if i % 3 else 'text'}" for i in range(1600)) + ")")
    db.execute(
        "INSERT INTO t (c0, c1, c1599) SELECT i::text, i, NULL FROM generate_series(1, 20) i; "
        "INSERT INTO t (c1598) VALUES (7)"
    )
    db.execute("INSERT INTO t SELECT " + ", ".join("'x'" if i % 3 == 0 else "1" for i in range(1600)))
    check()


def test_zero_columns(db, out, scan):
    """A table without columns still has rows."""
    db.execute("CREATE TABLE t (); INSERT INTO t SELECT FROM generate_series(1, 5)")
    result = export(db, "t", out / "t.parquet", scan=scan)
    metadata = pq.read_metadata(out / "t.parquet")
    assert (result.rows, metadata.num_rows, metadata.num_columns) == (5, 5, 0)


def test_zero_rows(db, check):
    db.execute("CREATE TABLE t (a int NOT NULL, b text, n numeric, l int[], p numeric(20,3))")
    check()
    db.execute("INSERT INTO t VALUES (1); DELETE FROM t")
    check()


def test_all_null(db, check):
    """A numeric and an array that never show a value still get a type."""
    db.execute(
        "CREATE TABLE t (a int, n numeric, l int[], t text, b bool); INSERT INTO t SELECT FROM generate_series(1, 3000)"
    )
    check()


def test_hot_chains_and_line_pointers(db, check):
    """Updated, deleted, pruned and vacuumed pages: dead, redirected and unused line pointers."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v int, pad text) WITH (fillfactor = 60)")
    db.execute("INSERT INTO t SELECT i, 0, repeat('p', i % 50) FROM generate_series(1, 5000) i")
    for _ in range(3):
        db.execute("UPDATE t SET v = v + 1 WHERE id % 3 = 0")
    check()
    db.execute("SELECT count(*) FROM t; DELETE FROM t WHERE id % 5 = 0")
    check()
    db.execute("VACUUM t")
    db.execute("INSERT INTO t SELECT i, -1, 'again' FROM generate_series(10001, 10300) i")
    check()
    db.execute("DELETE FROM t WHERE id < 3000")
    db.execute("VACUUM (FREEZE) t")
    db.execute("UPDATE t SET pad = repeat('moved', 100) WHERE id % 2 = 0")
    check()


def test_aborted_and_locked_rows(db, again, out, scan):
    """Rows of aborted and of running transactions are out; locked rows (multixact too) are in."""
    db.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'x' FROM generate_series(1, 500) i"
    )
    db.execute(
        "BEGIN; INSERT INTO t SELECT i, 'aborted' FROM generate_series(501, 900) i; "
        "UPDATE t SET v = 'aborted' WHERE id < 100; ROLLBACK"
    )
    other, third = again(), again()
    other.execute("BEGIN; SELECT * FROM t WHERE id < 50 FOR SHARE")
    third.execute(
        "BEGIN; SELECT * FROM t WHERE id < 50 FOR KEY SHARE; INSERT INTO t VALUES (1000, 'running'); "
        "UPDATE t SET v = 'running' WHERE id = 400"
    )
    export_and_check(db, "t", out / "t.parquet", scan=scan, workers=2)
    other.execute("ROLLBACK")
    third.execute("ROLLBACK")


def test_text_that_looks_like_a_row_header(db, check):
    """Bytes that a parser which guesses row starts would take for a COPY BINARY tuple header or the trailer."""
    db.execute("CREATE TABLE t (a int, b bytea, c int)")
    db.execute(r"""INSERT INTO t SELECT 3, v, 3 FROM unnest(ARRAY['\x0003000000040000000300000001ab'::bytea,
        '\xffff', '\x00030000',
                   '\x5047434f50590aff0d0a00', ('\x' || repeat('0003', 500))::bytea]) v, generate_series(1, 200)""")
    check()
