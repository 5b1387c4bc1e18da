"""Conditions of scans that are evaluated on columns: the rows are those of PostgreSQL's executor."""

import itertools

import psycopg
import pyarrow as pa
import pytest

from ..helpers.foreign import columns_of, export_group, foreign, plan, write

DECIDED = (
    "t LIKE '%7%' AND t NOT LIKE 't_1%'",
    "t LIKE 'text 1%' OR v LIKE '%9'",
    "t <> v",
    "t || v LIKE '%7v7'",
    "starts_with(v, 'v1') AND length(t) = 7",
    "k IS DISTINCT FROM nn",
    "k = nn OR n > k",
    "CASE WHEN f THEN k > 500 ELSE nn < 300 END",
    "coalesce(nn, 7) IN (7, 14, 21)",
    "nullif(k, 3) IS NULL",
    "greatest(k, nn) < 20",
    "d < timestamp '2020-03-01 12:00' AND d > timestamp '2020-01-03 11:00'",
    "x > 0.5 AND x <= 0.75",
    "c = 'A' AND c <> 'B  '",
    "n IN (1.5, 2.50, 1e40, 'NaN') OR n > '1e40' OR n < '-Infinity'",
    "n <> 'NaN' AND n < 1e35 AND 3.25 <= n",
    "v < 'v2' COLLATE \"C\"",
    "(f AND k < 100) IS NOT TRUE AND f IS NOT UNKNOWN",
    "u = md5('7')::uuid OR b IS NULL",
)
LEFT = (
    "k / (nn - 999) > 1",
    "k % 2 = 0",
    "i > interval '5 days'",
    "b = '\\x07'",
    "upper(t) = 'TEXT 7'",
    "random() < 2",
)


@pytest.fixture
def rows(db, out):
    db.execute("""CREATE TABLE s AS SELECT k, 'text ' || k AS t, ('v' || k % 100)::varchar(9) AS v,
        nullif(k % 10, 9) * 111 AS nn, (k / 4.0)::numeric(12, 3) AS n, k % 2 = 0 AS f, date '2020-01-01' + k AS d,
        k / 1000.0::float8 AS x, chr(65 + k % 3)::char(3) AS c, md5(k::text)::uuid AS u,
        nullif(decode(lpad(to_hex(k), 4, '0'), 'hex'), '\\x0011') AS b, make_interval(days => k) AS i
        FROM generate_series(1, 1000) k""")
    export_group(db, "parquet", "s", out / "s.parquet", 300, workers=0)
    foreign(db, "f", columns_of(db, "s"), file=out / "s.parquet")
    return db


def same(connection, condition):
    """The rows of the files, which are those of the heap."""
    found = [
        connection.execute(f"SELECT k, t, n, c, x FROM {name} WHERE {condition} ORDER BY k").fetchall()
        for name in ("f", "s")
    ]
    assert found[0] == found[1], condition
    return found[0]


@pytest.mark.parametrize("pushdown", ("on", "off"))
def test_conditions(rows, pushdown):
    rows.execute(f"SET pg_strata.arrow_fdw_pushdown = {pushdown}")
    for condition in DECIDED + LEFT:
        text = plan(rows, f"SELECT k FROM f WHERE {condition}")
        is_decided = pushdown == "on" and condition in DECIDED
        assert ("Columnar Filter" in text) == is_decided and ("  Filter:" in text) != is_decided, text
        if condition not in ("random() < 2",):
            same(rows, condition)
    for a, b in itertools.combinations(DECIDED, 2):
        same(rows, f"({a}) AND ({b})")
    assert len(same(rows, "k < 7 OR t LIKE '%77%' AND nn > 3")) > 6


def test_errors_come_after_conditions_that_exclude_rows(rows):
    """As the condition that may raise one is not evaluated on columns, nor for rows that another one excludes."""
    query = "SELECT k FROM f WHERE 1 / (k - 5) >= 0 AND t <> 'text 5' AND k < 8 ORDER BY k"
    assert rows.execute(query).fetchall() == [(1,), (2,), (3,), (6,), (7,)]
    with pytest.raises(psycopg.errors.DivisionByZero):
        rows.execute("SELECT k FROM f WHERE 1 / (k - 5) >= 0 AND k < 8")
    # What lies in a branch is not evaluated ahead either.
    rows.execute(
        "PREPARE branch(int) AS SELECT count(*) FROM (SELECT k FROM f WHERE CASE WHEN k > 2000 THEN k > 1 / $1 "
        "ELSE k > 990 END OFFSET 0) AS found"
    )
    rows.execute("SET plan_cache_mode = force_generic_plan")
    assert rows.execute("EXECUTE branch(0)").fetchone() == (10,)


@pytest.mark.parametrize("mode", ("force_generic_plan", "force_custom_plan"))
def test_parameters(rows, mode):
    """Their values, NULL, and those that vectors do not hold."""
    rows.execute(f"SET plan_cache_mode = {mode}")
    for name in ("f", "s"):
        rows.execute(f"""
            PREPARE {name}_like(text) AS SELECT k FROM {name} WHERE t LIKE $1 ORDER BY k;
            PREPARE {name}_number(numeric) AS SELECT k FROM {name} WHERE n >= $1 AND k < 30 ORDER BY k;
            PREPARE {name}_list(numeric[], text[]) AS SELECT k FROM {name} WHERE n = ANY ($1) OR v <> ALL ($2)
                ORDER BY k;
            PREPARE {name}_case(int) AS SELECT k FROM {name} WHERE CASE WHEN f THEN $1 ELSE nn END = nn ORDER BY k""")
    calls = [("like", [pattern]) for pattern in ("'%77%'", "NULL", "'text _'", "''", "'text 1\\\\2'")]
    calls += [("number", [n]) for n in ("3", "'NaN'", "'-Infinity'", "1e45", "NULL", "-1e45", "3.0000000001")]
    calls += [
        ("list", values)
        for values in (
            ["'{1.25,NaN}'", "'{v1}'"],
            ["NULL", "NULL"],
            ["'{}'", "'{}'"],
            ["'{1e50,2}'", "'{v1,NULL}'"],
        )
    ]
    calls += [("case", [value]) for value in ("222", "NULL")]
    counts = set()
    for name, values in calls:
        found = [rows.execute(f"EXECUTE {of}_{name} ({', '.join(values)})").fetchall() for of in ("f", "s")]
        assert found[0] == found[1], (name, values)
        counts.add(len(found[0]))
    assert len(counts) > 6
    with pytest.raises(psycopg.errors.InvalidEscapeSequence):
        rows.execute("EXECUTE f_like ('text 7\\')")


def test_parameters_of_rescans(rows):
    rows.execute("SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off")
    query = (
        "SELECT a.k, b.k FROM (VALUES (1, '%1'), (2, NULL), (3, 'text 33_')) a (k, p) LEFT JOIN LATERAL (SELECT k, t "
    )
    query += "FROM $T WHERE t LIKE a.p AND k > a.k * 10 AND n <> a.k) b ON true ORDER BY 1, 2"
    assert rows.execute(query.replace("$T", "f")).fetchall() == rows.execute(query.replace("$T", "s")).fetchall()


def test_rows_that_vectors_cannot_hold(db, out):
    """Numerics of texts: NaN, infinite ones, of many digits, of several scales."""
    numbers = ["NaN", "1.5", None, "-Infinity", "1" + "0" * 60, "1.50", "0.00001", "-3", "Infinity", "7" * 35]
    write(out / "t.parquet", pa.table({"k": pa.array(range(10), pa.int32()), "n": numbers}))
    foreign(db, "f", "k int, n numeric", file=out / "t.parquet")
    db.execute("SET pg_strata.arrow_fdw_pushdown = off; CREATE TABLE s AS SELECT * FROM f")
    db.execute("RESET pg_strata.arrow_fdw_pushdown")
    for condition in (
        "n > 1.5",
        "n = 1.5",
        "n <> 'NaN'",
        "n IN ('NaN', 1.5, -3)",
        "n IS NULL OR n < k",
        "NOT n >= 0",
        "coalesce(n, k) > 2",
        "n > 1e50 OR k = 5",
    ):
        assert "Columnar Filter" in plan(db, f"SELECT k FROM f WHERE {condition}")
        found = [db.execute(f"SELECT k FROM {name} WHERE {condition} ORDER BY k").fetchall() for name in ("f", "s")]
        assert found[0] == found[1] and found[0], condition
