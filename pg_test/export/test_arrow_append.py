"""Record batches behind those of a file: what was there stays, byte for byte, whatever becomes of the export."""

import fcntl

import pyarrow as pa
import pytest

from ..helpers import every_type, oracle
from ..helpers.arrow import batches_of, export, open_file, read
from ..helpers.support import SCANS, Background, entries, eventually, export_query, raises

pytestmark = pytest.mark.fast

NUMBERS = (
    "CREATE TABLE t AS SELECT i AS id, i / 4.0 AS n, 'text ' || i AS s, ARRAY[i, "
    "i + 1] AS a FROM generate_series(1, 20000) i"
)


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("workers", [0, 2])
def test_rows_follow(db, out, scan, workers):
    db.execute(NUMBERS)
    path = out / "t.arrow"
    first = export(db, "t", path, workers=workers, scan=scan, record_batch_rows=3000, append=True)
    before, table = path.read_bytes(), read(path)
    db.execute("UPDATE t SET id = id + 100000")
    second = export(db, "t", path, workers=workers, scan=scan, record_batch_rows=7000, compression="lz4", append=True)
    assert (first.rows, second.rows) == (20000, 20000) and second.bytes == path.stat().st_size > first.bytes
    both = read(path)
    assert both.slice(0, 20000).equals(table) and both.num_rows == 40000
    oracle.check_table(both.slice(20000), *oracle.select(db, "TABLE t"), "pyarrow")
    assert open_file(path).num_record_batches == first.record_batches + second.record_batches
    # The old record batches are the same bytes.
    end = before.rindex(bytes.fromhex("ffffffff00000000"))
    assert path.read_bytes()[:end] == before[:end]
    stated = [metadata["min_max_stats.id"].split(",") for _, metadata in batches_of(path)]
    assert (min(int(low) for low, _ in stated), max(int(high) for _, high in stated)) == (1, 120000)
    # Streams are read from the start, without the footer.
    with open(path, "rb") as file:
        file.seek(8)
        assert pa.ipc.open_stream(file).read_all().num_rows == 40000


@pytest.mark.parametrize("family", every_type.FAMILIES)
def test_every_type(db, out, family):
    db.execute(every_type.TYPES)
    every_type.create(db, "t", every_type.FAMILIES[family], repeat=3)
    path = out / "t.arrow"
    for _ in range(3):
        export(db, "t", path, append=True)
    table = read(path)
    rows = table.num_rows // 3
    for part in range(3):
        oracle.check_table(table.slice(part * rows, rows), *oracle.select(db, "TABLE t"), "pyarrow")


def test_decimals_become_wider(db, out):
    """Digits before the point may grow: the file says so at both ends. Digits behind it may not."""
    path = out / "t.arrow"
    db.execute("CREATE TABLE t (n numeric); INSERT INTO t VALUES (1.25), (NULL)")
    export(db, "t", path)
    assert open_file(path).schema.field("n").type == pa.decimal128(3, 2)
    db.execute("TRUNCATE t; INSERT INTO t VALUES (7), (123456789012345678901.5)")
    export(db, "t", path, append=True)
    assert open_file(path).schema.field("n").type == pa.decimal128(23, 2)
    assert [str(value) for value in read(path)["n"].to_pylist()] == ["1.25", "None", "7.00", "123456789012345678901.50"]
    with open(path, "rb") as file:
        file.seek(8)
        assert pa.ipc.open_stream(file).schema.field("n").type == pa.decimal128(23, 2)
    before = path.read_bytes()
    for value in ("0.001", "1e37", "'NaN'"):
        db.execute(f"TRUNCATE t; INSERT INTO t VALUES ({value})")
        with raises("42804" if value != "'NaN'" else "22003"):
            export(db, "t", path, append=True)
    assert path.read_bytes() == before and entries(out) == ["t.arrow"]


@pytest.mark.parametrize(
    "other, detail",
    [
        ("SELECT 1 AS a", "The file has the columns id, name; the export has a."),
        ("SELECT 'x'::text AS name, 1 AS id", "The file has the columns id, name; the export has name, id."),
        ("SELECT 1::bigint AS id, 'x'::text AS name", 'Column "id" is Int32 in the file and Int64 in the export.'),
        ("SELECT 1 AS id, '\\x00'::bytea AS name", 'Column "name" is Utf8 in the file and Binary in the export.'),
    ],
)
def test_other_columns_are_refused(db, out, other, detail):
    path = out / "t.arrow"
    export_query(db, "SELECT 1 AS id, 'one'::text AS name", path, "arrow")
    before = path.read_bytes()
    with raises("42804") as caught:
        export_query(db, other, path, "arrow", append=True)
    assert caught.value.diag.message_detail == detail
    assert path.read_bytes() == before and entries(out) == ["t.arrow"]


def test_files_of_others(db, out):
    """What pyarrow wrote: its schema and metadata stay."""
    path = out / "t.arrow"
    schema = pa.schema(
        [pa.field("i", pa.int32()), pa.field("s", pa.string(), metadata={"unit": "none"})], metadata={"made by": "hand"}
    )
    with pa.ipc.new_file(str(path), schema) as writer:
        writer.write_table(pa.table({"i": [1, 2, None], "s": ["a", None, "c"]}, schema=schema))
    assert (
        export_query(db, "SELECT i, 's' || i AS s FROM generate_series(4, 6) i", path, "arrow", append=True).rows == 3
    )
    table = read(path)
    assert table.to_pydict() == {"i": [1, 2, None, 4, 5, 6], "s": ["a", None, "c", "s4", "s5", "s6"]}
    assert table.schema.equals(schema, check_metadata=True)


def test_dictionaries_are_refused(db, out):
    path = out / "t.arrow"
    table = pa.table({"i": pa.array(["a", "b", "a"]).dictionary_encode()})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    before = path.read_bytes()
    with raises("42804"):
        export_query(db, "SELECT 'x'::text AS i", path, "arrow", append=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"not arrow at all, but long enough to hold a footer"])
def test_damaged_files_are_refused(db, out, content):
    path = out / "t.arrow"
    path.write_bytes(content)
    with raises("XX001"):
        export_query(db, "SELECT 1 AS i", path, "arrow", append=True)
    assert path.read_bytes() == content and entries(out) == ["t.arrow"]


def test_options_that_exclude_it(db, out):
    db.execute("CREATE TABLE t AS SELECT 1 AS i")
    for path, options in ((out / "directory", {}), (out / "t.arrow", {"overwrite": True})):
        with raises("22023"):
            export(db, "t", path, append=True, **options)
    assert entries(out) == []


def test_nothing_to_append(db, out):
    path = out / "t.arrow"
    db.execute("CREATE TABLE t (i int, n numeric)")
    assert export(db, "t", path, append=True).rows == 0
    assert export(db, "t", path, append=True).rows == 0
    db.execute("INSERT INTO t VALUES (1, 2.5)")
    # A file without rows says nothing of the decimals' scale.
    export(db, "t", path, append=True)
    export_query(db, "SELECT * FROM t WHERE false", path, "arrow", append=True)
    assert read(path)["i"].to_pylist() == [1] and open_file(path).num_record_batches == 1


def test_two_at_once(db, again, out):
    """The second is told to wait: its rows would be lost, or the first's."""
    path = out / "t.arrow"
    export_query(db, "SELECT 0 AS i", path, "arrow")
    connection = again()
    call = Background(
        lambda: export_query(
            connection, "SELECT i FROM generate_series(1, 3) i, pg_sleep(1)", path, "arrow", append=True
        )
    )

    def locked():
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
            except BlockingIOError:
                return True

    eventually(locked)
    with raises("55P03"):
        export_query(db, "SELECT 9 AS i", path, "arrow", append=True)
    call.result()
    assert read(path)["i"].to_pylist() == [0, 1, 2, 3]
    assert export_query(db, "SELECT 9 AS i", path, "arrow", append=True).rows == 1


def test_file_that_is_replaced_meanwhile(db, again, out):
    path = out / "t.arrow"
    export_query(db, "SELECT 0 AS i", path, "arrow")
    connection = again()
    call = Background(
        lambda: export_query(
            connection, "SELECT i FROM generate_series(1, 3) i, pg_sleep(2)", path, "arrow", append=True
        )
    )
    eventually(
        lambda: db.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone()[0] == 1
    )
    export_query(db, "SELECT 77 AS i", path, "arrow", overwrite=True)
    call.join(20)
    assert call.error is not None and call.error.sqlstate == "55000"
    assert read(path)["i"].to_pylist() == [77] and entries(out) == ["t.arrow"]


def test_permissions_stay(db, out):
    path = out / "t.arrow"
    export_query(db, "SELECT 0 AS i", path, "arrow")
    path.chmod(0o600)
    export_query(db, "SELECT 1 AS i", path, "arrow", append=True)
    assert path.stat().st_mode & 0o777 == 0o600
