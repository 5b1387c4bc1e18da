"""make bench [ROWS=6000000] [ROUNDS=3] [PEERS=all] [PG_CONFIG=...]

Fails when a file of ours differs from its table. Writes target/bench/table.md and target/bench/chart.svg.
"""

import os
import socket
import sys
from collections import defaultdict
from pathlib import Path

import psycopg

from ..lab import build, places, postgres
from ..lab.server import Server
from . import checksum, contestants, report, tables

ROWS = int(os.environ.get("ROWS", "6000000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
NUMERIC = {"lineorder": "lo_revenue", "lineitem": "l_extendedprice"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def settings(installation):
    """Room for both tables in shared buffers; TCP on the loopback for clients without unix sockets."""
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    chosen = {
        "shared_buffers": f"{min(3072, memory // 5)}MB",
        "listen_addresses": "127.0.0.1",
        "port": free_port(),
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_wal_size": "8GB",
        "fsync": "on",
        "full_page_writes": "on",
    }
    if (Path(installation.ask("--sharedir")) / "extension" / "pg_parquet.control").exists():
        chosen["shared_preload_libraries"] = "pg_parquet"
    return chosen


def run_one(contestant, table, file, entries):
    """One timed export; a peer that fails is reported and left out, ours must not fail."""
    contestants.clear(file)
    try:
        run = contestant.run(table, file)
    except (RuntimeError, psycopg.Error) as error:
        if contestant.ours:
            raise
        places.say(f"{contestant.label} on {table}: {error}")
        return
    entries["runs"][contestant.label].append(run)
    print(f"   {table:<10} {contestant.label:<28} {run.seconds:7.2f} s {run.peak_mb:7.0f} MB", flush=True)
    if contestant.codec:
        entries["files"][contestant.label] = (
            file.stat().st_size / 1e6,
            contestants.numeric_became(file, NUMERIC[table]),
        )


def bench_table(server, found, table, directory):
    """All rounds for one table. Returns its results and what was found to differ."""
    entries, wrong = {"runs": defaultdict(list), "files": {}}, []
    with server.connect() as connection:
        places.say(f"loading {table}, {ROWS:,} rows")
        tables.load(connection, table, ROWS)
        entries["heap_mb"] = connection.execute("SELECT pg_relation_size(%s) / 1e6", (table,)).fetchone()[0]
        columns, truth = checksum.of_table(connection, table)
    for _ in range(ROUNDS):
        for contestant in found:
            file = directory / f"{table}.parquet"
            run_one(contestant, table, file, entries)
            if contestant.ours and (differing := checksum.differences(columns, truth, file)):
                wrong.append(f"{contestant.label} on {table}: {', '.join(differing)}")
            contestants.clear(file)
    return entries, wrong


def main():
    installation = postgres.chosen()
    if os.environ.get("PEERS") != "only":
        build.install(installation)
    directory = places.fresh(places.home() / "bench", 0o755)
    results, wrong = {}, []
    with Server(installation, "bench", **settings(installation)) as server:
        with server.connect() as connection:
            if connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_strata'").fetchone():
                connection.execute("CREATE EXTENSION pg_strata")
        found = contestants.all_of(server, os.environ.get("PEERS"))
        for table in tables.TABLES:
            results[table], differing = bench_table(server, found, table, directory)
            wrong += differing
    title = f"{installation}, {os.cpu_count()} cores, {ROUNDS} rounds in turn, all in one run"
    table = report.markdown(title, found, results, ROWS)
    for name, text in (("table.md", table), ("chart.svg", report.svg(found, results, ROWS))):
        (directory / name).write_text(text)
    print(f"\n{table}\n{directory}/table.md, {directory}/chart.svg")
    if wrong:
        places.fail("files that differ from their table:\n   " + "\n   ".join(wrong))


if __name__ == "__main__":
    sys.exit(main())
