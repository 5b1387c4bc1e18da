"""Parquet's INTERVAL and INT96, which no type of Arrow holds exactly. The files are pyarrow's: a column of 12 bytes
whose annotation is put into the footer, or INT96 of its own."""

import struct

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers.foreign import foreign
from ..helpers.support import raises

pytestmark = pytest.mark.fast

# Of a SchemaElement in Thrift's compact protocol: its type is FIXED_LEN_BYTE_ARRAY, of length 12.
FIXED_12 = b"\x15\x0e\x15\x18"
IS_INTERVAL = b"\x25\x2a"  # Its converted type is INTERVAL.


def annotate(path):
    """Makes intervals of a file's columns of 12 bytes."""
    data = path.read_bytes()
    begin = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
    footer, at = data[begin:-8], 0
    while (at := footer.find(FIXED_12, at)) >= 0:
        name = at + 6  # Behind the repetition.
        assert footer[name] == 0x18
        at = name + 2 + footer[name + 1]
        footer = footer[:at] + IS_INTERVAL + footer[at:]
    path.write_bytes(data[:begin] + footer + struct.pack("<I", len(footer)) + b"PAR1")


def write_intervals(path, table, **options):
    pq.write_table(table, path, store_schema=False, **options)
    annotate(path)


def raw(months, days, millis):
    return struct.pack("<III", months, days, millis)


INTERVALS = [
    (0, 0, 0),
    (1, 0, 0),
    (60, 0, 0),
    (14, 3, 1500),
    (0, 0, 3_600_000_000),
    (0, 0, 2**32 - 1),
    (2**31 - 1, 2**31 - 1, 1),
    (0, 40, 0),
    (1, 2, 3),
]
TEXTS = [f"{months} mons {days} days {millis} milliseconds" for months, days, millis in INTERVALS]


def same(connection, query, expected):
    """Whether rows of one interval each are the expected ones, part by part: 1 mon equals 30 days."""
    found = connection.execute(f"SELECT v::text FROM ({query}) q(v)").fetchall()
    assert found == [connection.execute("SELECT %s::interval::text", (text,)).fetchone() for text in expected]


@pytest.mark.parametrize("dictionary", (True, False))
def test_intervals(db, out, dictionary):
    column = pa.array([raw(*parts) for parts in INTERVALS] + [None], pa.binary(12))
    write_intervals(
        out / "t.parquet",
        pa.table({"i": range(len(column)), "v": column}),
        use_dictionary=dictionary,
        row_group_size=3,
        write_page_index=True,
    )
    db.execute(f"IMPORT FOREIGN SCHEMA f FROM SERVER pg_strata INTO {db.schema} OPTIONS (file '{out}/t.parquet')")
    assert db.execute(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'f'::regclass AND attname = 'v'"
    ).fetchone() == ("interval",)
    same(db, "SELECT v FROM f ORDER BY i", TEXTS + [None])
    kept = duckdb.sql(f"SELECT v::VARCHAR FROM '{out}/t.parquet' WHERE i < 4 ORDER BY i").fetchall()
    same(db, "SELECT v FROM f WHERE i < 4 ORDER BY i", [text for (text,) in kept])
    db.execute("CREATE TABLE t (i int, v interval)")
    for number, text in enumerate(TEXTS + [None]):
        db.execute("INSERT INTO t VALUES (%s, %s)", (number, text))
    for condition in (
        "v > '1 year'",
        "v = '30 days'",
        "v <= '14 mons 3 days 1.5 s'",
        "v IN ('0', '1 month')",
        "v <> '0'",
        "v IS NULL",
        "v < '1000 hours'",
        "v > '0' AND i > 2",
    ):
        for pruning in ("on", "off"):
            db.execute(f"SET pg_strata.arrow_fdw_pruning = {pruning}")
            query = f"SELECT i FROM {{}} WHERE {condition} ORDER BY i"
            assert db.execute(query.format("f")).fetchall() == db.execute(query.format("t")).fetchall(), condition
    assert (
        db.execute("SELECT count(v), min(v), max(v) = (SELECT max(v) FROM t) FROM f WHERE v < '1 year'").fetchall()
        == db.execute("SELECT count(v), min(v), max(v) = (SELECT max(v) FROM t) FROM t WHERE v < '1 year'").fetchall()
    )


def test_intervals_in_lists_and_composites(db, out):
    values = [raw(*parts) for parts in INTERVALS[:4]]
    lists = pa.array([values[:2], None, [], [values[3], None]], pa.list_(pa.binary(12)))
    structs = pa.array(
        [{"n": 1, "v": values[1]}, None, {"n": None, "v": values[3]}, {"n": 4, "v": None}],
        pa.struct({"n": pa.int32(), "v": pa.binary(12)}),
    )
    write_intervals(out / "t.parquet", pa.table({"l": lists, "s": structs}))
    db.execute("CREATE TYPE pair AS (n int, v interval)")
    foreign(db, "f", "l interval[], s pair", file=out / "t.parquet")
    assert (
        db.execute("SELECT l::text, s::text FROM f").fetchall()
        == db.execute("""SELECT l::text, s::text FROM (VALUES
        (ARRAY['0', '1 month']::interval[], ROW(1, '1 month')::pair), (NULL, NULL),
        ('{}', ROW(NULL, '14 mons 3 days 1.5 s')::pair),
        (ARRAY['14 mons 3 days 1.5 s', NULL]::interval[], ROW(4, NULL)::pair)) v(l, s)""").fetchall()
    )


@pytest.mark.parametrize("parts", [(2**31, 0, 0), (0, 2**32 - 1, 0)])
@pytest.mark.parametrize("nested", (False, True))
def test_intervals_beyond_postgres(db, out, parts, nested):
    values = [raw(1, 1, 1), None, raw(*parts)]
    column = (
        pa.array([[value] for value in values], pa.list_(pa.binary(12))) if nested else pa.array(values, pa.binary(12))
    )
    write_intervals(out / "t.parquet", pa.table({"v": column}))
    foreign(db, "f", "v interval" + "[]" * nested, file=out / "t.parquet")
    with raises("22003") as caught:
        db.execute("SELECT * FROM f")
    assert all(part in caught.value.diag.message_primary for part in ("row 3,", '"v"', "t.parquet"))


def test_bytes_without_annotation_are_bytes(db, out):
    pq.write_table(pa.table({"v": pa.array([raw(1, 2, 3)], pa.binary(12))}), out / "t.parquet")
    foreign(db, "f", "v bytea", file=out / "t.parquet")
    assert db.execute("SELECT v FROM f").fetchall() == [(raw(1, 2, 3),)]
    for sql_type in ("interval", "timestamp"):
        foreign(db, f"f_{sql_type}", f"v {sql_type}", file=out / "t.parquet")
        with raises("HV004"):
            db.execute(f"SELECT * FROM f_{sql_type}")


def test_intervals_of_arrow_ipc(db, out):
    values = pa.array(
        [pa.MonthDayNano(parts) for parts in ((-14, 3, -1000), (2**31 - 1, -(2**31), 2**62 // 1000 * 1000), (0, 0, 0))],
        pa.month_day_nano_interval(),
    )
    with pa.ipc.new_file(str(out / "t.arrow"), pa.schema({"v": values.type})) as writer:
        writer.write_table(pa.table({"v": values}))
    foreign(db, "f", "v interval", file=out / "t.arrow")
    same(
        db,
        "SELECT v FROM f",
        ["-14 mons 3 days -0.000001 s", f"{2**31 - 1} mons -{2**31} days {2**62 // 1000} microseconds", "0"],
    )


STAMPS = [
    "4713-01-01 00:00:00 BC",
    "4713-01-01 23:59:59.999999 BC",
    "0001-01-01",
    "1582-10-04 12:00:00",
    "1677-09-21 00:12:43.145225",
    "1969-12-31 23:59:59.999999",
    "1970-01-01",
    "2000-01-01 00:00:00.000001",
    "2026-11-27 20:31:52.123456",
    "2262-04-11 23:47:16.854776",
    "9999-12-31 23:59:59.999999",
    "294247-01-10 04:00:54.775807",
]


def stamps(connection):
    """As pyarrow takes them: microseconds since 1970, which end before PostgreSQL's do."""
    sql = (
        "SELECT (v::timestamp::date - '1970-01-01')::numeric * 86400000000 + "
        "extract(epoch FROM v::timestamp::time) * 1000000 FROM unnest(%s::text[]) v"
    )
    found = connection.execute(sql, (STAMPS,)).fetchall()
    return [int(micros) for (micros,) in found]


@pytest.mark.parametrize("dictionary", (True, False))
def test_int96(db, out, dictionary):
    column = pa.array(stamps(db) + [None]).cast(pa.timestamp("us"))
    pq.write_table(
        pa.table({"i": range(len(column)), "v": column}),
        out / "t.parquet",
        use_deprecated_int96_timestamps=True,
        use_dictionary=dictionary,
        row_group_size=4,
    )
    assert pq.ParquetFile(out / "t.parquet").schema.column(1).physical_type == "INT96"
    db.execute(f"IMPORT FOREIGN SCHEMA f FROM SERVER pg_strata INTO {db.schema} OPTIONS (file '{out}/t.parquet')")
    db.execute(
        (
            "CREATE TABLE t AS SELECT (n - 1)::bigint AS i, "
            "v::timestamp AS v FROM unnest(%s::text[]) WITH ORDINALITY u(v, n)"
        ),
        (STAMPS + [None],),
    )
    assert (
        db.execute("SELECT i, v::text FROM f ORDER BY i").fetchall()
        == db.execute("SELECT i, v::text FROM t ORDER BY i").fetchall()
    )
    found = duckdb.sql(f"SELECT i FROM '{out}/t.parquet' WHERE v >= '2262-04-12'::timestamp ORDER BY i").fetchall()
    assert db.execute("SELECT i FROM f WHERE v >= '2262-04-12' ORDER BY i").fetchall() == found == [(10,), (11,)]
    for stamp in STAMPS:
        for operator in ("<", "=", ">=", "<>"):
            query = f"SELECT i FROM {{}} WHERE v {operator} '{stamp}' ORDER BY i"
            assert db.execute(query.format("f")).fetchall() == db.execute(query.format("t")).fetchall(), (
                operator,
                stamp,
            )
    query = "SELECT count(v), min(v)::text, max(v)::text FROM {}"
    assert db.execute(query.format("f")).fetchall() == db.execute(query.format("t")).fetchall()


def test_int96_in_lists_and_composites(db, out):
    far, old = 253_402_300_799_999_999, -62_135_596_800_000_000
    lists = pa.array([[far, None], None, [], [old]], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("us")))
    structs = pa.array(
        [{"n": 1, "v": far}, None, {"n": 2, "v": None}, {"n": 3, "v": old}],
        pa.struct({"n": pa.int32(), "v": pa.int64()}),
    )
    structs = structs.cast(pa.struct({"n": pa.int32(), "v": pa.timestamp("us")}))
    pq.write_table(pa.table({"l": lists, "s": structs}), out / "t.parquet", use_deprecated_int96_timestamps=True)
    db.execute("CREATE TYPE pair AS (n int, v timestamp)")
    foreign(db, "f", "l timestamp[], s pair", file=out / "t.parquet")
    assert db.execute("SELECT l::text, s::text FROM f").fetchall() == [
        ('{"9999-12-31 23:59:59.999999",NULL}', '(1,"9999-12-31 23:59:59.999999")'),
        (None, None),
        ("{}", "(2,)"),
        ('{"0001-01-01 00:00:00"}', '(3,"0001-01-01 00:00:00")'),
    ]


@pytest.mark.parametrize(
    "values, sql_type, sqlstate",
    [
        (pa.array([0, 1000, 1], pa.timestamp("ns")), "timestamp", "22000"),
        (pa.array([0, 0, 120_000], pa.timestamp("us")), "timestamp(1)", "22000"),
        (pa.array([0, 0, 9_224_318_016_000], pa.timestamp("s")), "timestamp", "22003"),
        (pa.array([0, 0, -300_000_000_000], pa.timestamp("s")), "timestamp", "22003"),
    ],
)
def test_int96_beyond_postgres(db, out, values, sql_type, sqlstate):
    pq.write_table(pa.table({"v": values}), out / "t.parquet", use_deprecated_int96_timestamps=True)
    foreign(db, "f", f"v {sql_type}", file=out / "t.parquet")
    with raises(sqlstate) as caught:
        db.execute("SELECT * FROM f")
    assert "row 3," in caught.value.diag.message_primary
    assert db.execute("SELECT count(*) FROM f").fetchone() == (3,)
