"""The parallel scan's stream is, byte for byte, what COPY (SELECT * FROM t) TO ... (FORMAT BINARY) writes."""

import pytest

from ..helpers import every_type
from ..helpers.support import WORKERS, copy_binary, entries, raises

pytestmark = pytest.mark.fast

EVERY_WORKERS = pytest.mark.parametrize("workers", WORKERS)


def dump(connection, table, path, **options):
    """Rows and bytes of the stream; without a path they are only counted."""
    named = "".join(f", {name} => %s" for name in options)
    path = None if path is None else str(path)
    sql = f"SELECT rows, bytes FROM copy_binary_dump(%s::regclass, %s{named})"
    return connection.execute(sql, (table, path, *options.values())).fetchone()


def check(connection, table, path, **options):
    rows, size = dump(connection, table, path, overwrite=True, **options)
    assert dump(connection, table, None, **options) == (rows, size) and size == path.stat().st_size
    assert rows == connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    ours, theirs = path.read_bytes(), copy_binary(connection, table)
    assert len(ours) == len(theirs)
    assert ours == theirs


@EVERY_WORKERS
@pytest.mark.parametrize("family", every_type.FAMILIES)
def test_every_type(db, out, family, workers):
    db.execute(every_type.TYPES)
    every_type.create(db, "t", every_type.FAMILIES[family], repeat=60)
    check(db, "t", out / "t.bin", workers=workers)


@EVERY_WORKERS
def test_values_without_parquet(db, out, workers):
    """The stream has no trouble with what Parquet cannot hold."""
    db.execute("""CREATE TABLE t AS SELECT unnest(ARRAY['NaN', 'Infinity', '-Infinity', '1e-1000', '0', '10000',
        '1e20'])::numeric AS n,
        unnest(ARRAY['infinity', '-infinity'])::timestamp AS ts, 'infinity'::date AS d FROM generate_series(1, 500)""")
    check(db, "t", out / "t.bin", workers=workers)


@EVERY_WORKERS
def test_stored_forms(db, out, workers):
    db.execute("""CREATE TABLE t (a int, gone text, b text, c bytea, n numeric) WITH (fillfactor = 70);
        INSERT INTO t SELECT i, 'gone', repeat('x', i * 20), decode(repeat('0f', i), 'hex'),
        i / 7.0 FROM generate_series(1, 400) i;
        ALTER TABLE t DROP gone; ALTER TABLE t ADD late text DEFAULT 'late', ADD more numeric NOT NULL DEFAULT 0.001;
        UPDATE t SET b = b || 'y' WHERE a % 3 = 0; DELETE FROM t WHERE a % 11 = 0""")
    check(db, "t", out / "t.bin", workers=workers)


def test_empty_table_and_no_columns(db, out):
    db.execute("CREATE TABLE t (a int); CREATE TABLE nothing (); INSERT INTO nothing SELECT FROM generate_series(1, 3)")
    check(db, "t", out / "t.bin")
    check(db, "nothing", out / "nothing.bin")


def test_copy_from_loads_it(db, out):
    """And back: PostgreSQL itself reads the file into an equal table."""
    db.execute(every_type.TYPES)
    every_type.create(db, "t", every_type.SCALARS + every_type.NESTED, repeat=10)
    dump(db, "t", out / "t.bin", workers=2)
    db.execute("CREATE TABLE loaded (LIKE t)")
    db.execute(f"COPY loaded FROM '{out / 't.bin'}' (FORMAT BINARY)")
    assert copy_binary(db, "loaded") == copy_binary(db, "t")


def test_existing_file(db, out):
    db.execute("CREATE TABLE t AS SELECT 1 AS a")
    (out / "t.bin").write_bytes(b"old")
    with raises("58P02"):
        dump(db, "t", out / "t.bin")
    assert (out / "t.bin").read_bytes() == b"old" and entries(out) == ["t.bin"]
