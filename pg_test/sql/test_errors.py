"""Each mistake has its SQLSTATE and a hint, is found before anything is written, and leaves nothing behind."""

import os
import shutil

import psycopg
import pytest

from ..helpers.support import SCANS, entries, export, raises

pytestmark = pytest.mark.fast


@pytest.fixture
def table(db):
    db.execute("CREATE TABLE t AS SELECT i AS a, i::text AS b FROM generate_series(1, 100) i")
    return db


@pytest.fixture(autouse=True)
def nothing_left(out):
    yield
    assert entries(out) == []


def test_no_such_table(table, out):
    with pytest.raises(psycopg.errors.UndefinedTable):
        export(table, "nowhere", out / "t.parquet")


def test_oid_of_nothing(table, out):
    with raises("42P01"):
        table.execute("SELECT * FROM export_table_parquet(4294967295::oid::regclass, %s)", (str(out / "t.parquet"),))


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize(
    "what, statement",
    [
        ("i", "CREATE INDEX i ON t (a)"),
        ("s", "CREATE SEQUENCE s"),
        ("c", "CREATE TYPE c AS (x int)"),
    ],
)
def test_not_a_table(table, out, what, statement, scan):
    table.execute(statement)
    oid = table.execute(
        "SELECT c.oid FROM pg_class c WHERE relname = %s AND relnamespace = %s::regnamespace", (what, table.schema)
    ).fetchone()[0]
    with raises("42809"):
        table.execute(
            "SELECT * FROM export_table_parquet(%s::oid::regclass, %s, scan => %s)", (oid, str(out / "t.parquet"), scan)
        )


@pytest.mark.parametrize("path", ["t.parquet", "./t.parquet", "../t.parquet", ""])
def test_relative_path(table, path):
    with raises("42602"):
        export(table, "t", path)


@pytest.mark.parametrize("path", ["s3://bucket/t.parquet", "file:///tmp/t.parquet"])
def test_url(table, path):
    with raises("0A000") as caught:
        export(table, "t", path)
    assert "URL" in caught.value.diag.message_primary


@pytest.mark.parametrize("name", ["t.pq", "t.arrow", "t.Feather", "t.PARQ"])
def test_extension_of_another_kind_of_file(table, out, name):
    with raises("42602"):
        export(table, "t", out / name)


def test_extension_in_another_case(table, out):
    assert export(table, "t", out / "t.PARQUET").files == 1
    assert (out / "t.PARQUET").is_file()
    (out / "t.PARQUET").unlink()


@pytest.mark.parametrize(
    "name", ["n" * 247 + ".parquet", "\u00e9" * 123 + "n.parquet", "n" * 255], ids=["file", "accents", "directory"]
)
def test_longest_names(table, out, name):
    """The temporary file has a name of its own, and 255 bytes are not too long for the target."""
    for _ in range(2):
        export(table, "t", out / name, overwrite=True)
        assert entries(out) == [name]
    with raises("42602"):
        export(table, "t", out / f"n{name}")
    shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()


@pytest.mark.parametrize("name", ["t.parquet", "t"])
def test_target_is_a_pipe(table, out, name):
    """Nobody waits for its other end."""
    os.mkfifo(out / name)
    with raises("42809") as caught:
        export(table, "t", out / name, overwrite=True)
    assert "regular file" in caught.value.diag.message_primary
    (out / name).unlink()


def test_target_is_a_link_to_a_directory(table, out):
    (out / "real").mkdir()
    (out / "link").symlink_to(out / "real")
    with raises("42809") as caught:
        export(table, "t", out / "link", overwrite=True)
    assert caught.value.diag.message_primary.endswith("is a symbolic link")
    (out / "link").unlink()
    (out / "real").rmdir()


@pytest.mark.parametrize(
    "call, names",
    [
        ("export_query_parquet(NULL, '/tmp/t.parquet')", "SELECT"),
        ("export_query_parquet('SELECT 1', NULL)", "path"),
        ("import_vcf(NULL, '/tmp/t.arrow')", "path"),
        ("export_table_parquet(NULL, '/tmp/t.parquet')", "table"),
    ],
)
def test_hint_of_what_is_missing(table, call, names):
    with raises("22004") as caught:
        table.execute(f"SELECT * FROM {call}")
    assert names in caught.value.diag.message_hint


def test_no_error_carries_a_backtrace(table, server):
    """The servers of the tests run with RUST_BACKTRACE set. Errors of ours, and PostgreSQL's raised inside our
    functions."""
    assert b"RUST_BACKTRACE=1" in open(f"/proc/{server.process.pid}/environ", "rb").read()
    for call in (
        "export_table_parquet('t', 'relative')",
        "export_query_parquet('SELECT 1/0 AS x', '/tmp/t.parquet')",
        "copy_binary_dump('t', '/nowhere/t')",
        "read_parquet('/nowhere') AS t(a int)",
    ):
        with pytest.raises(psycopg.Error) as caught:
            table.execute(f"SELECT * FROM {call}")
        assert "\n" not in (caught.value.diag.message_detail or ""), call


def test_missing_directory(table, out):
    with raises("58P01"):
        export(table, "t", out / "missing" / "t.parquet")


def test_target_is_a_directory(table, out):
    (out / "t.parquet").mkdir()
    with raises("42809"):
        export(table, "t", out / "t.parquet", overwrite=True)
    (out / "t.parquet").rmdir()


def test_directory_that_cannot_be_written(table, out):
    out.chmod(0o555)
    with raises("42501"):
        export(table, "t", out / "t.parquet")
    out.chmod(0o755)


@pytest.mark.parametrize(
    "name, value, sqlstate",
    [
        ("compression", "zip", "22023"),
        ("compression", "", "22023"),
        ("compression", "zstd:99", "22003"),
        ("compression", "zstd:x", "22003"),
        ("compression", "snappy:1", "22003"),
        ("compression", "gzip:-1", "22003"),
        ("scan", "index", "22023"),
        ("workers", -1, "22003"),
        ("row_group_rows", 0, "22003"),
        ("row_group_rows", -5, "22003"),
        ("row_group_bytes", 0, "22003"),
        ("row_group_bytes", -1, "22003"),
        ("columns", ["a", "nope"], "42703"),
        ("columns", ["a", "b", "a"], "42701"),
        ("columns", ["a", None], "22004"),
        ("columns", ["ctid"], "42703"),
    ],
)
def test_bad_option(table, out, name, value, sqlstate):
    with raises(sqlstate):
        export(table, "t", out / "t.parquet", **{name: value})


def test_dropped_column_is_unknown(table, out):
    table.execute("ALTER TABLE t DROP b")
    with raises("42703"):
        export(table, "t", out / "t.parquet", columns=["b"])


@pytest.mark.parametrize("argument", ['"table"', "path"])
def test_null_arguments(table, out, argument):
    arguments = {'"table"': "'t'::regclass", "path": f"'{out / 't.parquet'}'", argument: "NULL"}
    named = ", ".join(f"{name} => {value}" for name, value in arguments.items())
    with raises("22004"):
        table.execute(f"SELECT * FROM export_table_parquet({named})")


def test_null_options_are_the_defaults(table, out):
    names = (
        "columns",
        "compression",
        "row_group_rows",
        "row_group_bytes",
        "workers",
        "scan",
        "overwrite",
        "bloom_filters",
        "byte_stream_split",
    )
    assert export(table, "t", out / "t.parquet", **dict.fromkeys(names)).rows == 100
    (out / "t.parquet").unlink()


def test_failed_export_ends_only_its_transaction(table, out):
    """The session goes on, and a savepoint recovers."""
    table.execute("BEGIN; SAVEPOINT s")
    with raises("22023"):
        export(table, "t", out / "t.parquet", compression="zip")
    table.execute("ROLLBACK TO s")
    assert export(table, "t", out / "t.parquet").rows == 100
    table.execute("COMMIT")
    (out / "t.parquet").unlink()
