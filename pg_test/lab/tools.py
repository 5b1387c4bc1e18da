"""What the machine must have: looked at before anything is fetched or compiled, and told in one line."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .places import ROOT, TARGET, fail, writable

RUST = re.search(r'^rust-version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
PYTHON = (3, 11)
INSTALL_RUST = (
    f"install Rust {RUST} or newer: https://rustup.rs, or apt install rustup (from Debian 13 on), or dnf install rustup"
)
PROGRAM = {
    "c": '#include <stdio.h>\nint main(void) { return puts(""); }',
    "c++": "#include <vector>\nint main() { return (int)std::vector<int>().size(); }",
}


def check(*languages):
    """Python, Rust, and compilers for C and the languages named."""
    if sys.version_info < PYTHON:
        fail(
            f"this Python is {sys.version.split()[0]}, older than {'.'.join(map(str, PYTHON))}: "
            "install a newer one, and run make PYTHON=/path/to/python3"
        )
    check_rust()
    compiler("cc", "c", "apt install gcc libc6-dev, or dnf install gcc glibc-devel")
    if "c++" in languages:
        compiler("c++", "c++", "apt install g++, or dnf install gcc-c++")


def check_rust():
    if not shutil.which("cargo"):
        fail(f"cargo is not on the PATH: {INSTALL_RUST}")
    for program in ("cargo", "rustc"):
        asked = subprocess.run([program, "--version"], capture_output=True, text=True, cwd=ROOT)
        found = re.search(r"\d+\.\d+", asked.stdout)
        if asked.returncode or not found:
            fail(f"{program} --version fails ({first_line(asked.stderr)}): {INSTALL_RUST}")
        if [*map(int, found[0].split("."))] < [*map(int, RUST.split("."))]:
            fail(f"this {program} is {asked.stdout.split()[1]}, older than {RUST}: rustup update, or {INSTALL_RUST}")


def compiler(program, language, packages):
    """Compiles and links a program: a compiler may lack the C library's headers, or a linker."""
    if not shutil.which(program):
        fail(f"{program} is not on the PATH: {packages}")
    with tempfile.TemporaryDirectory() as directory:
        command = [program, "-x", language, "-", "-o", f"{directory}/program"]
        tried = subprocess.run(command, input=PROGRAM[language], capture_output=True, text=True)
    if tried.returncode:
        fail(f"{program} cannot build a program ({first_line(tried.stderr)}): {packages}")


def first_line(text):
    return next((line for line in text.splitlines() if line.strip()), "it says nothing")


def cargo_home():
    """Variables that give cargo a place for what it downloads: one under target/ if its own cannot be written to."""
    own = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    if writable(own / "registry"):
        return {}
    place = TARGET / "cargo"
    place.mkdir(parents=True, exist_ok=True)
    if (own / "config.toml").exists():
        shutil.copy(own / "config.toml", place)
    return {"CARGO_HOME": str(place)}
