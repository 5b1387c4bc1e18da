"""Kinds of fault of sessions and processes: cancels, kills, timeouts, locks, refusals, crowds."""

import contextlib
import os
import signal
import socket
import time

import psycopg

from ..helpers.gpu_server import runs, service_info
from ..helpers.support import Background, eventually
from .arena import must, sqlstate
from .calls import answer, rows_and_sum, state
from .checks import check_answer, check_error, check_target, finish
from .registry import kind, large, pick, started


@kind(12)
def cancel(arena, chance):
    call = pick(arena, chance)
    work, before = started(arena, chance, call)
    arena.watcher.execute("SELECT pg_cancel_backend(%s)", (work.pid,))
    # A cancel may come when the function is over and the statement is not.
    return call, finish(arena, call, work, before, either=True)


@kind(6)
def terminate(arena, chance):
    call = pick(arena, chance)
    work, before = started(arena, chance, call)
    arena.watcher.execute("SELECT pg_terminate_backend(%s)", (work.pid,))
    arena.wait_until_gone(work.pid)
    outcome = finish(arena, call, work, before, either=True)
    arena.forget_session()
    return call, outcome


@kind(6)
def closed_socket(arena, chance):
    call = pick(arena, chance)
    work, before = started(arena, chance, call)
    own = socket.socket(fileno=os.dup(arena.victim.fileno()))
    own.shutdown(socket.SHUT_RDWR)
    own.close()
    outcome = finish(arena, call, work, before, either=True)
    arena.wait_until_gone(work.pid)
    arena.forget_session()
    return call, outcome


@kind(6)
def worker(arena, chance):
    """A parallel worker is cancelled or terminated: its rows must not be missing."""
    call = pick(arena, chance, lambda call: "{workers}" in call.sql and large(call))
    before = state(call.target) if call.target else None
    work = arena.start(call.text(chance.choice((1, 2, 4))))
    eventually(
        lambda: work.ended or arena.workers(),
        30,
        lambda: f"{call.name} neither ends nor starts a worker: {arena.waits()}",
    )
    time.sleep(chance.random() * 0.05)
    for pid in arena.workers()[:1]:
        arena.watcher.execute(f"SELECT pg_{chance.choice(('cancel', 'terminate'))}_backend(%s)", (pid,))
    return call, finish(arena, call, work, before)


@kind(8)
def statement_timeout(arena, chance):
    call = pick(arena, chance)
    before = state(call.target) if call.target else None
    allowed = max(1, int(1000 * chance.random() * 1.1 * arena.durations.get(call.name, 0.05)))
    arena.session().execute(f"SET statement_timeout = {allowed}")
    # As with a cancel.
    outcome = finish(arena, call, arena.start(call.text(chance.choice((0, 1, 2)))), before, either=True)
    end_timeout(arena.session())
    return call, outcome


def end_timeout(session):
    """The statement that ends a timeout of some milliseconds may itself run into it."""
    while True:
        with contextlib.suppress(psycopg.errors.QueryCanceled):
            return session.execute("SET statement_timeout = 0")


def on_table(call):
    return call.target and "vcf" not in call.name and "foreign" not in call.name


def table_of(call):
    return "parted" if call.name == "partitions" else "large" if "large" in call.name else "small"


@kind(4)
def lock_timeout(arena, chance):
    call = pick(arena, chance, on_table)
    before = state(call.target)
    with arena.server.connect() as other:
        other.execute(f"BEGIN; LOCK TABLE {table_of(call)}")
        arena.session().execute("SET lock_timeout = 10")
        outcome = finish(arena, call, arena.start(call.text(chance.choice((0, 2)))), before)
        must(outcome == "55P03", "it did not wait for the lock:", outcome)
        other.execute("COMMIT")
    arena.session().execute("SET lock_timeout = 0")
    return call, outcome


@kind(3)
def deadlock(arena, chance):
    """The session holds a table that the other wants, which holds the one to be exported."""
    call = pick(arena, chance, on_table)
    before = state(call.target)
    victim = arena.session()
    with arena.server.connect() as other:
        victim.execute("BEGIN; LOCK TABLE pg_class IN SHARE UPDATE EXCLUSIVE MODE")
        other.execute(f"BEGIN; LOCK TABLE {table_of(call)}")
        waits = Background(lambda: other.execute("LOCK TABLE pg_class IN SHARE UPDATE EXCLUSIVE MODE"))
        work = arena.start(call.text(0))
        work.join(30)
        victim.execute("ROLLBACK")
        waits.join(30)
        must(not waits.is_alive() and not work.is_alive(), "a deadlock without end")
        if waits.error:
            must(sqlstate(waits.error) == "40P01", waits.error)
        other.execute("ROLLBACK")
    return call, finish(arena, call, work, before)


DDL = [
    "ALTER TABLE d ADD more int DEFAULT 7; ALTER TABLE d DROP more",
    "TRUNCATE d; INSERT INTO d TABLE small",
    "ALTER TABLE d ALTER n TYPE numeric(30,10)",
    "DROP TABLE d; CREATE TABLE d AS TABLE small",
    "VACUUM FULL d",
    "ALTER TABLE d SET UNLOGGED",
    "CREATE INDEX ON d (id); CLUSTER d USING d_id_idx",
    "ALTER TABLE d RENAME TO e; ALTER TABLE e RENAME TO d",
    "DELETE FROM d WHERE id > 1000",
    "REINDEX TABLE d",
]
PARTITIONS = [
    "ALTER TABLE dp DETACH PARTITION dp2",
    "ALTER TABLE dp ATTACH PARTITION dp2 FOR VALUES FROM (1000) TO (2001)",
    "DROP TABLE dp1",
    "CREATE TABLE dp1 PARTITION OF dp FOR VALUES FROM (0) TO (1000)",
    "TRUNCATE dp2",
]
FORMS = [
    "export_table_parquet('{table}', '{path}', workers => {workers}, overwrite => true)",
    "export_table_arrow('{table}', '{path}', workers => {workers}, overwrite => true)",
    "copy_binary_dump('{table}', '{path}', {workers}, overwrite => true)",
    "export_query_arrow('TABLE {table}', '{path}', overwrite => true)",
]


@kind(5)
def ddl(arena, chance):
    """Definitions and storage change while the table is exported; the statement says how many rows there are in the
    file."""
    partitioned = chance.random() < 0.4
    table, statements = ("dp", PARTITIONS) if partitioned else ("d", DDL)
    arena.watcher.execute(
        "DROP TABLE IF EXISTS d, dp, dp1, dp2; CREATE TABLE d AS TABLE small; "
        "CREATE TABLE dp (LIKE small) PARTITION BY RANGE (id);"
        "CREATE TABLE dp1 PARTITION OF dp FOR VALUES FROM (0) TO (1000); "
        "CREATE TABLE dp2 PARTITION OF dp FOR VALUES FROM (1000) TO (2001);"
        "INSERT INTO dp TABLE small"
    )
    path = arena.out / f"ddl.{chance.choice(('parquet', 'arrow', 'bin'))}"
    form = {".parquet": FORMS[0], ".arrow": chance.choice((FORMS[1], FORMS[3])), ".bin": FORMS[2]}[path.suffix]
    sql = "SELECT rows FROM " + form.format(table=table, path=path, workers=chance.choice((0, 2)))

    def changes():
        with arena.server.connect() as other:
            for _ in range(chance.randint(1, 4)):
                for statement in chance.choice(statements).split(";"):
                    try:
                        other.execute(statement)
                    except psycopg.Error as error:
                        must(error.sqlstate in ("42P07", "42P01", "40P01", "42P17", "42809", "55006"), error)
                time.sleep(chance.random() * 0.01)

    changing = Background(changes)
    outcome = "done"
    for _ in range(3):
        work = arena.start(sql)
        work.join(60)
        if work.error:
            check_error(work.error)
            outcome = sqlstate(work.error)
        elif path.suffix != ".bin":
            must(rows_and_sum(arena, path)[0] == work.value[0][0], "the file has not the rows that the call tells")
    changing.result()
    path.unlink(missing_ok=True)
    return arena.calls["arrow small"], outcome


@kind(0.3)
def sigkill(arena, chance):
    """SIGKILL of the leader or of a worker; the server recovers by itself."""
    call = pick(arena, chance, lambda call: call.target and large(call))
    before = state(call.target)
    work = arena.start(call.text(chance.choice((0, 1, 2, 4))))
    leader = chance.random() < 0.5
    ends = time.monotonic() + 1
    while not leader and not work.ended and not arena.workers() and time.monotonic() < ends:
        time.sleep(0.005)
    time.sleep(chance.random() * 0.05)
    pids = [] if leader else arena.workers()
    arena.kill(chance.choice(pids) if pids else work.pid)
    outcome = finish(arena, call, work, before, either=True)
    check_answer(call, answer(arena.session(), call.text(1)))
    return call, outcome


@kind(2)
def gpu_engine(arena, chance):
    """The engine of the GPU service ends: the export goes on without."""
    call = pick(arena, chance, lambda call: call.gpu)
    work, before = started(arena, chance, call)
    try:
        engine = service_info(arena.server)["engine"]
        if engine and runs(engine):
            os.kill(engine, chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGABRT)))
    except (FileNotFoundError, ValueError, ProcessLookupError, KeyError):
        pass
    return call, finish(arena, call, work, before)


REFUSED = [
    "export_table_parquet('small', 'relative.parquet')",
    "export_table_parquet('small', '/nowhere/t.parquet')",
    "export_table_parquet('small', '{out}/t.arrow')",
    "export_table_arrow('small', '{out}/t.arrow', compression => 'lzo')",
    "export_table_parquet('small', '{out}/t.parquet', columns => '{{none}}')",
    "export_table_parquet('small', '{out}/small.parquet')",
    "export_query_parquet('DELETE FROM small', '{out}/q.parquet')",
    "export_query_arrow('SELECT 1/0 AS a', '{out}/q.arrow')",
    "export_query_parquet('SELECT 1 AS a, 2 AS a', '{out}/q.parquet')",
    "import_vcf('{out}/small.bin', '{out}/v.arrow')",
    "export_table_parquet('small', '{out}/t.parquet', workers => -1)",
    "export_table_arrow('small', '{out}/vcf.arrow', append => true)",
    "export_table_parquet('slow', '{out}/t.parquet')",
]


@kind(5)
def refused(arena, chance):
    """What cannot be done, in a block that catches it or not, in a transaction that goes on or not."""
    call = chance.choice(REFUSED).format(out=arena.out)
    victim = arena.session()
    way = chance.choice(("alone", "savepoint", "block"))
    if way == "block":
        victim.execute(f"DO $$ BEGIN PERFORM {call}; EXCEPTION WHEN OTHERS THEN NULL; END $$")
        return arena.calls["arrow small"], "caught"
    try:
        with victim.transaction():
            try:
                with victim.transaction():
                    victim.execute(f"SELECT * FROM {call}")
                return arena.calls["arrow small"], "done"
            except psycopg.Error as error:
                must(error.sqlstate in ("22012",) or error.diag.message_hint, "no hint:", error)
                check_error(error) if error.sqlstate != "22012" else None
                if way == "alone":
                    raise
                victim.execute("SELECT 1")
                return arena.calls["arrow small"], error.sqlstate
    except psycopg.Error as error:
        return arena.calls["arrow small"], error.sqlstate


@kind(3)
def rollback(arena, chance):
    """The transaction of an export that has succeeded is rolled back: the file stays, nothing else."""
    call = pick(arena, chance, lambda call: call.target)
    victim = arena.session()
    victim.execute("BEGIN")
    check_answer(call, answer(victim, call.text(chance.choice((0, 2)))))
    victim.execute("ROLLBACK")
    check_target(arena, call, None, None)
    return call, "done"


@kind(0.5)
def crowd(arena, chance, sessions=30):
    """Thirty sessions append to, overwrite and export to the same few targets at once."""
    calls = [
        arena.calls[name]
        for name in (
            "append",
            "parquet small",
            "directory small",
            "arrow small",
            "query arrow",
            "arrow directory",
            "dump small",
        )
    ]
    taken = [chance.choice(calls) for _ in range(sessions)]
    before, _ = rows_of_append(arena)

    def one(call):
        with arena.server.connect() as db:
            return answer(db, call.text(chance.choice((0, 0, 1))))

    works = [Background(lambda call=call: one(call)) for call in taken]
    appended, failed = 0, 0
    for call, work in zip(taken, works):
        work.join(120)
        must(not work.is_alive(), "it does not end")
        if work.error is None:
            check_answer(call, work.value)
            appended += call.append
        else:
            check_error(work.error)
            must(sqlstate(work.error) in ("55P03", "55006", "58P02"), work.error)
            failed += 1
    for call in calls:
        check_target(arena, call, None, None)
    after, each = rows_of_append(arena)
    must(after - before == appended * each, f"{after - before} rows of {appended} appends")
    return arena.calls["append"], f"{sessions} sessions"


def rows_of_append(arena):
    call = arena.calls["append"]
    return rows_and_sum(arena, call.target)[0], call.rows
