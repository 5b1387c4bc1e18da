"""python -m pg_test.torture [--seed N] [--faults N] [--kinds a,b] [--replay SEED]: random faults, and what they did."""

import argparse
import collections
import random
import sys
import time

from ..lab import postgres
from . import appends, campaign, device, flat
from .arena import Arena, Finding
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


def parse():
    parser = argparse.ArgumentParser(prog="python -m pg_test.torture")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=10_000)
    parser.add_argument("--kinds", help="separated by commas; all but memory without it: " + ", ".join(KINDS))
    parser.add_argument("--replay", type=int, help="the one fault of a seed that a finding names")
    parser.add_argument("--memory", action="store_true", help="limits of address space too")
    parser.add_argument("--only", choices=("faults", "flat", "calls", "appends", "device"), help="one part instead of all")
    parser.add_argument("--postgres", type=int, default=18)
    return parser.parse_args()


def main():
    options = parse()
    wanted = options.kinds.split(",") if options.kinds else [kind for kind in KINDS if kind != "memory" or options.memory]
    seeds = [options.replay] if options.replay is not None else range(options.seed * 1_000_000, options.seed * 1_000_000 + options.faults)
    part = "faults" if options.replay is not None else options.only
    findings = []
    with Arena(postgres.find(options.postgres)) as arena:
        if part in (None, "faults"):
            began = time.monotonic()
            counts, findings = run(arena, seeds, wanted)
            seconds = time.monotonic() - began
            print(*table(counts), f"{len(seeds)} faults in {seconds:.0f} s, {len(seeds) / seconds:.1f} a second, {arena.crashes} recoveries, "
                  f"{len(findings)} findings", sep="\n")
        for name, module in (("flat", flat), ("calls", campaign), ("appends", appends), ("device", device)):
            if part in (None, name):
                try:
                    print(f"{name}: {module.run(arena)}", flush=True)
                except Finding as error:
                    findings.append((None, name, str(error)))
    for seed, kind, what in findings:
        print(f"seed {seed}, {kind}: {what}")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
