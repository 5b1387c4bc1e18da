"""Cancel, terminate and crash in the middle of an export: prompt, nothing left behind, the old file as it was."""

import hashlib
import subprocess
import time

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers import oracle
from ..helpers.support import PROMPT, SCANS, Background, entries, eventually, export, workers_of
from ..lab.server import Server

OLD = b"the file that was here before"


@pytest.fixture(scope="module")
def big(server):
    """400 MB of heap: an export of it takes long enough to be interrupted."""
    with server.connect() as connection:
        connection.execute("""CREATE TABLE big AS SELECT i AS id, md5(i::text) || md5((-i)::text) AS a, i / 7.0 AS n,
            md5((i * 3)::text) AS b, now() + i * interval '1s' AS at FROM generate_series(1, 2400000) i""")
        connection.execute("VACUUM ANALYZE big")
    yield "big"
    with server.connect() as connection:
        connection.execute("DROP TABLE big")


@pytest.fixture
def bystander(server):
    """A session that a crash of any backend would end."""
    with server.connect() as connection:
        start = server.log().count("terminated by signal")
        yield connection
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert server.log().count("terminated by signal") == start
        assert "PANIC" not in server.log()


@pytest.fixture
def running(big, again, out, bystander):
    """Starts exports of the big table and waits until they write; checks in the end that nothing is left."""
    target = out / "t.parquet"
    target.write_bytes(OLD)

    def start(scan, workers, path=target, **settings):
        connection = again()
        for name, value in settings.items():
            connection.execute(f"SET {name} = {value}")
        connection.execute("LOAD 'pg_strata'")
        call = Background(
            lambda: export(connection, big, path, scan=scan, workers=workers, overwrite=True, row_group_rows=100_000)
        )
        call.pid = connection.info.backend_pid
        call.connection = connection
        return call

    yield start
    eventually(lambda: entries(out) == ["t.parquet"])
    assert target.read_bytes() == OLD


def wait_until_writing(out, call):
    eventually(lambda: len(entries(out)) > 1 or call.ended)
    assert not call.ended, f"the export was over before it could be interrupted: {call.error}"
    time.sleep(0.05)


on_each = pytest.mark.parametrize("scan", SCANS)
with_workers = pytest.mark.parametrize("workers", [0, 1, 3])


@on_each
@with_workers
@pytest.mark.parametrize("way", ["pg_cancel_backend", "pg_terminate_backend"])
def test_leader(running, bystander, out, scan, workers, way):
    call = running(scan, workers)
    wait_until_writing(out, call)
    asked = time.monotonic()
    assert bystander.execute(f"SELECT {way}(%s)", (call.pid,)).fetchone() == (True,)
    call.join(20)
    assert call.ended, "still running"
    assert call.error.sqlstate in (("57014",) if way == "pg_cancel_backend" else ("57P01", None)), call.error
    assert call.ended - asked < PROMPT
    eventually(lambda: not workers_of(bystander, call.pid))
    if way == "pg_cancel_backend":
        assert call.connection.execute("SELECT 1").fetchone() == (1,)


@on_each
@pytest.mark.parametrize("way", ["pg_cancel_backend", "pg_terminate_backend"])
def test_worker(running, bystander, out, scan, way):
    """A lost worker fails the export: its rows must not be missing in silence."""
    call = running(scan, 2)
    wait_until_writing(out, call)
    eventually(lambda: workers_of(bystander, call.pid) or call.ended)
    workers = workers_of(bystander, call.pid)
    assert workers, "no parallel worker was launched"
    bystander.execute(f"SELECT {way}(%s)", (workers[0],))
    with pytest.raises(psycopg.Error) as caught:
        call.result()
    assert caught.value.sqlstate in ("57014", "57P01", "55000", "08006"), caught.value
    assert call.connection.execute("SELECT 1").fetchone() == (1,)


@on_each
@with_workers
def test_statement_timeout(running, scan, workers):
    call = running(scan, workers, statement_timeout="'150ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        call.result()


@on_each
def test_cancel_of_a_directory_export(running, bystander, out, scan):
    call = running(scan, 2, path=out / "parts")
    wait_until_writing(out, call)
    bystander.execute("SELECT pg_cancel_backend(%s)", (call.pid,))
    with pytest.raises(psycopg.errors.QueryCanceled):
        call.result()


# Longer than what is read, unpacked, checked or copied in one step.
LONG = [text * 3_000_000 for text in ("twelve bytes", "žluťoučký", "😀😀😀")]


def parquet(codec, **options):
    return lambda table, path: pq.write_table(table, path, compression=codec, **options)


def arrow(codec, dictionary=False):
    def write(table, path):
        if dictionary:
            table = pa.table({"x": table["x"].dictionary_encode()})
        with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
            writer.write_table(table)

    return write


def run_until_cancelled(connection, bystander, sql):
    call = Background(lambda: connection.execute(sql))
    active = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND query = %s"
    eventually(lambda: bystander.execute(active, (connection.info.backend_pid, sql)).fetchall() or call.ended)
    time.sleep(0.1)
    bystander.execute("SELECT pg_cancel_backend(%s)", (connection.info.backend_pid,))
    with pytest.raises(psycopg.errors.QueryCanceled):
        call.result()


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(parquet("none", use_dictionary=False), id="page"),
        pytest.param(parquet("zstd", use_dictionary=False, data_page_size=1 << 30), id="page-zstd"),
        pytest.param(parquet("snappy", dictionary_pagesize_limit=1 << 30), id="dictionary"),
        pytest.param(arrow(None), id="buffer"),
        pytest.param(arrow("lz4"), id="buffer-lz4"),
        pytest.param(arrow("zstd", dictionary=True), id="arrow-dictionary"),
    ],
)
def test_scan_of_long_values(again, bystander, out, write):
    """They are read in steps, and as they are, before a cancel and after it."""
    values = ["a", *LONG, None, "b"]
    write(pa.table({"x": values}), out / "long")
    connection = again()
    connection.execute(f"CREATE FOREIGN TABLE long (x text) SERVER pg_strata OPTIONS (file '{out / 'long'}')")
    hashed = [(value and hashlib.md5(value.encode()).hexdigest(),) for value in values]
    assert connection.execute("SELECT md5(x) FROM long").fetchall() == hashed
    run_until_cancelled(
        connection, bystander, "DO 'BEGIN LOOP PERFORM FROM long WHERE octet_length(x) < 0; END LOOP; END'"
    )
    assert connection.execute("SELECT md5(x) FROM long").fetchall() == hashed


@pytest.mark.parametrize("way", ["column", "rows"])
def test_import_of_many_samples(again, bystander, out, way):
    names = [f"s{number}" for number in range(100_000)]
    head = '##fileformat=VCFv4.3\n##FORMAT=<ID=GT,Number=1,Type=String,Description="">\n'
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + "\t".join(names) + "\n"
    record = "1\t1\t.\tA\tC\t.\t.\t.\tGT\t" + "\t".join(["0|1", "1|0"] * 50_000) + "\n"
    for name, records in (("short", 1), ("long", 300)):
        (out / f"{name}.vcf").write_text(head + columns + record * records)
    connection = again()
    sql = f"SELECT rows FROM import_vcf('{out}/{{}}.vcf', '{out}/t.arrow', samples => '{way}', overwrite => true)"
    run_until_cancelled(connection, bystander, sql.format("long"))
    assert entries(out) == ["long.vcf", "short.vcf"]
    rows = connection.execute(sql.format("short")).fetchone()[0]
    table = pa.ipc.open_file(out / "t.arrow").read_all()
    assert rows == (1 if way == "column" else 100_000)
    if way == "column":
        table = pa.Table.from_struct_array(table["samples"].combine_chunks().flatten())
        table = table.rename_columns(["sample", "format_GT"])
    assert table["sample"].to_pylist() == names
    assert table["format_GT"].to_pylist() == ["0|1", "1|0"] * 50_000


def test_client_that_goes_away(server, big, bystander, out):
    """With client_connection_check_interval set, an export whose client is gone ends and cleans up."""
    sql = (
        f"SET client_connection_check_interval = '50ms'; "
        f"SELECT * FROM export_table_parquet('{big}', '{out / 't.parquet'}', compression => 'gzip:9')"
    )
    with subprocess.Popen(server.psql_command("-c", sql)) as client:
        eventually(lambda: entries(out))
        client.kill()
    running = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%gzip:9%' AND pid <> pg_backend_pid()"
    eventually(lambda: not bystander.execute(running).fetchall(), 20)
    eventually(lambda: entries(out) == [])


@on_each
def test_killed_backend(installation, scan, out):
    """kill -9 of the leader: the server restarts, the old file is as it was, and the next export works."""
    with Server(installation, "crash", shared_buffers="128MB") as own:
        target = out / "t.parquet"
        with own.connect() as connection:
            connection.execute(
                "CREATE EXTENSION pg_strata; "
                "CREATE TABLE big AS SELECT i AS id, md5(i::text) AS a, "
                "md5((-i)::text) AS b FROM generate_series(1, 1500000) i; CHECKPOINT"
            )
            connection.execute("CREATE TABLE small AS SELECT 1 AS a")
        target.write_bytes(OLD)
        connection = own.connect()
        call = Background(lambda: export(connection, "big", target, scan=scan, workers=1, overwrite=True))
        wait_until_writing(out, call)
        subprocess.run(["kill", "-9", str(connection.info.backend_pid)], check=True)
        with pytest.raises(psycopg.OperationalError):
            call.result()
        # It answers until it has noticed, and again once it has recovered.
        eventually(lambda: "reinitializing" in own.logfile.read_text(errors="replace"), 30)
        own.wait()
        assert target.read_bytes() == OLD
        with own.connect() as connection:
            assert export(connection, "big", target, scan=scan, workers=1, overwrite=True).rows == 1_500_000
            assert oracle.read_pyarrow(target).num_rows == 1_500_000
