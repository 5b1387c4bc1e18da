"""System calls of a server that fail on demand: the library of faults.c in front of libc, and the page that steers
it."""

import contextlib
import ctypes
import mmap
import os
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..lab import places

CALLS = [
    "write",
    "writev",
    "pwrite64",
    "pread64",
    "read",
    "copy_file_range",
    "sendfile64",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "ftruncate64",
    "fallocate",
    "fchmod",
    "fchown",
    "fgetxattr",
    "fsetxattr",
    "flock",
    "fstat64",
    "lseek64",
    "chmod",
    "mkdir",
    "open64",
    "openat64",
    "opendir",
    "fdopendir",
    "readdir64",
    "stat64",
    "lstat64",
    "statx",
    "rename",
    "renameat2",
    "linkat",
    "unlink",
    "unlinkat",
    "rmdir",
]
# What does not leave behind what it was to remove cannot be asked of these.
REMOVALS = (
    "unlink",
    "unlinkat",
    "rmdir",
    "openat64",
    "opendir",
    "fdopendir",
    "readdir64",
    "fstat64",
    "stat64",
    "lstat64",
    "statx",
)


ROWS = 3000  # of the table t of such a server


class Control(ctypes.Structure):
    """As in faults.c."""

    _fields_ = [
        ("call", ctypes.c_char * 32),
        ("under", ctypes.c_char * 256),
        ("error", ctypes.c_int),
        ("left", ctypes.c_int),
        ("fired", ctypes.c_int),
        ("reached", ctypes.c_int),
    ]

    def arm(self, call, under, number, error):
        """Lets the call of that number, from 0, of those below a directory fail; an error below 0 is a pause in
        milliseconds."""
        self.call, self.under, self.error, self.left, self.fired, self.reached = (
            b"",
            str(under).encode(),
            error,
            number,
            0,
            0,
        )
        self.call = call.encode()

    def disarm(self):
        self.call = b""


@contextlib.contextmanager
def injected(name):
    """The environment of a server whose calls can be made to fail, and the control of them."""
    place = places.fresh(places.scratch(name), 0o755)
    library, page = place / "faults.so", place / "control"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(
        [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-w", str(source), "-o", str(library), "-ldl"],
        check=True,
    )
    page.write_bytes(bytes(ctypes.sizeof(Control)))
    page.chmod(0o666)
    with open(page, "r+b") as file:
        yield (
            {"LD_PRELOAD": str(library), "PG_STRATA_FAULTS": str(page)},
            Control.from_buffer(mmap.mmap(file.fileno(), 0)),
        )


def prepare(server):
    with server.connect() as db:
        db.execute("CREATE EXTENSION pg_strata")
        db.execute(f"CREATE TABLE t AS SELECT i, 'text ' || i AS s FROM generate_series(1, {ROWS}) i")


def rows_of(path):
    """The number of rows in a file or directory that an export of t made, in any format."""
    if path.is_dir():
        assert (path / "_SUCCESS").is_file()
        return sum(rows_of(file) for file in path.glob("part-*"))
    if path.suffix == ".parquet":
        return pq.read_table(path).num_rows
    if path.suffix == ".arrow":
        return pa.ipc.open_file(path).read_all().num_rows
    data = path.read_bytes()
    assert data.startswith(b"PGCOPY") and data.endswith(b"\xff\xff")
    return data.count(b"text ")
