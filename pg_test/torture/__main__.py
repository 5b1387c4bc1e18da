"""python -m pg_test.torture [--seed N] [--faults N] [--kinds a,b] [--jobs N] [--replay SEED]: random faults, and what
they did."""

import argparse
import sys
import time

from ..lab import postgres
from . import appends, campaign, device, flat
from .arena import Arena, Finding
from .faults import run_in_jobs, table
from .kinds import KINDS


def parse():
    parser = argparse.ArgumentParser(prog="python -m pg_test.torture")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=10_000)
    parser.add_argument("--kinds", help="separated by commas; all but memory without it: " + ", ".join(KINDS))
    parser.add_argument(
        "--jobs", type=int, default=1, help="servers side by side that the random faults are divided among"
    )
    parser.add_argument(
        "--name", default="torture", help="of the servers' folders; runs side by side need names of their own"
    )
    parser.add_argument("--replay", type=int, help="the one fault of a seed that a finding names")
    parser.add_argument("--memory", action="store_true", help="limits of address space too")
    parser.add_argument(
        "--only", choices=("faults", "flat", "calls", "appends", "device"), help="one part instead of all"
    )
    parser.add_argument("--postgres", type=int, default=18)
    return parser.parse_args()


def main():
    options = parse()
    wanted = (
        options.kinds.split(",") if options.kinds else [kind for kind in KINDS if kind != "memory" or options.memory]
    )
    seeds = (
        [options.replay]
        if options.replay is not None
        else range(options.seed * 1_000_000, options.seed * 1_000_000 + options.faults)
    )
    part = "faults" if options.replay is not None else options.only
    findings = []
    if part in (None, "faults"):
        began = time.monotonic()
        counts, findings, crashes = run_in_jobs(options.name, options.jobs, options.postgres, seeds, wanted)
        seconds = time.monotonic() - began
        print(
            *table(counts),
            f"{len(seeds)} faults in {seconds:.0f} s, {len(seeds) / seconds:.1f} a second, {crashes} recoveries, "
            f"{len(findings)} findings",
            sep="\n",
            flush=True,
        )
    if part == "faults":
        finish(findings)
    with Arena(postgres.find(options.postgres), options.name) as arena:
        for name, module in (("flat", flat), ("calls", campaign), ("appends", appends), ("device", device)):
            if part in (None, name):
                try:
                    print(f"{name}: {module.run(arena)}", flush=True)
                except Finding as error:
                    findings.append((None, name, str(error)))
    finish(findings)


def finish(findings):
    for seed, kind, what in findings:
        print(f"seed {seed}, {kind}: {what}")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
