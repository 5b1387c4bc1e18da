"""Aggregations on columns of which a device computes a part: the answers are PostgreSQL's, whatever happens to it."""

import re

import psycopg
import pytest

from .. import random_sql
from ..helpers.columnar import NODE, analyzed, both, force
from ..helpers.gpu_server import REAL, GpuServer, kill_engine, ready, service_info, set_devices
from ..helpers.support import Background, create_extension, eventually

ROWS = 60_000


@pytest.fixture(scope="module")
def server(installation):
    with GpuServer(installation, "gpu-query") as server:
        create_extension(server)
        with server.connect() as connection:
            connection.execute(f"""
                CREATE TABLE r AS SELECT g AS id, (g % 7)::int2 AS k, g * 1000000007::int8 AS big,
                (g * 0.01 - 200)::numeric(12, 2) AS n, (g * 0.0001)::numeric(7, 4) AS rate,
                (g * 1000000000000000.01)::numeric(30, 2) AS wide,
                date '2020-01-01' + g % 400 AS d, timestamp '2020-01-01' + g * interval '1 minute' AS at,
                chr(65 + g % 3)::char(1) AS flag, rpad('mode' || g % 5, 8)::char(10) AS mode, 'text ' || g % 13 AS t,
                CASE WHEN g % 11 > 0 THEN g END AS nn, g % 2 = 0 AS f, g / 8.0::float8 AS x
                FROM generate_series(1, {ROWS}) g;
                ANALYZE r""")
        yield server


@pytest.fixture
def db(server):
    with server.connect() as connection:
        force(connection)
        connection.execute("SET pg_strata.gpu_sql = force")
        yield connection


def on_device(connection, query):
    """The rows of a query in a device's groups; they are those of the table but for the ones that are left out."""
    found = re.search(r"GPU: (\d+) rows", analyzed(connection, query))
    assert found, analyzed(connection, query)
    return int(found[1])


def why_not(connection, query):
    found = re.search(r"GPU: not used: (.*)", analyzed(connection, query))
    assert found, analyzed(connection, query)
    return found[1]


QUERIES = [
    "SELECT count(*) FROM r",
    "SELECT count(*), count(nn), sum(id), sum(big), avg(nn), min(d), max(at), min(n), max(rate) FROM r",
    """SELECT flag, k, sum(n), sum(n * (1 - rate)), sum(n * (1 - rate) * (1 + rate)), avg(n), avg(rate), count(*)
        FROM r WHERE d <= date '2020-12-01' GROUP BY flag, k""",
    "SELECT sum(n * rate) FROM r WHERE d >= '2020-03-01' AND d < '2020-05-01' AND rate BETWEEN 0.5 AND 2.5 AND n < 100",
    """SELECT mode, sum(wide), max(big), bit_and(id), bit_or(id), bit_xor(id), bool_and(f), bool_or(f)
        FROM r GROUP BY mode""",
    "SELECT id, sum(n) FROM r GROUP BY id",
    "SELECT nn % 1000, count(*) FILTER (WHERE f), sum(CASE WHEN f THEN n END) FROM r GROUP BY 1",
    "SELECT f, nn IS NULL, t, count(*) FROM r WHERE t <> 'text 3' OR x > 5000 GROUP BY 1, 2, 3",
    "SELECT d, min(n), max(n) FROM r WHERE k IN (1, 3, 5) AND mode = 'mode2' GROUP BY d HAVING count(*) > 1",
    "SELECT sum(n) FROM r WHERE false IS TRUE OR id < 0",
]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("query", QUERIES)
def test_answers(db, query, workers):
    db.execute(f"SET max_parallel_workers_per_gather = {workers}")
    both(db, query)
    assert on_device(db, query) > 0.9 * ROWS


@pytest.mark.parametrize("seed", range(4))
def test_random_aggregations(db, seed):
    counts, differing = random_sql.run(db, 7_000_000 + seed, 60)
    assert not differing, "\n".join(
        f"{text}\n  PostgreSQL {plain}\n  columns    {found}" for text, plain, found in differing
    )
    assert counts["columns"] > 20


def test_rows_that_a_device_leaves_out(db):
    """Toasted and compressed texts, NaN, infinite dates, long keys: their process computes them."""
    db.execute("""CREATE TABLE odd AS SELECT g AS id,
        CASE WHEN g % 50 = 0 THEN 'NaN' ELSE g * 0.01 END::numeric(12, 2) AS n,
        CASE WHEN g % 60 = 0 THEN date 'infinity' ELSE date '2020-01-01' + g % 9 END AS d,
        CASE WHEN g % 70 = 0 THEN repeat(md5(g::text), 200) WHEN g % 7 = 0 THEN 'a text that is long'
             ELSE 'short' || g % 3 END AS t FROM generate_series(1, 20000) g""")
    both(db, "SELECT sum(n), min(n), max(n) FROM odd WHERE id % 50 > 0")
    both(db, "SELECT d::text, s::text, m::text FROM (SELECT d, sum(n) AS s, max(d) AS m FROM odd GROUP BY d) o")
    both(db, "SELECT t, count(*), sum(id) FROM odd GROUP BY t")
    rows = on_device(db, "SELECT t, count(*) FROM odd GROUP BY t")
    assert 10_000 < rows < 18_000


def test_many_groups_beside_those_of_a_device(db):
    """Each key has rows that a device adds, and rows that it leaves out, of which the processes have many groups."""
    db.execute("""CREATE TABLE beside AS
        SELECT g % 40000 AS k, CASE WHEN g % 120000 < 40000 THEN 'NaN' ELSE 1.25 END::numeric(9, 2) AS n
        FROM generate_series(1, 120000) g; ANALYZE beside; ALTER TABLE beside SET (parallel_workers = 2)""")
    db.execute("SET work_mem = '256MB'")
    query = "SELECT k, count(*), sum(n) FROM beside GROUP BY k"
    assert len(both(db, query)) == 40_000
    assert 0 < on_device(db, query) <= 80_000


def test_numerics_without_a_scale(db):
    """A device has those that are integers; sums and averages show the scale of the others."""
    db.execute("""CREATE TABLE undeclared AS SELECT g % 9 AS k, g::numeric AS whole, g / 8.0 AS parts,
        CASE WHEN g % 100 = 0 THEN g + 0.125 ELSE g END AS mixed FROM generate_series(1, 20000) g;
        ANALYZE undeclared""")
    query = "SELECT k, sum(whole), avg(whole), sum(whole * (1 - whole)) FROM undeclared WHERE whole > 17 GROUP BY k"
    both(db, query)
    assert on_device(db, query) == 20_000
    query = "SELECT k, sum(mixed), avg(mixed), sum(mixed * mixed + 2) FROM undeclared WHERE mixed <> 7 GROUP BY k"
    both(db, query)
    assert on_device(db, query) == 20_000 - 200
    both(db, "SELECT k, sum(parts), count(*) FROM undeclared GROUP BY k")
    assert on_device(db, "SELECT sum(parts) FROM undeclared") < 10_000
    for query in ("SELECT min(whole) FROM undeclared", "SELECT mixed, count(*) FROM undeclared GROUP BY mixed"):
        both(db, query)
        assert why_not(db, query)


def test_errors_are_those_of_postgresql(db):
    for query, sqlstate in [
        ("SELECT sum(id / (id - 777)) FROM r", "22012"),
        ("SELECT max(big * 1000000000) FROM r", "22003"),
    ]:
        for mode in ("force", "off"):
            db.execute(f"SET pg_strata.columnar_sql = {mode}")
            with pytest.raises(psycopg.Error) as caught:
                db.execute(query)
            assert caught.value.sqlstate == sqlstate, query
    # Rows that a condition excludes raise nothing.
    db.execute("SET pg_strata.columnar_sql = force")
    both(db, "SELECT sum(id / (id - 777)) FROM r WHERE id <> 777")


def test_visibility(server, db):
    """A slot has the rows of the statement's snapshot."""
    db.execute("CREATE TABLE v AS SELECT g AS id FROM generate_series(1, 30000) g; ANALYZE v")
    db.execute("BEGIN; DELETE FROM v WHERE id % 3 = 0; UPDATE v SET id = -id WHERE id % 5 = 0")
    query = "SELECT count(*), sum(id) FROM v"
    own = both(db, query)
    with server.connect() as other:
        force(other).execute("SET pg_strata.gpu_sql = force")
        assert both(other, query) == [(30000, 30000 * 30001 // 2)] != own
    db.execute("ROLLBACK")


def test_leaves(db):
    """Partitions that order their columns in other ways, and columns that are newer than tuples."""
    db.execute("""CREATE TABLE p (a int, b numeric(9, 3), c char(1)) PARTITION BY RANGE (a);
        CREATE TABLE p1 (c char(1), a int, b numeric(9, 3));
        ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (9000);
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (9000) TO (30000);
        INSERT INTO p SELECT g, g / 7.0, chr(65 + g % 4) FROM generate_series(0, 20000) g;
        ALTER TABLE p ADD COLUMN e int DEFAULT 77; INSERT INTO p VALUES (1, 2, 'Z', NULL); ANALYZE p""")
    query = "SELECT c, e, count(*), sum(b), sum(e), min(a) FROM p WHERE a <> 5 GROUP BY c, e"
    both(db, query)
    assert on_device(db, query) == 20002


def test_why_not(db):
    query = "SELECT sum(n) FROM r"
    db.execute("SET pg_strata.gpu_sql = off")
    assert "GPU" not in analyzed(db, query)
    db.execute("SET pg_strata.gpu_sql = auto; SET pg_strata.gpu_min_table_size = '1GB'")
    assert "less than pg_strata.gpu_min_table_size" in why_not(db, query)
    db.execute("RESET pg_strata.gpu_min_table_size; SET pg_strata.gpu_sql = force")
    for query in (
        "SELECT count(DISTINCT k) FROM r",
        "SELECT var_pop(id) FROM r",
        "SELECT count(*) FROM r WHERE t LIKE 'a%'",
    ):
        both(db, query)
        assert why_not(db, query)


@pytest.mark.skipif(REAL, reason="of fake devices")
@pytest.mark.parametrize("after", [1, 2, 5])
def test_faults(server, db, after):
    """A device that faults ends its engine: the query is computed again without it."""
    set_devices(server, db, 1, gpu_fault_after=after)
    try:
        query = QUERIES[2]
        db.execute("SET max_parallel_workers_per_gather = 2")
        both(db, query)
        eventually(lambda: ready(server), 30)
        assert why_not(db, query)
    finally:
        db.execute("ALTER SYSTEM RESET pg_strata.gpu_fault_after")
        db.execute("SELECT pg_reload_conf()")
    eventually(lambda: ready(server), 30)
    set_devices(server, db, 2)
    assert on_device(db, query) == ROWS


def test_killed_engine(server, db):
    """Queries go on while engines die."""
    eventually(lambda: ready(server), 30)
    expected = db.execute(QUERIES[2]).fetchall()
    connections = [force(server.connect()) for _ in range(2)]
    calls = []
    for connection in connections:
        connection.execute("SET pg_strata.gpu_sql = force")
        calls.append(
            Background(
                lambda connection=connection: [
                    sorted(connection.execute(QUERIES[2]).fetchall()) == sorted(expected) for _ in range(40)
                ]
            )
        )
    for _ in range(3):
        eventually(lambda: ready(server), 30)
        engine = service_info(server)["engine"]
        kill_engine(server)
        eventually(lambda engine=engine: ready(server) and service_info(server)["engine"] != engine, 30)
    for call, connection in zip(calls, connections):
        assert all(call.result(120))
        connection.close()
    assert NODE in analyzed(db, QUERIES[2])


def test_many_at_once(server, db):
    """Each process has a query of its own."""
    expected = [sorted(db.execute(query).fetchall(), key=repr) for query in QUERIES]

    def run(connection, first):
        force(connection).execute("SET pg_strata.gpu_sql = force")
        order = QUERIES[first:] + QUERIES[:first]
        answers = [sorted(connection.execute(query).fetchall(), key=repr) for query in order]
        connection.close()
        return answers

    calls = [Background(lambda first=first: run(server.connect(), first)) for first in range(4)]
    for first, call in enumerate(calls):
        assert call.result(120) == expected[first:] + expected[:first]
