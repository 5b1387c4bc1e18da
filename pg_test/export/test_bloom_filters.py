"""Bloom filters: every value is found in its row group's filter, hardly any other one is."""

import bisect
import itertools

import duckdb
import pyarrow.parquet as pq
import pytest

from ..helpers import oracle
from ..helpers.support import SCANS, entries, export, raises

ROWS, GROUP = 30000, 10000
COLUMNS = {
    "i2": "(i % 30000)::int2",
    "i4": "i * 7919",
    "i8": "i::int8 * 7919",
    "d9": "(i * 7 / 100.0)::numeric(9,2)",
    "d18": "(i * 7 / 100.0)::numeric(18,4)",
    "n": "(i * 3)::numeric",
    "day": "'2000-01-01'::date + i",
    "moment": "'2020-01-01'::timestamp + i * interval '1 hour'",
    "id": "md5(i::text)::uuid",
    "t": "CASE WHEN i % 3 > 0 THEN 'text ' || i END",
    "none": "NULL::text",
    "long": "repeat('x', i % 50) || i",
}
# What the probe takes a value as.
CASTS = {
    "d9": "DECIMAL(9,2)",
    "d18": "DECIMAL(18,4)",
    "day": "DATE",
    "moment": "TIMESTAMP",
    "i2": "SMALLINT",
    "i4": "INTEGER",
    "i8": "BIGINT",
}


@pytest.fixture
def table(db):
    db.execute(
        f"CREATE TABLE t AS SELECT {', '.join(f'{value} AS {name}' for name, value in COLUMNS.items())} FROM "
        f"generate_series(1, {ROWS}) i"
    )


def excluded(path, column, value):
    """By row group: whether its filter says that the value is not there."""
    cast = f"CAST(? AS {CASTS[column]})" if column in CASTS else "?"
    return [
        row[0]
        for row in duckdb.execute(
            (
                f"SELECT bloom_filter_excludes FROM parquet_bloom_probe('{path}', '{column}', "
                f"{cast}) ORDER BY row_group_id"
            ),
            [value],
        ).fetchall()
    ]


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("workers", [0, 2])
def test_filters(db, table, out, scan, workers):
    path = out / "t.parquet"
    names = list(COLUMNS)
    result = export(db, "t", path, scan=scan, workers=workers, row_group_rows=GROUP, bloom_filters=names)
    plain = export(db, "t", out / "plain.parquet", scan=scan, workers=workers, row_group_rows=GROUP)
    assert (result.row_groups, result.rows) == (plain.row_groups, ROWS) and result.bytes > plain.bytes
    oracle.check(db, "t", path)
    metadata = duckdb.execute(
        f"SELECT path_in_schema, bloom_filter_offset, bloom_filter_length, "
        f"row_group_bytes FROM parquet_metadata('{path}')"
    ).fetchall()
    assert len(metadata) == len(names) * result.row_groups
    spans = sorted((offset, offset + length) for _, offset, length, _ in metadata)
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:])) and spans[-1][1] < path.stat().st_size


@pytest.mark.parametrize("column", ["i4", "i8", "i2", "t", "long"])
def test_probes(db, table, out, column):
    path = out / "t.parquet"
    export(db, "t", path, workers=0, row_group_rows=GROUP, bloom_filters=[column])
    metadata = pq.read_metadata(path)
    ends = list(itertools.accumulate(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)))
    assert len(ends) > 2 and ends[-1] == ROWS
    values = [row[0] for row in db.execute(f"SELECT {column} FROM t").fetchall()]
    wrong = 0
    for number in range(0, ROWS, 997):
        if values[number] is None:
            continue
        found = excluded(path, column, values[number])
        assert found[bisect.bisect_right(ends, number)] is False, (column, number)
        wrong += found.count(False) - 1
    assert wrong <= 6, "of about 90 in a hundred one"
    absent = {"t": "never there", "long": "x", "i2": -5}.get(column, -12345)
    assert excluded(path, column, absent).count(True) >= len(ends) - 1
    query = f"SELECT count(*) FROM '{path}' WHERE {column} = ?"
    assert duckdb.execute(query, [values[1]]).fetchone()[0] == values.count(values[1])
    assert duckdb.execute(query, [absent]).fetchone()[0] == 0


def test_no_filters(db, table, out):
    for name, options in (("a", {}), ("b", {"bloom_filters": []}), ("c", {"bloom_filters": None})):
        export(db, "t", out / f"{name}.parquet", workers=0, **options)
    assert (out / "a.parquet").read_bytes() == (out / "b.parquet").read_bytes() == (out / "c.parquet").read_bytes()


@pytest.mark.parametrize(
    "names, sqlstate",
    [
        (["missing"], "42703"),
        (["I4"], "42703"),
        ([None], "22004"),
        (["b"], "0A000"),
        (["f"], "0A000"),
        (["a"], "0A000"),
        (["r"], "0A000"),
    ],
)
def test_refused(db, out, names, sqlstate):
    db.execute("CREATE TYPE pair AS (x int, y int); CREATE TABLE t (i4 int, b bool, f float8, a int[], r pair)")
    with raises(sqlstate):
        export(db, "t", out / "t.parquet", bloom_filters=names)
    assert entries(out) == []
