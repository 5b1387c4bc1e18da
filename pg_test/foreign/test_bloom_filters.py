"""Scans ask the Bloom filters of Parquet files: the same rows as without, from no more row groups than there may
be."""

import datetime
import uuid
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers.foreign import columns_of, foreign
from ..helpers.pruning import counted, on_and_off, supports_sql
from ..helpers.support import export

ROWS, GROUP_ROWS = 2000, 100
# Every group has values from the whole range, so that least and greatest leave out none of them. No row has ABSENT for
# k.
ABSENT = 766
COLUMNS = {
    "i2": "(k * 7)::int2",
    "i4": "k * 7919",
    "i8": "k::int8 * 7919000000",
    "o": "k::oid",
    "d9": "(k / 100.0)::numeric(9,2)",
    "d18": "(k / 100.0)::numeric(18,4)",
    "n": "(k * 1e25 + 0.5)::numeric",
    "w": "k::numeric",
    "day": "'2000-01-01'::date + k * 2",
    "moment": "'2020-01-01'::timestamp + k * interval '1 hour'",
    "zoned": "'2020-01-01 UTC'::timestamptz + k * interval '1 hour'",
    "tod": "'00:00'::time + k * interval '7 seconds'",
    "u": "md5(k::text)::uuid",
    "t": "'text ' || k",
    "v": "('kůň' || k)::varchar(20)",
    "y": "convert_to('b' || k, 'UTF8')",
}


@pytest.fixture
def table(db, out):
    """Heap table s, foreign table f over its export with filters for all columns, plain over one without."""
    columns = ", ".join(f"{value} AS {name}" for name, value in COLUMNS.items())
    db.execute(
        f"CREATE TABLE s AS SELECT i AS id, k, "
        f"{columns} FROM (SELECT i, (i * 1237) % 2003 AS k FROM generate_series(1, {ROWS}) i) _"
    )
    export(db, "s", out / "s.parquet", workers=0, row_group_rows=GROUP_ROWS, bloom_filters=list(COLUMNS))
    export(db, "s", out / "plain.parquet", workers=0, row_group_rows=GROUP_ROWS)
    foreign(db, "f", columns_of(db, "s"), file=out / "s.parquet")
    foreign(db, "plain", columns_of(db, "s"), file=out / "plain.parquet")
    return db


def groups(connection):
    """How many row groups f has."""
    return sum(counted(connection, "SELECT * FROM f WHERE id > 0"))


@pytest.mark.parametrize("name", COLUMNS)
def test_every_type(table, name):
    """A value that is there is found in its group and hardly any other one; one that is not, in hardly any."""
    sql_type = table.execute(
        f"SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 's'::regclass "
        f"AND attname = '{name}'"
    ).fetchone()[0]

    def literal_of(k):
        return "'{}'::{}".format(
            table.execute(f"SELECT ({COLUMNS[name]})::text FROM (SELECT ({k}) AS k) _").fetchone()[0], sql_type
        )

    literals = [literal_of(f"SELECT k FROM s WHERE id = {number}") for number in (1, 777, ROWS)]
    for number, literal in zip((1, 777, ROWS), literals):
        assert number in on_and_off(table, f"{name} = {literal}")
        on_and_off(table, f"{name} <> {literal}")
    for few in (counted(table, f"SELECT * FROM f WHERE {name} = {literal}")[0] for literal in literals):
        assert few <= 3, few
    assert on_and_off(table, f"{name} IN ({', '.join(literals)}, NULL)") == [1, 777, ROWS]
    assert 1 <= counted(table, f"SELECT * FROM f WHERE {name} IN ({', '.join(literals)})")[0] <= 6
    assert counted(table, f"SELECT * FROM plain WHERE {name} = {literals[1]}")[0] > 15
    missing = literal_of(ABSENT)
    assert on_and_off(table, f"{name} = {missing}") is None
    assert counted(table, f"SELECT * FROM plain WHERE {name} = {missing}")[0] > 15
    assert counted(table, f"SELECT * FROM f WHERE {name} = {missing}")[0] <= 2


def test_conditions(table):
    """Only equality asks them, whatever is around it, and only for groups that least and greatest do not leave out."""
    for condition in (
        "i4 = 7919 OR t = 'text 5'",
        "i4 = 7919 AND t = 'text 5'",
        "i4 = 7919 AND k = 1",
        "(i4 = 7919 OR i8 = 1) AND (t = 'text 1' OR id > 3)",
        "i4 = 7919 OR t IS NULL",
        "NOT (i4 = 7919)",
        "NOT (i4 <> 7919)",
        "i4 = 7919::int8",
        "i4 = 7919::int2",
        "i8 = 7919",
        "i4 = 99999999999",
        "i4 <= 7919",
        "d9 = 0.07",
        "d9 = 0.070000",
        "d9 = 0.071",
        "d18 = 7",
        "w = 7",
        "w = 7.00",
        "n = 'NaN'",
        "d9 = 'Infinity'",
        "day = timestamp '2000-01-03'",
        "day = 'infinity'",
        "moment = '-infinity'",
        "zoned = '2020-01-01 02:00+01'",
        "t = 'text 1'::varchar",
        "v = 'kůň1'::text",
        "v LIKE 'kůň1'",
        "t IN ('text 1', 'text 2', 'never')",
        "t = ANY (ARRAY[]::text[])",
        "t = ANY (NULL)",
        "t = NULL",
        "i4 = ANY ('{7919, 15838}'::int8[])",
        "t > 'text 1'",
    ):
        on_and_off(table, condition)
    assert counted(table, f"SELECT * FROM f WHERE i4 = {ABSENT * 7919} OR t = 'text {ABSENT}'")[0] <= 2
    assert counted(table, f"SELECT * FROM f WHERE i4 = {ABSENT * 7919} AND v <> 'x'")[0] <= 1
    assert counted(table, "SELECT * FROM f WHERE i4 = 7919 OR t > ''")[0] == groups(table)
    assert counted(table, "SELECT * FROM f WHERE i4 = 7919 OR k = 1000")[0] > 15  # k has no filter


def test_parameters(table):
    """Known only when the query runs: of a prepared statement, a nested loop, an initplan."""
    table.execute(
        "SET plan_cache_mode = force_generic_plan; PREPARE q (text) AS SELECT count(*), min(k) FROM f WHERE t = $1"
    )
    for value in (700, 1000, 1500):
        assert table.execute(f"EXECUTE q ('text {value}')").fetchone() == (1, value)
        assert 1 <= counted(table, f"EXECUTE q ('text {value}')")[0] <= 3
    assert table.execute(f"EXECUTE q ('text {ABSENT}')").fetchone() == (0, None)
    table.execute("PREPARE many (uuid[]) AS SELECT count(*) FROM f WHERE u = ANY ($1)")
    assert table.execute("EXECUTE many (ARRAY[md5('1'), md5('2'), md5('no')]::uuid[])").fetchone() == (2,)
    assert counted(table, "EXECUTE many (ARRAY[md5('no')]::uuid[])")[0] <= 2
    assert counted(table, "SELECT * FROM f WHERE i4 = (SELECT 7919000 + count(*) FROM pg_class WHERE false)")[0] <= 3
    table.execute("SET enable_material = off; SET enable_memoize = off")
    lateral = (
        "SELECT g, k FROM (VALUES ('text 700'), ('text 1000'), ('text 766')) AS v(g), "
        "LATERAL (SELECT k FROM f WHERE t = g OFFSET 0) l"
    )
    assert sorted(table.execute(lateral).fetchall()) == [("text 1000", 1000), ("text 700", 700)]
    assert counted(table, lateral)[0] <= 8


def test_parallel_scans(table):
    table.execute(
        "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; "
        "SET max_parallel_workers_per_gather = 2"
    )
    assert table.execute("SELECT count(*), sum(k) FROM f WHERE i8 IN (7919000000000, 5543300000000)").fetchone() == (
        2,
        1700,
    )
    loaded, skipped = counted(table, "SELECT count(*), sum(k) FROM f WHERE i8 IN (7919000000000, 5543300000000)")
    assert loaded <= 5 and loaded + skipped == groups(table)


def test_collations(db, out):
    """Texts that are equal have the same bytes, unless the collation says otherwise; char(n) has no bytes of its
    own."""
    db.execute(
        "CREATE TABLE s AS SELECT i AS id, t AS x, t::char(6) AS p FROM unnest(ARRAY['abc', 'ABC', 'é', "
        "'e\u0301', 'zz', 'a']) WITH ORDINALITY AS _ (t, i)"
    )
    export(db, "s", out / "s.parquet", workers=0, row_group_rows=6, bloom_filters=["x", "p"])
    foreign(db, "f", columns_of(db, "s"), file=out / "s.parquet")
    collations = ["C", "default"]
    if supports_sql(db, "SELECT 'a' COLLATE \"en-x-icu\""):
        db.execute("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
        collations += ["en-x-icu", "loose"]
        assert on_and_off(db, "x = 'aBc' COLLATE loose") == [1, 2]
    for collation in collations:
        for text in ("abc", "aBc", "é", "e\u0301", "E", "zz ", "b"):
            on_and_off(db, f"x = '{text}' COLLATE \"{collation}\"")
            on_and_off(db, f"p = '{text}' COLLATE \"{collation}\"")
    assert on_and_off(db, "p = 'abc   '") == [1] and on_and_off(db, "p = 'abc'") == [1]


def spread(values):
    """The values, dealt to ten groups in turn, so that each group has some from the whole range."""
    return [value for group in range(10) for value in values[group::10]]


DAY = datetime.date(1960, 1, 1)
DAYS = [datetime.datetime(1960, 1, 1) + datetime.timedelta(2 * i) for i in range(1000)]
# The table's type, the file's, the values of 1000 rows, one of them and one that is none of them.
OTHERS = {
    "int4": (pa.int32(), [i * 3 for i in range(1000)], "1515", "1516"),
    "int8": (pa.int32(), [i * 3 for i in range(1000)], "1515", "1516"),
    "int2": (pa.int64(), [i * 3 for i in range(1000)], "1515", "1516"),
    "int4 ": (pa.uint16(), [i * 60 for i in range(1000)], "30300", "30301"),
    "int8 ": (pa.uint32(), [i * 4000000 for i in range(1000)], "2148000000", "2148000001"),
    "numeric": (pa.uint64(), [i * 2**54 for i in range(1000)], str(515 * 2**54), str(515 * 2**54 + 1)),
    "numeric ": (
        pa.decimal128(30, 3),
        [Decimal(i) * 10**20 for i in range(-500, 500)],
        "-5" + "0" * 20,
        "-5" + "0" * 19 + "1",
    ),
    "date": (
        pa.date32(),
        [DAY + datetime.timedelta(2 * i) for i in range(1000)],
        f"'{DAYS[505]:%Y-%m-%d}'",
        f"date '{DAYS[505]:%Y-%m-%d}' + 1",
    ),
    "timestamp": (pa.timestamp("ms"), DAYS, f"'{DAYS[505]}'", f"timestamp '{DAYS[505]}' + interval '1 ms'"),
    "timestamp ": (pa.timestamp("ns"), DAYS, f"'{DAYS[505]}'", f"timestamp '{DAYS[505]}' + interval '1 us'"),
    "timestamptz": (pa.timestamp("us", "UTC"), DAYS, f"'{DAYS[505]}+00'", f"'{DAYS[505]}+01'"),
    "time": (pa.time32("ms"), [datetime.time(i // 60, i % 60) for i in range(1000)], "'08:25'", "'08:25:01'"),
    "text": (pa.string(), [f"ž{i}" for i in range(1000)], "'ž505'", "'ž505x'"),
    "text ": (pa.binary(), [f"ž{i}".encode() for i in range(1000)], "'ž505'", "'ž505x'"),
    "bytea": (pa.binary(), [f"{i:03}".encode() for i in range(1000)], "'505'", "'505x'"),
    "bytea ": (pa.binary(3), [(2 * i).to_bytes(3, "big") for i in range(1000)], "'\\x0003f2'", "'\\x0003f3'"),
    "uuid": (
        pa.binary(16),
        [uuid.UUID(int=i << 100).bytes for i in range(1000)],
        f"'{uuid.UUID(int=505 << 100)}'",
        f"'{uuid.UUID(int=(505 << 100) + 1)}'",
    ),
    "int4  ": (pa.string(), [str(i) for i in range(1000)], "505", "-7"),
    "bytea  ": (pa.string(), [f"\\x{i:06x}" for i in range(1000)], "'\\x000003'", "'\\x10000000'"),
    "float8": (pa.float64(), [i / 8 for i in range(1000)], "63.125", "63.13"),
    "bool": (pa.bool_(), [i % 3 == 0 for i in range(1000)], "true", "NULL"),
}
# No equality of theirs is one of bytes: nothing is left out.
UNASKED = ("int4  ", "bytea  ", "float8", "bool")


@pytest.mark.parametrize("case", OTHERS)
def test_filters_of_pyarrow(db, out, case):
    """Physical types that differ from the column's own, and texts that stand for other values."""
    arrow_type, values, there, absent = OTHERS[case]
    table = pa.table({"id": pa.array(range(1000), pa.int32()), "x": pa.array(spread(values), arrow_type)})
    filtered = {} if case == "bool" else {"bloom_filter_options": {"x": {"ndv": 100, "fpp": 0.01}}}
    pq.write_table(table, out / "s.parquet", row_group_size=100, **filtered)
    foreign(db, "f", f"id int, x {case}", file=out / "s.parquet")
    db.execute("CREATE TABLE s AS SELECT * FROM f")
    for value in (there, absent):
        for operator in ("=", "<>", "<", ">="):
            on_and_off(db, f"x {operator} {value}")
        on_and_off(db, f"x IN ({value}, {there})")
    assert on_and_off(db, f"x = {there}") and not on_and_off(db, f"x = {absent}")
    if case not in UNASKED:
        assert 1 <= counted(db, f"SELECT * FROM f WHERE x = {there}")[0] <= 3
        assert counted(db, f"SELECT * FROM f WHERE x = {absent}")[0] <= 2
    elif case != "bool":
        assert counted(db, f"SELECT * FROM f WHERE x = {there}")[0] > 5


def test_filters_of_duckdb(db, out):
    path = out / "s.parquet"
    duckdb.execute(f"""COPY (SELECT i::INT AS id, ((i % 50) * 100 + i // 4096)::BIGINT AS n, 'text '
        || ((i % 50) * 100 + i // 4096) AS t FROM range(40960) r(i))
                       TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 4096)""")
    metadata = duckdb.execute(
        f"SELECT count(bloom_filter_offset) FROM parquet_metadata('{path}') WHERE path_in_schema IN ('n', 't')"
    ).fetchone()
    assert metadata == (20,)
    foreign(db, "f", "id int, n int8, t text", file=path)
    db.execute("CREATE TABLE s AS SELECT * FROM f")
    for number in (0, 7, 1203, 4909, 1250, 4910, -1):
        on_and_off(db, f"n = {number}")
        on_and_off(db, f"t = 'text {number}'")
    assert (
        1 <= counted(db, "SELECT * FROM f WHERE n = 1203")[0] <= 3
        and 1 <= counted(db, "SELECT * FROM f WHERE t = 'text 1203'")[0] <= 3
    )
    assert counted(db, "SELECT * FROM f WHERE n = 1250")[0] <= 2


def test_damaged_filters_say_nothing(table, out):
    """Headers of zeros, of noise, and of another length; the rows are the same, and all groups are read."""
    path = out / "s.parquet"
    whole = path.read_bytes()
    offsets = [
        row[0]
        for row in duckdb.execute(
            f"SELECT bloom_filter_offset FROM parquet_metadata('{path}') WHERE path_in_schema = 't'"
        ).fetchall()
    ]
    assert len(offsets) == groups(table) and counted(table, "SELECT * FROM f WHERE t = 'text 5'")[0] <= 3
    header = whole[offsets[0] : offsets[0] + 4]
    for damage in (
        b"\0" * 16,
        b"\xff" * 16,
        b"\x1c" * 32,
        header[:1] + b"\x40",
        header[:1] + b"\xff\xff\xff\xff\x0f",
        b"\x15\x00",
        b"\x15\x7f",
        b"\x19\xfc\xff\xff\xff\xff\x07",
    ):
        damaged = bytearray(whole)
        for offset in offsets:
            damaged[offset : offset + len(damage)] = damage
        path.write_bytes(damaged)
        assert on_and_off(table, "t = 'text 5'") and on_and_off(table, "t = 'never'") is None
        assert counted(table, "SELECT * FROM f WHERE t = 'text 5'")[0] > 15, damage
    path.write_bytes(whole)
    assert counted(table, "SELECT * FROM f WHERE t = 'text 5'")[0] <= 3
