"""Foreign tables and IMPORT FOREIGN SCHEMA: the column that a name stands for, and files that are not read."""

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers.foreign import FORMATS, described, foreign, import_schema, pairs, write
from ..helpers.pruning import counted
from ..helpers.support import raises

pytestmark = pytest.mark.fast


# Keys of the path


def hive(out, kind, parts):
    """A file below key=value for each part: directories, and the table that lies there."""
    for number, (directories, table) in enumerate(parts):
        (out / directories).mkdir(parents=True, exist_ok=True)
        write(out / directories / f"x{number}.{kind}", table)


def by_every_way(connection, out, kind, columns, names):
    """A foreign table, IMPORT FOREIGN SCHEMA, and the function."""
    foreign(connection, "plain", columns, dir=out)
    import_schema(connection, "imported", dir=out)
    return [pairs(connection, table, names) for table in ("plain", "imported", f"read_{kind}('{out}') AS t({columns})")]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_key_hides_a_column(db, out, kind, warnings):
    """As in DuckDB, whatever reads the files; field reads the files' own."""
    hive(out, kind, [("j=5", pa.table({"i": [1], "j": [1]})), ("j=6", pa.table({"i": [2], "j": [1]}))])
    ways = by_every_way(db, out, kind, "i int8, j int8", "i, j")
    assert ways == [[(1, 5), (2, 6)]] * 3
    if kind == "parquet":
        assert ways[0] == duckdb.sql(f"SELECT i, j FROM read_parquet('{out}/*/*.parquet') ORDER BY 1").fetchall()
    assert [message for message, _ in warnings] == ["a key of the files' paths hides a column of the files"]
    foreign(db, "own", "i int8, j int8 OPTIONS (field 'j')", dir=out)
    assert pairs(db, "own") == [(1, 1), (2, 1)]
    for table in ("plain", "imported"):
        assert counted(db, f"SELECT i FROM {table} WHERE j = 6") == (1, 1)
        assert db.execute(f"SELECT i FROM {table} WHERE j = 6").fetchall() == [(2,)]
        assert db.execute(f"SELECT min(j), max(j), sum(j), count(*) FROM {table}").fetchone() == (5, 6, 11, 2)
    assert db.execute("SELECT i FROM own WHERE j = 1 ORDER BY i").fetchall() == [(1,), (2,)]
    db.execute("SET enable_hashjoin = off; SET enable_mergejoin = off; SET max_parallel_workers_per_gather = 0")
    assert db.execute("SELECT y, i FROM (VALUES (5), (6)) v(y) JOIN plain ON j = y ORDER BY 1").fetchall() == [
        (5, 1),
        (6, 2),
    ]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_alone_has_the_keys_of_its_directory(db, out, kind):
    hive(out, kind, [("j=5", pa.table({"i": [1], "j": [1]}))])
    for options, path in (
        ({"file": out / "j=5" / f"x0.{kind}"}, out / "j=5" / f"x0.{kind}"),
        ({"dir": out / "j=5"}, out / "j=5"),
    ):
        foreign(db, "f", "i int8, j int8", **options)
        import_schema(db, "g", **options)
        assert [pairs(db, table) for table in ("f", "g", f"read_{kind}('{path}') AS t(i int8, j int8)")] == [
            [(1, 5)]
        ] * 3
        db.execute("DROP FOREIGN TABLE f, g")


@pytest.mark.parametrize("text", ["null", "NULL", "Null", "__HIVE_DEFAULT_PARTITION__"])
def test_keys_that_are_null(db, out, text):
    hive(out, "parquet", [("j=7", pa.table({"i": [1]})), (f"j={text}", pa.table({"i": [2]}))])
    ways = by_every_way(db, out, "parquet", "i int8, j int8", "i, j")
    assert ways == [[(1, 7), (2, None)]] * 3
    assert (
        ways[0]
        == duckdb.sql(
            f"SELECT i, j FROM read_parquet('{out}/*/*.parquet', hive_partitioning = true) ORDER BY 1"
        ).fetchall()
    )
    assert described(db, "imported")[1][:2] == ("j", "bigint")
    assert db.execute("SELECT i FROM plain WHERE j IS NULL").fetchall() == [(2,)]


def test_keys_that_some_paths_have(db, out, warnings):
    """The column of the files that have no such key; without one, an error or NULL, as the table says."""
    hive(out, "parquet", [("j=5", pa.table({"i": [1], "j": [9]})), (".", pa.table({"i": [2], "j": [1]}))])
    assert by_every_way(db, out, "parquet", "i int8, j int8", "i, j") == [[(1, 5), (2, 1)]] * 3
    hive(out, "parquet", [(".", pa.table({"i": [2], "j": [1]})), ("k=x", pa.table({"i": [3], "j": [4]}))])
    warnings.clear()
    import_schema(db, "f", dir=out)
    assert ("a key is not in all paths", 'Key "k" is in the paths of 1 of 4 files.') in warnings
    with raises("HV005"):
        db.execute("SELECT k FROM f")
    import_schema(db, "g", dir=out, missing_columns="null")
    assert pairs(db, "g", "i, k") == [(1, None), (2, None), (2, None), (3, "x")]


def test_the_pattern_comes_before_directories(db, out):
    """And the first directory before those below it. A number may have any length."""
    (out / "n=1" / "m=2" / "m=3").mkdir(parents=True)
    write(out / "n=1" / "m=2" / "m=3" / f"f_{10**30}.parquet", pa.table({"a": [1]}))
    import_schema(db, "f", dir=out, pattern="f_@{n}.parquet")
    assert pairs(db, "f", "a, n, m") == [(1, 10**30, 2)]


# Names


def named(names):
    return pa.Table.from_arrays([pa.array([number]) for number in range(len(names))], names=names)


@pytest.mark.parametrize("kind", FORMATS)
def test_two_columns_of_one_name(db, out, kind, warnings):
    write(out / f"t.{kind}", named(["a", "b", "a", "A", "a"]))
    import_schema(db, "f", file=out / f"t.{kind}")
    assert described(db, "f") == [
        ("a", "bigint", ["occurrence=1"]),
        ("b", "bigint", None),
        ("a_1", "bigint", ["field=a", "occurrence=2"]),
        ("A", "bigint", None),
        ("a_2", "bigint", ["field=a", "occurrence=3"]),
    ]
    assert pairs(db, "f") == [(0, 1, 2, 3, 4)] and not warnings
    for condition, rows in (("a = 0", 1), ("a_1 = 2", 1), ("a_1 = 0", 0), ("a_2 = 4 AND a = 0", 1)):
        assert db.execute(f"SELECT count(*) FROM f WHERE {condition}").fetchone() == (rows,), condition
    foreign(
        db,
        "g",
        "a int8, c int8 OPTIONS (field 'a'), d int8 OPTIONS (field 'a', occurrence '4')",
        file=out / f"t.{kind}",
    )
    for query, sqlstate in (
        ("SELECT a FROM g", "42702"),
        ("SELECT c FROM g", "42702"),
        ("SELECT d FROM g", "HV005"),
        (f"SELECT * FROM read_{kind}('{out}/t.{kind}') AS t(a int8)", "42702"),
    ):
        with raises(sqlstate) as caught:
            db.execute(query)
        assert f't.{kind}" has' in caught.value.diag.message_primary


def test_statistics_of_two_columns_of_one_name(db, out):
    """Those of a record batch are told by name alone: they do not say whose they are."""
    table = pa.Table.from_arrays([pa.array([1, 2]), pa.array([100, 200])], names=["a", "a"])
    with pa.ipc.new_file(out / "t.arrow", table.schema) as writer:
        writer.write_batch(table.to_batches()[0], custom_metadata={"min_max_stats.a": "1,2"})
    import_schema(db, "f", file=out / "t.arrow")
    assert db.execute("SELECT a FROM f WHERE a_1 = 200").fetchall() == [(2,)]
    assert counted(db, "SELECT a FROM f WHERE a = 7") == (1, 0)


@pytest.mark.parametrize("options", ["occurrence '0'", "occurrence 'x'", "virtual 'k', occurrence '1'"])
def test_bad_occurrences(db, options):
    with raises("HV024"):
        foreign(db, "f", f"a int OPTIONS ({options})", file="/a")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "names",
    [
        ["n" * 70],
        ["n" * 63 + "1", "n" * 63 + "2", "n" * 63],
        ["é" * 40, "é" * 41, "x" + "é" * 40],
        ["漢" * 30, "x漢" * 30],
        [""],
        ["", "column", "column_1"],
        ["ctid", "tableoid", "xmin", "cmin", "xmax", "cmax", "oid"],
        ["ctid_1", "ctid", "ctid"],
        ["a", "a", "a_1"],
        ["a", "A"],
        ['a"b', "a'b", "a\\b", "a b", "$1"],
        ["select", "table"],
    ],
)
def test_names_that_postgresql_does_not_take(db, out, kind, names):
    """Each column is there, under a name of its own, which is the file's where that is possible."""
    write(out / f"t.{kind}", named(names))
    import_schema(db, "f", file=out / f"t.{kind}")
    assert pairs(db, "f") == [tuple(range(len(names)))]
    system = {"ctid", "tableoid", "xmin", "cmin", "xmax", "cmax", ""}
    for at, ((name, _, options), of_file) in enumerate(zip(described(db, "f"), names)):
        if of_file not in system and len(of_file.encode()) < 64 and of_file not in names[:at]:
            assert name == of_file
        else:
            assert name != of_file and f"field={of_file}" in options


def test_names_that_cannot_be_told(db, out, warnings):
    """A NUL, and what the database's encoding lacks: left out with a warning."""
    table = named(["a", "b\0c", "č"])
    write(out / "t.arrow", table)
    import_schema(db, "f", file=out / "t.arrow")
    assert described(db, "f") == [("a", "bigint", None), ("č", "bigint", None)]
    assert len(warnings) == 1 and "b\\0c" in warnings[0][1]


def test_names_in_other_encodings(server, out):
    write(out / "t.parquet", named(["é" * 63, "č", "a"]))
    with server.connect() as connection:
        connection.execute("CREATE DATABASE names TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        with server.connect("names") as connection:
            connection.execute("CREATE EXTENSION pg_strata")
            import_schema(connection, "f", schema="public", file=out / "t.parquet")
            assert [column[0] for column in described(connection, "f")] == ["é" * 63, "a"]
            assert pairs(connection, "f") == [(0, 2)]
    finally:
        with server.connect() as connection:
            connection.execute("DROP DATABASE names")


def test_more_columns_than_a_table_has(db, out, warnings):
    (out / "k=1").mkdir()
    write(out / "k=1" / "t.parquet", named([f"c{number}" for number in range(1700)]))
    import_schema(db, "f", dir=out)
    assert [column[0] for column in described(db, "f")] == [f"c{number}" for number in range(1599)] + ["k"]
    assert len(warnings) == 1 and '"c1599"' in warnings[0][1]
    assert db.execute("SELECT c0, c1598, k FROM f").fetchall() == [(0, 1598, 1)]


def test_keys_with_names_that_postgresql_does_not_take(db, out):
    hive(out, "parquet", [("ctid=5", pa.table({"ctid": [1], "a": [2]}))])
    import_schema(db, "f", dir=out)
    assert described(db, "f") == [("ctid_1", "bigint", ["virtual=ctid"]), ("a", "bigint", None)]
    assert pairs(db, "f") == [(5, 2)]


# Files that are not read


def big_endian(footer):
    """The schema's field endianness made to lie where that of its columns does, which is any number but 0."""
    footer = bytearray(footer)

    def field(table, number):
        """Where a field of a table lies, and where its place is told (flatbuffers, vtables)."""
        told = table - int.from_bytes(footer[table : table + 4], "little", signed=True) + 4 + 2 * number
        return table + int.from_bytes(footer[told : told + 2], "little"), told

    at = field(int.from_bytes(footer[:4], "little"), 1)[0]
    schema = at + int.from_bytes(footer[at : at + 4], "little")
    (_, endianness), (_, columns) = field(schema, 0), field(schema, 1)
    footer[endianness : endianness + 2] = footer[columns : columns + 2]
    return bytes(footer)


def unread(out):
    """Files, and a word of what they are."""
    table = pa.table({"a": [1]})
    (out / "encrypted.parquet").write_bytes(b"PARE" + b"\0" * 40 + b"\x20\0\0\0PARE")
    write(out / "part.parquet", table)
    metadata = pq.read_metadata(out / "part.parquet")
    metadata.set_file_path("part.parquet")
    metadata.write_metadata_file(str(out / "summary"))
    deep = pa.int64()
    for _ in range(105):
        deep = pa.struct([("x", deep)])
    write(out / "deep.parquet", pa.table({"a": pa.nulls(1, deep)}))
    write(out / "big.arrow", table)
    whole = (out / "big.arrow").read_bytes()
    begin = len(whole) - 10 - int.from_bytes(whole[-10:-6], "little")
    (out / "big.arrow").write_bytes(whole[:begin] + big_endian(whole[begin:-10]) + whole[-10:])
    (out / "old.feather").write_bytes(b"FEA1" + b"\0" * 40 + b"FEA1")
    return {
        "encrypted.parquet": "encrypted",
        "summary": "summary",
        "deep.parquet": "groups",
        "big.arrow": "big-endian",
        "old.feather": "Feather",
    }


def test_files_that_are_not_read(db, out):
    """Named as what they are, and not damaged."""
    for name, word in unread(out).items():
        for query in (
            f"IMPORT FOREIGN SCHEMA f FROM SERVER pg_strata INTO {db.schema} OPTIONS (file '{out}/{name}')",
            f"SELECT * FROM read_parquet('{out}/{name}') AS t(a int8)",
        ):
            with raises("0A000") as caught:
                db.execute(query)
            assert word in caught.value.diag.message_detail and name in caught.value.diag.message_primary
    write(out / "part.parquet", pa.table({"a": [2]}))
    assert db.execute(f"SELECT * FROM read_parquet('{out}/part.parquet') AS t(a int8)").fetchall() == [(2,)]


def test_urls_are_not_read(db):
    for path in ("s3://bucket/t.parquet", "https://host/t.parquet"):
        with raises("0A000"):
            db.execute(f"SELECT * FROM read_parquet('{path}') AS t(a int8)")
