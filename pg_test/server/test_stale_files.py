"""Temporary files that a crash left, and those that are in use: by a lock on the file beside them, whoever has it and
wherever it runs."""

import errno
import fcntl
import os
import signal

import psycopg
import pytest

from ..helpers.injection import ROWS, rows_of
from ..helpers.servers import Contained
from ..helpers.support import Background, entries, eventually
from ..lab import places

EXPORTS = {
    "file": ("export_table_parquet('t', '{}', overwrite => true, workers => 0)", "t.parquet"),
    "directory": ("export_table_parquet('t', '{}', overwrite => true, workers => 0)", "parts"),
    "append": ("export_table_arrow('t', '{}', append => true, workers => 0)", "t.arrow"),
    "dump": ("copy_binary_dump('t', '{}', overwrite => true)", "t.bin"),
}
DIGITS = "0123456789abcdef"
every_export = pytest.mark.parametrize("kind", EXPORTS)


def call(connection, kind, out):
    sql, name = EXPORTS[kind]
    return connection.execute(f"SELECT rows FROM {sql.format(out / name)}").fetchone()[0]


def owned(path):
    if user := places.server_user():
        os.chown(path, user.pw_uid, user.pw_gid)
    return path


def leave(out, kind, last=DIGITS):
    """What a killed export leaves: the temporary file or directory. The name without its lock file's ending."""
    path = out / f".{EXPORTS[kind][1]}.pg_strata.{last}"
    if kind == "directory":
        path.mkdir()
        (path / "part-00000.parquet").write_text("half of it")
        owned(path / "part-00000.parquet")
    else:
        path.write_text("half of it")
    return owned(path)


def locked(path):
    """The file beside it whose lock its export had."""
    lock = path.with_name(path.name + ".lock")
    lock.touch()
    return owned(lock)


def temporaries(out):
    return [name for name in entries(out) if name.startswith(".")]


@pytest.fixture
def table(faulty):
    server, control = faulty
    with server.connect() as connection:
        yield connection
    control.disarm()


@every_export
def test_what_a_crash_left_is_removed(table, out, kind):
    locked(leave(out, kind))
    locked(out / f".{EXPORTS[kind][1]}.pg_strata.{DIGITS[::-1]}")
    assert call(table, kind, out) == ROWS
    assert entries(out) == [EXPORTS[kind][1]]


@every_export
def test_what_is_locked_stays(table, out, kind):
    """As by an export in another container: no process of this server has the lock."""
    path = leave(out, kind)
    with open(locked(path)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert call(table, kind, out) == ROWS
        assert temporaries(out) == [path.name, path.name + ".lock"]
    assert call(table, kind, out) == ROWS
    assert temporaries(out) == []


@every_export
def test_names_without_a_lock_file_hinder_nobody(table, out, kind):
    """Those of earlier versions, with the backend's own process id or one that is another's, and of file systems
    without locks."""
    names = [leave(out, kind, last).name for last in (str(table.info.backend_pid), "1", DIGITS)]
    assert call(table, kind, out) == ROWS and call(table, kind, out) == ROWS
    assert temporaries(out) == sorted(names)


@every_export
def test_a_running_exports_files_stay(faulty, table, out, kind):
    """Two exports to one target at once: each has a name of its own, and neither takes the other's for stale."""
    server, control = faulty
    if kind == "append":
        pytest.skip("a second append is refused")
    with server.connect() as other:
        control.arm("sync_file_range", out, 0, -1500)
        slow = Background(lambda: call(other, kind, out))
        eventually(lambda: control.fired)
        before = temporaries(out)
        assert call(table, kind, out) == ROWS
        assert temporaries(out) == before != [] and not slow.ended
        assert slow.result() == ROWS
    assert entries(out) == [EXPORTS[kind][1]] and rows_of(out / EXPORTS[kind][1]) == ROWS


@every_export
def test_a_killed_leaders_files_are_removed(faulty, out, kind):
    server, control = faulty
    connection = server.connect()
    crashes = server.log().count("reinitializing")
    control.arm("sync_file_range", out, 0, -5000)
    killed = Background(lambda: call(connection, kind, out))
    eventually(lambda: control.fired)
    os.kill(connection.info.backend_pid, signal.SIGKILL)
    with pytest.raises(psycopg.OperationalError):
        killed.result()
    control.disarm()
    eventually(lambda: server.log().count("reinitializing") > crashes, 30)
    server.wait()
    assert any(name.endswith(".lock") for name in temporaries(out))
    with server.connect() as again:
        assert call(again, kind, out) == ROWS
    assert entries(out) == [EXPORTS[kind][1]]


@pytest.mark.parametrize("how", ["removed", "locked"])
def test_a_lock_file_that_is_taken_before_it_is_locked(faulty, table, out, how):
    """Between making and locking it another export may take it for stale; then another name is tried."""
    server, control = faulty
    with server.connect() as other:
        control.arm("flock", out, 0, -1500)
        slow = Background(lambda: call(other, "file", out))
        eventually(lambda: control.fired)
        (taken,) = temporaries(out)
        if how == "removed":
            assert call(table, "file", out) == ROWS
            assert temporaries(out) == []
            assert slow.result() == ROWS
        else:
            with open(out / taken) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                assert slow.result() == ROWS
                assert temporaries(out) == [taken], "it is the other's"
                (out / taken).unlink()
    assert entries(out) == ["t.parquet"] and rows_of(out / "t.parquet") == ROWS


def test_file_systems_without_locks(faulty, table, out):
    """An export works there, and removes nothing by guess."""
    _, control = faulty
    for error in (errno.ENOLCK, errno.EOPNOTSUPP):
        control.arm("flock", out, 0, error)
        assert call(table, "file", out) == ROWS
        assert control.fired and entries(out) == ["t.parquet"]
    path = leave(out, "file")
    locked(path)
    control.arm("flock", out, 0, errno.ENOLCK)
    assert call(table, "file", out) == ROWS
    assert control.fired and temporaries(out) == [path.name, path.name + ".lock"]


@pytest.mark.parametrize("what", ["export", "export with a file", "file", "link"])
def test_what_was_to_be_replaced_stays_if_it_is_no_exports(table, out, what):
    """A crash between exchanging the directories and removing the old one, which the lock file says: it is removed as
    an overwrite would do it."""
    assert call(table, "directory", out) == ROWS
    path = out / f".parts.pg_strata.{DIGITS}"
    locked(path).write_text("\0")
    if what.startswith("export"):
        (out / "parts").rename(path)
        if what.endswith("file"):
            (path / "notes.txt").write_text("mine")
    elif what == "file":
        path.write_text("mine")
    else:
        path.symlink_to(out / "parts")

    def there():
        return os.readlink(path) if path.is_symlink() else entries(path) if path.is_dir() else path.read_text()

    before = there() if what != "export" else None
    assert call(table, "directory", out) == ROWS
    assert rows_of(out / "parts") == ROWS
    if what == "export":
        assert temporaries(out) == []
    else:
        assert temporaries(out) == [path.name, path.name + ".lock"]
        assert there() == before


def test_containers_that_share_a_directory(faulty, table, out, installation):
    """Neither server sees the other's processes; each sees the other's locks."""
    with Contained(installation, "contained") as contained, contained.connect() as inside:
        inside.execute(
            f"CREATE EXTENSION pg_strata; "
            f"CREATE TABLE t AS SELECT i, 'text ' || i AS s FROM generate_series(1, {ROWS}) i"
        )
        assert inside.info.backend_pid < table.info.backend_pid
        _, control = faulty
        for kind in ("file", "directory"):
            control.arm("sync_file_range", out, 0, -1500)
            slow = Background(lambda: call(table, kind, out))
            eventually(lambda: control.fired)
            before = temporaries(out)
            assert call(inside, kind, out) == ROWS
            assert temporaries(out) == before != [] and not slow.ended
            assert slow.result() == ROWS
            assert rows_of(out / EXPORTS[kind][1]) == ROWS
    assert temporaries(out) == []


def test_file_systems_whose_rename_always_replaces(faulty, table, out):
    """A new file is linked under its name there, and its temporary name goes."""
    _, control = faulty
    control.arm("renameat2", out, 0, errno.EINVAL)
    assert table.execute(f"SELECT rows FROM export_table_parquet('t', '{out}/t.parquet')").fetchone()[0] == ROWS
    assert control.fired and entries(out) == ["t.parquet"] and rows_of(out / "t.parquet") == ROWS
