"""The oracle itself: it has to find a difference before its silence means anything."""

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from . import literals, oracle

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    "text, want",
    [
        ("1970-01-01", 0),
        ("2000-02-29", 11016),
        ("0001-01-01", -719162),
        ("9999-12-31", 2932896),
        ("0001-12-31 BC", -719163),
        ("4714-11-24 BC", -2440588),
        ("294247-01-10", 106751991),
    ],
)
def test_dates(text, want):
    assert literals.date(text) == want


def test_dates_agree_with_python():
    for ordinal in range(1, date.max.toordinal(), 9973):
        day = date.fromordinal(ordinal)
        assert literals.date(day.isoformat()) == ordinal - date(1970, 1, 1).toordinal()


def test_timestamps():
    assert literals.timestamp("1969-12-31 23:59:59.5") == -500_000
    assert literals.timestamp("2026-11-21 00:00:00+00") == 1795219200_000000
    assert (
        literals.timestamp("0044-03-15 12:00:00 BC") == literals.date("0044-03-15 BC") * 86_400_000_000 + 43_200_000_000
    )
    assert literals.time("24:00:00") == 86_400_000_000


def test_arrays_and_records():
    assert literals.array("{}") == []
    assert literals.array('{a,NULL,"NULL","x,\\"y\\\\",""}') == ["a", None, "NULL", 'x,"y\\', ""]
    assert literals.array("[0:1][5:6]={{1,2},{3,4}}") == [["1", "2"], ["3", "4"]]
    assert literals.record('(1,,"","a ""b"" \\\\")', 4) == ["1", None, "", 'a "b" \\']
    assert literals.record("(,)", 2) == [None, None]


def test_finds_each_difference(server, tmp_path):
    """One row of every family, then the same file with one value changed."""
    connection = server.connect()
    query = """SELECT 1::int AS i, 2.50::numeric AS n, '-0'::float8 AS f, 'x '::char(3) AS c, '\\x00ff'::bytea AS b,
        '0001-01-01'::date AS d, '12:34:56.7'::time AS t, '2026-01-02 03:04:05.000006+00'::timestamptz AS z,
        '{1,NULL}'::int[] AS a"""
    names, rows = oracle.select(connection, query)
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, timezone.utc)
    right = dict(
        i=1,
        n=Decimal("2.50"),
        f=-0.0,
        c="x  ",
        b=b"\x00\xff",
        d=date(1, 1, 1),
        t=time(12, 34, 56, 700000),
        z=moment,
        a=[1, None],
    )
    wrong = dict(
        i=2,
        n=Decimal("2.51"),
        f=0.0,
        c="x",
        b=b"\x00",
        d=date(1, 1, 2),
        t=time(12, 34, 56),
        z=moment + timedelta(microseconds=1),
        a=[1, 0],
    )
    schema = pa.schema(
        dict(
            i=pa.int32(),
            n=pa.decimal128(3, 2),
            f=pa.float64(),
            c=pa.string(),
            b=pa.binary(),
            d=pa.date32(),
            t=pa.time64("us"),
            z=pa.timestamp("us", "UTC"),
            a=pa.list_(pa.int32()),
        )
    )
    for changed in (None, *names):
        row = right if changed is None else {**right, changed: wrong[changed]}
        file = tmp_path / f"{changed}.parquet"
        pq.write_table(pa.Table.from_pylist([row], schema), file)
        for reader, read in oracle.READERS.items():
            if changed is None:
                oracle.check_table(read(file), names, rows, reader)
            else:
                with pytest.raises(AssertionError, match=f"{reader}: column {changed}"):
                    oracle.check_table(read(file), names, rows, reader)
