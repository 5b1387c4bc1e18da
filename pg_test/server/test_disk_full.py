"""No space left: a clear error, the old file as it was, nothing left behind, and the server goes on."""

import os

import psycopg
import pytest

from ..helpers.servers import file_size_limit, small_tmpfs
from ..helpers.support import SCANS, entries, export

OLD = b"the file that was here before"

pytestmark = [pytest.mark.parametrize("scan", SCANS), pytest.mark.parametrize("workers", [0, 2])]


@pytest.fixture
def incompressible(db):
    """More than 12 MB, whatever the codec."""
    db.execute(
        "CREATE TABLE t AS SELECT i, sha256(i::text::bytea) AS a, "
        "sha256((-i)::text::bytea) AS b FROM generate_series(1, 200000) i"
    )
    return "t"


def check(connection, directory, table, scan, workers, sqlstates):
    target = directory / "t.parquet"
    target.write_bytes(OLD)
    for path in (target, directory / "parts"):
        with pytest.raises(psycopg.Error) as caught:
            export(
                connection,
                table,
                path,
                scan=scan,
                workers=workers,
                overwrite=True,
                compression="none",
                row_group_rows=20_000,
            )
        diagnostic = caught.value.diag
        assert diagnostic.sqlstate in sqlstates, f"{diagnostic.sqlstate}: {diagnostic.message_primary}"
        assert str(directory) in f"{diagnostic.message_primary} {diagnostic.message_detail}"
        assert diagnostic.message_hint
        assert entries(directory) == ["t.parquet"] and target.read_bytes() == OLD
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_file_size_limit(server, db, again, out, incompressible, scan, workers):
    with file_size_limit(server, 2 << 20):
        check(again(), out, incompressible, scan, workers, ("53100", "54000", "58030"))
    assert export(again(), incompressible, out / "t.parquet", scan=scan, workers=workers, overwrite=True).rows == 200000


def test_full_file_system(server, db, out, incompressible, scan, workers):
    with small_tmpfs(out / "small", "4m") as directory:
        check(db, directory, incompressible, scan, workers, ("53100",))
        assert os.statvfs(directory).f_bavail > 0
