"""Row groups that the GPU service encodes: tables for them, and files held against the CPU's."""

import re

import pyarrow.parquet as pq

from . import oracle
from .gpu_server import same_files
from .support import export

LINES = """SELECT (i / 4)::int8 AS key, i % 4 + 1 AS line, (i::int8 * 7919 % 30000)::numeric AS customer,
    (i::int8 * 104729 % 200000)::int AS part,
    '1992-01-01'::date + i / 300 AS day,
    (ARRAY['1-URGENT','2-HIGH','3-MEDIUM','4-NOT SPECIFIED','5-LOW'])[1 + i * 31 % 5] AS priority,
    (i * 31 % 50)::numeric AS quantity, sqrt(i) AS root, (i * 0.37)::float4 AS narrow,
    (i::int8 * 7919 % 10000000)::numeric / 100 AS price, (i * 17 % 11) / 100.0::float8 AS discount,
    CASE WHEN i % 10 > 0 THEN (i::int8 * 15485863 % 1000000007)::text END AS comment, i % 3 = 0 AS flag,
    md5(i::text)::uuid AS id
    FROM generate_series(1, {rows}) i"""
# Rendered by the server, so no GPU can read them in the heap.
UNFIT = {"c_jsonb", "c_enum", "n_array"}


def fit(cases):
    return [case for case in cases if case[0] not in UNFIT]


def encoded(connection):
    """The row groups that the last export had encoded on the GPU, those that it did again on the CPU, and why."""
    message = connection.execute(
        "SELECT message FROM gpu_status() WHERE message LIKE '%row groups encoded%' ORDER BY time DESC LIMIT 1"
    ).fetchone()[0]
    groups, again, why = re.search(
        r"(\d+) row groups encoded on the GPU, (\d+) more on the CPU after a try(?:: (.*))?$", message
    ).groups()
    return int(groups), int(again), why


def export_encoded(connection, table, out, **options):
    """Exports on both. The GPU encodes all row groups, with the CPU's statistics."""
    cpu = export(connection, table, out / "cpu.parquet", device="cpu", overwrite=True, **options)
    result = export(connection, table, out / "gpu.parquet", device="gpu", overwrite=True, **options)
    assert (result.device, result.rows, result.row_groups) == ("gpu", cpu.rows, cpu.row_groups)
    assert encoded(connection) == (result.row_groups, 0, None)
    same_files(out / "gpu.parquet", out / "cpu.parquet")
    assert statistics(out / "gpu.parquet") == statistics(out / "cpu.parquet")
    for file in oracle.data_files(out / "gpu.parquet"):
        pq.ParquetFile(file, page_checksum_verification=True).read()
    return result, cpu


def statistics(path):
    """The statistics of each column chunk, in any order of row groups."""
    found = []
    for file in oracle.data_files(path):
        metadata = pq.read_metadata(file)
        for group in range(metadata.num_row_groups):
            columns = [metadata.row_group(group).column(i) for i in range(metadata.num_columns)]
            found.append(
                [
                    (
                        column.path_in_schema,
                        column.num_values,
                        column.compression,
                        None
                        if column.statistics is None
                        else (
                            column.statistics.null_count,
                            column.statistics.has_min_max,
                            repr(column.statistics.min_raw),
                            repr(column.statistics.max_raw),
                        ),
                    )
                    for column in columns
                ]
            )
    return found
