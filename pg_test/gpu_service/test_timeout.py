"""An engine that does not answer: no export waits for it without end, and pg_stat_activity says what it waits for."""

import json
import os
import signal
import time

import pytest

from ..helpers import oracle
from ..helpers.gpu_server import (
    REAL,
    ROWS,
    GpuServer,
    all_free,
    cpu_values,
    make_big,
    notices,
    ready,
    running,
    runs,
    service_info,
    wait_until_writing,
)
from ..helpers.support import PROMPT, SCANS, entries, eventually, export, raises, workers_of

pytestmark = pytest.mark.skipif(REAL, reason="of fake devices")
LIMIT = 4


@pytest.fixture(scope="module")
def server(installation):
    with GpuServer(installation, "gpu-timeout", **{"pg_strata.gpu_timeout": f"{LIMIT}s"}) as server:
        with server.connect() as connection:
            make_big(connection)
        yield server


@pytest.fixture(scope="module")
def truth(server):
    return cpu_values(server)


@pytest.fixture
def db(server):
    with server.connect() as connection:
        connection.execute("SELECT * FROM gpu_devices()")
        wait_for_engine(server, connection)
        yield connection


@pytest.fixture
def patient(db):
    """A connection to the server without a time limit."""
    set_limit(db, "0")
    yield db
    set_limit(db, f"{LIMIT}s")


def wait_for_engine(server, db, before=None):
    """Waits for another engine than before. After some of them the service gives up until a reload."""

    def there():
        if service_info(server)["state"] == "failed":
            db.execute("SELECT pg_reload_conf()")
        return ready(server) and service_info(server)["engine"] != before

    eventually(there, 20)


def set_limit(db, value):
    db.execute(f"ALTER SYSTEM SET pg_strata.gpu_timeout = '{value}'")
    db.execute("SELECT pg_reload_conf()")
    eventually(lambda: db.execute("SHOW pg_strata.gpu_timeout").fetchone() == (value,))


def writing(server, path, **options):
    """An export that has begun to write."""
    call = running(server, path, **options)
    wait_until_writing(path.parent, call)
    return call


def stop(server):
    engine = service_info(server)["engine"]
    os.kill(engine, signal.SIGSTOP)
    return engine


def waits(db, pid):
    """The wait event of a process."""
    return db.execute("SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone()


def waits_for_gpu(db, pid):
    name = "PgStrataGpu" if db.info.server_version >= 170000 else "Extension"
    return waits(db, pid) == ("Extension", name)


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_stopped_engine(server, db, truth, out, scan, workers, device):
    """The export ends on the CPU and says so; the service replaces the engine, and the next export has a GPU again."""
    call = writing(server, out / "t.parquet", scan=scan, workers=workers, device=device)
    engine = stop(server)
    eventually(lambda: len(workers_of(db, call.pid)) == workers)
    for pid in [call.pid, *workers_of(db, call.pid)]:
        eventually(lambda: waits_for_gpu(db, pid) or call.ended, explain=lambda: waits(db, pid))
    result = call.result()
    assert (result.rows, result.device) == (ROWS, "gpu+cpu")
    assert oracle.read_pyarrow(out / "t.parquet").equals(truth)
    words = f"the GPU engine, process {engine}, did not answer within {LIMIT} seconds"
    ((severity, message, detail),) = call.heard
    assert severity == "WARNING" and "GPU service failed" in message and words in detail, call.heard
    eventually(lambda: any(words in message for (message,) in db.execute("SELECT message FROM gpu_status()")))
    wait_for_engine(server, db, engine)
    assert not runs(engine)
    assert all_free(db)
    again = export(db, "big", out / "again.parquet", scan=scan, workers=workers, device="gpu", row_group_rows=50_000)
    assert again.device == "gpu"
    assert oracle.read_pyarrow(out / "again.parquet").equals(truth)


def test_engine_that_goes_on(server, patient, truth, out):
    """Without a limit it may take its time."""
    call = writing(server, out / "t.parquet", scan="heap", workers=2)
    engine = stop(server)
    eventually(lambda: waits_for_gpu(patient, call.pid))
    time.sleep(LIMIT + 2)
    assert not call.ended and waits_for_gpu(patient, call.pid)
    os.kill(engine, signal.SIGCONT)
    assert call.result().device == "gpu" and call.heard == []
    assert oracle.read_pyarrow(out / "t.parquet").equals(truth)
    assert service_info(server)["engine"] == engine


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("way", ["pg_cancel_backend", "pg_terminate_backend"])
def test_cancel_while_the_engine_does_not_answer(server, patient, out, workers, way):
    call = writing(server, out / "t.parquet", scan="heap", workers=workers)
    engine = stop(server)
    try:
        eventually(lambda: waits_for_gpu(patient, call.pid))
        asked = time.monotonic()
        patient.execute(f"SELECT {way}(%s)", (call.pid,))
        call.join(20)
        assert call.ended and call.ended - asked < PROMPT
        assert call.error.sqlstate in ("57014", "57P01", None), call.error
        eventually(lambda: entries(out) == [])
    finally:
        os.kill(engine, signal.SIGCONT)
    eventually(lambda: all_free(patient))
    assert export(patient, "big", out / "t.parquet", device="gpu").device == "gpu"


def test_a_service_that_does_not_answer_either(server, db, truth, out):
    """If the service does not answer either, the exporters give both up by themselves, some seconds later."""
    call = writing(server, out / "t.parquet", scan="heap", workers=0, device="auto")
    service, engine = service_info(server)["pid"], service_info(server)["engine"]
    os.kill(service, signal.SIGSTOP)
    os.kill(engine, signal.SIGSTOP)
    try:
        result = call.result()
        assert (result.rows, result.device) == (ROWS, "gpu+cpu")
        assert "did not come back" in call.heard[0][2], call.heard
        assert oracle.read_pyarrow(out / "t.parquet").equals(truth)
    finally:
        os.kill(engine, signal.SIGCONT)
        os.kill(service, signal.SIGCONT)
    eventually(lambda: ready(server) and all_free(db))


def test_while_no_engine_answers(server, db, out):
    """'auto' uses the CPU at once, gpu_status() says since when and gpu_devices() which, also if an engine cannot be
    killed."""
    path = server.data / "pg_dynshmem" / "pg_strata.gpu"
    before = path.read_bytes()
    since, reason = 1_700_000_000_000_000, "the GPU engine, process 1, did not answer within 4 seconds"
    said = {**json.loads(before), "state": "silent", "since": since, "reason": reason}
    with open(path, "r+b") as file:
        file.write(json.dumps(said).encode().ljust(len(before)))
    try:
        heard = notices(db)
        assert export(db, "big", out / "t.parquet", device="auto").device == "cpu"
        with raises("55000") as caught:
            export(db, "big", out / "t.parquet", device="gpu", overwrite=True)
        assert reason.removeprefix("the") in caught.value.diag.message_detail and heard == []
        found = db.execute("SELECT extract(epoch FROM time) * 1000000, message FROM gpu_status()").fetchall()
        assert found[0][0] == since and found[0][1].startswith("not answering") and reason in found[0][1]
        assert any(f"decoded on the CPU: {reason}" in message for _, message in found)
        assert db.execute("SELECT DISTINCT state FROM gpu_devices()").fetchall() == [("not answering",)]
        assert reason in heard[0][2]
    finally:
        with open(path, "r+b") as file:
            file.write(before)
    assert export(db, "big", out / "t.parquet", device="auto", overwrite=True).device == "gpu"


def test_server_that_is_stopped_with_a_stopped_engine(installation):
    with GpuServer(installation, "gpu-stopped") as server:
        with server.connect() as connection:
            connection.execute("CREATE EXTENSION pg_strata")
            connection.execute("SELECT * FROM gpu_devices()")
        eventually(lambda: ready(server))
        found, _ = service_info(server), stop(server)
        server.process.send_signal(signal.SIGINT)
        server.process.wait(20)
        eventually(lambda: not runs(found["pid"]) and not runs(found["engine"]))
