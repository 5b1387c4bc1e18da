"""A private PostgreSQL server on a unix socket in a short directory (socket paths end at 107 bytes)."""

import os
import shutil
import signal
import subprocess
import tempfile
import time

import psycopg

from .places import as_server, fail, fresh, scratch, server_user

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_worker_processes": "16",
    "max_parallel_workers": "12",
    "autovacuum": "off",
    "log_line_prefix": "%p %e ",
    "lc_messages": "C",
}


class Server:
    """`with Server(postgres, "name") as server:` makes a new cluster, starts it, and stops and removes it at the
    end."""

    def __init__(self, postgres, name, **settings):
        self.postgres = postgres
        self.place = scratch("clusters", f"{name}-{postgres.major}")
        self.settings = {**SETTINGS, **settings}
        self.environment = {}
        # What runs the server in a namespace of its own, say; it has to make itself the server's user.
        self.prefix = []
        self.sockets = None
        self.process = None

    def __enter__(self):
        self.initdb()
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)  # gigabytes in all; the log stays

    @property
    def port(self):
        return self.settings.get("port", "5432")

    @property
    def data(self):
        return self.place / "data"

    @property
    def logfile(self):
        return self.place / "log"

    def log(self):
        return self.logfile.read_text(errors="replace")

    def initdb(self):
        fresh(self.place)
        self.run(
            "initdb",
            "-D",
            self.data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        )

    def run(self, program, *arguments):
        """Runs a program of the installation as the server's user."""
        ran = subprocess.run(
            [self.postgres.program(program), *arguments], capture_output=True, text=True, cwd="/", **as_server()
        )
        if ran.returncode != 0:
            fail(f"{program} failed:\n{ran.stdout}{ran.stderr}")

    def start(self):
        self.sockets = tempfile.mkdtemp(prefix="pgs-", dir="/tmp")
        if user := server_user():
            os.chown(self.sockets, user.pw_uid, user.pw_gid)
        options = {**self.settings, "unix_socket_directories": self.sockets}
        command = [*self.prefix, self.postgres.program("postgres"), "-D", self.data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        # As careful people set it for their services: it must not change any error.
        environment = {**os.environ, "RUST_BACKTRACE": "1", **self.environment}
        with open(self.logfile, "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment,
                start_new_session=True,
                **({} if self.prefix else as_server()),
            )
        self.wait()

    def wait(self, seconds=60):
        """Returns once the server answers."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.connect().close()
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    fail(f"the server did not start: {error}\n{self.log()[-3000:]}")
                time.sleep(0.05)

    def stop(self):
        """A fast shutdown; an immediate one when that takes too long."""
        if self.process:
            for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                self.process.send_signal(request)
                try:
                    self.process.wait(20)
                    break
                except subprocess.TimeoutExpired:
                    pass
            self.process = None
            shutil.rmtree(self.sockets, ignore_errors=True)

    def dsn(self, dbname="postgres", user="postgres"):
        return f"host={self.sockets} port={self.port} dbname={dbname} user={user}"

    def uri(self, dbname="postgres", user="postgres"):
        """For clients that know TCP only: needs listen_addresses."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{dbname}"

    def connect(self, dbname="postgres", user="postgres", **arguments):
        return psycopg.connect(self.dsn(dbname, user), autocommit=True, **arguments)

    def psql_command(self, *arguments, dbname="postgres"):
        command = [
            self.postgres.program("psql"),
            "-X",
            "-h",
            self.sockets,
            "-p",
            self.port,
            "-U",
            "postgres",
            "-d",
            dbname,
        ]
        return [*map(str, command), *arguments]

    def psql(self, *arguments, dbname="postgres", **keywords):
        """Runs psql; messages and results come interleaved in stdout, as a user sees them."""
        return subprocess.run(
            self.psql_command(*arguments, dbname=dbname),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **keywords,
        )


class Standby(Server):
    """A hot standby that streams from another server."""

    def __init__(self, primary, name):
        super().__init__(primary.postgres, name, **primary.settings)
        self.primary = primary

    def initdb(self):
        fresh(self.place)
        self.run(
            "pg_basebackup",
            "-d",
            self.primary.dsn(),
            "-D",
            self.data,
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        )

    def catch_up(self, seconds=60):
        """Returns once all that the primary has committed so far can be seen here."""
        with self.primary.connect() as connection:
            wanted = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()[0]
        deadline = time.monotonic() + seconds
        with self.connect() as connection:
            while not connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (wanted,)).fetchone()[0]:
                if time.monotonic() > deadline:
                    fail(f"the standby does not catch up:\n{self.log()[-3000:]}")
                time.sleep(0.02)
