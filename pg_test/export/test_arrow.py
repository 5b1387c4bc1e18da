"""Arrow IPC files: every value through pyarrow, the layout for mapping, the bounds, publishing."""

import base64
import json
from decimal import Decimal

import polars
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers import every_type, oracle
from ..helpers.arrow import batches_of, export, open_file, read
from ..helpers.every_type import make
from ..helpers.servers import file_size_limit, small_tmpfs
from ..helpers.support import SCANS, Background, describe, entries, eventually, raises
from ..helpers.support import export as export_parquet

CODECS = ("none", "lz4", "zstd", "zstd:9")
OLD = b"the file that was here before"


def export_and_check(connection, table, path, ordered=True, **options):
    """Exports, then holds the file against the table."""
    result = export(connection, table, path, **options)
    columns = options.get("columns")
    named = ", ".join(f'"{column}"' for column in columns) if columns is not None else "*"
    names, rows = oracle.select(connection, f"SELECT {named} FROM {table}")
    assert result.rows == len(rows)
    oracle.check_table(read(path), names, rows, "pyarrow", ordered)
    return result


@pytest.fixture
def table(db):
    """Some 25 MB of heap: several chunks for whoever takes them."""
    db.execute("""CREATE TABLE t AS SELECT i AS id, 'group, ' || i % 10 AS low,
        repeat(md5(i::text), 4) AS high, i / 4.0 AS n,
        CASE WHEN i % 3 > 0 THEN i * 1.5::float8 END AS some, now()::timestamp + i * interval '1s' AS at,
        i % 2 = 0 AS flag FROM generate_series(1, 100000) i""")
    return db


@pytest.fixture
def small(db):
    db.execute("CREATE TABLE s AS SELECT i AS id, 'word ' || i % 7 AS w, i / 8.0 AS n FROM generate_series(1, 5000) i")
    return db


# Values


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("family", every_type.FAMILIES)
def test_values_and_types(db, out, family, scan):
    cases = make(db, family)
    export_and_check(db, "t", out / "t.arrow", scan=scan)
    schema = open_file(out / "t.arrow").schema
    for name, sql_type, kind, _ in cases:
        got = describe(schema.field(name).type)
        assert kind is None or got == kind.replace("json", "string"), f"{name} {sql_type}: {got}"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("family", every_type.FAMILIES)
def test_many_batches(db, out, family, scan, workers):
    """The same over many pages, in table order whoever decoded them, compressed."""
    make(db, family, repeat=60)
    export_and_check(db, "t", out / "t.arrow", scan=scan, workers=workers, record_batch_rows=200, compression="lz4")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("family", every_type.FAMILIES)
def test_polars_reads_it(db, out, family, codec):
    """Polars has its own reader of the format, and its own types: time in nanoseconds, large offsets, no widths of
    bytes."""
    make(db, family, repeat=20)
    export(db, "t", out / "t.arrow", record_batch_rows=100, compression=codec)
    names, rows = oracle.select(db, "SELECT * FROM t")
    schema = open_file(out / "t.arrow").schema
    oracle.check_table(polars.read_ipc(out / "t.arrow").to_arrow().cast(schema), names, rows, "polars")


@pytest.mark.parametrize("family", every_type.FAMILIES)
def test_schema_is_the_one_that_the_parquet_file_carries(db, out, family):
    """Types, precision, nullability and field metadata."""
    make(db, family)
    db.execute("ALTER TABLE t ADD must int NOT NULL DEFAULT 7")
    export(db, "t", out / "t.arrow")
    export_parquet(db, "t", out / "t.parquet")
    carried = base64.b64decode(pq.read_metadata(out / "t.parquet").metadata[b"ARROW:schema"])
    schema = open_file(out / "t.arrow").schema
    assert schema.remove_metadata().equals(pa.ipc.read_schema(pa.BufferReader(carried)), check_metadata=True)
    assert not schema.field("must").nullable
    columns = json.loads(schema.metadata[b"pg_strata.columns"])
    assert [column["name"] for column in columns] == schema.names


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("scan", SCANS)
def test_numeric_shape_depends_on_data_alone(db, out, workers, scan):
    """The value that needs most digits lies at the end, behind what any sample sees."""
    db.execute("""CREATE TABLE t AS SELECT i, CASE WHEN i = 60000 THEN 1234567890123456.789 ELSE i END::numeric AS n,
                  CASE WHEN i = 59999 THEN 1e60 ELSE i / 8.0 END::numeric AS s, ARRAY[i / 2.0] AS a,
                  NULL::numeric AS none
                  FROM generate_series(1, 60000) i""")
    export_and_check(db, "t", out / "t.arrow", workers=workers, scan=scan, record_batch_rows=7000)
    schema = open_file(out / "t.arrow").schema
    assert [describe(schema.field(name).type) for name in ("n", "s", "none")] == [
        "decimal(19, 3)",
        "string",
        "decimal(1, 0)",
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_tables_without_rows_or_columns(db, out, workers):
    db.execute(
        "CREATE TABLE none (a int, b text, n numeric); CREATE TABLE bare (); "
        "INSERT INTO bare SELECT FROM generate_series(1, 9)"
    )
    export_and_check(db, "none", out / "none.arrow", workers=workers)
    assert export(db, "none", out / "none", workers=workers).files == 1
    export(db, "bare", out / "bare.arrow", workers=workers)
    assert sum(batch.num_rows for batch, _ in batches_of(out / "bare.arrow")) == 9


def test_partitions_and_own_changes(db, out):
    """Under the parent's name, with the transaction's own rows."""
    db.execute("""CREATE TABLE p (id int, v text) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (500);
        CREATE TABLE p2 (v text, id int); ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (500) TO (2000);
        INSERT INTO p SELECT i, 'v' || i FROM generate_series(1, 999) i""")
    with db.transaction():
        db.execute("INSERT INTO p VALUES (1000, NULL)")
        export_and_check(db, "p", out / "p.arrow", ordered=False, workers=2)


# Layout


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("codec", CODECS)
def test_compression(table, out, codec, workers):
    result = export_and_check(table, "t", out / "t.arrow", compression=codec, workers=workers)
    export(table, "t", out / "plain.arrow")
    plain = (out / "plain.arrow").stat().st_size
    assert result.bytes == (out / "t.arrow").stat().st_size
    assert result.bytes < 0.7 * plain if codec != "none" else result.bytes == pytest.approx(plain, rel=0.01)


@pytest.mark.parametrize("scan", SCANS)
def test_the_file_is_mapped_without_a_copy(table, out, scan):
    """Every buffer that a reader gets lies in the mapping, at a multiple of 64 bytes."""
    table.execute("ALTER TABLE t ADD tags text[] DEFAULT ARRAY['a', NULL, 'bc'], ADD u uuid DEFAULT gen_random_uuid()")
    export(table, "t", out / "t.arrow", scan=scan, workers=2)
    mapping = pa.memory_map(str(out / "t.arrow"))
    start, size = mapping.read_buffer().address, mapping.size()
    mapping.seek(0)
    before = pa.total_allocated_bytes()
    data = pa.ipc.open_file(mapping).read_all()
    assert pa.total_allocated_bytes() - before < 100_000
    seen = 0
    for chunk in (chunk for column in data.columns for chunk in column.chunks):
        chunk = chunk.storage if isinstance(chunk.type, pa.BaseExtensionType) else chunk
        for buffer in (buffer for buffer in chunk.buffers() if buffer is not None and buffer.size):
            assert start <= buffer.address and buffer.address + buffer.size <= start + size
            assert buffer.address % 64 == 0
            seen += buffer.size
    assert seen > 0.9 * size


@pytest.mark.parametrize("workers", [0, 3])
def test_record_batch_rows(table, out, workers):
    """None is larger than asked for, and the footer has them in the order of the table."""
    result = export(table, "t", out / "t.arrow", workers=workers, record_batch_rows=10_000)
    sizes = [batch.num_rows for batch, _ in batches_of(out / "t.arrow")]
    assert max(sizes) <= 10_000 and sum(sizes) == 100_000 and len(sizes) == result.record_batches
    assert read(out / "t.arrow").column("id").to_pylist() == list(range(1, 100_001))


def test_record_batch_bytes(table, out):
    export_and_check(table, "t", out / "t.arrow", record_batch_bytes=2_000_000, workers=0)
    assert all(batch.nbytes < 4_000_000 for batch, _ in batches_of(out / "t.arrow"))


def test_the_file_is_a_stream_too(table, out):
    """Behind the first eight bytes, in whatever order the batches lie."""
    export(table, "t", out / "t.arrow", workers=2, record_batch_rows=7000)
    stream = pa.ipc.open_stream(pa.BufferReader((out / "t.arrow").read_bytes()[8:])).read_all()
    assert stream.num_rows == 100_000
    assert stream.sort_by("id").equals(read(out / "t.arrow"))


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("columns", [["id"], ["at", "id"], ["n", "low", "some"]])
def test_columns(small, table, out, scan, columns):
    """Only these, in the order asked for."""
    export_and_check(table, "t", out / "t.arrow", scan=scan, columns=columns)
    assert open_file(out / "t.arrow").schema.names == columns


# Bounds


def bounds(metadata, column):
    text = metadata.get(f"min_max_stats.{column}")
    return None if text is None else tuple(text.split(",", 1))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("scan", SCANS)
def test_bounds_match_the_data(db, out, scan, workers):
    """In PG-Strom's form: exact for numbers, dates and times in the file's units, sound for texts."""
    db.execute("""CREATE TABLE b (i int, o oid, r real, f float8, n numeric, p numeric(9,3), d date,
        ts timestamptz, tm time,
                                  flag bool, x text, c char(40));
        INSERT INTO b SELECT i - 2000, (4294967295 - i * 1000000::bigint)::oid, i / 7.0,
        CASE WHEN i % 1000 = 999 THEN float8 'NaN' ELSE -i / 3.0 END,
            i * 100000000000000000000.001, CASE WHEN i > 500 THEN (i - 1500) / 8.0 END, date '1960-01-01' + i,
            timestamptz '1969-12-31 23:00+00' + i * interval '1 min',
            time '00:00' + i * interval '1 s', i < 400, repeat('ž,', i % 40) || i,
            'long ' || repeat('é', i % 30) FROM generate_series(0, 3999) i""")
    export_and_check(db, "b", out / "b.arrow", scan=scan, workers=workers, record_batch_rows=500)
    units = {"d": pa.int32(), "ts": pa.int64(), "tm": pa.int64()}
    seen = set()
    for batch, metadata in batches_of(out / "b.arrow"):
        for name in batch.schema.names:
            column = batch.column(name)
            values = [value for value in column.view(units.get(name, column.type)).to_pylist() if value is not None]
            found = bounds(metadata, name)
            if not values or any(value != value for value in values):
                assert found is None, name
                continue
            seen.add(name)
            if name in ("x", "c"):
                low, high = (text.encode() for text in found)
                texts = [value.encode() for value in values]
                assert low <= min(texts) and max(texts) <= high and max(len(low), len(high)) <= 31
            elif name == "flag":
                assert found == (str(int(min(values))), str(int(max(values))))
            elif name in ("r", "f"):
                assert tuple(map(float, found)) == (min(values), max(values))
            else:
                assert found == (str(min(values)), str(max(values)))
                assert all(Decimal(text).as_tuple().exponent == (-3 if name in "np" else 0) for text in found)
    assert seen == set("i o r f n p d ts tm flag x c".split())


def test_stats_chooses_the_columns(small, out):
    stated = {}
    for number, stats in enumerate([None, [], ["n"], ["w", "id"]]):
        export(small, "s", out / f"{number}.arrow", stats=stats)
        stated[number] = {
            key.removeprefix("min_max_stats.")
            for _, metadata in batches_of(out / f"{number}.arrow")
            for key in metadata
        }
    assert stated == {0: {"id", "w", "n"}, 1: set(), 2: {"n"}, 3: {"w", "id"}}
    small.execute("ALTER TABLE s ADD u uuid, ADD j jsonb, ADD a int[]")
    for column, sqlstate in {"u": "0A000", "j": "0A000", "a": "0A000", "nope": "42703"}.items():
        with raises(sqlstate):
            export(small, "s", out / "t.arrow", stats=[column])
    with raises("42703"):
        export(small, "s", out / "t.arrow", stats=["id"], columns=["n"])
    with raises("22004"):
        export(small, "s", out / "t.arrow", stats=[None])
    assert "t.arrow" not in entries(out)


# Publishing


@pytest.mark.parametrize("workers", [0, 2])
def test_directory(table, out, workers):
    """Part files and, last of all, _SUCCESS with the manifest."""
    result = export_and_check(table, "t", out / "parts", ordered=False, workers=workers)
    names = entries(out / "parts")
    parts = [name for name in names if name.endswith(".arrow")]
    assert sorted([*parts, "_SUCCESS"]) == names and len(parts) == result.files >= 1
    manifest = json.loads((out / "parts" / "_SUCCESS").read_text())
    assert manifest["rows"] == sum(file["rows"] for file in manifest["files"]) == 100_000
    assert sorted(file["name"] for file in manifest["files"]) == parts
    assert result.bytes == manifest["bytes"] == sum((out / "parts" / name).stat().st_size for name in parts)


def test_a_directory_of_either_format_is_replaced_as_a_whole(small, out):
    export_parquet(small, "s", out / "parts", workers=0)
    with raises("58P02"):
        export(small, "s", out / "parts")
    export_and_check(small, "s", out / "parts", ordered=False, overwrite=True)
    assert all(not name.endswith(".parquet") for name in entries(out / "parts"))
    (out / "parts" / "mine.arrow").write_bytes(OLD)
    with raises("58P02"):
        export(small, "s", out / "parts", overwrite=True)


@pytest.mark.parametrize("scan", SCANS)
def test_overwrite(small, out, scan):
    file = out / "t.arrow"
    file.write_bytes(OLD)
    with raises("58P02"):
        export(small, "s", file, scan=scan)
    assert file.read_bytes() == OLD
    export_and_check(small, "s", file, scan=scan, overwrite=True)
    assert entries(out) == ["t.arrow"]


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_failure_leaves_the_old_file(table, out, scan, workers):
    """A value that no Arrow type of ours holds, met when most is written."""
    (out / "t.arrow").write_bytes(OLD)
    table.execute("ALTER TABLE t ADD d date; INSERT INTO t (d) VALUES ('infinity')")
    with raises("22008") as caught:
        export(table, "t", out / "t.arrow", scan=scan, workers=workers, overwrite=True)
    assert all(word in caught.value.diag.message_detail for word in ("t", '"d"', "ctid"))
    assert entries(out) == ["t.arrow"] and (out / "t.arrow").read_bytes() == OLD


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("workers", [0, 2])
def test_cancel_leaves_the_old_file(table, again, out, scan, workers):
    (out / "t.arrow").write_bytes(OLD)
    connection = again()
    call = Background(
        lambda: export(
            connection,
            "t",
            out / "t.arrow",
            scan=scan,
            workers=workers,
            overwrite=True,
            compression="zstd:19",
            record_batch_rows=5000,
        )
    )
    eventually(lambda: len(entries(out)) > 1 or call.ended)
    table.execute("SELECT pg_cancel_backend(%s)", (connection.info.backend_pid,))
    with pytest.raises(psycopg.errors.QueryCanceled):
        call.result()
    assert entries(out) == ["t.arrow"] and (out / "t.arrow").read_bytes() == OLD


@pytest.mark.parametrize("workers", [0, 2])
def test_no_space_left(server, table, again, out, workers):
    (out / "t.arrow").write_bytes(OLD)
    with file_size_limit(server, 2 << 20):
        with pytest.raises(psycopg.Error) as caught:
            export(again(), "t", out / "t.arrow", workers=workers, overwrite=True)
    assert caught.value.sqlstate in ("53100", "54000", "58030") and caught.value.diag.message_hint
    assert entries(out) == ["t.arrow"] and (out / "t.arrow").read_bytes() == OLD
    with small_tmpfs(out / "small", "4m") as directory:
        with raises("53100"):
            export(table, "t", directory / "t.arrow", workers=workers)
        assert entries(directory) == []


# Arguments and privileges


@pytest.mark.parametrize(
    "options, sqlstate",
    [
        ({"compression": "snappy"}, "22023"),
        ({"compression": "zstd:23"}, "22003"),
        ({"compression": "lz4:1"}, "22003"),
        ({"record_batch_rows": 0}, "22003"),
        ({"record_batch_bytes": -1}, "22003"),
        ({"workers": -1}, "22003"),
        ({"scan": "index"}, "22023"),
        ({"columns": ["nope"]}, "42703"),
        ({"columns": []}, None),
    ],
)
def test_arguments(small, out, options, sqlstate):
    if sqlstate is None:
        assert export(small, "s", out / "t.arrow", **options).rows == 5000
        return
    with raises(sqlstate):
        export(small, "s", out / "t.arrow", **options)
    assert entries(out) == []


def test_privileges(small, out, role):
    """The same guards as for Parquet: every exported column, pg_write_server_files, row-level security."""
    small.execute(f"GRANT SELECT (id) ON s TO {role}; SET ROLE {role}")
    with raises("42501"):
        export(small, "s", out / "t.arrow")
    assert export(small, "s", out / "id.arrow", columns=["id"]).rows == 5000
    small.execute(
        f"RESET ROLE; REVOKE pg_write_server_files FROM {role}; "
        f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}; SET ROLE {role}"
    )
    with raises("42501"):
        export(small, "s", out / "t.arrow", columns=["id"])
    small.execute("RESET ROLE; SET pg_strata.export_directories = '/nowhere'")
    with raises("42501"):
        export(small, "s", out / "t.arrow")
    small.execute("RESET pg_strata.export_directories")
    assert entries(out) == ["id.arrow"]
