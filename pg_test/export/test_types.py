"""Every type and edge value, on both scans and with any number of workers, against the oracle."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers import every_type, oracle
from ..helpers.every_type import make
from ..helpers.support import SCANS, WORKERS, describe, entries, export, export_and_check, raises


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("family", every_type.FAMILIES)
def test_values_and_types(db, out, family, scan):
    cases = make(db, family)
    file = out / "t.parquet"
    export_and_check(db, "t", file, scan=scan)
    schema = pq.read_schema(file)
    for name, sql_type, kind, _ in cases:
        got = describe(schema.field(name).type)
        if kind == "json" and got == "string":
            continue  # a pyarrow that does not show Parquet's JSON annotation
        assert kind is None or got == kind, f"{name} {sql_type}: {got}"


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("family", every_type.FAMILIES)
def test_workers(db, out, family, scan, workers):
    """The same over many pages, in table order whoever decoded them."""
    make(db, family, repeat=60)
    export_and_check(db, "t", out / "t.parquet", scan=scan, workers=workers, row_group_rows=200)


@pytest.mark.parametrize("family", every_type.FAMILIES)
def test_session_settings_do_not_show(db, out, family):
    """Text output is pinned, whatever the caller has set."""
    make(db, family)
    for setting in (
        "DateStyle = 'German'",
        "IntervalStyle = 'sql_standard'",
        "TimeZone = 'Asia/Kolkata'",
        "extra_float_digits = -10",
        "bytea_output = 'escape'",
        "client_encoding = 'LATIN1'",
    ):
        db.execute(f"SET {setting}")
    export(db, "t", out / "t.parquet", workers=2)
    assert db.execute("SHOW IntervalStyle").fetchone() == ("sql_standard",)
    db.execute("SET client_encoding = 'UTF8'")
    oracle.check(db, "t", out / "t.parquet")


@pytest.mark.parametrize(
    "precision, physical", [(9, "INT32"), (10, "INT64"), (18, "INT64"), (19, "FIXED_LEN_BYTE_ARRAY")]
)
def test_decimal_physical_type(db, out, precision, physical):
    """The smallest physical type, whether the digits are declared or found."""
    digits = "9" * precision
    db.execute(f"CREATE TABLE t AS SELECT {digits}::numeric({precision},0) AS declared, {digits}::numeric AS found")
    export_and_check(db, "t", out / "t.parquet")
    schema = pq.ParquetFile(out / "t.parquet").schema
    assert [schema.column(i).physical_type for i in range(2)] == [physical] * 2


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("workers", WORKERS)
def test_numeric_shape_depends_on_data_alone(db, out, workers, scan):
    """The value that needs most digits lies at the end, behind what any sample sees."""
    db.execute("""CREATE TABLE t AS SELECT i, CASE WHEN i = 60000 THEN 1234567890123456.789 ELSE i END::numeric AS n,
                  CASE WHEN i = 59999 THEN 1e60 ELSE i / 8.0 END::numeric AS s FROM generate_series(1, 60000) i""")
    export_and_check(db, "t", out / "t.parquet", workers=workers, scan=scan, row_group_rows=7000)
    schema = pq.read_schema(out / "t.parquet")
    assert [describe(schema.field(name).type) for name in "ns"] == ["decimal(19, 3)", "string"]


def test_trailing_zeros_of_the_display_scale(db, out):
    """The scale is the largest display scale, not the digits that happen not to be zero."""
    db.execute("CREATE TABLE t AS SELECT unnest(ARRAY[1.500, 2.0, 3])::numeric AS n")
    export_and_check(db, "t", out / "t.parquet")
    assert describe(pq.read_schema(out / "t.parquet").field("n").type) == "decimal(4, 3)"


UNREPRESENTABLE = [
    ("numeric", "NaN", "22003"),
    ("numeric", "Infinity", "22003"),
    ("numeric", "-Infinity", "22003"),
    ("numeric(10,2)", "NaN", "22003"),
    ("date", "infinity", "22008"),
    ("date", "-infinity", "22008"),
    ("timestamp", "infinity", "22008"),
    ("timestamp", "-infinity", "22008"),
    ("timestamptz", "infinity", "22008"),
    ("date[]", "{infinity}", "22008"),
    ("numeric(5,1)[]", "{NaN}", "22003"),
    ("timestamp", "294276-12-31 23:59:59.999999", "22003"),
    ("timestamptz", "294276-01-01 00:00:00+00", "22003"),
    ("time", "24:00:00", "22008"),
    ("time(0)", "23:59:60", "22008"),
    ("time[]", "{00:00,24:00:00}", "22008"),
]


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("sql_type, literal, sqlstate", UNREPRESENTABLE)
@pytest.mark.parametrize("kind", ("parquet", "arrow"))
def test_unrepresentable_value_is_an_error(db, out, sql_type, literal, sqlstate, scan, kind):
    """The error names table, column and ctid; nothing is left behind."""
    db.execute(
        f"CREATE TABLE bad_table (id int, bad_column {sql_type}); "
        f"INSERT INTO bad_table VALUES (1, NULL), (2, '{literal}')"
    )
    with raises(sqlstate) as caught:
        db.execute(f"SELECT export_table_{kind}('bad_table', '{out}/t.{kind}', scan => '{scan}')")
    diagnostic = caught.value.diag
    said = f"{diagnostic.message_primary} {diagnostic.message_detail} {diagnostic.context}"
    assert all(part in said for part in ("bad_table", "bad_column", "(0,2)")), said
    assert entries(out) == []


# SQL type, a value that only text can hold, an ordinary one, and one that makes text of the whole column.
TEXT_IN_THE_END = [
    ("numeric[]", "{1.5,NaN}", "{7}", "[0:0]={1}"),
    ("numeric[]", "{{-Infinity}}", "{{7}}", "{1,2}"),
    ("date[]", "{infinity}", "{2026-11-22}", "{{2026-11-22}}"),
    ("timestamp[]", "{-infinity}", "{}", "[5:5]={NULL}"),
    ("time[]", "{24:00:00}", "{12:34:56.7}", "{{00:00:00}}"),
    ("measured", "(NaN,{1})", "(1,{})", '(2,"[0:0]={1}")'),
    ("measured[]", '{"(NaN,\\"{1}\\")"}', "{}", '[2:2]={"(1,{})"}'),
]
# Rows of the special value and of the misfit: the first is in every sample, the others rarely are.
PLACES = [(2, 10000), (10000, 2), (10000, 15000), (15000, 10000)]


@pytest.mark.parametrize("workers", (0, 2))
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("sql_type, special, ordinary, misfit", TEXT_IN_THE_END)
@pytest.mark.parametrize("at", PLACES, ids=str)
def test_special_values_in_text_whatever_the_order(db, out, sql_type, special, ordinary, misfit, scan, workers, at):
    """Met before or after the array that makes text of the column, inside or outside of the sample."""
    db.execute("CREATE TYPE measured AS (n numeric, readings int4[])")
    db.execute(f"CREATE TABLE t (id int, x {sql_type})")
    db.execute(
        f"INSERT INTO t SELECT i, "
        f"CASE i WHEN {at[0]} THEN '{special}' WHEN {at[1]} THEN '{misfit}' ELSE '{ordinary}' END::{sql_type} "
        "FROM generate_series(1, 20000) i"
    )
    export(db, "t", out / "t.parquet", scan=scan, workers=workers, row_group_rows=3000)
    table = pq.read_table(out / "t.parquet")
    assert table.column("id").to_pylist() == list(range(1, 20001))
    _, rows = oracle.select(db, "SELECT x FROM t")
    assert table.column("x").to_pylist() == [x for (x,) in rows]


@pytest.mark.parametrize("workers", (0, 2))
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize(
    "sql_type, special, ordinary, wide",
    [
        ("numeric", "NaN", "1", "1e60"),
        ("numeric[]", "{NaN}", "{1}", "{1e60}"),
        ("measured", "(NaN,{1})", "(1,{})", "(1e60,{2})"),
    ],
)
@pytest.mark.parametrize("at", PLACES, ids=str)
def test_special_values_in_decimals_whatever_the_order(db, out, sql_type, special, ordinary, wide, scan, workers, at):
    """More digits than a decimal has do not let NaN in: numbers too wide are text, no more than that."""
    db.execute("CREATE TYPE measured AS (n numeric, readings int4[])")
    db.execute(f"CREATE TABLE t (id int, x {sql_type})")
    db.execute(
        f"INSERT INTO t SELECT i, "
        f"CASE i WHEN {at[0]} THEN '{special}' WHEN {at[1]} THEN '{wide}' ELSE '{ordinary}' END::{sql_type} "
        "FROM generate_series(1, 20000) i"
    )
    ctid = db.execute("SELECT ctid::text FROM t WHERE id = %s", (at[0],)).fetchone()[0]
    with raises("22003") as caught:
        export(db, "t", out / "t.parquet", scan=scan, workers=workers, row_group_rows=3000)
    assert "NaN" in caught.value.diag.message_primary
    assert f'column "x", ctid {ctid}' in caught.value.diag.message_detail
    assert entries(out) == []


@pytest.mark.parametrize("kind", ("parquet", "arrow"))
def test_time_24_00(db, out, kind):
    """24:00:00 is a valid time, but not one of the file: a query may cast it. timetz is text in any case."""
    db.execute(
        "CREATE TYPE shift AS (n int, ends time); "
        "CREATE TABLE t AS SELECT '24:00:00'::time AS x, ROW(1, '24:00:00')::shift AS s, '24:00:00+02'::timetz AS z"
    )
    for column, path in (("x", out / f"x.{kind}"), ("s", out / f"s.{kind}")):
        for call in (
            f"export_table_{kind}('t', '{path}', columns => ARRAY['{column}'])",
            f"export_query_{kind}('SELECT {column} FROM t', '{path}')",
        ):
            with raises("22008") as caught:
                db.execute(f"SELECT {call}")
            assert (
                f'"{column}"' in caught.value.diag.message_detail and "export_query" in caught.value.diag.message_hint
            )
    db.execute(f"SELECT export_query_{kind}('SELECT x::text, z FROM t', '{out}/t.{kind}')")
    db.execute(f"SELECT export_table_{kind}('t', '{out}/z.{kind}', columns => ARRAY['z'])")
    read = pq.read_table if kind == "parquet" else lambda path: pa.ipc.open_file(path).read_all()
    assert read(out / f"t.{kind}").to_pylist() == [{"x": "24:00:00", "z": "24:00:00+02"}]
    assert read(out / f"z.{kind}").to_pylist() == [{"z": "24:00:00+02"}]


def test_char_bytes_above_127(db, out):
    """ "char" is one byte: in a UTF-8 database a high one is no text, and PostgreSQL prints it as octal."""
    db.execute("""CREATE TABLE t AS SELECT '\\200'::"char" AS c""")
    export_and_check(db, "t", out / "t.parquet")
