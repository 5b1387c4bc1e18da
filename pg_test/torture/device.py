"""A device that loses what is written to it: an ext4 in a sparse file whose own file system is full."""

import contextlib
import subprocess
from dataclasses import replace
from pathlib import Path

import psycopg

from ..lab import places
from .arena import Finding, must
from .checks import check_error, check_rows

SIZE = 256 << 20
BACKING = "24m"


def quietly(*command):
    return subprocess.run([*map(str, command)], capture_output=True, text=True)


class Skipped(Exception):
    """Why there is no such device here."""


@contextlib.contextmanager
def failing(place):
    """An ext4, mounted, on a loop device in a small tmpfs; how much the tmpfs has left is the caller's to take."""
    backing, mounted = places.fresh(place / "backing"), places.fresh(place / "mounted", 0o755)
    image = backing / "image"
    if quietly("mount", "-t", "tmpfs", "-o", f"size={BACKING},mode=755", "tmpfs", backing).returncode:
        raise Skipped("mounting needs root")
    try:
        with open(image, "wb") as file:
            file.truncate(SIZE)
        if quietly(
            "mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=0,root_owner=" + owner(), image
        ).returncode:
            raise Skipped("there is no mkfs.ext4")
        found = quietly("losetup", "--find", "--show", image)
        if found.returncode:
            raise Skipped("there is no loop device")
        device = found.stdout.strip()
        try:
            if quietly("mount", "-t", "ext4", "-o", "errors=continue", device, mounted).returncode:
                raise Skipped("the loop device cannot be mounted")
            try:
                yield backing, mounted
            finally:
                quietly("umount", "-l", mounted)
        finally:
            quietly("losetup", "-d", device)
    finally:
        quietly("umount", "-l", backing)


def owner():
    user = places.server_user()
    return f"{user.pw_uid}:{user.pw_gid}" if user else "0:0"


def fill(backing):
    """Takes all that is left: writes to the device get no room from here on."""
    with contextlib.suppress(OSError), open(backing / "filler", "wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))


def drop_caches():
    subprocess.run(["sync"], check=False)
    Path("/proc/sys/vm/drop_caches").write_text("3")


NAMES = (
    "parquet large",
    "arrow large",
    "query large",
    "dump large",
    "directory large",
    "append",
    "parquet small",
    "arrow directory",
    "query arrow",
    "vcf",
)


def run(arena, exports=100):
    """Exports onto the device while it fills up; how many reported what, after caches are dropped, is held against the
    files."""
    counts = {"done": 0, "refused": 0, "false": 0}
    try:
        number = 0
        while number < exports:
            with failing(places.fresh(places.scratch("device"), 0o755)) as (backing, mounted):
                number = rounds(arena, backing, mounted, number, exports, counts)
    except Skipped as why:
        return f"skipped: {why}"
    must(counts["false"] == 0, f"{counts['false']} of {exports} reported success over damage")
    return (
        f"{exports} exports onto a failing device: {counts['done']} succeeded, {counts['refused']} failed, "
        f"0 reported success over damage"
    )


def rounds(arena, backing, mounted, number, exports, counts):
    """Some exports onto one device: the first before it is full, the others after."""
    for turn, name in enumerate(NAMES):
        if number == exports:
            break
        if turn == number // len(NAMES) % 3:
            fill(backing)
        call = arena.calls[name]
        call = replace(call, target=mounted / f"{number % 7}-{call.target.name}")
        with arena.server.connect() as db:
            try:
                db.execute(call.text(number % 3))
                failed = None
            except psycopg.Error as error:
                failed = error
        drop_caches()
        if failed is None:
            counts["done"] += 1
            counts["false"] += not is_right(arena, call)
        else:
            check_error(failed)
            must(failed.sqlstate in ("58030", "53100"), failed)
            counts["refused"] += 1
        number += 1
    return number


def is_right(arena, call):
    try:
        if call.target.suffix == ".bin":
            return call.target.read_bytes() == arena.dumps[call.target.name.split("-", 1)[1]]
        check_rows(arena, call)
        return True
    except (Finding, OSError, ValueError):
        return False
