"""python -m pg_test.bench.foreign [ROWS=6000000] [ROUNDS=3]: foreign tables against the heap, DuckDB and pyarrow.

The sum of three columns of lineorder from one file, with a condition and without; and the seed's query over a file for
each year and ship mode. Every contender in turn in each round; prints medians as a table.
"""

import os
import statistics
import time

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ..lab import places, postgres
from ..lab.server import Server
from . import tables
from .__main__ import ROUNDS, ROWS, settings

CORES = 2
SUM = "SELECT sum(lo_quantity), sum(lo_extendedprice), sum(lo_revenue) FROM {}"
FILTERED = SUM + " WHERE lo_discount BETWEEN 1 AND 3 AND lo_quantity < 25"
SEED = """SELECT sum(lo_extendedprice * lo_discount) FROM {} WHERE {} AND lo_discount BETWEEN 1 AND 3
    AND lo_quantity < 25"""
BY_DATE, BY_YEAR = "lo_orderdate BETWEEN 19930101 AND 19931231", "year = 1993"


def in_server(connection, query, pushdown="on"):
    def run():
        connection.execute(f"SET pg_strata.arrow_fdw_pushdown = {pushdown}")
        connection.execute(f"SET pg_strata.columnar_sql = {'auto' if pushdown == 'on' else 'off'}")
        return connection.execute(query).fetchone()

    return run


def in_duckdb(query, files):
    connection = duckdb.connect(config={"threads": CORES})
    return lambda: connection.execute(query.format(f"read_parquet({files!r})")).fetchone()


def in_pyarrow(file):
    def run():
        table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
        return tuple(pc.sum(table.column(name)).as_py() for name in ("lo_quantity", "lo_extendedprice", "lo_revenue"))

    return run


def rounds(contenders):
    """Medians by label; all of them have to give the same answer."""
    seconds, answers = {label: [] for label in contenders}, set()
    for label, run in contenders.items():
        answers.add(tuple(map(float, run())))  # warm
    for _ in range(ROUNDS):
        for label, run in contenders.items():
            start = time.monotonic()
            run()
            seconds[label].append(time.monotonic() - start)
    assert len(answers) == 1, answers
    return {label: statistics.median(times) for label, times in seconds.items()}


def table(title, medians):
    print(f"\n**{title}**\n\n| | seconds (median) |\n|---|--:|")
    for label, median in medians.items():
        print(f"| {label} | {median:.3f} |")


def make_files(connection, directory):
    for kind in ("parquet", "arrow"):
        connection.execute(f"SELECT export_table_{kind}('lineorder', '{directory}/lineorder.{kind}')")
        connection.execute(
            f"IMPORT FOREIGN SCHEMA f_{kind} FROM SERVER pg_strata INTO public OPTIONS "
            f"(file '{directory}/lineorder.{kind}')"
        )


def one_file(connection, directory, query):
    return {
        "heap": in_server(connection, query.format("lineorder")),
        "pg_strata, Parquet": in_server(connection, query.format("f_parquet")),
        "pg_strata, Arrow": in_server(connection, query.format("f_arrow")),
        "pg_strata, Parquet, pushdown off": in_server(connection, query.format("f_parquet"), "off"),
        "pg_strata, Arrow, pushdown off": in_server(connection, query.format("f_arrow"), "off"),
        "DuckDB, Parquet": in_duckdb(query, [str(directory / "lineorder.parquet")]),
    }


def many_files(connection, directory):
    """A file for each year and ship mode."""
    modes = [row[0].strip() for row in connection.execute("SELECT DISTINCT lo_shipmode FROM lineorder").fetchall()]
    for year in range(1992, 1999):
        for mode in modes:
            connection.execute(
                f"CREATE TABLE part AS SELECT * FROM lineorder WHERE lo_orderdate / 10000 = {year} "
                f"AND lo_shipmode = '{mode}'"
            )
            connection.execute(f"SELECT export_table_arrow('part', '{directory}/f_lineorder_{year}_{mode}.arrow')")
            connection.execute("DROP TABLE part")
    connection.execute(f"""IMPORT FOREIGN SCHEMA f_lineorder FROM SERVER pg_strata INTO public
                           OPTIONS (dir '{directory}', pattern 'f_lineorder_@{{year}}_${{shipmode}}.arrow')""")

    def run(condition, setting):
        def query():
            connection.execute(f"SET pg_strata.arrow_fdw_pruning = {setting}")
            return connection.execute(SEED.format("f_lineorder", condition)).fetchone()

        return query

    return {
        "range on lo_orderdate, no pruning": run(BY_DATE, "off"),
        "range on lo_orderdate": run(BY_DATE, "on"),
        "year = 1993": run(BY_YEAR, "on"),
    }


def main():
    installation = postgres.chosen()
    directory = places.fresh(places.home() / "bench-foreign", 0o755)
    os.chmod(directory, 0o777)
    with Server(installation, "bench", **settings(installation)) as server, server.connect() as connection:
        connection.prepare_threshold = None  # a plan that the client keeps would outlive the settings
        connection.execute(f"CREATE EXTENSION pg_strata; SET max_parallel_workers_per_gather = {CORES - 1}")
        places.say(f"loading lineorder, {ROWS:,} rows")
        tables.load(connection, "lineorder", ROWS)
        make_files(connection, directory)
        contenders = one_file(connection, directory, SUM) | {
            "pyarrow, Arrow": in_pyarrow(directory / "lineorder.arrow")
        }
        table(f"sum of three columns, {ROWS:,} rows, {CORES} cores", rounds(contenders))
        table("the same, of the rows that meet a condition", rounds(one_file(connection, directory, FILTERED)))
        table("the seed's query, a file for each year and ship mode", rounds(many_files(connection, directory)))


if __name__ == "__main__":
    main()
