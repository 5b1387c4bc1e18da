"""Every form in which a heap keeps a value or a row, decoded on fake devices: the tests of the storage, with
exports on the device held against the CPU's and SELECT."""

import pytest

from ..helpers import oracle
from ..helpers.gpu_server import GpuServer, export_both
from ..helpers.storage import *  # noqa: F403, the tests themselves
from ..helpers.support import create_extension


@pytest.fixture(scope="module")
def server(installation):
    with GpuServer(installation, "gpu-storage") as server:
        create_extension(server)
        yield server


@pytest.fixture
def check(db, out, scan):
    """In place of the storage tests' own: 'auto' takes the device wherever the columns allow."""

    def run(**options):
        for workers in (0, 2):
            result = export_both(db, "t", out, device="auto", scan=scan, workers=workers, **options)
            assert scan == "heap" or result.device == "gpu" or not result.rows or "row_group_bytes" in options, result
            columns = options.get("columns")
            oracle.check(db, "t", out / "gpu.parquet", ", ".join(f'"{name}"' for name in columns) if columns else "*")

    return run
