"""Options, the result row, file layout and metadata, publishing."""

import json

import duckdb
import pyarrow.parquet as pq
import pytest

from ..helpers import oracle
from ..helpers.support import SCANS, entries, export, export_and_check, raises

CODECS = {
    "zstd": "ZSTD",
    "zstd:1": "ZSTD",
    "zstd:9": "ZSTD",
    "snappy": "SNAPPY",
    "gzip": "GZIP",
    "gzip:1": "GZIP",
    "brotli": "BROTLI",
    "brotli:2": "BROTLI",
    "lz4_raw": "LZ4",
    "none": "UNCOMPRESSED",
}


@pytest.fixture
def table(db):
    db.execute("""CREATE TABLE t AS SELECT i AS id, 'group ' || i % 10 AS low, md5(i::text) AS high, i / 4.0 AS n,
        CASE WHEN i % 3 > 0 THEN i END AS some,
        now()::timestamp + i * interval '1s' AS at FROM generate_series(1, 20000) i""")
    return db


@pytest.mark.parametrize("codec", CODECS)
def test_compression(table, out, codec):
    export_and_check(table, "t", out / "t.parquet", compression=codec, workers=1)
    metadata = pq.read_metadata(out / "t.parquet")
    used = {metadata.row_group(0).column(i).compression for i in range(metadata.num_columns)}
    assert CODECS[codec] in used and used <= {CODECS[codec], "UNCOMPRESSED"}


@pytest.mark.parametrize("codec", ["zstd", "snappy", "lz4_raw", "none"])
def test_byte_stream_split(db, out, codec):
    """Where it is asked for and pays, which it never does without a codec; every bit of every value comes back."""
    db.execute("""CREATE TABLE t AS SELECT sqrt(i) AS f8, (i * 0.37)::float4 AS f4,
        CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN '-0'::float8
        WHEN 2 THEN 'NaN'::float8 WHEN 3 THEN '-Infinity'::float8 ELSE sin(i) END AS odd, i % 7 / 7.0::float8 AS few,
        i FROM generate_series(1, 50000) i""")
    used = {}
    for split in (False, True):
        export_and_check(db, "t", out / f"{split}.parquet", compression=codec, workers=0, byte_stream_split=split)
        chunks = pq.read_metadata(out / f"{split}.parquet").row_group(0)
        used[split] = [
            chunks.column(i).path_in_schema for i in range(5) if "BYTE_STREAM_SPLIT" in chunks.column(i).encodings
        ]
    assert used[False] == []
    assert {"f8", "f4"} <= set(used[True]) <= {"f8", "f4", "odd"} if codec != "none" else used[True] == []
    assert codec == "none" or (out / "True.parquet").stat().st_size < 0.9 * (out / "False.parquet").stat().st_size


def test_result_row(table, out):
    result = export(table, "t", out / "t.parquet", workers=2, row_group_rows=3000)
    metadata = pq.read_metadata(out / "t.parquet")
    assert result.path == str(out / "t.parquet")
    assert (result.files, result.rows, result.device) == (1, 20000, "cpu")
    assert result.row_groups == metadata.num_row_groups
    assert result.bytes == (out / "t.parquet").stat().st_size
    assert 0 <= result.workers <= 2 and result.elapsed > "00:00:00"
    assert result.scan == "heap"


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("workers", [0, 3])
def test_row_group_rows(table, out, scan, workers):
    """No row group is larger than asked for, and none is needlessly small."""
    export_and_check(table, "t", out / "t.parquet", scan=scan, workers=workers, row_group_rows=1000)
    metadata = pq.read_metadata(out / "t.parquet")
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert max(sizes) <= 1000 and sum(sizes) == 20000


def test_row_group_bytes(table, out):
    export_and_check(table, "t", out / "t.parquet", row_group_bytes=200_000, workers=0)
    assert pq.read_metadata(out / "t.parquet").num_row_groups >= 4


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("columns", [["id"], ["at", "id"], ["n", "low", "some"]])
def test_columns(table, out, scan, columns):
    """Only these, in the order asked for."""
    export_and_check(table, "t", out / "t.parquet", scan=scan, columns=columns)
    assert pq.read_schema(out / "t.parquet").names == columns


def test_metadata(table, out):
    """created_by, the Arrow schema, PostgreSQL's type names, statistics and the page index."""
    table.execute("ALTER TABLE t ADD v varchar(12), ADD d numeric(9,3)")
    export(table, "t", out / "t.parquet")
    file = pq.ParquetFile(out / "t.parquet")
    assert file.metadata.created_by.startswith("pg_strata")
    pairs = {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}
    assert "ARROW:schema" in pairs
    everything = str(pairs) + str([field.metadata for field in file.schema_arrow])
    for name in ("integer", "character varying(12)", "numeric(9,3)", "timestamp without time zone"):
        assert name in everything, name
    chunk = file.metadata.row_group(0).column(0)
    assert chunk.has_column_index and chunk.has_offset_index


def test_statistics_match_the_data(table, out):
    """Every chunk's minimum, maximum and NULL count, and the rows that DuckDB prunes by them."""
    table.execute("""CREATE TABLE s (f float8, x text, u oid, n numeric(30,2), d date, i int);
        INSERT INTO s SELECT CASE i % 50 WHEN 0 THEN float8 'NaN' WHEN 1 THEN float8 '-0' ELSE i - 700 END,
        repeat('ÿ', i % 80) || i,
            (4294967295 - i * 3000000::bigint)::oid, i * 100000000000000000000.0 * (i % 3 - 1),
            date '1960-01-01' + i * 20,
            CASE WHEN i % 4 = 0 THEN i END FROM generate_series(0, 1399) i""")
    export_and_check(table, "s", out / "s.parquet", row_group_rows=100, workers=0)
    metadata = pq.read_metadata(out / "s.parquet")
    data = pq.ParquetFile(out / "s.parquet")
    for group in range(metadata.num_row_groups):
        rows = data.read_row_group(group)
        for column in range(metadata.num_columns):
            statistics = metadata.row_group(group).column(column).statistics
            if statistics is None:
                continue
            values = [value for value in rows.column(column).to_pylist() if value is not None]
            assert statistics.null_count == rows.num_rows - len(values)
            real = [value for value in values if value == value]
            if statistics.has_min_max and real:
                low, high = statistics.min, statistics.max
                assert low <= min(real) and max(real) <= high, rows.column_names[column]
    for condition in (
        "f < -600",
        "f >= 0",
        "f = 0",
        "x > 'ÿÿÿ'",
        "u > 4000000000",
        "n < -1000000000000000000000",
        "d < DATE '1965-01-01'",
        "i IS NULL",
    ):
        ours = duckdb.execute(f"SELECT count(*) FROM '{out / 's.parquet'}' WHERE {condition}").fetchone()
        truth = table.execute(f"SELECT count(*) FROM s WHERE {condition.replace('u >', 'u::bigint >')}").fetchone()
        if condition == "f >= 0":  # DuckDB, as PostgreSQL, puts NaN above all numbers
            assert ours[0] <= truth[0]
        else:
            assert ours == truth, condition


def test_dictionary_for_few_values(table, out):
    export(table, "t", out / "t.parquet", compression="none")
    group = pq.read_metadata(out / "t.parquet").row_group(0)
    low, high = group.column(1), group.column(2)
    assert low.has_dictionary_page
    assert low.total_compressed_size < high.total_compressed_size / 20


@pytest.mark.parametrize("workers", [0, 2])
def test_directory(table, out, workers):
    """Part files and, last of all, _SUCCESS with the manifest."""
    result = export_and_check(table, "t", out / "parts", ordered=False, workers=workers, row_group_rows=1000)
    names = entries(out / "parts")
    parts = [name for name in names if name.endswith(".parquet")]
    assert sorted([*parts, "_SUCCESS"]) == names and len(parts) == result.files >= 1
    manifest = json.loads((out / "parts" / "_SUCCESS").read_text())
    assert manifest["rows"] == sum(file["rows"] for file in manifest["files"]) == 20000
    assert sorted(file["name"] for file in manifest["files"]) == parts
    assert [column["name"] for column in manifest["columns"]] == ["id", "low", "high", "n", "some", "at"]
    assert manifest["snapshot"] and manifest["pg_strata"]
    assert result.bytes == manifest["bytes"] == sum((out / "parts" / name).stat().st_size for name in parts)


def test_directory_is_replaced_as_a_whole(table, out):
    """No part file of the former export is left to be read with the new ones."""
    export(table, "t", out / "parts", workers=3, row_group_rows=500)
    with raises("58P02"):
        export(table, "t", out / "parts")
    table.execute("DELETE FROM t WHERE id > 100")
    export_and_check(table, "t", out / "parts", ordered=False, overwrite=True, workers=0)
    assert entries(out) == ["parts"]


@pytest.mark.parametrize("scan", SCANS)
def test_overwrite(table, out, scan):
    file = out / "t.parquet"
    file.write_bytes(b"old")
    with raises("58P02"):
        export(table, "t", file, scan=scan)
    assert file.read_bytes() == b"old"
    export_and_check(table, "t", file, scan=scan, overwrite=True)
    assert entries(out) == ["t.parquet"]


def test_same_values_from_every_way(table, out):
    """Scan kinds and worker counts give equal values in equal order, in one file."""
    for scan in SCANS:
        for workers in (0, 1, 4):
            export(table, "t", out / f"{scan}{workers}.parquet", scan=scan, workers=workers, row_group_rows=1500)
    tables = [oracle.read_pyarrow(out / name) for name in entries(out)]
    assert all(other.equals(tables[0]) for other in tables[1:])
