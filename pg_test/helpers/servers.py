"""Servers in a container, and with little room for files."""

import contextlib
import os
import shutil
import signal
import subprocess

import pytest

from ..lab import places
from ..lab.server import Server

SETTINGS = {"shared_buffers": "256MB", "max_connections": "50", "max_prepared_transactions": "2"}


class Contained(Server):
    """A server that sees no process but its own, as in a container."""

    def start(self):
        user = places.server_user()
        if user is None or not shutil.which("unshare") or not shutil.which("setpriv"):
            pytest.skip("a namespace of process ids needs root, unshare and setpriv")
        inner = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        self.prefix = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *inner]
        if subprocess.run([*self.prefix, "true"], capture_output=True).returncode != 0:
            pytest.skip("this system gives no namespace of process ids")
        super().start()

    def stop(self):
        if self.process:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as children:
                os.kill(int(children.read()), signal.SIGINT)
            self.process.wait(30)
        super().stop()


@contextlib.contextmanager
def file_size_limit(server, limit):
    """RLIMIT_FSIZE (less than each process's share of the export) of the postmaster, which every backend started from
    now on inherits."""

    def set_limit(value):
        subprocess.run(
            ["prlimit", f"--pid={server.process.pid}", f"--fsize={value}:unlimited"], check=True, **places.as_server()
        )

    set_limit(limit)
    try:
        yield
    finally:
        set_limit("unlimited")


@contextlib.contextmanager
def small_tmpfs(place, size):
    place = places.fresh(place, 0o755)
    user = places.server_user()
    options = f"size={size},mode=755" + (f",uid={user.pw_uid},gid={user.pw_gid}" if user else "")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
