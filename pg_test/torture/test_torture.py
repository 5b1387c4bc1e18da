"""The random faults of `make torture`, a short form of each of its parts."""

import time

import pytest

from . import appends, campaign, device, flat
from .arena import Arena
from .faults import run, run_in_jobs
from .kinds import KINDS

SEED, SECONDS = 20_000_000, 40


@pytest.fixture(scope="module")
def arena(installation):
    with Arena(installation, "torture-test") as arena:
        yield arena


def told(findings):
    return "\n".join(
        f"python -m pg_test.torture --replay {seed} --kinds '{kind}': {what}" for seed, kind, what in findings
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "memory"])
def test_every_kind(arena, kind):
    counts, findings = run(arena, range(SEED, SEED + 2), [kind])
    assert not findings, told(findings)
    assert sum(counts[kind].values()) == 2


def test_random_faults(arena):
    """For a while; the seeds are the same each time, how many there are is not."""
    ends = time.monotonic() + SECONDS
    seeds = iter(lambda: SEED + 100 + next(numbers) if time.monotonic() < ends else None, None)
    numbers = iter(range(1_000_000))
    _, findings = run(arena, seeds, [kind for kind in KINDS if kind not in ("memory", "sigkill")])
    assert not findings, told(findings)


def test_faults_by_two_servers(installation):
    counts, findings, crashes = run_in_jobs("torture-jobs", 2, installation.major, range(SEED, SEED + 4), ["refused"])
    assert not findings, told(findings)
    assert sum(counts["refused"].values()) == 4 and crashes == 0


def test_a_job_that_fails_is_a_finding():
    _, findings, _ = run_in_jobs("torture-jobs", 2, 14, range(2), ["refused"])
    assert len(findings) == 2 and {kind for _, kind, _ in findings} == {"job"}


def test_a_session_stays_as_small_as_it_was(arena):
    flat.run(arena, 220)


def test_system_calls_of_what_reads_and_writes(arena):
    """Those functions of which test_faults.py has no export, and those that read."""
    calls = [arena.calls[name] for name in ("gpu small", "foreign", "partitions")]
    campaign.run(
        arena, calls, ("open64", "pwrite64", "fsync", "sync_file_range", "rename", "ftruncate64"), campaign.ERRORS[:1]
    )
    calls = [arena.calls[name] for name in ("foreign", "read_arrow", "pruned", "parallel", "import schema")]
    campaign.run(arena, calls, ("open64", "pread64", "fstat64", "statx", "opendir", "readdir64"), campaign.ERRORS[:1])


def test_appends_of_many_sessions(arena):
    appends.run(arena, rounds=1, seconds=3)


def test_a_device_that_loses_what_is_written(arena):
    found = device.run(arena, 10)
    if found.startswith("skipped"):
        pytest.skip(found)
