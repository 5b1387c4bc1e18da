"""Helpers of the GPU service's tests: servers with fake devices, and looks at the service.

Fake devices decode on the CPU what a GPU would, through the same slots and the same engine process."""

import json
import os
import re

import pyarrow.parquet as pq
import pytest

from ..lab import build, places
from ..lab.server import Server
from . import oracle
from .support import Background, eventually, export

# On a machine with a GPU the device check runs the tests on it; PG_STRATA_FAKE_DEVICES rehearses that.
REAL = "PG_STRATA_TEST_GPU" in os.environ
SETTINGS = {
    "shared_buffers": "128MB",
    "max_connections": "50",
    "max_prepared_transactions": "2",
    "pg_strata.gpu_fake_devices": os.environ.get("PG_STRATA_FAKE_DEVICES", "0" if REAL else "2"),
    "pg_strata.nvrtc_library": os.environ.get("PG_STRATA_NVRTC", ""),
    "pg_strata.gpu_min_table_size": "0",
    "pg_strata.gpu_pool_size": "32MB",
    "pg_strata.gpu_slot_size": "512kB",
}


# The number of rows of `big`.
ROWS = 900_000


class GpuServer(Server):
    """The parameters of the service are in postgresql.conf, where a reload finds them changed; on the command
    line they would overrule it."""

    def __init__(self, postgres, name, **settings):
        settings = {**SETTINGS, **settings}
        self.service = {name: settings.pop(name) for name in list(settings) if name.startswith("pg_strata.")}
        super().__init__(postgres, name, **settings)

    def initdb(self):
        build.check_for_tests(self.postgres)
        super().initdb()
        with open(self.data / "postgresql.conf", "a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in self.service.items())


def service_info(server):
    """The contents of the service file in the data directory."""
    return json.loads((server.data / "pg_dynshmem" / "pg_strata.gpu").read_text())


def ready(server):
    """Whether the service has an engine that works."""
    try:
        return service_info(server)["state"] == "ready" and runs(service_info(server)["engine"])
    except (FileNotFoundError, ValueError):
        return False


def status(connection):
    """The first line of gpu_status(): state and reason."""
    return connection.execute("SELECT message FROM gpu_status() LIMIT 1").fetchone()[0]


def free_slots(connection):
    """The number of slots, and of free ones."""
    return tuple(map(int, re.search(r"(\d+) slots, (\d+) free", status(connection)).groups()))


def all_free(connection):
    slots, free = free_slots(connection)
    return slots == free


def runs(pid):
    """Whether a process is alive and not just waiting to be reaped."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone, or gone since it was opened
        return False


def set_devices(server, connection, count, **more):
    """Gives the service another number of devices, and waits until it has them."""
    if REAL:
        pytest.skip("devices are as many as there are")
    connection.execute("SELECT * FROM gpu_devices()")
    before = service_info(server)["engine"]
    changes = {"gpu_fake_devices": count, **more}
    shown = {name: connection.execute(f"SHOW pg_strata.{name}").fetchone()[0] for name in changes}
    for name, value in changes.items():
        connection.execute(f"ALTER SYSTEM SET pg_strata.{name} = '{value}'")
    connection.execute("SELECT pg_reload_conf()")
    if shown != {name: str(value) for name, value in changes.items()}:
        eventually(lambda: ready(server) and service_info(server)["engine"] != before)
    assert connection.execute("SELECT count(*) FROM gpu_devices()").fetchone()[0] == count


def make_big(connection, rows=ROWS):
    """A table whose export takes long enough to be interrupted."""
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_strata")
    connection.execute(f"""CREATE TABLE big AS SELECT i AS id, md5(i::text) || md5((-i)::text) AS a, i / 7.0 AS n,
        md5((i * 3)::text) AS b, now() + i * interval '1s' AS at FROM generate_series(1, {rows}) i""")


def cpu_values(server):
    """`big` as the CPU exports it, which other tests hold against SELECT."""
    directory = places.fresh(places.scratch("out", f"{server.place.name}-truth"), 0o755)
    with server.connect() as connection:
        rows = connection.execute("SELECT count(*) FROM big").fetchone()[0]
        assert export(connection, "big", directory / "t.parquet", device="cpu", workers=2).rows == rows
    return oracle.read_pyarrow(directory / "t.parquet")


def running(server, path, **options):
    """An export of `big` in a thread, on a connection of its own."""
    connection = server.connect()
    heard = notices(connection)
    connection.execute("LOAD 'pg_strata'")
    options = {"device": "gpu", "row_group_rows": 50_000, **options}
    call = Background(lambda: export(connection, "big", path, **options))
    call.pid, call.connection, call.heard = connection.info.backend_pid, connection, heard
    return call


def layout(path):
    """Rows of each row group, and the values."""
    metadata = [pq.read_metadata(file) for file in oracle.data_files(path)]
    return [file.row_group(i).num_rows for file in metadata for i in range(file.num_row_groups)]


def same_files(one, other):
    assert layout(one) == layout(other)
    ours, theirs = oracle.read_pyarrow(one), oracle.read_pyarrow(other)
    assert ours.schema.equals(theirs.schema)
    for name in ours.column_names:
        assert oracle.values(ours[name]) == oracle.values(theirs[name]), name


def export_both(connection, table, out, device="gpu", **options):
    """Exports on the device and on the CPU: equal in every value and every row group."""
    result = export(connection, table, out / "gpu.parquet", device=device, overwrite=True, **options)
    cpu = export(
        connection, table, out / "cpu.parquet", device="cpu", overwrite=True, **{**options, "scan": result.scan}
    )
    assert (result.rows, result.row_groups, cpu.device) == (cpu.rows, cpu.row_groups, "cpu")
    same_files(out / "gpu.parquet", out / "cpu.parquet")
    (out / "cpu.parquet").unlink()
    return result


def notices(connection):
    """Collects what the server tells the client from now on: (severity, message, detail)."""
    heard = []
    connection.add_notice_handler(
        lambda notice: heard.append((notice.severity_nonlocalized, notice.message_primary, notice.message_detail or ""))
    )
    return heard


def wait_until_writing(out, call):
    """Waits until an export has written its first row group."""
    eventually(lambda: any(file.stat().st_size for file in out.rglob("*") if file.is_file()) or call.ended)
    assert not call.ended, f"the export was over before it could be interrupted: {call.error}"


def kill_engine(server):
    """Kills the engine and returns its process, which the service file names until the service has noticed."""
    engine = service_info(server)["engine"]
    os.kill(engine, 9)
    return engine
