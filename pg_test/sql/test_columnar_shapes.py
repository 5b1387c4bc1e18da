"""Queries around a plan on columns, in which engines of SQL on columns gave wrong answers: ours are PostgreSQL's."""

import contextlib

import psycopg
import pytest

from .. import random_sql
from ..helpers.columnar import NODE, analyzed, both, fails, fill, force, plan


@pytest.fixture
def forced(db):
    return force(db)


@pytest.mark.parametrize("rows", (0, 1, 1023, 1024, 1025, 70000))
def test_every_row_is_counted(forced, rows):
    fill(forced, "counted", "a int, b numeric", f"SELECT g, nullif(g % 3, 0) * 0.1 FROM generate_series(1, {rows}) g")
    assert both(forced, "SELECT count(*), count(b), sum(a) FROM counted") == [
        (rows, rows - rows // 3, rows * (rows + 1) // 2 or None)
    ]
    # The table of groups grows while rows are read.
    assert len(both(forced, "SELECT a, count(*), sum(b) FROM counted GROUP BY a")) == rows


def test_no_rows_at_each_stage(forced):
    fill(forced, "few", "a int, b numeric, f boolean", "SELECT g, g, g % 2 = 0 FROM generate_series(1, 10) g")
    forced.execute("CREATE TABLE none (LIKE few)")
    aggregates = "count(*), count(a), sum(0.4), bit_or(-1), bool_and(f), min(b), count(DISTINCT a), var_samp(b), avg(a)"
    for table, condition in (("none", "true"), ("few", "a > 100"), ("few", "a IS NULL"), ("few", "false")):
        one = f"SELECT {aggregates} FROM {table} WHERE {condition}"
        if condition != "false":
            both(forced, one)
            assert both(forced, f"SELECT a, {aggregates} FROM {table} WHERE {condition} GROUP BY a") == []
            assert both(forced, f"SELECT DISTINCT f FROM {table} WHERE {condition}") == []
            assert both(forced, f"{one} HAVING count(*) > 0") == []
            both(forced, f"SELECT rank() OVER (ORDER BY sum(b)), a FROM {table} WHERE {condition} GROUP BY a")
    filters = "count(*) FILTER (WHERE f IS NULL), sum(b) FILTER (WHERE a < 0), max(a) FILTER (WHERE false)"
    both(forced, f"SELECT {filters} FROM few")


@pytest.mark.parametrize("join", ("LEFT", "RIGHT", "FULL"))
def test_outer_joins_above(forced, join):
    fill(forced, "few", "a int, b numeric", "SELECT g % 3, g FROM generate_series(1, 10) g")
    forced.execute("CREATE TABLE none (LIKE few)")
    groups = "(SELECT a, sum(b) AS s, count(*) AS c FROM {} GROUP BY a)"
    one = "(SELECT bit_or(-1) AS s, sum(0.4) AS a, count(0) AS c FROM {})"
    for left, right in (("few", "none"), ("none", "few"), ("none", "none"), ("few", "few")):
        for of in (groups, one):
            both(forced, f"SELECT * FROM {of.format(left)} x {join} JOIN {of.format(right)} y ON x.a = y.a")
            if join != "FULL":
                both(
                    forced,
                    f"SELECT * FROM {of.format(left)} x {join} JOIN {of.format(right)} y ON false WHERE x.s IS NULL",
                )


def test_parents_have_rows_of_their_own(forced):
    fill(forced, "parent", "a int, b text", "SELECT g, 'parent' FROM generate_series(1, 10) g")
    forced.execute("""
        CREATE TABLE child (c int) INHERITS (parent);
        INSERT INTO child SELECT g, 'child', g FROM generate_series(1, 5) g;
        CREATE TABLE grandchild () INHERITS (child);
        INSERT INTO grandchild SELECT g, 'grand', g FROM generate_series(1, 3) g
    """)
    for table, rows in (("parent", 18), ("ONLY parent", 10), ("child", 8), ("ONLY child", 5), ("grandchild", 3)):
        assert both(forced, f"SELECT count(*), sum(a) FROM {table}")[0][0] == rows
        both(forced, f"SELECT b, max(a) FROM {table} WHERE a > 2 GROUP BY b")


STAGES = (
    "SELECT count(*) FROM odd WHERE n > 0",
    "SELECT count(*) FROM odd WHERE a > 3 AND n <> 3.5 AND a < 1000",
    "SELECT n, count(*) FROM odd GROUP BY n",
    "SELECT n * 2, a % 3, sum(a) FROM odd GROUP BY 1, 2",
    "SELECT a % 5, sum(n), min(n), max(n), avg(n), count(n) FROM odd GROUP BY 1",
    "SELECT sum(a) FILTER (WHERE n > 5), count(*) FILTER (WHERE n IS NOT NULL) FROM odd",
    "SELECT count(DISTINCT n), count(DISTINCT t) FROM odd",
    "SELECT a % 5, sum(n) FROM odd GROUP BY 1 HAVING max(n) > 100",
    "SELECT length(t), max(t), count(*) FROM odd GROUP BY 1",
)


@pytest.mark.parametrize("workers", (0, 2))
@pytest.mark.parametrize("query", STAGES)
def test_rows_that_postgresql_evaluates_at_each_stage(forced, query, workers):
    fill(
        forced,
        "odd",
        'a int, n numeric, t text COLLATE "C"',
        """SELECT g, CASE g % 50 WHEN 0 THEN 'NaN' WHEN 1 THEN 1e60 WHEN 2 THEN '-Infinity' WHEN 3 THEN NULL
                             ELSE g * 0.01::numeric END,
                  CASE g % 70 WHEN 0 THEN repeat(md5(g::text), 400) WHEN 1 THEN NULL ELSE 'x' || g % 7 END
           FROM generate_series(1, 4000) g""",
    )
    random_sql.prepare(forced, workers)
    both(forced, query)


def test_rescans(forced):
    fill(forced, "scanned", "a int, k int, n numeric", "SELECT g, g % 5, g * 0.5 FROM generate_series(1, 500) g")
    forced.execute(
        "SET enable_material = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_memoize = off"
    )
    for query in (
        """SELECT g, c FROM generate_series(0, 6) g
        LEFT JOIN (SELECT k, count(*) AS c FROM scanned GROUP BY k) s ON s.k = g""",
        "SELECT g, (SELECT sum(n) FROM scanned WHERE k = g AND a > g) FROM generate_series(0, 6) g",
        "SELECT g, (SELECT sum(n) FROM scanned WHERE k = h) FROM generate_series(1, 4) g, generate_series(1, 3) h",
        """SELECT g, s.* FROM generate_series(0, 6) g,
        LATERAL (SELECT k, count(*), max(n) + g FROM scanned WHERE a < g GROUP BY k) s""",
        """SELECT g FROM generate_series(0, 6) g
        WHERE g IN (SELECT k FROM scanned WHERE a > g GROUP BY k HAVING sum(n) > g)""",
    ):
        both(forced, query)


def test_subqueries_of_one_value_at_each_place(forced):
    fill(forced, "outside", "a int, k int", "SELECT g, g % 5 FROM generate_series(1, 100) g")
    value = "(SELECT max(k) FROM outside)"
    for query in (
        f"SELECT {value}, count(*) FROM outside",
        f"SELECT count(*) FROM outside WHERE k = {value}",
        f"SELECT k + {value}, count(*) FROM outside GROUP BY k + {value}",
        f"SELECT sum(a + {value}) FROM outside",
        f"SELECT k, sum(a) FILTER (WHERE k < {value}) FROM outside GROUP BY k",
        f"SELECT k FROM outside GROUP BY k HAVING count(*) > {value} ORDER BY sum(a) + {value}",
        f"SELECT DISTINCT k + {value} FROM outside",
        f"SELECT count(*) FROM outside WHERE a > 90 OR k = {value}",
        f"SELECT sum(CASE WHEN a > 90 THEN {value} END) FROM outside",
    ):
        both(forced, query)


def test_a_subquery_is_evaluated_when_a_row_needs_it(forced):
    fill(forced, "outside", "a int, k int", "SELECT g, g % 5 FROM generate_series(1, 3000) g")
    fill(forced, "two", "z int", "VALUES (0), (1)")
    forced.execute("CREATE TABLE none (LIKE outside)")
    # PostgreSQL's parallel plans evaluate subqueries before they start workers.
    forced.execute("SET max_parallel_workers_per_gather = 0")
    raises = "(SELECT z FROM two)"
    for query in (
        f"SELECT count(*) FROM none WHERE a = {raises}",
        f"SELECT count(*), sum(a + {raises}) FROM none",
        f"SELECT k FROM none GROUP BY k + {raises}, k",
        "SELECT count(*) FROM none WHERE a = (SELECT 1 / z FROM two WHERE z = 0)",
        f"SELECT count(*) FROM outside WHERE a > 5000 AND k + 1 = {raises}",
        f"SELECT count(*) FROM outside WHERE a > 5000 OR a < 0 AND k = {raises}",
        f"SELECT sum(CASE WHEN a > 5000 THEN {raises} END) FROM outside",
        f"SELECT sum(coalesce(k, {raises})) FROM outside",
        f"SELECT sum(a + {raises}) FILTER (WHERE a > 5000) FROM outside",
    ):
        both(forced, query)
    for query in (
        f"SELECT count(*) FROM outside WHERE a = {raises}",
        f"SELECT count(*) FROM outside WHERE a > 2999 AND k + 1 = {raises}",
        f"SELECT sum(CASE WHEN a > 2999 THEN {raises} END) FROM outside",
        f"SELECT sum(coalesce(nullif(k, 3), {raises})) FROM outside",
        f"SELECT sum(a + {raises}) FILTER (WHERE a > 2999) FROM outside",
    ):
        fails(forced, query, "21000")
    # The first row that needs a value is found before the others are read.
    found = analyzed(forced, "SELECT count(*) FROM outside WHERE k > (SELECT min(z) FROM two)")
    assert "Scanned: 3000 rows" in found and "Spare" not in found
    # Workers look for it, too.
    random_sql.prepare(forced, 2)
    for condition, rows in (("a > 2999", 1), ("a > 5000", 0), ("a + k > 100", 2902)):
        query = f"SELECT count(*) FROM outside WHERE {condition} AND k < (SELECT max(z) + 4 FROM two)"
        assert both(forced, query) == [(rows,)]
    none = f"SELECT count(*) FROM outside WHERE a > 5000 AND k = {raises}"
    assert forced.execute(none).fetchone() == (0,)
    with pytest.raises(psycopg.errors.CardinalityViolation):
        forced.execute(none.replace("5000", "2999"))


def test_keys_that_are_not_selected(forced):
    fill(forced, "hidden", "a int, b text, n numeric", "SELECT g % 7, 'x' || g % 3, g FROM generate_series(1, 100) g")
    for query in (
        "SELECT count(*) FROM hidden GROUP BY a",
        "SELECT sum(n) FROM hidden GROUP BY b, a",
        "SELECT 1 FROM hidden GROUP BY a + 1 HAVING sum(n) > 10",
        "SELECT FROM hidden GROUP BY a",
        "SELECT a FROM hidden GROUP BY a, b ORDER BY b, a",
        "SELECT DISTINCT a % 2, b FROM hidden",
        "SELECT DISTINCT ON (a) a, count(*) FROM hidden GROUP BY a, b ORDER BY a, count(*)",
    ):
        both(forced, query)
        assert "Output:" in plan(forced, query, "VERBOSE, COSTS OFF")


def test_limits_and_orders_above(forced):
    fill(forced, "ordered", "a int, n numeric", "SELECT nullif(g % 7, 3), g FROM generate_series(1, 100) g")
    query = "SELECT a, sum(n) FROM ordered GROUP BY a ORDER BY a {} NULLS {} LIMIT {}"
    for direction in ("ASC", "DESC"):
        for nulls in ("FIRST", "LAST"):
            for limit in ("0", "1", "NULL", "100", "3 OFFSET 5"):
                text = query.format(direction, nulls, limit)
                found = both(forced, text)
                forced.execute("SET pg_strata.columnar_sql = off")
                assert found == forced.execute(text).fetchall()
                forced.execute("SET pg_strata.columnar_sql = force")
    fails(forced, query.format("ASC", "LAST", "-1"), "2201W")


def test_wrong_statistics(forced):
    fill(forced, "grown", "a int, b int, n numeric", "VALUES (1, 1, 1)")
    forced.execute("INSERT INTO grown SELECT g, g % 100, g FROM generate_series(1, 60000) g")
    both(forced, "SELECT a, sum(n), count(DISTINCT b) FROM grown GROUP BY a")
    forced.execute("""
        ALTER TABLE grown ALTER a SET (n_distinct = 2000000000), ALTER b SET (n_distinct = -1);
        ANALYZE grown; UPDATE pg_class SET reltuples = 1e12, relpages = 1 WHERE oid = 'grown'::regclass""")
    both(forced, "SELECT b, sum(n) FROM grown GROUP BY b")
    both(forced, "SELECT a, b, count(*) FROM grown GROUP BY a, b HAVING count(*) > 1")
    forced.execute("TRUNCATE grown")
    both(forced, "SELECT b, sum(n) FROM grown GROUP BY b")


def test_locked_rows_have_no_plan_on_columns(forced, again):
    fill(forced, "locked", "a int, n int", "SELECT g, g FROM generate_series(1, 10) g")
    query = "SELECT sum(n) FROM (SELECT n FROM locked WHERE a > 2 FOR UPDATE) AS rows"
    assert NODE not in plan(forced, query)
    with again() as other:
        other.execute("BEGIN; UPDATE locked SET n = n + 100 WHERE a = 5")
        # What others have not committed is not seen, and what an update computes is of its own snapshot.
        assert both(forced, "SELECT sum(n) FROM locked") == [(55,)]
        other.execute("COMMIT")
    assert both(forced, "SELECT sum(n) FROM locked") == [(155,)]
    update = "UPDATE locked SET n = s.n FROM (SELECT max(n) AS n FROM locked) s WHERE a = 1"
    assert NODE in plan(forced, update)
    forced.execute(update)
    assert forced.execute("SELECT n FROM locked WHERE a = 1").fetchone() == (105,)


def test_the_extension_is_dropped_while_sessions_live(server, forced, again):
    fill(forced, "living", "a int", "SELECT g FROM generate_series(1, 10) g")
    database = f"dropped_{forced.schema}"
    forced.execute(f"CREATE DATABASE {database}")
    try:
        with server.connect(database) as one, server.connect(database) as other:
            force(one)
            one.execute("CREATE TABLE living AS SELECT g AS a FROM generate_series(1, 10) g")
            one.execute("PREPARE total AS SELECT count(*), sum(a) FROM living")
            for statement in ("DROP EXTENSION pg_strata", "CREATE EXTENSION pg_strata", "ANALYZE living"):
                assert NODE in plan(one, "SELECT count(*), sum(a) FROM living")
                assert one.execute("EXECUTE total").fetchone() == (10, 55)
                other.execute(statement)
            assert one.execute("EXECUTE total").fetchone() == (10, 55)
    finally:
        with contextlib.suppress(psycopg.Error):
            forced.execute(f"DROP DATABASE {database} WITH (FORCE)")


def test_errors_behind_row_security_tell_nothing(forced):
    role = f"reader_{forced.schema}"
    fill(forced, "secrets", "owner text, v int", "SELECT 'other', g % 10 FROM generate_series(1, 100) g")
    forced.execute(f"""
        INSERT INTO secrets VALUES ('own', 5);
        CREATE ROLE {role}; GRANT USAGE ON SCHEMA {forced.schema} TO {role}; GRANT SELECT ON secrets TO {role};
        ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
        CREATE POLICY own ON secrets USING (owner = 'own')""")
    try:
        forced.execute(f"SET ROLE {role}")
        for query in (
            "SELECT count(*) FROM secrets WHERE 1 / v > 0 OR v = 5",
            "SELECT sum(10 / v) FROM secrets",
            "SELECT 1 / v, count(*) FROM secrets GROUP BY 1",
            "SELECT count(*) FROM secrets WHERE CASE v WHEN 0 THEN 1 / v ELSE 1 END > 0",
        ):
            assert len(both(forced, query)) == 1
    finally:
        forced.execute("RESET ROLE")
        forced.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
