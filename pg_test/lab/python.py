"""The virtual environment and wheels that are only unpacked. Runs on the system's Python, no packages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .places import ROOT, TARGET, fail, run, say, writable

VENV = TARGET / "venv"
PYTHON = VENV / "bin" / "python"


def quiet(*command):
    return subprocess.run(command, capture_output=True, text=True)


def make_venv():
    """python -m venv, or the same without ensurepip and with the system's pip."""
    if quiet(sys.executable, "-m", "venv", "--clear", str(VENV)).returncode == 0:
        return
    without = quiet(sys.executable, "-m", "venv", "--clear", "--without-pip", str(VENV))
    if without.returncode == 0 and quiet(sys.executable, "-m", "pip", "--version").returncode == 0:
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say("installing python3-venv")
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        run(["apt-get", "install", "-y", "-qq", "python3-venv"])
        run([sys.executable, "-m", "venv", "--clear", VENV])
        return
    fail("this Python has neither ensurepip nor pip: apt install python3-venv, or dnf install python3-pip")


def pip(*arguments):
    """The environment's own pip, else the system's acting on the environment, which is made if it is not there."""
    if not PYTHON.exists():
        say("making a Python environment in target/venv: ten seconds")
        TARGET.mkdir(exist_ok=True)
        make_venv()
    own = VENV / "bin" / "pip"
    command = [PYTHON, "-m", "pip"] if own.exists() else [sys.executable, "-m", "pip", "--python", PYTHON]
    # Without a place for its cache, pip warns, and talks of sudo.
    cache = [] if writable(Path.home() / ".cache" / "pip") else ["--no-cache-dir"]
    run([*command, "--disable-pip-version-check", *cache, *arguments])


def text_of(requirements):
    """A requirements file and those that it includes."""
    text = (ROOT / "pg_test" / requirements).read_text()
    return "".join(
        text_of(line.split()[1]) if line.startswith("-r ") else line for line in text.splitlines(keepends=True)
    )


def ensure(requirements):
    """Makes the environment hold a requirements file; does nothing when a stamp says it does."""
    wanted = text_of(requirements) + sys.version
    stamp = VENV / f"{requirements}.stamp"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say(f"installing pg_test/{requirements}: half a minute")
    pip("install", "--quiet", "-r", str(ROOT / "pg_test" / requirements))
    stamp.write_text(wanted)


def unpack_wheel(requirement, place):
    """A wheel's files, unpacked in `place` and not installed: it may be for another Python."""
    return unpack(requirement, place, "*.whl", "zip", "--only-binary=:all:", "--python-version=3.11")


def unpack_source(requirement, place):
    """The files of a package that is published as source alone."""
    return unpack(requirement, place, "*.tar.gz", "gztar", "--no-binary=:all:")


def unpack(requirement, place, pattern, form, *options):
    stamp = place / "unpacked"
    if stamp.exists() and stamp.read_text() == requirement:
        return place
    say(f"fetching {requirement}: a few seconds")
    download = TARGET / "wheels" / requirement
    shutil.rmtree(download, ignore_errors=True)
    pip("download", "--quiet", "--no-deps", *options, "--dest", str(download), requirement)
    shutil.rmtree(place, ignore_errors=True)
    for archive in download.glob(pattern):
        shutil.unpack_archive(archive, place, form)
    stamp.write_text(requirement)
    return place
