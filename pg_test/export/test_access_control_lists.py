"""Access control lists: those of what an export replaces, and those that a directory gives to what is made in it."""

import os
import struct

import pytest

from ..helpers.support import export
from ..lab import places

pytestmark = pytest.mark.fast

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER_OBJ, USER, GROUP_OBJ, MASK, OTHER = 1, 2, 4, 16, 32
SOMEBODY = 4321
EXPORTS = {
    "file": ("SELECT export_table_parquet('t', '{}', overwrite => true)", "t.parquet"),
    "directory": ("SELECT export_table_parquet('t', '{}', overwrite => true)", "parts"),
    "append": ("SELECT export_table_arrow('t', '{}', append => true)", "t.arrow"),
}
every_export = pytest.mark.parametrize("kind", EXPORTS)


def acl(user, group, other, somebody=None, mask=0):
    """A list as Linux stores it (acl(5)): of owner, group and others, and of one more user."""
    entries = [
        (USER_OBJ, user, -1),
        *([(USER, somebody, SOMEBODY)] if somebody is not None else []),
        (GROUP_OBJ, group, -1),
        *([(MASK, mask, -1)] if somebody is not None else []),
        (OTHER, other, -1),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def give(path, name, value):
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"the file system has no access control lists: {error}")


def lists(path):
    return {name: os.getxattr(path, name) for name in os.listxattr(path) if name in (ACCESS, DEFAULT)}


@pytest.fixture
def table(db):
    db.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i")
    return db


def made(db, out, kind):
    sql, name = EXPORTS[kind]
    db.execute(sql.format(out / name))
    return out / name


@every_export
def test_the_successor_has_the_lists(table, out, kind):
    path = made(table, out, kind)
    give(path, ACCESS, acl(7, 0, 0, somebody=6, mask=6))
    if kind == "directory":
        give(path, DEFAULT, acl(7, 5, 0, somebody=5, mask=5))
    before = path.stat(), lists(path)
    assert made(table, out, kind).stat().st_ino != before[0].st_ino
    assert lists(path) == before[1] and len(before[1]) == (2 if kind == "directory" else 1)
    assert path.stat().st_mode == before[0].st_mode


@every_export
def test_the_successor_has_no_list_of_its_directory(table, out, kind):
    """Nobody can read it who could not read what it replaced."""
    path = made(table, out, kind)
    give(out, DEFAULT, acl(7, 7, 5, somebody=7, mask=7))
    path.chmod(0o750 if kind == "directory" else 0o640)
    made(table, out, kind)
    assert lists(path) == {} and path.stat().st_mode & 0o777 == (0o750 if kind == "directory" else 0o640)


@every_export
def test_new_files_have_the_lists_of_their_directory(table, out, kind):
    """As those of COPY have: the server's umask and the usual mode give nobody more."""
    give(out, DEFAULT, acl(7, 5, 0, somebody=7, mask=7))
    path = made(table, out, kind)
    table.execute(f"COPY t TO '{out}/copied'")
    copied = lists(out / "copied")
    assert copied[ACCESS] == acl(6, 5, 0, somebody=7, mask=6)
    for file in path.iterdir() if kind == "directory" else [path]:
        assert lists(file) == copied
    if kind == "directory":
        assert lists(path) == {ACCESS: acl(7, 5, 0, somebody=7, mask=7), DEFAULT: acl(7, 5, 0, somebody=7, mask=7)}


def test_a_list_of_what_the_server_cannot_read(table, out):
    """The mode's group bits say what the list allows at most: without the list they would be the group's."""
    if places.server_user() is None:
        pytest.skip("takes a file that is not the server's")
    path = made(table, out, "file")
    give(path, ACCESS, acl(6, 0, 0, somebody=6, mask=6))
    os.chown(path, 0, 0)
    before = lists(path)
    assert export(table, "t", path, overwrite=True).rows == 1000
    assert lists(path) == before and path.stat().st_mode & 0o777 == 0o660
