"""Fixtures: one server per PostgreSQL version, and for each test a schema and a directory of its own."""

import contextlib
import functools
import itertools
import os
import shutil

import pytest

# What helpers assert is explained like what tests do.
pytest.register_assert_rewrite(f"{__package__}.helpers")

from .helpers.parallel import pytest_xdist_make_scheduler  # noqa: E402, F401 a hook
from .helpers.servers import SETTINGS  # noqa: E402
from .helpers.support import create_extension  # noqa: E402
from .lab import build, places, postgres  # noqa: E402
from .lab.server import Server  # noqa: E402

MAJORS = [int(major) for major in os.environ.get("PGS", "18 15").split()]
serial = itertools.count(1)


@pytest.fixture(scope="session", params=MAJORS, ids=lambda major: f"pg{major}")
def installation(request):
    found = postgres.find(request.param)
    if not found:
        pytest.skip(f"PostgreSQL {request.param} is not installed")
    build.check_for_tests(found)
    return found


@pytest.fixture(scope="session")
def servers():
    """Starts a version's server when it is first asked for. All run until the end: versions may alternate."""
    with contextlib.ExitStack() as running:

        @functools.cache
        def start(installation):
            server = running.enter_context(Server(installation, "test", **SETTINGS))
            create_extension(server)
            return server

        yield start


@pytest.fixture(scope="session")
def server(installation, servers):
    """A running server, with the extension in postgres and in every database made later."""
    return servers(installation)


@pytest.fixture
def db(server):
    """A superuser's connection whose search_path is a schema of the test's own."""
    schema = f"t{next(serial)}"
    with server.connect() as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(f"SET search_path = {schema}, public")
        connection.schema = schema
        yield connection
        if connection.closed:
            connection = server.connect()
        connection.execute("ROLLBACK")
        connection.execute("RESET ROLE")
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def again(server, db):
    """Opens further connections that see the test's schema."""
    opened = []

    def connect(**arguments):
        connection = server.connect(**arguments)
        connection.execute(f"SET search_path = {db.schema}, public")
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def out():
    """A directory that the server may write to."""
    directory = places.fresh(places.scratch("out", str(next(serial))), 0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def role(db):
    """A plain role, a member of pg_write_server_files, that may use the test's schema."""
    name = f"r{next(serial)}"
    db.execute(
        f"CREATE ROLE {name} LOGIN; GRANT pg_write_server_files TO {name}; GRANT USAGE ON SCHEMA {db.schema} TO {name}"
    )
    yield name
    db.execute("ROLLBACK; RESET ROLE")
    db.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
