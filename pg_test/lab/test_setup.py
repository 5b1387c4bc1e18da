"""What a build finds on a machine, or says that it misses: tools, libclang, headers, and a place for downloads."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from . import libclang, postgres, tools


def lay_out(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


@pytest.mark.parametrize(
    "file, found",
    [
        ("usr/lib/llvm-14/lib/libclang.so", True),
        ("usr/lib/llvm-19/lib/libclang-19.so.1", True),
        ("usr/lib/x86_64-linux-gnu/libclang-14.so.14.0.6", True),
        ("usr/lib/x86_64-linux-gnu/libclang.so.1", True),
        ("usr/lib64/libclang.so.18.1", True),
        ("usr/lib/x86_64-linux-gnu/libclang-cpp.so.14", False),
        ("usr/lib/llvm-14/lib/libclang-cpp.so", False),
        ("usr/lib/llvm-14/lib/libclang-cpp.so.14", False),
        ("usr/lib/llvm-14/lib/libLLVM-14.so", False),
    ],
)
def test_libclang_is_found(tmp_path, file, found):
    lay_out(tmp_path, file)
    assert libclang.among(libclang.FOLDERS, tmp_path) == [tmp_path / file] * found


@pytest.fixture
def no_wheel(monkeypatch):
    monkeypatch.delenv("LIBCLANG_PATH", raising=False)
    monkeypatch.delenv("BINDGEN_EXTRA_CLANG_ARGS", raising=False)

    def fetched(*_):
        raise AssertionError("fetched a wheel, though a libclang is installed")

    monkeypatch.setattr(libclang, "unpack_wheel", fetched)


@pytest.fixture(scope="session")
def a_libclang():
    """One that this machine's builds use, whatever the names of the directories above it."""
    return next(libclang.libraries())


def header_of(directory, text="#include <stddef.h>\nsize_t all;\n"):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "a header.h").write_text(text)
    return directory / "a header.h"


def test_a_libclang_that_does_not_load_is_passed_over(tmp_path, a_libclang, no_wheel):
    """A newer one that is no library, and one that is another library, as libclang-cpp is."""
    folder = tmp_path / "usr/lib/llvm-14/lib"
    header = header_of(tmp_path / "with a space")
    lay_out(tmp_path, "usr/lib/llvm-99/lib/libclang-99.so.1")
    folder.mkdir(parents=True)
    subprocess.run(["cc", "-shared", "-x", "c", os.devnull, "-o", folder / "libclang-98.so.1"], check=True)
    (folder / "libclang.so.1").symlink_to(a_libclang)
    found = libclang.environment(header, [], tmp_path)
    assert found["LIBCLANG_PATH"] == str(a_libclang)
    arguments = shlex.split(found["BINDGEN_EXTRA_CLANG_ARGS"])
    assert libclang.why_not(a_libclang, header, arguments) == ""


def test_libclang_path(tmp_path, a_libclang, no_wheel, monkeypatch):
    """A file or a directory, with a space; and nothing else when it does not work."""
    header = header_of(tmp_path)
    own = tmp_path / "of mine"
    own.mkdir()
    (own / "libclang.so").symlink_to(a_libclang)
    for path in (own, own / "libclang.so"):
        monkeypatch.setenv("LIBCLANG_PATH", str(path))
        assert Path(libclang.environment(header, [])["LIBCLANG_PATH"]).samefile(a_libclang)
    monkeypatch.setenv("LIBCLANG_PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="no libclang where LIBCLANG_PATH says"):
        libclang.environment(header, [])


def test_headers_that_cannot_be_read_are_told_of(tmp_path, a_libclang, monkeypatch):
    monkeypatch.setenv("LIBCLANG_PATH", str(a_libclang))
    with pytest.raises(SystemExit, match="'port/not_there.h' file not found"):
        libclang.environment(header_of(tmp_path, '#include "port/not_there.h"\n'), [])


def test_a_postgresql_without_the_headers_of_its_server(tmp_path):
    pg_config = tmp_path / "pg_config"
    answers = f"case $1 in --version) echo PostgreSQL 16.4 ;; *) echo {tmp_path}/server ;; esac"
    pg_config.write_text(f"#!/bin/sh\n{answers}\n")
    pg_config.chmod(0o755)
    with pytest.raises(
        SystemExit, match="apt install postgresql-server-dev-16, or dnf install postgresql-server-devel"
    ):
        postgres.Postgres(pg_config).headers()
    lay_out(tmp_path, "server/postgres.h")
    assert postgres.Postgres(pg_config).headers() == tmp_path / "server"


RUST = {"cargo": "echo cargo 1.99.0", "rustc": "echo rustc 1.99.0"}
NO_GCC = "apt install gcc libc6-dev, or dnf install gcc glibc-devel"


@pytest.mark.parametrize(
    "programs, said",
    [
        ({}, "cargo is not on the PATH: install Rust .*apt install rustup.*dnf install rustup"),
        ({**RUST, "cargo": "echo cargo 1.63.0"}, "this cargo is 1.63.0, older than 1.90"),
        ({"cargo": "echo no toolchain >&2; exit 1"}, r"cargo --version fails \(no toolchain\)"),
        (RUST, f"cc is not on the PATH: {NO_GCC}"),
        (
            {**RUST, "cargo": "echo cargo 2.0.0", "cc": "echo no stdio.h >&2; exit 1"},
            rf"cc cannot build a program \(no stdio.h\): {NO_GCC}",
        ),
        ({**RUST, "cc": "exit 0"}, r"c\+\+ is not on the PATH: apt install g\+\+, or dnf install gcc-c\+\+"),
    ],
)
def test_tools_that_are_missing(tmp_path, monkeypatch, programs, said):
    for name, does in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=said):
        tools.check("c++")


def test_cargo_beside_a_home_that_cannot_be_written_to(tmp_path, monkeypatch):
    """Cargo then keeps what it downloads under target/, with the user's settings."""
    home = tmp_path / "home"
    lay_out(home, ".cargo/config.toml")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("CARGO_HOME", raising=False)
    monkeypatch.setattr(tools, "TARGET", tmp_path / "target")
    assert tools.cargo_home() == {}
    monkeypatch.setattr(os, "access", lambda path, _: not Path(path).is_relative_to(home))
    assert tools.cargo_home() == {"CARGO_HOME": str(tmp_path / "target/cargo")}
    assert (tmp_path / "target/cargo/config.toml").exists()
