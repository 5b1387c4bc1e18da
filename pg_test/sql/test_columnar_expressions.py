"""Expressions on columns: each is computed there, and its values are those of PostgreSQL's own plans."""

import re

import pytest

from .. import random_sql
from ..helpers.columnar import NODE, analyzed, both, force, plan


@pytest.fixture
def forced(server):
    with server.connect() as connection:
        yield force(connection)


@pytest.fixture(scope="module")
def values(server):
    with server.connect() as connection:
        connection.execute("""
            CREATE TABLE columnar_values AS
            SELECT g AS id, (g % 9 - 4)::smallint AS s, CASE WHEN g % 7 = 0 THEN NULL ELSE g * 37 - 9000 END AS i,
                   g * 1234567890123::bigint AS l, (g * 0.37 - 50)::numeric(12, 2) AS n,
                   CASE WHEN g % 5 > 0 THEN g % 13 * 0.001 END AS m, date '1999-11-28' + g * 11 AS d,
                   timestamp '1999-12-25 01:02:03.456789' + g * interval '31:17:05.000321' AS ts,
                   timestamptz '2020-01-01 00:00+00' + g * interval '1 day' AS tz,
                   (CASE g % 6 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'Žluť' || g ELSE 'Row ' || g END) COLLATE "C"
                   AS t,
                   ('c' || g % 4)::char(5) AS c, g % 3 = 0 AS b, g::real / 3 AS f
            FROM generate_series(1, 500) g;
            ANALYZE columnar_values""")
    yield "columnar_values"
    with server.connect() as connection:
        connection.execute("DROP TABLE columnar_values")


EXPRESSIONS = [
    "i IS DISTINCT FROM s, n IS NOT DISTINCT FROM m, t IS DISTINCT FROM 'Row 3', f IS DISTINCT FROM 1.5::float8",
    "nullif(i, s), nullif(n, -49.63), nullif(t, 'Row 3'), nullif(b, true), nullif(d, '2000-01-01')",
    "greatest(i, s, 7), least(n, m), greatest(t, 'Row 2'), least(d, ts), greatest(f, 1), least(b, true)",
    "n / 7, m / 3, n / nullif(m, 0), i::numeric / 1000, 1 / nullif(n, 0), n / 0.00001, n % 7, m % 0.003, mod(n, -3.3)",
    "abs(i), abs(s), abs(l), @ i, abs(n), sign(n), sign(m), -n, - i",
    "round(n), round(n, 1), round(m, 5), trunc(n), trunc(n, 1), ceil(n), ceiling(m), floor(n), n::numeric(8, 1)",
    "i & 255, s | 1::smallint, l # 5, ~ i, ~ s, i << 3, s << 2, l << 5, i >> 2, s >> 1, l >> 40, i << s::integer",
    "n::integer, n::smallint, (n * 1000)::bigint, m::integer, i::bigint::numeric::integer",
    "d + 30, d - 30, 7 + d, d - date '2000-02-29', d + i, d - (d - 3)",
    "ts + interval '1 day 02:03', ts - interval '3 days', d + interval '12 hours', tz + interval '90 minutes'",
    "ts::date, d::timestamp, ts::date - d",
    "date_trunc('year', ts), date_trunc('quarter', ts), date_trunc('month', ts), date_trunc('week', ts)",
    "date_trunc('day', ts), date_trunc('hour', ts), date_trunc('minute', ts), date_trunc('second', ts)",
    "extract(year FROM d), extract(quarter FROM d), extract(month FROM d), extract(week FROM d), extract(day FROM d)",
    "extract(dow FROM d), extract(isodow FROM d), extract(doy FROM d), extract(isoyear FROM d), extract(epoch FROM d)",
    "extract(year FROM ts), extract(hour FROM ts), extract(minute FROM ts), extract(second FROM ts)",
    "extract(milliseconds FROM ts), extract(microseconds FROM ts), extract(epoch FROM ts), extract(epoch FROM tz)",
    "date_part('year', ts), date_part('dow', ts), date_part('hour', ts), date_part('month', d)",
    "length(t), char_length(c), octet_length(t), octet_length(c), length(left(t, 3))",
    "left(t, 2), left(t, -2), right(t, 2), right(t, -2), substring(t, 2), substring(t, -1, 4), substr(t, 2, 2)",
    "lower(t), upper(t), t || 'ž', t || c, coalesce(t, 'none'), starts_with(t, 'Ž'), t ^@ 'Row'",
    "CASE WHEN b THEN t ELSE 'other' END, CASE t WHEN '' THEN 'empty' END, coalesce(left(t, 1), c::text)",
    "i = ANY (ARRAY[65, 102]::bigint[]), l = ANY (ARRAY[1, 2]::smallint[]), d = ANY (ARRAY[timestamp '1999-12-09'])",
    "ts IN (date '2000-01-01', timestamp '1999-12-26 08:19:08.45711'), i < ANY (ARRAY[1, 2]), n >= ALL (ARRAY[-60.0])",
]


# Whose values show different numbers of digits, or are shifted by negative ones: PostgreSQL evaluates many rows.
OF_MANY_SCALES = (
    "least(n, m)",
    "n / 7",
    "n / nullif(m, 0)",
    "i::numeric / 1000",
    "1 / nullif(n, 0)",
    "n / 0.00001",
    "i << s::integer",
)


@pytest.mark.parametrize("expressions", EXPRESSIONS)
def test_expressions(forced, values, expressions):
    keys = split(expressions)
    grouped = f"SELECT {', '.join(f'({key})::text' for key in keys)}, count(*) FROM {values} GROUP BY {{}}"
    query = grouped.format(", ".join(keys))
    assert NODE in plan(forced, query)
    assert both(forced, query)
    for key in keys:
        query = f"SELECT ({key})::text, count({key}), sum(id) FROM {values} GROUP BY {key}"
        both(forced, query)
        text = analyzed(forced, query)
        assert "Spare:" not in text, text
        odd = int(re.search(r"(\d+) evaluated one by one", text).group(1))
        assert odd < 100 or key in OF_MANY_SCALES, text


def split(expressions):
    """Splits at commas that lie outside of parentheses and brackets."""
    parts, depth = [""], 0
    for character in expressions:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


@pytest.mark.parametrize(
    "condition",
    [
        "tz > now() - interval '200 years'",
        "d < CURRENT_DATE AND d > CURRENT_DATE - 9000",
        "ts < LOCALTIMESTAMP - interval '1 month'",
        "ts >= date_trunc('year', now()::timestamp) - interval '200 years'",
        "greatest(d, CURRENT_DATE) = CURRENT_DATE",
    ],
)
def test_the_current_time_is_evaluated_once(forced, values, condition):
    query = f"SELECT count(*), max(id) FROM {values} WHERE {condition}"
    assert NODE in plan(forced, query)
    with forced.transaction():
        assert both(forced, query)[0][0] > 0
    forced.execute(f"PREPARE counted AS {query}")
    for _ in range(7):
        assert forced.execute("EXECUTE counted").fetchall() == both(forced, query)
    forced.execute("DEALLOCATE counted")


def test_the_time_is_that_of_each_execution(forced):
    forced.execute("CREATE TABLE of_now (tz timestamptz); SET plan_cache_mode = force_generic_plan")
    forced.execute("PREPARE of_this_transaction AS SELECT count(*) FROM of_now WHERE tz = now()")
    try:
        for _ in range(3):
            with forced.transaction():
                forced.execute("INSERT INTO of_now VALUES (now())")
                assert NODE in plan(forced, "EXECUTE of_this_transaction")
                assert forced.execute("EXECUTE of_this_transaction").fetchone() == (1,)
    finally:
        forced.execute("DEALLOCATE of_this_transaction; DROP TABLE of_now; RESET plan_cache_mode")


def test_partitions_that_the_current_time_excludes_are_known_to_postgresql(forced):
    forced.execute("""
        CREATE TABLE by_day (d date, x integer) PARTITION BY RANGE (d);
        CREATE TABLE by_day_past PARTITION OF by_day FOR VALUES FROM ('2000-01-01') TO ('2020-01-01');
        CREATE TABLE by_day_future PARTITION OF by_day FOR VALUES FROM ('2020-01-01') TO ('3000-01-01');
        INSERT INTO by_day VALUES ('2001-01-01', 1), ('2900-01-01', 2)""")
    try:
        assert NODE in plan(forced, "SELECT sum(x) FROM by_day WHERE d > '2010-01-01'")
        assert NODE not in plan(forced, "SELECT sum(x) FROM by_day WHERE d > CURRENT_DATE")
        assert NODE in plan(forced, "SELECT sum(x) FILTER (WHERE d > CURRENT_DATE) FROM by_day")
        assert both(forced, "SELECT sum(x) FILTER (WHERE d > CURRENT_DATE) FROM by_day") == [(2,)]
    finally:
        forced.execute("DROP TABLE by_day")


@pytest.mark.parametrize(
    "expression, code",
    [
        ("n / (id - 17)", "22012"),
        ("n % (id - 17)", "22012"),
        ("abs((i - 9000 - 2147483647)::integer)", "22003"),
        ("(n * 1000000)::smallint", "22003"),
        ("n::numeric(3, 2)", "22003"),
        ("d + 2147483647", "22008"),
        ("ts + interval '200000000 days'", "22008"),
        ("substring(t, 1, -1)", "22011"),
    ],
)
def test_errors_are_those_of_postgresql(forced, values, expression, code):
    query = f"SELECT count({expression}) FROM {values}"
    # What cannot but raise an error is PostgreSQL's from the beginning.
    assert (NODE in plan(forced, query)) == (
        expression not in ("ts + interval '200000000 days'", "substring(t, 1, -1)")
    )
    answers = {random_sql.answer(forced, query, mode)[1] for mode in ("off", "force")}
    assert answers == {code}
    forced.execute("SET pg_strata.columnar_sql = force")
    assert forced.execute(query + " WHERE id < 0").fetchone() == (0,)


def test_infinite_and_early_times(forced):
    forced.execute("""
        CREATE TABLE edge_times (d date, ts timestamp);
        INSERT INTO edge_times VALUES ('infinity', '-infinity'), ('-infinity', 'infinity'), (NULL, NULL),
        ('4713-01-01 BC', '4713-01-01 BC'), ('0001-01-01', '0001-01-01'), ('5874897-12-31', '294276-12-31 23:59:59'),
        ('0001-12-31 BC', '0001-12-31 23:59:59 BC'), ('1999-12-31', '1999-12-31 23:59:59.999999')""")
    try:
        for expression in (
            *(f"extract({part} FROM {column})" for part in random_sql.DATE_PARTS for column in ("d", "ts")),
            *(f"date_trunc('{unit}', ts)" for unit in random_sql.UNITS if unit != "decade"),
            "d + 0",
            "ts + interval '0'",
            "ts::date",
            "greatest(d, ts::date)",
        ):
            both(forced, f"SELECT ({expression})::text, count(*) FROM edge_times GROUP BY {expression}")
    finally:
        forced.execute("DROP TABLE edge_times")


def test_domains(forced):
    forced.execute("""
        CREATE DOMAIN own_integer AS integer; CREATE DOMAIN own_text AS text; CREATE DOMAIN own_date AS date;
        CREATE TABLE of_domains (i own_integer, t own_text COLLATE "C", d own_date, n numeric(6, 2));
        INSERT INTO of_domains VALUES (1, 'One', '2020-02-29', 1.5), (NULL, 'two', NULL, NULL),
        (1, 'ONE', '2021-01-01', 3)""")
    try:
        for expression in ("abs(i) | 2", "lower(t)", "extract(year FROM d)", "d - 1", "nullif(t, 'two')", "n / i"):
            query = (
                f"SELECT ({expression})::text, count(DISTINCT t), max(t), sum(i) FROM of_domains GROUP BY {expression}"
            )
            assert NODE in plan(forced, query), query
            both(forced, query)
    finally:
        forced.execute("DROP TABLE of_domains; DROP DOMAIN own_integer, own_text, own_date")


def test_collations_decide_about_texts(forced, values):
    for expression in ('lower(t COLLATE "default")', 'upper(t COLLATE "default")'):
        assert NODE not in plan(forced, f"SELECT count({expression}) FROM {values}")
