"""What the built library asks the linker for: nothing of CUDA, so that it loads where there is none."""

import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast


def test_the_library_needs_nothing_of_cuda(installation):
    library = Path(installation.ask("--pkglibdir")) / "pg_strata.so"
    read = subprocess.run(["readelf", "--dynamic", "--wide", library], capture_output=True, text=True, check=True)
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", read.stdout)
    assert any(name.startswith("libc.so") for name in needed), read.stdout
    assert not [name for name in needed if re.search("cuda|nvrtc|nvidia|cufile", name)], needed
    # Nor may a name be bound at load: what is called is looked up when there is a driver.
    symbols = subprocess.run(["readelf", "--dyn-syms", "--wide", library], capture_output=True, text=True, check=True)
    wanted = re.findall(r" UND +(\S+)", symbols.stdout)
    assert not [name for name in wanted if re.match(r"(cu[A-Z]|nvrtc)", name)]
