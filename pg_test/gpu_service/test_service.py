"""The GPU service itself: how it starts, what it does when its engine dies, what it leaves behind."""

import os
import re
import resource
import signal
import subprocess
import time

import psycopg
import pytest

from ..helpers import oracle
from ..helpers.gpu_server import (
    REAL,
    ROWS,
    GpuServer,
    all_free,
    cpu_values,
    export_both,
    free_slots,
    kill_engine,
    make_big,
    notices,
    ready,
    running,
    runs,
    service_info,
    set_devices,
    status,
    wait_until_writing,
)
from ..helpers.servers import Contained
from ..helpers.support import PROMPT, SCANS, Background, entries, eventually, export, raises, workers_of

fakes_only = pytest.mark.skipif(REAL, reason="of fake devices")


@pytest.fixture
def new_server(installation):
    """Makes servers with settings of their own."""
    made = []

    def make(name="gpu-service", **settings):
        server = GpuServer(installation, name, **settings)
        made.append(server)
        server.__enter__()
        return server

    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="module")
def server(installation):
    with GpuServer(installation, "gpu-faults") as server:
        with server.connect() as connection:
            make_big(connection)
            connection.execute("VACUUM ANALYZE big")
        yield server


@pytest.fixture(scope="module")
def truth(server):
    return cpu_values(server)


@pytest.fixture
def db(server):
    with server.connect() as connection:
        yield connection
        if connection.closed:
            return
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_engine(server, db, truth, out, scan, workers):
    """The export goes on and says so; the next one has a GPU again."""
    db.execute("SELECT * FROM gpu_devices()")
    eventually(lambda: ready(server))
    service, engine = service_info(server)["pid"], service_info(server)["engine"]
    call = running(server, out / "t.parquet", scan=scan, workers=workers)
    wait_until_writing(out, call)
    kill_engine(server)
    result = call.result()
    assert (result.rows, result.device) == (ROWS, "gpu+cpu")
    assert [(severity, "GPU service failed" in message) for severity, message, _ in call.heard] == [
        ("WARNING", True)
    ], call.heard
    assert oracle.read_pyarrow(out / "t.parquet").equals(truth)
    eventually(lambda: ready(server) and service_info(server)["engine"] != engine)
    assert service_info(server)["pid"] == service, "the service itself did not end"
    again = export(db, "big", out / "again.parquet", scan=scan, workers=workers, device="gpu", row_group_rows=50_000)
    assert again.device == "gpu"
    assert oracle.read_pyarrow(out / "again.parquet").equals(truth)
    assert "the engine died: it was ended by signal 9" in server.log()


@pytest.mark.parametrize("scan", SCANS)
def test_faults(server, db, truth, out, scan):
    """A device that faults ends its engine; the values are right all the same."""
    set_devices(server, db, 2, gpu_fault_after=20)
    try:
        heard = notices(db)
        result = export(db, "big", out / "t.parquet", scan=scan, workers=2, device="gpu", row_group_rows=50_000)
        assert result.device == "gpu+cpu"
        assert heard and heard[0][0] in ("WARNING", "NOTICE")
        assert oracle.read_pyarrow(out / "t.parquet").equals(truth)
    finally:
        db.execute("ALTER SYSTEM RESET pg_strata.gpu_fault_after")
        db.execute("SELECT pg_reload_conf()")
    eventually(lambda: ready(server), 30)
    eventually(
        lambda: (
            export(db, "big", out / "t.parquet", scan=scan, workers=2, device="gpu", overwrite=True).device == "gpu"
        ),
        30,
    )


def test_engines_that_keep_dying(new_server, out):
    """After some tries the service gives up and says why; a reload has it try again."""
    server = new_server()
    with server.connect() as connection:
        make_big(connection, 1000)
        for _ in range(6):
            connection.execute("SELECT * FROM gpu_devices()")
            eventually(lambda: ready(server) or service_info(server)["state"] == "failed", 20)
            if service_info(server)["state"] == "failed":
                break
            killed = kill_engine(server)
            eventually(lambda: service_info(server)["engine"] != killed)
        eventually(lambda: service_info(server)["state"] == "failed", 20)
        with raises("55000") as caught:
            export(connection, "big", out / "t.parquet", device="gpu")
        assert "died 5 times" in caught.value.diag.message_detail
        assert export(connection, "big", out / "t.parquet").device == "cpu"
        assert "failed" in status(connection)
        connection.execute("SELECT pg_reload_conf()")
        eventually(lambda: ready(server))
        assert export(connection, "big", out / "t.parquet", device="gpu", overwrite=True).device == "gpu"


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("way", ["pg_cancel_backend", "pg_terminate_backend"])
def test_interrupted_exports_leave_no_slot(server, db, out, scan, workers, way):
    db.execute("SELECT * FROM gpu_devices()")
    call = running(server, out / "t.parquet", scan=scan, workers=workers)
    wait_until_writing(out, call)
    asked = time.monotonic()
    db.execute(f"SELECT {way}(%s)", (call.pid,))
    call.join(20)
    assert call.error is not None and call.error.sqlstate in ("57014", "57P01", None), call.error
    assert call.ended - asked < PROMPT
    eventually(lambda: not workers_of(db, call.pid))
    eventually(lambda: all_free(db))
    assert free_slots(db)[0] > 4
    eventually(lambda: entries(out) == [])


def test_service_that_is_terminated(server, db, truth, out):
    """pg_terminate_backend ends the service and its engine; exports under way finish, the next starts it anew."""
    db.execute("SELECT * FROM gpu_devices()")
    before = service_info(server)
    call = running(server, out / "t.parquet", scan="heap", workers=2)
    wait_until_writing(out, call)
    os.kill(before["pid"], signal.SIGTERM)
    assert call.result().rows == ROWS
    eventually(lambda: not runs(before["pid"]) and not runs(before["engine"]))
    assert service_info(server)["state"] == "stopped"
    assert oracle.read_pyarrow(out / "t.parquet").equals(truth)
    assert export(db, "big", out / "again.parquet", device="gpu").device == "gpu"
    assert service_info(server)["pid"] != before["pid"]


@pytest.mark.parametrize("preload", [False, True])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL])
def test_stopped_servers_leave_nothing(new_server, preload, how):
    """Fast, smart and immediate shutdown, and a postmaster that is killed."""
    server = new_server(**({"shared_preload_libraries": "pg_strata"} if preload else {}))
    with server.connect() as connection:
        connection.execute("CREATE EXTENSION pg_strata")
        connection.execute("SELECT * FROM gpu_devices()")
    eventually(lambda: ready(server))
    found = service_info(server)
    assert runs(found["pid"]) and runs(found["engine"])
    server.process.send_signal(how)
    server.process.wait(20)
    eventually(lambda: not runs(found["pid"]) and not runs(found["engine"]))


def test_killed_service(new_server, out):
    """kill -9 of the service is kill -9 of a server process: PostgreSQL restarts, and the engine is gone."""
    server = new_server()
    with server.connect() as connection:
        make_big(connection, 1000)
        connection.execute("SELECT * FROM gpu_devices()")
    eventually(lambda: ready(server))
    found = service_info(server)
    os.kill(found["pid"], signal.SIGKILL)
    eventually(lambda: not runs(found["engine"]))
    eventually(lambda: "reinitializing" in server.log(), 30)
    server.wait()
    with server.connect() as connection:
        assert connection.execute("SELECT count(*) FROM big").fetchone() == (1000,)
        assert export(connection, "big", out / "t.parquet", device="gpu").device == "gpu"


def test_preloaded(new_server, out):
    """The service starts with the server, before anybody asks."""
    server = new_server(shared_preload_libraries="pg_strata")
    eventually(lambda: ready(server))
    with server.connect() as connection:
        make_big(connection, 1000)
        assert export(connection, "big", out / "t.parquet").device == "gpu"
        assert (
            connection.execute(
                "SELECT backend_type FROM pg_stat_activity WHERE pid = %s", (service_info(server)["pid"],)
            ).fetchall()
            == []
        )
        title = subprocess.run(
            ["ps", "-o", "args=", "-p", str(service_info(server)["pid"])], capture_output=True, text=True
        ).stdout
        assert "pg_strata gpu service" in title


@fakes_only
def test_two_services_are_one(new_server):
    """Sessions that ask at the same time get the same service; a second one ends."""
    server = new_server()
    with server.connect() as connection:
        connection.execute("CREATE EXTENSION pg_strata")
    connections = [server.connect() for _ in range(6)]
    calls = [
        Background(lambda connection=connection: connection.execute("SELECT count(*) FROM gpu_devices()").fetchone()[0])
        for connection in connections
    ]
    assert [call.result() for call in calls] == [2] * 6
    pid = service_info(server)["pid"]
    time.sleep(0.5)
    assert runs(pid) and service_info(server)["pid"] == pid
    for connection in connections:
        connection.close()


@fakes_only
@pytest.mark.parametrize("preload", [False, True])
def test_without_devices(new_server, out, preload):
    """'auto' uses the CPU and says why; 'gpu' is an error that says why."""
    settings = {"shared_preload_libraries": "pg_strata"} if preload else {}
    server = new_server(**{"pg_strata.gpu_fake_devices": "0"}, **settings)
    with server.connect() as connection:
        make_big(connection, 1000)
        heard = notices(connection)
        assert export(connection, "big", out / "t.parquet").device == "cpu"
        assert heard == []
        with raises("55000") as caught:
            export(connection, "big", out / "t.parquet", device="gpu", overwrite=True)
        assert "libcuda" in caught.value.diag.message_detail or "NVIDIA" in caught.value.diag.message_detail
        assert "absent" in str(service_info(server)) and not runs(service_info(server)["pid"])
        first = status(connection)
        assert first.startswith("not running: no NVIDIA driver"), first
        decisions = [row[0] for row in connection.execute("SELECT message FROM gpu_status()")]
        assert any("decoded on the CPU: no NVIDIA driver" in line for line in decisions), decisions
        assert connection.execute("SELECT * FROM gpu_devices()").fetchall() == []
        assert heard and "NVIDIA" in heard[0][2]
        # What is known to lead to nothing is not tried for every export.
        before = server.log().count("GPU service absent")
        assert export(connection, "big", out / "t.parquet", overwrite=True).device == "cpu"
        assert server.log().count("GPU service absent") == before
        connection.execute("ALTER SYSTEM SET pg_strata.gpu_fake_devices = 1")
        connection.execute("SELECT pg_reload_conf()")
        eventually(lambda: export(connection, "big", out / "t.parquet", overwrite=True).device == "gpu")


def test_no_room_for_the_service(new_server, out):
    server = new_server(max_worker_processes="0")
    with server.connect() as connection:
        make_big(connection, 1000)
        assert export(connection, "big", out / "t.parquet").device == "cpu"
        with raises("55000") as caught:
            export(connection, "big", out / "t.parquet", device="gpu", overwrite=True)
        assert "max_worker_processes" in caught.value.diag.message_hint


def test_devices_without_memory(new_server, out):
    """With a device that cannot be opened 'auto' uses the CPU and 'gpu' is an error with the reason, until that
    changes."""
    server = new_server(**{"pg_strata.gpu_exhaust_memory": "on"})
    with server.connect() as connection:
        make_big(connection, 1000)
        assert export(connection, "big", out / "t.parquet").device == "cpu"
        with raises("55000") as caught:
            export(connection, "big", out / "t.parquet", device="gpu", overwrite=True)
        assert "out of memory" in caught.value.diag.message_detail.lower()
        connection.execute("ALTER SYSTEM SET pg_strata.gpu_exhaust_memory = off")
        connection.execute("SELECT pg_reload_conf()")
        eventually(lambda: export(connection, "big", out / "t.parquet", overwrite=True).device == "gpu", 30)


@fakes_only
def test_pool_that_is_too_large(new_server, out):
    """The pool shrinks to the memory that there is, and the log says so."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The server can make no file, and no shared memory of the pool's kind, that is larger.
    resource.setrlimit(resource.RLIMIT_FSIZE, (150 << 20, before[1]))
    try:
        server = new_server(**{"pg_strata.gpu_pool_size": "1GB"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with server.connect() as connection:
        make_big(connection, 20_000)
        assert export_both(connection, "big", out).device == "gpu"
        found = re.search(r"the GPU pool has (\d+) slots in place of (\d+)", server.log())
        assert found and 0 < int(found[1]) < int(found[2])
        assert free_slots(connection) == (int(found[1]), int(found[1]))


def test_settings_are_taken_up_when_idle(server, db, out):
    set_devices(server, db, 4, gpu_slot_size="256kB")
    small = free_slots(db)[0]
    set_devices(server, db, 2, gpu_slot_size="512kB")
    assert free_slots(db)[0] == small // 2
    assert export(db, "big", out / "t.parquet", device="gpu", workers=2).device == "gpu"


def test_dead_exporters_slots_are_freed(new_server, out):
    """FATAL runs no destructors: a backend that is terminated while it fills a slot leaves it to the service."""
    server = new_server()
    with server.connect() as connection:
        make_big(connection)
        for _ in range(3):
            call = running(server, out / "t.parquet", scan="heap", workers=0, overwrite=True)
            wait_until_writing(out, call)
            connection.execute("SELECT pg_terminate_backend(%s)", (call.pid,))
            with pytest.raises(psycopg.Error):
                call.result()
        eventually(lambda: all_free(connection))


class ContainedGpu(Contained, GpuServer):
    """In a container the server has the same process id after each start."""


@fakes_only
def test_a_server_that_starts_again_in_its_container(installation, out):
    """A start that was hopeless for the previous server is tried again."""
    with ContainedGpu(installation, "gpu-contained", **{"pg_strata.gpu_fake_devices": "0"}) as server:
        for start in (1, 2):
            with server.connect() as connection:
                connection.execute(
                    "CREATE EXTENSION IF NOT EXISTS pg_strata; CREATE TABLE IF NOT EXISTS small AS SELECT 1 AS a"
                )
                for _ in range(2):
                    assert export(connection, "small", out / "t.parquet", overwrite=True).device == "cpu"
            assert server.log().count("GPU service absent") == start
            server.stop()
            if start == 1:
                server.start()
