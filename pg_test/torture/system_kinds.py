"""Kinds of fault of the operating system: calls that fail or last, files that change, memory that ends."""

import errno
import os
import shutil
import time
from pathlib import Path

from ..helpers.injection import CALLS, REMOVALS
from ..helpers.support import eventually
from .arena import must, sqlstate
from .calls import state
from .checks import check_error, finish
from .registry import kind, pick


@kind(30)
def system_call(arena, chance):
    """A system call fails, any of those that the call makes below the directories of its files."""
    call, under = pick(arena, chance), None
    under = arena.out if call.target and chance.random() < 0.8 else arena.sources
    if "query" in call.name and chance.random() < 0.3:
        under = arena.server.data / "base" / "pgsql_tmp"
        arena.session().execute("SET work_mem = 64")
    # Mostly one that this call is known to make, or not known not to.
    possible = [name for name in CALLS if arena.reached.get((call.name, name)) != 0]
    name = chance.choice(possible if possible and chance.random() < 0.95 else CALLS)
    number = chance.randrange(arena.reached.get((call.name, name)) or 2)
    before = state(call.target) if call.target else None
    arena.control.arm(
        name,
        under,
        number,
        chance.choice((errno.EIO, errno.ENOSPC, errno.EIO, errno.EMFILE if "open" in name else errno.ENOSPC)),
    )
    work = arena.start(call.text(chance.choice((0, 1, 2))))
    work.join(60)
    arena.reached[call.name, name] = max(arena.control.reached, arena.reached.get((call.name, name), 0))
    fired = arena.control.fired
    arena.control.disarm()
    arena.session().execute("RESET work_mem")
    outcome = finish(arena, call, work, before)
    if name in REMOVALS and fired:
        remove_leftovers(arena)
    return call, f"{name} {outcome}" if fired and outcome == "done" else outcome if fired else "not reached"


def remove_leftovers(arena):
    """What a call that failed was to remove."""
    for path in arena.out.iterdir():
        if "pg_strata" in path.name:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@kind(5)
def slow_call(arena, chance):
    """A cancel or a terminate while a system call takes its time."""
    call = pick(arena, chance, lambda call: call.target)
    before = state(call.target)
    arena.control.arm(
        chance.choice(("pwrite64", "write", "fsync", "sync_file_range", "open64", "renameat2", "rename", "flock")),
        arena.out,
        chance.randrange(3),
        -30,
    )
    work = arena.start(call.text(chance.choice((0, 2))))
    eventually(lambda: work.ended or arena.control.fired)
    way = chance.choice(("cancel", "terminate"))
    arena.watcher.execute(f"SELECT pg_{way}_backend(%s)", (work.pid,))
    # As with a cancel of any call.
    outcome = finish(arena, call, work, before, either=True)
    arena.control.disarm()
    if way == "terminate":
        arena.wait_until_gone(work.pid)
        arena.forget_session()
    return call, outcome


@kind(10)
def bit_flip(arena, chance):
    """A file with one bit changed: an error, or rows; where a checksum covers it, the right ones."""
    name = chance.choice(("small.parquet", "small.arrow"))
    data = bytearray((arena.sources / name).read_bytes())
    bit = chance.randrange(8 * len(data))
    if chance.random() < 0.5:
        bit = 8 * len(data) - 1 - chance.randrange(8 * min(len(data), 4000))
    data[bit // 8] ^= 1 << bit % 8
    path = arena.sources / f"flipped{Path(name).suffix}"
    path.write_bytes(data)
    what = chance.choice(("count(*), sum(id), sum(n), max(s)", "count(*)", "max(s)"))
    where = chance.choice(("", " WHERE id = 777", " WHERE id > 1500 AND s LIKE 'text 1%'"))
    sql = f"SELECT {what} FROM read_{path.suffix[1:]}('{path}') AS t(id int, s text, n numeric){where}"
    work = arena.start(sql)
    work.join(60)
    path.unlink()
    must(not work.is_alive(), "it does not end")
    if work.error is None:
        return arena.calls["read_parquet"], "rows"
    check_error(work.error)
    return arena.calls["read_parquet"], sqlstate(work.error)


@kind(4)
def file_goes(arena, chance):
    """A file that is read is cut, replaced or removed meanwhile."""
    path = arena.sources / "goes.parquet"
    shutil.copy(arena.sources / "large.parquet", path)
    work = arena.start(f"SELECT count(*), sum(id) FROM read_parquet('{path}') AS t(id int, s text, n numeric)")
    time.sleep(chance.random() * 0.02)
    way = chance.choice(("cut", "replace", "remove"))
    if way == "cut":
        os.truncate(path, chance.randrange(path.stat().st_size))
    elif way == "replace":
        shutil.copy(arena.sources / "small.parquet", arena.sources / "other")
        (arena.sources / "other").rename(path)
    else:
        path.unlink()
    work.join(60)
    must(not work.is_alive(), "it does not end")
    path.unlink(missing_ok=True)
    if work.error is None:
        wanted = arena.calls["parallel"].answer[0][:2], arena.calls["read_parquet"].answer[0][:2]
        must(tuple(work.value[0]) in wanted, f"neither file's rows: {work.value}")
        return arena.calls["read_parquet"], "rows"
    check_error(work.error)
    return arena.calls["read_parquet"], sqlstate(work.error)


@kind(3)
def memory(arena, chance):
    """The address space of the backend ends somewhere."""
    call = pick(arena, chance)
    before = state(call.target) if call.target else None
    pid = arena.session().info.backend_pid
    used = (
        int(
            next(
                line.split()[1]
                for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                if line.startswith("VmSize")
            )
        )
        << 10
    )
    arena.limit_memory(pid, used + chance.randrange(1 << 20, 96 << 20))
    work = arena.start(call.text(chance.choice((0, 0, 2))))
    outcome = finish(arena, call, work, before)
    must(outcome in ("done", "53200"), "not a lack of memory:", work.error)
    arena.forget_session()
    return call, outcome
