"""[ROWS=6000000] [ROUNDS=3] [CORES=2] python -m pg_test.bench.sql: SQL on columns against PostgreSQL and DuckDB.

TPC-H's Q6 and Q1, and sums by many keys and by very many, over lineitem; a filter and a sum over lineorder, whose
numerics are declared without precision. Each over the heap by PostgreSQL's plan and on columns; over a Parquet file
of it by a foreign scan below PostgreSQL's plan, on columns, and by DuckDB; and by DuckDB over a table of its own in
memory. Rows are fetched by the client, over a socket from PostgreSQL; it compiles no expressions (jit is off). Every
contender in turn in each round. PostgreSQL's answers are compared to the last digit, DuckDB's as floats. Prints
medians, and how many times as fast as PostgreSQL's plan over the heap each one is.
"""

import math
import os
import statistics
import time
from decimal import Decimal

import duckdb

from ..lab import build, places, postgres
from ..lab.server import Server
from . import tables
from .__main__ import ROUNDS, ROWS, settings

CORES = int(os.environ.get("CORES", 2))

QUERIES = {
    "lineitem": {
        "Q6: filter and sum": """
            SELECT sum(l_extendedprice * l_discount) FROM {} WHERE l_shipdate >= date '1994-01-01'
            AND l_shipdate < date '1995-01-01' AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24""",
        "Q1: four groups, eight aggregates": """
            SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice),
            sum(l_extendedprice * (1 - l_discount)), sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)),
            avg(l_quantity), avg(l_extendedprice), avg(l_discount), count(*)
            FROM {} WHERE l_shipdate <= date '1998-09-02' GROUP BY l_returnflag, l_linestatus""",
        "sum by supplier": "SELECT l_suppkey, sum(l_extendedprice), count(*) FROM {} GROUP BY l_suppkey",
        "sum by order": """
            SELECT count(*), sum(s) FROM (SELECT l_orderkey, sum(l_quantity) s FROM {} GROUP BY l_orderkey) o""",
    },
    "lineorder": {
        "filter and sum": """
            SELECT sum(lo_extendedprice * lo_discount) FROM {} WHERE lo_orderdate BETWEEN 19930101 AND 19931231
            AND lo_discount BETWEEN 1 AND 3 AND lo_quantity < 25""",
        "sums by customer": """
            SELECT lo_custkey, sum(lo_revenue), avg(lo_quantity), count(*) FROM {} GROUP BY lo_custkey""",
    },
}

# The label over a heap, the one over a file, and the setting.
SERVER = (("PostgreSQL", "foreign scan", "off"), ("on columns", "on columns", "auto"))
NODE = "ColumnarAggregate"


def in_server(connection, query, mode):
    def run():
        connection.execute(f"SET pg_strata.columnar_sql = {mode}")
        return connection.execute(query).fetchall()

    connection.execute(f"SET pg_strata.columnar_sql = {mode}")
    return run


def contenders(connection, name, query, file, duck):
    found = {}
    for source, relation in enumerate((name, f"f_{name}")):
        for *labels, mode in SERVER:
            label = f"{labels[source]}, {('heap', 'Parquet')[source]}"
            found[label] = in_server(connection, query.format(relation), mode)
            lines = connection.execute(f"EXPLAIN (ANALYZE) {query.format(relation)}").fetchall()
            plan = "\n".join(line for (line,) in lines)
            assert (NODE in plan) == (mode != "off") and "Spare:" not in plan, f"{label}: {plan}"
    found["DuckDB, Parquet"] = lambda: duck.execute(query.format(f"'{file}'")).fetchall()
    found["DuckDB, its table"] = lambda: duck.execute(query.format(name)).fetchall()
    return found


def comparable(rows):
    """DuckDB's averages are floats, and it drops the padding of char(n)."""
    as_number = lambda value: float(value) if isinstance(value, (Decimal, int)) else value  # noqa: E731
    plain = [tuple(v.strip() if isinstance(v, str) else as_number(v) for v in row) for row in rows]
    return sorted(plain, key=lambda row: tuple(map(str, row[:2])))


def same(left, right):
    def alike(a, b):
        return math.isclose(a, b, rel_tol=1e-12) if isinstance(a, float) else a == b

    return len(left) == len(right) and all(all(map(alike, *pair)) for pair in zip(left, right))


def measure(title, found):
    seconds, first = {label: [] for label in found}, None
    for label, run in found.items():
        rows = run()  # warm
        first = first or rows
        exact = "DuckDB" in label or sorted(map(str, first)) == sorted(map(str, rows))
        assert exact and same(comparable(first), comparable(rows)), f"{title}: {label} answers otherwise"
    for _ in range(ROUNDS):
        for label, run in found.items():
            start = time.monotonic()
            run()
            seconds[label].append(time.monotonic() - start)
    medians = {label: statistics.median(times) for label, times in seconds.items()}
    print(f"\n**{title}**\n\n| | seconds (median) | times as fast as PostgreSQL |\n|---|--:|--:|")
    for label, median in medians.items():
        print(f"| {label} | {median:.3f} | {medians['PostgreSQL, heap'] / median:.1f} |", flush=True)


def main():
    installation = postgres.chosen()
    build.install(installation)
    directory = places.fresh(places.home() / "bench-sql", 0o755)
    os.chmod(directory, 0o777)
    duck = duckdb.connect(config={"threads": CORES})
    chosen = settings(installation) | {"shared_buffers": "4GB", "work_mem": "1GB"}
    with Server(installation, "bench", **chosen) as server, server.connect() as connection:
        connection.prepare_threshold = None  # a plan that the client keeps would outlive the settings
        connection.execute("CREATE EXTENSION pg_strata; LOAD 'pg_strata'; SET jit = off")
        connection.execute(f"SET max_parallel_workers_per_gather = {CORES - 1}; SET max_parallel_workers = {CORES}")
        for name, queries in QUERIES.items():
            places.say(f"loading {name}, {ROWS:,} rows")
            tables.load(connection, name, ROWS)
            file = directory / f"f_{name}.parquet"
            connection.execute(f"SELECT export_table_parquet('{name}', '{file}')")
            connection.execute(
                f"IMPORT FOREIGN SCHEMA f_{name} FROM SERVER pg_strata INTO public OPTIONS (file '{file}')"
            )
            connection.execute(f"ANALYZE f_{name}")
            duck.execute(f"CREATE TABLE {name} AS SELECT * FROM '{file}'")
            for title, query in queries.items():
                measure(f"{name}, {title}", contenders(connection, name, query, file, duck))
            duck.execute(f"DROP TABLE {name}")
            connection.execute(f"DROP TABLE {name}; DROP FOREIGN TABLE f_{name}")


if __name__ == "__main__":
    main()
