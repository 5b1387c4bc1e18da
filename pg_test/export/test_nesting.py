"""Arrays and composites in each other: as deep as readers go, and no deeper."""

import duckdb
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from ..helpers.arrow import export as export_arrow
from ..helpers.support import entries, export, raises

pytestmark = pytest.mark.fast

MOST = 49
EXPORTS = {"parquet": export, "arrow": export_arrow}


def composites(db, depth):
    """A table of composites in each other, and the path to the innermost value."""
    db.execute("CREATE TYPE c1 AS (f int)")
    value = "ROW(i)::c1"
    for level in range(2, depth + 1):
        db.execute(f"CREATE TYPE c{level} AS (f c{level - 1})")
        value = f"ROW({value})::c{level}"
    db.execute(f"CREATE TABLE t AS SELECT {value} AS deep FROM generate_series(1, 3) i")
    return f"c{depth}", f"(deep){'.f' * depth}"


def arrays(db, depth):
    """The same of arrays of composites: the element's composite and then its array, in turn."""
    db.execute("CREATE TYPE c1 AS (f int)")
    value, path = "ROW(i)::c1", "f"
    count, even = (depth + 1) // 2, depth % 2 == 0
    for level in range(2, count + 1):
        db.execute(f"CREATE TYPE c{level} AS (f c{level - 1}[])")
        value, path = f"ROW(ARRAY[{value}])::c{level}", f"f[1].{path}"
    db.execute(f"CREATE TABLE t AS SELECT {f'ARRAY[{value}]' if even else value} AS deep FROM generate_series(1, 3) i")
    return f"c{count}{'[]' * even}", f"(deep{'[1]' * even}).{path}"


def innermost(value):
    while not isinstance(value, int):
        value = value["f"] if isinstance(value, dict) else value[0]
    return value


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("make", [composites, arrays])
def test_as_deep_as_readers_go(db, out, make, name):
    kind, path = make(db, MOST)
    file = out / f"t.{name}"
    EXPORTS[name](db, "t", file)
    found = pq.read_table(file) if name == "parquet" else pa.ipc.open_file(file).read_all()
    assert [innermost(value) for value in found["deep"].to_pylist()] == [1, 2, 3]
    assert db.execute(f"SELECT {path} FROM read_{name}('{file}') AS t(deep {kind})").fetchall() == [(1,), (2,), (3,)]
    if name == "parquet" and make is composites:
        # Each list doubles the time that it takes DuckDB.
        assert [innermost(value) for (value,) in duckdb.sql(f"SELECT deep FROM '{file}'").fetchall()] == [1, 2, 3]


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("make", [composites, arrays])
def test_deeper(db, out, make, name):
    make(db, MOST + 1)
    with raises("54000") as caught:
        EXPORTS[name](db, "t", out / f"t.{name}")
    assert '"deep"' in caught.value.diag.message_primary and str(MOST) in caught.value.diag.message_detail
    assert entries(out) == []


def test_dimensions_count(db, out):
    """As many as the data have."""
    element, _ = arrays(db, MOST - 3)
    db.execute(f"CREATE TYPE last AS (f {element}); CREATE TABLE u AS SELECT ROW(ARRAY[[deep]])::last AS deep FROM t")
    assert export(db, "u", out / "three.parquet").rows == 3
    db.execute("UPDATE u SET deep.f = ARRAY[(deep).f]")
    with raises("54000"):
        export(db, "u", out / "four.parquet")
