"""Aggregations on columns over foreign tables: the answers are those of PostgreSQL's own plans over the same files."""

import random
import re

import psycopg
import pyarrow.parquet as pq
import pytest

from .. import random_sql
from ..helpers.columnar import NODE, analyzed, both, force, plan
from ..helpers.foreign import FORMATS, columns_of, export_group, foreign
from ..helpers.support import raises


@pytest.fixture
def forced(db):
    return force(db)


@pytest.fixture
def files(forced, out):
    """A foreign table over three files in directories that tell a key, each with groups of 1,000 rows."""
    forced.execute("CREATE TABLE whole (id int, k int, n numeric(12, 2), d date, t text, nn int, f boolean)")
    for key in (1, 2, 3):
        forced.execute(f"""
            CREATE TABLE part AS
            SELECT g AS id, g % 7 AS k, (g * 0.01)::numeric(12, 2) AS n, date '2020-01-01' + g % 400 AS d,
                   CASE WHEN g % 13 = 0 THEN 'a text of more than twelve bytes ' || g % 5 ELSE 'x' || g % 13 END AS t,
                   CASE WHEN g % 11 = 0 THEN NULL ELSE g END AS nn, g % 2 = 0 AS f
            FROM generate_series({key * 10000}, {key * 10000 + 9999}) g""")
        (out / f"key={key}").mkdir()
        (out / f"key={key}").chmod(0o777)
        export_group(forced, "parquet", "part", out / f"key={key}" / "part.parquet", 1000)
        forced.execute("INSERT INTO whole SELECT * FROM part; DROP TABLE part")
    columns = columns_of(forced, "whole") + ", key int OPTIONS (virtual 'key')"
    foreign(forced, "files", columns, dir=out, pattern="key=@{key}/part.parquet")
    return "files"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("seed", range(4))
def test_random_aggregations(forced, out, kind, seed):
    chance = random.Random(7_000_000 + seed)
    random_sql.fill(forced, chance, "heap", chance.choice((0, 5, 300, 3000)))
    forced.execute(f"DELETE FROM heap WHERE {random_sql.NOT_IN_FILES}")
    export_group(forced, kind, "heap", out / f"f.{kind}", 200)
    foreign(forced, "files", columns_of(forced, "heap"), file=out / f"f.{kind}")
    forced.execute("ANALYZE files")
    counts, differing = random_sql.compare(forced, chance, "files", 60)
    assert not differing, "\n".join(
        f"{text}\n  PostgreSQL {plain}\n  columns    {found}" for text, plain, found in differing
    )
    assert counts["columns"] > 20


@pytest.mark.parametrize("workers", (0, 2))
@pytest.mark.parametrize(
    "query",
    (
        "SELECT count(*) FROM files",
        "SELECT count(*), sum(n), avg(nn), min(d), max(n) FROM files WHERE f",
        "SELECT t, count(*), sum(id) FROM files GROUP BY t",
        "SELECT key, k, sum(n * 2), count(nn) FROM files WHERE t LIKE '%text%' OR k = 3 GROUP BY key, k",
        "SELECT id, sum(n) FROM files GROUP BY id HAVING sum(n) > 250",
        "SELECT sum(id) FROM files WHERE key = 2 AND d < '2020-02-01'",
        "SELECT count(*) FROM files WHERE key > 5",
    ),
)
def test_answers(forced, files, query, workers):
    forced.execute(f"SET max_parallel_workers_per_gather = {workers}")
    found = sorted(both(forced, query), key=repr)
    forced.execute("SET pg_strata.columnar_sql = off")
    of_heap = query.replace("files", "(SELECT whole.*, id / 10000 AS key FROM whole) AS rows_of_heap")
    assert found == sorted(forced.execute(of_heap).fetchall(), key=repr)


def groups(out, may_match=lambda least, greatest: True):
    """How many groups of all files there are, and those whose least and greatest id may match; with their rows."""
    found = []
    for path in sorted(out.rglob("*.parquet")):
        metadata = pq.ParquetFile(path).metadata
        found += [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    bounds = [(group.column(0).statistics, group) for group in found]
    matching = [group for of, group in bounds if may_match(of.min, of.max)]
    return len(found), len(matching), sum(group.num_rows for group in matching)


def test_workers_share_the_groups(forced, files, out):
    text = analyzed(forced, f"SELECT k, count(*) FROM {files} GROUP BY k")
    assert "Scanned: 30000 rows, 0 evaluated one by one" in text
    assert f"Row Groups: {groups(out)[0]} loaded, 0 skipped" in text
    assert "Workers: 2 planned" in text


def test_conditions_skip_groups_and_files(forced, files, out):
    every, loaded, rows = groups(out, lambda least, greatest: greatest >= 11500 and least <= 12500)
    assert 0 < loaded < every / 2
    text = analyzed(forced, f"SELECT sum(n) FROM {files} WHERE id BETWEEN 11500 AND 12500")
    assert f"Row Groups: {loaded} loaded, {every - loaded} skipped" in text and f"Scanned: {rows} rows" in text
    # Of files that the path excludes nothing is read, not even how many groups they have.
    text = analyzed(forced, f"SELECT sum(n) FROM {files} WHERE key = 3")
    assert f"Row Groups: {groups(out / 'key=3')[0]} loaded, 0 skipped" in text
    # A parameter's value is known when the groups are read.
    forced.execute("SET plan_cache_mode = force_generic_plan")
    forced.execute(f"PREPARE above(int) AS SELECT count(*) FROM {files} WHERE id >= $1")
    every, loaded, _ = groups(out, lambda _, greatest: greatest >= 39500)
    assert f"Row Groups: {loaded} loaded, {every - loaded} skipped" in analyzed(forced, "EXECUTE above(39500)")
    assert forced.execute("EXECUTE above(39500)").fetchone() == (500,)
    assert forced.execute("EXECUTE above(coalesce(NULL, 10000))").fetchone() == (30000,)
    # An expression of parameters skips groups too.
    forced.execute(f"PREPARE one(int, int) AS SELECT count(*) FROM {files} WHERE id = coalesce($1, $2)")
    every, loaded, _ = groups(out, lambda least, greatest: least <= 20000 <= greatest)
    assert f"Row Groups: {loaded} loaded, {every - loaded} skipped" in analyzed(forced, "EXECUTE one(NULL, 20000)")
    assert forced.execute("EXECUTE one(NULL, 20000)").fetchone() == (1,)


def test_rows_that_raise_an_error(forced, files):
    with pytest.raises(psycopg.errors.DivisionByZero):
        forced.execute(f"SELECT sum(id / (k - 3)) FROM {files}")
    assert both(forced, f"SELECT sum(id / (k - 3)) FROM {files} WHERE k <> 3")
    with pytest.raises(psycopg.errors.NumericValueOutOfRange):
        forced.execute(f"SELECT max(id * 100000) FROM {files}")


def test_conditions_in_the_order_of_a_foreign_scan(forced, files):
    """A condition that raises an error is not evaluated for rows that another one, which cannot, excludes."""
    query = f"SELECT k, count(*) FROM {files} WHERE id / (k - 3) > 0 AND d IN ('2020-01-02', '2020-01-04')"
    assert forced.execute(f"SELECT count(*) FROM {files} WHERE d IN ('2020-01-02', '2020-01-04')").fetchone()[0] > 100
    with pytest.raises(psycopg.errors.DivisionByZero):
        forced.execute(query + " GROUP BY k")
    both(forced, query.replace("count(*)", "count(*), sum(id)").replace("d IN", "k <> 3 AND d IN") + " GROUP BY k")
    # Though it costs more.
    query = f"SELECT k, count(*) FROM {files} WHERE id / (k - 3) > 0 AND k IN (0, 1, 2, 4, 5, 6, 7, 8) GROUP BY k"
    assert NODE in plan(forced, query)
    answers = [random_sql.answer(forced, query, mode) for mode in ("off", "force")]
    assert answers[0] == answers[1] and answers[0][1] is None and len(answers[0][0]) > 1


def test_odd_rows_in_many_batches(forced, out):
    """What evaluates them is prepared for all batches."""
    forced.execute("CREATE TABLE a AS SELECT g AS id, 2147483000 + g % 600 AS x FROM generate_series(1, 30000) g")
    export_group(forced, "parquet", "a", out / "a.parquet", 500)
    foreign(forced, "f", "id int, x int", file=out / "a.parquet")
    query = "SELECT count(*) FILTER (WHERE id % 100 <> 99 OR x::bigint + 1 > 0), max(id) FROM f"
    both(forced, query)
    query = "SELECT sum(CASE WHEN x > 2147483100 THEN x - 1 ELSE x + 500 END) FROM f WHERE id > 0"
    for _ in range(3):
        both(forced, query)
        assert int(re.search(r"(\d+) evaluated one by one", analyzed(forced, query)).group(1)) > 20000


def test_a_file_without_a_column(forced, out):
    forced.execute("CREATE TABLE a AS SELECT 1 AS x, 'y' AS y; CREATE TABLE b AS SELECT 2 AS x")
    export_group(forced, "parquet", "a", out / "a.parquet", 10)
    export_group(forced, "parquet", "b", out / "b.parquet", 10)
    foreign(forced, "f", "x int, y text", dir=out, missing_columns="null")
    assert sorted(both(forced, "SELECT y, sum(x) FROM f GROUP BY y"), key=repr) == sorted(
        [("y", 1), (None, 2)], key=repr
    )
    foreign(forced, "g", "x int, y text", dir=out)
    assert NODE in plan(forced, "SELECT y, sum(x) FROM g GROUP BY y")
    with raises("HV005"):
        forced.execute("SELECT y, sum(x) FROM g GROUP BY y")


def test_a_value_that_does_not_fit_the_column(forced, out):
    forced.execute("CREATE TABLE a AS SELECT g AS id, g * 1000 AS x FROM generate_series(1, 1000) g")
    export_group(forced, "parquet", "a", out / "a.parquet", 1000)
    foreign(forced, "f", "id int, x smallint", file=out / "a.parquet")
    with raises("22003"):
        forced.execute("SELECT sum(x) FROM f")
    # Nobody looks at the value in rows that a condition excludes.
    query = "SELECT id % 2, sum(x) FROM f WHERE id < 10 GROUP BY id % 2"
    assert sorted(forced.execute(query).fetchall()) == [(0, 20000), (1, 25000)]
    assert "Spare: a value of a file" in analyzed(forced, query)


def test_who_may_read(forced, files):
    (schema,) = forced.execute("SELECT current_schema()").fetchone()
    forced.execute(
        f"CREATE ROLE no_reader; GRANT USAGE ON SCHEMA {schema} TO no_reader; GRANT SELECT ON {files} TO no_reader"
    )
    try:
        forced.execute("SET ROLE no_reader")
        with raises("42501"):
            forced.execute(f"SELECT sum(n) FROM {files}")
        forced.execute("RESET ROLE; GRANT pg_read_server_files TO no_reader; SET ROLE no_reader")
        assert forced.execute(f"SELECT count(*) FROM {files}").fetchone() == (30000,)
        # A plan that was made with the privilege does not outlive it.
        forced.execute("SET plan_cache_mode = force_generic_plan")
        forced.execute(f"PREPARE all_rows AS SELECT sum(n) FROM {files}; EXECUTE all_rows")
        assert NODE in plan(forced, "EXECUTE all_rows")
        forced.execute("RESET ROLE; REVOKE pg_read_server_files FROM no_reader; SET ROLE no_reader")
        with raises("42501"):
            forced.execute("EXECUTE all_rows")
    finally:
        forced.execute("RESET ROLE; DROP OWNED BY no_reader; DROP ROLE no_reader")
