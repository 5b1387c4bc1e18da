"""Scans leave out row groups and record batches by their statistics, never one with a matching row, and decide
conditions on columns: the same rows as the executor's."""

import re

import pyarrow as pa
import pytest

from ..helpers.columnar import NODE
from ..helpers.every_type import make
from ..helpers.foreign import FORMATS, PARALLEL, columns_of, export_group, foreign, plan, write
from ..helpers.pruning import OPERATORS, conditions_on, counted, on_and_off, supports_sql


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("family", ("scalars", "numerics"))
def test_every_type_and_operator(db, out, family, kind, rows):
    """On is off, for every type, operator and edge value, in groups of one row and of some."""
    cases = make(db, family)
    db.execute("CREATE TABLE s AS SELECT row_number() OVER () AS id, * FROM t")
    export_group(db, kind, "s", out / f"s.{kind}", rows, workers=0)
    foreign(db, "f", columns_of(db, "s"), file=out / f"s.{kind}")
    conditions = list(conditions_on(db, cases))
    assert len(conditions) > 100
    for condition in conditions:
        on_and_off(db, condition)


SKIPS = {
    "c_int4": "0",
    "c_int8": "0",
    "c_oid": "0",
    "c_float8": "0.1",
    "c_date": "'1970-01-01'",
    "c_time": "'00:00'",
    "c_timestamp": "'1970-01-01'",
    "c_timestamptz": "'2026-06-30 23:59:60+00'",
    "c_text": "'plain'",
    "c_varchar": "'ten chars.'",
    "c_bpchar": "'a'",
    "c_bool": "true",
    "c_domain": "1",
    "c_domain_numeric": "0",
    "c_uuid": "'00000000-0000-0000-0000-000000000000'",
}


@pytest.mark.parametrize("kind", FORMATS)
def test_groups_are_left_out(db, out, kind):
    """Equality skips for every type that has statistics; what has none is read."""
    make(db, "scalars")
    export_group(db, kind, "t", out / f"t.{kind}", 1, workers=0)
    foreign(db, "f", columns_of(db, "t"), file=out / f"t.{kind}")
    total = db.execute("SELECT count(*) FROM f").fetchone()[0]
    for name, text in SKIPS.items():
        if kind == "arrow" and name in ("c_uuid",):
            continue  # no bounds there; NULLs alone are known
        loaded, skipped = counted(db, f"SELECT * FROM f WHERE {name} = {text}")
        assert loaded + skipped == total and skipped >= total / 2, (name, loaded, skipped)
    for condition, most in (
        ("c_int4 IS NULL", 12),
        ("c_int4 < -5", 2),
        ("c_int4 > 5 AND c_int4 < 4", 1),
        ("c_int4 IN (0, -1)", 2),
        ("c_int4 = 0 OR c_int4 = -1", 2),
        ("-1 = c_int4", 1),
        ("c_text < '!' COLLATE \"C\"", 5),
    ):
        loaded, skipped = counted(db, f"SELECT * FROM f WHERE {condition}")
        assert loaded <= most and skipped > 0, (condition, loaded, skipped)
    db.execute("SET pg_strata.arrow_fdw_pruning = off")
    assert "Stats-Hint" not in plan(db, "SELECT * FROM f WHERE c_int4 = 0", "ANALYZE")
    db.execute("RESET pg_strata.arrow_fdw_pruning")


def test_parameters(by_hundreds):
    """Known only when the query runs: of a prepared statement, a nested loop, an initplan."""
    db = by_hundreds
    db.execute("SET plan_cache_mode = force_generic_plan; PREPARE q (int) AS SELECT sum(id) FROM f WHERE id = $1")
    for value in (5, 905, 5000, "NULL"):
        wanted = value if value in (5, 905) else None
        assert db.execute(f"EXECUTE q ({value})").fetchone() == (wanted,)
    assert counted(db, "EXECUTE q (905)") == (1, 9)
    assert counted(db, "EXECUTE q (NULL)") == (0, 10)
    assert counted(db, "SELECT * FROM f WHERE id = (SELECT 7 + count(*) FROM pg_class WHERE false)") == (1, 9)
    assert counted(
        db, "SELECT * FROM f WHERE d > now() - interval '100 years' AND d < now() - interval '99 years'"
    ) == (0, 10)
    db.execute("SET enable_material = off; SET enable_memoize = off")
    lateral = "SELECT g, x FROM (VALUES (3), (333), (903)) AS v(g), LATERAL (SELECT x FROM f WHERE id = g OFFSET 0) l"
    assert sorted(db.execute(lateral).fetchall()) == [(3, "k00003"), (333, "k00333"), (903, "k00903")]
    assert counted(db, lateral) == (3, 27)


def test_parallel_scans_count_together(by_hundreds):
    by_hundreds.execute(f"{PARALLEL}; SET max_parallel_workers_per_gather = 2")
    query = "SELECT sum(id) FROM f WHERE id BETWEEN 150 AND 250"
    for setting, node in (("off", "Parallel Foreign Scan"), ("auto", NODE)):
        by_hundreds.execute(f"SET pg_strata.columnar_sql = {setting}")
        assert node in plan(by_hundreds, query)
        assert counted(by_hundreds, query) == (2, 8)
        assert by_hundreds.execute(query).fetchone() == (sum(range(150, 251)),)


def test_limit_stops_early(by_hundreds):
    assert counted(by_hundreds, "SELECT * FROM f WHERE id > 0 LIMIT 5") == (1, 0)


def test_explain(by_hundreds, out):
    text = plan(by_hundreds, "SELECT x FROM f WHERE id = 7")
    size = (out / "s.parquet").stat().st_size
    assert "referenced: id, x" in text and "Stats-Hint: (id = 7)" in text and "loaded" not in text, text
    read = re.search(rf"file0: {out}/s.parquet \(read: ([\d.]+)KB, size: {size / 1024:.2f}KB\)", text)
    assert read and float(read[1]) < size / 1024, text


def test_collations(db, out):
    """Texts compare as their collation says, whatever the order of the file's statistics."""
    values = ["a", "B", "c", "D", "ä", "z", "Z", "_", "10", "9", "a b", "ab", "É", "e\u0301"]
    rows = ", ".join(f"({i}, '{text}')" for i, text in enumerate(values, 1))
    db.execute(f"CREATE TABLE s (id int, x text); INSERT INTO s VALUES {rows}")
    export_group(db, "parquet", "s", out / "s.parquet", 1, workers=0)
    collations = ["C", "POSIX", "default", "ucs_basic"]
    if supports_sql(db, "SELECT 'a' COLLATE \"en-x-icu\""):
        db.execute("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
        collations += ["en-x-icu", "sv-x-icu", "loose"]
    foreign(db, "f", "id int, x text", file=out / "s.parquet")
    for collation in collations:
        for text in values:
            for operator in OPERATORS:
                on_and_off(db, f"x {operator} '{text}' COLLATE \"{collation}\"")
            on_and_off(db, f"x IN ('{text}', 'B') AND x COLLATE \"{collation}\" >= 'A'")


@pytest.mark.parametrize("kind", FORMATS)
def test_blanks_at_the_end(db, out, kind):
    """char(n) ignores them, and files of others do not have them."""
    values = ["a", "a ", "a\t", "a b", "", " ", "b", "a   "]
    write(
        out / f"s.{kind}",
        pa.table({"id": range(1, 9), "x": values}),
        **({"row_group_size": 1} if kind == "parquet" else {}),
    )
    foreign(db, "f", "id int8, x char(4)", file=out / f"s.{kind}")
    db.execute("CREATE TABLE s AS SELECT * FROM f")
    for text in values:
        for operator in OPERATORS:
            on_and_off(db, f"x {operator} '{text}'")


@pytest.mark.parametrize("sql_type, arrow_type", [("float4", pa.float32()), ("float8", pa.float64())])
def test_floats_of_others(db, out, sql_type, arrow_type):
    """NaN is above all numbers, and statistics do not tell of it; -0 is 0."""
    numbers = [
        [1.0, float("nan")],
        [-1.0, float("nan")],
        [float("nan")] * 2,
        [0.0, -0.0],
        [-0.0, -0.0],
        [float("inf"), 1.0],
        [None, None],
    ]
    flat = [value for pair in numbers for value in pair]
    write(out / "s.parquet", pa.table({"id": range(len(flat)), "x": pa.array(flat, arrow_type)}), row_group_size=2)
    foreign(db, "f", f"id int8, x {sql_type}", file=out / "s.parquet")
    db.execute("CREATE TABLE s AS SELECT * FROM f")
    for text in ("NaN", "0", "-0", "1", "-1", "Infinity", "-Infinity", "0.5"):
        for operator in OPERATORS:
            on_and_off(db, f"x {operator} '{text}'::{sql_type}")
            on_and_off(db, f"x {operator} '{text}'::float8")


def test_long_texts(db, out):
    """Statistics of long texts are cut, the greatest raised."""
    values = ["x" * 100, "x" * 100 + "y", "x" * 30 + "\U0010ffff" * 30, "ž" * 60, "\x7f" * 80]
    rows = ", ".join(f"({i}, '{text}')" for i, text in enumerate(values, 1))
    db.execute(
        f'CREATE TABLE s (id int, x text COLLATE "C", y varchar(120)); '
        f"INSERT INTO s SELECT id, x, x FROM (VALUES {rows}) v(id, x)"
    )
    for kind in FORMATS:
        export_group(db, kind, "s", out / f"s.{kind}", 1, workers=0)
        foreign(db, "f", columns_of(db, "s"), file=out / f"s.{kind}")
        for text in values + [value[:31] for value in values]:
            for operator in OPERATORS:
                on_and_off(db, f"x {operator} '{text}'")
            assert on_and_off(db, f"y = '{text}'") == ([values.index(text) + 1] if text in values else None)
        db.execute("DROP FOREIGN TABLE f")


def test_statistics_that_are_not_exact_are_not_used(db, out):
    """Arrow files of others state rounded fractions and texts cut short: integers alone count."""
    batch = pa.record_batch({"id": [1, 2], "f": [1.23456789, 2.0], "x": ["aaa", "zzz"]})
    with pa.ipc.new_file(str(out / "s.arrow"), batch.schema) as writer:
        writer.write_batch(
            batch,
            custom_metadata={
                "min_max_stats.id": "1,2",
                "min_max_stats.f": "1.234568,1.999999",
                "min_max_stats.x": "b,y",
            },
        )
    foreign(db, "f", "id int8, f float8, x text", file=out / "s.arrow")
    db.execute("CREATE TABLE s AS SELECT * FROM f")
    assert (
        on_and_off(db, "f < 1.2345680") == [1] and on_and_off(db, "x = 'zzz'") == [2] and on_and_off(db, "f = 2") == [2]
    )
    assert counted(db, "SELECT * FROM f WHERE id = 3") == (0, 1)


def test_numbers_compared_with_other_types(by_hundreds):
    """Operators across types belong to the same family."""
    for condition in (
        "id = 5::int8",
        "id > 990::int2",
        "n = 5::numeric",
        "n < 1",
        "d >= timestamp '2022-09-26 00:00'",
        "d = date '2020-05-05'",
        "id = 5.0",
        "id::text = '5'",
        "id + 1 = 6",
        "x > 'k00990' COLLATE \"C\"",
        "x LIKE 'k0099%'",
    ):
        assert on_and_off(by_hundreds, condition)


def test_column_and_file_types_that_differ(db, out):
    """A text of the file that is a number of the table has the wrong order; a wider type the same one."""
    write(
        out / "s.parquet",
        pa.table({"id": range(1, 5), "t": ["9", "10", "100", "2"], "i": [9, 10, 100, 2]}),
        row_group_size=1,
    )
    foreign(db, "f", "id int8, t int4, i numeric", file=out / "s.parquet")
    db.execute("CREATE TABLE s AS SELECT * FROM f")
    for value in (2, 9, 10, 50, 100):
        for operator in OPERATORS:
            on_and_off(db, f"t {operator} {value}")
            on_and_off(db, f"i {operator} {value}")
    assert counted(db, "SELECT * FROM f WHERE i = 10") == (1, 3)
