"""System calls of a server that fail on demand: the library of faults.c in front of libc, and the page that steers it."""

import contextlib
import ctypes
import mmap
import os
import subprocess
from pathlib import Path

from ..lab import places

CALLS = ["write", "writev", "pwrite64", "pread64", "read", "copy_file_range", "sendfile64", "fsync", "fdatasync", "sync_file_range", "ftruncate64", "fallocate",
         "fchmod", "fchown", "fgetxattr", "fsetxattr", "flock", "fstat64", "lseek64", "chmod", "mkdir", "open64", "openat64", "opendir", "fdopendir", "readdir64",
         "stat64", "lstat64", "statx", "rename", "renameat2", "linkat", "unlink", "unlinkat", "rmdir"]
# What does not leave behind what it was to remove cannot be asked of these.
REMOVALS = ("unlink", "unlinkat", "rmdir", "openat64", "opendir", "fdopendir", "readdir64", "fstat64", "stat64", "lstat64", "statx")


class Control(ctypes.Structure):
    """As in faults.c."""

    _fields_ = [("call", ctypes.c_char * 32), ("under", ctypes.c_char * 256), ("error", ctypes.c_int), ("left", ctypes.c_int),
                ("fired", ctypes.c_int), ("reached", ctypes.c_int)]

    def arm(self, call, under, number, error):
        """Lets the call of that number, from 0, of those below a directory fail; an error below 0 is a pause in milliseconds."""
        self.call, self.under, self.error, self.left, self.fired, self.reached = b"", str(under).encode(), error, number, 0, 0
        self.call = call.encode()

    def disarm(self):
        self.call = b""


@contextlib.contextmanager
def injected(name):
    """The environment of a server whose calls can be made to fail, and the control of them."""
    place = places.fresh(places.home() / name, 0o755)
    library, page = place / "faults.so", place / "control"
    source = Path(__file__).with_name("faults.c")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-w", str(source), "-o", str(library), "-ldl"], check=True)
    page.write_bytes(bytes(ctypes.sizeof(Control)))
    page.chmod(0o666)
    with open(page, "r+b") as file:
        yield {"LD_PRELOAD": str(library), "PG_STRATA_FAULTS": str(page)}, Control.from_buffer(mmap.mmap(file.fileno(), 0))
