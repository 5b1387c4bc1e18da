"""`pytest -n 3`: a worker of pytest-xdist takes a file's tests of one PostgreSQL version at a time, so that a file's
servers are started once. Files of many tests come first."""

import re

import pytest


def unit_of(nodeid):
    """The file and the version."""
    file, _, test = nodeid.partition("::")
    version = re.search(r"\[(pg\d+)", test)
    return f"{file} {version[1] if version else ''}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class ByFileAndVersion(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return unit_of(nodeid)

    return ByFileAndVersion(config, log)
