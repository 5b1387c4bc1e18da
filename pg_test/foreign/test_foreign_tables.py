"""Foreign tables: every value read back as the table has it, foreign files, options, plans."""

from decimal import Decimal

import pyarrow as pa
import pytest

from ..helpers import every_type, oracle
from ..helpers.arrow import export as export_arrow
from ..helpers.columnar import analyzed
from ..helpers.every_type import make
from ..helpers.foreign import EXPORT, FORMATS, PARALLEL, columns_of, export_group, foreign, plan, rows_of, write
from ..helpers.support import export as export_parquet
from ..helpers.support import raises

pytestmark = pytest.mark.fast

# Values


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("family", every_type.FAMILIES)
def test_round_trip(db, out, family, kind):
    """Every type and edge value, from many row groups or record batches."""
    cases = make(db, family, repeat=60)
    export_group(db, kind, "t", out / f"t.{kind}", 200)
    foreign(db, "f", columns_of(db, "t"), file=out / f"t.{kind}")
    types = [sql_type for _, sql_type, _, _ in cases]
    assert rows_of(db, "f", types) == rows_of(db, "t", types)
    for name, sql_type, _, _ in cases:  # one column alone reads as it does among others
        assert rows_of(db, "f", [sql_type], name) == rows_of(db, "t", [sql_type], name)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("family", ("scalars", "numerics"))
def test_nothing_is_left_over(db, out, family, kind):
    """EXCEPT ALL both ways, by PostgreSQL's own equality."""
    cases = [case for case in make(db, family, repeat=20) if case[1] != "json"]
    EXPORT[kind](db, "t", out / f"t.{kind}")
    foreign(db, "f", columns_of(db, "t"), file=out / f"t.{kind}")
    names = ", ".join(name for name, *_ in cases)
    for one, other in (("t", "f"), ("f", "t")):
        assert db.execute(f"SELECT {names} FROM {one} EXCEPT ALL SELECT {names} FROM {other}").fetchall() == []


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_record_batches(db, out, compression):
    make(db, "nested", repeat=10)
    export_arrow(db, "t", out / "t.arrow", compression=compression)
    foreign(db, "f", columns_of(db, "t"), file=out / "t.arrow")
    assert rows_of(db, "f", columns="a_text, a_3d, r_deep") == rows_of(db, "t", columns="a_text, a_3d, r_deep")


@pytest.mark.parametrize("codec", ["snappy", "gzip", "brotli", "lz4_raw", "none"])
def test_codecs(db, out, codec):
    db.execute("CREATE TABLE t AS SELECT i, 'text ' || i % 9 AS x, i / 7.0 AS n FROM generate_series(1, 9000) i")
    export_parquet(db, "t", out / "t.parquet", compression=codec)
    foreign(db, "f", columns_of(db, "t"), file=out / "t.parquet")
    assert rows_of(db, "f", ["int4", "text", "numeric"]) == rows_of(db, "t", ["int4", "text", "numeric"])


def test_domains_check_their_constraints(db, out):
    db.execute(
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TABLE t AS SELECT i FROM generate_series(-3, 3) i"
    )
    export_parquet(db, "t", out / "t.parquet")
    foreign(db, "f", "i positive", file=out / "t.parquet")
    with raises("23514") as caught:
        db.execute("SELECT * FROM f")
    assert "row 1," in caught.value.diag.message_primary and '"i"' in caught.value.diag.message_primary


# Files of other writers


OTHERS = {
    "i8": (pa.array([1, None, -128], pa.int8()), "int2", ["1", None, "-128"]),
    "u8": (pa.array([1, None, 255], pa.uint8()), "int4", ["1", None, "255"]),
    "u64": (pa.array([1, None, 2**64 - 1], pa.uint64()), "numeric", ["1", None, "18446744073709551615"]),
    "wide": (pa.array([1, None, 2**40], pa.int64()), "numeric", ["1", None, str(2**40)]),
    "f16": (pa.array([1.5, None, float("nan")], pa.float16()), "float8", ["1.5", None, "NaN"]),
    "f32": (pa.array([1.5, None, 0.1], pa.float32()), "float8", ["1.5", None, "0.10000000149011612"]),
    "dec256": (
        pa.array([Decimal("1.50"), None, Decimal("-" + "9" * 60 + ".25")], pa.decimal256(70, 2)),
        "numeric",
        ["1.50", None, "-" + "9" * 60 + ".25"],
    ),
    "ts_s": (
        pa.array([0, None, -1], pa.timestamp("s")),
        "timestamp",
        ["1970-01-01 00:00:00", None, "1969-12-31 23:59:59"],
    ),
    "ts_ns": (
        pa.array([1000, None, -1000], pa.timestamp("ns")),
        "timestamp",
        ["1970-01-01 00:00:00.000001", None, "1969-12-31 23:59:59.999999"],
    ),
    "tz_ms": (
        pa.array([1, None, 2], pa.timestamp("ms", "Europe/Prague")),
        "timestamptz",
        ["1970-01-01 00:00:00.001+00", None, "1970-01-01 00:00:00.002+00"],
    ),
    "t_ms": (pa.array([1, None, 86399999], pa.time32("ms")), "time", ["00:00:00.001", None, "23:59:59.999"]),
    "d64": (pa.array([86400000, None, 0], pa.date64()), "date", ["1970-01-02", None, "1970-01-01"]),
    "large": (pa.array(["a", None, "ž"], pa.large_string()), "text", ["a", None, "ž"]),
    "view": (
        pa.array(["a", None, "longer than twelve bytes"], pa.string_view()),
        "text",
        ["a", None, "longer than twelve bytes"],
    ),
    "dict": (pa.array(["b", None, "a"]).dictionary_encode(), "varchar(3)", ["b", None, "a"]),
    "bin": (pa.array([b"\x00", None, b"xyz"], pa.binary()), "bytea", ["\\x00", None, "\\x78797a"]),
    "fixed": (pa.array([b"abc", None, b"xyz"], pa.binary(3)), "bytea", ["\\x616263", None, "\\x78797a"]),
    "nothing": (pa.nulls(3), "int4", [None, None, None]),
    "pad": (pa.array(["a", None, "abc"]), "char(3)", ["a  ", None, "abc"]),
    "jsonb": (pa.array(['{"a" : 1}', None, "[]"]), "jsonb", ['{"a": 1}', None, "[]"]),
    "inet": (pa.array(["10.0.0.1", None, "::1"]), "inet", ["10.0.0.1", None, "::1"]),
    "lists": (
        pa.array([[[1, 2], [3, 4]], None, []], pa.list_(pa.list_(pa.int32()))),
        "int4[]",
        ["{{1,2},{3,4}}", None, "{}"],
    ),
    "large_list": (
        pa.array([["a"], None, ["b", None]], pa.large_list(pa.string())),
        "text[]",
        ["{a}", None, "{b,NULL}"],
    ),
    "fixed_list": (pa.array([[1, 2], None, [3, None]], pa.list_(pa.int64(), 2)), "int8[]", ["{1,2}", None, "{3,NULL}"]),
    "structs": (pa.array([{"t": "x", "i": 1}, None, {"t": None, "i": 2}]), "pair", ["(1,x)", None, "(2,)"]),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_files_of_pyarrow(db, out, kind):
    """Types that the exports do not write."""
    db.execute("CREATE TYPE pair AS (i int4, t text)")
    cases = {name: case for name, case in OTHERS.items() if kind == "arrow" or name not in ("f16", "view")}
    table = pa.table({name: array for name, (array, _, _) in cases.items()})
    table = pa.concat_tables([table, table.slice(1), table])
    write(out / f"t.{kind}", table)
    foreign(
        db, "f", ", ".join(f"{name} {sql_type}" for name, (_, sql_type, _) in cases.items()), file=out / f"t.{kind}"
    )
    for name, (_, _, texts) in cases.items():
        _, rows = oracle.select(db, f"SELECT {name} FROM f")
        assert [row[0] for row in rows] == texts + texts[1:] + texts, name


def test_intervals_of_pyarrow(db, out):
    values = pa.array([pa.MonthDayNano([14, -3, 5_000_000]), None], pa.month_day_nano_interval())
    write(out / "t.arrow", pa.table({"i": values, "d": pa.array([1, None], pa.duration("ms"))}))
    foreign(db, "f", "i interval, d interval", file=out / "t.arrow")
    assert db.execute("SELECT i = '1 year 2 mons -3 days 00:00:00.005', d = '1 ms', i IS NULL FROM f").fetchall() == [
        (True, True, False),
        (None, None, True),
    ]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "array, sql_type, sqlstate",
    [
        (pa.array([1, 2, 40000]), "int2", "22003"),
        (pa.array([1, 2, -1]), "oid", "22003"),
        (pa.array([0.5, 1, 0.1]), "float4", "22003"),
        (pa.array([0, 1000, 1], pa.timestamp("ns")), "timestamp", "22000"),
        (pa.array([0, 0, -(2**62)], pa.timestamp("us")), "timestamp", "22003"),
        (pa.array([0, 0, 1], pa.timestamp("ms")), "timestamp(2)", "22000"),
        (pa.array([0, 0, 2**31 - 1], pa.date32()), "date", "22003"),
        (pa.array([Decimal("1.0"), Decimal("2.0"), Decimal("2.5")]), "numeric(3,0)", "22000"),
        (pa.array([Decimal("1.0"), Decimal("2.0"), Decimal("20.0")]), "numeric(2,1)", "22003"),
        (pa.array(["a", "b", "abcd"]), "varchar(3)", "22000"),
        (pa.array(["a", "b", "abcd"]), "char(3)", "22000"),
        (pa.array(["a", "b", "c\0"]), "text", "22000"),
        (pa.array(["1", "2", "x"]), "int4", "22P02"),
        (pa.array(["{}", "[]", "{"]), "jsonb", "22P02"),
        (pa.array([[[1], [2]], [], [[1], [2, 3]]]), "int8[]", "22000"),
        (pa.array([[1], [2, 2], [3, 40000]]), "int2[]", "22003"),
    ],
)
def test_a_value_that_does_not_fit(db, out, kind, array, sql_type, sqlstate):
    """An error that names file, column and row, never another value."""
    write(out / f"t.{kind}", pa.table({"ok": [1] * 9, "x": pa.concat_arrays([array.slice(0, 2)] * 3 + [array])}))
    foreign(db, "f", f"ok int8, x {sql_type}", file=out / f"t.{kind}")
    with raises(sqlstate) as caught:
        db.execute("SELECT * FROM f")
    message = caught.value.diag.message_primary
    assert f'"{out}/t.{kind}"' in message and '"x"' in message and "row 9," in message, message
    assert db.execute("SELECT count(*), sum(ok) FROM f").fetchone() == (9, 9)


# Options


def test_columns_by_name_and_field(db, out):
    """In whatever order, under other names, and only some of them."""
    write(out / "t.parquet", pa.table({"a": [1, 2], "B": ["x", "y"], "c": [True, None]}))
    foreign(db, "f", "flag bool OPTIONS (field 'c'), \"B\" text", file=out / "t.parquet")
    assert db.execute("SELECT * FROM f").fetchall() == [(True, "x"), (None, "y")]
    db.execute("ALTER FOREIGN TABLE f DROP COLUMN flag; ALTER FOREIGN TABLE f ADD a int8")
    assert db.execute("SELECT f, a FROM f").fetchall() == [("(x,1)", 1), ("(y,2)", 2)]
    db.execute("ALTER FOREIGN TABLE f ADD d int")
    with raises("HV005"):
        db.execute("SELECT d FROM f")
    db.execute("ALTER FOREIGN TABLE f ADD c int")
    with raises("HV004"):
        db.execute("SELECT c FROM f")


def test_missing_columns(db, out):
    """An error, or NULL where the table says so and the column may be."""
    write(out / "a.parquet", pa.table({"a": [1, 2], "b": ["x", "y"]}))
    write(out / "b.arrow", pa.table({"b": ["z"], "c": [[1.5]]}))
    columns = "a int, b text, c float8[]"
    foreign(db, "strict", columns, dir=out)
    with raises("HV005") as caught:
        db.execute("SELECT a FROM strict")
    assert "b.arrow" in caught.value.diag.message_primary and '"a"' in caught.value.diag.message_primary
    foreign(db, "f", columns, dir=out, missing_columns="null")
    assert rows_of(db, "f") == [("1", "x", None), ("2", "y", None), (None, "z", "{1.5}")]
    for pushdown in ("on", "off"):
        db.execute(f"SET pg_strata.arrow_fdw_pushdown = {pushdown}")
        assert db.execute("SELECT b FROM f WHERE a IS NULL").fetchall() == [("z",)]
        assert db.execute("SELECT b FROM f WHERE a < 2").fetchall() == [("x",)]
        assert db.execute("SELECT count(*), count(a), sum(a), max(a) FROM f WHERE b > 'x'").fetchone() == (2, 1, 2, 2)
    db.execute("ALTER FOREIGN TABLE f ALTER a SET NOT NULL")
    with raises("HV005"):
        db.execute("SELECT a FROM f")


def test_several_files(db, out):
    """files, and dir with suffix; of either format; names that begin with a dot or an underscore are no data."""
    one = pa.table({"a": [1, 2]})
    for name in ("x.parquet", "y.arrow", "z.parquet", ".x.parquet", "_x.parquet"):
        write(out / name, one)
    (out / "note.txt").write_text("no data")
    foreign(db, "named", "a int8", files=f"{out}/x.parquet, {out}/y.arrow")
    foreign(db, "below", "a int8", dir=out, suffix=".parquet")
    foreign(db, "everything", "a int8", dir=out)
    assert db.execute("SELECT count(*), sum(a) FROM named").fetchone() == (4, 6)
    assert db.execute("SELECT count(*), sum(a) FROM below").fetchone() == (4, 6)
    with raises("HV000"):
        db.execute("SELECT * FROM everything")
    (out / "note.txt").unlink()
    assert db.execute("SELECT count(*) FROM everything").fetchone() == (6,)


def test_an_export_directory(db, out):
    db.execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i")
    export_parquet(db, "t", out / "parts", workers=2)
    foreign(db, "f", "i int4", dir=out / "parts")
    assert rows_of(db, "f") == rows_of(db, "t")


@pytest.mark.parametrize(
    "options, sqlstate",
    [
        ("", "HV00J"),
        ("file 'relative'", "42602"),
        ("file '/a', dir '/b'", "HV024"),
        ("filename '/a'", "HV00D"),
        ("file '/a', suffix 'x'", "HV024"),
        ("dir '/a', pattern '@{'", "HV024"),
        ("dir '/a', parallel_workers 'x'", "HV024"),
        ("files '/a, b'", "42602"),
        ("file '/a', missing_columns 'ignore'", "HV024"),
    ],
)
def test_bad_options(db, options, sqlstate):
    with raises(sqlstate):
        db.execute(f"CREATE FOREIGN TABLE f (a int) SERVER pg_strata {f'OPTIONS ({options})' if options else ''}")


def test_bad_column_and_server_options(db):
    for columns in ("a int OPTIONS (feild 'x')", "a int OPTIONS (field 'x', virtual 'y')"):
        with pytest.raises(Exception, match="option"):
            foreign(db, "f", columns, file="/a")
    with raises("HV00D"):
        db.execute("ALTER SERVER pg_strata OPTIONS (ADD dir '/tmp')")
    with raises("HV024"):
        db.execute("ALTER SERVER pg_strata OPTIONS (ADD read_as 'anyone')")


def test_files_that_cannot_be_read(db, out):
    for path, sqlstate in ((out / "none.parquet", "58P01"), (out, "42809"), ("/dev/null", "42809")):
        foreign(db, "f", "a int", file=path)
        with raises(sqlstate):
            db.execute("SELECT * FROM f")
        db.execute("DROP FOREIGN TABLE f")
    foreign(db, "f", "a int", dir=out / "none")
    with raises("58P01"):
        db.execute("SELECT * FROM f")


def test_tables_cannot_be_written(db, out):
    write(out / "t.parquet", pa.table({"a": [1]}))
    foreign(db, "f", "a int8", file=out / "t.parquet")
    for statement in ("INSERT INTO f VALUES (1)", "UPDATE f SET a = 1", "DELETE FROM f"):
        with pytest.raises(Exception, match="cannot"):
            db.execute(statement)


# Plans


@pytest.fixture(params=FORMATS)
def wide(request, db, out):
    """A table of 20,000 rows and its foreign twin of 20 groups."""
    db.execute("""CREATE TABLE t AS SELECT i AS id, i % 10 AS low, 'text ' || i % 100 AS x,
        (i / 8.0)::numeric(12,3) AS n, repeat('x', 200) AS filler
                  FROM generate_series(1, 20000) i""")
    export_group(db, request.param, "t", out / f"t.{request.param}", 1000)
    foreign(db, "f", columns_of(db, "t"), file=out / f"t.{request.param}")
    db.kind = request.param
    return db


def same(connection, query):
    """The query over f gives what it gives over t."""
    ours, theirs = (connection.execute(query.replace("$T", name)).fetchall() for name in ("f", "t"))
    assert sorted(ours, key=repr) == sorted(theirs, key=repr), query


QUERIES = (
    "SELECT count(*), sum(id), sum(n), max(x) FROM $T",
    "SELECT low, count(*), min(n) FROM $T GROUP BY low",
    "SELECT * FROM $T WHERE id BETWEEN 5 AND 8",
    "SELECT a.id FROM $T a JOIN $T b ON a.id = b.id + 19990",
    "SELECT count(*) FROM $T",
    "SELECT $T FROM $T WHERE id % 5000 = 1",
)


def test_queries(wide):
    for query in QUERIES:
        same(wide, query)


def test_parallel_scans(wide):
    wide.execute(f"{PARALLEL}; SET max_parallel_workers_per_gather = 2")
    assert "Parallel Foreign Scan" in plan(wide, "SELECT id FROM f")
    for query in QUERIES:
        same(wide, query)
    wide.execute("SET parallel_leader_participation = off")
    for query in QUERIES:
        same(wide, query)


def test_no_worker_can_be_had(wide):
    wide.execute(f"{PARALLEL}; SET max_parallel_workers_per_gather = 2; SET max_parallel_workers = 0")
    for query in QUERIES:
        same(wide, query)


def test_parallel_workers_option(wide):
    wide.execute("SET max_parallel_workers_per_gather = 4; ALTER FOREIGN TABLE f OPTIONS (ADD parallel_workers '0')")
    wide.execute(PARALLEL)
    assert "Parallel" not in plan(wide, "SELECT id FROM f")
    assert "Workers: 0 planned" in analyzed(wide, "SELECT sum(id) FROM f")
    wide.execute("ALTER FOREIGN TABLE f OPTIONS (SET parallel_workers '3')")
    assert "Workers Planned: 3" in plan(wide, "SELECT id FROM f")
    assert "Workers: 3 planned" in analyzed(wide, "SELECT sum(id) FROM f")


def test_parameterised_scans(wide):
    """A join with few rows reads the groups that their values lie in; the answers are those of other plans."""
    db = wide
    db.execute(
        "CREATE TABLE few AS SELECT * FROM (VALUES (1, 'text 1'), (5500, 'text 0'), (19999, NULL), "
        "(NULL, 'text 9')) v (k, w)"
    )
    db.execute("ANALYZE few; ANALYZE f; ANALYZE t; SET max_parallel_workers_per_gather = 0")
    queries = (
        "SELECT k, id, n FROM few JOIN $T ON id = k",
        "SELECT k, id, x FROM few LEFT JOIN $T ON id = k AND x = w",
        "SELECT k FROM few WHERE EXISTS (SELECT FROM $T WHERE id = k AND low < 5)",
        "SELECT k, s FROM few, LATERAL (SELECT sum(low) AS s FROM $T WHERE id BETWEEN k AND k + 1) l",
        "SELECT k, id FROM few JOIN $T ON id = k + 1 AND n > k / 8.0",
    )
    for pushdown in ("on", "off"):
        db.execute(f"SET pg_strata.arrow_fdw_pushdown = {pushdown}")
        for query in queries:
            same(db, query)
        text = plan(db, queries[0].replace("$T", "f"), "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF")
        assert "Nested Loop" in text and "loaded: 3, skipped: " in text, text
    # Every group has every value of `low`, so that a scan again for each row is no gain.
    text = plan(db, "SELECT k FROM few JOIN f ON low = k")
    assert "Stats-Hint" not in text, text
    db.execute("SET pg_strata.arrow_fdw_pruning = off")
    assert "Nested Loop" not in plan(db, queries[0].replace("$T", "f"))


def test_rescans(wide):
    """Inner sides of nested loops, parallel ones too, lateral references, and cursors that stop early."""
    wide.execute(
        "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off; SET enable_memoize = off"
    )
    query = (
        "SELECT g, count(b.id), sum(b.n) FROM generate_series(1, 5) g LEFT JOIN $T b ON b.low = g "
        "AND b.id < 3000 GROUP BY g"
    )
    same(wide, query)
    same(wide, "SELECT g, (SELECT max(id) FROM $T WHERE low = g) FROM generate_series(1, 5) g")
    wide.execute(f"{PARALLEL}; SET max_parallel_workers_per_gather = 2")
    same(wide, query)
    same(wide, "SELECT g, (SELECT sum(id) FROM $T WHERE id > g) FROM generate_series(1, 3) g")
    with wide.transaction():
        wide.execute("DECLARE c SCROLL CURSOR FOR SELECT id FROM f")
        assert wide.execute("FETCH 3 FROM c").fetchall() == [(1,), (2,), (3,)]
        wide.execute("MOVE ABSOLUTE 0 IN c")
        assert wide.execute("FETCH 2 FROM c").fetchall() == [(1,), (2,)]


def test_row_estimates(wide):
    text = plan(wide, "SELECT id FROM f", "COSTS ON")
    assert "rows=20000 " in text, text


def test_a_partition(wide, out):
    """A partitioned table whose old rows are in a file."""
    wide.execute("""CREATE TABLE p (id int, low int, x text, n numeric(12,3), filler text) PARTITION BY RANGE (id);
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (20001) TO (30000); INSERT INTO p SELECT 20005, 1, 'new', 2, '';
        ALTER TABLE p ATTACH PARTITION f FOR VALUES FROM (1) TO (20001)""")
    assert wide.execute("SELECT count(*), max(id) FROM p").fetchone() == (20001, 20005)
    assert "f" not in plan(wide, "SELECT id FROM p WHERE id = 20005").replace("for", "").split("on")[1].split()[0]
    assert wide.execute("SELECT x FROM p WHERE id = 7").fetchall() == [("text 7",)]
