"""Exports to Arrow IPC files, and the files as pyarrow reads them."""

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa


class Result(NamedTuple):
    path: str
    files: int
    record_batches: int
    rows: int
    bytes: int
    scan: str
    device: str
    workers: int
    elapsed: Any


def export(connection, table, path, **options):
    """SELECT * FROM export_table_arrow(table, path, option => value, ...)"""
    named = "".join(f", {name} => %s" for name in options)
    sql = (
        f"SELECT path, files, record_batches, rows, bytes, scan, device, workers, "
        f"elapsed::text FROM export_table_arrow(%s::regclass, %s{named})"
    )
    return Result(*connection.execute(sql, (table, str(path), *options.values())).fetchone())


def data_files(path):
    return sorted(path.glob("*.arrow")) if path.is_dir() else [path]


def open_file(path):
    return pa.ipc.open_file(pa.memory_map(str(path)))


def read(path):
    table = pa.concat_tables([open_file(file).read_all() for file in data_files(Path(path))])
    table.validate(full=True)
    return table


def batches_of(path):
    """Each record batch with the texts in its metadata."""
    reader = open_file(path)
    for index in range(reader.num_record_batches):
        batch, metadata = reader.get_batch_with_custom_metadata(index)
        yield batch, {key.decode(): value.decode() for key, value in (metadata or {}).items()}
