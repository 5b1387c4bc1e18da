"""Foreign tables over sets of files: IMPORT FOREIGN SCHEMA, virtual columns, ANALYZE, archives."""

import pyarrow as pa
import pytest

from ..helpers import every_type
from ..helpers.every_type import make
from ..helpers.foreign import (
    EXPORT,
    FORMATS,
    PARALLEL,
    columns_of,
    described,
    export_group,
    foreign,
    import_schema,
    plan,
    rows_of,
    write,
)
from ..helpers.pruning import counted
from ..helpers.support import raises

# IMPORT FOREIGN SCHEMA


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("family", every_type.FAMILIES)
def test_import_gives_the_exported_types(db, out, family, kind):
    make(db, family)
    EXPORT[kind](db, "t", out / f"t.{kind}")
    import_schema(db, "f", file=out / f"t.{kind}")
    assert [column[:2] for column in described(db, "f")] == [column[:2] for column in described(db, "t")]
    assert len(rows_of(db, "f")) == len(rows_of(db, "t"))


@pytest.mark.parametrize("kind", FORMATS)
def test_import_of_other_files(db, out, kind):
    """Types by the file's own; a composite has no name, and is JSON."""
    notices = []
    db.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
    table = pa.table(
        {
            "a": pa.array([1], pa.int32()),
            "B c": pa.array(["x"]),
            "n": pa.array([[[1]]], pa.list_(pa.list_(pa.int64()))),
            "ts": pa.array([0], pa.timestamp("ms", "UTC")),
            "s": pa.array([{"x": 1}]),
            "d": pa.array([1], pa.decimal128(9, 3)),
        }
    )
    write(out / f"t.{kind}", table)
    import_schema(db, '"Odd name"', file=out / f"t.{kind}")
    assert [column[:2] for column in described(db, '"Odd name"')] == [
        ("a", "integer"),
        ("B c", "text"),
        ("n", "bigint[]"),
        ("ts", "timestamp with time zone"),
        ("s", "json"),
        ("d", "numeric(9,3)"),
    ]
    assert notices == ["lists in lists become an array of several dimensions"]
    assert db.execute('SELECT a, "B c", n, s, d::text FROM "Odd name"').fetchall() == [
        (1, "x", [[1]], {"x": 1}, "1.000")
    ]


# Virtual columns

YEARS, MODES = range(1992, 1997), ("AIR", "REG AIR", "SHIP", "it's")


@pytest.fixture(params=FORMATS)
def lineorder(request, db, out):
    """One file for each year and mode, as the seed has them, and the table that they came from."""
    kind = request.param
    db.execute(f"""CREATE TABLE t AS SELECT i AS id, {YEARS[0]} + i % {len(YEARS)} AS year,
        (ARRAY['{"', '".join(mode.replace("'", "''") for mode in MODES)}'])[1 + i / 7 % {len(MODES)}] AS mode,
        i * 1.5 AS price
        FROM generate_series(1, 4000) i""")
    for year in YEARS:
        for mode in MODES:
            db.execute(
                f"CREATE TEMP TABLE part AS SELECT id, price FROM t WHERE year = {year} AND mode = %s",
                (mode,),
                prepare=False,
            )
            EXPORT[kind](db, "part", out / f"f_{year}_{mode}.{kind}")
            db.execute("DROP TABLE part")
    (out / "README.txt").write_text("not of the pattern")
    import_schema(db, "f", dir=out, pattern=f"f_@{{year}}_${{mode}}.{kind}")
    return db


def test_virtual_columns(lineorder):
    db = lineorder
    assert described(db, "f") == [
        ("id", "integer", None),
        ("price", "numeric", None),
        ("year", "bigint", ["virtual=year"]),
        ("mode", "text", ["virtual=mode"]),
    ]
    order = "id, price, year, mode"
    assert rows_of(db, "f", columns=order) == rows_of(
        db, "(SELECT id, round(price, 1) AS price, year, mode FROM t) t", columns=order
    )


def test_virtual_columns_leave_out_files(lineorder):
    db = lineorder
    for condition, loaded in (
        ("year = 1993", 4),
        ("year = 1993 AND mode = 'SHIP'", 1),
        ("year >= 1995", 8),
        ("mode IN ('AIR', 'it''s')", 10),
        ("year = 1800", 0),
        ("mode IS NULL", 0),
        ("year = 1992 OR mode = 'AIR'", 8),
        ("year BETWEEN 1993 AND 1994", 8),
    ):
        assert counted(db, f"SELECT * FROM f WHERE {condition}") == (loaded, 20 - loaded), condition
        query = f"SELECT count(*), sum(price) FROM $T WHERE {condition}"
        assert db.execute(query.replace("$T", "f")).fetchone() == db.execute(query.replace("$T", "t")).fetchone()
    db.execute("SET plan_cache_mode = force_generic_plan; PREPARE q (int) AS SELECT count(*) FROM f WHERE year = $1")
    assert db.execute("EXECUTE q (1994)").fetchone() == (800,)
    assert counted(db, "EXECUTE q (1994)") == (4, 0)  # of files that are left out nothing is known
    db.execute(
        "SET pg_strata.columnar_sql = off;"
        "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off; SET enable_memoize = off"
    )
    query = (
        "SELECT y, n FROM (VALUES (1992), (1994)) v(y), LATERAL (SELECT count(*) AS n FROM f WHERE year = y OFFSET 0) l"
    )
    db.execute("PREPARE rows (int) AS SELECT price FROM f WHERE year = $1")
    assert counted(db, "EXECUTE rows (1994)") == (4, 16)
    assert sorted(db.execute(query).fetchall()) == [(1992, 800), (1994, 800)]
    assert counted(db, query) == (8, 32)
    db.execute("RESET pg_strata.columnar_sql")
    assert sorted(db.execute(query).fetchall()) == [(1992, 800), (1994, 800)]


def test_joins_with_virtual_columns(lineorder):
    """A nested loop reads the files of each year alone."""
    db = lineorder
    db.execute("CREATE TABLE years AS SELECT 1993 AS y; ANALYZE years; SET max_parallel_workers_per_gather = 0")
    query = "SELECT count(*), sum(price) FROM years JOIN $T ON year = y"
    text = plan(db, query.replace("$T", "f"), "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF")
    assert "Nested Loop" in text and "loaded: 4, skipped: 16" in text, text
    assert db.execute(query.replace("$T", "f")).fetchone() == db.execute(query.replace("$T", "t")).fetchone()


def test_files_left_out_are_not_opened(lineorder, out):
    """By their names alone: a file that nobody can read does no harm."""
    db = lineorder
    for file in out.glob("f_1992_*"):
        file.write_bytes(b"PAR1 no file at all")
    assert db.execute("SELECT count(*) FROM pg_class").fetchone()
    with raises("HV000"):
        db.execute("SELECT count(*) FROM f WHERE year = 1992")


def test_virtual_columns_in_parallel(lineorder):
    db = lineorder
    db.execute(f"{PARALLEL}; SET max_parallel_workers_per_gather = 2")
    query = "SELECT year, mode, count(*), sum(id) FROM $T WHERE year <> 1994 AND mode > 'B' GROUP BY 1, 2"
    assert "Parallel Foreign Scan" in plan(db, query.replace("$T", "f"))
    assert sorted(db.execute(query.replace("$T", "f")).fetchall()) == sorted(
        db.execute(query.replace("$T", "t")).fetchall()
    )


def test_virtual_columns_of_other_types(db, out):
    """The text of the path goes through the type's input function; a text that is none is an error."""
    for name in ("d_2020-01-02_5.parquet", "d_2021-03-04_6.parquet"):
        write(out / name, pa.table({"a": [1]}))
    foreign(
        db,
        "f",
        "a int8, day date OPTIONS (virtual 'day'), n int2 OPTIONS (virtual 'n')",
        dir=out,
        pattern="d_${day}_@{n}.parquet",
    )
    assert db.execute("SELECT day::text, n FROM f WHERE day >= '2021-01-01'").fetchall() == [("2021-03-04", 6)]
    assert counted(db, "SELECT a FROM f WHERE day >= '2021-01-01'") == (1, 1)
    write(out / "d_x_7.parquet", pa.table({"a": [1]}))
    with raises("22007") as caught:
        db.execute("SELECT day FROM f")
    assert "d_x_7.parquet" in caught.value.diag.message_primary
    db.execute("ALTER FOREIGN TABLE f ADD k text OPTIONS (virtual 'nothing')")
    with raises("HV005"):
        db.execute("SELECT k FROM f")


def test_hive_directories(db, out):
    """key=value without a pattern, nested, with NULL and escapes."""
    for year, mode in (("1993", "AIR"), ("1993", "REG%20AIR"), ("1994", "__HIVE_DEFAULT_PARTITION__")):
        directory = out / f"year={year}" / f"mode={mode}"
        directory.mkdir(parents=True)
        write(directory / "part-0.parquet", pa.table({"a": [int(year)]}))
    import_schema(db, "f", dir=out)
    assert described(db, "f") == [
        ("a", "bigint", None),
        ("year", "bigint", ["virtual=year"]),
        ("mode", "text", ["virtual=mode"]),
    ]
    assert sorted(db.execute("SELECT * FROM f").fetchall(), key=repr) == [
        (1993, 1993, "AIR"),
        (1993, 1993, "REG AIR"),
        (1994, 1994, None),
    ]
    assert counted(db, "SELECT * FROM f WHERE year = 1994") == (1, 2)
    assert counted(db, "SELECT * FROM f WHERE mode IS NULL") == (1, 2)
    assert counted(db, "SELECT * FROM f WHERE mode = 'AIR'") == (1, 2)


@pytest.mark.parametrize("kind", FORMATS)
def test_virtual_metadata(db, out, kind):
    for name, origin in (("a", "east"), ("b", None)):
        table = pa.table({"x": [1, 2]}).replace_schema_metadata({"origin": origin} if origin else None)
        write(out / f"{name}.{kind}", table)
    foreign(db, "f", "x int8, origin text OPTIONS (virtual_metadata 'origin')", dir=out)
    assert sorted(db.execute("SELECT * FROM f").fetchall(), key=repr) == [
        (1, "east"),
        (1, None),
        (2, "east"),
        (2, None),
    ]
    info = db.execute(
        "SELECT file, key, value FROM arrow_fdw_metadata_info('f') WHERE key = 'origin' AND \"column\" IS NULL"
    ).fetchall()
    assert info == [(f"{out}/a.{kind}", "origin", "east")]
    with raises("42809"):
        db.execute("SELECT * FROM arrow_fdw_metadata_info('pg_class')")


def test_virtual_metadata_of_groups(db, out):
    """A list in the metadata, an element for each record batch, of which other conditions may leave out some; NULL
    behind its end."""
    field = pa.field("x", pa.int64(), metadata={"unit": "mm", "sites": "a,b"})
    schema = pa.schema([field], metadata={"city": "Tokyo,Osaka,,Kyoto", "x.unit": "of the file"})
    with pa.ipc.new_file(out / "t.arrow", schema) as writer:
        for number in range(5):
            writer.write_batch(pa.record_batch([pa.array([number, 10 + number])], schema=schema))
    foreign(
        db,
        "f",
        "x int8, city text OPTIONS (virtual_metadata_split 'city'), "
        "site text OPTIONS (virtual_metadata_split 'x.sites'), "
        "unit text OPTIONS (virtual_metadata 'x.unit'), plain text OPTIONS (virtual_metadata 'city')",
        dir=out,
    )
    cities, sites = ["Tokyo", "Osaka", "", "Kyoto", None], ["a", "b", None, None, None]
    expected = [(x + number, cities[number], sites[number]) for number in range(5) for x in (0, 10)]
    assert db.execute("SELECT x, city, site FROM f ORDER BY x % 10, x").fetchall() == expected
    assert db.execute("SELECT DISTINCT unit, plain FROM f").fetchall() == [("of the file", "Tokyo,Osaka,,Kyoto")]
    assert db.execute("SELECT x FROM f WHERE city = 'Osaka'").fetchall() == [(1,), (11,)]
    assert counted(db, "SELECT x FROM f WHERE city = 'Osaka'") == (1, 4)
    assert counted(db, "SELECT x FROM f WHERE city IS NULL AND site IS NULL") == (1, 4)


def test_virtual_metadata_of_row_groups(db, out):
    """The same of a Parquet file, by several processes."""
    table = pa.table({"x": list(range(40))}).replace_schema_metadata({"number": "1,2,3,4"})
    write(out / "t.parquet", table, row_group_size=10)
    foreign(db, "f", "x int8, number int OPTIONS (virtual_metadata_split 'number')", dir=out, parallel_workers=2)
    db.execute(PARALLEL)
    assert "Gather" in plan(db, "SELECT number, x FROM f")
    assert db.execute("SELECT number, count(*), min(x), max(x) FROM f GROUP BY 1 ORDER BY 1").fetchall() == [
        (number, 10, 10 * number - 10, 10 * number - 1) for number in range(1, 5)
    ]
    db.execute("ALTER FOREIGN TABLE f ALTER number OPTIONS (SET virtual_metadata_split 'missing')")
    assert db.execute("SELECT count(number), count(*) FROM f").fetchone() == (0, 40)


def test_import_of_all_columns(db, out):
    """Where columns may be missing, the table has those of every file."""
    write(out / "a.parquet", pa.table({"a": [1], "b": ["x"]}))
    write(out / "b.parquet", pa.table({"b": ["y"], "c": [True]}))
    import_schema(db, "f", dir=out, missing_columns="null")
    assert [column[:2] for column in described(db, "f")] == [("a", "bigint"), ("b", "text"), ("c", "boolean")]
    assert sorted(db.execute("SELECT * FROM f").fetchall(), key=repr) == [(1, "x", None), (None, "y", True)]


# Files without a foreign table


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("family", ("scalars", "numerics", "fallback"))
def test_read_files(db, out, family, kind):
    """By the columns that the call declares: all of an export's, or some in another order."""
    types = [sql_type for _, sql_type, _, _ in make(db, family, repeat=10)]
    export_group(db, kind, "t", out / f"t.{kind}", 50)
    columns = columns_of(db, "t")
    assert rows_of(db, f"read_{kind}('{out}/t.{kind}') AS f({columns})", types) == rows_of(db, "t", types)


def test_read_directories(db, out):
    """With the keys of Hive's directories; what there is not is an error, and so is reading without the role."""
    for year in (1993, 1994):
        (out / f"year={year}").mkdir()
        write(out / f"year={year}" / "a.parquet", pa.table({"a": [year * 10], "b": ["x"]}))
    query = f"SELECT * FROM read_parquet('{out}') AS t(b text, year int, a int8) WHERE year > 1993"
    assert db.execute(query).fetchall() == [("x", 1994, 19940)]
    for columns, sqlstate in (("c int", "HV005"), ("b int[]", "22P02")):
        with raises(sqlstate):
            db.execute(f"SELECT * FROM read_parquet('{out}') AS t({columns})")
    with raises("58P01"):
        db.execute(f"SELECT * FROM read_parquet('{out}/none') AS t(a int)")
    with pytest.raises(Exception, match="column definition list"):
        db.execute(f"SELECT * FROM read_parquet('{out}')")


# Statistics of the planner


@pytest.mark.parametrize("kind", FORMATS)
def test_analyze(db, out, kind):
    db.execute(
        "CREATE TABLE t AS SELECT i AS id, i % 4 AS low, "
        "CASE WHEN i % 2 = 0 THEN 'x' || i % 10 END AS x FROM generate_series(1, 40000) i"
    )
    export_group(db, kind, "t", out / f"t.{kind}", 5000)
    foreign(db, "f", columns_of(db, "t"), file=out / f"t.{kind}")
    db.execute("ANALYZE f")
    assert db.execute("SELECT reltuples FROM pg_class WHERE oid = 'f'::regclass").fetchone() == (40000,)
    rows = dict(
        db.execute(
            "SELECT attname, (n_distinct, null_frac)::text FROM pg_stats WHERE tablename = 'f' AND schemaname = %s",
            (db.schema,),
        ).fetchall()
    )
    assert rows["low"] == "(4,0)" and rows["x"].startswith("(5,0.")
    estimate = int(plan(db, "SELECT * FROM f WHERE low = 2", "COSTS ON").split("rows=")[1].split()[0])
    assert 8000 < estimate < 12000
    bounds = db.execute(
        (
            "SELECT histogram_bounds::text::int[] FROM pg_stats WHERE tablename = 'f' AND attname = 'id' "
            "AND schemaname = %s"
        ),
        (db.schema,),
    ).fetchone()[0]
    assert min(bounds) < 1000 and max(bounds) > 39000


# Archives


@pytest.mark.parametrize("kind", FORMATS)
def test_archive(db, out, kind):
    """README's story: an old partition goes to a file, and the parent reads both."""
    db.execute("""CREATE TABLE events (id int, at date, what text) PARTITION BY RANGE (at);
        CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
        CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
        INSERT INTO events SELECT i, date '2024-01-01' + i % 700, 'event ' || i FROM generate_series(1, 7000) i""")
    before = rows_of(db, "events")
    EXPORT[kind](db, "events_2024", out / f"events_2024.{kind}")
    with db.transaction():
        db.execute("ALTER TABLE events DETACH PARTITION events_2024")
        import_schema(db, "events_2024_file", file=out / f"events_2024.{kind}")
        assert db.execute(
            """SELECT count(*) FROM (SELECT * FROM events_2024 EXCEPT ALL SELECT * FROM events_2024_file) missing"""
        ).fetchone() == (0,)
        db.execute(
            "ALTER TABLE events ATTACH PARTITION events_2024_file FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')"
        )
        db.execute("DROP TABLE events_2024")
    assert rows_of(db, "events") == before
    assert "events_2024_file" not in plan(db, "SELECT * FROM events WHERE at = '2025-05-05'")
    assert "events_2025" not in plan(db, "SELECT * FROM events WHERE at = '2024-05-05'")
    db.execute(f"{PARALLEL}; SET max_parallel_workers_per_gather = 2; SET enable_partitionwise_aggregate = on")
    assert db.execute("SELECT count(*), sum(id) FROM events").fetchone() == (7000, sum(range(1, 7001)))
    db.execute("ANALYZE events")


def test_a_directory_that_lies_in_itself(db, out):
    """A link to a directory above has no end; one to a directory elsewhere is as good as that."""
    for part in ("a=1", "a=2"):
        (out / "d" / part).mkdir(parents=True)
    (out / "elsewhere").mkdir()
    write(out / "d" / "a=1" / "x.parquet", pa.table({"x": [1]}))
    write(out / "elsewhere" / "y.parquet", pa.table({"x": [2]}))
    (out / "d" / "a=3").symlink_to(out / "elsewhere")
    query = f"SELECT x, a FROM read_parquet('{out}/d') AS t(x int8, a int8) ORDER BY x"
    assert db.execute(query).fetchall() == [(1, 1), (2, 3)]
    (out / "d" / "a=2" / "b=1").symlink_to(out / "d")
    with raises("0A000"):
        db.execute(query)


def test_a_file_of_a_directory_that_cannot_be_examined(db, out):
    """Rows are not left out without a word; a link that leads nowhere is no file."""
    (out / "d").mkdir()
    write(out / "d" / "a.parquet", pa.table({"x": [1]}))
    (out / "d" / "b.parquet").symlink_to(out / "nowhere")
    (out / "d" / "c.parquet").symlink_to(out / "d" / "a.parquet" / "below a file")
    query = f"SELECT x FROM read_parquet('{out}/d') AS t(x int8)"
    assert db.execute(query).fetchall() == [(1,)]
    (out / "d" / "e.parquet").symlink_to(out / "d" / "e.parquet")
    with raises("58030") as caught:
        db.execute(query)
    assert f'could not examine file "{out}/d/e.parquet"' in str(caught.value)
