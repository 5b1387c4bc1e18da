"""Exports of a query's result: every value against the same SELECT, and whatever may be wrong with a query."""

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers import every_type, oracle
from ..helpers.arrow import export as export_arrow
from ..helpers.arrow import read as read_arrow
from ..helpers.gpu_server import wait_until_writing
from ..helpers.support import Background, entries, eventually, export, export_query, raises

pytestmark = pytest.mark.fast

FORMATS = ("parquet", "arrow")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("family", every_type.FAMILIES)
def test_every_type(db, out, family, kind):
    """The table's values, in the types that its own export gives them."""
    db.execute(every_type.TYPES)
    every_type.create(db, "t", every_type.FAMILIES[family], repeat=40)
    result = export_query(db, "TABLE t", out / f"t.{kind}", kind)
    assert (result.scan, result.device, result.workers, result.files) == ("query", "cpu", 0, 1)
    file = oracle.read_pyarrow(out / "t.parquet") if kind == "parquet" else read_arrow(out / "t.arrow")
    oracle.check_table(file, *oracle.select(db, "TABLE t"), kind)
    {"parquet": export, "arrow": export_arrow}[kind](db, "t", out / f"table.{kind}", workers=0)
    table = oracle.read_pyarrow(out / "table.parquet") if kind == "parquet" else read_arrow(out / "table.arrow")
    assert [(field.name, field.type) for field in file.schema] == [(field.name, field.type) for field in table.schema]


QUERIES = {
    "aggregate": "SELECT g, count(*) AS n, sum(v) AS s, avg(v) AS a, max(t) AS t FROM src GROUP BY g ORDER BY g",
    "join": "SELECT a.i, b.t AS other, a.v * 1.5 AS v FROM src a LEFT JOIN src b ON b.i = a.i + 5000 ORDER BY a.i",
    "values": "VALUES (1, 'one'), (2, NULL), (NULL, 'three')",
    "none": "SELECT * FROM src WHERE false",
    "no columns": "SELECT FROM src",
    "expressions": (
        "SELECT i, ARRAY[i, NULL, i + 1] AS list, ROW(i, t)::pair AS pair, i::text || 'x' AS s, "
        "now() - now() AS zero FROM src ORDER BY i"
    ),
    "large": "SELECT i, repeat(t, 4000) AS long, array_fill(i, ARRAY[300]) AS many FROM src WHERE i <= 60 ORDER BY i",
    "toasted": "SELECT i, stored, i + 1 AS next FROM src ORDER BY i DESC",
    "returning": "INSERT INTO src (i, t) SELECT 20000 + i, 'new' FROM generate_series(1, 10) i RETURNING i, t, stored",
    "with": "WITH gone AS (DELETE FROM src WHERE i > 9990 RETURNING i, v) SELECT i, v FROM gone ORDER BY i",
    "generator": (
        "SELECT i, i::numeric / 7 AS seventh, "
        "CASE WHEN i = 49999 THEN 1e20 END AS late FROM generate_series(1, 50000) i"
    ),
}


@pytest.fixture
def src(db):
    db.execute("""CREATE TYPE pair AS (i int, t text);
        CREATE TABLE src (i int, g int, v numeric, t text, stored text DEFAULT repeat('s', 3000));
        ALTER TABLE src ALTER stored SET STORAGE EXTERNAL;
        INSERT INTO src (i, g, v, t) SELECT i, i % 7, i / 8.0,
        CASE WHEN i % 5 > 0 THEN 't' || i END FROM generate_series(1, 10000) i""")
    return db


@pytest.mark.parametrize("name", QUERIES)
def test_queries(src, out, name):
    """The truth is the same command's result, in a transaction that is rolled back."""
    query = QUERIES[name]
    src.execute("BEGIN")
    if "RETURNING" in query:
        rows = src.execute(query).fetchall()
        src.execute("ROLLBACK; BEGIN")
        result = export_query(src, query, out / "q.parquet")
        file = pq.read_table(out / "q.parquet")
        assert [tuple(row.values()) for row in file.to_pylist()] == rows
    else:
        result = export_query(src, query, out / "q.parquet", row_group_rows=3000)
        src.execute(f"CREATE TEMP TABLE truth AS {query}")
        if name != "no columns":
            oracle.check(src, "truth", out / "q.parquet")
        count = src.execute("SELECT count(*) FROM truth").fetchone()[0]
        assert result.rows == count == pq.read_metadata(out / "q.parquet").num_rows
        assert result.row_groups == -(-count // 3000)
    src.execute("ROLLBACK")


def test_types_of_the_result(src, out):
    export_query(
        src,
        (
            "SELECT count(*) AS n, sum(i) AS s, avg(v) AS a, bool_and(true) AS b, max(now()) AS at, 'x' AS x, "
            "NULL AS nothing FROM src"
        ),
        out / "q.parquet",
    )
    schema = pq.read_schema(out / "q.parquet")
    kinds = {field.name: str(field.type) for field in schema}
    assert kinds["n"] == kinds["s"] == "int64" and kinds["b"] == "bool" and kinds["x"] == kinds["nothing"] == "string"
    assert kinds["a"].startswith("decimal128(") and kinds["at"] == "timestamp[us, tz=UTC]"
    assert all(field.nullable for field in schema)


@pytest.mark.parametrize("kind", FORMATS)
def test_in_parallel(src, out, kind):
    """The query itself may use parallel workers."""
    src.execute("CREATE TABLE big AS SELECT i, i % 100 AS g FROM generate_series(1, 300000) i; ANALYZE big")
    src.execute("""CREATE FUNCTION parallel_leader(int) RETURNS boolean LANGUAGE sql PARALLEL SAFE AS
        'SELECT (SELECT count(*) FROM pg_stat_activity
                 WHERE leader_pid IS NOT NULL AND backend_type = ''parallel worker'') > 0'""")
    src.execute(
        (
            "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; "
            "SET debug_parallel_query = off"
        )
        if src.info.server_version >= 160000
        else "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0"
    )
    path = out / f"q.{kind}"
    export_query(
        src,
        "SELECT g, count(*) AS n, bool_or(parallel_leader(i)) AS workers FROM big WHERE i % 1000 = 0 GROUP BY g",
        path,
        kind,
    )
    table = pq.read_table(path) if kind == "parquet" else read_arrow(path)
    assert sum(table["n"].to_pylist()) == 300 and any(table["workers"].to_pylist())


def test_row_security_and_rights_are_the_querys(src, out, role):
    """What the caller may see, policies included, is what goes into the file."""
    src.execute(
        f"GRANT SELECT (i, g) ON src TO {role}; ALTER TABLE src ENABLE ROW LEVEL SECURITY; "
        f"CREATE POLICY p ON src USING (g = 3); SET ROLE {role}"
    )
    result = export_query(src, "SELECT i, g FROM src", out / "q.parquet")
    assert result.rows == 1429 and set(pq.read_table(out / "q.parquet")["g"].to_pylist()) == {3}
    with raises_any("42501"):
        export_query(src, "SELECT v FROM src", out / "other.parquet")
    src.execute(
        f"RESET ROLE; REVOKE pg_write_server_files FROM {role}; "
        f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}; SET ROLE {role}"
    )
    with raises("42501"):
        export_query(src, "SELECT 1 AS i", out / "other.parquet")
    assert entries(out) == ["q.parquet"]


def raises_any(sqlstate):
    """PostgreSQL's own errors have no hint."""
    return pytest.raises(psycopg.errors.lookup(sqlstate))


@pytest.mark.parametrize(
    "query, sqlstate",
    [
        ("SELECT 1 AS a, 2 AS a", "42701"),
        ("SELECT 1 AS a; SELECT 2 AS b", "22023"),
        ("CREATE TABLE made (i int)", "22023"),
        ("", "22023"),
        ("INSERT INTO src (i) VALUES (1)", "22023"),
        (None, "22004"),
    ],
)
def test_refused(src, out, query, sqlstate):
    with raises(sqlstate):
        export_query(src, query, out / "q.parquet")
    assert entries(out) == []
    assert src.execute("SELECT to_regclass('made'), count(*) FROM src").fetchone() == (None, 10000)


@pytest.mark.parametrize(
    "query, sqlstate",
    [
        ("SELECT 1/0", "22012"),
        ("SELEC 1", "42601"),
        ("SELECT nothing FROM src", "42703"),
        ("SELECT i, 100 / (5000 - i) AS x FROM src", "22012"),
        ("SELECT $1", "42P02"),
    ],
)
def test_errors_of_the_query(src, out, query, sqlstate):
    with raises_any(sqlstate):
        export_query(src, query, out / "q.parquet")
    assert entries(out) == []
    assert export_query(src, "SELECT 1 AS i", out / "q.parquet").rows == 1


def test_the_row_of_a_refused_value(src, out):
    with raises("22003") as caught:
        export_query(
            src,
            (
                "SELECT i, CASE WHEN i = 777 THEN 'NaN'::numeric(10, 2) ELSE i::numeric(10, 2) END::numeric(10, "
                "2) AS n FROM src ORDER BY i"
            ),
            out / "q.parquet",
        )
    assert caught.value.diag.message_detail == 'Row 777 of the query\'s result, column "n".'
    assert entries(out) == []


def test_old_file_survives(src, out):
    (out / "q.parquet").write_bytes(b"old")
    with raises("58P02"):
        export_query(src, "SELECT pg_sleep(100)", out / "q.parquet")
    with raises_any("22012"):
        export_query(src, "SELECT 1/0 AS x", out / "q.parquet", overwrite=True)
    assert (out / "q.parquet").read_bytes() == b"old"
    assert export_query(src, "SELECT 7 AS x", out / "q.parquet", overwrite=True).rows == 1
    assert pq.read_table(out / "q.parquet").to_pylist() == [{"x": 7}]


@pytest.mark.parametrize("kind", FORMATS)
def test_cancelled(src, again, out, kind):
    connection = again()
    call = Background(
        lambda: export_query(
            connection, "SELECT i, md5(i::text) AS m FROM generate_series(1, 100000000) i", out / f"q.{kind}", kind
        )
    )

    def cancelled():
        # One that comes between two messages of the client is lost.
        src.execute("SELECT pg_cancel_backend(%s)", (connection.info.backend_pid,))
        return call.ended

    eventually(cancelled, 20)
    assert call.error is not None and call.error.sqlstate == "57014" and entries(out) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_cancelled_while_it_writes(src, again, out, kind):
    connection = again()
    bound = "row_group_rows" if kind == "parquet" else "record_batch_rows"
    call = Background(
        lambda: export_query(
            connection,
            "SELECT i, md5(i::text) AS m FROM generate_series(1, 3000000) i",
            out / f"q.{kind}",
            kind,
            **{bound: 5000},
        )
    )
    wait_until_writing(out, call)
    src.execute("SELECT pg_cancel_backend(%s)", (connection.info.backend_pid,))
    call.join(20)
    assert call.error is not None and call.error.sqlstate == "57014" and entries(out) == []


def test_in_a_read_only_transaction(src, out):
    """As COPY (query) TO does."""
    src.execute("BEGIN READ ONLY")
    assert export_query(src, "SELECT i FROM src", out / "q.parquet").rows == 10000
    src.execute("COMMIT")


def test_within_functions(src, out):
    """From PL/pgSQL, with the error caught there, and in a loop."""
    src.execute(f"""DO $$ BEGIN
        BEGIN
            PERFORM export_query_parquet('SELECT 1/0', '{out}/bad.parquet');
        EXCEPTION WHEN division_by_zero THEN NULL; END;
        BEGIN
            PERFORM export_query_parquet('SELECT 1 AS a; SELECT 2', '{out}/bad.parquet');
        EXCEPTION WHEN invalid_parameter_value THEN NULL; END;
        FOR n IN 1..3 LOOP
            PERFORM export_query_arrow(format('SELECT * FROM generate_series(1, %s) i', n),
            format('{out}/%s.arrow', n));
        END LOOP; END $$""")
    assert entries(out) == ["1.arrow", "2.arrow", "3.arrow"]
    assert [read_arrow(out / f"{n}.arrow").num_rows for n in (1, 2, 3)] == [1, 2, 3]


def test_directories_and_stats(src, out):
    result = export_query(
        src,
        "SELECT i, t FROM src ORDER BY i",
        out / "dir",
        "arrow",
        record_batch_rows=4000,
        stats=["i"],
        compression="zstd",
    )
    assert (result.files, result.row_groups, read_arrow(out / "dir").num_rows) == (1, 3, 10000)
    reader = pa.ipc.open_file(next((out / "dir").glob("*.arrow")))
    assert reader.num_record_batches == 3
    with raises("42703"):
        export_query(src, "SELECT i FROM src", out / "other", "arrow", stats=["t"])


def test_large_results_go_to_temporary_files(src, out):
    src.execute("SET work_mem = '64kB'; SET log_temp_files = 0")
    result = export_query(
        src, "SELECT i, md5(i::text) AS m, i % 1000 / 7.0 AS n FROM generate_series(1, 200000) i", out / "q.parquet"
    )
    table = pq.read_table(out / "q.parquet")
    assert result.rows == 200000 and table["i"].to_pylist() == list(range(1, 200001))
