"""python -m pg_test.random_sql [--seed N] [--statements N]: random aggregations, by PostgreSQL's plans and on
columns."""

import argparse
import random
import sys

import psycopg

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


def answer(connection, text, mode):
    connection.execute(f"SET pg_strata.columnar_sql = {mode}")
    try:
        return sorted(connection.execute(text).fetchall(), key=repr), None
    except psycopg.Error as error:
        return None, error.sqlstate


def run(connection, seed, statements, rows=(0, 1, 5, 300, 3000)):
    """Returns how many statements were computed on columns, how many raised an error, and those whose answers
    differ."""
    chance = random.Random(seed)
    connection.execute("DROP TABLE IF EXISTS random_rows")
    fill(connection, chance, "random_rows", chance.choice(rows))
    return compare(connection, chance, "random_rows", statements)


def of_values(error):
    """Whether a SQLSTATE is one that values raise: 0A000 is that of a cast of NaN to an integer."""
    return error is not None and (error[:2] == "22" or error == "0A000")


def compare(connection, chance, table, statements):
    """What `run` returns, over a table that has the columns."""
    counts, differing = {"columns": 0, "spare": 0, "errors": 0}, []
    for _ in range(statements):
        text = Statement(chance).text(table)
        plain, plain_error = answer(connection, text, "off")
        found, error = answer(connection, text, "force")
        # Where rows raise several errors, which one is met first depends on the order of the rows.
        both_fail = of_values(error) and of_values(plain_error)
        if (found, error) != (plain, plain_error) and not both_fail:
            differing.append((text, plain_error or plain[:3], error or (found or [])[:3]))
        counts["errors"] += plain_error is not None
        if plain_error is None:
            plan = "\n".join(
                line for (line,) in connection.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) " + text)
            )
            counts["columns"] += "ColumnarAggregate" in plan and "Spare:" not in plan
            counts["spare"] += "Spare:" in plan
    return counts, differing


def prepare(connection, workers, load=True):
    if load:
        connection.execute("LOAD 'pg_strata'")
    for setting, value in {
        "min_parallel_table_scan_size": 0,
        "parallel_setup_cost": 0,
        "parallel_tuple_cost": 0,
        "max_parallel_workers_per_gather": workers,
    }.items():
        connection.execute(f"SET {setting} = {value}")


def main():
    parser = argparse.ArgumentParser(prog="python -m pg_test.random_sql")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--statements", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    totals, wrong, each = {}, 0, 200
    with Server(postgres.find(18), f"random-sql-{options.seed}", shared_buffers="64MB") as server:
        with server.connect() as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_strata")
            prepare(connection, options.workers)
            for number in range(options.statements // each):
                counts, differing = run(connection, options.seed * 1_000_000 + number, each)
                for name, count in counts.items():
                    totals[name] = totals.get(name, 0) + count
                for text, plain, found in differing:
                    wrong += 1
                    print(
                        f"seed {options.seed * 1_000_000 + number}: {text}\n  PostgreSQL {plain}\n  columns    {found}",
                        flush=True,
                    )
            print(f"{options.statements} statements, {totals}, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
