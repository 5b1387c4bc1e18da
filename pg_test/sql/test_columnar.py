"""Aggregations on columns: the answers are those of PostgreSQL's own plans, whatever runs them."""

from pathlib import Path

import psycopg
import pytest

from .. import random_sql
from ..helpers.columnar import NODE, analyzed, both, force, plan
from ..helpers.pruning import supports_sql


@pytest.fixture(scope="module")
def table(server):
    with server.connect() as connection:
        connection.execute("""
            CREATE TABLE columnar_rows AS
            SELECT g AS id, g % 7 AS k, (g * 0.01)::numeric(12, 2) AS n, date '2020-01-01' + g % 400 AS d,
            'x' || g % 13 AS t,
                   CASE WHEN g % 11 = 0 THEN NULL ELSE g END AS nn, g % 2 = 0 AS f
            FROM generate_series(1, 30000) g;
            ANALYZE columnar_rows""")
    yield "columnar_rows"
    with server.connect() as connection:
        connection.execute("DROP TABLE columnar_rows")


@pytest.fixture
def forced(server):
    with server.connect() as connection:
        yield force(connection)


@pytest.mark.parametrize("seed", range(12))
def test_random_aggregations(forced, seed):
    counts, differing = random_sql.run(forced, 9_000_000 + seed, 60)
    assert not differing, "\n".join(
        f"{text}\n  PostgreSQL {plain}\n  columns    {found}" for text, plain, found in differing
    )
    assert counts["columns"] > 20


def test_a_large_table_is_taken_by_its_cost(server, table):
    with server.connect() as connection:
        connection.execute("LOAD 'pg_strata'")
        assert connection.execute("SHOW pg_strata.columnar_sql").fetchone() == ("auto",)
        assert NODE in plan(connection, f"SELECT k, sum(n) FROM {table} GROUP BY k")
        connection.execute("CREATE TEMP TABLE ten AS SELECT 1 AS a FROM generate_series(1, 10); ANALYZE ten")
        connection.execute("SET pg_strata.columnar_sql = off")
        plain = plan(connection, "SELECT sum(a) FROM ten")
        assert "Aggregate" in plain and NODE not in plain


def test_a_small_table_is_left_to_the_executor(server):
    with server.connect() as connection:
        connection.execute("LOAD 'pg_strata'; SET pg_strata.columnar_sql = auto")
        connection.execute("CREATE TEMP TABLE ten AS SELECT 1 AS a FROM generate_series(1, 10); ANALYZE ten")
        assert NODE not in plan(connection, "SELECT sum(a) FROM ten")
        connection.execute("SET pg_strata.columnar_sql = force")
        assert NODE in plan(connection, "SELECT sum(a) FROM ten")


def test_explain(forced, table):
    query = f"SELECT k, sum(n) FROM {table} WHERE d < '2020-06-01' AND f GROUP BY k HAVING count(*) > 1"
    assert plan(forced, query).splitlines() == [
        NODE,
        "  Filter: ((count(*)) > 1)",
        f"  Table: {table}",
        "  Columnar Filter: f AND (d < '2020-06-01'::date)",
        "  Group Key: k",
        "  Aggregates: sum(n), count(*)",
    ]
    analyzed = plan(forced, query, "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF")
    assert "  Groups: 7\n" in analyzed and "  Scanned: 30000 rows, 0 evaluated one by one\n" in analyzed
    # The groups whose k is 0, 1 or 2.
    query = f"SELECT k, count(*) FROM {table} GROUP BY k HAVING max(k) > 2"
    assert "Rows Removed by Filter: 3\n" in plan(forced, query, "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF")


def test_workers(forced, table):
    analyzed = plan(forced, f"SELECT count(*) FROM {table}", "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF")
    assert "Workers: 2 planned, 2 launched" in analyzed


@pytest.mark.parametrize(
    "query",
    [
        "SELECT k + 1, count(*) FROM {} GROUP BY k + 1",
        "SELECT k, count(*) + 1, sum(nn) / 2 FROM {} GROUP BY k HAVING sum(nn) > 100 ORDER BY 2 DESC, 1",
        "SELECT count(*) FROM {} WHERE id < 0",
        "SELECT k, count(*) FROM {} WHERE id < 0 GROUP BY k",
        "SELECT sum(n), min(d), max(id), avg(n) FROM {} WHERE id < 0",
        "SELECT DISTINCT count(*) FROM {} GROUP BY k",
        "SELECT a.c + b.c FROM (SELECT count(*) AS c FROM {} WHERE f) a, (SELECT count(*) AS c FROM {} WHERE NOT f) b",
        "SELECT k, rank() OVER (ORDER BY sum(n) DESC) FROM {} GROUP BY k",
        "SELECT g, (SELECT count(*) FROM {} WHERE k = g) FROM generate_series(0, 8) g",
        "SELECT g, c FROM generate_series(0, 3) g, LATERAL (SELECT count(*) AS c FROM {} WHERE k < g) l",
        "WITH c AS MATERIALIZED (SELECT k, count(*) AS n FROM {} GROUP BY k) SELECT * FROM c a JOIN c b USING (k)",
        "SELECT k, count(*) FROM {} GROUP BY k UNION ALL SELECT k, sum(id) FROM {} GROUP BY k",
        "SELECT count(*) FILTER (WHERE d > '2020-03-01'), count(nn) FROM {}",
        "SELECT CASE k WHEN 1 THEN 'one' ELSE 'other' END, count(*) FROM {} GROUP BY k",
    ],
)
def test_shapes(forced, table, query):
    query = query.replace("{}", table)
    assert NODE in plan(forced, query)
    both(forced, query)


@pytest.mark.parametrize(
    "aggregates",
    [
        "bool_and(f), bool_or(f), every(id > 0), bool_or(nn > 29990)",
        "bit_and(id), bit_or(id::bigint), bit_xor(k::smallint), bit_and(nn)",
        'min(t COLLATE "C"), max(t COLLATE "C"), max(t COLLATE "C") FILTER (WHERE f)',
        "variance(id), var_pop(k), stddev_samp(nn), stddev_pop(id::bigint), stddev(id::smallint)",
        "var_samp(n), stddev_pop(n * n), variance(n - 1), stddev(n - n), var_pop(n) FILTER (WHERE id = 1)",
        "var_samp(n) FILTER (WHERE id = 1), stddev(nn) FILTER (WHERE id < 0)",
        "count(DISTINCT k), count(DISTINCT t), count(DISTINCT nn) FILTER (WHERE f), count(DISTINCT n)",
        "sum(DISTINCT nn % 100), avg(DISTINCT k), var_pop(DISTINCT k), bit_xor(DISTINCT k), max(DISTINCT d), sum(k)",
        'max(DISTINCT t COLLATE "C"), count(DISTINCT left(t, 2)), count(DISTINCT t || t || t || t || t), bool_and(f)',
    ],
)
def test_aggregates(forced, table, aggregates):
    for query in (
        f"SELECT {aggregates} FROM {table}",
        f"SELECT t, {aggregates} FROM {table} GROUP BY t",
        f"SELECT {aggregates} FROM {table} WHERE id < 0",
    ):
        assert NODE in plan(forced, query), query
        both(forced, query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT DISTINCT k FROM {}",
        "SELECT DISTINCT k, f, t FROM {} WHERE id > 100 ORDER BY t, k DESC, f LIMIT 7",
        "SELECT DISTINCT k + 1, t || 'x' FROM {}",
        "SELECT DISTINCT n FROM {} WHERE id < 0",
        "SELECT count(*), sum(k) FROM (SELECT DISTINCT k, nn FROM {}) AS q",
        "SELECT k FROM {} GROUP BY k",
        "SELECT (k + 1)::text, t FROM {} GROUP BY k + 1, t HAVING k + 1 > 3 AND length(t) > 2",
        "SELECT (k + 1) * 2 + count(*), sum(id) % 7 FROM {} GROUP BY k + 1 HAVING sum(id) % 2 = 0 OR max(k + 1) > 3",
        "SELECT DISTINCT 1, f FROM {}",
    ],
)
def test_distinct_rows_and_groups(forced, table, query):
    query = query.replace("{}", table)
    assert NODE in plan(forced, query)
    both(forced, query)


def test_distinct_values_of_numerics_that_show_other_scales(forced):
    forced.execute("""CREATE TABLE same (k integer, x numeric, c bpchar, f float8);
        INSERT INTO same SELECT g % 3, x, c, f FROM generate_series(1, 90) g,
        (VALUES (1.0, 'a', 0.0), (1.00, 'a  ', '-0'), (2.5, NULL, 'NaN'), (1e30, 'b', 'NaN'),
        ('NaN', 'thirteen byte', 1), ('Infinity', 'thirteen bytes', NULL)) AS v (x, c, f)""")
    try:
        query = "SELECT k, count(DISTINCT x), count(DISTINCT c), count(DISTINCT f) FROM same GROUP BY k"
        assert NODE in plan(forced, query)
        assert sorted(both(forced, query)) == [(k, 5, 4, 3) for k in range(3)]
    finally:
        forced.execute("DROP TABLE same")


def test_extremes_of_texts_that_grow(forced):
    forced.execute("""
        CREATE TABLE grown AS SELECT g, g % 3 AS k, repeat(chr(96 + g % 20), g) COLLATE "C" AS t
        FROM generate_series(1, 2000) g""")
    try:
        for query in ("SELECT min(t), max(t) FROM grown", "SELECT k, min(t), max(t) FROM grown GROUP BY k"):
            assert NODE in plan(forced, query)
            both(forced, query)
        if supports_sql(forced, "SELECT 'a' COLLATE \"en-x-icu\""):
            assert NODE not in plan(forced, 'SELECT max(t COLLATE "en-x-icu") FROM grown')
    finally:
        forced.execute("DROP TABLE grown")


def test_variances_of_numerics_beyond_vectors(forced):
    forced.execute("""CREATE TABLE varied (k integer, x numeric);
        INSERT INTO varied VALUES (1, 1), (1, 2.50), (1, 1e-20), (2, 'NaN'), (2, 1), (3, 'Infinity'), (4, 5), (5, NULL),
        (6, 123456789012345678901234567890), (6, -1.5), (7, 1e70), (7, 1)""")
    functions = ", ".join(f"{name}(x)::text" for name in random_sql.SPREADS)
    try:
        both(forced, f"SELECT k, {functions} FROM varied GROUP BY k")
        both(forced, f"SELECT k, {functions} FROM varied WHERE k < 6 GROUP BY k")
    finally:
        forced.execute("DROP TABLE varied")


def test_prepared_statements(forced, table):
    forced.execute(
        f"PREPARE counted(int, text) AS SELECT t, count(*) FROM {table} WHERE k = $1 AND t LIKE $2 GROUP BY t"
    )
    wanted = forced.execute(f"SELECT t, count(*) FROM {table} WHERE k = 3 AND t LIKE 'x1%' GROUP BY t").fetchall()
    assert NODE in plan(forced, "EXECUTE counted(3, 'x1%')")
    for _ in range(8):
        assert sorted(forced.execute("EXECUTE counted(3, 'x1%')").fetchall()) == sorted(wanted)
    assert forced.execute("EXECUTE counted(NULL, 'x1%')").fetchall() == []
    # A pattern that ends with an escape character is PostgreSQL's to judge.
    with pytest.raises(psycopg.Error, match="LIKE pattern must not end with escape character"):
        forced.execute("EXECUTE counted(3, 'x1\\')")
    assert len(forced.execute("EXECUTE counted(0, '%')").fetchall()) == 13


def test_cursors_and_functions(forced, table):
    with forced.transaction():
        forced.execute(f"DECLARE c SCROLL CURSOR FOR SELECT k, count(*) FROM {table} GROUP BY k ORDER BY k")
        first = forced.execute("FETCH 3 FROM c").fetchall()
        forced.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE id = 1")
        rest = forced.execute("FETCH ALL FROM c").fetchall()
        assert [k for k, _ in first + rest] == list(range(7)) and sum(count for _, count in first + rest) == 30000
        assert forced.execute("FETCH BACKWARD 1 FROM c").fetchone() == rest[-1]
        # The transaction's own row counts for the next statement.
        assert forced.execute(f"SELECT count(*) FROM {table}").fetchone() == (30001,)
        forced.execute(f"DELETE FROM {table} WHERE ctid = (SELECT max(ctid) FROM {table})")
    forced.execute("""DO $$ DECLARE r record; total bigint := 0; BEGIN
        FOR r IN SELECT k, sum(id) AS s FROM columnar_rows GROUP BY k LOOP total := total + r.s; END LOOP;
        IF total <> 450015000 THEN RAISE 'sum is %', total; END IF; END $$""")
    forced.execute(f"CREATE TEMP TABLE kept AS SELECT k, count(*) AS n FROM {table} GROUP BY k")
    forced.execute(f"INSERT INTO kept SELECT k, count(*) FROM {table} GROUP BY k")
    assert forced.execute("SELECT sum(n) FROM kept").fetchone() == (60000,)


def test_errors_are_those_of_postgresql(forced, table):
    with pytest.raises(psycopg.errors.DivisionByZero, match="^division by zero"):
        forced.execute(f"SELECT sum(1 / (id - 17)) FROM {table}")
    with pytest.raises(psycopg.errors.NumericValueOutOfRange, match="^integer out of range"):
        forced.execute(f"SELECT sum(id * id * 1000) FROM {table}")
    # No row arrives.
    assert forced.execute(f"SELECT sum(1 / (id - id)) FROM {table} WHERE id < 0").fetchone() == (None,)
    assert forced.execute(f"SELECT sum(CASE WHEN id = 17 THEN 0 ELSE 1 / (id - 17) END) FROM {table}").fetchone() == (
        0,
    )


def test_a_view_that_hides_rows_shows_none_of_their_errors(server, forced, table):
    forced.execute(f"""
        CREATE TABLE hidden AS SELECT id, 0 AS zero FROM {table};
        ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
        CREATE POLICY none ON hidden USING (id < 0);
        CREATE ROLE columnar_reader LOGIN; GRANT SELECT ON hidden TO columnar_reader;
        ALTER ROLE columnar_reader SET session_preload_libraries = 'pg_strata'""")
    try:
        with server.connect(user="columnar_reader") as connection:
            random_sql.prepare(connection, 0, load=False)
            connection.execute("SET pg_strata.columnar_sql = force")
            query = "SELECT count(*) FROM hidden WHERE 1 / zero > 0"
            assert NODE in plan(connection, query)
            assert connection.execute(query).fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            with server.connect(user="columnar_reader") as connection:
                connection.execute("SET pg_strata.columnar_sql = force")
                connection.execute(f"SELECT count(*) FROM {table}")
    finally:
        forced.execute("DROP TABLE hidden; DROP ROLE columnar_reader")


def test_groups_beyond_the_memory_of_a_hash_table(forced, table):
    query = f"SELECT id, count(*) FROM {table} GROUP BY id"
    forced.execute("SET work_mem = '64kB'; SET hash_mem_multiplier = 1")
    analyzed = plan(forced, query, "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF")
    assert "Spare: the groups need more memory than a hash table may take" in analyzed or "Spare: rows that" in analyzed
    assert len(both(forced, query)) == 30000
    # A loop begins PostgreSQL's plan again.
    looped = (
        f"SELECT g, (SELECT max(c) FROM (SELECT id, count(*) AS c FROM {table} WHERE id % 2 < g GROUP BY id) x) "
        f"FROM generate_series(1, 3) g"
    )
    assert both(forced, looped) == [(1, 1), (2, 1), (3, 1)]


def test_what_is_not_computed_here(forced, table):
    for query in (
        f"SELECT count(*) FROM {table} TABLESAMPLE BERNOULLI (50)",
        f"SELECT sum(id::float8) FROM {table}",
        f"SELECT sum(DISTINCT n) FROM {table}",
        f"SELECT count(DISTINCT (k, f)) FROM {table}",
        f"SELECT DISTINCT ON (k) k, f FROM {table} ORDER BY k",
        f"SELECT string_agg(t, ',') FROM {table}",
        f"SELECT k, count(*) FROM {table} GROUP BY GROUPING SETS ((k), ())",
        f"SELECT count(*) FROM {table} WHERE random() < 2",
        f"SELECT count(*) FROM {table} WHERE ctid > '(0,0)'",
    ):
        assert NODE not in plan(forced, query), query
    assert NODE in plan(forced, f"SELECT count(*) FROM {table}")


def test_a_column_added_later_and_one_dropped(forced):
    forced.execute("CREATE TABLE altered AS SELECT g AS a, g AS gone, g AS b FROM generate_series(1, 1000) g")
    forced.execute(
        "ALTER TABLE altered DROP COLUMN gone; "
        "ALTER TABLE altered ADD COLUMN c numeric(8, 3) DEFAULT 1.125, ADD COLUMN e text"
    )
    forced.execute("INSERT INTO altered VALUES (1001, 1001, 2, 'e')")
    try:
        assert both(forced, "SELECT e, sum(b), sum(c), count(a) FROM altered GROUP BY e")
    finally:
        forced.execute("DROP TABLE altered")


def test_a_cancel_ends_a_run(server, table):
    with server.connect() as connection:
        random_sql.prepare(connection, 2)
        connection.execute("SET pg_strata.columnar_sql = force; SET statement_timeout = 1")
        with pytest.raises(psycopg.errors.QueryCanceled):
            for _ in range(2000):
                connection.execute(f"SELECT t, id, count(*) FROM {table} GROUP BY t, id")
        connection.execute("SET statement_timeout = 0")
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (30000,)


def test_domains(forced):
    forced.execute("""
        CREATE DOMAIN own_uuid AS uuid; CREATE DOMAIN own_real AS real; CREATE DOMAIN own_number AS numeric(8, 2);
        CREATE TABLE domains (u own_uuid, r own_real, n own_number);
        INSERT INTO domains
        VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1.5, 2), (NULL, -0.25, 3.10), (NULL, NULL, 5)""")
    try:
        both(forced, "SELECT u::text, r::text, n::text, count(*) FROM domains GROUP BY u, r, n")
        both(forced, "SELECT min(r), max(r), sum(n) FROM domains")
    finally:
        forced.execute("DROP TABLE domains; DROP DOMAIN own_uuid, own_real, own_number")


def test_timestamps_and_a_list_of_dates(forced):
    forced.execute(
        "CREATE TABLE times AS "
        "SELECT timestamp '2000-01-02' + g * interval '1 hour' AS ts FROM generate_series(0, 99) g"
    )
    forced.execute("PREPARE among(date[]) AS SELECT count(*) FROM times WHERE ts = ANY ($1)")
    forced.execute("PREPARE beside(date[]) AS SELECT count(*) FROM times WHERE ts <> ALL ($1)")
    try:
        assert forced.execute("EXECUTE among('{2000-01-02,2000-01-04}')").fetchone() == (2,)
        assert forced.execute("EXECUTE beside('{2000-01-02,2000-01-04}')").fetchone() == (98,)
    finally:
        forced.execute("DROP TABLE times")


def test_a_view_that_was_never_populated(forced, table):
    forced.execute(f"CREATE MATERIALIZED VIEW unpopulated AS SELECT * FROM {table} WITH NO DATA")
    try:
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="has not been populated"):
            forced.execute("SELECT count(*) FROM unpopulated")
        forced.execute("REFRESH MATERIALIZED VIEW unpopulated")
        assert NODE in plan(forced, "SELECT count(*) FROM unpopulated")
        assert forced.execute("SELECT count(*) FROM unpopulated").fetchone() == (30000,)
    finally:
        forced.execute("DROP MATERIALIZED VIEW unpopulated")


@pytest.mark.parametrize(
    "rows", ["(1.0), (1.00), (1.0)", "(2.0), (1.00), (1.0), (1.000), ('NaN'), (2)", "(1), (2.5), (1.0)"]
)
def test_equal_numerics_show_what_a_scan_in_order_shows(forced, rows):
    forced.execute("SET max_parallel_workers_per_gather = 0; SET enable_sort = off")
    forced.execute(f"CREATE TABLE scales (x numeric); INSERT INTO scales VALUES {rows}")
    try:
        both(forced, "SELECT min(x)::text, max(x)::text, sum(x)::text FROM scales")
        both(forced, "SELECT x::text, count(*) FROM scales GROUP BY x")
    finally:
        forced.execute("DROP TABLE scales")


def test_deep_expressions(forced, table):
    """Those that are too deep are left to PostgreSQL's plans; workers take the others."""
    for terms, taken in ((20, True), (40, False), (3000, False)):
        query = f"SELECT sum({' + '.join(['k'] * terms)}) FROM {table}"
        assert (NODE in plan(forced, query)) == taken
        assert forced.execute(query).fetchone() == (terms * 90000,)


def test_conditions_on_groups_in_the_order_of_their_costs(forced, table):
    forced.execute("""CREATE FUNCTION refuses(bigint) RETURNS boolean LANGUAGE plpgsql COST 1000 AS
        $$ BEGIN RAISE 'called'; END $$""")
    try:
        query = f"SELECT k FROM {table} GROUP BY k HAVING refuses(sum(id)) AND count(*) > 100000"
        assert NODE in plan(forced, query)
        assert both(forced, query) == []
    finally:
        forced.execute("DROP FUNCTION refuses")


def test_many_runs_in_a_query_take_little_memory(forced):
    forced.execute("CREATE TABLE few AS SELECT g AS a FROM generate_series(1, 3) g")
    query = "SELECT sum((SELECT count(*) FROM few WHERE a < g % 3 + 1)) FROM generate_series(1, {}) g"
    used = "SELECT sum(used_bytes) FROM pg_backend_memory_contexts"
    try:
        for rows in (300, 3000):
            assert "SubPlan" in plan(forced, query.format(rows)) and NODE in plan(forced, query.format(rows))
            inside = f"SELECT ({used}), x FROM ({query.format(rows)}) AS q(x)"
            first = forced.execute(used).fetchone()[0]
            assert forced.execute(inside).fetchone()[1] == rows
        assert forced.execute(inside).fetchone()[0] - first < 4_000_000
    finally:
        forced.execute("DROP TABLE few")


@pytest.fixture(scope="module")
def many_groups(server):
    """A table of more groups than are left to the leader, in a hundred thousand rows, for three workers."""
    with server.connect() as connection:
        connection.execute("""
            CREATE TABLE many_groups AS
            SELECT (g * 7919::bigint % 60000)::int4 AS k, 'a text of more than twelve bytes ' || g % 40000 AS t,
                   CASE g % 5 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' ELSE g * 0.01 END::numeric AS n,
                   CASE WHEN g % 3 > 0 THEN (g % 50000 - 25000) / 4.0 END::float8 AS x, g::int8 AS v
            FROM generate_series(1, 100000) g;
            ALTER TABLE many_groups SET (parallel_workers = 3);
            ANALYZE many_groups""")
    yield "many_groups"
    with server.connect() as connection:
        connection.execute("DROP TABLE many_groups")


def segments(connection):
    """The shared memory of a session, which goes with the last process that has it mapped."""
    lines = Path(f"/proc/{connection.info.backend_pid}/maps").read_text().splitlines()
    return [line for line in lines if "/PostgreSQL." in line]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT k, count(*), sum(v), avg(n), min(x), max(v), bool_or(v > 50000) FROM {} GROUP BY k",
        "SELECT t, k % 2, count(*), sum(n), variance(v) FROM {} GROUP BY t, k % 2",
        "SELECT x, k / 2, sum(n * 1e20), max(n) FROM {} GROUP BY x, k / 2",
        "SELECT k, count(*) FILTER (WHERE v % 2 = 0), sum(v) FROM {} WHERE v % 10 < 9 GROUP BY k HAVING sum(v) > 70000",
        "SELECT DISTINCT t, x FROM {}",
        "SELECT k, max(t), count(DISTINCT v % 3) FROM {} GROUP BY k",
        "SELECT n, v % 20000, count(*) FROM {} GROUP BY n, v % 20000",
    ],
)
def test_processes_merge_many_groups_together(forced, many_groups, query):
    forced.execute("SET max_parallel_workers_per_gather = 3; SET work_mem = '256MB'")
    query = query.format(many_groups)
    assert len(both(forced, query)) > 10000
    # The first query with workers also made what the session keeps.
    before = segments(forced)
    assert "Workers: 3 planned, " in analyzed(forced, query)
    assert segments(forced) == before


def test_cancel_of_processes_that_merge(server, forced, many_groups):
    """Wherever it meets them. The next query is right, and no shared memory is left."""
    forced.execute("SET max_parallel_workers_per_gather = 3; SET work_mem = '256MB'")
    query = f"SELECT k, v % 7, sum(v), count(*) FROM {many_groups} GROUP BY k, v % 7"
    wanted, cancelled = len(both(forced, query)), 0
    before = segments(forced)
    for step in range(30):
        forced.execute(f"SET statement_timeout = {1 + step * 5}")
        try:
            forced.execute(f"SELECT count(*) FROM ({query}) s")
        except psycopg.errors.QueryCanceled:
            cancelled += 1
    forced.execute("RESET statement_timeout")
    assert cancelled > 0
    assert forced.execute(f"SELECT count(*) FROM ({query}) s").fetchall() == [(wanted,)]
    assert segments(forced) == before
