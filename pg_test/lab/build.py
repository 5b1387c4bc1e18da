"""Builds the extension and installs it into a PostgreSQL installation."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

from . import libclang, tools
from .places import ROOT, TARGET, fail, run, say
from .postgres import SUPPORTED

TOOLS = TARGET / "tools"
VERSION = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
SQL = ROOT / "sql" / f"pg_strata--{VERSION}.sql"
# In a library with the feature `testing` alone.
TEST_GEAR = b"pg_strata.gpu_fake_devices"


def environment(postgres):
    """What cargo needs in order to build against an installation, tried on its headers. One PGRX_HOME per version: its
    config.toml names one pg_config."""
    pgrx_home = TARGET / "pgrx" / str(postgres.major)
    pgrx_home.mkdir(parents=True, exist_ok=True)
    config = f'[configs]\npg{postgres.major} = "{postgres.pg_config}"\n'
    file = pgrx_home / "config.toml"
    if not file.exists() or file.read_text() != config:
        file.write_text(config)
    arguments = [f"-I{postgres.headers()}", *shlex.split(postgres.ask("--cppflags"))]
    return {
        **cargo_environment(),
        **libclang.environment(pgrx_header(postgres.major), arguments),
        "PGRX_HOME": str(pgrx_home),
        "PGRX_PG_CONFIG_PATH": str(postgres.pg_config),
    }


def cargo_environment():
    return {**os.environ, **tools.cargo_home(), "CARGO_TARGET_DIR": str(TARGET)}


def pgrx_header(major):
    """The header that bindgen reads, of the crate pgrx-pg-sys. Cargo fetches all crates for this."""
    say("fetching crates that cargo does not have yet: a minute the first time")
    host = run(["rustc", "-vV"], cwd=ROOT, stdout=subprocess.PIPE).stdout
    command = [
        "cargo",
        "metadata",
        "--format-version=1",
        "--filter-platform",
        re.search("host: (.*)", host)[1],
        "--no-default-features",
        "--features",
        f"pg{major}",
    ]
    asked = run(command, cwd=ROOT, env=cargo_environment(), stdout=subprocess.PIPE)
    crate = next(crate for crate in json.loads(asked.stdout)["packages"] if crate["name"] == "pgrx-pg-sys")
    return Path(crate["manifest_path"]).parent / "include" / f"pg{major}.h"


def install(postgres, *features):
    """Builds what changed, and copies the library, the control file and the SQL. Tests need the feature `testing`."""
    tools.check()
    extensions = Path(postgres.ask("--sharedir")) / "extension"
    for directory in (Path(postgres.ask("--pkglibdir")), extensions):
        if not os.access(directory, os.W_OK):
            fail(
                f"{directory} is not writable: "
                "run make install as its owner, or unset PG_CONFIG to use a private PostgreSQL 18"
            )
    say(f"building pg_strata for {postgres}: about four minutes the first time")
    compile_release(postgres, features, "--lib")
    library = (TARGET / "release" / "libpg_strata.so").read_bytes()
    if (TEST_GEAR in library) != ("testing" in features):
        fail("the library holds test gear, or lacks it, against the features that it was built with")
    replace(installed_library(postgres), library, 0o755)
    control = (ROOT / "pg_strata.control").read_text().replace("@CARGO_VERSION@", VERSION)
    replace(extensions / "pg_strata.control", control.encode())
    for script in SQL.parent.glob("*.sql"):
        replace(extensions / script.name, script.read_bytes())


def compile_release(postgres, features, *targets):
    chosen = ["--features", ",".join([f"pg{postgres.major}", *features])]
    run(["cargo", "build", "--release", *targets, *chosen], cwd=ROOT, env=environment(postgres))


def installed_library(postgres):
    return Path(postgres.ask("--pkglibdir")) / "pg_strata.so"


def check_for_tests(postgres):
    """Fails unless the installed library has the feature `testing`."""
    library = installed_library(postgres)
    if not library.exists() or TEST_GEAR not in library.read_bytes():
        raise RuntimeError(
            f"{library} is not built for tests: python3 -m pg_test.lab install {postgres.major} does that"
        )


def replace(path, content, mode=0o644):
    """By a rename: a running server may have the old file mapped."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content)
    new.chmod(mode)
    new.rename(path)


def generated_sql(postgres, *features):
    """The SQL of the installed library's functions, as pgrx describes them in a section of it, without pgrx's
    comments."""
    compile_release(postgres, features, "--bin", "schema")
    section = TARGET / "pgrx" / str(postgres.major) / "section"
    subprocess.run(
        ["objcopy", "-O", "binary", "--only-section=.pgrxsc", installed_library(postgres), section], check=True
    )
    written = subprocess.run([TARGET / "release" / "schema", section], capture_output=True, text=True, check=True)
    text = re.sub(r"/\*.*?\*/\n", "", written.stdout, flags=re.S)
    text = re.sub(r"^--.*\n", "", text, flags=re.M)
    guard = '\\echo Use "CREATE EXTENSION pg_strata" to load this file. \\quit\n'
    return guard + "".join(f"\n{block.strip()}\n" for block in re.split(r"\n{2,}", text) if block.strip())


def pure():
    """Format, lints of every line and version, and the tests of everything that needs no PostgreSQL."""
    tools.check("c++")

    def cargo(command):
        run(["cargo", *command.split()], cwd=ROOT, env=cargo_environment())

    cargo("fmt --check")
    cargo("clippy --all-targets --features testing -- -D warnings")
    cargo("clippy --lib --no-default-features -- -D warnings")
    check(*SUPPORTED)
    cargo("test --lib")


def check(*majors):
    """Lints what is shipped for versions of PostgreSQL, and what is built for tests for the last of them."""
    for major in majors:
        lint(major)
    lint(majors[-1], "testing")


def lint(major, *features, default=True):
    """Runs clippy for a version of PostgreSQL, whether it is here or not: against the bindings that pgrx ships for its
    documentation. A wrapper gives that one crate its cfg, so nothing else is rebuilt. Returns the files that were
    compiled, by the compiler's record."""
    tools.check()
    say(f"clippy for {' with '.join([f'PostgreSQL {major}', *features])}, against the bindings in pgrx-pg-sys")
    wrapper = Path(__file__).with_name("rustc-docsrs")
    env = {**cargo_environment(), "DOCS_RS": "1", "RUSTC_WRAPPER": str(wrapper)}
    chosen = [*([] if default else ["--no-default-features"]), "--features", ",".join([f"pg{major}", *features])]
    made = run(
        [
            "cargo",
            "clippy",
            "--lib",
            "--bin",
            "schema",
            *chosen,
            "--message-format=json-render-diagnostics",
            "--",
            "-D",
            "warnings",
        ],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
    )
    messages = map(json.loads, made.stdout.splitlines())
    library = next(found["filenames"][0] for found in messages if found.get("target", {}).get("name") == "pg_strata")
    record = Path(library.replace("/libpg_strata", "/pg_strata")).with_suffix(".d").read_text()
    return {path for path in re.findall(r"^(\S+):$", record, re.M) if path.startswith("src/")}
