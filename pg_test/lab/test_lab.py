"""How the tests are set up (Debian's packages), the generated SQL, and the packages that are made."""

import json
import shutil
import subprocess

import pytest

from ..lab import build, package, places, postgres
from ..lab.server import Server


# Of the library that the tests run with, which is not for others.
PACKAGES = places.TARGET / "packages-of-tests"


def test_test_gear_is_not_shipped():
    """Without the feature `testing` no source of fake devices, injected faults and their parameters is compiled."""
    shipped = build.lint(17)
    assert "src/pg/guc.rs" in shipped and not [path for path in shipped if "testing" in path]
    assert (places.ROOT / "src/gpu/testing").is_dir() and (places.ROOT / "src/pg/guc/testing.rs").exists()


def lay_out(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


@pytest.mark.parametrize(
    "files, packages",
    [
        ([], ["postgresql-15", "postgresql-server-dev-15"]),
        (["usr/lib/postgresql/15/bin/postgres"], ["postgresql-server-dev-15"]),
        (["usr/lib/postgresql/15/bin/pg_config", "usr/include/postgresql/15/server/postgres.h"], ["postgresql-15"]),
        (["usr/lib/postgresql/15/bin/postgres", "usr/include/postgresql/15/server/postgres.h"], []),
    ],
)
def test_packages_that_are_missing(tmp_path, files, packages):
    lay_out(tmp_path, *files)
    said = postgres.missing(15, tmp_path)
    assert said.split()[-len(packages) :] == packages if packages else said == ""


def test_one_version():
    """That of Cargo.toml, in the names of the SQL and in what PGXN reads."""
    meta = json.loads((places.ROOT / "META.json").read_text())
    provided = meta["provides"]["pg_strata"]
    assert build.SQL.exists()
    assert {meta["version"], provided["version"]} == {build.VERSION}
    assert places.ROOT / provided["file"] == build.SQL


def test_the_sql_is_that_of_the_library(installation):
    assert build.SQL.read_text() == build.generated_sql(installation, "testing"), "run python3 -m pg_test.lab sql"


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not here")
def test_a_debian_package(installation):
    made = package.deb(installation, PACKAGES)
    listed = subprocess.run(["dpkg-deb", "--contents", made], capture_output=True, text=True, check=True).stdout
    files = {line.split()[5] for line in listed.splitlines() if line.startswith("-")}
    extension = f"./usr/share/postgresql/{installation.major}/extension"
    assert files > {
        f"./usr/lib/postgresql/{installation.major}/lib/pg_strata.so",
        f"{extension}/pg_strata.control",
        f"{extension}/{build.SQL.name}",
    }
    assert all("root/root" in line for line in listed.splitlines())


def test_an_image_of_the_extension(installation):
    """PostgreSQL 18 finds control file, SQL and library by two settings."""
    if installation.major < 18:
        pytest.skip("extension_control_path came with PostgreSQL 18")
    tree = package.image(installation, PACKAGES)
    paths = {"extension_control_path": f"{tree}/share:$system", "dynamic_library_path": f"{tree}/lib:$libdir"}
    with Server(installation, "image", **paths) as server, server.connect() as connection:
        connection.execute("CREATE EXTENSION pg_strata; LOAD 'pg_strata'")
        with open(f"/proc/{connection.info.backend_pid}/maps") as maps:
            assert {line.split()[5] for line in maps if "pg_strata" in line} == {f"{tree}/lib/pg_strata.so"}
