"""What in the messages of Arrow files changes the meaning of the buffers behind them."""

import struct

import pyarrow as pa
import pytest

from ..helpers.arrow import export
from ..helpers.foreign import foreign
from ..helpers.support import raises

pytestmark = pytest.mark.fast

RECORD_BATCH, DICTIONARY = 3, 2


def slot(data, table, number):
    """Where a table's vtable says where a field is; None where it ends before."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    return vtable + 4 + 2 * number if 4 + 2 * number < struct.unpack_from("<H", data, vtable)[0] else None


def field(data, table, number):
    at = slot(data, table, number)
    offset = struct.unpack_from("<H", data, at)[0] if at else 0
    return table + offset if offset else None


def messages(data):
    """Of each message the table, its header's kind, and the header."""
    at = 8
    while (length := struct.unpack_from("<i", data, at + 4)[0]) > 0:
        message = at + 8 + struct.unpack_from("<I", data, at + 8)[0]
        header = field(data, message, 2)
        yield message, data[field(data, message, 1)], header + struct.unpack_from("<I", data, header)[0]
        body = field(data, message, 3)
        at += 8 + length + (struct.unpack_from("<q", data, body)[0] if body else 0)


def forget(path, kind, number, skip=0):
    """Takes a field out of the headers of a kind, all but the first ones."""
    data = bytearray(path.read_bytes())
    headers = [header for _, found, header in messages(data) if found == kind][skip:]
    assert headers
    for header in headers:
        at = slot(data, header, number)
        data[at : at + 2] = b"\0\0"
    path.write_bytes(data)


@pytest.mark.parametrize("codec, stated", [("zstd", b"zstd"), ("zstd", b"ZSTD"), ("lz4", b"lz4"), ("lz4", b"LZ4")])
def test_codecs_of_arrow_0_17(db, out, codec, stated):
    """A message's metadata tells the codec, and the header does not: made of a file of ours by the statistics that are
    there."""
    name = "a" * 16
    db.execute(
        f"CREATE TABLE t AS SELECT 1 + i % {22 if len(stated) == 4 else 9} AS {name}, repeat('x', i) AS t, "
        f"i % 3 AS plain FROM generate_series(0, 999) i"
    )
    export(db, "t", out / "t.arrow", compression=codec, stats=[name])
    forget(out / "t.arrow", RECORD_BATCH, 3)
    data = bytearray((out / "t.arrow").read_bytes())
    for message, _, _ in messages(data):
        struct.pack_into("<h", data, field(data, message, 0), 3)  # V4
    assert data.count(b"min_max_stats." + name.encode()) == 1
    data = data.replace(b"min_max_stats." + name.encode(), b"ARROW:experimental_compression").replace(
        b"1,22" if len(stated) == 4 else b"1,9", stated
    )
    (out / "t.arrow").write_bytes(data)
    expected = db.execute("SELECT * FROM t").fetchall()
    assert [tuple(row.values()) for row in pa.ipc.open_file(out / "t.arrow").read_all().to_pylist()] == expected
    foreign(db, "f", f"{name} int, t text, plain int", file=out / "t.arrow")
    assert db.execute("SELECT * FROM f").fetchall() == expected
    assert (
        db.execute("SELECT sum(plain), count(*) FROM f").fetchall()
        == db.execute("SELECT sum(plain), count(*) FROM t").fetchall()
    )
    (out / "t.arrow").write_bytes(data.replace(stated, b"snap"[: len(stated)]))
    with raises("HV000") as caught:
        db.execute("SELECT * FROM f")
    assert 'codec "sna' in caught.value.diag.message_detail


def write_growing(path):
    """Two record batches whose second has more values in its dictionary, which the file states as a delta."""
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    schema = pa.schema({"v": pa.dictionary(pa.int8(), pa.string())})
    with pa.ipc.new_file(str(path), schema, options=options) as writer:
        for values in (["a", "b"], ["a", "b", "c"]):
            column = pa.DictionaryArray.from_arrays(pa.array([*range(len(values)), None], pa.int8()), pa.array(values))
            writer.write_batch(pa.record_batch([column], schema))


def test_dictionaries_that_grow(db, out):
    write_growing(out / "t.arrow")
    foreign(db, "f", "v text", file=out / "t.arrow")
    assert db.execute("SELECT v FROM f").fetchall() == [("a",), ("b",), (None,), ("a",), ("b",), ("c",), (None,)]


def test_dictionaries_that_replace_others(db, out):
    """A file does not say for which record batches the one and the other hold."""
    write_growing(out / "t.arrow")
    forget(out / "t.arrow", DICTIONARY, 2, skip=1)
    foreign(db, "f", "v text", file=out / "t.arrow")
    with raises("HV000") as caught:
        db.execute("SELECT v FROM f")
    assert "two dictionaries" in caught.value.diag.message_detail


@pytest.mark.parametrize(
    "keys", [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()], ids=str
)
@pytest.mark.parametrize("compression", (None, "zstd"))
def test_dictionaries_of_every_key(db, out, keys, compression):
    column = pa.DictionaryArray.from_arrays(
        pa.array([120, None, 0, 1, 120], keys), pa.array([f"value {i}" for i in range(121)])
    )
    with pa.ipc.new_file(
        str(out / "t.arrow"), pa.schema({"v": column.type}), options=pa.ipc.IpcWriteOptions(compression=compression)
    ) as writer:
        writer.write_batch(pa.record_batch([column], ["v"]))
    foreign(db, "f", "v text", file=out / "t.arrow")
    assert db.execute("SELECT v FROM f").fetchall() == [
        ("value 120",),
        (None,),
        ("value 0",),
        ("value 1",),
        ("value 120",),
    ]


@pytest.mark.parametrize("version", (pa.ipc.MetadataVersion.V4, pa.ipc.MetadataVersion.V5))
@pytest.mark.parametrize("dense", (True, False))
def test_columns_beside_unions(db, out, version, dense):
    """Unions, which are not read, have one buffer more in messages of version 4."""
    kinds = pa.array([0, 1, 0], pa.int8())
    if dense:
        union = pa.UnionArray.from_dense(kinds, pa.array([0, 0, 1], pa.int32()), [pa.array([1, 2]), pa.array(["x"])])
    else:
        union = pa.UnionArray.from_sparse(kinds, [pa.array([1, 2, 3]), pa.array(["x", "y", "z"])])
    batch = pa.record_batch([pa.array([7, 8, 9]), union, pa.array(["a", None, "c"])], ["before", "u", "behind"])
    with pa.ipc.new_file(
        str(out / "t.arrow"), batch.schema, options=pa.ipc.IpcWriteOptions(metadata_version=version)
    ) as writer:
        writer.write_batch(batch)
    foreign(db, "f", "before bigint, behind text", file=out / "t.arrow")
    assert db.execute("SELECT * FROM f").fetchall() == [(7, "a"), (8, None), (9, "c")]
