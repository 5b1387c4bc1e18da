"""Scans read of a row group the pages that may have matching rows, by Parquet's page index: the same rows as
without."""

import datetime
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers.every_type import make
from ..helpers.columnar import NODE
from ..helpers.foreign import PARALLEL, bytes_read, columns_of, foreign, plan, write_pages
from ..helpers.pruning import conditions_on, counted, on_and_off
from ..helpers.support import export, raises


@pytest.mark.parametrize("family", ("scalars", "numerics"))
def test_every_type_and_operator(db, out, family):
    """On is off, for every type, operator and edge value, in pages of two rows."""
    cases = make(db, family)
    db.execute("CREATE TABLE s AS SELECT row_number() OVER () AS id, * FROM t")
    export(db, "s", out / "first.parquet", workers=0)
    write_pages(pq.read_table(out / "first.parquet"), out / "s.parquet", 2)
    foreign(db, "f", columns_of(db, "s"), file=out / "s.parquet")
    conditions = list(conditions_on(db, cases))
    assert len(conditions) > 100
    for condition in conditions:
        on_and_off(db, condition)


@pytest.fixture
def by_tens(db, out):
    """2000 rows in two groups, in pages of ten; one of texts is larger. The NULLs of some fill pages."""
    ids = range(1, 2001)
    table = pa.table(
        {
            "id": pa.array(ids, pa.int32()),
            "x": [f"ž{i:05}" for i in ids],
            "part": [None if i // 10 % 5 == 0 else i for i in ids],
            "odd": [None if i % 2 else i for i in ids],
            "d": [datetime.date(2020, 1, 1) + datetime.timedelta(i) for i in ids],
            "wide": [f"{i * 7919 % 2003:04}" * 20 for i in ids],
            "few": pa.array([f"k{i % 3}" for i in ids]),
            "list": [[i, i + 1] for i in ids],
        }
    )
    write_pages(table, out / "s.parquet", 10, row_group_size=1000)
    foreign(
        db, "f", "id int, x text, part int8, odd int8, d date, wide text, few text, list int8[]", file=out / "s.parquet"
    )
    db.execute("CREATE TABLE s AS SELECT * FROM f")
    return db


CONDITIONS = (
    "id = 777",
    "id IN (5, 995, 1001, 1999)",
    "id BETWEEN 991 AND 1010",
    "id > 1995 OR id <= 3",
    "id = 777 OR x = 'ž00778'",
    "id < 500 AND x > 'ž00490' COLLATE \"C\"",
    "x LIKE 'ž0099%'",
    "x LIKE 'ž0_99%'",
    "part IS NULL",
    "part IS NULL AND id < 100",
    "part IS NOT NULL AND id < 100",
    "odd IS NULL AND id = 6",
    "part = 55 OR odd = 56",
    "part = 50",
    "d = date '2020-05-05'",
    "d >= timestamp '2025-06-01'",
    "id % 100 = 1 AND id < 300",
    "few = 'k1' AND id > 1990",
    "wide = 'x'",
    "id = 0",
    "id = 5000",
    "NOT (id > 5)",
    "id <> 5",
    "id = NULL",
    "(id = 5 OR part IS NULL) AND (x < 'ž00300' COLLATE \"C\" OR odd = 1500)",
    "id > (SELECT 1990 + count(*) FROM pg_class WHERE false)",
)


def test_conditions(by_tens):
    for condition in CONDITIONS:
        on_and_off(by_tens, condition)
        rows = "SELECT array_agg((id, x, part, odd, d, wide, few, list)::text ORDER BY id) FROM {} WHERE " + condition
        assert by_tens.execute(rows.format("f")).fetchone() == by_tens.execute(rows.format("s")).fetchone(), condition


def test_less_is_read(by_tens):
    """The pages of a few rows, and those that lie beside them in the other columns."""
    everything = "SELECT id, x, part, odd, d, wide, few, list FROM f WHERE "
    whole = bytes_read(by_tens, everything + "id > 0")
    for condition in (
        "id = 777",
        "x = 'ž00777'",
        "x LIKE 'ž0077%'",
        "part = 777",
        "odd IN (778, 776)",
        "d = date '2022-02-16'",
        "id > 1995 OR id <= 3",
        "part BETWEEN 771 AND 779",
    ):
        some = bytes_read(by_tens, everything + condition)
        assert 0 < some < whole / 4, (condition, some, whole)
    assert (
        bytes_read(by_tens, "SELECT count(*), sum(part) FROM f WHERE id = 777")
        < bytes_read(by_tens, "SELECT count(*), sum(part) FROM f WHERE id > 0") / 2
    )
    assert bytes_read(by_tens, everything + "part IS NULL") < whole * 0.6
    # Nearly all rows are as well read together.
    assert bytes_read(by_tens, everything + "id > 50") >= whole
    # Groups that have no such page are not loaded.
    assert counted(by_tens, "SELECT * FROM f WHERE part = 1051") == (0, 2) and counted(
        by_tens, "SELECT * FROM f WHERE part = 1063"
    ) == (1, 1)
    by_tens.execute("SET pg_strata.arrow_fdw_pruning = off")
    assert bytes_read(by_tens, everything + "id = 777") > whole * 0.9


def test_explain_without_running(by_tens):
    """What the columns take, as nothing is read."""
    text = plan(by_tens, "SELECT x FROM f WHERE id = 7")
    assert re.search(r"file0: .*\(read: [\d.]+KB, size: ", text), text


def test_parameters_and_loops(by_tens):
    by_tens.execute("SET plan_cache_mode = force_generic_plan; PREPARE q (int) AS SELECT x, wide FROM f WHERE id = $1")
    whole = bytes_read(by_tens, "SELECT x, wide FROM f WHERE id > 0")
    for value in (1, 10, 11, 1000, 1001, 2000):
        assert (
            by_tens.execute(f"EXECUTE q ({value})").fetchall()
            == by_tens.execute(f"SELECT x, wide FROM s WHERE id = {value}").fetchall()
        )
        assert bytes_read(by_tens, f"EXECUTE q ({value})") < whole / 4
    by_tens.execute("SET enable_material = off; SET enable_memoize = off")
    lateral = "SELECT g, x FROM (VALUES (3), (1333), (903)) AS v(g), LATERAL (SELECT x FROM f WHERE id = g OFFSET 0) l"
    assert sorted(by_tens.execute(lateral).fetchall()) == [(3, "ž00003"), (903, "ž00903"), (1333, "ž01333")]


def test_parallel_scans(by_tens):
    by_tens.execute(f"{PARALLEL}; SET max_parallel_workers_per_gather = 2")
    query = "SELECT sum(id), count(wide) FROM f WHERE id BETWEEN 995 AND 1005"
    everything = "SELECT sum(id), count(wide) FROM f WHERE id > 0"
    for setting, node in (("off", "Parallel Foreign Scan"), ("auto", NODE)):
        by_tens.execute(f"SET pg_strata.columnar_sql = {setting}")
        assert node in plan(by_tens, query)
        assert by_tens.execute(query).fetchone() == (sum(range(995, 1006)), 11)
        assert 0 < bytes_read(by_tens, query) < bytes_read(by_tens, everything) / 3


def test_pages_of_our_own(db, out):
    """The exporter's pages of 20,000 rows."""
    db.execute(
        "CREATE TABLE s AS SELECT i AS id, 'x' || lpad(i::text, 6, '0') AS x, nullif(i / 30000, 1) AS n, "
        "md5(i::text)::uuid AS u, (i / 7.0)::numeric(20,4) AS d FROM generate_series(1, 90000) i"
    )
    export(db, "s", out / "s.parquet", workers=0)
    foreign(db, "f", columns_of(db, "s"), file=out / "s.parquet")
    for condition in (
        "id = 50000",
        "id IN (20000, 20001, 80000)",
        "x LIKE 'x0555%'",
        "n IS NULL AND id > 59000",
        "d = 10000",
        "id BETWEEN 39990 AND 40010 OR x = 'x000007'",
        "n = 2 AND id < 60100",
    ):
        on_and_off(db, condition)
        assert (
            bytes_read(db, f"SELECT * FROM f WHERE {condition}") < bytes_read(db, "SELECT * FROM f WHERE id > 0") * 0.8
        ), condition


def test_errors_name_the_row(db, out):
    """Its number in the file, whichever rows are read."""
    ids = range(1, 2001)
    table = pa.table(
        {
            "id": pa.array(ids, pa.int32()),
            "v": pa.array([100000 if i == 1778 else 1 for i in ids], pa.int32()),
            "w": pa.array([str(i) if i != 1777 else "x" for i in ids]),
        }
    )
    write_pages(table, out / "s.parquet", 10, row_group_size=1000)
    foreign(db, "f", "id int, v int2, w int", file=out / "s.parquet")
    for pruning in ("on", "off"):
        db.execute(f"SET pg_strata.arrow_fdw_pruning = {pruning}")
        for query, row in (
            ("SELECT v FROM f WHERE id BETWEEN 1775 AND 1785", 1778),
            ("SELECT sum(v) FROM f WHERE id = 1778 OR id < 15", 1778),
            ("SELECT w FROM f WHERE id IN (3, 1777)", 1777),
        ):
            with raises("22003" if "v" in query.split("FROM")[0] else "22P02") as caught:
                db.execute(query)
            assert f"row {row}," in caught.value.diag.message_primary, (pruning, query)


def test_damaged_indexes(by_tens, out):
    """An index that is no index says nothing."""
    path = out / "s.parquet"
    whole = path.read_bytes()
    chunks = [pq.read_metadata(path).row_group(group).column(0) for group in range(2)]
    assert all(chunk.has_column_index and chunk.has_offset_index for chunk in chunks)
    # The indexes lie between the last column chunk and the footer.
    metadata = pq.read_metadata(path)
    last = metadata.row_group(1).column(metadata.num_columns - 1)
    begin = (last.dictionary_page_offset or last.data_page_offset) + last.total_compressed_size
    end = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    assert end - begin > 1000
    for byte in (0x00, 0xFF, 0x1C, 0x19):
        path.write_bytes(whole[:begin] + bytes([byte]) * (end - begin) + whole[end:])
        for condition in ("id = 777", "part IS NULL", "x LIKE 'ž0077%'"):
            on_and_off(by_tens, condition)
