"""SQL on columns on a machine with a GPU: TPC-H's Q1 and Q6, and sums by many keys, over a heap in shared buffers; by
the GPU, by the CPU's executor, and by PostgreSQL's own plans. Runs when PG_STRATA_TEST_GPU is set; lines for the device
check's table go to PG_STRATA_TABLE.

SCALE: TPC-H's scale factor, of 6 million rows, 5 by default. ROUNDS: of which the median counts, 3 by default."""

import os
import re
import statistics
import time

import pytest

from ..helpers.columnar import analyzed
from ..helpers.gpu_server import REAL, GpuServer
from ..helpers.support import Background
from ..lab import postgres

pytestmark = pytest.mark.skipif("PG_STRATA_TEST_GPU" not in os.environ, reason="needs a GPU")

ROWS = int(float(os.environ.get("SCALE", 5)) * 6_000_000)
ROUNDS = int(os.environ.get("ROUNDS", 3))
CORES = min(16, os.cpu_count())

LINEITEM = """CREATE UNLOGGED TABLE lineitem (l_orderkey bigint NOT NULL, l_partkey int NOT NULL,
    l_suppkey int NOT NULL, l_linenumber int NOT NULL, l_quantity numeric(15,2) NOT NULL,
    l_extendedprice numeric(15,2) NOT NULL,
    l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL,
    l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
    l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL)
    WITH (autovacuum_enabled = off)"""
FILL = """INSERT INTO lineitem SELECT i / 4, (i * 7919 % {parts})::int + 1, (i * 104729 % {suppliers})::int + 1,
    i % 7 + 1, i % 50 + 1, (i * 31 % 9500000 + 90000) / 100.0, (i % 11) / 100.0, (i % 9) / 100.0,
    (ARRAY['A','N','N','R'])[i % 4 + 1], CASE WHEN day < 1263 THEN 'F' ELSE 'O' END,
    date '1992-01-02' + day, date '1992-01-31' + day, date '1992-01-12' + day, 'DELIVER IN PERSON',
    (ARRAY['AIR','FOB','MAIL','RAIL','REG AIR','SHIP','TRUCK'])[i % 7 + 1], 'carefully final deposits'
    FROM generate_series({first}::bigint, {last}::bigint) i, LATERAL (SELECT (i * 613 % 2526)::int AS day) d"""

QUERIES = {
    "Q6": """SELECT sum(l_extendedprice * l_discount) FROM lineitem WHERE l_shipdate >= date '1994-01-01'
        AND l_shipdate < date '1995-01-01' AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24""",
    "Q1": """SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice),
        sum(l_extendedprice * (1 - l_discount)), sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)),
        avg(l_quantity), avg(l_extendedprice), avg(l_discount), count(*)
        FROM lineitem WHERE l_shipdate <= date '1998-09-02' GROUP BY l_returnflag, l_linestatus""",
    # The groups of a part would take long to fetch.
    "sum by part": """SELECT count(*), sum(s), sum(n), min(s), max(s) FROM
        (SELECT l_partkey, sum(l_extendedprice) s, count(*) n FROM lineitem GROUP BY l_partkey) p""",
}
CONTENDERS = {
    "GPU": "SET pg_strata.columnar_sql = force; SET pg_strata.gpu_sql = force",
    "CPU": "SET pg_strata.columnar_sql = force; SET pg_strata.gpu_sql = off",
    "PostgreSQL": "SET pg_strata.columnar_sql = off",
}


def line(what, result, note=""):
    """A line of the device check's table."""
    if path := os.environ.get("PG_STRATA_TABLE"):
        with open(path, "a") as table:
            table.write(f"{what}\t{result}\t{note}\n")
    print(f"{what} | {result} | {note}", flush=True)


def fill(server):
    """Fills the table from as many sessions as there are cores."""
    with server.connect() as connection:
        connection.execute(f"CREATE EXTENSION pg_strata; {LINEITEM}")
    share = -(-ROWS // CORES)
    sizes = {"parts": max(ROWS // 30, 1), "suppliers": max(ROWS // 600, 1)}
    calls = []
    for first in range(0, ROWS, share):
        sql = FILL.format(first=first, last=min(first + share, ROWS) - 1, **sizes)
        calls.append(
            Background(lambda connection=server.connect(), sql=sql: (connection.execute(sql), connection.close()))
        )
    for call in calls:
        call.result(200)
    with server.connect() as connection:
        connection.execute("VACUUM (ANALYZE) lineitem")


@pytest.fixture(scope="module")
def server():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    own = {
        "shared_buffers": f"{min(ROWS * 200, memory // 4) >> 20}MB",
        "max_worker_processes": "48",
        "max_parallel_workers": "32",
        "max_parallel_workers_per_gather": str(CORES - 1),
        "min_parallel_table_scan_size": "1MB",
        "max_wal_size": "16GB",
        "work_mem": "1GB",
        "jit": "off",
        "pg_strata.gpu_pool_size": "2GB",
        "pg_strata.gpu_slot_size": "8MB",
    }
    with GpuServer(postgres.find(18), "gpu-sql", **own) as server:
        began = time.monotonic()
        fill(server)
        line(f"sql: load of {ROWS / 1e6:.0f} M rows", f"{time.monotonic() - began:.0f} s")
        yield server


@pytest.fixture
def db(server):
    with server.connect() as connection:
        connection.prepare_threshold = None  # a plan that the client keeps would outlive the settings
        connection.execute("LOAD 'pg_strata'")
        connection.execute(f"ALTER TABLE lineitem SET (parallel_workers = {CORES - 1})")
        yield connection


@pytest.mark.parametrize("name", QUERIES)
def test_query(db, name):
    """Equal answers, and how long each contender takes. PostgreSQL's plan runs once."""
    query, answers, seconds = QUERIES[name], {}, {}
    for contender, settings in CONTENDERS.items():
        db.execute(settings)
        times = []
        for _ in range(1 if contender == "PostgreSQL" else 1 + ROUNDS):
            began = time.monotonic()
            answers[contender] = sorted(db.execute(query).fetchall())
            times.append(time.monotonic() - began)
        seconds[contender] = statistics.median(times[1:] or times)
    assert answers["GPU"] == answers["PostgreSQL"] and answers["CPU"] == answers["PostgreSQL"]
    db.execute(CONTENDERS["GPU"])
    share = re.search(r"GPU: (.*)", analyzed(db, query))
    assert share and (REAL is False or share[1] == f"{ROWS} rows"), share and share[1]
    note = ", ".join(f"{contender} {time:.3f} s" for contender, time in seconds.items())
    ratios = [f"{seconds[other] / seconds['GPU']:.1f}" for other in ("CPU", "PostgreSQL")]
    line(f"sql: {name}, {ROWS / 1e6:.0f} M rows", "ok", f"{note}; GPU {ratios[0]} x CPU, {ratios[1]} x PostgreSQL")
