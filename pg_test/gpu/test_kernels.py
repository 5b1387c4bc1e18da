"""Every kernel compiles for every architecture, within its budget of registers and without local memory."""

import pytest

from ..gpu import nvrtc_gate as gate


@pytest.fixture(scope="module")
def nvrtc():
    return gate.Nvrtc()


@pytest.mark.parametrize("architecture", gate.ARCHITECTURES, ids=lambda architecture: f"sm_{architecture}")
@pytest.mark.parametrize("source", gate.sources(), ids=lambda source: source.name)
def test_budget(nvrtc, source, architecture):
    found = gate.compile_all(nvrtc, source, architecture)
    assert found, "no kernel in the compiler's log"
    assert not gate.over_budget(source, found)


def test_options_are_those_of_the_service():
    """The gate compiles the code that runs, with its options."""
    module = (gate.ROOT / "src/gpu/cuda/module.rs").read_text()
    assert ", ".join(f'"{option}"' for option in gate.OPTIONS) in module


def test_the_gate_sees_what_is_over_budget(nvrtc, tmp_path):
    source = tmp_path / "greedy.cu"
    source.write_text(
        '#define KERNEL extern "C" __global__ void\n#define PARAMETERS float *at, int *index\n'
        "// registers: 4\nKERNEL greedy(PARAMETERS) {\n"
        "    float local[64];\n    for (int i = 0; i < 64; i++) local[index[i]] = at[i];\n"
        "    for (int i = 0; i < 64; i++) at[i] = local[i];\n}\n"
    )
    wrong = gate.over_budget(source, gate.compile_all(nvrtc, source, 90))
    assert any("registers" in line for line in wrong) and any("stack" in line for line in wrong), wrong
