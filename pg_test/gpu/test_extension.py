"""The whole extension on a machine with a GPU: exports on it held against the CPU's, and what scan and decode
reach together. Runs when PG_STRATA_TEST_GPU is set; lines for the device check's table go to PG_STRATA_TABLE.

ROWS: rows of the large table, 64 million by default."""

import os
import shutil
import time
from pathlib import Path

import pytest

from ..bench import checksum
from ..helpers import oracle
from ..helpers.gpu_server import GpuServer, all_free, kill_engine, notices, ready, wait_until_writing
from ..helpers.support import SCANS, Background, eventually, export
from ..lab import places, postgres

pytestmark = pytest.mark.skipif("PG_STRATA_TEST_GPU" not in os.environ, reason="needs a GPU")

ROWS = int(os.environ.get("ROWS", 64_000_000))
SMALL = min(ROWS, 4_000_000)
SESSIONS = os.cpu_count()
WORKERS = min(16, os.cpu_count())

# The star schema's lineorder, 17 columns, numerics without precision.
LINEORDER = """CREATE UNLOGGED TABLE {name} (lo_orderkey numeric, lo_linenumber int, lo_custkey numeric, lo_partkey int,
    lo_suppkey numeric, lo_orderdate int, lo_orderpriority char(15), lo_shippriority char(1), lo_quantity numeric,
    lo_extendedprice numeric, lo_ordertotalprice numeric, lo_discount numeric, lo_revenue numeric,
    lo_supplycost numeric,
    lo_tax numeric, lo_commit_date char(8), lo_shipmode char(10)) WITH (autovacuum_enabled = off)"""
FILL = """INSERT INTO {name} SELECT i / 4 + 1, (i % 7 + 1)::int, (i::bigint * 7919 % 30000000),
    (i::bigint * 104729 % 2000000)::int,
    (i % 200000), 19920101 + (i % 2400)::int,
    (ARRAY['1-URGENT','2-HIGH','3-MEDIUM','4-NOT SPECI','5-LOW'])[i % 5 + 1], '0', i % 50 + 1,
    (i::bigint * 31 % 5500000) + 100000, (i::bigint * 37 % 38000000) + 100000, i % 11,
    (i::bigint * 29 % 5000000) + 100000,
    60000 + i % 60000, i % 9, (19920101 + (i + 30) % 2400)::text,
    (ARRAY['AIR','FOB','MAIL','RAIL','REG AIR','SHIP','TRUCK'])[i % 7 + 1]
    FROM generate_series({first}::bigint, {last}::bigint) i"""


def line(what, result, note=""):
    """A line of the device check's table."""
    if path := os.environ.get("PG_STRATA_TABLE"):
        with open(path, "a") as table:
            table.write(f"{what}\t{result}\t{note}\n")
    print(f"{what} | {result} | {note}")


def fill(server, name, rows):
    """Fills the table from as many sessions as there are cores."""
    with server.connect() as connection:
        connection.execute(LINEORDER.format(name=name))
    share = -(-rows // SESSIONS)
    calls = []
    for first in range(0, rows, share):
        sql = FILL.format(name=name, first=first, last=min(first + share, rows) - 1)
        calls.append(
            Background(lambda connection=server.connect(), sql=sql: (connection.execute(sql), connection.close()))
        )
    for call in calls:
        call.result(300)
    with server.connect() as connection:
        connection.execute(f"SELECT count(*) FROM {name}")  # hint bits


@pytest.fixture(scope="module")
def server():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    own = {
        "shared_buffers": f"{min(16 << 30, memory // 4) >> 20}MB",
        "max_worker_processes": "48",
        "max_parallel_workers": "32",
        "max_wal_size": "16GB",
        "min_parallel_table_scan_size": "1MB",
        "pg_strata.gpu_pool_size": "2GB",
        "pg_strata.gpu_slot_size": "8MB",
    }
    with GpuServer(postgres.find(18), "gpu-device", **own) as server:
        with server.connect() as connection:
            connection.execute("CREATE EXTENSION pg_strata")
            for row in connection.execute(
                "SELECT ordinal, name, compute_capability, pcie_link, h2d_gb_per_s, d2h_gb_per_s FROM gpu_devices()"
            ):
                line(f"gpu_devices() {row[0]}", "ok", " ".join(map(str, row[1:])))
        fill(server, "small", SMALL)
        yield server


@pytest.fixture
def db(server):
    with server.connect() as connection:
        yield connection


@pytest.mark.parametrize("scan", SCANS)
def test_every_value(db, out, scan):
    """Some million rows on either device: equal in every value and row group."""
    began = time.monotonic()
    gpu = export(db, "small", out / "gpu.parquet", scan=scan, workers=WORKERS, device="gpu")
    cpu = export(db, "small", out / "cpu.parquet", scan=scan, workers=WORKERS, device="cpu")
    assert gpu.device == "gpu" and gpu.row_groups == cpu.row_groups
    ours, theirs = oracle.read_pyarrow(out / "gpu.parquet"), oracle.read_pyarrow(out / "cpu.parquet")
    assert ours.num_rows == SMALL and ours.equals(theirs)
    line(
        f"export {scan}, {SMALL / 1e6:.1f} M rows, gpu = cpu",
        "ok",
        f"gpu {gpu.elapsed}, cpu {cpu.elapsed}, {time.monotonic() - began:.1f} s in all",
    )


def test_two_at_once(server, out):
    calls = [
        Background(
            lambda connection=server.connect(), scan=scan: export(
                connection, "small", out / f"{scan}.parquet", scan=scan, workers=6, device="gpu"
            )
        )
        for scan in SCANS
    ]
    assert [call.result(120).device for call in calls] == ["gpu", "gpu"]
    one, two = (oracle.read_pyarrow(out / f"{scan}.parquet") for scan in SCANS)
    assert one.equals(two)
    line("two exports at once", "ok")


@pytest.mark.parametrize("scan", SCANS)
def test_killed_engine(server, db, out, scan):
    """kill -9 of the process that has the GPU, in the middle: the export ends with the right values."""
    connection = server.connect()
    heard = notices(connection)
    call = Background(
        lambda: export(
            connection, "small", out / "t.parquet", scan=scan, workers=2, device="gpu", row_group_rows=100_000
        )
    )
    wait_until_writing(out, call)
    kill_engine(server)
    result = call.result(120)
    assert (result.rows, result.device) == (SMALL, "gpu+cpu") and "GPU service failed" in heard[0][1]
    export(db, "small", out / "cpu.parquet", scan=scan, workers=WORKERS, device="cpu", row_group_rows=100_000)
    assert oracle.read_pyarrow(out / "t.parquet").equals(oracle.read_pyarrow(out / "cpu.parquet"))
    began = time.monotonic()
    eventually(lambda: ready(server), 60)
    assert export(db, "small", out / "again.parquet", scan=scan, workers=2, device="gpu").device == "gpu"
    line(f"engine killed mid-export, {scan}", "ok", f"ready again after {time.monotonic() - began:.1f} s")
    eventually(lambda: all_free(db))


def with_setting(server, db, name, value, body):
    db.execute("LOAD 'pg_strata'")
    db.execute(f"ALTER SYSTEM SET pg_strata.{name} = {value}")
    db.execute("SELECT pg_reload_conf()")
    try:
        return body()
    finally:
        db.execute(f"ALTER SYSTEM RESET pg_strata.{name}")
        db.execute("SELECT pg_reload_conf()")


def test_kernel_that_faults(server, db, out):
    """A sticky CUDA error ends the engine; the export ends on the CPU with the right values."""

    def faulty():
        time.sleep(2)
        return export(db, "small", out / "t.parquet", scan="heap", workers=4, device="gpu", row_group_rows=100_000)

    heard = notices(db)
    result = with_setting(server, db, "gpu_fault_after", 10, faulty)
    assert (result.rows, result.device) == (SMALL, "gpu+cpu") and heard
    export(db, "small", out / "cpu.parquet", scan="heap", workers=WORKERS, device="cpu", row_group_rows=100_000)
    assert oracle.read_pyarrow(out / "t.parquet").equals(oracle.read_pyarrow(out / "cpu.parquet"))
    line("kernel made to fault mid-export", "ok", heard[0][2][:120])
    eventually(lambda: export(db, "small", out / "t.parquet", device="gpu", overwrite=True).device == "gpu", 60)


def test_out_of_device_memory(server, db, out):
    """With too little device memory 'auto' uses the CPU and 'gpu' is an error with the reason."""

    def exhausted():
        eventually(lambda: export(db, "small", out / "t.parquet", workers=WORKERS, overwrite=True).device == "cpu", 60)
        return db.execute("SELECT message FROM gpu_status() LIMIT 1").fetchone()[0]

    line("out of device memory", "ok", with_setting(server, db, "gpu_exhaust_memory", "on", exhausted)[:120])
    eventually(lambda: export(db, "small", out / "t.parquet", device="gpu", overwrite=True).device == "gpu", 60)


# Scan, device, codec, and the GB/s of heap that are the goal.
EXPORTS = (
    ("heap", "gpu", "snappy", 10),
    ("heap", "gpu", "zstd", 5),
    ("copy_binary", "gpu", "snappy", 6),
    ("heap", "gpu", "none", None),
    ("heap", "cpu", "zstd", 3),
    ("heap", "cpu", "snappy", None),
    ("copy_binary", "gpu", "zstd", None),
)


@pytest.fixture(scope="module")
def lineorder(server):
    """The large table: the bytes of its heap, its columns, and a checksum of each."""
    began = time.monotonic()
    with server.connect() as connection:
        connection.execute("DROP TABLE small")
        fill(server, "lineorder", ROWS)
        heap = connection.execute("SELECT pg_relation_size('lineorder')").fetchone()[0]
    line("data", "ok", f"{ROWS / 1e6:.0f} M rows in {time.monotonic() - began:.0f} s")
    return heap, *of_table_in_parallel(server, "lineorder")


def measure(db, file, lineorder, scan, codec, device, wanted=None, rounds=1, what=""):
    """A line for the best of some exports of the large table, whose file has to be equal to it."""
    heap, columns, truth = lineorder
    best = None
    for _ in range(rounds):
        began = time.monotonic()
        result = export(
            db, "lineorder", file, scan=scan, workers=WORKERS - 1, device=device, compression=codec, overwrite=True
        )
        took = time.monotonic() - began
        assert (result.rows, result.device) == (ROWS, device)
        best = (took, result) if best is None or took < best[0] else best
    assert checksum.differences(columns, truth, file, threads=os.cpu_count()) == []
    seconds, result = best
    goal = f", goal {wanted}" if wanted else ""
    note = (
        db.execute(
            "SELECT message FROM gpu_status() WHERE message LIKE '%row groups encoded%' ORDER BY time DESC LIMIT 1"
        ).fetchone()
        if device == "gpu"
        else None
    )
    line(
        f"export {scan}, {codec}, {device}{what}",
        f"{heap / seconds / 1e9:.1f} GB/s",
        (
            f"{seconds:.3f} s, {result.bytes / 1e6:.0f} MB, {result.row_groups} row groups, "
            f"equal in every checksum{goal}; {note[0] if note else ''}"
        ),
    )
    os.remove(file)


def test_rates(server, db, out, lineorder):
    """Scan workers fill slots, a GPU decodes them, the columns are dropped; and whole exports, each file against the
    table in its row count and in a checksum of every column."""
    for scan, wanted in (("heap", 20), ("copy_binary", 10)):
        for device in ("gpu", "cpu"):
            best = None
            for _ in range(3 if device == "gpu" else 1):
                rows, size, slots, used, workers, elapsed = db.execute(
                    (
                        "SELECT rows, bytes, slots, device, workers, "
                        "elapsed FROM decode_table('lineorder', scan => %s, workers => %s, device => %s)"
                    ),
                    (scan, WORKERS - 1, device),
                ).fetchone()
                assert rows == ROWS and used == device
                if best is None or elapsed < best[0]:
                    best = elapsed, size, slots, workers
            elapsed, size, slots, workers = best
            rate = size / elapsed.total_seconds() / 1e9
            goal = f", goal {wanted}" if device == "gpu" else ""
            line(
                f"decode_table {scan} on the {device}",
                f"{rate:.1f} GB/s",
                f"{elapsed.total_seconds():.3f} s, {size / 1e9:.2f} GB, {slots} slots, {workers} workers{goal}",
            )
    file = in_memory(out) / "rates.parquet"
    for scan, device, codec, wanted in EXPORTS:
        measure(db, file, lineorder, scan, codec, device, wanted, rounds=3 if wanted else 1)
    auto = export(db, "lineorder", file, workers=WORKERS - 1)
    why = db.execute(
        "SELECT message FROM gpu_status() WHERE message LIKE '%: decoded on the%' ORDER BY time DESC LIMIT 1"
    ).fetchone()[0]
    line("device => 'auto'", auto.device, why)
    os.remove(file)
    assert auto.device == "gpu"


@pytest.mark.skipif(not os.environ.get("PG_STRATA_NVCOMP"), reason="no nvCOMP")
def test_nvcomp(server, db, out, lineorder):
    """zstd pages that nvCOMP compresses; then those that the CPU does, as the service takes the setting back."""

    def said(what):
        return [
            message
            for (message,) in db.execute("SELECT message FROM gpu_status() WHERE message LIKE %s", (f"%{what}%",))
        ]

    def with_library():
        db.execute("SELECT * FROM gpu_devices()")
        eventually(lambda: ready(server) and said("zstd pages"), 60, server.log)
        for scan in SCANS:
            measure(db, file, lineorder, scan, "zstd", "gpu", rounds=3, what=", nvCOMP")
        assert said("left to the CPU") == []
        return said("compressed by nvCOMP")

    file = in_memory(out) / "nvcomp.parquet"
    found = with_setting(server, db, "nvcomp_library", f"'{os.environ['PG_STRATA_NVCOMP']}'", with_library)
    assert found
    line("nvCOMP", "ok", found[0])
    eventually(lambda: ready(server) and not said("zstd pages"), 60)
    measure(db, file, lineorder, "heap", "zstd", "gpu", rounds=3)


def in_memory(out):
    """A directory in memory, so that no disk is measured; `out` if there is none."""
    if shutil.disk_usage("/dev/shm").free < 16 << 30:
        line("files", "ok", f"written to {out}")
        return out
    return places.fresh(Path("/dev/shm/pg_strata_out"), 0o755)


def of_table_in_parallel(server, table):
    """The table's checksums, from parallel plans."""
    with server.connect() as connection:
        connection.execute("SET max_parallel_workers_per_gather = 16")
        connection.execute(f"ALTER TABLE {table} SET (parallel_workers = 16)")
        return checksum.of_table(connection, table)
