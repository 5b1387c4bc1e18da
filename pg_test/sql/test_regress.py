"""The SQL surface, as pg_regress does it: *.sql through psql, its output held against *.out.

`PG_STRATA_ACCEPT=1 make test` writes the expected files anew: read the difference before it is committed.
"""

import difflib
import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

FILES = sorted(Path(__file__).parent.glob("*.sql"))


def steady(text, out):
    """Output without what differs from run to run: the directory, elapsed times, sizes of files."""
    text = text.replace(str(out), "/exports")
    text = re.sub(r"\d\d:\d\d:\d\d\.\d+", "<elapsed>", text)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_sql(server, out, file):
    database = f"regress_{file.stem}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {database}")
    try:
        run = server.psql(
            "-a",
            "-q",
            "-v",
            f"out={out}",
            "-v",
            "SHOW_CONTEXT=never",
            dbname=database,
            input=file.read_text(),
            env={**os.environ, "PGTZ": "UTC", "PGDATESTYLE": "ISO"},
        )
    finally:
        with server.connect() as connection:
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
    got = steady(run.stdout, out)
    expected = file.with_suffix(".out")
    if os.environ.get("PG_STRATA_ACCEPT"):
        expected.write_text(got)
    want = expected.read_text() if expected.exists() else ""
    difference = "".join(difflib.unified_diff(want.splitlines(True), got.splitlines(True), str(expected), "psql"))
    assert not difference, difference
