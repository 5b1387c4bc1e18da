"""Where things live, and as whom servers run. PostgreSQL refuses root: then a plain system user runs it."""

import functools
import hashlib
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target"


def fail(message):
    sys.exit(f"pg_strata: {message}")


def run(command, **options):
    """Runs a program that has to succeed and says itself why it does not."""
    done = subprocess.run([*map(str, command)], text=True, **options)
    if done.returncode:
        fail(f"{shlex.join(map(str, command))} failed with exit status {done.returncode}")
    return done


def say(message):
    print(f"-- {message}", flush=True)


def writable(path):
    """Whether a directory can be written to, or made, by its nearest parent that exists."""
    return os.access(next(place for place in (path, *path.parents) if place.exists()), os.W_OK)


@functools.cache
def server_user():
    """The passwd entry that servers run as; None when that is simply the caller."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    fail("running as root, and there is neither a user postgres nor nobody to run the server")


def as_server():
    """Keyword arguments that make subprocess run a program as the server's user."""
    user = server_user()
    return dict(user=user.pw_uid, group=user.pw_gid, extra_groups=[]) if user else {}


@functools.cache
def home():
    """Holds servers, clusters and exported files: target/, or a directory under /var/tmp when the
    server's user cannot reach the checkout (one in /root, say)."""
    TARGET.mkdir(exist_ok=True)
    reach = subprocess.run(["test", "-x", str(TARGET), "-a", "-r", str(TARGET)], cwd="/", **as_server())
    if reach.returncode == 0:
        return TARGET
    digest = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
    place = Path(f"/var/tmp/pg_strata-{digest}")
    place.mkdir(exist_ok=True)
    if place.stat().st_uid != os.geteuid():
        fail(f"{place} belongs to somebody else")
    place.chmod(0o755)
    return place


def scratch(*names):
    """A path for servers and files of this process: pytest's workers share none."""
    return home().joinpath(os.environ.get("PYTEST_XDIST_WORKER", ""), *names)


def clean():
    for place in {home(), TARGET}:
        shutil.rmtree(place)


def fresh(path, mode=0o700):
    """An empty directory that belongs to the server's user."""
    path = Path(path)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    path.chmod(mode)
    if user := server_user():
        os.chown(path, user.pw_uid, user.pw_gid)
    return path
