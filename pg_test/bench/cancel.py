"""python -m pg_test.bench.cancel [exports]: how long an export goes on after pg_cancel_backend.

Prints the distribution over exports of a table of a million rows, cancelled at random moments, with
0 and 2 workers and with each scan.
"""

import random
import statistics
import sys
import threading
import time

import psycopg

from ..lab import places, postgres
from ..lab.server import Server

TABLE = """CREATE TABLE t AS SELECT i, i * 1.25 AS n, md5(i::text) AS s, now() + i * interval '1 s' AS ts
           FROM generate_series(1, 1000000) i"""


def cancelled(server, directory, after, options):
    """Milliseconds from the cancel to the error; None when the export was quicker."""
    with server.connect() as connection, server.connect() as other:
        pid, moment = connection.info.backend_pid, []

        def cancel():
            time.sleep(after)
            moment.append(time.perf_counter())
            other.execute("SELECT pg_cancel_backend(%s)", (pid,))

        thread = threading.Thread(target=cancel)
        thread.start()
        try:
            connection.execute(f"SELECT export_table_parquet('t', '{directory}/t.parquet', overwrite => true, {options})")
            return None
        except psycopg.errors.QueryCanceled:
            return (time.perf_counter() - moment[0]) * 1000
        finally:
            thread.join()


def main(exports=40):
    chance = random.Random(1)
    with Server(postgres.chosen(), "cancel") as server:
        directory = places.fresh(places.TARGET / "cancel", 0o777)
        with server.connect() as connection:
            connection.execute("CREATE EXTENSION pg_strata")
            connection.execute(TABLE)
        for options in ("workers => 0", "workers => 2", "workers => 0, scan => 'copy_binary'", "workers => 2, scan => 'copy_binary'"):
            times = [cancelled(server, directory, chance.uniform(0.02, 0.25), options) for _ in range(exports)]
            times = sorted(one for one in times if one is not None)
            print(f"{options:<40} {len(times)} cancelled: median {statistics.median(times):.0f} ms, longest {times[-1]:.0f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
