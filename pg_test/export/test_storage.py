"""Every form in which a heap keeps a value or a row."""

import pytest

from ..helpers.storage import *  # noqa: F403, the tests themselves
from ..helpers.support import export_and_check


@pytest.fixture
def check(db, out, scan):
    """Exports table t on every scan kind with no and two workers, and holds it against the oracle."""

    def run(**options):
        for workers in (0, 2):
            export_and_check(db, "t", out / "t.parquet", scan=scan, workers=workers, overwrite=True, **options)

    return run
