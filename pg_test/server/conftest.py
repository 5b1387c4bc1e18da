"""Fixtures of several files here."""

import pytest

from ..helpers.injection import injected, prepare
from ..helpers.servers import SETTINGS
from ..lab.server import Server


@pytest.fixture(scope="module")
def faulty(installation):
    """A server whose calls can be made to fail, and what says which."""
    with injected("faults") as (environment, control):
        server = Server(installation, "faults", **SETTINGS)
        server.environment = environment
        with server:
            prepare(server)
            yield server, control
