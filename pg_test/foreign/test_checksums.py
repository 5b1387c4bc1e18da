"""Pages of Parquet files have checksums, which every reader can verify, and foreign tables do."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers.every_type import make
from ..helpers.foreign import bytes_read, columns_of, foreign, write_pages
from ..helpers.support import export, raises

pytestmark = pytest.mark.fast


def bodies(path):
    """The places of all pages' bodies, dictionaries among them, by the headers' own words (parquet.thrift,
    PageHeader)."""
    data = path.read_bytes()
    metadata = pq.read_metadata(path)
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(number)
            start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
            end = start + chunk.total_compressed_size
            while start < end:
                size, body = header(data, start)
                yield chunk.path_in_schema, group, body, body + size
                start = body + size
            assert start == end


def header(data, at):
    """A page's size, and where its body begins."""
    size, field, depth = None, 0, [0]
    while depth:
        byte, at = data[at], at + 1
        if byte == 0:
            field = depth.pop()
            continue
        field, kind = field + (byte >> 4), byte & 15
        assert byte >> 4 and kind in (1, 2, 5, 12), "a header of other fields than ours"
        if kind == 12:
            depth.append(field)
            field = 0
        elif kind == 5:
            value, shift = 0, 0
            while True:
                byte, at = data[at], at + 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            if len(depth) == 1 and field == 3:
                size = value >> 1
    return size, at


@pytest.mark.parametrize("family", ("scalars", "numerics", "nested"))
def test_others_verify_ours(db, out, family):
    make(db, family, repeat=30)
    export(db, "t", out / "t.parquet", row_group_rows=100)
    verified = pq.ParquetFile(out / "t.parquet", page_checksum_verification=True).read()
    assert verified.num_rows == db.execute("SELECT count(*) FROM t").fetchone()[0]


@pytest.mark.parametrize("codec", ("none", "zstd", "snappy", "lz4_raw"))
def test_any_bit_of_ours(db, out, codec):
    """Of each page a bit: pyarrow and read_parquet both find it, and read_parquet says where."""
    db.execute("""CREATE TABLE t AS SELECT i, i * 7919 % 1009 AS j, 'text ' || i % 5 AS few,
        md5(i::text) AS x, i / 7.0 AS n,
        CASE WHEN i % 3 = 0 THEN i / 3.0::float8 END AS f, ARRAY[i, i + 1] AS a FROM generate_series(1, 25000) i""")
    export(db, "t", out / "t.parquet", compression=codec, row_group_rows=21000, workers=0)
    path, damaged = out / "t.parquet", out / "damaged.parquet"
    whole, places = path.read_bytes(), list(bodies(path))
    assert len(places) > 16  # of 8 columns in two row groups, and dictionaries
    read = (
        f"SELECT count(*) FROM (SELECT i, j, few, x, n, f, "
        f"a FROM read_parquet('{damaged}') AS t({columns_of(db, 't')}) OFFSET 0) s"
    )
    for number, (column, group, begin, end) in enumerate(places):
        at = begin + (end - begin) * number // len(places)
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << number % 8]) + whole[at + 1 :])
        with pytest.raises(OSError, match="CRC"):
            pq.ParquetFile(damaged, page_checksum_verification=True).read()
        with raises("HV000") as caught:
            db.execute(read)
        diagnostic = caught.value.diag
        assert str(damaged) in diagnostic.message_primary and "checksum" in diagnostic.message_detail
        assert f'In row group or record batch {group}, column "{column.split(".")[0]}":' in diagnostic.message_detail
    damaged.write_bytes(whole)
    assert db.execute(read).fetchone() == (25000,)


@pytest.mark.parametrize("version", ("1.0", "2.0"))
@pytest.mark.parametrize("codec", ("none", "zstd"))
def test_files_of_others(db, out, version, codec):
    """Data pages of both versions, dictionaries, and pages that the index leads to; without checksums nothing is
    verified."""
    table = pa.table(
        {
            "i": pa.array(range(20000), pa.int32()),
            "few": [None if i % 11 == 0 else f"text {i % 9}" for i in range(20000)],
        }
    )
    path = out / "t.parquet"
    write_pages(
        table,
        path,
        1000,
        compression=codec,
        data_page_version=version,
        write_page_checksum=True,
        use_dictionary=["few"],
    )
    whole, chunk = path.read_bytes(), pq.read_metadata(path).row_group(0)
    foreign(db, "f", "i int, few text", file=path)
    assert db.execute("SELECT sum(i), count(few) FROM f").fetchone() == (
        sum(range(20000)),
        sum(i % 11 > 0 for i in range(20000)),
    )
    ends = {
        "i": chunk.column(0).data_page_offset + chunk.column(0).total_compressed_size - 1,
        "few": chunk.column(1).data_page_offset - 1,
    }
    for column, at in ends.items():
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        for condition in ("true", "i > 19990"):
            with raises("HV000") as caught:
                db.execute(f"SELECT i, few FROM f WHERE {condition}")
            assert f'row group or record batch 0, column "{column}":' in caught.value.diag.message_detail
    # Pages that are not read are not verified.
    path.write_bytes(whole[: ends["i"]] + bytes([whole[ends["i"]] ^ 16]) + whole[ends["i"] + 1 :])
    assert db.execute("SELECT sum(i) FROM f WHERE i < 10").fetchone() == (45,)
    assert 0 < bytes_read(db, "SELECT sum(i) FROM f WHERE i < 10") < len(whole) / 2
