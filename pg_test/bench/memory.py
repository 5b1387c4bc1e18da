"""Peak private memory of processes: RssAnon of /proc, sampled. Shared buffers are not counted to anyone."""

import threading
from pathlib import Path


def private_kb(pid):
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def children(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def with_parallel_workers(postmaster, backend):
    """A backend and its parallel workers, which are the postmaster's children and carry its pid in their titles."""
    mark = f"for PID {backend}".encode()
    pids = [backend]
    for child in children(postmaster):
        try:
            if mark in Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" "):
                pids.append(child)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return pids


class Peak:
    """`with Peak(pids) as peak:` samples what pids() names; peak.mb is the largest process's peak."""

    def __init__(self, pids, interval=0.02):
        self.pids, self.interval = pids, interval
        self.kb, self.done = 0, threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)

    def sample(self):
        while not self.done.wait(self.interval):
            self.kb = max([self.kb, *map(private_kb, self.pids())])

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    @property
    def mb(self):
        return self.kb / 1024
