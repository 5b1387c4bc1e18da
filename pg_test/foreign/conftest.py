"""Fixtures of several files here."""

import datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from ..helpers.foreign import foreign, write


@pytest.fixture
def by_hundreds(db, out):
    """1000 rows in ten groups, ids ascending."""
    ids = range(1, 1001)
    table = pa.table(
        {
            "id": pa.array(ids, pa.int32()),
            "x": [f"k{i:05}" for i in ids],
            "n": [Decimal(i) / 4 for i in ids],
            "d": [datetime.date(2020, 1, 1) + datetime.timedelta(i) for i in ids],
        }
    )
    write(out / "s.parquet", table, row_group_size=100)
    foreign(db, "f", "id int, x text, n numeric, d date", file=out / "s.parquet")
    db.execute("CREATE TABLE s AS SELECT * FROM f")
    return db


@pytest.fixture
def warnings(db):
    """What the server warns of, message and detail."""
    found = []
    db.add_notice_handler(
        lambda diagnostic: (
            diagnostic.severity == "WARNING" and found.append((diagnostic.message_primary, diagnostic.message_detail))
        )
    )
    return found
