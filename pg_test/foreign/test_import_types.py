"""IMPORT FOREIGN SCHEMA: the types that it chooses, and what their values are."""

import datetime
import json
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers.foreign import EXPORT, FORMATS, described, foreign, import_schema, pairs, write
from ..helpers.support import export as export_parquet
from ..helpers.support import raises

pytestmark = pytest.mark.fast


def texts(values):
    return [(str(value),) for value in values]


BIG = 2**53 + 1


@pytest.mark.parametrize(
    "one, other, sql_type, rows",
    [
        (pa.array([1], pa.int32()), pa.array([2**40]), "bigint", [(1,), (2**40,)]),
        (pa.array([255], pa.uint8()), pa.array([-5], pa.int8()), "smallint", [(-5,), (255,)]),
        (pa.array([2**64 - 1], pa.uint64()), pa.array([-1]), "numeric(20,0)", [(-1,), (2**64 - 1,)]),
        (pa.array([1], pa.int32()), pa.array([2.5]), "double precision", [(1.0,), (2.5,)]),
        (pa.array([1], pa.int16()), pa.array([2.5], pa.float32()), "real", [(1.0,), (2.5,)]),
        (
            pa.array([2**31 - 1], pa.int32()),
            pa.array([2.5], pa.float32()),
            "double precision",
            [(2**31 - 1.0,), (2.5,)],
        ),
        (pa.array([BIG]), pa.array([2.5]), "text", [("2.5",), (str(BIG),)]),
        (pa.array([0.1], pa.float32()), pa.array([0.1]), "double precision", [(0.1,), (0.10000000149011612,)]),
        (pa.array([1]), pa.array([Decimal("2.50")]), "numeric", [(1,), (Decimal("2.50"),)]),
        (
            pa.array([Decimal("1.5")]),
            pa.array([Decimal("100.25")]),
            "numeric",
            [(Decimal("1.5"),), (Decimal("100.25"),)],
        ),
        (pa.array([1]), pa.array(["x"]), "text", [("1",), ("x",)]),
        (pa.array([True]), pa.array([1]), "text", [("1",), ("true",)]),
        (
            pa.array([datetime.date(2020, 1, 2)]),
            pa.array([datetime.datetime(2020, 1, 2, 3)]),
            "text",
            [("2020-01-02",), ("2020-01-02 03:00:00",)],
        ),
        (pa.array([[1]], pa.list_(pa.int32())), pa.array([[None, 2]]), "bigint[]", [([1],), ([None, 2],)]),
        (pa.array([[1]]), pa.array([["x"]]), "text[]", [(["1"],), (["x"],)]),
        (pa.array([[1]]), pa.array([{"x": 1}]), "json", [([1],), ({"x": 1},)]),
        (pa.array([{"x": 1}]), pa.array([{"x": "a", "y": None}]), "json", [({"x": "a", "y": None},), ({"x": 1},)]),
        (pa.nulls(1), pa.array([1]), "bigint", [(1,), (None,)]),
        (pa.array(["a"]).dictionary_encode(), pa.array(["b"]), "text", [("a",), ("b",)]),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_types_that_differ_between_files(db, out, one, other, sql_type, rows, turned):
    """What holds both exactly."""
    for name, array in zip(("a.parquet", "b.arrow"), (other, one) if turned else (one, other)):
        write(out / name, pa.table({"v": array}))
    import_schema(db, "f", dir=out)
    assert described(db, "f") == [("v", sql_type, None)]
    assert pairs(db, "f") == sorted(rows, key=repr)


def test_whole_numbers_beside_floats(db, out):
    """Statistics that say that a double holds all integers of a file make it one; what it does not hold is an error."""
    write(out / "a.parquet", pa.table({"v": pa.array([1, None, -(2**53)])}))
    write(out / "b.parquet", pa.table({"v": [0.5]}))
    import_schema(db, "f", dir=out)
    assert described(db, "f") == [("v", "double precision", None)]
    assert pairs(db, "f") == [(-(2.0**53),), (0.5,), (1.0,), (None,)]
    assert db.execute("SELECT v FROM f WHERE v = 1").fetchall() == [(1.0,)]
    write(out / "a.parquet", pa.table({"v": [BIG]}))
    with raises("22003") as caught:
        db.execute("SELECT * FROM f")
    assert "a.parquet" in caught.value.diag.message_primary and "text" in caught.value.diag.message_hint


def test_columns_that_some_files_lack(db, out, warnings):
    write(out / "a.parquet", pa.table({"a": [1], "b": [2]}))
    write(out / "b.parquet", pa.table({"a": [1]}))
    import_schema(db, "f", dir=out)
    assert warnings == [("a column is not in all files", 'Column "b" is in 1 of 2 files.')]


NESTED = """SELECT 1 AS i, {'x': 1, 'y': 'z', 'd': 1.50::DECIMAL(9, 2), 'big': 9007199254740993, 'ts':
    TIMESTAMP '2020-01-02 03:04:05.6',
    'day': DATE '0044-03-15', 'tz': TIMESTAMPTZ '2020-01-02 03:04:05.6+00', 'no': NULL::INT, 'flag':
    true, 'f': 0.1::DOUBLE} AS s,
    [{'x': 1}, NULL, {'x': 2}] AS ls, MAP {'a': [1], 'b"': NULL} AS m, [[1], [2, 3], NULL] AS r, MAP {1: 'x'} AS n
    UNION ALL SELECT 2, NULL, [], MAP {}, [[]], NULL"""


@pytest.mark.parametrize("kind", FORMATS)
def test_nested_values_as_json(db, out, kind):
    """As DuckDB's to_json has them, whatever text type the column is of."""
    with duckdb.connect() as peer:
        peer.execute("SET TimeZone = 'UTC'")
        write(out / f"t.{kind}", peer.sql(NESTED).to_arrow_table())
        expected = peer.sql(
            f"SELECT i, {', '.join(f'to_json({name})' for name in ('s', 'ls', 'm', 'r', 'n'))} FROM "
            f"({NESTED}) ORDER BY i"
        ).fetchall()
    import_schema(db, "f", file=out / f"t.{kind}")
    assert [column[:2] for column in described(db, "f")] == [
        ("i", "integer"),
        ("s", "json"),
        ("ls", "json"),
        ("m", "json"),
        ("r", "integer[]"),
        ("n", "json"),
    ]

    def parsed(rows):
        return [
            [json.loads(text, parse_float=Decimal) if isinstance(text, str) else text for text in row] for row in rows
        ]

    for sql_type in ("json", "jsonb", "text", "varchar"):
        foreign(
            db,
            "g",
            f"i int, {', '.join(f'{name} {sql_type}' for name in ('s', 'ls', 'm', 'r', 'n'))}",
            file=out / f"t.{kind}",
        )
        rows = db.execute("SELECT i, s::text, ls::text, m::text, r::text, n::text FROM g ORDER BY i").fetchall()
        assert parsed(rows) == parsed(expected), sql_type
        db.execute("DROP FOREIGN TABLE g")
    assert db.execute(
        "SELECT (s->>'big')::int8, s->>'d', json_array_length(ls) FROM f ORDER BY i LIMIT 1"
    ).fetchone() == (BIG, "1.50", 3)
    with raises("22000") as caught:
        db.execute("SELECT r FROM f")
    assert "json" in caught.value.diag.message_hint


def test_lists_in_lists_are_warned_of(db, out, warnings):
    """Where inner lists may differ in length: not where they are of a fixed length, nor in an export of arrays."""
    fixed = pa.list_(pa.field("item", pa.list_(pa.int32(), 2), nullable=False))
    write(out / "t.arrow", pa.table({"r": [[[1], [2, 3]]], "fixed": pa.array([[[1, 2], [3, 4]]], fixed)}))
    import_schema(db, "f", file=out / "t.arrow")
    assert len(warnings) == 1 and '"r"' in warnings[0][1]
    assert db.execute("SELECT fixed FROM f").fetchall() == [([[1, 2], [3, 4]],)]
    db.execute("CREATE TABLE t AS SELECT ARRAY[[1, 2], [3, 4]] AS a")
    export_parquet(db, "t", out / "t.parquet")
    warnings.clear()
    import_schema(db, "g", file=out / "t.parquet")
    assert pairs(db, "g") == [([[1, 2], [3, 4]],)] and not warnings


def test_lists_of_seven_dimensions(db, out):
    nested = [1]
    for _ in range(6):
        nested = [nested]
    write(out / "t.parquet", pa.table({"deep": [nested]}))
    import_schema(db, "f", file=out / "t.parquet")
    assert described(db, "f") == [("deep", "json", None)] and pairs(db, "f") == [(nested,)]


@pytest.mark.parametrize("kind", FORMATS)
def test_arrays_of_domains_over_arrays(db, out, kind):
    db.execute("CREATE DOMAIN ints AS int[]; CREATE TABLE t (v ints[])")
    db.execute("""INSERT INTO t VALUES ('{"{1,2}","{3}"}'), ('{"{1,2}","{3,4}"}'), (NULL), ('{"{}",NULL}'), ('{}')""")
    EXPORT[kind](db, "t", out / f"t.{kind}")
    import_schema(db, "f", file=out / f"t.{kind}")
    assert described(db, "f") == [("v", "ints[]", None)]
    assert pairs(db, "f", "v::text") == pairs(db, "t", "v::text")


def test_types_without_input(db, out):
    """Their texts are text."""
    db.execute("CREATE TABLE t (a int DEFAULT 7)")
    for number, query in enumerate(
        (
            "SELECT adrelid, adbin FROM pg_attrdef",
            "SELECT starelid, staattnum, stavalues1 FROM pg_statistic",
            (
                "SELECT oid, "
                "stxdndistinct FROM pg_statistic_ext LEFT JOIN pg_statistic_ext_data ON oid = stxoid "
                "UNION ALL SELECT 1, NULL"
            ),
        )
    ):
        db.execute(f"SELECT * FROM export_query_parquet($q${query}$q$, '{out}/{number}.parquet')")
        import_schema(db, f"f{number}", file=out / f"{number}.parquet")
        name, sql_type, _ = described(db, f"f{number}")[-1]
        assert sql_type == "text"
        assert pairs(db, f"f{number}", f'"{name}"') == pairs(db, f"({query}) q", f'"{name}"::text'), name


@pytest.mark.parametrize(
    "text", ["no type ((", "", "int4; DROP TABLE t", "numeric(1,2,3)", "nowhere.at_all", "int4\\u0000", "void", "gone"]
)
def test_types_in_metadata_that_are_none(db, out, text, warnings):
    """The column is of its values' type; where a text names no type, with a warning that names file and column."""
    table = pa.table({"a": [1], "b": ["x"]})
    write(
        out / "t.parquet",
        table.replace_schema_metadata(
            {"pg_strata.columns": f'[{{"name": "a", "pg_type": "{text}"}}, {{"name": "b", "pg_type": "text"}}]'}
        ),
    )
    import_schema(db, "f", file=out / "t.parquet")
    assert described(db, "f") == [("a", "bigint", None), ("b", "text", None)] and pairs(db, "f") == [(1, "x")]
    for message, detail in warnings:
        assert (
            message == "a type in a file's metadata is not understood"
            and '"a"' in detail
            and f"{out}/t.parquet" in detail
        )
    assert text not in ("no type ((", "int4; DROP TABLE t", "numeric(1,2,3)") or len(warnings) == 1


def test_lists_in_dictionaries(db, out):
    lists = pa.DictionaryArray.from_arrays(pa.array([1, 0, None], pa.int8()), pa.array([["x"], ["y", None]]))
    with pa.ipc.new_file(out / "t.arrow", pa.schema([("d", lists.type)])) as writer:
        writer.write_batch(pa.record_batch([lists], names=["d"]))
    import_schema(db, "f", file=out / "t.arrow")
    assert db.execute("SELECT d FROM f").fetchall() == [(["y", None],), (["x"],), (None,)]


@pytest.mark.parametrize("kind", FORMATS)
def test_texts_of_all_types(db, out, kind):
    """Beyond the ranges and digits of PostgreSQL's types too."""
    cases = {
        "n": (pa.array([1_500_000_001], pa.timestamp("ns")), "1970-01-01 00:00:01.500000001"),
        "d": (pa.array([2**31 - 1], pa.date32()), "5881580-07-11"),
        "f": (pa.array([1e300]), "1e300"),
        "b": (pa.array([b"\x01\xff"], pa.binary(2)), "\\x01ff"),
        "t": (pa.array([1], pa.time64("ns")), "00:00:00.000000001"),
        "u": (pa.array([2**64 - 1], pa.uint64()), str(2**64 - 1)),
    }
    write(out / f"t.{kind}", pa.table({name: array for name, (array, _) in cases.items()}))
    foreign(db, "f", ", ".join(f"{name} text" for name in cases), file=out / f"t.{kind}")
    assert pairs(db, "f") == [tuple(text for _, text in cases.values())]
    assert db.execute("SELECT count(*) FROM f WHERE u > '2' AND f LIKE '1e%' AND d <> '1970-01-01'").fetchone() == (0,)
    assert db.execute("SELECT u FROM f WHERE f LIKE '1e%' AND d <> '1970-01-01'").fetchone() == (str(2**64 - 1),)


def test_types_that_are_not_read(db, out, warnings):
    """Left out with a warning; declared, an error whose hint is none that fails too."""
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    write(out / "t.arrow", pa.table({"a": [1], "u": union}))
    import_schema(db, "f", file=out / "t.arrow")
    assert described(db, "f") == [("a", "bigint", None)] and [message for message, _ in warnings] == [
        "a column is left out"
    ]
    for sql_type in ("int4", "text", "json"):
        foreign(db, "g", f"u {sql_type}", file=out / "t.arrow")
        with raises("0A000") as caught:
            db.execute("SELECT * FROM g")
        assert "IMPORT" not in caught.value.diag.message_hint
        db.execute("DROP FOREIGN TABLE g")
    foreign(db, "h", "a bool", file=out / "t.arrow")
    with raises("HV004") as caught:
        db.execute("SELECT * FROM h")
    assert "bigint" in caught.value.diag.message_hint


def test_types_of_others_in_metadata(db, out, role, again, warnings):
    """What a file says may not make whoever reads it run the code of somebody else than a superuser's."""
    db.execute(f"GRANT CREATE ON SCHEMA {db.schema} TO {role}; SET ROLE {role}")
    db.execute("CREATE FUNCTION trap(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$")
    db.execute(
        "CREATE DOMAIN theirs AS int CHECK (VALUE IS NULL OR trap(VALUE)); "
        "CREATE TYPE pair AS (a int, b theirs); CREATE TYPE mood AS ENUM ('sad')"
    )
    db.execute("RESET ROLE; CREATE DOMAIN ours AS int CHECK (VALUE > 0)")
    db.execute("CREATE TABLE t (a int, b int[], d text, e ours); INSERT INTO t VALUES (1, '{2}', 'sad', 3)")
    path = out / "t.parquet"
    export_parquet(db, "t", path)
    table = pq.read_table(path)
    said = {"integer": "theirs", "integer[]": "theirs[]", "text": "mood"}
    metadata = pq.read_metadata(path).metadata
    text = next(value for key, value in metadata.items() if b"columns" in key)
    for true, false in said.items():
        text = text.replace(f'"{true}"'.encode(), f'"{db.schema}.{false}"'.encode())
    assert b"theirs[]" in text
    key = next(key for key in metadata if b"columns" in key)
    pq.write_table(table.replace_schema_metadata({**metadata, key: text}), path)
    import_schema(db, "f", file=path)
    assert [kind for _, kind, _ in described(db, "f")] == ["integer", "integer[]", "text", "ours"]
    assert db.execute("SELECT * FROM f").fetchall() == [(1, [2], "sad", 3)]
    assert [message for message, _ in warnings].count("a type in a file's metadata is somebody else's") == 3
    db.execute("DROP TABLE t; DROP FOREIGN TABLE f")
