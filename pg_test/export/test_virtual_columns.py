"""Virtual generated columns of partitions and children: computed as SELECT of the exported table computes them."""

import pytest

from ..helpers import oracle
from ..helpers.support import SCANS, copy_binary, export

pytestmark = pytest.mark.fast

TABLES = {
    "partitions": """CREATE TABLE t (a int, pad text, b int GENERATED ALWAYS AS (a * 2) VIRTUAL) PARTITION BY LIST (a);
        CREATE TABLE t1 (b int GENERATED ALWAYS AS (a * 3) VIRTUAL, a int, gone int, pad text);
        ALTER TABLE t1 DROP gone;
        ALTER TABLE t ATTACH PARTITION t1 FOR VALUES IN (1);
        CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2) PARTITION BY LIST (a);
        CREATE TABLE t2a PARTITION OF t2 (b GENERATED ALWAYS AS (a * 7) VIRTUAL) FOR VALUES IN (2);
        INSERT INTO t VALUES (1, 'x'), (2, NULL)""",
    "children": """CREATE TABLE t (a int, b text GENERATED ALWAYS AS ('parent ' || a) VIRTUAL);
        CREATE TABLE c (b text GENERATED ALWAYS AS ('child ' || a) VIRTUAL, more int) INHERITS (t);
        CREATE TABLE d (b text GENERATED ALWAYS AS ('grandchild ' || a) VIRTUAL) INHERITS (c);
        INSERT INTO t VALUES (1); INSERT INTO c VALUES (2); INSERT INTO d VALUES (3)""",
    "two parents": """CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a + 100) VIRTUAL);
        CREATE TABLE u (a int, b int GENERATED ALWAYS AS (a + 200) VIRTUAL);
        CREATE TABLE c (b int GENERATED ALWAYS AS (a + 300) VIRTUAL) INHERITS (u, t); INSERT INTO t VALUES (1);
        INSERT INTO c VALUES (2)""",
    "the row's own table": """CREATE TABLE t (a int,
        b oid GENERATED ALWAYS AS (tableoid) VIRTUAL) PARTITION BY LIST (a);
        CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); INSERT INTO t VALUES (1)""",
}


@pytest.fixture(autouse=True)
def virtual(installation):
    if installation.major < 18:
        pytest.skip("virtual generated columns came with PostgreSQL 18")


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("tables", TABLES)
def test_the_parents_expression_counts(db, out, tables, scan):
    db.execute(TABLES[tables])
    export(db, "t", out / "t.parquet", scan=scan)
    oracle.check(db, "t", out / "t.parquet")
    db.execute("SELECT copy_binary_dump('t', %s)", (str(out / "t.bin"),))
    assert (out / "t.bin").read_bytes() == copy_binary(db, "t")


def test_a_partition_by_its_own_name_has_its_own_expression(db, out):
    db.execute(TABLES["partitions"])
    export(db, "t2a", out / "t.parquet")
    oracle.check(db, "t2a", out / "t.parquet")
    assert oracle.read_pyarrow(out / "t.parquet")["b"].to_pylist() == [14]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("scan", SCANS)
def test_an_error_of_an_expression_names_the_row(db, out, scan, workers):
    db.execute("CREATE TABLE t (a int, b int GENERATED ALWAYS AS (100 / a) VIRTUAL, pad text)")
    db.execute(
        "INSERT INTO t (a, pad) SELECT CASE i WHEN 700 THEN 0 ELSE i END, "
        "repeat('p', 50) FROM generate_series(1, 2000) i"
    )
    place = db.execute("SELECT ctid::text FROM t WHERE a = 0").fetchone()[0]
    with pytest.raises(Exception) as caught:
        export(db, "t", out / "t.parquet", scan=scan, workers=workers)
    assert caught.value.sqlstate == "22012"
    assert caught.value.diag.message_detail == f'Table {db.schema}.t, column "b", ctid {place}.'
    assert list(out.iterdir()) == []
