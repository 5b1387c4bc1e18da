"""The memory and the descriptors of one session over many exports and many errors."""

import os
from pathlib import Path

import psycopg

from .arena import must
from .calls import answer

SLACK = 2 << 20
REPEATED = (
    "parquet small",
    "directory small",
    "arrow small",
    "query arrow",
    "dump small",
    "vcf",
    "append",
    "gpu small",
    "read_parquet",
    "aggregate",
    "pruned",
)
ERRORS = (
    "export_table_parquet('small', '/nowhere/t.parquet')",
    "export_query_arrow('SELECT 1/(id - 1000) AS a FROM small', '{out}/q.arrow')",
    "export_table_arrow('small', '{out}/vcf.arrow', append => true)",
    "import_vcf('{out}/small.bin', '{out}/v.arrow')",
    "export_query_parquet('SELECT * FROM read_parquet(''{out}/small.bin'') AS t(a int)', '{out}/q.parquet')",
)


def resident(pid):
    """Private memory: shared buffers come in as they are touched."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) << 10


def run(arena, rounds=1000):
    """So many exports and so many errors; what they took after a tenth of them and in the end."""
    arena.forget_session()
    session = arena.session()
    pid = session.info.backend_pid
    told = []
    for what, work in (
        ("exports", lambda number: export(arena, session, number)),
        ("errors", lambda number: refuse(arena, session, number)),
    ):
        for number in range(rounds):
            work(number)
            if number == rounds // 5:
                before = resident(pid), len(os.listdir(f"/proc/{pid}/fd"))
        after = resident(pid), len(os.listdir(f"/proc/{pid}/fd"))
        must(after[0] <= before[0] + SLACK, f"{what} make a session grow: {before[0]} to {after[0]} bytes")
        must(after[1] <= before[1] + 3, f"{what} leave descriptors: {before[1]} to {after[1]}")
        told.append(f"{rounds} {what}: {before[0] >> 10} to {after[0] >> 10} kB, {before[1]} to {after[1]} descriptors")
    return "; ".join(told)


def export(arena, session, number):
    call = arena.calls[REPEATED[number % len(REPEATED)]]
    if call.append and number % 20 == 0:
        call.target.unlink(missing_ok=True)
    answer(session, call.text(0))


def refuse(arena, session, number):
    try:
        session.execute("SELECT * FROM " + ERRORS[number % len(ERRORS)].format(out=arena.out))
    except psycopg.Error:
        return
    must(False, "no error:", ERRORS[number % len(ERRORS)])
