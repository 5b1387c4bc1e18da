"""Many sessions append to one file: it is whole, and its rows are those of the appends that reported success."""

import collections
import time

import psycopg
import pyarrow as pa

from ..helpers.support import Background, entries, eventually
from .arena import must
from .checks import check_error

ROWS = 20


def run(arena, rounds=10, seconds=60, sessions=30):
    done = refused = 0
    for _ in range(rounds):
        more = once(arena, seconds, sessions)
        done, refused = done + more[0], refused + more[1]
    return f"{rounds} runs of {sessions} sessions for {seconds} s: {done} appends, {refused} refused, 0 files destroyed"


def once(arena, seconds, sessions):
    path = arena.out / "shared.arrow"
    path.unlink(missing_ok=True)
    ends = time.monotonic() + seconds

    def append(number):
        """Each append has rows that name it."""
        succeeded, refused = [], 0
        with arena.server.connect() as db:
            db.execute("CREATE TEMPORARY TABLE mine (session int, append int, row int)")
            append = 0
            while time.monotonic() < ends:
                append += 1
                db.execute(
                    f"TRUNCATE mine; INSERT INTO mine SELECT {number}, {append}, i FROM generate_series(1, {ROWS}) i"
                )
                try:
                    db.execute(f"SELECT export_table_arrow('mine', '{path}', append => true)")
                    succeeded.append((number, append))
                except psycopg.Error as error:
                    check_error(error)
                    must(error.sqlstate in ("55P03", "58P02"), error)
                    refused += 1
        return succeeded, refused

    works = [Background(lambda number=number: append(number)) for number in range(sessions)]
    results = [work.result(seconds + 120) for work in works]
    wanted = collections.Counter(
        (*one, row) for succeeded, _ in results for one in succeeded for row in range(1, ROWS + 1)
    )
    table = pa.ipc.open_file(path).read_all()
    table.validate(full=True)
    found = collections.Counter(zip(*(table[name].to_pylist() for name in ("session", "append", "row"))))
    must(found == wanted, f"{len(found - wanted)} rows too many, {len(wanted - found)} rows missing")
    size = path.stat().st_size
    path.unlink()
    eventually(lambda: not any("shared" in name for name in entries(arena.out)), explain=lambda: entries(arena.out))
    must(size > 0)
    return sum(len(succeeded) for succeeded, _ in results), sum(refused for _, refused in results)
