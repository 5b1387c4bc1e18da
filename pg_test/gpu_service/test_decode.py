"""device => 'gpu' against device => 'cpu' and SELECT, on fake devices: every type, every scan, every number of
workers and devices."""

import psycopg
import pytest

from ..helpers import every_type, oracle
from ..helpers.gpu_encoding import fit
from ..helpers.gpu_server import GpuServer, all_free, export_both, free_slots, notices, set_devices, status
from ..helpers.support import SCANS, Background, create_extension, eventually, export, raises

WORKERS = (0, 2, 4)


@pytest.fixture(scope="module")
def server(installation):
    with GpuServer(installation, "gpu") as server:
        create_extension(server)
        yield server


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("family", every_type.FAMILIES)
def test_every_type(db, out, family, scan, workers):
    cases = every_type.FAMILIES[family]
    if scan == "heap":
        cases = fit(cases) if family in ("scalars", "numerics") else []
    if not cases:
        pytest.skip("no column that a GPU reads in the heap")
    db.execute(every_type.TYPES)
    every_type.create(db, "t", cases, repeat=400)
    result = export_both(db, "t", out, scan=scan, workers=workers, row_group_rows=1500)
    assert (result.scan, result.device) == (scan, "gpu")
    oracle.check(db, "t", out / "gpu.parquet")


@pytest.mark.parametrize("devices", [1, 2, 4])
@pytest.mark.parametrize("scan", SCANS)
def test_devices(server, db, out, devices, scan):
    set_devices(server, db, devices)
    db.execute("""CREATE TABLE t AS SELECT i, i::text AS t, i / 8.0 AS n,
        CASE WHEN i % 5 > 0 THEN now() + i * interval '1s' END AS at,
        md5(i::text) AS m FROM generate_series(1, 60000) i""")
    for workers in WORKERS:
        result = export_both(db, "t", out, scan=scan, workers=workers, row_group_rows=7000)
        assert result.device == "gpu"
    oracle.check(db, "t", out / "gpu.parquet")
    rows = db.execute("SELECT ordinal, state, queue_depth FROM gpu_devices() ORDER BY ordinal").fetchall()
    assert rows == [(ordinal, "ready", 0) for ordinal in range(devices)]
    eventually(lambda: all_free(db))
    set_devices(server, db, 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_row_group_bytes(db, out, workers):
    """The bound that is looked at where batches end gives the same row groups on either device."""
    db.execute(
        "CREATE TABLE t AS SELECT i, repeat(md5(i::text), i % 7) AS t, i * 1.5 AS n FROM generate_series(1, 60000) i"
    )
    for scan in SCANS:
        result = export_both(db, "t", out, scan=scan, workers=workers, row_group_bytes=700_000)
        assert result.device == "gpu" and result.row_groups > 5


def test_auto_scan(db, out):
    """The heap where a GPU can read every column there, else the stream."""
    db.execute("CREATE TYPE m AS ENUM ('a'); CREATE TABLE t AS SELECT i, 'a'::m AS e FROM generate_series(1, 1000) i")
    assert export(db, "t", out / "a.parquet", device="gpu", columns=["i"]).scan == "heap"
    result = export_both(db, "t", out)
    assert (result.scan, result.device) == ("copy_binary", "gpu")
    result = export(db, "t", out / "b.parquet")
    assert (result.scan, result.device) == ("heap", "cpu"), "the CPU is faster from the heap"
    with raises("0A000") as caught:
        export(db, "t", out / "c.parquet", device="gpu", scan="heap")
    assert 'Column "e" of type m' in caught.value.diag.message_detail


@pytest.mark.parametrize("what", ["text", "virtual", "zero"])
def test_unfit_for_the_heap(db, out, what):
    if what == "virtual" and db.info.server_version < 180000:
        pytest.skip("virtual generated columns come with PostgreSQL 18")
    db.execute(
        {
            "text": "CREATE TABLE t (a int, b jsonb); INSERT INTO t VALUES (1, '{}')",
            "virtual": "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a + 1) VIRTUAL); INSERT INTO t VALUES (1)",
            "zero": "CREATE TABLE t ()",
        }[what]
    )
    with raises("0A000"):
        export(db, "t", out / "t.parquet", device="gpu", scan="heap")
    assert export(db, "t", out / "t.parquet", device="auto", scan="heap").device == "cpu"
    if what != "zero":
        assert export_both(db, "t", out, scan="copy_binary").device == "gpu"


def test_other_encodings(server, out):
    """Text that is converted goes through the stream."""
    with server.connect() as connection:
        connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    with server.connect("latin") as connection:
        connection.execute(
            "CREATE EXTENSION pg_strata; CREATE TABLE t AS SELECT i, 'ü' || i AS t FROM generate_series(1, 0) i"
        )
        connection.execute("INSERT INTO t SELECT i, 'é' || i FROM generate_series(1, 3000) i")
        with raises("0A000"):
            export(connection, "t", out / "t.parquet", device="gpu", scan="heap")
        result = export_both(connection, "t", out)
        assert (result.scan, result.device) == ("copy_binary", "gpu")
        assert export(connection, "t", out / "i.parquet", device="gpu", scan="heap", columns=["i"]).device == "gpu"
    with server.connect() as connection:
        connection.execute("DROP DATABASE latin")


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize(
    "kind, literal, sqlstate",
    [
        ("numeric", "NaN", "22003"),
        ("numeric(10,2)", "NaN", "22003"),
        ("numeric", "Infinity", "22003"),
        ("date", "infinity", "22008"),
        ("timestamptz", "-infinity", "22008"),
        ("time", "24:00:00", "22008"),
    ],
)
def test_values_that_parquet_cannot_hold(db, out, scan, kind, literal, sqlstate):
    """The same error on either device: table, column, ctid."""
    ordinary = "1.5" if "numeric" in kind else "2026-01-01 12:34"
    db.execute(f"CREATE TABLE t AS SELECT i, '{ordinary}'::{kind} AS v FROM generate_series(1, 40000) i")
    db.execute(f"UPDATE t SET v = '{literal}' WHERE i = 20000")
    errors = []
    for device in ("cpu", "gpu"):
        with raises(sqlstate) as caught:
            export(db, "t", out / "t.parquet", device=device, scan=scan, workers=1)
        errors.append((caught.value.diag.message_primary, caught.value.diag.message_detail))
    assert errors[0] == errors[1] and "ctid" in errors[1][1]
    eventually(lambda: all_free(db))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("scan", SCANS)
def test_misfits_restart(db, out, scan, workers):
    """A numeric's type is that of all its values, wherever the widest lies."""
    db.execute("""CREATE TABLE t AS SELECT i,
        CASE WHEN i < 50000 THEN i::numeric WHEN i < 80000 THEN i / 100.0 ELSE i::numeric ^ 5 END AS n,
        CASE i WHEN 33333 THEN 1e40 WHEN 44444 THEN 0.000000001 ELSE i END::numeric AS wide FROM
        generate_series(1, 90000) i""")
    result = export_both(db, "t", out, scan=scan, workers=workers)
    assert result.device == "gpu"
    oracle.check(db, "t", out / "gpu.parquet")


def test_few_toasted_values_are_patched(db, out):
    """One value in fifty is compressed or out of line: they alone are found by the server."""
    db.execute("""CREATE TABLE t (i int, c text, b bytea, "char" "char");
        INSERT INTO t SELECT i, CASE WHEN i % 50 = 0 THEN repeat('compressed', 500) ELSE 'plain' || i END,
        CASE WHEN i % 400 = 7 THEN (SELECT decode(string_agg(md5(i::text || k), ''), 'hex') FROM generate_series(1,
        300) k) ELSE '\\x01' END,
        CASE WHEN i % 90 = 3 THEN '\\303'::"char" ELSE 'x' END FROM generate_series(1, 20000) i""")
    result = export_both(db, "t", out, scan="heap", columns=["i", "c", "b"])
    assert result.device == "gpu+cpu", "decoded there, encoded here"
    oracle.check(db, "t", out / "gpu.parquet", columns="i, c, b")
    last = db.execute(
        "SELECT message FROM gpu_status() WHERE message LIKE '%found by the server%' ORDER BY time DESC LIMIT 1"
    ).fetchone()[0]
    assert "450 values found" in last, last


def test_many_toasted_values_are_redone(db, out):
    db.execute("CREATE TABLE t AS SELECT i, repeat('compressed', 400 + i % 100) AS c FROM generate_series(1, 5000) i")
    result = export_both(db, "t", out, scan="heap", workers=2)
    assert result.device == "gpu+cpu"
    assert export_both(db, "t", out, scan="copy_binary", workers=2).device == "gpu"


@pytest.mark.parametrize("scan", SCANS)
def test_rows_larger_than_a_slot(db, out, scan):
    """A row of a megabyte does not fit a slot of 512 kB: the CPU decodes it, in its place."""
    db.execute("""CREATE TABLE t AS SELECT i, CASE WHEN i % 900 = 0 THEN repeat(md5(i::text),
        40000) ELSE 'small' || i END AS c
        FROM generate_series(1, 5000) i""")
    db.execute("ALTER TABLE t ALTER c SET STORAGE external; UPDATE t SET c = c || 'x' WHERE i % 1800 = 0")
    result = export_both(db, "t", out, scan=scan, workers=1)
    assert result.device in ("gpu", "gpu+cpu")
    oracle.check(db, "t", out / "gpu.parquet", ordered=True)


@pytest.mark.parametrize("scan", SCANS)
def test_partitions_and_inheritance(db, out, scan):
    """Leaves whose columns lie differently, some empty, some with rows older than their columns."""
    db.execute("""CREATE TABLE t (a int, b text, c numeric(8,2)) PARTITION BY RANGE (a);
        CREATE TABLE p1 (c numeric(8,2), x int, b text, a int); ALTER TABLE p1 DROP x;
        ALTER TABLE t ATTACH PARTITION p1 FOR VALUES FROM (0) TO (4000);
        CREATE TABLE p2 PARTITION OF t FOR VALUES FROM (4000) TO (5000);
        CREATE TABLE p3 PARTITION OF t FOR VALUES FROM (5000) TO (20000);
        INSERT INTO t SELECT i, 'b' || i, i / 10.0 FROM generate_series(1, 3999) i;
        INSERT INTO t SELECT i, 'b' || i, i / 10.0 FROM generate_series(5000, 19999) i;
        ALTER TABLE t ADD d date DEFAULT '2026-01-01', ADD e text DEFAULT 'late';
        INSERT INTO t SELECT i, NULL, NULL, NULL, 'set' FROM generate_series(1, 500) i""")
    for workers in (0, 2):
        result = export_both(db, "t", out, scan=scan, workers=workers, row_group_rows=3000)
        assert result.device == "gpu"
    oracle.check(db, "t", out / "gpu.parquet")


@pytest.mark.parametrize("scan", SCANS)
def test_temporary_and_uncommitted(db, out, scan):
    db.execute("CREATE TEMP TABLE temporary AS SELECT i, i::text AS t FROM generate_series(1, 30000) i")
    assert export_both(db, "temporary", out, scan=scan).device == "gpu"
    db.execute(
        "BEGIN; CREATE TABLE t AS SELECT i, i::text AS t FROM generate_series(1, 30000) i; "
        "DELETE FROM t WHERE i % 3 = 0"
    )
    assert export_both(db, "t", out, scan=scan, workers=2).rows == 20000
    db.execute("COMMIT")


@pytest.mark.parametrize("scan", SCANS)
def test_two_exports_at_once(db, again, out, scan):
    """More processes than slots: every export ends with every value."""
    db.execute("CREATE TABLE t AS SELECT i, md5(i::text) AS m, i / 3 AS n FROM generate_series(1, 200000) i")
    calls = []
    for number in range(4):
        connection, file = again(), out / f"{number}.parquet"
        calls.append(
            Background(
                lambda connection=connection, file=file: export(
                    connection, "t", file, scan=scan, workers=2, device="gpu", row_group_rows=20000
                )
            )
        )
    assert {call.result().rows for call in calls} == {200000}
    tables = [oracle.read_pyarrow(out / f"{number}.parquet") for number in range(4)]
    assert all(table.equals(tables[0]) for table in tables[1:])
    oracle.check(db, "t", out / "0.parquet")
    eventually(lambda: all_free(db))


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("scan", SCANS)
def test_decode_table(db, scan, device):
    db.execute(
        "CREATE TABLE t AS SELECT i, i::text AS t, i / 7.0 AS n, "
        "CASE WHEN i % 1000 = 1 THEN repeat('toast', 1000) END AS c FROM generate_series(1, 50000) i"
    )
    rows, size, slots, kind, used, workers, elapsed = db.execute(
        (
            "SELECT rows, bytes, slots, scan, device, workers, "
            "elapsed FROM decode_table('t', scan => %s, workers => 2, device => %s)"
        ),
        (scan, device),
    ).fetchone()
    assert (rows, kind, used) == (50000, scan, device) and elapsed.total_seconds() > 0
    blocks = db.execute("SELECT pg_relation_size('t')").fetchone()[0]
    stream = db.execute("SELECT bytes - 21 FROM copy_binary_dump('t')").fetchone()[0]
    assert size == (blocks if scan == "heap" else stream)
    assert slots > 0 if device == "gpu" else slots == 0


def test_decode_table_checks_privileges(db, role):
    db.execute(f"CREATE TABLE t AS SELECT 1 AS a; SET ROLE {role}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("SELECT * FROM decode_table('t')")


def test_status_is_for_monitors(db, role):
    db.execute(f"SET ROLE {role}")
    for function in ("gpu_status", "gpu_devices"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(f"SELECT * FROM {function}()")
    db.execute(f"RESET ROLE; GRANT pg_monitor TO {role}; SET ROLE {role}")
    assert "ready" in status(db)


def test_unknown_device(db, out):
    db.execute("CREATE TABLE t AS SELECT 1 AS a")
    with raises("22023"):
        export(db, "t", out / "t.parquet", device="tpu")


def test_small_tables_stay_on_the_cpu(server, db, out):
    db.execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i; SET pg_strata.gpu_min_table_size = '1MB'")
    assert export(db, "t", out / "t.parquet").device == "cpu"
    assert any("gpu_min_table_size" in row[0] for row in db.execute("SELECT message FROM gpu_status()"))
    assert export(db, "t", out / "t.parquet", device="gpu", overwrite=True).device == "gpu"


def test_off(db, out):
    db.execute("CREATE TABLE t AS SELECT 1 AS a; SET pg_strata.gpu = off")
    assert export(db, "t", out / "t.parquet").device == "cpu"
    with raises("55000") as caught:
        export(db, "t", out / "t.parquet", device="gpu", overwrite=True)
    assert caught.value.diag.message_detail == "The parameter pg_strata.gpu is off."


def test_decisions_are_logged_on_request(server, db, out):
    db.execute("CREATE TABLE t AS SELECT 1 AS a; SET pg_strata.log_gpu_decisions = on")
    export(db, "t", out / "t.parquet", device="gpu")
    assert f"pg_strata: table {db.schema}.t: decoded on the GPU, scan heap" in server.log()


def test_nothing_unexpected_was_said(db, out):
    """There is no warning and no notice if all goes well."""
    db.execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 100000) i")
    heard = notices(db)
    assert export(db, "t", out / "t.parquet", device="gpu", workers=2).device == "gpu"
    assert heard == []
    slots, free = free_slots(db)
    assert slots == free > 4
