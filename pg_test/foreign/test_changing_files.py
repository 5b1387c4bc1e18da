"""Files that change while they are read, or between two queries: one result is of one file, and what is known of a file
is of no other."""

import os
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers.foreign import FORMATS, PARALLEL, foreign
from ..helpers.support import eventually, raises

ROWS, GROUP = 12_000, 6000


def content(kind, path, shift, rows=ROWS, group=GROUP):
    """A file of the numbers from `shift` on, in groups, and as long as that of any other shift."""
    table = pa.table({"x": pa.array(range(shift, shift + rows), pa.int64())})
    if kind == "arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, group)
    else:
        pq.write_table(table, path, row_group_size=group, compression="none", use_dictionary=False)
    return path.read_bytes()


class Changing:
    """A file of which another version of the same size can be written into its place."""

    def __init__(self, kind, directory, **options):
        self.path = directory / f"t.{kind}"
        self.other = content(kind, self.path, 1_000_000, **options)
        self.path.unlink()
        self.first = content(kind, self.path, 0, **options)
        assert len(self.first) == len(self.other)

    def rewrite(self, bytes_=None):
        """In place, with the times set back."""
        before = self.path.stat()
        with open(self.path, "r+b") as file:
            file.write(self.other if bytes_ is None else bytes_)
        os.utime(self.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = self.path.stat()
        assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)


@pytest.fixture(params=FORMATS)
def changing(request, db, out):
    file = Changing(request.param, out)
    foreign(db, "f", "x int8", file=file.path)
    return file


def changed():
    return raises("55000")


@pytest.mark.parametrize(
    "query",
    (
        "SELECT x FROM f",
        "SELECT x FROM f WHERE x % 2 = 0",
        "SELECT 1 FROM f",
        "SELECT n FROM generate_series(1, 9) y, LATERAL (SELECT count(*) AS n FROM f WHERE x > y OFFSET 0) l",
    ),
)
def test_rewritten_in_place_behind_a_cursor(db, changing, query):
    """Rows of the old file that are there already are returned, and then none of the new one."""
    with db.transaction(force_rollback=True):
        db.execute(f"SET LOCAL enable_material = off; DECLARE c CURSOR FOR {query}")
        assert len(db.execute("FETCH 1 FROM c").fetchall()) == 1
        changing.rewrite()
        with changed() as caught:
            db.execute("FETCH ALL FROM c")
        assert str(changing.path) in caught.value.diag.message_primary and caught.value.diag.message_detail
    assert db.execute("SELECT min(x), max(x) FROM f").fetchone() == (1_000_000, 1_000_000 + ROWS - 1)


def test_groups_that_are_left_out_of_a_rewritten_file(db, changing):
    """The second group is left out by what was known of the old file, whose rows were not those of the new one."""
    with db.transaction(force_rollback=True):
        db.execute("DECLARE c CURSOR FOR SELECT x FROM f WHERE x < 5000 OR x > 900000")
        db.execute("FETCH 1 FROM c")
        changing.rewrite()
        with changed():
            db.execute("FETCH ALL FROM c")


def test_replaced_behind_a_cursor(db, changing, out):
    """The old file is read to its end: the name is the new one's, and the bytes are still there."""
    with db.transaction(force_rollback=True):
        db.execute("DECLARE c CURSOR FOR SELECT x FROM f")
        db.execute("FETCH 1 FROM c")
        (out / "new").write_bytes(changing.other)
        (out / "new").rename(changing.path)
        assert [x for (x,) in db.execute("FETCH ALL FROM c").fetchall()] == list(range(1, ROWS))
    assert db.execute("SELECT min(x) FROM f").fetchone() == (1_000_000,)


def test_what_is_known_of_a_file_is_of_no_other(db, changing):
    """Statistics and places of the old file would leave out all rows, or count others."""
    db.execute(
        "PREPARE q (int8) AS SELECT count(*), sum(x) FROM f WHERE x >= $1; SET plan_cache_mode = force_generic_plan"
    )
    expected = (ROWS, sum(range(1_000_000, 1_000_000 + ROWS)))
    for _ in range(3):
        assert db.execute("EXECUTE q (1000000)").fetchone() == (0, None)
        assert db.execute("SELECT count(*) FROM f WHERE x < 1000000").fetchone() == (ROWS,)
        changing.rewrite()
        assert db.execute("EXECUTE q (1000000)").fetchone() == expected
        assert db.execute("SELECT count(*) FROM f WHERE x < 1000000").fetchone() == (0,)
        assert (
            db.execute(
                "SELECT sum(x) FROM read_parquet(%s) AS t(x int8) WHERE x >= 1000000", (str(changing.path),)
            ).fetchone()
            == expected[1:]
        )
        changing.rewrite(changing.first)


def test_a_file_that_is_known_for_long(db, changing, again):
    """Also where the metadata is trusted: the file was as it is for some seconds."""
    session = again()

    def hits():
        return session.execute("SELECT hits FROM arrow_fdw_metadata_stats()").fetchone()[0]

    def is_trusted():
        before = hits()
        assert session.execute("SELECT count(*) FROM f WHERE x >= 1000000").fetchone() == (0,)
        return hits() > before

    eventually(is_trusted, 30)
    changing.rewrite()
    assert session.execute("SELECT count(*) FROM f WHERE x >= 1000000").fetchone() == (ROWS,)
    assert session.execute("SELECT files FROM arrow_fdw_metadata_stats()").fetchone() == (1,)


def test_rewritten_in_place_under_workers(db, out, again):
    """Whoever reads a group compares the file with the one that the leader listed."""
    file = Changing("parquet", out, rows=8000, group=20)
    foreign(db, "f", "x int8", file=file.path, parallel_workers=2)
    session = again()
    session.execute(f"{PARALLEL}; SET max_parallel_workers_per_gather = 2")
    found = []

    def run():
        try:
            found.append(session.execute("SELECT count(*), sum(x) FROM f WHERE pg_sleep(0.002) IS NOT NULL").fetchall())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    workers = (
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker' AND leader_pid = %s "
        "AND wait_event = 'PgSleep'"
    )
    eventually(lambda: db.execute(workers, (session.info.backend_pid,)).fetchone()[0] == 2, 30)
    file.rewrite()
    thread.join()
    assert getattr(found[0], "sqlstate", None) == "55000", found


def test_a_vcf_file_that_changes(db, out):
    """Meanwhile a line is added: nothing is published."""
    path = out / "t.vcf"
    lines = "".join(f"1\t{at}\t.\tA\tC\t.\t.\tX={at}\n" for at in range(1, 300_000))
    names = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    path.write_text('##fileformat=VCFv4.3\n##INFO=<ID=X,Number=1,Type=Integer,Description="x">\n' + names + lines)
    found = []

    def run():
        with raises("55000") as caught:
            db.execute(f"SELECT import_vcf('{path}', '{out}/t.arrow')")
        found.append(caught.value)

    thread = threading.Thread(target=run)
    thread.start()
    eventually(lambda: len(list(out.iterdir())) > 1)  # the temporary file
    with open(path, "a") as file:
        file.write("1\t1\t.\tA\tC\t.\t.\tX=1\n")
    thread.join()
    assert str(path) in found[0].diag.message_primary
    assert [file.name for file in out.iterdir()] == ["t.vcf"]


# What takes long, or unpacks to much


def peak(connection):
    """Kilobytes of memory that the session's process has had at once."""
    status = Path(f"/proc/{connection.info.backend_pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def shorten(path, size, stated):
    """Has the header of a page that unpacks to `size` bytes say that it does to `stated`."""

    def varint(number):
        out = bytearray()
        number *= 2
        for _ in range(5):
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out[-1] &= 0x7F
        return bytes(out)

    whole = path.read_bytes()
    assert whole.count(varint(size)) == 1
    path.write_bytes(whole.replace(varint(size), varint(stated)))


@pytest.mark.parametrize("codec", ("gzip", "brotli", "zstd"))
def test_a_page_that_unpacks_to_more_than_it_says(db, out, again, codec):
    """Half a gigabyte from a page of one megabyte: an error before there is memory for it."""
    size = 500_000_000
    path = out / "t.parquet"
    table = pa.table({"x": pa.array(["a" * size])}, schema=pa.schema([pa.field("x", pa.string(), nullable=False)]))
    pq.write_table(table, path, compression=codec, use_dictionary=False, write_statistics=False)
    shorten(path, size + 4, 1_000_000)
    session = again()
    session.execute("SELECT count(*) FROM pg_class")
    before = peak(session)
    with raises("HV000") as caught:
        session.execute(f"SELECT length(x) FROM read_parquet('{path}') AS t(x text)")
    assert "unpack" in caught.value.diag.message_detail or "buffer" in caught.value.diag.message_detail
    assert peak(session) - before < 150_000


@pytest.mark.parametrize("codec", ("gzip", "brotli", "zstd", "snappy", "lz4", "none"))
def test_a_cancelled_page_is_no_damage(db, out, again, codec):
    """Inside of the decoder, too, a cancel is one."""
    path = out / "t.parquet"
    values = [f"{at} " * 3_000_000 for at in range(20, 26)]
    pq.write_table(pa.table({"x": values}), path, compression=codec, use_dictionary=False, write_statistics=False)
    session = again()
    query = f"SELECT max(length(x)) FROM read_parquet('{path}') AS t(x text)"
    assert session.execute(query).fetchone() == (9_000_000,)
    for milliseconds in (1, 2, 4, 8, 16, 32, 64):
        session.execute(f"SET statement_timeout = {milliseconds}")
        try:
            assert session.execute(query).fetchone() == (9_000_000,)
        except Exception as error:
            assert error.sqlstate == "57014", error
