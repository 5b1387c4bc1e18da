"""[ROWS=6000000] [ROUNDS=3] [FILES=/dev/shm] python -m pg_test.bench.arrow: export_table_arrow against the Parquet
export without compression, and ADBC.

Every contestant in turn in each round, one worker beside the caller; fails when a file of ours differs from its table.
Prints medians. The files lie below FILES while they are needed: in memory, a slow disk does not count.
"""

import os
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from ..lab import places, postgres
from ..lab.server import Server
from . import checksum, tables
from .__main__ import ROUNDS, ROWS, settings
from .contestants import Contestant, clear, process, statement


def contestants(server):
    export = (
        "SELECT * FROM export_table_{}('{{table}}', '{{file}}', compression => 'none', workers => 1, overwrite => true)"
    )
    yield "arrow", Contestant("export_table_arrow", "", statement(server, export.format("arrow")), ours=True)
    yield (
        "parquet",
        Contestant("export_table_parquet, none", "", statement(server, export.format("parquet")), ours=True),
    )
    yield (
        "arrow",
        Contestant(
            "ADBC to an Arrow file",
            "",
            process(
                lambda table, file: [
                    sys.executable,
                    "-m",
                    "pg_test.bench.peer",
                    "adbc_arrow",
                    "none",
                    table,
                    file,
                    server.dsn(),
                    server.uri(),
                ]
            ),
        ),
    )


def measure(installation, directory):
    """Prints the tables; what differs from its table comes back."""
    wrong = []
    with Server(installation, "bench", **settings(installation)) as server, server.connect() as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_strata")
        for table in tables.TABLES:
            places.say(f"loading {table}, {ROWS:,} rows")
            tables.load(connection, table, ROWS)
            columns, truth = checksum.of_table(connection, table)
            seconds, megabytes = defaultdict(list), {}
            for _ in range(ROUNDS):
                for suffix, contestant in contestants(server):
                    file = directory / f"{table}.{suffix}"
                    seconds[contestant.label].append(contestant.run(table, file).seconds)
                    megabytes[contestant.label] = file.stat().st_size / 1e6
                    if contestant.ours and (differing := checksum.differences(columns, truth, file)):
                        wrong.append(f"{contestant.label} on {table}: {', '.join(differing)}")
                    clear(file)
            print(f"\n**{table}, {ROWS:,} rows**\n\n| | seconds (median) | file, MB |\n|---|--:|--:|")
            for label, runs in seconds.items():
                print(f"| {label} | {statistics.median(runs):.2f} | {megabytes[label]:,.0f} |", flush=True)
    return wrong


def main():
    directory = places.fresh(Path(os.environ.get("FILES", places.home())) / "pg_strata_bench", 0o755)
    try:
        wrong = measure(postgres.chosen(), directory)
    finally:
        clear(directory)
    if wrong:
        places.fail("files that differ from their table:\n   " + "\n   ".join(wrong))


if __name__ == "__main__":
    main()
