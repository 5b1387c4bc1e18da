"""Exports beside writers, DDL, vacuum and other exports: each file is one snapshot of the table."""

import random
import shutil
import threading
import time

import psycopg
import pyarrow.compute as pc
import pytest

from ..helpers import oracle
from ..helpers.support import SCANS, Background, entries, export

ACCOUNTS, TOTAL, SECONDS, WRITERS = 20_000, 20_000 * 1000, 6, 3


@pytest.fixture
def accounts(db):
    db.execute(f"""CREATE TABLE t (id int PRIMARY KEY, balance numeric NOT NULL, note text) WITH (fillfactor = 80);
        INSERT INTO t SELECT i, 1000, repeat('n', i % 90) FROM generate_series(1, {ACCOUNTS}) i; ANALYZE t""")
    return "t"


def transfer(connection, stop, seed):
    """Moves money between accounts, replaces accounts, aborts now and then: the sum stays. Returns the count."""
    chance, done = random.Random(seed), 0
    while not stop.is_set():
        # Accounts of its own: an UPDATE that waits for another's DELETE and INSERT would lose the row.
        a, b = chance.sample(range(1 + seed, ACCOUNTS + 1, WRITERS), 2)
        amount = chance.randint(-500, 500)
        with connection.transaction(force_rollback=chance.random() < 0.1):
            connection.execute("UPDATE t SET balance = balance - %s WHERE id = %s", (amount, a))
            if chance.random() < 0.2:
                old = connection.execute("DELETE FROM t WHERE id = %s RETURNING balance", (b,)).fetchone()[0]
                connection.execute(
                    "INSERT INTO t VALUES (%s, %s, %s)", (b, old + amount, "moved" * chance.randint(0, 40))
                )
            else:
                connection.execute("UPDATE t SET balance = balance + %s, note = note || 'x' WHERE id = %s", (amount, b))
        done += 1
    return done


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("workers", [0, 2])
def test_invariant_holds_in_every_file(db, again, out, accounts, scan, workers):
    stop = threading.Event()
    writers = [
        Background(lambda connection=again(), seed=seed: transfer(connection, stop, seed)) for seed in range(WRITERS)
    ]
    exports, deadline, vacuum = 0, time.monotonic() + SECONDS, again()
    try:
        while time.monotonic() < deadline or exports < 3:
            file = out / f"{exports}.parquet"
            result = export(db, accounts, file, scan=scan, workers=workers, row_group_rows=3000)
            table = oracle.read_pyarrow(file)
            assert table.num_rows == result.rows == ACCOUNTS
            assert pc.sum(table["balance"]).as_py() == TOTAL
            assert pc.count_distinct(table["id"]).as_py() == ACCOUNTS
            vacuum.execute("VACUUM t")
            file.unlink()
            exports += 1
    finally:
        stop.set()
    assert all(writer.result() > 20 for writer in writers)
    assert exports >= 3


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("target", ["t.parquet", "parts"])
def test_two_exports_to_the_same_target(db, again, out, accounts, target, overwrite):
    """Whoever wins, the target is one whole export; who loses is told so."""
    for _ in range(5):
        calls = [
            Background(
                lambda connection=again(): export(connection, accounts, out / target, workers=1, overwrite=overwrite)
            )
            for _ in range(3)
        ]
        won = 0
        for call in calls:
            try:
                assert call.result().rows == ACCOUNTS
                won += 1
            except psycopg.Error as error:
                assert error.sqlstate in ("58P02", "55006"), error
        assert won >= 1 if overwrite else won == 1
        oracle.check(db, accounts, out / target, ordered=target.endswith("parquet"))
        assert entries(out) == [target]
        if not overwrite:
            remove(out / target)


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    "statement",
    ["TRUNCATE t", "DROP TABLE t", "VACUUM FULL t", "ALTER TABLE t DROP note", "ALTER TABLE t ADD late int DEFAULT 7"],
)
def test_ddl_waits_for_the_export(db, again, out, accounts, statement):
    """The export holds its lock until its transaction ends: what it writes is the table it began with."""
    db.execute("BEGIN")
    assert export(db, accounts, out / "t.parquet", workers=2).rows == ACCOUNTS
    other = again()
    other.execute("SET lock_timeout = '200ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        other.execute(statement)
    db.execute("COMMIT")
    other.execute("RESET lock_timeout")
    other.execute(statement)


@pytest.mark.parametrize("scan", SCANS)
def test_concurrent_appends_and_truncating_vacuum(db, again, out, scan):
    """The relation grows and shrinks at its end while it is read; the committed rows of before are all there."""
    db.execute(
        "CREATE TABLE t (i int, pad text); INSERT INTO t SELECT i, repeat('p', 200) FROM generate_series(1, 50000) i"
    )
    stop, writer = threading.Event(), again()

    def churn():
        while not stop.is_set():
            writer.execute("INSERT INTO t SELECT -i, repeat('q', 300) FROM generate_series(1, 2000) i")
            writer.execute("DELETE FROM t WHERE i < 0")
            writer.execute("VACUUM t")

    churning = Background(churn)
    try:
        for i in range(8):
            export(db, "t", out / "t.parquet", scan=scan, workers=2, overwrite=True, row_group_rows=5000)
            ids = oracle.read_pyarrow(out / "t.parquet")["i"]
            assert pc.sum(pc.greater(ids, 0)).as_py() == 50000
            assert len(ids) in (50000, 52000)
    finally:
        stop.set()
    churning.result()


def test_no_worker_is_free(db, again, out, accounts):
    """Asked for more workers than the server has left, the export does with what it gets."""
    db.execute("SET max_parallel_workers = 0")
    result = export(db, accounts, out / "t.parquet", workers=4)
    assert (result.workers, result.rows) == (0, ACCOUNTS)
    oracle.check(db, accounts, out / "t.parquet")
