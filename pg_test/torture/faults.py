"""Random faults by their seeds, in one server or in several side by side."""

import collections
import concurrent.futures
import multiprocessing
import random
import time

from ..lab import postgres
from .arena import Arena
from .checks import check_server, next_export
from .kinds import KINDS, choose


def fault(arena, kind, chance):
    """One fault and all that must hold after it; how it ended."""
    _, happen = KINDS[kind]
    began = time.monotonic()
    call, outcome = happen(arena, chance)
    if kind in ("cancel", "terminate", "statement timeout") and outcome == "done":
        known = arena.durations.get(call.name, 0.05)
        arena.durations[call.name] = 0.8 * known + 0.2 * min(time.monotonic() - began, 2)
    arena.workers_next = chance.choice((0, 0, 0, 1))
    next_export(arena, call)
    check_server(arena)
    return outcome


def run(arena, seeds, wanted, say=print):
    """Faults by their seeds; how often each kind ended how, and what must not be."""
    counts, findings = collections.defaultdict(collections.Counter), []
    for done, seed in enumerate(seeds, 1):
        chance = random.Random(seed)
        kind = choose(chance, wanted)
        try:
            counts[kind][fault(arena, kind, chance)] += 1
        except Exception as error:  # whatever it is, it is to be told with its seed
            findings.append((seed, kind, f"{type(error).__name__}: {error}"))
            counts[kind]["FINDING"] += 1
            say(f"finding, seed {seed}, {kind}: {findings[-1][2]}")
            recover(arena)
        if done % 500 == 0:
            say(f"{done} faults, {len(findings)} findings")
    return counts, findings


def run_in_jobs(name, jobs, major, seeds, wanted):
    """Divides the seeds among servers that run side by side; `run`'s result, and how often the servers recovered."""
    counts, findings, crashes = collections.defaultdict(collections.Counter), [], 0
    jobs = min(jobs, len(seeds))
    with concurrent.futures.ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        works = [pool.submit(run_job, f"{name}-{number}", major, seeds[number::jobs], wanted) for number in range(jobs)]
        for work in concurrent.futures.as_completed(works):
            try:
                more, found, crashed = work.result()
            except Exception as error:  # the others' faults are not lost for it
                findings.append((None, "job", f"{type(error).__name__}: {error}"))
                continue
            for kind, outcomes in more.items():
                counts[kind] += outcomes
            findings += found
            crashes += crashed
    return counts, findings, crashes


def run_job(name, major, seeds, wanted):
    with Arena(postgres.find(major), name) as arena:
        return *run(arena, seeds, wanted, lambda message: print(f"{name}: {message}", flush=True)), arena.crashes


def recover(arena):
    """For the next fault to find an arena in order; what the last one left is told already."""
    arena.control.disarm()
    arena.forget_session()
    arena.server.wait()
    arena.settle()


def table(counts):
    for kind, outcomes in sorted(counts.items()):
        told = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common(12))
        yield f"{kind:20}{sum(outcomes.values()):7}  {told}"
