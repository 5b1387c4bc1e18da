"""Builds the extension and installs it into a PostgreSQL installation."""

import glob
import os
import re
import shutil
import subprocess
from pathlib import Path

from .places import ROOT, TARGET, fail, say
from .python import unpack_wheel

PGRX = "0.18.1"
TOOLS = TARGET / "tools"
# Not libclang-cpp, which is another library.
LIBCLANG = [f"{directory}/libclang{version}.so*" for directory in ("/usr/lib/llvm-*/lib", "/usr/lib/*", "/usr/lib64") for version in ("", "-[0-9]*")]
CLANG_HEADERS = ("/usr/lib/llvm-*/lib/clang/*/include/stddef.h", "/usr/lib*/clang/*/include/stddef.h")


def need(program, hint):
    if not shutil.which(program):
        fail(f"{program} is not on the PATH: {hint}")


def cargo_pgrx():
    """cargo-pgrx of our version in target/tools; built once, some minutes."""
    program = TOOLS / "bin" / "cargo-pgrx"
    have = subprocess.run([program, "pgrx", "--version"], capture_output=True, text=True) if program.exists() else None
    if have and PGRX in have.stdout:
        return
    say(f"building cargo-pgrx {PGRX} in target/tools: some minutes, once")
    # Unoptimised builds in a third of the time; without default features it needs no OpenSSL.
    subprocess.run(["cargo", "install", "--locked", "--debug", "--force", "--no-default-features",
                    "--root", str(TOOLS), f"cargo-pgrx@{PGRX}"], check=True)


def any_of(patterns):
    return any(glob.glob(pattern) for pattern in patterns)


def libclang():
    """Environment for bindgen: a wheel's libclang where none is installed, and the C compiler's own
    headers (stddef.h) where clang's are not."""
    found = {}
    if not os.environ.get("LIBCLANG_PATH") and not any_of(LIBCLANG):
        tree = unpack_wheel("libclang==18.1.1", TARGET / "libclang")
        found["LIBCLANG_PATH"] = str(next(tree.rglob("libclang*.so")).parent)
    if found or not any_of(CLANG_HEADERS):
        include = subprocess.run(["cc", "-print-file-name=include"], capture_output=True, text=True, check=True)
        found["BINDGEN_EXTRA_CLANG_ARGS"] = f"-isystem {include.stdout.strip()}"
    return found


def environment(postgres):
    """What cargo needs in order to build against an installation. One PGRX_HOME per version: its
    config.toml names one pg_config."""
    pgrx_home = TARGET / "pgrx" / str(postgres.major)
    pgrx_home.mkdir(parents=True, exist_ok=True)
    config = f'[configs]\npg{postgres.major} = "{postgres.pg_config}"\n'
    file = pgrx_home / "config.toml"
    if not file.exists() or file.read_text() != config:
        file.write_text(config)
    path = f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **libclang(), "PATH": path, "PGRX_HOME": str(pgrx_home),
            "PGRX_PG_CONFIG_PATH": str(postgres.pg_config), "CARGO_TARGET_DIR": str(TARGET)}


def install(postgres):
    """cargo pgrx install: builds what changed and copies library, control file and SQL."""
    need("cargo", "install Rust first")
    need("cc", "install a C compiler first")
    directory = Path(postgres.ask("--pkglibdir"))
    if not os.access(directory, os.W_OK):
        fail(f"{directory} is not writable. Install once with\n    cargo pgrx install --release --sudo "
             f"--pg-config {postgres.pg_config} --no-default-features --features pg{postgres.major}\n"
             "or unset PG_CONFIG to use a private PostgreSQL 18")
    cargo_pgrx()
    say(f"building pg_strata for {postgres}")
    subprocess.run(["cargo", "pgrx", "install", "--release", "--pg-config", str(postgres.pg_config),
                    "--no-default-features", "--features", f"pg{postgres.major}"],
                   cwd=ROOT, env=environment(postgres), check=True)


def check_without_headers(major):
    """A compile check against the bindings that pgrx ships for its documentation: for versions whose
    headers cannot be had. A wrapper gives that one crate its cfg, so nothing else is rebuilt."""
    need("cargo", "install Rust first")
    say(f"compile check for PostgreSQL {major}, against the bindings in pgrx-pg-sys")
    wrapper = Path(__file__).with_name("rustc-docsrs")
    env = {**os.environ, "DOCS_RS": "1", "RUSTC_WRAPPER": str(wrapper),
           "CARGO_TARGET_DIR": str(TARGET)}
    subprocess.run(["cargo", "check", "--lib", "--no-default-features", "--features", f"pg{major}"],
                   cwd=ROOT, env=env, check=True)


def crate_version():
    return re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
