"""A Parquet file's row groups are numbered with 16 bits."""

import duckdb
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from ..helpers.arrow import export as export_arrow
from ..helpers.support import entries, export, raises

MOST = 32768


@pytest.fixture
def rows(db):
    db.execute(f"CREATE TABLE t AS SELECT true AS x FROM generate_series(1, {MOST + 1})")
    return db


def test_too_many(rows, out):
    """An error that names the options, and nothing is left behind."""
    (out / "old.parquet").write_bytes(b"as it was")
    for path, options in (
        ("new.parquet", {"workers": 0}),
        ("new.parquet", {"workers": 2}),
        ("old.parquet", {"workers": 0, "overwrite": True}),
        ("new", {"workers": 0}),
    ):
        with raises("54000") as caught:
            export(rows, "t", out / path, row_group_rows=1, **options)
        assert str(MOST) in caught.value.diag.message_primary and "row_group_rows" in caught.value.diag.message_hint
        assert entries(out) == ["old.parquet"] and (out / "old.parquet").read_bytes() == b"as it was"


def test_as_many_as_there_may_be(rows, out):
    rows.execute("DELETE FROM t WHERE ctid = '(0,1)'")
    result = export(rows, "t", out / "t.parquet", row_group_rows=1, workers=0, compression="none")
    assert (result.row_groups, result.rows) == (MOST, MOST)
    assert rows.execute(f"SELECT count(*), count(x) FROM read_parquet('{out}/t.parquet') AS t(x bool)").fetchone() == (
        MOST,
        MOST,
    )


def test_record_batches_are_not_numbered(rows, out):
    result = export_arrow(rows, "t", out / "t.arrow", record_batch_rows=1, workers=0)
    assert result.rows == MOST + 1
    assert rows.execute(f"SELECT count(x) FROM read_arrow('{out}/t.arrow') AS t(x bool)").fetchone() == (MOST + 1,)


@pytest.mark.parametrize("name", ["t.parquet", "t"])
def test_many_row_groups_in_each_reader(db, out, name):
    """Their metadata comes from several processes, of which each has packed its own."""
    db.execute("""CREATE TABLE t AS SELECT i, i * 1.25 AS n, CASE WHEN i % 3 > 0 THEN md5(i::text) END AS s,
        ARRAY[i, i + 1] AS l
                  FROM generate_series(1, 60000) i""")
    result = export(db, "t", out / name, row_group_rows=20, workers=2)
    assert (result.row_groups >= 3000, result.rows) == (True, 60000)
    files = [out / name] if (out / name).is_file() else sorted((out / name).glob("*.parquet"))
    assert sum(pq.ParquetFile(file).metadata.num_row_groups for file in files) == result.row_groups
    read = pa.concat_tables([pq.read_table(file) for file in files]).sort_by("i").to_pydict()
    expected = db.execute("SELECT i, n, s, l FROM t ORDER BY i").fetchall()
    assert list(zip(*read.values())) == expected
    if len(files) == 1:
        assert pq.read_table(files[0])["i"].to_pylist() == list(range(1, 60001)), "in table order"
    names = ", ".join(f"'{file}'" for file in files)
    assert duckdb.sql(f"SELECT i, n, s, l FROM read_parquet([{names}]) ORDER BY i").fetchall() == expected
    found = duckdb.sql(f"SELECT count(*) FROM read_parquet([{names}]) WHERE i BETWEEN 777 AND 1000").fetchone()
    assert found == (224,), "by the row groups' statistics"


def test_many_record_batches(db, out):
    db.execute("CREATE TABLE t AS SELECT i, i * 1.25 AS n, md5(i::text) AS s FROM generate_series(1, 60000) i")
    result = export_arrow(db, "t", out / "t.arrow", record_batch_rows=20, workers=2)
    read = pa.ipc.open_file(out / "t.arrow")
    assert read.num_record_batches == result.record_batches >= 3000
    expected = db.execute("SELECT i, n, s FROM t ORDER BY i").fetchall()
    assert list(zip(*read.read_all().to_pydict().values())) == expected
