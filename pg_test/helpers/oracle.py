"""Compares a Parquet file, value by value and through two readers, with what SELECT returns.

The truth is PostgreSQL's own text output; the file's type says how that text is to be read. What
type the file ought to have is not the oracle's business: the tests of the types name it.
"""

import functools
import struct
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from . import literals

PINNED = {
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "synchronize_seqscans": "off",
    "max_parallel_workers_per_gather": "0",
    "enable_indexscan": "off",
    "enable_bitmapscan": "off",
}


def select(connection, query):
    """Column names and rows of texts (None: NULL), in physical order, with the settings pinned.

    The caller's own settings and transaction stay as they are."""
    before = {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in PINNED}
    _set(connection, PINNED)
    try:
        result = connection.pgconn.exec_(query.encode())
        assert result.status == 2, result.error_message.decode()
    finally:
        _set(connection, before)
    names = [result.fname(column).decode() for column in range(result.nfields)]
    rows = [
        tuple(_decoded(result.get_value(row, column)) for column in range(result.nfields))
        for row in range(result.ntuples)
    ]
    return names, rows


def _set(connection, settings):
    for name, value in settings.items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))


def _decoded(value):
    return None if value is None else value.decode()


def expected(text, kind):
    """The value that a text of PostgreSQL has in a column of an Arrow type, in canonical form."""
    return None if text is None else _reading(kind)(text)


@functools.cache
def _reading(kind):
    """The function that makes a type's value of a text. Tables have millions of values: the type is looked at once."""
    if isinstance(kind, pa.BaseExtensionType):
        return _reading(kind.storage_type)
    if pa.types.is_boolean(kind):
        return {"t": True, "f": False}.__getitem__
    if pa.types.is_integer(kind):
        return int
    if pa.types.is_float32(kind):
        return lambda text: _float_bits("<f", float(text))
    if pa.types.is_float64(kind):
        return lambda text: _float_bits("<d", float(text))
    if pa.types.is_decimal(kind):
        return Decimal
    if pa.types.is_date(kind):
        return literals.date
    if pa.types.is_time(kind):
        return literals.time
    if pa.types.is_timestamp(kind):
        return literals.timestamp
    if pa.types.is_fixed_size_binary(kind):
        return lambda text: bytes.fromhex(text.replace("-", ""))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return lambda text: bytes.fromhex(text.removeprefix("\\x"))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return lambda text: _expected_list(literals.array(text), kind)
    if pa.types.is_struct(kind):
        return lambda text: _expected_record(literals.record(text, kind.num_fields), kind)
    assert pa.types.is_string(kind) or pa.types.is_large_string(kind), kind
    return str


def _expected_record(fields, kind):
    return tuple(expected(field, kind.field(i).type) for i, field in enumerate(fields))


def _expected_list(items, kind):
    inner = kind.value_type
    nested = pa.types.is_list(inner) or pa.types.is_large_list(inner)
    return [_expected_list(item, inner) if nested else expected(item, inner) for item in items]


def _float_bits(layout, number):
    return "NaN" if number != number else struct.pack(layout, number)


def values(array):
    """An Arrow array's values in canonical form. Dates and times stay integers: Python's end at 9999."""
    if isinstance(array, pa.ChunkedArray):
        return [value for chunk in array.chunks for value in values(chunk)]
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return values(array.storage)
    if pa.types.is_dictionary(kind):
        return values(array.dictionary_decode())
    if pa.types.is_date32(kind):
        return array.view(pa.int32()).to_pylist()
    if pa.types.is_timestamp(kind) or pa.types.is_time64(kind):
        assert kind.unit == "us", kind
        return array.view(pa.int64()).to_pylist()
    if pa.types.is_float32(kind) or pa.types.is_float64(kind):
        layout = "<f" if pa.types.is_float32(kind) else "<d"
        return [None if value is None else _float_bits(layout, value) for value in array.to_pylist()]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner, offsets = values(array.values), array.offsets.to_pylist()
        return [inner[offsets[i] : offsets[i + 1]] if valid else None for i, valid in enumerate(_validity(array))]
    if pa.types.is_struct(kind):
        rows = zip(*(values(array.field(i)) for i in range(kind.num_fields)))
        return [row if valid else None for row, valid in zip(rows, _validity(array))]
    return array.to_pylist()


def _validity(array):
    return array.is_valid().to_pylist()


def data_files(path):
    path = Path(path)
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


def read_pyarrow(path):
    return pa.concat_tables([pq.ParquetFile(file).read() for file in data_files(path)])


def read_duckdb(path):
    files = [str(file) for file in data_files(path)]
    with duckdb.connect() as connection:
        return connection.execute("SET TimeZone = 'UTC'; FROM read_parquet($1)", [files]).to_arrow_table()


READERS = {"pyarrow": read_pyarrow, "DuckDB": read_duckdb}


def check(connection, table, path, columns="*", ordered=True):
    """Asserts that a file (or a directory of files) holds what the table holds, in its physical order."""
    names, rows = select(connection, f"SELECT {columns} FROM {table}")
    known = {}
    for reader, read in READERS.items():
        if not names and reader == "DuckDB":
            continue  # DuckDB refuses a file without columns
        check_table(read(path), names, rows, reader, ordered, known)
    check_required(connection, table, path)


def check_table(table, names, rows, reader, ordered=True, known=None):
    """Asserts that a table of Arrow holds the rows. `known` keeps what they are in a type for the next reader."""
    known = {} if known is None else known
    assert table.column_names == names, reader
    assert table.num_rows == len(rows), f"{reader}: {table.num_rows} rows, PostgreSQL has {len(rows)}"
    got = [values(column) for column in table.columns]
    want = [_column(rows, i, table.schema.field(i).type, known) for i in range(len(names))]
    if not ordered:
        got, want = _sorted_rows(got), _sorted_rows(want)
    for name, ours, truth in zip(names, got, want):
        if ours != truth:
            row = next(i for i, pair in enumerate(zip(ours, truth)) if pair[0] != pair[1])
            raise AssertionError(
                f"{reader}: column {name}, row {row}: file has {short(ours[row])}, PostgreSQL has {short(truth[row])}"
            )


def _column(rows, i, kind, known):
    """The values of a column in a type, in the order of the rows."""
    if (i, kind) not in known:
        read = _reading(kind)
        known[i, kind] = [None if row[i] is None else read(row[i]) for row in rows]
    return known[i, kind]


def short(value, limit=300):
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def _sorted_rows(columns):
    """The columns of the same rows, in an order that the values alone give."""
    rows = sorted(zip(*columns), key=repr)
    return list(map(list, zip(*rows))) if rows else columns


def check_required(connection, table, path):
    """A column is REQUIRED in the file exactly when it is NOT NULL in the table."""
    strict = dict(
        connection.execute(
            "SELECT attname, attnotnull FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", (table,)
        ).fetchall()
    )
    for file in data_files(path):
        for field in pq.read_schema(file):
            assert field.nullable != strict[field.name], f"{field.name}: nullable {field.nullable}"
