"""Statistics that are known to be false, or that contradict themselves, leave no rows out."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers.foreign import columns_of, foreign
from ..helpers.pruning import counted, on_and_off
from ..helpers.support import export

WRITER = b"parquet-cpp-arrow version 26.0.1"
"""As pyarrow names itself; what it is replaced by is as long."""


def patch(path, **changes):
    """Replaces bytes of the footer that are there once."""
    data = path.read_bytes()
    begin = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    head, footer = data[:begin], data[begin:]
    for what, (old, new) in changes.items():
        assert footer.count(old) >= 1 and len(old) == len(new), what
        footer = footer.replace(old, new)
    path.write_bytes(head + footer)


def zigzag(value):
    """A one-byte number of Thrift's compact protocol."""
    assert value < 64
    return bytes([value << 1])


@pytest.fixture
def numbers(db, out):
    """60 rows in one group, 37 of them NULL."""
    path = out / "s.parquet"
    x = [None if i < 37 else i for i in range(60)]
    pq.write_table(
        pa.table(
            {
                "id": pa.array(range(60), pa.int32()),
                "x": pa.array(x, pa.int32()),
                "t": [None if i is None else f"k{i:02}" for i in x],
            }
        ),
        path,
        use_dictionary=False,
        store_schema=False,
    )
    assert pq.read_metadata(path).created_by.encode() == WRITER
    foreign(db, "f", "id int, x int, t text", file=path)
    db.execute("CREATE TABLE s AS SELECT * FROM f")
    return path


CONDITIONS = (
    "x IS NULL",
    "x IS NOT NULL",
    "x > 40",
    "x = 59",
    "t = 'k59'",
    "t IS NOT NULL",
    "t IS NULL",
    "x < 38 OR t IS NULL",
    "t > 'k58' COLLATE \"C\"",
)


def check(db):
    for condition in CONDITIONS:
        assert on_and_off(db, condition), condition


def test_null_counts_that_cannot_be(db, numbers):
    """As many NULLs as rows beside a least and greatest value, or more."""
    check(db)
    whole = numbers.read_bytes()
    for nulls in (60, 63):
        numbers.write_bytes(whole)
        patch(numbers, nulls=(b"\x16" + zigzag(37), b"\x16" + zigzag(nulls)))
        assert pq.read_metadata(numbers).row_group(0).column(1).statistics.null_count == nulls
        check(db)


def test_no_nulls_of_an_old_writer(db, numbers):
    """Arrow before 6.0 counted none in dictionaries."""
    patch(
        numbers, nulls=(b"\x16" + zigzag(37), b"\x16" + zigzag(0)), writer=(WRITER, b"parquet-cpp-arrow version 4.0.1 ")
    )
    assert pq.read_metadata(numbers).row_group(0).column(1).statistics.null_count == 0
    check(db)
    assert counted(db, "SELECT * FROM f WHERE x IS NULL") == (1, 0) and counted(db, "SELECT * FROM f WHERE x > 59") == (
        0,
        1,
    )


def test_bounds_of_a_writer_that_has_false_ones(db, numbers):
    patch(
        numbers,
        bounds=((59).to_bytes(4, "little"), (38).to_bytes(4, "little")),
        text=(b"k59", b"k38"),
        writer=(WRITER, b"Parquet.Net version 4.25.0 (abc)"),
    )
    assert pq.read_metadata(numbers).row_group(0).column(1).statistics.max == 38
    check(db)


def test_bounds_in_the_wrong_order(db, numbers):
    patch(numbers, bounds=((59).to_bytes(4, "little"), (7).to_bytes(4, "little")), text=(b"k59", b"a59"))
    statistics = [pq.read_metadata(numbers).row_group(0).column(i).statistics for i in (1, 2)]
    assert all(of.max < of.min for of in statistics)
    check(db)


def test_pages_that_cannot_be_null(db, out):
    """Old parquet-mr's page indexes call all pages NULL that it has no bounds of, of REQUIRED columns too, and count no
    NULL in them."""
    for nullable in (False, True):
        path = out / f"{nullable}.parquet"
        schema = pa.schema([pa.field("id", pa.int32(), nullable=nullable)])
        pq.write_table(
            pa.table([pa.array(range(4000), pa.int32())], schema=schema),
            path,
            compression="none",
            use_dictionary=False,
            write_page_index=True,
            data_page_size=4000,
            write_batch_size=1000,
        )
        data = path.read_bytes()
        flags = [
            data.index(list_of + no * 4)
            for list_of in (b"\x19\x41", b"\x19\x42")
            for no in (b"\x02", b"\x00")
            if list_of + no * 4 in data
        ]
        assert len(flags) == 1
        db.execute("DROP FOREIGN TABLE IF EXISTS f; DROP TABLE IF EXISTS s")
        foreign(db, "f", "id int", file=path)
        db.execute("CREATE TABLE s AS SELECT * FROM f")
        path.write_bytes(data[: flags[0] + 2] + b"\x01" * 4 + data[flags[0] + 6 :])
        for condition in ("id IS NOT NULL", "id > 1999", "id <> 5", "id = 5", "id BETWEEN 1500 AND 1600"):
            assert on_and_off(db, condition)
        assert counted(db, "SELECT * FROM f WHERE id IS NULL") == (0, 1) and on_and_off(db, "id IS NULL") is None


@pytest.mark.parametrize("sql_type", ("float4", "float8"))
def test_nan_of_our_own(db, out, sql_type):
    """No bounds beside NaN, and none of pages: readers that know no NaN read the group."""
    db.execute(
        f"CREATE TABLE s AS SELECT i AS id, CASE WHEN i % 7 = 0 THEN 'NaN'::{sql_type} ELSE i END AS nan, "
        f"i::{sql_type} AS x, ARRAY['NaN', i]::{sql_type}[] AS a FROM generate_series(1, 50000) i"
    )
    export(db, "s", out / "s.parquet", workers=0)
    chunks = {
        chunk.path_in_schema: chunk for chunk in map(pq.read_metadata(out / "s.parquet").row_group(0).column, range(4))
    }
    assert {name: (chunk.statistics.has_min_max, chunk.has_column_index) for name, chunk in chunks.items()} == {
        "id": (True, True),
        "nan": (False, False),
        "x": (True, True),
        "a.list.element": (False, False),
    }
    foreign(db, "f", columns_of(db, "s"), file=out / "s.parquet")
    for text in ("1000000", "NaN", "5", "Infinity"):
        for operator in ("=", "<>", "<", "<=", ">", ">="):
            on_and_off(db, f"nan {operator} '{text}'::{sql_type}")
            on_and_off(db, f"x {operator} '{text}'::{sql_type}")
