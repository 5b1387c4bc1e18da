"""What the faults happen to: one private server with fake GPUs, its tables, the files it reads and the directory it
writes to."""

import contextlib
import os
import shutil
import signal
import subprocess

import psycopg

from ..helpers.gpu_server import GpuServer, ready
from ..helpers.injection import injected
from ..helpers.support import Background, create_extension, eventually
from ..lab import places
from .calls import SOURCES, TABLES, answer, calls

SETTINGS = {
    "shared_buffers": "256MB",
    "max_connections": "60",
    "max_prepared_transactions": "2",
    # Segments as files of the data directory: those of other servers are nowhere near.
    "dynamic_shared_memory_type": "mmap",
    "client_connection_check_interval": "20ms",
    "deadlock_timeout": "20ms",
    "restart_after_crash": "on",
}


class Finding(AssertionError):
    """What must not be."""


def must(condition, *what):
    if not condition:
        raise Finding(" ".join(map(str, what)))


class Arena:
    """`with Arena(installation) as arena:`"""

    def __init__(self, installation, name="torture"):
        self.installation, self.name = installation, name
        self.kept = contextlib.ExitStack()
        self.victim = self.watcher = None
        self.crashes = self.workers_next = 0
        self.durations, self.reached = {}, {}

    def __enter__(self):
        environment, self.control = self.kept.enter_context(injected(self.name))
        self.server = GpuServer(self.installation, self.name, **SETTINGS)
        self.server.environment = environment
        self.kept.enter_context(self.server)
        self.out = places.fresh(places.scratch("out", self.name), 0o755)
        self.sources = places.fresh(places.scratch("out", f"{self.name}-sources"), 0o755)
        create_extension(self.server)
        self.watcher = self.server.connect()
        self.watcher.execute(TABLES)
        for statement in SOURCES:
            self.watcher.execute(statement.format(sources=self.sources))
        self.watcher.execute("SELECT * FROM gpu_devices()")
        eventually(lambda: ready(self.server), 30)
        self.calls = calls(self)
        self.start_time = self.ask("SELECT pg_postmaster_start_time()")
        self.log_read = self.server.logfile.stat().st_size
        self.segments = self.segments_now()
        return self

    def __exit__(self, *exception):
        self.kept.close()
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.rmtree(self.sources, ignore_errors=True)

    def ask(self, sql, *arguments):
        return self.watcher.execute(sql, arguments or None).fetchone()[0]

    def session(self):
        """The session that faults happen to, a new one where the last one has ended."""
        if self.victim is None or self.victim.closed or self.victim.broken:
            self.victim = self.server.connect()
            self.victim.execute("LOAD 'pg_strata'")
        return self.victim

    def forget_session(self):
        if self.victim is not None:
            self.victim.close()
            self.victim = None

    def settle(self):
        """Everything as at the start, after a finding."""
        self.watcher.close()
        self.watcher = self.server.connect()
        self.start_time = self.ask("SELECT pg_postmaster_start_time()")
        self.log_read = self.server.logfile.stat().st_size
        self.segments = self.segments_now()
        for path in self.out.iterdir():
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        for call in self.calls.values():
            if call.target:
                self.watcher.execute(call.text(1))

    def segments_now(self):
        return set(os.listdir(self.server.data / "pg_dynshmem")) - {"pg_strata.gpu"}

    def start(self, sql):
        """The statement in a thread, in the session."""
        connection = self.session()
        call = Background(lambda: answer(connection, sql))
        call.pid = connection.info.backend_pid
        return call

    def workers(self):
        return [
            pid
            for (pid,) in self.watcher.execute(
                "SELECT pid FROM pg_stat_activity WHERE leader_pid = %s AND pid <> %s",
                (self.victim.info.backend_pid,) * 2,
            )
        ]

    def waits(self):
        """What every session does, for a finding that it does nothing."""
        return self.watcher.execute(
            "SELECT pid, backend_type, state, wait_event_type, wait_event, left(query, 60) FROM pg_stat_activity"
        ).fetchall()

    def wait_until_gone(self, pid):
        eventually(
            lambda: not self.ask("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid),
            20,
            lambda: f"backend {pid} does not end",
        )

    def kill(self, pid):
        """SIGKILL: by its design PostgreSQL ends all sessions and recovers."""
        os.kill(pid, signal.SIGKILL)
        log = lambda: self.server.log()[self.log_read :]
        eventually(
            lambda: "all server processes terminated; reinitializing" in log(), 30, lambda: "no restart after SIGKILL"
        )
        self.server.wait()
        self.crashes += 1
        self.forget_session()
        self.watcher.close()
        self.watcher = self.server.connect()
        self.log_read = self.server.logfile.stat().st_size
        self.segments = self.segments_now()

    def limit_memory(self, pid, size):
        subprocess.run(["prlimit", f"--pid={pid}", f"--as={size}"], check=True, **places.as_server())


def sqlstate(error):
    return error.sqlstate if isinstance(error, psycopg.Error) else type(error).__name__
