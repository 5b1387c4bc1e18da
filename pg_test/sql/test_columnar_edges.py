"""Values, types and expressions at the edges, where engines on columns gave wrong answers: ours are PostgreSQL's."""

import psycopg
import pytest
from psycopg.types.string import TextLoader

from .. import random_sql
from ..helpers.columnar import NODE, analyzed, both, fails, fill, force, plan

# A value of each type that is the least, one that is the greatest, and one between them.
TYPES = {
    "boolean": ("false", "true", "true"),
    "smallint": ("-32768", "32767", "7"),
    "integer": ("-2147483648", "2147483647", "7"),
    "bigint": ("-9223372036854775808", "9223372036854775807", "7"),
    "oid": ("0", "4294967295", "7"),
    "real": ("-Infinity", "NaN", "-0"),
    "double precision": ("-Infinity", "NaN", "-0"),
    "numeric": ("-Infinity", "NaN", "-0.500"),
    "numeric(15,2)": ("-9999999999999.99", "9999999999999.99", "0.05"),
    "date": ("-infinity", "infinity", "2024-02-29"),
    "time": ("00:00", "24:00", "12:34:56.789012"),
    "timestamp": ("-infinity", "infinity", "2024-02-29 12:00"),
    "timestamptz": ("-infinity", "infinity", "2024-02-29 12:00+05"),
    'text COLLATE "C"': ("", "žluťoučký kůň", "thirteen byte"),
    'varchar(20) COLLATE "C"': ("", "zz", "a "),
    'char(6) COLLATE "C"': ("", "zz", "a b"),
    "uuid": (
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ),
}
WITHOUT_EXTREMES = {"uuid", "boolean"}


@pytest.fixture
def forced(db):
    # Python has no infinite dates.
    for name in ("date", "time", "timestamp", "timestamptz"):
        db.adapters.register_loader(name, TextLoader)
    return force(db)


@pytest.fixture(params=TYPES)
def pairs(request, forced):
    """Each pair of four values of a type, NULL among them."""
    forced.execute(f"CREATE TABLE pairs (a {request.param}, b {request.param})")
    values = [*(f"'{value}'" for value in TYPES[request.param]), "NULL"]
    forced.execute(f"INSERT INTO pairs VALUES {', '.join(f'({a}, {b})' for a in values for b in values)}")
    return request.param


@pytest.mark.parametrize(
    "condition",
    [
        "a IS DISTINCT FROM b",
        "a IS NOT DISTINCT FROM b",
        "NOT (a IS DISTINCT FROM NULL)",
        "a = b",
        "NOT (a = b)",
        "(a < b) IS UNKNOWN",
        "(a >= b) IS NOT TRUE",
        "a = b OR a IS NULL",
        "a <> b AND b IS NOT NULL",
        "nullif(a, b) IS NULL",
        "coalesce(a, b) = b",
    ],
)
def test_three_valued_logic_of_each_type(forced, pairs, condition):
    if pairs == "boolean" and "coalesce" in condition:
        condition = "coalesce(a, b)"
    both(forced, f"SELECT count(*) FROM pairs WHERE {condition}")
    both(forced, f"SELECT ({condition}), count(*), count(a) FROM pairs GROUP BY 1")


def test_groups_extremes_and_distinct_values_of_each_type(forced, pairs):
    both(forced, "SELECT a, count(*) FROM pairs GROUP BY a")
    both(forced, "SELECT DISTINCT b, a FROM pairs")
    both(forced, "SELECT count(DISTINCT a), count(DISTINCT b) FILTER (WHERE a IS NULL) FROM pairs")
    if pairs not in WITHOUT_EXTREMES:
        both(forced, "SELECT b, min(a), max(a) FROM pairs GROUP BY b")
        both(forced, "SELECT min(a), max(a) FROM pairs WHERE a IS NULL")
        both(forced, "SELECT greatest(a, b), least(a, b), count(*) FROM pairs GROUP BY 1, 2")


def test_numbers_of_several_types_in_lists(forced):
    fill(
        forced,
        "mixed",
        "i int, b bigint, n numeric",
        """VALUES (1, 1, 1.0), (-1, -1, -1.00), (NULL, NULL, NULL), (2147483647, 9223372036854775807, 'NaN'),
        (0, 0, 99999999999999999999999999999999999999.5), (7, -9223372036854775808, '-Infinity')""",
    )
    for query in (
        "SELECT count(*) FROM mixed WHERE i IN (1, 4294967297, NULL)",
        "SELECT count(*) FROM mixed WHERE b IN (1, 9223372036854775807)",
        "SELECT count(*) FROM mixed WHERE n IN (1, 1.000, 'NaN', 99999999999999999999999999999999999999.5)",
        "SELECT count(*) FROM mixed WHERE n NOT IN (1.0, NULL)",
        "SELECT count(*) FROM mixed WHERE n NOT IN (1.0, 2)",
        "SELECT count(*) FROM mixed WHERE CASE WHEN abs(i) = 1 THEN n::int END IS NULL",
        "SELECT i, b::int FROM mixed WHERE b BETWEEN -100 AND 100 GROUP BY 1, 2",
        "SELECT sum(i::numeric + b), max(n), min(n) FROM mixed",
    ):
        both(forced, query)
    fails(forced, "SELECT count(*) FROM mixed WHERE n::int IS NULL", "0A000")
    fails(forced, "SELECT sum(b::int) FROM mixed", "22003")
    # Its format is the locale's.
    assert NODE not in plan(forced, "SELECT sum(n::money) FROM mixed")


def test_casts_keep_the_sign(forced):
    fill(forced, "signs", "i bigint, n numeric(10, 3)", "SELECT g, g * 0.5 FROM generate_series(-9, 9) g")
    both(
        forced,
        "SELECT i::smallint::int::numeric, n::int, n::int2, n::int8, -n, abs(n), sign(n) FROM signs GROUP BY i, n",
    )
    both(forced, "SELECT round(n), ceil(n), floor(n), trunc(n), n::numeric(8, 0) FROM signs GROUP BY n")


def test_floats(forced):
    values = ("'NaN'", "0", "'-0'", "'Infinity'", "'-Infinity'", "-1e-30", "1e30", "-2.5", "0.1", "NULL")
    fill(forced, "floats", "f float8, r real", f"VALUES {', '.join(f'({value}, {value})' for value in values)}")
    for column in "fr":
        for test in ("=", "<>", "<", "<=", ">", ">="):
            for value in ("'NaN'", "0", "'-0'", "'Infinity'", "'-Infinity'", "-2.5"):
                both(forced, f"SELECT count(*) FROM floats WHERE {column} {test} {value}")
        both(forced, f"SELECT max({column}), min({column}), count(DISTINCT {column}) FROM floats")
        both(forced, f"SELECT max({column}), min({column}) FROM floats WHERE {column} < 0")
        both(forced, f"SELECT max({column}), min({column}) FROM floats WHERE {column} IS NULL")
        both(
            forced,
            f"SELECT {column} + 0, max(n) FROM (SELECT {column}, count(*) AS n FROM floats GROUP BY 1) g GROUP BY 1",
        )
    both(forced, "SELECT count(*) FROM floats WHERE f = r OR f IN ('NaN', 0)")


@pytest.mark.parametrize(
    "of, expressions, code",
    [
        ("smallint", ("-a", "abs(a)", "a / -1::smallint", "a - 1::smallint", "a * 2::smallint"), "22003"),
        ("integer", ("-a", "abs(a)", "a / -1", "a - 1", "a * 2"), "22003"),
        ("bigint", ("-a", "abs(a)", "a / -1", "a - 1", "a * 2"), "22003"),
        ("bigint", ("a / (a - a)", "a % (a - a)", "(a::numeric) / 0", "mod(a::numeric, 0)"), "22012"),
    ],
)
def test_the_least_integers(forced, of, expressions, code):
    bits = {"smallint": 15, "integer": 31, "bigint": 63}[of]
    fill(forced, "least", f"a {of}", f"VALUES ({-(2**bits)}), ({2**bits - 1}), (7), (-7)")
    for expression in expressions:
        fails(forced, f"SELECT count({expression}) FROM least", code)
        # It is evaluated for rows that arrive.
        condition = "a = 0" if code == "22012" else "abs(a::numeric) = 7"
        both(forced, f"SELECT max(CASE WHEN {condition} THEN {expression} END) FROM least")
    one = f"1::{of}"
    both(
        forced,
        f"SELECT a % -{one}, ~a, a & {one}, a | {one}, a # {one}, a << 3, a >> 3, a / 2::{of} FROM least GROUP BY a",
    )


def test_quotients_and_remainders(forced):
    fill(
        forced,
        "quotients",
        "a numeric, b numeric",
        """SELECT a, b FROM unnest(ARRAY[1, -1, 10000, 0.0001, 7.50, 12345678901234.5678, 0]) a,
        unnest(ARRAY[3, -3, 0.00007, 10000, 99999999, 2.50, 1.0]) b""",
    )
    both(forced, "SELECT a, b, a / b, a % b, mod(a, b), a * b, a + b, a - b FROM quotients GROUP BY a, b")
    both(forced, "SELECT b, sum(a / b), avg(a), var_samp(a), stddev_pop(a), variance(a / b) FROM quotients GROUP BY b")
    both(forced, "SELECT min(a), max(a), min(a + 1e-20), max(a * 1e15 + 0.3) FROM quotients")


def test_numeric_keys_that_show_several_scales(forced):
    fill(
        forced,
        "keys",
        "n numeric, o int",
        "VALUES (1, 1), (1.0, 2), (1.00, 3), (1e10, 4), (10000000000.0, 5), (-0.0, 6), (0, 7), ('NaN', 8), ('NaN', 9)",
    )
    assert len(both(forced, "SELECT trim_scale(n), count(*), sum(o) FROM keys GROUP BY n")) == 4
    assert both(forced, "SELECT count(DISTINCT n), sum(n) FILTER (WHERE n < 2) FROM keys")[0][0] == 4
    both(
        forced,
        """SELECT x.c, y.c FROM (SELECT n, count(*) AS c FROM keys GROUP BY n) x
        JOIN (SELECT n * 1.000 AS n, count(*) AS c FROM keys GROUP BY 1) y USING (n)""",
    )


@pytest.mark.parametrize("first, second", [("0", "'-0'"), ("'-0'", "0")])
@pytest.mark.parametrize("of", ("real", "float8"))
def test_zeros_show_the_sign_that_a_scan_in_order_shows(forced, of, first, second):
    """The rows whose numeric is NaN are evaluated by PostgreSQL, and the others are not."""
    forced.execute("SET max_parallel_workers_per_gather = 0; SET enable_sort = off")
    rows = f"({first}, 'NaN'), ({second}, 1), ({second}, 'NaN'), ({first}, 2), ({second}, 'NaN'), ({first}, 3)"
    fill(forced, "zeros", f"f {of}, n numeric", f"VALUES {rows}")
    both(forced, "SELECT f::text, sum(n) FROM zeros GROUP BY f")
    both(forced, "SELECT max(f)::text, min(f)::text, sum(n) FROM zeros")


def test_blanks_are_those_that_a_scan_in_order_shows(forced):
    forced.execute("SET max_parallel_workers_per_gather = 0; SET enable_sort = off")
    rows = "('a  ', 'NaN'), ('a', 1), ('a ', 'NaN'), ('a    ', 2)"
    fill(forced, "blanks", 'c bpchar COLLATE "C", n numeric', f"VALUES {rows}")
    both(forced, "SELECT octet_length(c), sum(n) FROM (SELECT c, sum(n) AS n FROM blanks GROUP BY c) g GROUP BY 1")
    both(forced, "SELECT octet_length(max(c)), octet_length(min(c)), sum(n) FROM blanks")


def test_cases_in_cases(forced):
    fill(forced, "cases", "a int, b int, n numeric", "SELECT g % 5, nullif(g % 3, 0), g FROM generate_series(1, 60) g")
    forced.execute(
        "CREATE DOMAIN small AS int CHECK (VALUE < 100); ALTER TABLE cases ADD s small; UPDATE cases SET s = a"
    )
    for expression in (
        "CASE a WHEN 1 THEN CASE b WHEN 1 THEN 'x' WHEN 2 THEN 'y' ELSE 'z' END WHEN 2 THEN 'two' END",
        "CASE CASE a WHEN 1 THEN b ELSE a END WHEN 1 THEN n WHEN 2 THEN 0.50 ELSE NULL END",
        "CASE WHEN CASE b WHEN 1 THEN a = 1 ELSE a = 2 END THEN n ELSE -n END",
        "CASE s WHEN 1 THEN 'one' WHEN s THEN 'itself' END",
        "CASE b WHEN NULL THEN 1 ELSE 2 END",
        "CASE WHEN b = 0 THEN 1 / b WHEN b IS NULL THEN a ELSE 6 / b END",
    ):
        both(forced, f"SELECT {expression}, count(*) FROM cases GROUP BY 1")
        both(forced, f"SELECT count({expression}) FROM cases")


def test_toasted_texts_have_their_length(forced):
    fill(
        forced,
        "toasted",
        'g int, t text COLLATE "C"',
        "SELECT g, repeat(md5(g::text) || 'ž', 200 * (g % 3)) FROM generate_series(1, 30) g",
    )
    forced.execute(
        "ALTER TABLE toasted ALTER t SET STORAGE EXTERNAL; INSERT INTO toasted SELECT g + 100, t FROM toasted"
    )
    both(forced, "SELECT length(t), octet_length(t), count(*), count(DISTINCT t) FROM toasted GROUP BY 1, 2")
    both(forced, "SELECT left(t, 5), max(t), min(substr(t, 30)) FROM toasted GROUP BY 1")
    both(forced, "SELECT count(*) FROM toasted WHERE t LIKE '%ž' AND right(t, 3) <> 'aaž'")


def test_new_texts_of_a_block_that_are_large_together(forced):
    fill(
        forced, "wide", 't text COLLATE "C"', "SELECT repeat(md5((g % 300)::text), 300) FROM generate_series(1, 1500) g"
    )
    both(forced, "SELECT count(DISTINCT upper(t)), max(t || 'x' || t), count(DISTINCT coalesce(lower(t), t)) FROM wide")
    found = analyzed(forced, "SELECT count(DISTINCT upper(t)) FROM wide")
    assert "Spare" not in found and ", 0 evaluated one by one" not in found


def test_parts_of_texts_at_the_ends_of_integers(forced):
    fill(forced, "texts", "t text", "VALUES (''), ('a'), ('žluť'), (NULL), ('thirteen byte')")
    for number in ("-2147483648", "-2147483647", "-1", "0", "2147483647"):
        both(forced, f"SELECT right(t, {number}), left(t, {number}), substr(t, {number}) FROM texts GROUP BY t")
        both(forced, f"SELECT substr(t, {number}, 2147483647), substr(t, {number}, 0) FROM texts GROUP BY t")


def test_the_order_of_texts_is_the_collations(forced):
    fill(forced, "sorted", "t text", "VALUES ('a'), ('B'), ('b'), ('A'), ('ä'), ('')")
    both(forced, 'SELECT min(t COLLATE "C"), max(t COLLATE "C") FROM sorted WHERE t COLLATE "C" < \'b\'')
    try:
        forced.execute("""
            CREATE COLLATION words (provider = icu, locale = 'und');
            CREATE COLLATION same (provider = icu, locale = 'und-u-ks-level2', deterministic = false)""")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("the server has no ICU")
    for query in (
        "SELECT max(t COLLATE words) FROM sorted",
        "SELECT count(*) FROM sorted WHERE t COLLATE words < 'b'",
        "SELECT count(*) FROM sorted WHERE t COLLATE same = 'a'",
        "SELECT count(*) FROM sorted WHERE t COLLATE same IN ('a', 'B')",
        "SELECT count(DISTINCT t COLLATE same) FROM sorted",
        "SELECT t COLLATE same, count(*) FROM sorted GROUP BY 1",
        "SELECT count(nullif(t COLLATE same, 'a')) FROM sorted",
    ):
        assert NODE not in plan(forced, query), query


def test_ranges_of_blocks_and_conditions_of_time(forced):
    fill(forced, "times", "at timestamptz, n int", "SELECT to_timestamp(g * 60), g FROM generate_series(1, 20000) g")
    forced.execute("CREATE INDEX ON times USING brin (at) WITH (pages_per_range = 1); ANALYZE times")
    forced.execute("SET enable_seqscan = off")
    for condition in ("at < to_timestamp(60000)", "at BETWEEN to_timestamp(0) AND to_timestamp(6000)", "at > now()"):
        both(forced, f"SELECT count(*), sum(n) FROM times WHERE {condition}")


def test_an_equality_of_another_operator_class(forced):
    forced.execute("""
        CREATE FUNCTION of_sizes(int, int) RETURNS int LANGUAGE sql IMMUTABLE
        AS 'SELECT sign(abs($1) - abs($2))::int'""")
    for number, (operator, test) in enumerate({"<@<": "<", "<=@": "<=", "=@=": "=", ">=@": ">=", ">@>": ">"}.items()):
        forced.execute(f"""
            CREATE FUNCTION size{number}(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE
                AS 'SELECT abs($1) {test} abs($2)';
            CREATE OPERATOR {operator} (leftarg = int, rightarg = int, function = size{number})""")
    forced.execute("""
        CREATE OPERATOR CLASS sizes FOR TYPE int USING btree AS OPERATOR 1 <@<, OPERATOR 2 <=@, OPERATOR 3 =@=,
            OPERATOR 4 >=@, OPERATOR 5 >@>, FUNCTION 1 of_sizes(int, int)""")
    fill(forced, "signed", "x int", "VALUES (1), (-1), (2), (-2), (1)")
    for query, sizes in (
        ("SELECT DISTINCT x FROM signed ORDER BY x USING <@<", 2),
        ("SELECT x, count(*) FROM signed GROUP BY x ORDER BY x USING <@<", 2),
        ("SELECT DISTINCT x FROM signed ORDER BY x USING <", 4),
    ):
        assert (NODE in plan(forced, query)) == (sizes == 4)
        assert len(forced.execute(query).fetchall()) == sizes


def test_operators_of_other_schemas(forced):
    forced.execute(f"""
        CREATE FUNCTION answer(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 42';
        CREATE OPERATOR {forced.schema}.+ (leftarg = int, rightarg = int, function = answer);
        CREATE FUNCTION never(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
        CREATE OPERATOR {forced.schema}.= (leftarg = int, rightarg = int, function = never);
        CREATE TABLE few AS SELECT g AS a FROM generate_series(1, 3) g;
        SET search_path = {forced.schema}, pg_catalog""")
    for query, answer in (
        ("SELECT sum(a + 1) FROM few", 126),
        ("SELECT count(*) FROM few WHERE a = 2", 0),
        ("SELECT count(*) FROM few WHERE a IN (2, 3)", 0),
        ("SELECT count(*) FROM few WHERE nullif(a, 2) IS NULL", 0),
        ("SELECT count(*) FROM few WHERE a IS DISTINCT FROM 2", 3),
        ("SELECT count(*) FROM few WHERE CASE a WHEN 2 THEN true ELSE false END", 0),
    ):
        assert forced.execute(query).fetchone() == (answer,), query


def test_expressions_that_copy_parts_stay_small(forced):
    """NULLIF, CASE and IS DISTINCT FROM name a part twice: parts of parts would be copied without end."""
    fill(forced, "copied", "a int", "SELECT g % 20 FROM generate_series(1, 100) g")
    nest = {
        "nullif": lambda part, number: f"nullif({part}, {number})",
        "case": lambda part, number: f"CASE {part} WHEN 1 THEN 2 WHEN 2 THEN 3 WHEN {number} THEN 0 ELSE 19 END",
        "distinct": lambda part, number: f"({part} IS DISTINCT FROM (a > {number}))::int::boolean",
    }
    for name, wrap in nest.items():
        for depth, taken in ((2, True), (14, False)):
            part = "(a > 10)" if name == "distinct" else "a"
            for number in range(depth):
                part = wrap(part, number).replace("::int::boolean", "")
            query = f"SELECT {part}, count(*) FROM copied GROUP BY 1"
            assert (NODE in plan(forced, query)) == taken, (name, depth)
            found = sorted(forced.execute(query).fetchall(), key=repr)
            forced.execute("SET pg_strata.columnar_sql = off")
            assert found == sorted(forced.execute(query).fetchall(), key=repr)
            forced.execute("SET pg_strata.columnar_sql = force")


@pytest.mark.parametrize(
    "nested",
    ["({} + 1)", "CASE WHEN d > '2000-01-01' THEN {} ELSE d END", "coalesce({}, d)", "greatest({}, d)"],
)
def test_workers_take_deep_expressions(forced, nested):
    """An expression of dates has more levels for a worker than for PostgreSQL."""
    fill(forced, "deep", "d date", "SELECT date '2020-01-01' + g FROM generate_series(1, 5000) g")
    random_sql.prepare(forced, 2)
    for depth in (10, 15, 20, 25, 30):
        part = "d"
        for _ in range(depth):
            part = nested.format(part)
        query = f"SELECT max({part}), count(*) FROM deep"
        found = forced.execute(query).fetchall()
        forced.execute("SET pg_strata.columnar_sql = off")
        assert found == forced.execute(query).fetchall(), depth
        forced.execute("SET pg_strata.columnar_sql = force")
    assert "2 launched" in analyzed(forced, f"SELECT max({nested.format('d')}) FROM deep")
