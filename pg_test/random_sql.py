"""python -m pg_test.random_sql [--seed N] [--statements N] [--jobs N] [--gpu]: random aggregations, by PostgreSQL's
plans and on columns, with --gpu of heaps on a GPU where one can compute them, or on a fake device."""

import argparse
import multiprocessing
import random
import sys
import time

import psycopg

from .helpers.gpu_server import GpuServer
from .lab import postgres
from .lab.server import Server
from .random_statement import COLUMNS, DATE_PARTS, SPREADS, UNITS, Statement

__all__ = ["COLUMNS", "DATE_PARTS", "SPREADS", "UNITS", "Statement", "compare", "fill", "prepare", "run"]


def fill(connection, chance, table, rows):
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
    connection.execute(f"CREATE TABLE {table} ({columns})")
    nulls = chance.choice((0, 0.1, 0.5, 0.95))

    def value(name):
        kind, values = COLUMNS[name]
        return "NULL" if chance.random() < nulls else f"({chance.choice(usable[name])})::{kind}"

    # Most tables have few edge values, so that whole blocks are plain.
    usable = {
        name: (values if chance.random() < 0.5 else chance.sample(values, min(len(values), 2)))
        for name, (_, values) in COLUMNS.items()
    }
    for start in range(0, rows, 200):
        lines = [f"({', '.join(value(name) for name in COLUMNS)})" for _ in range(min(200, rows - start))]
        if lines:
            connection.execute(f"INSERT INTO {table} VALUES {', '.join(lines)}")
    connection.execute(f"ANALYZE {table}")


def answer(connection, text, mode, pushdown="on", prepare=""):
    """The rows of a statement, or its SQLSTATE; what it executes is prepared before, so that the settings count."""
    connection.execute(f"SET pg_strata.columnar_sql = {mode}; SET pg_strata.arrow_fdw_pushdown = {pushdown}")
    try:
        if prepare:
            connection.execute(f"DEALLOCATE ALL; {prepare}")
        return sorted(connection.execute(text).fetchall(), key=repr), None
    except psycopg.Error as error:
        return None, error.sqlstate


def run(connection, seed, statements, rows=(0, 1, 5, 300, 3000), directory=None):
    """Returns how many statements were computed on columns, how many raised an error, and those whose answers
    differ. With a directory, of files, some tables are foreign ones over a file of the rows there."""
    chance = random.Random(seed)
    connection.execute("DROP FOREIGN TABLE IF EXISTS random_files; DROP TABLE IF EXISTS random_rows")
    fill(connection, chance, "random_rows", chance.choice(rows))
    if directory and chance.random() < 0.3:
        export(connection, chance, "random_rows", directory)
        return compare(connection, chance, "random_files", statements)
    return compare(connection, chance, "random_rows", statements)


# What files have no value for, or what numerics with so many digits have none for.
NOT_IN_FILES = """
    n::text IN ('NaN', 'Infinity', '-Infinity') OR abs(n) > 1e20 OR abs(extract(year FROM d)) > 9999 OR ti = '24:00'
    OR abs(extract(year FROM ts)) > 9999 OR abs(extract(year FROM tz)) > 9999
"""


def export(connection, chance, table, directory):
    """Makes the foreign table random_files over a file of the rows that files have values for."""
    kind, rows = chance.choice((("parquet", "row_group_rows"), ("arrow", "record_batch_rows")))
    path = f"{directory}/random.{kind}"
    connection.execute(f"DELETE FROM {table} WHERE {NOT_IN_FILES}")
    connection.execute(f"SELECT export_table_{kind}('{table}', '{path}', overwrite => true, {rows} => 200)")
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
    connection.execute(f"CREATE FOREIGN TABLE random_files ({columns}) SERVER pg_strata OPTIONS (file '{path}')")
    connection.execute("ANALYZE random_files")


def written(statement, table):
    """What is executed, and what prepares it: with parameters, whose values a plan for all of them does not know."""
    text = statement.text(table)
    if not statement.parameters:
        return text, ""
    kinds, values = (", ".join(of) for of in zip(*statement.parameters, strict=True))
    return f"EXECUTE prepared({values})", f"PREPARE prepared({kinds}) AS {text}; "


def of_values(error):
    """Whether a SQLSTATE is one that values raise: 0A000 is that of a cast of NaN to an integer."""
    return error is not None and (error[:2] == "22" or error == "0A000")


def compare(connection, chance, table, statements):
    """What `run` returns, over a table that has the columns."""
    counts, differing = {"columns": 0, "spare": 0, "errors": 0}, []
    for _ in range(statements):
        text, prepare = written(Statement(chance, prepared=chance.random() < 0.1), table)
        plain, plain_error = answer(connection, text, "off", prepare=prepare)
        assert plain_error is None or of_values(plain_error) or plain_error == "42803", (plain_error, text)
        if table == "random_files" and plain_error is None:
            # The values are compared with those of a plan that computes nothing on columns; whether there is an error
            # depends on which conditions a scan decides.
            rows, error = answer(connection, text, "off", "off", prepare)
            if error is None and rows != plain:
                differing.append((prepare + text, rows[:3], plain[:3]))
        found, error = answer(connection, text, "force", prepare=prepare)
        # Where rows raise several errors, which one is met first depends on the order of the rows.
        both_fail = of_values(error) and of_values(plain_error)
        if (found, error) != (plain, plain_error) and not both_fail:
            differing.append((prepare + text, plain_error or plain[:3], error or (found or [])[:3]))
        counts["errors"] += plain_error is not None
        if plain_error is None:
            explain = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) " + text
            lines, error = answer(connection, explain, "force", prepare=prepare)
            if error:
                differing.append((prepare + text, plain[:3], f"{error} when it is explained"))
                continue
            plan = "\n".join(line for (line,) in lines)
            counts["columns"] += "ColumnarAggregate" in plan and "Spare:" not in plan
            counts["spare"] += "Spare:" in plan
    return counts, differing


def prepare(connection, workers, load=True):
    if load:
        connection.execute("LOAD 'pg_strata'")
    # DEALLOCATE ALL would also take what psycopg prepares.
    connection.prepare_threshold = None
    for setting, value in {
        "plan_cache_mode": "force_generic_plan",
        "min_parallel_table_scan_size": 0,
        "parallel_setup_cost": 0,
        "parallel_tuple_cost": 0,
        "max_parallel_workers_per_gather": workers,
    }.items():
        connection.execute(f"SET {setting} = {value}")


def job(options):
    """Runs statements of seeds of its own on a server of its own until there are enough or the time is over."""
    seed, statements, seconds, workers, gpu = options
    totals, wrong, each, began = {"statements": 0}, 0, 200, time.monotonic()
    kind = GpuServer if gpu else Server
    with kind(postgres.find(18), f"random-sql-{seed}", shared_buffers="64MB", fsync="off") as server:
        directory = server.data.parent
        with server.connect() as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_strata")
            for number in range(statements // each):
                if time.monotonic() - began > seconds:
                    break
                # Starting workers takes longer than the statements.
                prepare(connection, workers if number % 4 == 0 else 0)
                connection.execute(f"SET pg_strata.gpu_sql = {'force' if gpu else 'off'}")
                this = seed * 1_000_000 + number
                counts, differing = run(connection, this, each, directory=directory)
                for name, count in {**counts, "statements": each}.items():
                    totals[name] = totals.get(name, 0) + count
                for text, plain, found in differing:
                    wrong += 1
                    print(f"seed {this}: {text}\n  PostgreSQL {plain}\n  columns    {found}", flush=True)
    return totals, wrong


def main():
    parser = argparse.ArgumentParser(prog="python -m pg_test.random_sql")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--statements", type=int, default=10_000, help="of each job")
    parser.add_argument("--seconds", type=int, default=1 << 30, help="after which no more are begun")
    parser.add_argument("--jobs", type=int, default=1, help="servers side by side")
    parser.add_argument("--workers", type=int, default=2, help="parallel ones, of every fourth table's statements")
    parser.add_argument("--gpu", action="store_true")
    options = parser.parse_args()
    of_all = (options.statements, options.seconds, options.workers, options.gpu)
    jobs = [(options.seed + number, *of_all) for number in range(options.jobs)]
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        done = pool.map(job, jobs, chunksize=1)
    totals = {name: sum(found.get(name, 0) for found, _ in done) for name in done[0][0]}
    wrong = sum(differing for _, differing in done)
    print(f"{totals}, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
