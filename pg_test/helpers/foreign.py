"""Foreign tables: making them, writing files for them, and what EXPLAIN says of them."""

import re
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

from . import arrow, literals, oracle, support

FORMATS = ("parquet", "arrow")
EXPORT = {"parquet": support.export, "arrow": arrow.export}
PARALLEL = "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0"
UNITS = {"B": 1, "KB": 1024, "MB": 1 << 20}


def columns_of(connection, table):
    """The column list of a table, for CREATE FOREIGN TABLE."""
    rows = connection.execute(
        "SELECT quote_ident(attname), format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (table,),
    ).fetchall()
    return ", ".join(f"{name} {sql_type}" for name, sql_type in rows)


def foreign(connection, name, columns, **options):
    """CREATE FOREIGN TABLE name (columns) SERVER pg_strata OPTIONS (...)"""
    named = ", ".join(f"{option} '{value}'" for option, value in options.items())
    connection.execute(f"CREATE FOREIGN TABLE {name} ({columns}) SERVER pg_strata OPTIONS ({named})")


def export_group(connection, kind, table, path, rows, **options):
    """Exports with row groups or record batches of so many rows."""
    name = {"parquet": "row_group_rows", "arrow": "record_batch_rows"}[kind]
    return EXPORT[kind](connection, table, path, **{name: rows}, **options)


def canonical(text, sql_type):
    """A numeric's display scale is that of the file: 1.5 may come back as 1.500."""
    if text is not None and sql_type == "numeric":
        return Decimal(text)
    if text is not None and sql_type == "numeric[]":
        return [item if item is None else Decimal(item) for item in literals.array(text)]
    return text


def rows_of(connection, table, sql_types=None, columns="*"):
    """A relation's rows as texts, in an order that they alone give."""
    _, rows = oracle.select(connection, f"SELECT {columns} FROM {table}")
    if sql_types:
        rows = [tuple(canonical(text, kind) for text, kind in zip(row, sql_types)) for row in rows]
    return sorted(rows, key=repr)


def write(path, table, **options):
    if path.suffix == ".parquet":
        pq.write_table(table, path, **options)
    else:
        with pa.ipc.new_file(str(path), table.schema, **options) as writer:
            writer.write_table(table, max_chunksize=3)


def write_pages(table, path, rows, **options):
    """A file with pages of so many rows, and their index."""
    pq.write_table(table, path, write_page_index=True, max_rows_per_page=rows, write_batch_size=rows, **options)


def plan(connection, query, options="COSTS OFF"):
    return "\n".join(row[0] for row in connection.execute(f"EXPLAIN ({options}) {query}").fetchall())


def bytes_read(connection, query):
    """What EXPLAIN ANALYZE says was read of the files."""
    text = plan(connection, query, "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF")
    found = re.findall(r"\(read: ([\d.]+)([KM]?B), size:", text)
    assert found, text
    return sum(float(number) * UNITS[unit] for number, unit in found)


def import_schema(connection, name, schema=None, **options):
    named = ", ".join(f"{option} '{value}'" for option, value in options.items())
    connection.execute(
        f"IMPORT FOREIGN SCHEMA {name} FROM SERVER pg_strata INTO {schema or connection.schema} OPTIONS ({named})"
    )


def described(connection, table):
    return connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod), attfdwoptions FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
        (table,),
    ).fetchall()


def pairs(connection, table, columns="*"):
    return sorted(connection.execute(f"SELECT {columns} FROM {table}").fetchall(), key=repr)
