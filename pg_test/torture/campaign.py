"""Every system call of every function that writes or reads files, each failing once with each error."""

import errno

from ..helpers.injection import CALLS, REMOVALS
from .arena import must
from .calls import state
from .checks import check_server, finish
from .system_kinds import remove_leftovers

ERRORS = (errno.EIO, errno.ENOSPC)


def run(arena, calls=None, names=CALLS, errors=ERRORS):
    """How many were tried; a `Finding` for the first that is wrong."""
    tried = failed = 0
    calls = calls or [call for call in arena.calls.values() if "large" not in call.name and call.name != "query slow"]
    for call in calls:
        for name in names:
            for error in errors:
                for workers in (0, 2) if "{workers}" in call.sql else (0,):
                    more = every_index(arena, call, name, error, workers)
                    tried, failed = tried + more[0], failed + more[1]
    return f"{tried} calls of {len(calls)} functions failed, {failed} of them failed the statement, 0 wrong"


def every_index(arena, call, name, error, workers):
    number = failed = 0
    while True:
        if call.append and number % 10 == 0:
            call.target.unlink(missing_ok=True)
            arena.session().execute(call.text(0))
        before = state(call.target) if call.target else None
        # The directory of the files that are read has a name that begins so, too.
        arena.control.arm(name, arena.out, number, error)
        work = arena.start(call.text(workers))
        work.join(60)
        fired = arena.control.fired
        arena.control.disarm()
        outcome = finish(arena, call, work, before)
        must(
            outcome in ("done", "58030", "53100"),
            f"{name} {number} of {call.name}: not an error of storage:",
            work.error,
        )
        failed += outcome != "done"
        if name in REMOVALS and call.target:
            remove_leftovers(arena)
        if not fired:
            check_server(arena)
            return number, failed
        number += 1
