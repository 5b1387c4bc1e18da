"""Files that are damaged, or replaced while they are read: an answer, or an error that names the file."""

import random
import time

import pyarrow as pa
import pytest

from ..helpers.arrow import export as export_arrow
from ..helpers.foreign import FORMATS, columns_of, export_group, foreign, write
from ..helpers.support import eventually, raises
from ..helpers.support import export as export_parquet


@pytest.fixture(params=FORMATS)
def small(request, db, out):
    kind = request.param
    db.execute("""CREATE TABLE t AS SELECT i AS id, 'text ' || i % 50 AS x, i / 8.0 AS n, ARRAY[i, NULL] AS a,
        i % 2 = 0 AS b, now() AS ts
                  FROM generate_series(1, 500) i""")
    db.file = out / f"t.{kind}"
    export_group(db, kind, "t", db.file, 200, workers=0)
    foreign(db, "f", columns_of(db, "t"), file=db.file)
    return db


def read_or_fail(connection):
    """Reads all of f: either it answers, or it is an error of ours that names the file."""
    try:
        connection.execute("SELECT f::text FROM f").fetchall()
        return True
    except Exception as error:
        assert not connection.closed, "the server went down"
        diagnostic = error.diag
        assert str(connection.file) in diagnostic.message_primary, diagnostic.message_primary
        assert diagnostic.sqlstate[:2] in ("HV", "0A", "22", "58", "53") and diagnostic.message_hint, (
            diagnostic.sqlstate
        )
        return False


def test_truncated_files(small):
    """At any length."""
    whole = small.file.read_bytes()
    lengths = {0, 1, 3, 4, 6, 8, 12, len(whole) - 1, len(whole) - 4, len(whole) - 8} | {
        len(whole) * i // 40 for i in range(40)
    }
    for length in lengths:
        small.file.write_bytes(whole[:length])
        assert not read_or_fail(small), length
    small.file.write_bytes(whole)
    assert read_or_fail(small)


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes(small, seed):
    """Somewhere, most of all in the metadata at the end: an answer or an error, and the server goes on."""
    started = small.execute("SELECT pg_postmaster_start_time()").fetchone()
    whole = small.file.read_bytes()
    generator = random.Random(seed)
    for _ in range(150):
        bytes_ = bytearray(whole)
        for _ in range(generator.choice((1, 1, 2, 8))):
            at = (
                generator.randrange(len(whole))
                if generator.random() < 0.4
                else len(whole) - 1 - generator.randrange(min(3000, len(whole)))
            )
            bytes_[at] = generator.choice((0, 0x7F, 0x80, 0xFF, generator.randrange(256)))
        small.file.write_bytes(bytes_)
        read_or_fail(small)
    small.file.write_bytes(whole)
    assert read_or_fail(small)
    assert small.execute("SELECT pg_postmaster_start_time()").fetchone() == started


def test_a_footer_that_claims_too_much(db, out):
    """A group of two thousand million columns: an error, where the decoder would ask for the memory."""
    write(out / "t.parquet", pa.table({"a": [1]}))
    foreign(db, "f", "a int8", file=out / "t.parquet")
    whole = (out / "t.parquet").read_bytes()
    footer = whole[-8 - int.from_bytes(whole[-8:-4], "little") : -8]
    at = footer.index(b"schema\x15\x02") + len(b"schema\x15")
    lying = footer[:at] + b"\xfe\xff\xff\xff\x0f" + footer[at + 1 :]
    (out / "t.parquet").write_bytes(whole[: -8 - len(footer)] + lying + len(lying).to_bytes(4, "little") + b"PAR1")
    with raises("HV000"):
        db.execute("SELECT * FROM f")


def test_a_file_that_is_replaced(small):
    """Between two rows of a cursor: the old file goes on while it is open, and the metadata cache takes the new one."""
    whole = small.file.read_bytes()
    small.execute("SELECT count(*) FROM f")
    small.execute("DELETE FROM t WHERE id > 100")
    export = export_arrow if small.file.suffix == ".arrow" else export_parquet
    export(small, "t", small.file, overwrite=True)
    assert small.execute("SELECT count(*) FROM f").fetchone() == (100,)
    small.file.write_bytes(whole)
    assert small.execute("SELECT count(*) FROM f").fetchone() == (500,)


def test_a_file_truncated_under_the_reader(small):
    """An error, no signal: nothing is mapped."""
    with small.transaction(force_rollback=True):
        small.execute("DECLARE c CURSOR FOR SELECT id, x FROM f")
        small.execute("FETCH 1 FROM c")
        with open(small.file, "r+b") as file:
            file.truncate(100)
        with pytest.raises(Exception) as caught:
            small.execute("FETCH ALL FROM c")
        assert str(small.file) in caught.value.diag.message_primary


def test_the_metadata_cache_is_bounded(small, again):
    session = again()

    def stats():
        return dict(
            zip(
                ("files", "bytes", "max_bytes", "hits", "misses", "evicted"),
                session.execute("SELECT * FROM arrow_fdw_metadata_stats()").fetchone(),
            )
        )

    assert set(stats().values()) == {0, 65536 * 1024}
    # What was changed a moment ago is read again.
    eventually(lambda: time.time() > small.file.stat().st_ctime + 4)
    for size in (0, 1, 65536):
        session.execute(f"SET pg_strata.arrow_fdw_metadata_cache_size = {size}")
        before = stats()
        for _ in range(3):
            assert session.execute("SELECT count(*), sum(id) FROM f").fetchone() == (500, 125250)
        after = stats()
        assert after["bytes"] <= after["max_bytes"] == size * 1024
        hits, misses = after["hits"] - before["hits"], after["misses"] - before["misses"]
        assert (after["files"], hits > 0, misses == 1) == ((1, True, True) if size == 65536 else (0, False, False))
