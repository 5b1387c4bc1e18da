"""zstd pages that a library on the device's side compresses: nvCOMP's place is taken by nvcomp_stub.c, built here,
behind fake devices. What it makes are frames of raw blocks, by which its pages are known."""

import os
import subprocess

import pyarrow.parquet as pq
import pytest

from ..helpers import oracle
from ..helpers.gpu_encoding import LINES, encoded, export_encoded
from ..helpers.gpu_server import REAL, GpuServer, set_devices
from ..helpers.support import SCANS, create_extension, export
from ..lab import places

pytestmark = pytest.mark.skipif(REAL, reason="of fake devices")

STUB = places.ROOT / "pg_test" / "helpers" / "nvcomp_stub.c"
ROWS = 60000
GROUPS = {"row_group_rows": 25000, "workers": 0}
# The faults that keep the library from being used, how it is built, and the reason that is given.
BROKEN = {
    "missing": (None, "no-such-library.so: cannot open shared object file"),
    "no library": (None, "nvcomp_stub.c: "),
    "another version": (["-DVERSION=5301"], "is nvCOMP 5.3.1, not 6"),
    "lacking": (["-DLACKS"], "undefined symbol: nvcompBatchedZstdCompressAsync"),
    "refusing": (["-DREFUSES"], "nvCOMP cannot start to compress pages: cannot compress (19)"),
    "spoiling": (["-DSPOILS"], "nvCOMP cannot compress a page: cannot compress (19)"),
}


@pytest.fixture(scope="module")
def libraries():
    """Builds libraries where servers can read them."""
    folder = places.fresh(places.scratch("out", "nvcomp"), 0o755)

    def build(name, flags):
        library = folder / f"{name.replace(' ', '-')}.so"
        subprocess.run(
            [os.environ.get("CC", "cc"), "-shared", "-fPIC", *flags, str(STUB), "-o", str(library)], check=True
        )
        return library

    return build


@pytest.fixture(scope="module")
def server(installation):
    with GpuServer(installation, "gpu-nvcomp") as server:
        create_extension(server)
        with server.connect() as connection:
            connection.execute(f"CREATE TABLE public.lines AS {LINES.format(rows=ROWS)}")
        yield server


@pytest.fixture(scope="module")
def plain(server):
    """The file without a library, which the CPU compresses."""
    file = places.fresh(places.scratch("out", "nvcomp-plain"), 0o755) / "t.parquet"
    with server.connect() as connection:
        set_devices(server, connection, 2, nvcomp_library="")
        assert export(connection, "lines", file, device="gpu", **GROUPS).device == "gpu"
        assert [note for note in notes(connection) if "zstd" in note] == []
    assert compressed_by(file) == "cpu"
    return file.read_bytes()


def notes(connection):
    return [row[0] for row in connection.execute("SELECT message FROM gpu_status() WHERE source = 'engine'")]


def compressed_by(path):
    """Whether the library compressed the column chunks: all of its frames have raw blocks and are longer than their
    contents."""
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(metadata.num_columns)]
    return (
        "library" if all(column.total_compressed_size > column.total_uncompressed_size for column in columns) else "cpu"
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("scan", SCANS)
def test_pages_come_back_compressed(server, db, libraries, out, scan, workers):
    """Every value, row group and statistic as on the CPU, the pages as the library made them."""
    set_devices(server, db, 2, nvcomp_library=libraries("whole", []))
    result, _ = export_encoded(db, "lines", out, scan=scan, **{**GROUPS, "workers": workers}, byte_stream_split=True)
    assert result.row_groups > 2 and compressed_by(out / "gpu.parquet") == "library"
    assert {pq.read_metadata(out / "gpu.parquet").row_group(0).column(i).compression for i in range(14)} == {"ZSTD"}
    oracle.check(db, "lines", out / "gpu.parquet")
    found = [note for note in notes(db) if "zstd" in note]
    assert len(found) == 2 and all(
        f"GPU {n}: zstd pages are compressed by nvCOMP 6.0.0" in found[n] for n in range(2)
    ), found


def test_levels_and_other_codecs(server, db, libraries, out):
    """The library is used for the default level only."""
    set_devices(server, db, 2, nvcomp_library=libraries("whole", []))
    for codec, by in {"zstd": "library", "ZSTD:1": "library", "zstd:3": "cpu", "snappy": "cpu", "gzip": "cpu"}.items():
        export_encoded(db, "lines", out, compression=codec, columns=["key", "priority", "comment"], **GROUPS)
        assert compressed_by(out / "gpu.parquet") == by, codec


@pytest.mark.parametrize("what", BROKEN)
def test_libraries_that_cannot_be_used(server, db, plain, libraries, out, what):
    """The CPU compresses, to the byte as without a library, and one line says why."""
    flags, reason = BROKEN[what]
    path = {"missing": "/no-such-library.so", "no library": STUB}.get(what) or libraries(what, flags)
    before = server.log().count(reason)
    set_devices(server, db, 1, nvcomp_library=path)
    try:
        result = export(db, "lines", out / "t.parquet", device="gpu", **GROUPS)
        assert (result.device, encoded(db)) == ("gpu", (result.row_groups, 0, None)) and result.row_groups > 2
        assert (out / "t.parquet").read_bytes() == plain
        found = [note for note in notes(db) if "left to the CPU" in note]
        assert (
            len(found) == 1 and found[0].startswith("GPU 0: zstd pages are left to the CPU: ") and reason in found[0]
        ), found
        assert server.log().count(reason) == before + 1
    finally:
        set_devices(server, db, 2, nvcomp_library="")
