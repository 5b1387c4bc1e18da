"""What is shipped: the library's size, cargo's features, the licences of the crates, PGXN's metadata, the workflows."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from . import build, postgres
from .places import ROOT

MAX_LIBRARY = 30_000_000


def cargo_metadata(*options):
    command = ["cargo", "metadata", "--format-version", "1", "--locked", *options]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def test_size_of_the_library(installation):
    library = Path(installation.ask("--pkglibdir")) / "pg_strata.so"
    assert library.stat().st_size <= MAX_LIBRARY
    command = ["readelf", "--section-headers", "--wide", library]
    sections = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert ".dynsym" in sections and ".symtab" not in sections and ".debug" not in sections


# Cargo's features


@pytest.mark.parametrize("features", ["", "gpu", "vcf"])
def test_features_can_be_left_out(features):
    """On PostgreSQL 17, without a warning; nothing is compiled of what a feature is for."""
    compiled = build.lint(17, *filter(None, [features]), default=False)
    for file in ("src/gpu/cuda/device.rs", "src/service/worker.rs"):
        assert (file in compiled) == ("gpu" in features), file
    assert ("src/vcf/table.rs" in compiled) == ("vcf" in features)
    assert "src/export/leader.rs" in compiled


@pytest.mark.parametrize(
    "features, crates", [("", set()), ("gpu", {"cudarc"}), ("vcf", {"noodles-bgzf", "noodles-vcf"})]
)
def test_crates_of_the_features(features, crates):
    """A library without a feature is built without its crates."""
    resolved = cargo_metadata("--no-default-features", "--features", f"pg18,{features}")["resolve"]["nodes"]
    names = {re.split("[#@]", node["id"])[1] for node in resolved if "#" in node["id"]}
    assert {"cudarc", "noodles-bgzf", "noodles-vcf"} & names == crates


# Licences


def is_allowed(expression, allowed):
    """Whether an SPDX expression is met by the licences allowed; / is an old OR."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    words = {"OR": "or", "AND": "and", "(": "(", ")": ")"}
    return eval(" ".join(words.get(token) or str(token in allowed) for token in tokens))


@pytest.mark.parametrize("target", tomllib.loads((ROOT / "deny.toml").read_text())["graph"]["targets"])
def test_licences(target):
    """Each crate's licence is in deny.toml, and each licence there is needed."""
    deny = tomllib.loads((ROOT / "deny.toml").read_text())
    allowed = set(deny["licenses"]["allow"])
    features = ",".join(deny["graph"]["features"])
    packages = cargo_metadata("--filter-platform", target, "--features", features)["packages"]
    licences = {package["name"]: package["license"] or "" for package in packages}
    assert len(licences) > 100
    assert not {name: licence for name, licence in licences.items() if not is_allowed(licence, allowed)}
    for licence in allowed:
        assert any(not is_allowed(found, allowed - {licence}) for found in licences.values()), licence


def test_sources():
    """Every crate comes from crates.io, with a checksum."""
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    others = [package for package in locked if package["name"] != "pg_strata"]
    assert {package.get("source") for package in others} == {"registry+https://github.com/rust-lang/crates.io-index"}
    assert all(re.fullmatch("[0-9a-f]{64}", package["checksum"]) for package in others)


# PGXN, https://pgxn.org/spec

LICENCES = """agpl_3 apache_1_1 apache_2_0 artistic_1 artistic_2 bsd freebsd gfdl_1_2 gfdl_1_3 gpl_1 gpl_2 gpl_3
    lgpl_2_1 lgpl_3_0 mit mozilla_1_0 mozilla_1_1 openssl perl_5 postgresql qpl_1_0 ssleay sun zlib open_source
    restricted unrestricted unknown""".split()
SEMVER = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z.-]+)?"
TERM = r"[^\s/\\\x00-\x1f]{2,}"


def test_metadata_of_pgxn():
    meta = json.loads((ROOT / "META.json").read_text())
    required = {"abstract", "maintainer", "license", "provides", "name", "version", "meta-spec"}
    optional = {"description", "generated_by", "no_index", "prereqs", "release_status", "resources", "tags"}
    assert required <= meta.keys() <= required | optional
    assert re.fullmatch(TERM, meta["name"]) and re.fullmatch(SEMVER, meta["version"])
    assert meta["license"] in LICENCES and meta["abstract"] and meta["maintainer"]
    assert meta["meta-spec"] == {"version": "1.0.0", "url": "https://pgxn.org/meta/spec.txt"}
    for name, provided in meta["provides"].items():
        assert {"file", "version"} <= provided.keys() <= {"file", "version", "abstract", "docfile"}
        assert re.fullmatch(TERM, name) and re.fullmatch(SEMVER, provided["version"])
        assert all((ROOT / provided[key]).is_file() for key in ("file", "docfile"))
    phases = {"configure", "build", "test", "runtime", "develop"}
    assert meta["prereqs"].keys() <= phases
    for relations in meta["prereqs"].values():
        assert relations.keys() <= {"requires", "recommends", "suggests", "conflicts"}
        for versions in relations.values():
            assert all(re.fullmatch(TERM, name) and re.fullmatch(SEMVER, version) for name, version in versions.items())
    assert len(set(meta["tags"])) == len(meta["tags"])
    assert all(re.fullmatch(r"[^/\\\x00-\x1f]{1,255}", tag) for tag in meta["tags"])


def test_metadata_and_control_file_say_the_same():
    meta = json.loads((ROOT / "META.json").read_text())
    control = dict(re.findall(r"^(\w+) = '?(.*?)'?$", (ROOT / "pg_strata.control").read_text(), re.M))
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
    assert control["default_version"] == "@CARGO_VERSION@" and control["relocatable"] == "true"
    assert cargo["package"]["version"] == meta["version"]
    oldest = min(int(name[2:]) for name in cargo["features"] if re.fullmatch(r"pg\d+", name))
    assert meta["prereqs"]["runtime"]["requires"]["PostgreSQL"] == f"{oldest}.0.0"


# Workflows


def test_workflows_run_what_there_is():
    """Every command is a target of the Makefile or a file; its lints are of every version that Cargo knows."""
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    called = re.findall(r"- run: make (\w+)$", workflow, re.M)
    assert called and set(called) <= targets
    assert "- run: .ci/run\n" in workflow and (ROOT / ".ci" / "run").stat().st_mode & 0o100
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
    versions = {int(name[2:]) for name in cargo["features"] if re.fullmatch(r"pg\d+", name)}
    assert versions == set(postgres.SUPPORTED)
