"""python -m pg_test.random_sql [--seed N] [--statements N]: random aggregations, by PostgreSQL's plans and on
columns."""

import argparse
import random
import sys

import psycopg

from .lab import postgres
from .lab.server import Server

# Each column: its type, and the values that rows have, beside NULL.
COLUMNS = {
    "b": ("boolean", ["true", "false"]),
    "i2": ("smallint", ["-32768", "32767", "0", "1", "-1", "7", "100"]),
    "i4": ("integer", ["-2147483648", "2147483647", "0", "1", "-1", "2", "30000", "65536"]),
    "i8": ("bigint", ["-9223372036854775808", "9223372036854775807", "0", "1", "-1", "3", "4294967296", "10000000000"]),
    "s4": ("integer", [str(value) for value in range(-5, 6)]),
    "f4": ("real", ["'NaN'", "'Infinity'", "'-Infinity'", "0", "1.5", "-2.25", "1e30"]),
    "f8": ("double precision", ["'NaN'", "'Infinity'", "'-Infinity'", "0", "0.1", "-1e300", "3"]),
    "n": (
        "numeric",
        [
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "0",
            "0.00",
            "1",
            "1.0",
            "1.50",
            "-3.14159",
            "12345678901234567890123456789",
            "99999999999999999999999999999999999999",
            "-0.000000000000000000000001",
            "1e-30",
            "1e60",
            "7",
        ],
    ),
    "n2": ("numeric(15,2)", ["0.00", "1.00", "-1.01", "9999999999999.99", "-9999999999999.99", "0.05", "10.10"]),
    "nw": ("numeric(38,10)", ["0", "1234567890123456789012345678.0123456789", "-1.5", "0.0000000001", "99"]),
    "d": (
        "date",
        [
            "'2000-01-01'",
            "'1999-12-31'",
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 BC'",
            "'5874897-12-31'",
            "'2024-02-29'",
        ],
    ),
    "ti": ("time", ["'00:00'", "'24:00'", "'12:34:56.789012'"]),
    "ts": (
        "timestamp",
        [
            "'2000-01-01'",
            "'infinity'",
            "'-infinity'",
            "'1999-12-31 23:59:59.999999'",
            "'2024-02-29 12:00'",
            "'294276-12-31'",
        ],
    ),
    "tz": ("timestamptz", ["'2000-01-01 00:00+00'", "'infinity'", "'2024-02-29 12:00+05'"]),
    "t": (
        'text COLLATE "C"',
        [
            "''",
            "'a'",
            "'ab'",
            "'abcdefghijkl'",
            "'abcdefghijklm'",
            "'abcdefghijkln'",
            "'žluťoučký kůň'",
            "'a%b'",
            "'a_b'",
            "repeat('x', 3000)",
            "repeat(md5('toast'), 400)",
        ],
    ),
    "v": ("varchar(20)", ["''", "'a'", "'B'", "'a '", "'twelve bytes'", "'thirteen byte'"]),
    "c": ("char(6)", ["''", "'a'", "'ab'", "'a b'", "'ABCDEF'"]),
    "u": (
        "uuid",
        [
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
        ],
    ),
}
INTEGERS = ("i2", "i4", "i8", "s4")
NUMERICS = ("n", "n2", "nw")
TEXTS = ("t", "v", "c")
# Equal values of these may differ in how they are shown, and which of them a group shows is not defined.
SHOWN = {"n": "trim_scale({})", "f4": "({} + 0::real)", "f8": "({} + 0::double precision)"}
ORDERED = (
    "i2",
    "i4",
    "i8",
    "s4",
    "f4",
    "f8",
    "n",
    "n2",
    "nw",
    "d",
    "ti",
    "ts",
    "tz",
    "t",
    'v COLLATE "C"',
    'c COLLATE "C"',
)
SPREADS = ("variance", "var_pop", "var_samp", "stddev", "stddev_pop", "stddev_samp")


def fill(connection, chance, table, rows):
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
    connection.execute(f"CREATE TABLE {table} ({columns})")
    nulls = chance.choice((0, 0.1, 0.5))

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


class Statement:
    """Writes one statement."""

    def __init__(self, chance):
        self.chance = chance

    def constant(self, name):
        kind, values = COLUMNS[name]
        return f"({self.chance.choice(values)})::{kind}" if self.chance.random() < 0.9 else f"NULL::{kind}"

    def integer(self, depth):
        kind = self.chance.random()
        if depth == 0 or kind < 0.4:
            return self.chance.choice(INTEGERS)
        if kind < 0.5:
            return self.chance.choice(("1", "0", "-1", "100", "3::bigint", "2::smallint"))
        if kind < 0.6:
            return (
                f"(CASE WHEN {self.condition(depth - 1)} THEN {self.integer(0)}::bigint ELSE "
                f"{self.integer(depth - 1)}::bigint END)"
            )
        if kind < 0.65:
            return f"coalesce({self.integer(0)}::bigint, {self.integer(depth - 1)}::bigint)"
        if kind < 0.7:
            return f"(- {self.integer(depth - 1)})"
        if kind < 0.75:
            return f"{self.integer(depth - 1)}::{self.chance.choice(('smallint', 'integer', 'bigint'))}"
        return (
            f"({self.integer(depth - 1)} {self.chance.choice(('+', '-', '*', '*', '/', '%'))} "
            f"{self.integer(depth - 1)})"
        )

    def numeric(self, depth):
        kind = self.chance.random()
        if depth == 0 or kind < 0.4:
            return self.chance.choice(NUMERICS)
        if kind < 0.5:
            return self.chance.choice(("1::numeric", "0.5", "100.00", "-1.000000"))
        if kind < 0.6:
            return f"{self.integer(depth - 1)}::numeric"
        if kind < 0.7:
            return f"(CASE WHEN {self.condition(depth - 1)} THEN {self.numeric(0)} ELSE {self.numeric(depth - 1)} END)"
        if kind < 0.75:
            return f"coalesce({self.numeric(0)}, {self.numeric(depth - 1)})"
        return f"({self.numeric(depth - 1)} {self.chance.choice(('+', '-', '*'))} {self.numeric(depth - 1)})"

    def comparison(self, depth):
        operator = self.chance.choice(("=", "<>", "<", "<=", ">", ">="))
        kind = self.chance.random()
        if kind < 0.2:
            return f"{self.integer(depth)} {operator} {self.integer(depth)}"
        if kind < 0.4:
            return f"{self.numeric(depth)} {operator} {self.numeric(depth)}"
        if kind < 0.5:
            return self.chance.choice((f"d {operator} ts", f"ts {operator} d", f"f4 {operator} f8"))
        name = self.chance.choice([name for name in COLUMNS if name != "b"])
        if kind < 0.6 and name in TEXTS:
            pattern = self.chance.choice(("a%", "%b", "_", "%a%b%", "", "%", "a\\%b", "__", "%_%", "ž%", "%ň"))
            return f"{name} {self.chance.choice(('LIKE', 'NOT LIKE'))} '{pattern}'"
        if kind < 0.75:
            values = ", ".join(self.constant(name) for _ in range(self.chance.randint(1, 12)))
            return f"{name} {self.chance.choice(('IN', 'NOT IN'))} ({values})"
        if name in ("v", "c", "u"):
            operator = self.chance.choice(("=", "<>"))
        return f"{name} {operator} {self.constant(name)}"

    def condition(self, depth):
        kind = self.chance.random()
        if depth > 0 and kind < 0.3:
            return f"({self.condition(depth - 1)} {self.chance.choice(('AND', 'OR'))} {self.condition(depth - 1)})"
        if depth > 0 and kind < 0.4:
            return f"(NOT {self.condition(depth - 1)})"
        if kind < 0.5:
            return self.chance.choice(
                (
                    "b",
                    "NOT b",
                    "b IS TRUE",
                    "b IS NOT TRUE",
                    "b IS FALSE",
                    "b IS NOT FALSE",
                    "b IS UNKNOWN",
                    "b IS NOT UNKNOWN",
                )
            )
        if kind < 0.6:
            return f"{self.chance.choice(list(COLUMNS))} IS {self.chance.choice(('', 'NOT '))}NULL"
        return f"({self.comparison(max(depth - 1, 0))})"

    def key(self):
        """A key, and what shows it."""
        kind = self.chance.random()
        if kind < 0.7:
            name = self.chance.choice(list(COLUMNS))
            return name, SHOWN.get(name, "{}").format(name)
        expression = self.integer(1) if kind < 0.9 else self.condition(1)
        # A constant would be a column's number.
        return (expression, expression) if any(name in expression for name in COLUMNS) else ("b", "b")

    def aggregate(self):
        kind = self.chance.random()
        if kind < 0.15:
            found = "count(*)"
        elif kind < 0.3:
            found = f"count({self.chance.choice(list(COLUMNS))})"
        elif kind < 0.45:
            name = self.chance.choice(ORDERED)
            found = f"{self.chance.choice(('min', 'max'))}({name})"
        elif kind < 0.5:
            found = f"{self.chance.choice(('bool_and', 'bool_or', 'every'))}({self.condition(1)})"
        elif kind < 0.57:
            found = f"{self.chance.choice(('bit_and', 'bit_or', 'bit_xor'))}({self.integer(1)})"
        elif kind < 0.67:
            found = f"{self.chance.choice(SPREADS)}({self.chance.choice((self.integer, self.numeric))(1)})"
        else:
            found = f"{self.chance.choice(('sum', 'avg'))}({self.chance.choice((self.integer, self.numeric))(2)})"
        if self.chance.random() < 0.2:
            found += f" FILTER (WHERE {self.condition(1)})"
        name = found[4:-1] if found.startswith(("min(", "max(")) else ""
        return SHOWN[name].format(found) if name in SHOWN else found

    def text(self, table):
        keys = [self.key() for _ in range(self.chance.choice((0, 0, 1, 1, 2, 3)))]
        aggregates = [self.aggregate() for _ in range(self.chance.randint(1 if not keys else 0, 4))]
        shown = [f"({shown})::text" for _, shown in keys] + [f"({aggregate})::text" for aggregate in aggregates]
        text = f"SELECT {', '.join(shown)} FROM {table}"
        if self.chance.random() < 0.6:
            text += f" WHERE {' AND '.join(self.condition(2) for _ in range(self.chance.randint(1, 2)))}"
        if keys:
            text += f" GROUP BY {', '.join(f'({key})' for key, _ in keys)}"
        if aggregates and self.chance.random() < 0.15:
            text += f" HAVING {self.chance.choice(aggregates)} IS NOT NULL AND count(*) > {self.chance.randint(0, 3)}"
        return text


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


def compare(connection, chance, table, statements):
    """What `run` returns, over a table that has the columns."""
    counts, differing = {"columns": 0, "spare": 0, "errors": 0}, []
    for _ in range(statements):
        text = Statement(chance).text(table)
        plain, plain_error = answer(connection, text, "off")
        found, error = answer(connection, text, "force")
        # Where rows raise several errors, which one is met first depends on the order of the rows.
        both_fail = error is not None and plain_error is not None and error[:2] == plain_error[:2] == "22"
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
