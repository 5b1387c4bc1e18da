"""python -m pg_test.regress --source PATH [--version 18] [TEST ...]: PostgreSQL's own regression queries on columns.

Runs the scripts of src/test/regress in a PostgreSQL source tree, in the order of its parallel schedule and one after
another, on two new servers: on the first by PostgreSQL's plans, on the second with `pg_strata.columnar_sql = force`.
The outputs, SQLSTATEs included, are compared statement by statement; the plans that EXPLAIN shows may differ, and the
order of rows is reported apart. The first run is compared with the expected files, too, as a check of this script; the
functions of regress.so are not there. With TESTs, these alone are compared, and the scripts before them in the schedule
are run. With --workers, plans on columns have parallel workers for tables of any size.
"""

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .lab import places, postgres
from .lab.server import Server

NODE = "Custom Scan (ColumnarAggregate)"
SECONDS = 600
# Each plan goes to the log, so that those on columns can be counted.
EXPLAINED = {"log_min_duration": 0, "log_analyze": "on", "log_timing": "off", "log_nested_statements": "on"}
SETTINGS = {
    "session_preload_libraries": "auto_explain,pg_strata",
    "max_prepared_transactions": "2",
    **{f"auto_explain.{name}": str(value) for name, value in EXPLAINED.items()},
}
# What psql says of errors beside their texts and SQLSTATEs, as where in PostgreSQL's source they are raised.
NOT_COMPARED = r"(LOCATION|(SCHEMA|TABLE|COLUMN|DATATYPE|CONSTRAINT) NAME):  "
# Scripts that say nothing about queries on columns.
LEFT_OUT = {
    "stats": "counts how often tables were scanned",
    "vacuum_parallel": "vacuums",
    "maintain_every": "vacuums",
    "tablespace": "needs a directory beside the source",
    "numa": "reads the machine's memory",
    "event_trigger_login": "changes what a connection does",
}


@dataclass
class Run:
    """What one server has said: for each script its output, and how many plans were on columns and spare."""

    outputs: dict = field(default_factory=dict)
    on_columns: dict = field(default_factory=dict)
    spare: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Piece:
    """What psql echoes of a script, and what follows it."""

    echoed: tuple
    found: tuple

    def is_explained(self):
        return any("explain" in line.lower() for line in self.echoed)

    def __str__(self):
        return "\n".join((*self.echoed, *self.found))


def schedule(source):
    """The scripts in the order in which they are run."""
    lines = (source / "parallel_schedule").read_text().splitlines()
    groups = [line.removeprefix("test:").split() for line in lines if line.startswith("test:")]
    return [test for group in groups for test in group]


def run_all(installation, source, tests, settings):
    """Runs the scripts on a server of their own."""
    done, mode = Run(), settings["pg_strata.columnar_sql"]
    with Server(installation, f"regress-{mode}", **SETTINGS) as server:
        results = places.fresh(server.place / "files", 0o777)
        places.fresh(results / "results", 0o777)
        server.place.chmod(0o755)
        with server.connect() as connection:
            connection.execute("CREATE DATABASE regression TEMPLATE template0")
            for setting, value in {
                **dict.fromkeys(("lc_messages", "lc_monetary", "lc_numeric", "lc_time"), "C"),
                "bytea_output": "hex",
                "timezone_abbreviations": "Default",
                **settings,
            }.items():
                connection.execute(f"ALTER DATABASE regression SET {setting} = '{value}'")
        for test in tests:
            before = server.logfile.stat().st_size
            done.outputs[test] = script(server, source, results, test)
            with open(server.logfile, errors="replace") as log:
                log.seek(before)
                text = log.read()
            done.spare[test] = text.count("\tSpare: ") + text.count("  Spare: ")
            done.on_columns[test] = text.count(NODE) - done.spare[test]
    return done


def script(server, source, results, test):
    """Returns what psql says when it runs a script as pg_regress does, with each error's SQLSTATE."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))},
        "LANG": "C",
        "PGTZ": "America/Los_Angeles",
        "PGDATESTYLE": "Postgres, MDY",
        "PGOPTIONS": "-c intervalstyle=postgres_verbose",
        "PG_ABS_SRCDIR": str(source),
        "PG_ABS_BUILDDIR": str(results),
        "PG_LIBDIR": server.postgres.ask("--pkglibdir"),
        "PG_DLSUFFIX": ".so",
        "PGAPPNAME": f"pg_regress/{test}",
    }
    settings = ("HIDE_TABLEAM=on", "HIDE_TOAST_COMPRESSION=on", "VERBOSITY=verbose")
    command = server.psql_command("-a", "-q", *(word for of in settings for word in ("-v", of)), dbname="regression")
    with open(source / "sql" / f"{test}.sql", "rb") as commands:
        ran = subprocess.run(
            command,
            stdin=commands,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=SECONDS,
            cwd=results,
            umask=0,
        )
    output = ran.stdout.decode(errors="backslashreplace").replace(str(results), "/files")
    return [line for line in output.splitlines() if not re.match(NOT_COMPARED, line)]


def pieces(source, test, output):
    """Cuts an output where lines of the script are echoed."""
    script = (source / "sql" / f"{test}.sql").read_text(errors="backslashreplace").splitlines()
    known = {line for line in script if line}
    found = []
    echoed, answer = [], []
    for line in output:
        if line in known:
            if answer:
                found.append(Piece(tuple(echoed), tuple(answer)))
                echoed, answer = [], []
            echoed.append(line)
        else:
            answer.append(line)
    return [*found, Piece(tuple(echoed), tuple(answer))]


def differing(plain, forced):
    """Returns the pieces that differ in values or errors, those in the order of rows, and those in plans."""
    if [piece.echoed for piece in plain] != [piece.echoed for piece in forced]:
        return [(Piece((), tuple(map(str, plain))), Piece((), tuple(map(str, forced))))], [], []
    values, order, plans = [], [], []
    for pair in zip(plain, forced, strict=True):
        a, b = pair
        if a == b:
            continue
        if a.is_explained():
            plans.append(pair)
        elif sorted(a.found) == sorted(b.found):
            order.append(pair)
        else:
            values.append(pair)
    return values, order, plans


def expected_lines(source, test, output):
    """How many lines of an output are not in the most similar expected file."""
    code = re.compile(r"^([A-Z]+:  )[0-9A-Z]{5}: ")
    said = [code.sub(r"\1", line) for line in output]
    least = None
    for file in sorted((source / "expected").glob(f"{test}*.out")):
        if not re.fullmatch(rf"{re.escape(test)}(_\d)?", file.stem):
            continue
        known = set(file.read_text(errors="backslashreplace").splitlines())
        strange = sum(line not in known for line in said)
        least = strange if least is None else min(least, strange)
    return 0 if least is None else least


def parallel(workers):
    """Settings with which plans on columns use workers. PostgreSQL's own do not: they would change the rows' order."""
    return {
        "min_parallel_table_scan_size": 0,
        "max_parallel_workers_per_gather": workers,
        "parallel_setup_cost": 1e9,
        "max_parallel_maintenance_workers": 0,
    }


def shown(pair, most=40):
    a, b = (str(piece).splitlines() for piece in pair)
    return "\n".join(["--- PostgreSQL", *a[:most], "--- on columns", *b[:most]])


def main():
    parser = argparse.ArgumentParser(prog="python -m pg_test.regress")
    parser.add_argument("--source", type=Path, required=True, help="PostgreSQL's source tree")
    parser.add_argument("--version", type=int, default=18)
    parser.add_argument("--workers", type=int, default=0, help="of each plan on columns")
    parser.add_argument("--verbose", action="store_true", help="print differences of order and plans, too")
    parser.add_argument("tests", nargs="*", help="scripts that are compared; all by default")
    options = parser.parse_args()
    source = (options.source / "src/test/regress").resolve()
    tests = [test for test in schedule(source) if test not in LEFT_OUT]
    compared = options.tests or tests
    tests = tests[: max(map(tests.index, compared)) + 1]
    installation = postgres.find(options.version)
    settings = parallel(options.workers) if options.workers else {}
    plain, forced = (
        run_all(installation, source, tests, {**settings, "pg_strata.columnar_sql": mode}) for mode in ("off", "force")
    )
    totals = dict.fromkeys(("statements", "on columns", "spare", "order", "plans", "differ"), 0)
    for test in compared:
        mine, theirs = (pieces(source, test, run.outputs[test]) for run in (plain, forced))
        values, order, plans = differing(mine, theirs)
        counts = {
            "statements": len(mine),
            "on columns": forced.on_columns[test],
            "spare": forced.spare[test],
            "order": len(order),
            "plans": len(plans),
            "differ": len(values),
        }
        totals = {name: totals[name] + count for name, count in counts.items()}
        strange = expected_lines(source, test, plain.outputs[test])
        words = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        print(f"{test}: {words}" + (f"; {strange} lines are not expected" if strange else ""), flush=True)
        for pair in values + (order + plans if options.verbose else []):
            print(shown(pair))
    print(totals)
    return 1 if totals["differ"] or not totals["on columns"] else 0


if __name__ == "__main__":
    sys.exit(main())
