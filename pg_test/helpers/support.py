"""What tests share: calling the extension, loading rows, watching directories."""

import contextlib
import os
import threading
import time
from typing import Any, NamedTuple

import psycopg
import pyarrow as pa
import pytest

from . import oracle

SCANS = ("heap", "copy_binary")
WORKERS = (0, 1, 2, 4)
PROMPT = 2.0  # seconds: this finds hangs, on a busy machine too; python -m pg_test.bench.cancel measures


class Result(NamedTuple):
    """The row that export_table_parquet returns."""

    path: str
    files: int
    row_groups: int
    rows: int
    bytes: int
    scan: str
    device: str
    workers: int
    elapsed: Any


def export(connection, table, path, **options):
    """SELECT * FROM export_table_parquet(table, path, option => value, ...)

    The interval comes as text: the client cannot read every IntervalStyle that a test sets."""
    named = "".join(f", {name} => %s" for name in options)
    sql = (
        f"SELECT path, files, row_groups, rows, bytes, scan, device, workers, "
        f"elapsed::text FROM export_table_parquet(%s::regclass, %s{named})"
    )
    return Result(*connection.execute(sql, (table, str(path), *options.values())).fetchone())


def export_query(connection, query, path, kind="parquet", **options):
    """SELECT * FROM export_query_<kind>(query, path, option => value, ...)"""
    named = "".join(f", {name} => %s" for name in options)
    groups = "row_groups" if kind == "parquet" else "record_batches"
    sql = (
        f"SELECT path, files, {groups}, rows, bytes, scan, device, workers, "
        f"elapsed::text FROM export_query_{kind}(%s, %s{named})"
    )
    return Result(*connection.execute(sql, (query, str(path), *options.values())).fetchone())


def export_and_check(connection, table, path, ordered=True, **options):
    """Exports, then holds the file against the table."""
    result = export(connection, table, path, **options)
    count = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    assert result.rows == count
    columns = options.get("columns")
    named = ", ".join(f'"{column}"' for column in columns) if columns is not None else "*"
    oracle.check(connection, table, path, named, ordered)
    return result


@contextlib.contextmanager
def raises(sqlstate):
    """The block must fail with this SQLSTATE, in PostgreSQL's message style and with a hint."""
    with pytest.raises(psycopg.Error) as caught:
        yield caught
    diagnostic = caught.value.diag
    message = diagnostic.message_primary
    assert diagnostic.sqlstate == sqlstate, f"{diagnostic.sqlstate}: {message}"
    assert diagnostic.message_hint, f"no hint: {message}"
    assert not message[0].isupper() and not message.endswith("."), message
    assert "\n" not in (diagnostic.message_detail or ""), diagnostic.message_detail


def entries(directory):
    """Everything in a directory, hidden names too."""
    return sorted(os.listdir(directory))


def create_extension(server):
    """In postgres, and in every database made later."""
    for database in ("template1", "postgres"):
        with server.connect(database) as connection:
            connection.execute("CREATE EXTENSION pg_strata")


def eventually(condition, seconds=10, explain=lambda: None):
    """Waits until a condition holds once, be it for a moment."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.01)


class Background(threading.Thread):
    """A call in a thread; result() raises what the call raised. `ended` is the time it came back."""

    def __init__(self, call):
        super().__init__(daemon=True)
        self.call, self.value, self.error, self.ended = call, None, None, None
        self.start()

    def run(self):
        try:
            self.value = self.call()
        except Exception as error:  # handed over to the caller of result()
            self.error = error
        self.ended = time.monotonic()

    def result(self, seconds=60):
        self.join(seconds)
        assert not self.is_alive(), "still running"
        if self.error:
            raise self.error
        return self.value


def workers_of(connection, pid):
    return [
        row[0]
        for row in connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE leader_pid = %s AND pid <> %s", (pid, pid)
        )
    ]


def copy_binary(connection, table):
    """The bytes of COPY (SELECT * FROM table) TO ... (FORMAT BINARY), in physical order."""
    with connection.transaction():
        connection.execute("SET LOCAL synchronize_seqscans = off")
        connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY (SELECT * FROM {table}) TO STDOUT (FORMAT BINARY)") as copy:
                return b"".join(bytes(block) for block in copy)


def supports(connection, expression):
    """Whether the server was built with what an expression needs (lz4, libxml)."""
    try:
        connection.execute(expression)
        return True
    except psycopg.errors.FeatureNotSupported:
        return False


def describe(kind):
    """An Arrow type in the words that every_type.py uses; extension types by their storage's meaning."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind.extension_name.removeprefix("arrow.")
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    if pa.types.is_list(kind):
        return f"list<{describe(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {describe(field.type)}' for field in kind)}>"
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16:
        return "uuid"
    return str(kind)
