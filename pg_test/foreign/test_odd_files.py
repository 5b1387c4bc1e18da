"""Files that other readers take and that are not quite what the formats say: foreign tables read what can be read of
them."""

import struct

import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers import footers
from ..helpers.footers import BINARY, FALSE, I32, I64, LIST, STRUCT, element
from ..helpers.foreign import described, foreign, import_schema
from ..helpers.pruning import counted
from ..helpers.support import raises

pytestmark = pytest.mark.fast

SCHEMA, NUM_ROWS, ROW_GROUPS, KEY_VALUES, CREATED_BY, COLUMN_ORDERS = 2, 3, 4, 5, 6, 7
COLUMNS = 1  # of a row group
META_DATA, CRYPTO_METADATA = 3, 8  # of a column chunk


@pytest.fixture
def noticed(db):
    """The details of the warnings that come."""
    details = []
    db.add_notice_handler(lambda diagnostic: details.append(diagnostic.message_detail))
    return details


def rewritten(path, table, change, **options):
    """Writes a table by pyarrow, its footer and the bytes before it as `change` makes of them."""
    pq.write_table(table, path, store_schema=False, **options)
    body, footer = footers.read(path)
    body = change(footer, bytearray(body)) or body
    footers.write(path, bytes(body), footer)


def elements(footer):
    return footer[SCHEMA][1][1]


def chunks(footer):
    """The column chunks' metadata, of all row groups."""
    return [chunk[META_DATA][1] for group in footer[ROW_GROUPS][1][1] for chunk in group[COLUMNS][1][1]]


def imported(db, path):
    import_schema(db, "f", file=path)
    return [column[:2] for column in described(db, "f")]


def values(db, columns="*"):
    return db.execute(f"SELECT {columns} FROM f").fetchall()


# Groups without columns

AB = pa.table({"a": pa.array([1, 2, 3, 4], pa.int32()), "b": pa.array([10, 20, 30, 40], pa.int32())})


@pytest.mark.parametrize("at", (0, 1, 2))
@pytest.mark.parametrize(
    "group",
    (
        [element("g", children=0)],
        [element("g", children=1), element("e", children=0)],
        [
            element("g", children=1, converted=3),
            element("list", repetition=2, children=1),
            element("element", children=0),
        ],
        [element("g", repetition=2, children=0)],
    ),
    ids=("empty", "nested", "list", "repeated"),
)
def test_groups_without_columns(db, out, noticed, group, at):
    """What has no values is left out, wherever it stands, and the others keep theirs, their statistics included."""

    def change(footer, _):
        schema = elements(footer)
        schema[0][5] = (I32, 3)
        schema[1 + at : 1 + at] = group

    rewritten(out / "t.parquet", AB, change, row_group_size=2)
    assert imported(db, out / "t.parquet") == [("a", "integer"), ("b", "integer")]
    assert values(db) == [(1, 10), (2, 20), (3, 30), (4, 40)]
    assert counted(db, "SELECT a FROM f WHERE b = 30") == (1, 1)
    assert values(db, "sum(b)") == [(100,)]
    assert len(noticed) == 1 and noticed[0].startswith('Column "g" cannot be read')
    foreign(db, "o", "b int, g text", file=out / "t.parquet", missing_columns="null")
    with raises("0A000"):
        db.execute("SELECT g FROM o")
    assert db.execute("SELECT sum(b) FROM o").fetchone() == (100,)


def test_an_empty_group_beside_columns(db, out):
    """Inside of a group that has columns, too."""
    table = pa.table({"s": [{"x": 1}, {"x": None}, None], "b": pa.array([1, 2, 3], pa.int32())})

    def change(footer, _):
        schema = elements(footer)
        schema[1][5] = (I32, 2)
        schema.insert(2, element("e", children=0))

    rewritten(out / "t.parquet", table, change)
    db.execute("CREATE TYPE one AS (x int8)")
    foreign(db, "f", "s one, b int", file=out / "t.parquet")
    assert values(db, "s::text, b") == [("(1)", 1), ("()", 2), (None, 3)]


# Lists and annotations in the footer


@pytest.mark.parametrize("kind", (0, 1, 3, 5, 8, 12))
def test_empty_lists_of_any_type(db, out, kind):
    """fastparquet and Dremio write empty lists as lists of nothing, or of something else."""

    def empty(footer, _):
        footer[ROW_GROUPS] = footer[KEY_VALUES] = (LIST, (kind, []))

    rewritten(out / "none.parquet", AB.slice(0, 0), empty)
    assert imported(db, out / "none.parquet") == [("a", "integer"), ("b", "integer")]
    assert values(db) == []

    def lists(footer, _):
        footer[KEY_VALUES] = (LIST, (kind, []))
        for chunk in chunks(footer):
            chunk[2] = chunk[8] = chunk[13] = (LIST, (kind, []))  # encodings, key-value metadata, encoding statistics

    rewritten(out / "some.parquet", AB, lists)
    foreign(db, "g", "a int, b int", dir=out)
    assert db.execute("SELECT count(*), sum(a), sum(b) FROM g").fetchone() == (4, 10, 100)


@pytest.mark.parametrize(
    "change, sql_type",
    (
        (element("b", 1, converted=22), "integer"),
        (element("b", 1, converted=99), "integer"),
        (element("b", 1, logical=40), "integer"),
        (element("b", 1, converted=17, logical=11), "integer"),
        (element("b", 1, converted=6, logical=11), "date"),
    ),
)
def test_annotations_that_are_not_known(db, out, change, sql_type):
    """They tell nothing, and the physical type or the other annotation counts."""
    rewritten(out / "t.parquet", AB, lambda footer, _: elements(footer).__setitem__(2, change))
    assert imported(db, out / "t.parquet") == [("a", "integer"), ("b", sql_type)]
    assert values(db, "a, b - b'0'::int" if sql_type == "integer" else "a, b - date '1970-01-01'") == [
        (1, 10),
        (2, 20),
        (3, 30),
        (4, 40),
    ]


def test_an_interval_beside_the_logical_type_unknown(db, out):
    data = [struct.pack("<III", 0, days, 1000) for days in (1, 2)]
    table = pa.table({"i": pa.array(data, pa.binary(12))})
    rewritten(
        out / "t.parquet",
        table,
        lambda footer, _: elements(footer).__setitem__(1, element("i", 7, converted=21, logical=11, length=12)),
    )
    assert imported(db, out / "t.parquet") == [("i", "interval")]
    assert values(db, "i::text") == [("1 day 00:00:01",), ("2 days 00:00:01",)]


@pytest.mark.parametrize("annotation", ({"converted": 4}, {"logical": 4}, {"converted": 4, "logical": 4}))
def test_enums_are_texts(db, out, annotation):
    table = pa.table(
        {
            "e": pa.array([b"\xc3\xa4", b"b", None], pa.binary()),
            "l": pa.array([[b"x", None], [], None], pa.list_(pa.binary())),
        }
    )

    def change(footer, _):
        schema = elements(footer)
        schema[1] = element("e", 6, **annotation)
        schema[4] = element("element", 6, **annotation)

    rewritten(out / "t.parquet", table, change)
    assert imported(db, out / "t.parquet") == [("e", "text"), ("l", "text[]")]
    assert values(db) == [("ä", ["x", None]), ("b", []), (None, None)]
    foreign(db, "o", "e bytea", file=out / "t.parquet")
    assert db.execute("SELECT e FROM o").fetchall() == [("ä".encode(),), (b"b",), (None,)]


def test_rows_are_those_of_the_row_groups(db, out):
    """Old writers say that a file has no rows."""
    rewritten(out / "t.parquet", AB, lambda footer, _: footer.__setitem__(NUM_ROWS, (I64, 0)))
    imported(db, out / "t.parquet")
    assert values(db, "count(*)") == [(4,)]
    assert values(db) == [(1, 10), (2, 20), (3, 30), (4, 40)]


# Old writers' pages

LONG = pa.table(
    {
        "a": pa.array([number // 50 for number in range(10_000)], pa.int32()),
        "t": [f"text {number % 100}" if number % 7 else None for number in range(10_000)],
    }
)


def page_headers(body, chunk):
    """Where a chunk's pages begin, their headers, and where these end."""
    at = min(chunk[number][1] for number in (9, 11) if number in chunk)
    end = at + chunk[7][1]
    while at < end:
        reader = footers.Reader(bytes(body))
        reader.at = at
        header = reader.value(STRUCT)
        yield at, header, reader.at
        at = reader.at + header[3][1]


@pytest.mark.parametrize("compression", ("snappy", "zstd", "none"))
def test_pages_that_deny_their_compression(db, out, compression):
    """Arrow C++ before 3.0 wrote so of data pages of version 2."""

    def change(footer, body):
        footer[CREATED_BY] = (BINARY, b"parquet-cpp version 1.5.1-SNAPSHOT")
        pages = 0
        for chunk in chunks(footer):
            for at, header, end in page_headers(body, chunk):
                if 8 in header:
                    header[8][1][7] = (FALSE, False)
                    denied = footers.encode(STRUCT, header)
                    assert len(denied) == end - at
                    body[at:end] = denied
                    pages += 1
        assert pages > 4
        return body

    rewritten(
        out / "t.parquet",
        LONG,
        change,
        compression=compression,
        data_page_version="2.0",
        data_page_size=4096,
        row_group_size=5000,
        use_dictionary=["t"],
        max_rows_per_page=1000,
    )
    assert imported(db, out / "t.parquet") == [("a", "integer"), ("t", "text")]
    assert values(db) == list(zip(*LONG.to_pydict().values()))
    assert values(db, "t")[9_999] == (LONG["t"][9_999].as_py(),)


def test_chunks_without_their_dictionarys_header(db, out):
    """parquet-mr before 1.2.9 did not count it, and named no dictionary page."""

    def change(footer, body):
        footer[CREATED_BY] = (BINARY, b"parquet-mr")
        for chunk in chunks(footer):
            at, header, end = next(page_headers(body, chunk))
            assert 7 in header
            chunk[7] = (I64, chunk[7][1] - (end - at))
            chunk[9] = chunk.pop(11)

    rewritten(out / "t.parquet", LONG, change, compression="none", row_group_size=5000)
    imported(db, out / "t.parquet")
    assert values(db) == list(zip(*LONG.to_pydict().values()))


@pytest.mark.parametrize("selected", (False, True))
def test_a_dictionary_that_claims_too_much(db, out, selected):
    """The decoder would make room for it first: 16 GB."""
    table = pa.table(
        {"a": pa.array([number % 7 for number in range(20_000)], pa.int64()), "b": pa.array(range(20_000), pa.int32())}
    )

    def change(footer, body):
        first, last = chunks(footer)
        at, header, end = next(page_headers(body, first))
        header[7][1][1] = (I32, 2**31 - 1)
        claimed = footers.encode(STRUCT, header)
        more = len(claimed) - (end - at)
        assert more > 0
        first[7] = (I64, first[7][1] + more)
        for chunk, numbers in ((first, (9,)), (last, (9, 11))):
            for number in numbers:
                if number in chunk:
                    chunk[number] = (I64, chunk[number][1] + more)
        for chunk in footer[ROW_GROUPS][1][1][0][COLUMNS][1][1]:
            for number in (4, 6):  # the page index lies behind the pages
                if number in chunk:
                    chunk[number] = (I64, chunk[number][1] + more)
        return body[:at] + claimed + body[end:]

    rewritten(out / "t.parquet", table, change, use_dictionary=["a"], write_page_index=True, max_rows_per_page=1000)
    imported(db, out / "t.parquet")
    with raises("HV000") as caught:
        db.execute("SELECT a FROM f WHERE b = 5000" if selected else "SELECT a FROM f")
    assert "dictionary" in caught.value.diag.message_detail
    assert values(db, "count(b)") == [(20_000,)]


@pytest.mark.parametrize("version", ("1.0", "2.0"))
@pytest.mark.parametrize("encoding", ("DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"))
def test_lengths_that_claim_too_much(db, out, encoding, version):
    """Room for so many is not to be had, which would end the server."""
    table = pa.table({"a": pa.array([f"text {number}" if number % 3 else None for number in range(300)])})

    def claiming(claim):
        def change(footer, body):
            (chunk,) = chunks(footer)
            ((at, header, end),) = page_headers(body, chunk)
            before = b"\x80\x01\x04" + footers.varint(200)  # blocks of 128 in four parts
            page = bytes(body[end : end + header[3][1]])
            assert page.count(before) == (2 if encoding == "DELTA_BYTE_ARRAY" else 1)
            page = page.replace(before, before[:3] + footers.varint(claim), 1)
            header[2] = header[3] = (I32, len(page))
            written = footers.encode(STRUCT, header) + page
            chunk[6] = chunk[7] = (I64, len(written))
            return body[:at] + written

        return change

    options = dict(use_dictionary=False, column_encoding={"a": encoding}, compression="none", data_page_version=version)
    rewritten(out / "t.parquet", table, claiming(200), **options)
    imported(db, out / "t.parquet")
    assert values(db) == list(zip(*table.to_pydict().values()))
    for claim in (301, 2**40, 2**62, 2**64 - 1):
        rewritten(out / "t.parquet", table, claiming(claim), **options)
        with raises("HV000") as caught:
            values(db)
        assert 'column "a": ' in caught.value.diag.message_detail
        assert "lengths" in caught.value.diag.message_detail
        assert db.execute("SELECT 1").fetchone() == (1,)


# Columns that cannot be read


def test_an_encrypted_column_is_left_out(db, out, noticed):
    def change(footer, _):
        for group in footer[ROW_GROUPS][1][1]:
            group[COLUMNS][1][1][0][CRYPTO_METADATA] = (
                STRUCT,
                {2: (STRUCT, {1: (LIST, (BINARY, [b"a"])), 2: (BINARY, b"key")})},
            )
        footer[8] = (STRUCT, {1: (STRUCT, {})})

    rewritten(out / "t.parquet", AB, change, row_group_size=2)
    assert imported(db, out / "t.parquet") == [("b", "integer")]
    assert noticed == ['Column "a" cannot be read: it is encrypted.']
    assert values(db) == [(10,), (20,), (30,), (40,)]
    assert counted(db, "SELECT b FROM f WHERE b = 30") == (1, 1)
    foreign(db, "o", "a int, b int", file=out / "t.parquet", missing_columns="null")
    with raises("0A000") as caught:
        db.execute("SELECT a FROM o")
    assert "encrypted" in caught.value.diag.message_detail


def test_a_map_laid_out_oddly_is_left_out(db, out, noticed):
    """A map whose entries are not pairs."""
    table = pa.table(
        {"m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())), "b": pa.array([1, 2], pa.int32())}
    )

    def change(footer, _):
        schema = elements(footer)
        schema[2] = element("key_value", repetition=1, children=2)

    rewritten(out / "t.parquet", table, change)
    assert imported(db, out / "t.parquet") == [("b", "integer")]
    assert len(noticed) == 1 and noticed[0].startswith('Column "m" cannot be read')
    assert values(db) == [(1,), (2,)]


def test_statistics_that_cannot_be_decoded_say_nothing(db, out):
    def change(footer, _):
        for chunk in chunks(footer):
            chunk[12] = (STRUCT, {3: (I64, -1), 5: (BINARY, b"x"), 6: (BINARY, b"y")})

    rewritten(out / "t.parquet", AB, change)
    imported(db, out / "t.parquet")
    assert values(db, "sum(b)") == [(100,)]
    assert db.execute("SELECT a FROM f WHERE b = 30").fetchall() == [(3,)]


def test_columns_in_other_files(db, out):
    """A dataset's summary, whose columns are in its files."""

    def change(footer, _):
        for group in footer[ROW_GROUPS][1][1]:
            for chunk in group[COLUMNS][1][1]:
                chunk[1] = (BINARY, b"part-0.parquet")

    rewritten(out / "_metadata", AB, change)
    with raises("0A000"):
        import_schema(db, "f", file=out / "_metadata")


def test_arrow_columns_that_cannot_be_read(db, out, noticed):
    """128-bit integers, alone, in a struct and in a list; beside them other columns, with and without dictionaries."""
    frame = polars.DataFrame(
        {
            "i": polars.Series([1, None, 3], dtype=polars.Int128),
            "a": polars.Series([1, 2, None], dtype=polars.Int32),
            "s": polars.Series(
                [{"x": 1, "t": "x"}, None, {"x": 3, "t": "yy"}],
                dtype=polars.Struct({"x": polars.Int128, "t": polars.String}),
            ),
            "c": polars.Series(["u", "v", None], dtype=polars.Categorical),
            "l": polars.Series([[1], [], None], dtype=polars.List(polars.Int128)),
            "t": polars.Series(["one", None, "a text that does not fit into a view of twelve bytes"]),
        }
    )
    for name, compression in (("plain", "uncompressed"), ("zstd", "zstd")):
        path = out / f"{name}.arrow"
        frame.write_ipc(path, compression=compression)
        path.chmod(0o644)
        db.execute("DROP FOREIGN TABLE IF EXISTS f")
        noticed.clear()
        assert imported(db, path) == [("a", "integer"), ("c", "text"), ("t", "text")]
        assert [detail.split('"')[1] for detail in noticed] == ["i", "s", "l"]
        rows = list(zip(*frame.select("a", "c", "t").to_dict(as_series=False).values()))
        assert values(db) == rows
        assert values(db, "t") == [(text,) for _, _, text in rows]
        assert values(db, "sum(a)") == [(3,)]
        foreign(db, f"o_{name}", "i numeric, a int", file=path, missing_columns="null")
        with raises("0A000"):
            db.execute(f"SELECT i FROM o_{name}")


def footer_of(data):
    """Where the footer of an Arrow file begins."""
    return len(data) - 10 - struct.unpack("<i", data[-10:-6])[0]


def follow(data, at):
    """What an offset of a flatbuffer leads to."""
    return at + struct.unpack_from("<I", data, at)[0]


def field_of(data, table, slot):
    """Where a flatbuffer's table has a field."""
    fields = table - struct.unpack_from("<i", data, table)[0]
    return table + struct.unpack_from("<H", data, fields + 4 + 2 * slot)[0]


def test_arrow_messages_of_another_version_than_the_footers(db, out):
    path = out / "t.arrow"
    table = pa.table({"a": [1, 2, None], "t": pa.array(["x", None, "x"]).dictionary_encode()})
    options = pa.ipc.IpcWriteOptions(metadata_version=pa.ipc.MetadataVersion.V4)
    with pa.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table)
    data = path.read_bytes()
    footer = follow(data, footer_of(data))
    assert struct.unpack_from("<h", data, field_of(data, footer, 0)) == (4,)  # the fifth version
    path.chmod(0o644)
    assert imported(db, path) == [("a", "bigint"), ("t", "text")]
    assert values(db) == [(1, "x"), (2, None), (None, "x")]


def test_an_arrow_type_whose_layout_is_not_known(db, out):
    """Nobody knows where the buffers of the columns behind it begin."""
    path = out / "t.arrow"
    table = pa.table({"d": pa.array([1], pa.date32()), "b": pa.array([1], pa.int32())})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    data = bytearray(path.read_bytes())
    schema = follow(data, field_of(data, follow(data, footer_of(data)), 1))
    column = follow(data, follow(data, field_of(data, schema, 1)) + 4)
    data[field_of(data, column, 2)] = 99
    path.write_bytes(data)
    path.chmod(0o644)
    with raises("0A000") as caught:
        import_schema(db, "f", file=path)
    assert '"d"' in caught.value.diag.message_detail
