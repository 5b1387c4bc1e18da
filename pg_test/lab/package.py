"""Packages of an installed build: Debian's, and the layout of an image whose extensions PostgreSQL 18 mounts."""

import re
import shutil
import subprocess
from pathlib import Path

from . import build
from .places import ROOT, TARGET, fail

LICENCES = ("LICENSE", "NOTICE")


def deb(postgres, packages=TARGET / "packages"):
    """postgresql-MAJOR-pg-strata_VERSION_ARCH.deb below target/packages, with Debian's paths."""
    if not shutil.which("dpkg-deb"):
        fail("dpkg-deb is not on the PATH: apt install dpkg")
    name = f"postgresql-{postgres.major}-pg-strata"
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    tree = packages / name
    shutil.rmtree(tree, ignore_errors=True)
    lay_out(
        postgres,
        tree / f"usr/lib/postgresql/{postgres.major}/lib",
        tree / f"usr/share/postgresql/{postgres.major}/extension",
        tree / f"usr/share/doc/{name}",
    )
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(f"""Package: {name}
Version: {build.VERSION}
Architecture: {architecture}
Maintainer: the pg_strata developers
Section: database
Priority: optional
Depends: postgresql-{postgres.major}, libc6 (>= {glibc(postgres)}), libgcc-s1
Description: Parquet and Arrow from inside PostgreSQL {postgres.major}
 Exports tables and queries to Parquet and Arrow files, in parallel and on one
 snapshot, and reads such files as foreign tables.
""")
    package = packages / f"{name}_{build.VERSION}_{architecture}.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, package], check=True, capture_output=True
    )
    return package


def image(postgres, packages=TARGET / "packages"):
    """target/packages/image/{lib,share/extension,licenses}, for extension_control_path and dynamic_library_path."""
    tree = packages / "image"
    shutil.rmtree(tree, ignore_errors=True)
    lay_out(postgres, tree / "lib", tree / "share" / "extension", tree / "licenses")
    return tree


def lay_out(postgres, library, extension, licences):
    for directory in (library, extension, licences):
        directory.mkdir(parents=True)
    shutil.copy(build.installed_library(postgres), library)
    installed = Path(postgres.ask("--sharedir")) / "extension"
    for file in (installed / "pg_strata.control", *installed.glob("pg_strata--*.sql")):
        shutil.copy(file, extension)
    for file in LICENCES:
        shutil.copy(ROOT / file, licences)


def glibc(postgres):
    """The newest version of glibc that the library asks for."""
    read = subprocess.run(
        ["readelf", "--version-info", "--wide", build.installed_library(postgres)],
        capture_output=True,
        text=True,
        check=True,
    )
    versions = {tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_([0-9.]+)", read.stdout)}
    return ".".join(map(str, max(versions)))
