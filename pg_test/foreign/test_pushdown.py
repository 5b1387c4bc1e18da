"""Scans of files decide conditions and compute aggregates on columns: the executor's answers, to the last digit."""

import itertools
import re
from decimal import Decimal

import pyarrow as pa
import pytest
from psycopg import pq

from ..helpers.columnar import NODE, analyzed
from ..helpers.every_type import make
from ..helpers.foreign import FORMATS, PARALLEL, bytes_read, columns_of, export_group, foreign, plan, write
from ..helpers.pruning import supports_sql
from ..helpers.support import Background, eventually, raises

AGGREGATES = ("count", "sum", "avg", "min", "max")
INTEGERS = ("int2", "int4", "int8", "small", "positive")
PUSHED = {
    "count": None,
    "sum": INTEGERS,
    "avg": INTEGERS,
    "min": (*INTEGERS, "oid", "date", "time", "timestamp", "timestamptz", "float4", "float8", "text", "label"),
}
PUSHED["max"] = PUSHED["min"]
# Texts whose length is declared are of these types.
PUSHED_BEGINNINGS = {"sum": ("numeric", "price"), "avg": ("numeric", "price")}
PUSHED_BEGINNINGS["min"] = PUSHED_BEGINNINGS["max"] = ("numeric", "price", "varchar", "char", "bpchar")
ON_ROWS = "SET pg_strata.columnar_sql = off; SET pg_strata.arrow_fdw_pushdown = off"
ON_COLUMNS = "RESET pg_strata.columnar_sql; RESET pg_strata.arrow_fdw_pushdown"


def texts(connection, query):
    """The one row of a query, as PostgreSQL prints it: display scales too."""
    result = connection.pgconn.exec_(query.encode())
    assert result.status == pq.ExecStatus.TUPLES_OK and result.ntuples == 1, result.error_message.decode()
    row = (result.get_value(0, column) for column in range(result.nfields))
    return tuple(value if value is None else value.decode() for value in row)


def is_pushed(connection, query):
    return NODE in plan(connection, query)


def with_and_without(connection, query, pushed=True):
    """The query's row, which must be the same by the executor and, by value, over the heap table s."""
    assert is_pushed(connection, query) == pushed, plan(connection, query)
    row = texts(connection, query)
    connection.execute(ON_ROWS)
    assert not is_pushed(connection, query)
    assert texts(connection, query) == row, query
    connection.execute(ON_COLUMNS)
    return row


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("family", ("scalars", "numerics"))
def test_every_type_and_aggregate(db, out, family, kind, workers):
    """Over edge values and NULLs, all of them, some, and none; by one process and by several."""
    cases = make(db, family, repeat=30)
    db.execute("CREATE TABLE s AS SELECT row_number() OVER () AS id, * FROM t")
    export_group(db, kind, "s", out / f"s.{kind}", 50, workers=0)
    foreign(db, "f", columns_of(db, "s"), file=out / f"s.{kind}")
    db.execute(f"{PARALLEL}; SET max_parallel_workers_per_gather = {workers}")
    for name, sql_type, _, _ in cases:
        for aggregate in AGGREGATES:
            if (
                not supports_sql(db, f"SELECT {aggregate}(NULL::{sql_type})")
                or sql_type.endswith("]")
                and aggregate != "count"
                or sql_type.startswith("float")
                and aggregate in ("sum", "avg")
            ):
                continue  # the last digits of a sum of floats depend on the order of the rows
            types = PUSHED[aggregate]
            beginnings = PUSHED_BEGINNINGS.get(aggregate, ())
            pushed = types is None or sql_type in types or sql_type.startswith(beginnings)
            for condition in ("true", "id > 20 AND id < 999", f"{name} IS NOT NULL", f"{name} IS NULL", "id = -1"):
                expression = f"SELECT {aggregate}({name}) FROM %s WHERE {condition}"
                ours = with_and_without(db, expression % "f", pushed)
                wanted = texts(db, expression % "s")
                is_number = "numeric" in sql_type and ours[0] is not None
                assert (
                    ours == wanted
                    or is_number
                    and Decimal(ours[0]) == Decimal(wanted[0])
                    or aggregate == "avg"
                    and abs(Decimal(ours[0]) - Decimal(wanted[0])) < Decimal("1e-15")
                ), expression


@pytest.fixture
def numbers(db, out):
    """1000 rows in ten groups, and a heap table like them."""
    db.execute("""CREATE TABLE s AS SELECT i AS id, nullif(i % 7, 0) AS low, (i / 8.0)::numeric(12,3) AS n,
        i::numeric AS whole, i / 3.0::float8 AS fraction,
                  'k' || i % 100 AS x, date '2020-01-01' + i AS d, i % 2 = 0 AS even FROM generate_series(1, 1000) i""")
    export_group(db, "parquet", "s", out / "s.parquet", 100, workers=0)
    foreign(db, "f", columns_of(db, "s"), file=out / "s.parquet")
    return db


def same(connection, query, pushed=True):
    """A query with $T for the table."""
    ours = with_and_without(connection, query.replace("$T", "f"), pushed)
    assert ours == texts(connection, query.replace("$T", "s")), query


PUSHED_QUERIES = (
    "SELECT count(*) FROM $T",
    "SELECT count(*), count(low), sum(low), avg(low), sum(n), avg(n), min(d), max(whole) FROM $T",
    "SELECT sum(id) + 1, 'x', avg(n) * 2 > sum(low) FROM $T",
    "SELECT sum(n) FROM $T HAVING count(*) > 3",
    "SELECT coalesce(sum(n), -1) FROM $T WHERE x = 'k5'",
    "SELECT count(*) FROM $T WHERE even",
    "SELECT count(*) FROM $T WHERE NOT even",
    "SELECT count(*) FROM $T WHERE x IN ('k1', 'k2', NULL) OR low IS NULL AND (id < 50 OR n >= 100.125)",
    "SELECT count(*) FROM $T WHERE n IN (0.125, 0.25, 1.0005) AND id <> 2",
    "SELECT count(*) FROM $T WHERE fraction BETWEEN 3 AND 4.5",
    "SELECT count(*) FROM $T WHERE low <> ANY (ARRAY[5, 6])",
    "SELECT count(*), sum(id) FROM $T WHERE low <> ANY (ARRAY[5, NULL]) AND n <> ANY ('{1}')",
    "SELECT count(*) FROM $T WHERE id < ANY (ARRAY[5, 20])",
    "SELECT count(*) FROM $T WHERE n >= ANY (ARRAY[100.125, 120, NULL]) AND fraction > ANY ('{3,90}')",
    "SELECT sum(id) FROM $T WHERE d >= date '2021-01-01' AND id = ANY (ARRAY[400, 500, 600]::int8[])",
    "SELECT sum(id) FROM $T WHERE x <> 'k5' AND low < 3",
    "SELECT count(*), min(d) FROM $T WHERE id > (SELECT 990 + count(*) FROM pg_class WHERE false)",
    "SELECT (SELECT sum(id) FROM $T WHERE low = g) FROM generate_series(2, 2) g",
    "SELECT sum(id) OVER () FROM (SELECT sum(id) AS id FROM $T) t",
    "SELECT max(id) FROM $T LIMIT 1",
    "SELECT DISTINCT sum(id) FROM $T",
    "SELECT sum(id) FILTER (WHERE even) FROM $T",
    "SELECT count(DISTINCT low) FROM $T",
    "SELECT sum(id + 1) FROM $T",
    "SELECT max(x) FROM $T",
    "SELECT stddev(id) FROM $T",
    "SELECT sum(id) FROM $T WHERE id % 2 = 0",
    "SELECT count(*) FROM $T WHERE x LIKE 'k1%'",
    "SELECT sum(id), bool_and(even) FROM $T",
    "SELECT count(*) FROM $T WHERE id = low + 1",
    "SELECT bool_or(even) FROM $T",
)
LEFT_QUERIES = (
    "SELECT sum(id ORDER BY n) FROM $T",
    "SELECT sum(fraction)::numeric(10,2) FROM $T",
    "SELECT sum(id) FROM $T GROUP BY even ORDER BY 1 LIMIT 1",
    "SELECT count($T) FROM $T",
    "SELECT sum(id) FROM $T GROUP BY ()",
    "SELECT count(*) FROM $T a JOIN $T b USING (id)",
    "SELECT count(*) FROM $T WHERE random() < 2",
    "SELECT count(*) FROM $T WHERE (SELECT true)",
    "SELECT sum(id) FROM $T WHERE false",
    "SELECT 1 FROM $T HAVING true",
    "SELECT count(*) FROM $T WHERE low = NULL::int",
)


@pytest.mark.parametrize("workers", [0, 2])
def test_queries(numbers, workers):
    numbers.execute(f"{PARALLEL}; SET max_parallel_workers_per_gather = {workers}")
    for query in PUSHED_QUERIES:
        same(numbers, query)
    for query in LEFT_QUERIES:
        same(numbers, query, False)


def test_explain(numbers):
    query = "SELECT count(*), sum(n) FROM f WHERE id < 500 AND x = 'k1'"
    text = plan(numbers, query)
    assert "Aggregates: count(*), sum(n)" in text, text
    assert "Columnar Filter: (id < 500) AND (x = 'k1'::text)" in text, text
    verbose = plan(numbers, query, "VERBOSE, COSTS OFF")
    assert "Output: (count(*)), (sum(n))" in verbose, verbose
    text = plan(numbers, "SELECT n FROM f WHERE id < 500 AND id % 2 = 1")
    assert "Columnar Filter: (id < 500)\n" in text and "Filter: ((id % 2) = 1)" in text, text
    found = analyzed(numbers, query)
    loaded, skipped = map(int, re.search(r"Row Groups: (\d+) loaded, (\d+) skipped", found).groups())
    assert 5 <= loaded < skipped, found
    assert 0 < bytes_read(numbers, query) < bytes_read(numbers, "SELECT count(x), count(id), sum(n) FROM f"), found


def test_parallel_aggregation(numbers):
    numbers.execute(f"{PARALLEL}; SET max_parallel_workers_per_gather = 2")
    assert "Workers: 2 planned" in analyzed(numbers, "SELECT sum(id), avg(n) FROM f")
    same(numbers, "SELECT sum(id), avg(n), max(whole) FROM $T")
    numbers.execute("SET max_parallel_workers = 0")
    same(numbers, "SELECT sum(id), avg(n), max(whole) FROM $T")


def test_prepared_statements(numbers):
    """Parameters that are known when the query runs."""
    cases = []
    for id, x, n in itertools.product(("0", "500", None), ("k7", None), ("{0.125,2}", "{}", "{NULL}", None)):
        values = [
            f"'{value}'::{kind}" if value is not None else f"NULL::{kind}"
            for value, kind in ((id, "int"), (x, "text"), (n, "numeric[]"))
        ]
        query = "SELECT count(*), sum(n) FROM {} WHERE id < {} AND (x = {} OR n = ANY ({}))"
        cases.append((values, numbers.execute(query.format("s", *values)).fetchone()))
    for mode in ("force_generic_plan", "force_custom_plan"):
        numbers.execute(
            f"SET plan_cache_mode = {mode}; "
            f"PREPARE {mode} (int, text, numeric[]) AS {query.format('f', '$1', '$2', '$3')}"
        )
        for values, wanted in cases:
            assert numbers.execute(f"EXECUTE {mode} ({', '.join(values)})").fetchone() == wanted, values


def test_rescans(numbers):
    query = (
        "SELECT array_agg(v ORDER BY g) FROM (SELECT g, (SELECT sum(n) FROM $T WHERE low = g "
        "AND id > g * 100) AS v FROM generate_series(0, 8) g OFFSET 0) t"
    )
    for workers in (0, 2):
        numbers.execute(f"{PARALLEL}; SET max_parallel_workers_per_gather = {workers}")
        assert texts(numbers, query.replace("$T", "f")) == texts(numbers, query.replace("$T", "s"))


def test_files_of_several_kinds(db, out):
    """A column that is an integer, a decimal of this and that scale, a text; NaN and infinity among the texts."""
    pieces = {
        "a.parquet": pa.array([1, None, 3], pa.int32()),
        "b.arrow": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
        "c.arrow": pa.array([Decimal("-" + "9" * 35 + ".1")], pa.decimal256(76, 1)),
        "d.parquet": pa.array(["2.000", None, "1e20"]),
        "e.parquet": pa.array([], pa.int64()),
        "g.arrow": pa.array([Decimal("0.5")] * 3, pa.decimal128(38, 20)).dictionary_encode(),
    }
    for name, array in pieces.items():
        write(out / name, pa.table({"n": array, "k": pa.array(range(len(array)), pa.int64())}))
    foreign(db, "f", "n numeric, k int8, name text OPTIONS (virtual 'name')", dir=out, pattern="${name}.${kind}")
    db.execute(f"{ON_ROWS}; CREATE TABLE s AS SELECT * FROM f; {ON_COLUMNS}")
    for condition in (
        "true",
        "k > 0",
        "name = 'b'",
        "name IN ('a', 'd') AND n < 3",
        "n >= 1.5",
        "n <> 3",
        "n IS NULL",
        "name < 'b' COLLATE \"C\"",
    ):
        same(db, f"SELECT count(*), count(n), sum(n), avg(n), min(n), max(n), sum(k) FROM $T WHERE {condition}")
    for special in (["NaN", "1"], ["Infinity", "5"], ["-Infinity", "1"], ["Infinity", "-Infinity"]):
        write(out / "h.parquet", pa.table({"n": special, "k": pa.array([7, 8], pa.int64())}))
        db.execute(f"{ON_ROWS}; DROP TABLE s; CREATE TABLE s AS SELECT * FROM f; {ON_COLUMNS}")
        same(db, "SELECT sum(n), avg(n), min(n), max(n) FROM $T")
        same(db, "SELECT count(*) FROM $T WHERE n > 1e30")


def test_a_long_record_batch(db, out):
    """Read in slices: with and without NULLs, numbers of every width, a last slice that ends within a byte of
    validity."""
    rows = range(10_001)
    table = pa.table(
        {
            "id": pa.array(rows, pa.int64()),
            "i": pa.array([None if i % 7 == 0 else i - 5000 for i in rows], pa.int16()),
            "n": pa.array([None if i % 11 == 3 else Decimal(i) / 8 for i in rows], pa.decimal128(30, 3)),
            "f": pa.array(rows, pa.float32()),
        }
    )
    with pa.ipc.new_file(str(out / "t.arrow"), table.schema) as writer:
        writer.write_table(table)
    foreign(db, "f", "id int8, i int2, n numeric, f float4", file=out / "t.arrow")
    assert db.execute("SELECT * FROM f").fetchall() == list(
        zip(*(table.column(name).to_pylist() for name in table.column_names))
    )
    db.execute("CREATE TABLE s AS SELECT * FROM f")
    for condition in ("true", "i IS NULL", "id = 10000", "n < 700 AND i > -4800"):
        same(db, f"SELECT count(*), count(i), sum(i), sum(n), min(n), max(i), avg(id) FROM $T WHERE {condition}")


def test_no_files_and_no_rows(db, out):
    foreign(db, "f", "a int4, n numeric", dir=out)
    db.execute("CREATE TABLE s (a int4, n numeric)")
    query = "SELECT count(*), count(a), sum(a), avg(a), min(a), sum(n), avg(n), max(n) FROM $T"
    same(db, query)
    write(out / "none.parquet", pa.table({"a": pa.array([], pa.int32()), "n": pa.array([], pa.decimal128(5, 2))}))
    same(db, query)
    write(out / "nulls.parquet", pa.table({"a": pa.nulls(3, pa.int32()), "n": pa.nulls(3, pa.decimal128(5, 2))}))
    db.execute("INSERT INTO s SELECT FROM generate_series(1, 3)")
    same(db, query)


def test_sums_that_leave_their_type(db, out):
    """Beyond 64 and 128 bits."""
    big = [Decimal("9" * 38)] * 400 + [Decimal("-" + "9" * 38)] * 7
    write(
        out / "t.parquet",
        pa.table(
            {
                "n": pa.array(big, pa.decimal128(38, 0)),
                "b": [2**63 - 1] * 400 + [-(2**63)] * 7,
                "i": pa.array([2**31 - 1] * 407, pa.int32()),
            }
        ),
    )
    foreign(db, "f", "n numeric, b int8, i int4", file=out / "t.parquet")
    db.execute("CREATE TABLE s AS SELECT * FROM f")
    same(db, "SELECT sum(n), avg(n), min(n), max(n), sum(b), avg(b), min(b), max(b), sum(i), avg(i) FROM $T")


def test_values_that_do_not_fit_are_errors(db, out):
    """What the executor's scan would refuse, aggregates and conditions refuse."""
    write(out / "t.parquet", pa.table({"i": [1, 2**40], "n": [Decimal("1.25"), Decimal("99.75")], "t": ["a", "b\0"]}))
    foreign(db, "f", "i int4, n numeric(3,2), t text", file=out / "t.parquet")
    db.execute("SET pg_strata.arrow_fdw_pruning = off")
    for query, sqlstate in (
        ("SELECT sum(i) FROM f", "22003"),
        ("SELECT count(*) FROM f WHERE i > 0", "22003"),
        ("SELECT sum(n) FROM f", "22003"),
        ("SELECT count(*) FROM f WHERE n < 5", "22003"),
        ("SELECT count(t) FROM f", "22000"),
        ("SELECT t FROM f WHERE n < 0", "22003"),
    ):
        for settings in (ON_COLUMNS, ON_ROWS):
            db.execute(settings)
            with raises(sqlstate) as caught:
                db.execute(query)
            assert "row 2," in caught.value.diag.message_primary, query
    db.execute("RESET ALL")


def test_a_row_that_does_not_fit_is_named(db, out):
    """By its place in the file, behind rows that a condition leaves out."""
    write(out / "t.parquet", pa.table({"id": range(1, 11), "i": [1] * 7 + [2**40] + [1] * 2}))
    foreign(db, "f", "id int8, i int4", file=out / "t.parquet")
    with raises("22003") as caught:
        db.execute("SELECT i FROM f WHERE id IN (2, 4, 8, 9)")
    assert "row 8," in caught.value.diag.message_primary


@pytest.mark.parametrize("partitionwise", ["on", "off"])
def test_partitions(db, out, partitionwise):
    """Files and heaps as partitions of one table, with columns in another order."""
    db.execute("CREATE TABLE p (id int, n numeric(12,3), x text) PARTITION BY RANGE (id)")
    for at, name in enumerate(("f1", "f2", "h3")):
        db.execute(
            f"CREATE TABLE s{name} AS SELECT i::numeric(12,3) AS n, i AS id, "
            f"'k' || i % 10 AS x FROM generate_series({at * 100 + 1}, {at * 100 + 100}) i"
        )
        if name == "h3":
            db.execute(f"ALTER TABLE s{name} RENAME TO {name}")
        else:
            export_group(db, "parquet", f"s{name}", out / f"{name}.parquet", 30, workers=0)
            foreign(db, name, columns_of(db, f"s{name}"), file=out / f"{name}.parquet")
        db.execute(f"ALTER TABLE p ATTACH PARTITION {name} FOR VALUES FROM ({at * 100 + 1}) TO ({at * 100 + 101})")
    db.execute(f"CREATE TABLE s AS SELECT * FROM p; SET enable_partitionwise_aggregate = {partitionwise}; ANALYZE h3")
    for query in (
        "SELECT count(*), sum(n), avg(id), max(x) FROM $T",
        "SELECT count(*), sum(n), avg(id), min(id) FROM $T",
        "SELECT sum(n), count(*) FROM $T WHERE x = 'k3' AND id > 50",
        "SELECT avg(n) FROM $T WHERE id < 150 AND id % 2 = 0",
    ):
        for settings in (ON_ROWS, ON_COLUMNS):
            db.execute(settings)
            assert texts(db, query.replace("$T", "p")) == texts(db, query.replace("$T", "s")), query
    db.execute("SET pg_strata.columnar_sql = force")
    text = plan(db, "SELECT count(*), sum(n), min(id) FROM p")
    assert NODE in text and "Table: p, of 3 tables" in text, text


def test_rows_locked_in_a_join_are_checked_again(numbers, again):
    """EvalPlanQual: the scan's own conditions hold for the row that is looked at again."""
    numbers.execute("CREATE TABLE h AS SELECT 5 AS id, 'old' AS v")
    other = again()
    other.execute("BEGIN; UPDATE h SET v = 'new'")
    waiting = Background(
        lambda: numbers.execute(
            "SELECT h.v, f.n FROM h JOIN f ON h.id = f.id WHERE f.low = 5 FOR UPDATE OF h"
        ).fetchall()
    )
    eventually(lambda: other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (1,))
    other.execute("COMMIT")
    assert waiting.result() == [("new", Decimal("0.625"))]


def test_a_view_hides_rows(numbers, role):
    """Conditions of a security barrier come first."""
    numbers.execute(f"""CREATE FUNCTION leak(int) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE WARNING
        'saw %', $1; RETURN true; END $$;
        CREATE VIEW v WITH (security_barrier) AS SELECT * FROM f WHERE id % 500 = 0;
        GRANT SELECT ON v TO {role}; SET ROLE {role}""")
    notices = []
    numbers.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    assert numbers.execute("SELECT id FROM v WHERE leak(id) AND low > 0").fetchall() == [(500,), (1000,)]
    assert notices == ["saw 500", "saw 1000"]
    assert numbers.execute("SELECT count(*) FROM v WHERE low > 0").fetchone() == (2,)


@pytest.mark.parametrize("kind", FORMATS)
def test_columns_cast_without_a_change_of_their_bits(db, out, kind):
    """Between integer and oid: the executor aggregates the type that the cast says; a domain's values are its
    base's."""
    db.execute(
        "CREATE DOMAIN whole AS int; CREATE TABLE s (i int, o oid, w whole); "
        "INSERT INTO s VALUES (-1, 4294967295, -7), (5, 5, 9), (NULL, NULL, NULL)"
    )
    export_group(db, kind, "s", out / f"s.{kind}", 2)
    foreign(db, "f", columns_of(db, "s"), file=out / f"s.{kind}")
    row = with_and_without(
        db, "SELECT min(i::oid), max(i::oid), sum(o::int), avg(o::int), min(o::int), max(o::int) FROM f", pushed=False
    )
    assert row == texts(
        db, "SELECT min(i::oid), max(i::oid), sum(o::int), avg(o::int), min(o::int), max(o::int) FROM s"
    )
    assert row[:3] == ("5", "4294967295", "4")
    assert with_and_without(db, "SELECT count(i::oid), min(w), max(w), sum(w) FROM f") == ("2", "-7", "9", "2")
