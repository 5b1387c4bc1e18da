"""One system call fails: every call of every function that writes files, one after the other, by a library in front of
libc.

Either the call fails and all is as it was, or it succeeds and the file is whole: there is nothing between."""

import errno
import os
import shutil

import psycopg
import pytest

from ..helpers.injection import CALLS, REMOVALS, ROWS, rows_of
from ..helpers.support import Background, entries, eventually, raises
from ..lab import places

EXPORTS = {
    "parquet": (
        "export_table_parquet('t', {path}, workers => 2, row_group_rows => 1000, overwrite => true)",
        "t.parquet",
    ),
    "parquet, new": ("export_table_parquet('t', {path}, workers => 0)", "t.parquet"),
    "directory": (
        "export_table_parquet('t', {path}, workers => 2, row_group_rows => 1000, overwrite => true)",
        "parts",
    ),
    "arrow": ("export_table_arrow('t', {path}, workers => 0, overwrite => true)", "t.arrow"),
    "arrow, directory": (
        "export_table_arrow('t', {path}, workers => 2, record_batch_rows => 1000, overwrite => true)",
        "parts",
    ),
    "append": ("export_table_arrow('t', {path}, workers => 0, append => true)", "t.arrow"),
    "query": ("export_query_parquet('SELECT * FROM t', {path}, overwrite => true)", "t.parquet"),
    "query, arrow": ("export_query_arrow('SELECT * FROM t', {path}, overwrite => true)", "t.arrow"),
    "dump": ("copy_binary_dump('t', {path}, overwrite => true)", "t.bin"),
    "vcf": ("import_vcf({vcf}, {path}, overwrite => true)", "t.arrow"),
}
VCF = "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "".join(
    f"1\t{i}\t.\tA\tC\t.\tPASS\t.\n" for i in range(1, ROWS + 1)
)


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()} if path.is_dir() else path.read_bytes()


def outcomes(server, control, directory, export, call, error):
    """Fails each of the call's occurrences in turn; how many there were."""
    sql, name = EXPORTS[export]
    path, vcf = directory / name, directory.parent / "t.vcf"
    sql = f"SELECT rows FROM {sql.format(path=repr(str(path)), vcf=repr(str(vcf)))}"
    number = 0
    while True:
        with server.connect() as db:
            # What a failed removal left, too.
            for found in directory.iterdir():
                shutil.rmtree(found) if found.is_dir() else found.unlink()
            if "new" not in export:
                control.disarm()
                db.execute(sql)
            before = contents(path) if path.exists() else None
            control.arm(call, directory, number, error)
            try:
                assert db.execute(sql).fetchone()[0] == ROWS
                assert rows_of(path) == ROWS * (2 if export == "append" else 1), (call, number)
            except psycopg.Error as failed:
                assert failed.sqlstate in ("58030", "53100", "42501", "XX001"), (call, number, failed)
                assert failed.diag.message_hint, failed
                assert (contents(path) if path.exists() else None) == before, (call, number)
            fired, reached = control.fired, control.reached
            control.disarm()
            assert db.execute("SELECT 1").fetchone() == (1,)
            if call not in REMOVALS:
                assert set(entries(directory)) <= {name}, (call, number)
        if not fired:
            return reached
        number += 1


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("export", EXPORTS)
def test_every_call(faulty, out, export, error):
    server, control = faulty
    (out / "t.vcf").write_text(VCF)
    directory = places.fresh(out / "under", 0o755)
    reached = {call: outcomes(server, control, directory, export, call, error) for call in CALLS}
    # What storage says is heard in every export.
    assert reached["fsync"] >= 2 and reached["sync_file_range"] >= 1 and reached["open64"] >= 2, reached
    assert reached["rename"] + reached["renameat2"] == 1, reached
    assert server.process.poll() is None and "terminated by signal" not in server.log()


def test_an_append_whose_file_is_replaced_before_it_is_locked(faulty, out):
    """The lock of a file that is gone protects nothing: the append begins again with the one that took its place."""
    server, control = faulty
    path = out / "t.arrow"
    sql = f"SELECT rows FROM export_table_arrow('t', '{path}', append => true)"
    with server.connect() as one, server.connect() as other:
        one.execute(sql)
        control.arm("flock", out, 0, -1500)
        slow = Background(lambda: one.execute(sql).fetchone()[0])
        eventually(lambda: control.fired)
        assert other.execute(sql).fetchone()[0] == ROWS
        assert slow.result() == ROWS
    control.disarm()
    assert rows_of(path) == 3 * ROWS and entries(out) == ["t.arrow"]


OVERWRITE = "SELECT rows FROM export_table_parquet('t', '{}', overwrite => true, workers => 0)"


@pytest.mark.parametrize("what", ["file", "part", "nested", "replaced by a file", "replaced by a link"])
def test_a_directory_that_changes_while_it_is_overwritten(faulty, out, what):
    """Nothing that an export did not write is removed, whenever it came."""
    server, control = faulty
    path = out / "parts"
    with server.connect() as db:
        db.execute(OVERWRITE.format(path))
        before = contents(path)
        control.arm("renameat2", out, 0, -1500)
        slow = Background(lambda: db.execute(OVERWRITE.format(path)))
        eventually(lambda: control.fired)
        if what == "file":
            (path / "notes.txt").write_text("mine")
        elif what == "part":
            (path / "part-99999.parquet").write_text("mine")
        elif what == "nested":
            (path / "part-99999.parquet").mkdir()
        else:
            path.rename(out.parent / f"{out.name}.aside")
            path.symlink_to("/nowhere") if what.endswith("link") else path.write_text("mine")
        with raises("58P02" if "replaced" not in what else "42809"):
            slow.result()
    control.disarm()
    assert entries(out) == ["parts"]
    if what == "replaced by a file":
        assert path.read_text() == "mine"
    elif what == "replaced by a link":
        assert os.readlink(path) == "/nowhere"
    else:
        assert before.items() <= {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}.items()
        assert len(entries(path)) == len(before) + 1
    shutil.rmtree(out.parent / f"{out.name}.aside", ignore_errors=True)


def test_a_directory_of_another_program_is_not_overwritten(faulty, out):
    server, _ = faulty
    path = out / "parts"
    path.mkdir()
    (path / "_SUCCESS").write_text("")
    (path / "part-00000.parquet").write_text("theirs")
    with server.connect() as db, raises("58P02"):
        db.execute(OVERWRITE.format(path))
    assert (path / "part-00000.parquet").read_text() == "theirs"


def test_a_failure_after_the_rename_is_a_warning(faulty, out):
    """The export is in place then: the call must not say that it failed."""
    server, control = faulty
    for name, syncs in (("t.parquet", 1), ("parts", 3)):
        with server.connect() as db:
            notices = []
            db.add_notice_handler(lambda notice: notices.append(notice.severity))
            control.arm("fsync", out, syncs, errno.EIO)
            assert db.execute(OVERWRITE.format(out / name)).fetchone()[0] == ROWS
            assert control.fired == 1 and notices == ["WARNING"], (control.reached, notices)
            control.disarm()
        assert rows_of(out / name) == ROWS


def test_a_cancel_after_the_rename_is_too_late(faulty, out):
    server, control = faulty
    with server.connect() as db, server.connect() as other:
        control.arm("fsync", out, 1, -700)
        slow = Background(lambda: db.execute(OVERWRITE.format(out / "t.parquet")).fetchone()[0])
        eventually(lambda: control.fired)
        other.execute("SELECT pg_cancel_backend(%s)", (db.info.backend_pid,))
        assert slow.result() == ROWS
        control.disarm()
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_a_directory_that_may_be_written_and_not_read(faulty, out):
    server, _ = faulty
    (out / "drop").mkdir()
    places.fresh(out / "drop", 0o333)
    with server.connect() as db:
        assert db.execute(OVERWRITE.format(out / "drop" / "t.parquet")).fetchone()[0] == ROWS
    (out / "drop").chmod(0o755)


@pytest.mark.parametrize("kind", ["file", "append", "directory"])
def test_mode_and_group_are_kept(faulty, out, kind):
    server, _ = faulty
    path = out / {"file": "t.parquet", "append": "t.arrow", "directory": "parts"}[kind]
    sql = f"SELECT export_table_arrow('t', '{path}', append => true)" if kind == "append" else OVERWRITE.format(path)
    mode = 0o2750 if kind == "directory" else 0o640
    with server.connect() as db:
        db.execute(sql)
        path.chmod(mode)
        if os.geteuid() == 0:
            os.chown(path, -1, places.server_user().pw_gid)
        before = path.stat()
        db.execute(sql)
    after = path.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode & 0o7777, after.st_gid, after.st_uid) == (mode, before.st_gid, before.st_uid)


def test_a_private_files_successor_is_private_from_the_start(faulty, out):
    server, control = faulty
    path = out / "t.arrow"
    sql = f"SELECT export_table_arrow('t', '{path}', append => true)"
    with server.connect() as db:
        db.execute(sql)
        path.chmod(0o600)
        control.arm("sync_file_range", out, 0, -500)
        slow = Background(lambda: db.execute(sql))
        eventually(lambda: control.fired)
        temporary = next(file for file in out.iterdir() if file != path)
        assert temporary.stat().st_mode & 0o077 == 0
        slow.result()
        control.disarm()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_data_directory_is_for_superusers(faulty, out):
    server, _ = faulty
    with server.connect() as db:
        db.execute(
            "DROP ROLE IF EXISTS plain; CREATE ROLE plain; GRANT pg_write_server_files TO plain; "
            "GRANT SELECT ON t TO plain; SET ROLE plain"
        )
        with raises("42501"):
            db.execute(OVERWRITE.format(server.data / "pg_twophase"))
        with raises("42501"):
            db.execute(OVERWRITE.format(server.data / "t.parquet"))


def test_an_append_does_not_follow_a_link(faulty, out):
    server, _ = faulty
    with server.connect() as db:
        db.execute(f"SELECT export_table_arrow('t', '{out}/real.arrow')")
        (out / "t.arrow").symlink_to(out / "real.arrow")
        with raises("42809"):
            db.execute(f"SELECT export_table_arrow('t', '{out}/t.arrow', append => true)")
