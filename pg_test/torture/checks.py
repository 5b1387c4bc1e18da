"""What must hold after every fault."""

import os
import re
import time

import psycopg

from ..helpers.support import entries
from .arena import must, sqlstate
from .calls import SMALL, answer, rows_and_sum, state

# PostgreSQL's own errors, which say no more: cancels, terminations, locks, lost connections, what is not there any
# more.
WITHOUT_HINT = {"57014", "57P01", "57P02", "57P03", "08006", "55P03", "40P01", "42P01", "25P02", "40001", None}
LOUD = re.compile(r"terminated by signal|PANIC|TRAP:|panicked|could not be reaped|^\d+ XX000 ", re.MULTILINE)


def check_error(error):
    """Of the server's, with a code of its own, and a hint where it is ours."""
    must(isinstance(error, psycopg.Error), "not an error of the server:", repr(error))
    code, diagnostic = error.sqlstate, error.diag
    must(code != "XX000", "internal error:", error)
    must(code is not None or isinstance(error, psycopg.OperationalError), "no SQLSTATE:", repr(error))
    own = "temporary file" in (diagnostic.message_primary or "") or "in memory context" in (
        diagnostic.message_detail or ""
    )
    must(code in WITHOUT_HINT or diagnostic.message_hint or own, f"no hint ({code}):", error)


def check_target(arena, call, before, error, either=False, cut=False):
    """Where the call succeeded the target is right. Where it failed it is as it was; `either`: whether it failed nobody
    can tell."""
    if not call.target:
        return
    now = state(call.target)
    if error is not None and now == before:
        return
    must(error is None or either, f"it failed, and {call.target.name} is not as it was:", error)
    check_rows(arena, call)


def check_rows(arena, call):
    rows, total = rows_and_sum(arena, call.target)
    if rows is None:
        must(total, f"{call.target.name} is not what COPY writes")
        return
    each = call.rows * (call.rows + 1) // 2
    times = rows // call.rows if call.append else 1
    must((rows, total) == (times * call.rows, times * each), f"{call.target.name}: {rows} rows, {total} in sum")


def check_answer(call, value):
    if call.answer is not None:
        must(value == call.answer, f"{call.name}: {value} is not {call.answer}")
    elif call.target:
        must(value == [(call.rows,)], f"{call.name}: {value}")


def next_export(arena, call):
    """The same without a fault; for a large table's, of the small one, as that is faster."""
    call = arena.calls.get(call.name.replace("large", "small"), call)
    if call.append and call.target.stat().st_size > 20 * 60 * SMALL:
        call.target.unlink()
    check_answer(call, answer(arena.session(), call.text(arena.workers_next)))
    check_target(arena, call, None, None)


def names(arena):
    return sorted({call.target.name for call in arena.calls.values() if call.target})


def check_server(arena):
    """The same server, nothing left behind."""
    with open(arena.server.logfile, "rb") as log:
        log.seek(arena.log_read)
        text = log.read().decode(errors="replace")
    arena.log_read += len(text.encode(errors="replace"))
    loud = LOUD.search(text)
    must(not loud, "the server's log:", text[max(0, loud.start() - 200) : loud.start() + 600] if loud else "")
    must(
        arena.server.process.poll() is None and arena.ask("SELECT pg_postmaster_start_time()") == arena.start_time,
        "another server",
    )
    busy = """SELECT (SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid()),
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker' OR backend_type LIKE 'pg_strata%%'
        AND leader_pid IS NOT NULL)"""
    until(
        lambda: arena.watcher.execute(busy).fetchone() == (0, 0),
        lambda: f"locks and workers left: {arena.watcher.execute(busy).fetchone()}",
    )
    until(
        lambda: entries(arena.out) == names(arena), lambda: f"files left: {set(entries(arena.out)) ^ set(names(arena))}"
    )
    check_segments(arena)
    temporary = arena.server.data / "base" / "pgsql_tmp"
    until(
        lambda: not temporary.exists() or not entries(temporary), lambda: f"temporary files left: {entries(temporary)}"
    )
    check_descriptors(arena)


def until(condition, explain, seconds=5):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            must(False, explain())
        time.sleep(0.005)


def check_segments(arena):
    """Those of an export go with it. PostgreSQL's statistics grow by segments that stay: few."""
    deadline = time.monotonic() + 0.5
    while not arena.segments_now() <= arena.segments:
        if time.monotonic() > deadline:
            arena.segments = arena.segments_now()
            must(len(arena.segments) <= 8, f"segments left: {sorted(arena.segments)}")
        time.sleep(0.005)


def check_descriptors(arena):
    """The session has no file of ours open."""
    if arena.victim is None or arena.victim.closed:
        return
    place = f"/proc/{arena.victim.info.backend_pid}/fd"
    for number in os.listdir(place) if os.path.isdir(place) else ():
        try:
            found = os.readlink(f"{place}/{number}")
        except OSError:
            continue
        must(not found.startswith((str(arena.out), str(arena.sources))), f"a descriptor is left of {found}")


def finish(arena, call, work, before, either=False):
    """Waits for the call's end and judges it; how it ended."""
    work.join(60)
    must(not work.is_alive(), "it does not end")
    if work.error is None:
        check_answer(call, work.value)
    else:
        check_error(work.error)
    check_target(arena, call, before, work.error, either)
    return "done" if work.error is None else sqlstate(work.error) or "lost"
