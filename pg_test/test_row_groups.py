"""A Parquet file's row groups are numbered with 16 bits."""

import pytest

from .support import entries, export, raises
from .test_arrow import export as export_arrow

MOST = 32768


@pytest.fixture
def rows(db):
    db.execute(f"CREATE TABLE t AS SELECT true AS x FROM generate_series(1, {MOST + 1})")
    return db


def test_too_many(rows, out):
    """An error that names the options, and nothing is left behind."""
    (out / "old.parquet").write_bytes(b"as it was")
    for path, options in (("new.parquet", {"workers": 0}), ("new.parquet", {"workers": 2}), ("old.parquet", {"workers": 0, "overwrite": True}), ("new", {"workers": 0})):
        with raises("54000") as caught:
            export(rows, "t", out / path, row_group_rows=1, **options)
        assert str(MOST) in caught.value.diag.message_primary and "row_group_rows" in caught.value.diag.message_hint
        assert entries(out) == ["old.parquet"] and (out / "old.parquet").read_bytes() == b"as it was"


def test_as_many_as_there_may_be(rows, out):
    rows.execute("DELETE FROM t WHERE ctid = '(0,1)'")
    result = export(rows, "t", out / "t.parquet", row_group_rows=1, workers=0, compression="none")
    assert (result.row_groups, result.rows) == (MOST, MOST)
    assert rows.execute(f"SELECT count(*), count(x) FROM read_parquet('{out}/t.parquet') AS t(x bool)").fetchone() == (MOST, MOST)


def test_record_batches_are_not_numbered(rows, out):
    result = export_arrow(rows, "t", out / "t.arrow", record_batch_rows=1, workers=0)
    assert result.rows == MOST + 1
    assert rows.execute(f"SELECT count(x) FROM read_arrow('{out}/t.arrow') AS t(x bool)").fetchone() == (MOST + 1,)
