"""Row groups encoded on a GPU, by fake devices: the same values, row groups and statistics as on the CPU, files of
about the same size, and no row lost whatever happens to a group."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers import every_type, oracle
from ..helpers.gpu_encoding import LINES, encoded, export_encoded, fit
from ..helpers.gpu_server import (
    GpuServer,
    all_free,
    cpu_values,
    export_both,
    kill_engine,
    notices,
    ready,
    running,
    service_info,
    set_devices,
    wait_until_writing,
)
from ..helpers.support import SCANS, create_extension, entries, eventually, export

SMALL_GROUPS = {"compression": "snappy", "row_group_rows": 30000}
CODECS = ("none", "snappy", "lz4_raw", "zstd")


@pytest.fixture(scope="module")
def server(installation):
    with GpuServer(installation, "gpu-encode") as server:
        create_extension(server)
        yield server


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("family", ["scalars", "numerics"])
def test_every_type(db, out, family, scan, codec):
    cases = every_type.FAMILIES[family]
    cases = fit(cases) if scan == "heap" else cases
    db.execute(every_type.TYPES)
    every_type.create(db, "t", cases, repeat=400)
    # Numerics that the file has as text, and lists, are the CPU's, and with them the row group.
    export(db, "t", out / "all.parquet", device="cpu", scan=scan)
    schema = pq.read_schema(out / "all.parquet")
    flat = [name for name in schema.names if family == "scalars" or pa.types.is_decimal(schema.field(name).type)]
    assert len(flat) > 3
    export_encoded(db, "t", out, scan=scan, workers=0, compression=codec, columns=flat)
    oracle.check(db, "t", out / "gpu.parquet", ", ".join(f'"{name}"' for name in flat))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("codec", CODECS)
def test_lines(db, out, scan, workers, codec):
    """Several row groups of every encoding, larger than an output region."""
    db.execute(f"CREATE TABLE t AS {LINES.format(rows=60000)}")
    result, _ = export_encoded(
        db, "t", out, scan=scan, workers=workers, compression=codec, row_group_rows=25000, byte_stream_split=True
    )
    assert result.row_groups > 2
    for device in ("cpu", "gpu"):
        oracle.check(db, "t", out / f"{device}.parquet")
    used = {
        encoding
        for group in range(2)
        for i in range(14)
        for encoding in pq.read_metadata(out / "gpu.parquet").row_group(group).column(i).encodings
    }
    assert used >= {"PLAIN", "RLE_DICTIONARY", "DELTA_BINARY_PACKED"}
    assert ("BYTE_STREAM_SPLIT" in used) == (codec != "none"), "which is as large as PLAIN"
    assert "DELTA_LENGTH_BYTE_ARRAY" in used or codec in ("lz4_raw", "zstd"), (
        "which find lengths between the values too"
    )


@pytest.mark.parametrize("codec", CODECS)
def test_sizes(installation, out, codec):
    """Within five hundredths of what the CPU makes, in slots as large as they are by default."""
    with (
        GpuServer(
            installation, "gpu-sizes", **{"pg_strata.gpu_pool_size": "128MB", "pg_strata.gpu_slot_size": "8MB"}
        ) as server,
        server.connect() as db,
    ):
        db.execute(f"CREATE EXTENSION pg_strata; CREATE TABLE t AS {LINES.format(rows=400000)}")
        result, cpu = export_encoded(db, "t", out, workers=0, compression=codec)
        assert result.bytes <= 1.05 * cpu.bytes, (result.bytes, cpu.bytes)


def test_the_same_bytes(db, out):
    db.execute(f"CREATE TABLE t AS {LINES.format(rows=50000)}")
    for name in ("one", "other"):
        assert export(db, "t", out / f"{name}.parquet", device="gpu", compression="snappy", workers=0).device == "gpu"
    assert (out / "one.parquet").read_bytes() == (out / "other.parquet").read_bytes()


def test_strings(db, out):
    """Bounds of long strings, of characters that are cut, of none, and of bytes that nothing is above."""
    db.execute("""CREATE TABLE t (i int, a text, b text, c bytea, d text, e text NOT NULL);
        INSERT INTO t SELECT i, repeat('ä', i % 90) || i,
        CASE WHEN i % 7 > 0 THEN md5(i::text) || repeat('z', i % 60) END, decode(repeat('ff', i % 90), 'hex'), NULL,
        '' FROM generate_series(1, 30000) i""")
    export_encoded(db, "t", out, compression="snappy", columns=["i", "a", "b", "d", "e"])
    oracle.check(db, "t", out / "gpu.parquet", "i, a, b, d, e")
    result = export_both(db, "t", out, compression="snappy")
    assert (result.device, encoded(db)[0]) == ("gpu+cpu", 0), "80 bytes of 0xff have no bound that is shorter"
    oracle.check(db, "t", out / "gpu.parquet")


def test_empty_and_bare(db, out):
    db.execute(
        "CREATE TABLE t (i int, s text); "
        "CREATE TABLE n AS SELECT NULL::int AS i, NULL::text AS s FROM generate_series(1, 5000)"
    )
    assert export_both(db, "t", out, compression="none").rows == 0
    export_encoded(db, "n", out, compression="snappy")


@pytest.mark.parametrize("scan", SCANS)
def test_partitions(db, out, scan):
    """A row group of slots of different leaves, some rows older than their columns."""
    db.execute("""CREATE TABLE t (a int, b text, c numeric(8,2)) PARTITION BY RANGE (a);
        CREATE TABLE p1 (c numeric(8,2), x int, b text, a int); ALTER TABLE p1 DROP x;
        ALTER TABLE t ATTACH PARTITION p1 FOR VALUES FROM (0) TO (4000);
        CREATE TABLE p2 PARTITION OF t FOR VALUES FROM (4000) TO (20000);
        INSERT INTO t SELECT i, 'b' || i, i / 10.0 FROM generate_series(1, 19999) i;
        ALTER TABLE t ADD d date DEFAULT '2026-01-01', ADD e text DEFAULT 'late';
        INSERT INTO t SELECT i, NULL, NULL, NULL, 'set' FROM generate_series(1, 500) i""")
    result, _ = export_encoded(db, "t", out, scan=scan, compression="snappy")
    assert result.row_groups == 1
    oracle.check(db, "t", out / "gpu.parquet")


@pytest.mark.parametrize("scan", SCANS)
def test_groups_that_are_read_again(db, out, scan):
    """Values that only the server can read make row groups on the CPU, beside those of the GPU in one file."""
    db.execute("""CREATE TABLE t AS SELECT i, CASE WHEN i BETWEEN 40000 AND 41000 THEN repeat('compressed',
        400 + i % 100) ELSE 'plain' || i END AS c
        FROM generate_series(1, 90000) i""")
    result = export_both(db, "t", out, scan=scan, workers=0, compression="snappy", row_group_rows=8000)
    groups, again, why = encoded(db)
    if scan == "heap":
        assert (result.device, 0 < again < 3, why) == (
            "gpu+cpu",
            True,
            "values that a device leaves to the server",
        ) and groups == result.row_groups - again
    else:
        assert (result.device, groups, again) == ("gpu", result.row_groups, 0), "the stream has the values themselves"
    oracle.check(db, "t", out / "gpu.parquet", ordered=True)


def test_giving_up(db, out):
    """A process that fails again and again stops trying."""
    db.execute("CREATE TABLE t AS SELECT i, repeat('compressed', 400 + i % 100) AS c FROM generate_series(1, 30000) i")
    result = export_both(db, "t", out, scan="heap", workers=0, row_group_rows=3000)
    assert (result.row_groups > 5, encoded(db)[:2]) == (True, (0, 3))


@pytest.mark.parametrize("scan", SCANS)
def test_misfits(db, out, scan):
    """Decimals that need more digits than the sample had: the pass begins anew with wider ones."""
    db.execute("""CREATE TABLE t AS SELECT i,
        CASE WHEN i < 50000 THEN i::numeric WHEN i < 80000 THEN i / 100.0 ELSE (i::int8 * i)::numeric END AS n,
        CASE i WHEN 33333 THEN 1e30 WHEN 44444 THEN 0.0001 ELSE i END::numeric AS wide FROM
        generate_series(1, 90000) i""")
    export_encoded(db, "t", out, scan=scan, workers=2, compression="snappy")
    oracle.check(db, "t", out / "gpu.parquet")


def test_little_memory(server, db, out):
    """A device without room for a row group leaves it to the CPU, and the result says so."""
    db.execute(f"CREATE TABLE t AS {LINES.format(rows=100000)}")
    set_devices(server, db, 1, gpu_memory_limit="1MB")
    try:
        heard = notices(db)
        result = export_both(db, "t", out, compression="snappy", workers=0)
        groups, again, _ = encoded(db)
        assert (result.device, groups, again > 0) == ("gpu+cpu", 0, True)
        assert [(severity, "no memory left for row groups" in detail) for severity, _, detail in heard] == [
            ("NOTICE", True)
        ], heard
    finally:
        db.execute("ALTER SYSTEM RESET pg_strata.gpu_memory_limit")
        set_devices(server, db, 2)
    eventually(lambda: ready(server))
    export_encoded(db, "t", out, compression="snappy")


def test_nested_and_other_formats(db, out):
    """Columns that are not encoded on the GPU are still decoded there."""
    db.execute("CREATE TABLE t AS SELECT i, ARRAY[i, i + 1] AS a FROM generate_series(1, 5000) i")
    result = export_both(db, "t", out, scan="copy_binary", compression="snappy")
    assert (result.device, encoded(db)) == ("gpu", (0, 0, None))
    result = export_both(db, "t", out, columns=["i"], bloom_filters=["i"], compression="snappy")
    assert (result.device, encoded(db)) == ("gpu", (0, 0, None))
    oracle.check(db, "t", out / "gpu.parquet", "i")


@pytest.fixture(scope="module")
def big(server):
    with server.connect() as connection:
        connection.execute(f"CREATE TABLE big AS {LINES.format(rows=600000)}")
        connection.execute("VACUUM ANALYZE big")


@pytest.fixture(scope="module")
def truth(server, big):
    return cpu_values(server)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("scan", SCANS)
def test_killed_engine(server, db, truth, out, scan, workers):
    """Row groups that the engine had are read again; those that had come back stay."""
    db.execute("SELECT * FROM gpu_devices()")
    eventually(lambda: ready(server))
    engine = service_info(server)["engine"]
    call = running(server, out / "t.parquet", scan=scan, workers=workers, **SMALL_GROUPS)
    wait_until_writing(out, call)
    kill_engine(server)
    result = call.result()
    assert (result.rows, result.device) == (600000, "gpu+cpu")
    assert [severity for severity, *_ in call.heard] == ["WARNING"], call.heard
    assert oracle.read_pyarrow(out / "t.parquet").equals(truth)
    eventually(lambda: ready(server) and service_info(server)["engine"] != engine)


@pytest.mark.parametrize("scan", SCANS)
def test_faults(server, db, truth, out, scan):
    set_devices(server, db, 2, gpu_fault_after=30)
    try:
        result = export(db, "big", out / "t.parquet", scan=scan, workers=2, device="gpu", **SMALL_GROUPS)
        # All of it here where the engine faults before it has given anything back.
        assert result.device in ("gpu+cpu", "cpu")
        assert oracle.read_pyarrow(out / "t.parquet").equals(truth)
    finally:
        db.execute("ALTER SYSTEM RESET pg_strata.gpu_fault_after")
        db.execute("SELECT pg_reload_conf()")
    # As the next export would: it starts the service where there is none.
    db.execute("SELECT * FROM gpu_devices()")
    eventually(lambda: ready(server), 30, lambda: f"{service_info(server)}\n{server.log()[-6000:]}")


@pytest.mark.parametrize("scan", SCANS)
def test_cancelled(server, db, big, out, scan):
    """No slot and no file is left behind."""
    db.execute("SELECT * FROM gpu_devices()")
    eventually(lambda: ready(server))
    call = running(server, out / "t.parquet", scan=scan, workers=2, **SMALL_GROUPS)
    wait_until_writing(out, call)
    db.execute("SELECT pg_cancel_backend(%s)", (call.pid,))
    call.join(20)
    assert call.error is not None and call.error.sqlstate == "57014"
    eventually(lambda: all_free(db))
    eventually(lambda: entries(out) == [])


def test_exports_at_once(server, db, truth, again, out):
    """More processes than slots: some row groups wait, some are the CPU's."""
    calls = [
        running(server, out / f"{number}.parquet", scan=SCANS[number % 2], workers=2, **SMALL_GROUPS)
        for number in range(4)
    ]
    assert {call.result(120).rows for call in calls} == {600000}
    for number in range(4):
        assert oracle.read_pyarrow(out / f"{number}.parquet").equals(truth)
    eventually(lambda: all_free(db))
