"""Aggregations on columns over partitioned tables and tables with children: the answers are PostgreSQL's."""

import re

import psycopg
import pytest

from ..helpers.columnar import NODE, analyzed, both, force, plan
from ..helpers.foreign import export_group, foreign

COLUMNS = "id int, k int, n numeric(12, 2), t text, d date"
ROWS = """
    SELECT g AS id, g % 5 AS k, (g * 0.01)::numeric(12, 2) AS n, 'x' || g % 13 AS t, date '2020-01-01' + g % 400 AS d
    FROM generate_series({}, {}) g
"""
QUERIES = (
    "SELECT count(*), sum(n), min(d), count(t) FROM parent",
    "SELECT k, t, sum(id), avg(n) FROM parent WHERE d < '2020-07-01' GROUP BY k, t",
    "SELECT k, count(*) FROM parent WHERE id BETWEEN 4000 AND 12000 GROUP BY k",
    "SELECT id, sum(n) FROM parent GROUP BY id HAVING sum(n) > 100",
    "SELECT sum(id) FROM parent WHERE id = 10001",
)


@pytest.fixture
def forced(db):
    return force(db)


@pytest.fixture
def partitions(forced, out):
    """Partitions by range of id: heaps with other orders of columns and dropped ones, one that has partitions itself,
    and two foreign tables."""
    forced.execute(f"""
        CREATE TABLE parent ({COLUMNS}) PARTITION BY RANGE (id);
        CREATE TABLE first PARTITION OF parent FOR VALUES FROM (0) TO (5000);
        CREATE TABLE second (gone int, d date, t text, n numeric(12, 2), also_gone text, k int, id int NOT NULL);
        ALTER TABLE second DROP gone, DROP also_gone;
        ALTER TABLE parent ATTACH PARTITION second FOR VALUES FROM (5000) TO (10000);
        CREATE TABLE third PARTITION OF parent FOR VALUES FROM (10000) TO (15000) PARTITION BY LIST (k);
        CREATE TABLE third_even PARTITION OF third FOR VALUES IN (0, 2, 4);
        CREATE TABLE third_odd PARTITION OF third FOR VALUES IN (1, 3);
        INSERT INTO parent {ROWS.format(0, 14999)}""")
    for number, start in enumerate((15000, 20000)):
        forced.execute(f"CREATE TABLE part AS {ROWS.format(start, start + 4999)}")
        export_group(forced, "parquet", "part", out / f"{start}.parquet", 1000)
        columns = "t text, d date, id int NOT NULL, k int, n numeric(12, 2)"
        foreign(forced, f"files{number}", columns, file=out / f"{start}.parquet")
        forced.execute(f"""
            DROP TABLE part;
            ALTER TABLE parent ATTACH PARTITION files{number} FOR VALUES FROM ({start}) TO ({start + 5000})""")
    forced.execute("ANALYZE parent")
    return "parent"


@pytest.mark.parametrize("workers", (0, 2))
@pytest.mark.parametrize("query", QUERIES)
def test_partitions(forced, partitions, query, workers):
    forced.execute(f"SET max_parallel_workers_per_gather = {workers}")
    found = sorted(both(forced, query), key=repr)
    forced.execute("SET pg_strata.columnar_sql = off")
    of_rows = query.replace("parent", f"({ROWS.format(0, 24999)}) parent")
    assert found == sorted(forced.execute(of_rows).fetchall(), key=repr)


def test_what_is_read(forced, partitions):
    text = analyzed(forced, f"SELECT k, count(*) FROM {partitions} GROUP BY k")
    assert "Table: parent, of 6 tables" in text and "Scanned: 25000 rows" in text
    # Conditions exclude partitions, and groups of files.
    text = analyzed(forced, f"SELECT k, count(*) FROM {partitions} WHERE id >= 24500 GROUP BY k")
    assert "Table: parent, of 1 tables" in text
    loaded, skipped = map(int, re.search(r"Row Groups: (\d+) loaded, (\d+) skipped", text).groups())
    assert 0 < loaded < skipped
    text = analyzed(forced, f"SELECT count(*) FROM {partitions} WHERE id < 6000")
    assert "Table: parent, of 2 tables" in text and "Scanned: 10000 rows" in text


def test_a_parameter_that_excludes_partitions_is_left_to_postgresql(forced, partitions):
    forced.execute("SET plan_cache_mode = force_generic_plan")
    forced.execute(f"PREPARE one(int) AS SELECT count(*) FROM {partitions} WHERE id = $1")
    assert NODE not in plan(forced, "EXECUTE one(7)")
    assert forced.execute("EXECUTE one(7)").fetchone() == (1,)


def test_partitions_that_change_after_planning(forced, partitions):
    forced.execute("SET plan_cache_mode = force_generic_plan")
    forced.execute(f"PREPARE every AS SELECT count(*), sum(id) FROM {partitions}")
    assert NODE in plan(forced, "EXECUTE every")
    before = forced.execute("EXECUTE every").fetchone()
    forced.execute("ALTER TABLE parent DETACH PARTITION first")
    forced.execute("TRUNCATE third_odd")
    assert NODE in plan(forced, "EXECUTE every")
    after = forced.execute("EXECUTE every").fetchone()
    assert after[0] == before[0] - 5000 - 2000
    forced.execute("ALTER TABLE parent ADD COLUMN later int DEFAULT 3")
    with pytest.raises(psycopg.errors.FdwColumnNameNotFound):
        both(forced, f"SELECT sum(later) FROM {partitions}")
    forced.execute("DROP FOREIGN TABLE files0, files1")
    assert both(forced, f"SELECT sum(later), count(*) FROM {partitions}") == [(3 * 8000, 8000)]


def test_children_and_only(forced):
    forced.execute(f"""
        CREATE TABLE parent ({COLUMNS});
        CREATE TABLE child (more int) INHERITS (parent);
        CREATE TABLE grandchild () INHERITS (child);
        INSERT INTO parent {ROWS.format(1, 3000)};
        INSERT INTO child {ROWS.format(3001, 5000)};
        INSERT INTO grandchild {ROWS.format(5001, 6000)};
        ANALYZE parent, child, grandchild""")
    for query in QUERIES:
        both(forced, query)
    assert both(forced, "SELECT count(*) FROM parent") == [(6000,)]
    assert both(forced, "SELECT count(*) FROM ONLY parent") == [(3000,)]
    forced.execute("DROP TABLE child CASCADE")
    # The catalog goes on saying that there are children.
    assert both(forced, "SELECT count(*) FROM parent") == [(3000,)]


def test_a_partition_of_another_kind_is_left_to_postgresql(forced, tmp_path):
    forced.execute(f"""
        CREATE EXTENSION IF NOT EXISTS file_fdw;
        CREATE SERVER IF NOT EXISTS of_texts FOREIGN DATA WRAPPER file_fdw;
        CREATE TABLE parent ({COLUMNS}) PARTITION BY RANGE (id);
        CREATE TABLE first PARTITION OF parent FOR VALUES FROM (0) TO (5000);
        CREATE FOREIGN TABLE second PARTITION OF parent FOR VALUES FROM (5000) TO (6000)
            SERVER of_texts OPTIONS (filename '/dev/null')""")
    assert NODE not in plan(forced, "SELECT count(*) FROM parent")
    assert NODE in plan(forced, "SELECT count(*) FROM parent WHERE id < 5000")


def test_a_partitioned_table_without_partitions(forced):
    forced.execute(f"CREATE TABLE parent ({COLUMNS}) PARTITION BY RANGE (id)")
    assert forced.execute("SELECT count(*), sum(n) FROM parent").fetchone() == (0, None)
    assert forced.execute("SELECT k, sum(n) FROM parent GROUP BY k").fetchall() == []


def test_rows_of_partitions_under_row_security(forced, partitions):
    """Policies of the parent hold, those of its partitions do not, as in PostgreSQL's plan."""
    (schema,) = forced.execute("SELECT current_schema()").fetchone()
    forced.execute(f"""
        CREATE ROLE of_policies; GRANT USAGE ON SCHEMA {schema} TO of_policies; GRANT SELECT ON parent TO of_policies;
        GRANT pg_read_server_files TO of_policies;
        ALTER TABLE parent ENABLE ROW LEVEL SECURITY; CREATE POLICY of_k ON parent USING (k = 1);
        ALTER TABLE first ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON first USING (false)""")
    try:
        forced.execute("SET ROLE of_policies")
        assert both(forced, "SELECT k, count(*) FROM parent GROUP BY k") == [(1, 5000)]
    finally:
        forced.execute("RESET ROLE; DROP OWNED BY of_policies; DROP ROLE of_policies")
