"""Memory runs out: calls of every function under random limits of address space.

Whatever comes of a call, the server goes on: the call succeeds, with the right answer, or it is an error of memory;
nothing is left behind, other sessions live, and the same call without a limit is right. MEMORY_RUNS says how many calls
there are and MEMORY_SEED which; run 17 of a seed is always the same call under the same limit above what its process
uses."""

import collections
import hashlib
import os
import random
import subprocess

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..helpers.servers import SETTINGS, small_tmpfs
from ..helpers.support import entries, eventually, export, raises
from ..helpers.vcf import bgzip, make
from ..lab import places
from ..lab.server import Server

RUNS = int(os.environ.get("MEMORY_RUNS", 40))
SEED = os.environ.get("MEMORY_SEED", "1")
MB = 1 << 20

CODECS = ["none", "snappy", "lz4_raw", "zstd:1", "zstd:19", "gzip:6", "brotli:1", "brotli:6", "brotli:11"]
BUFFER_CODECS = ["none", "lz4", "zstd"]
READ_CODECS = ["none", "snappy", "lz4_raw", "zstd", "gzip", "brotli"]
COLUMNS = "id int, n numeric, x double precision, s text, b bytea, a int[], j jsonb"
TABLES = {
    "wide": f"""CREATE TABLE wide ({COLUMNS}, c pair, d date, u uuid);
        INSERT INTO wide SELECT i, i / 7.0, i / 3.0, 'text ' || i % 1000, sha256(i::text::bytea), array[i, i + 1],
        jsonb_build_object('k', i),
            ('(' || i || ',t' || i || ')')::pair, date '2000-01-01' + i % 9999,
            md5(i::text)::uuid FROM generate_series(1, 30000) i""",
    "long": """CREATE TABLE long (id int, s text, a text[]);
        INSERT INTO long SELECT i, repeat(md5(i::text), 100000),
        array[repeat(md5(i::text), 40000)] FROM generate_series(1, 3) i""",
}


class Call:
    """A function's call: its SQL, the file that it writes, and the answer of a query that writes none."""

    def __init__(self, sql, writes=None, workers=0, before=None):
        self.sql, self.writes, self.workers, self.before = sql, writes, workers, before


def export_calls(pick):
    table, workers, scan = pick(list(TABLES)), pick([0, 2]), pick(["heap", "copy_binary"])
    common = f"workers => {workers}, scan => '{scan}', overwrite => true"
    parquet, arrow = pick(CODECS), pick(BUFFER_CODECS)
    appended = (
        f"SELECT rows FROM export_table_arrow('{table}', '{{out}}/t.arrow', compression => '{arrow}', append => true)"
    )
    return [
        Call(
            (
                f"SELECT rows FROM export_table_parquet('{table}', '{{out}}/t.parquet', "
                f"compression => '{parquet}', {common})"
            ),
            "t.parquet",
            workers,
        ),
        Call(
            (
                f"SELECT rows FROM export_table_parquet('{table}', '{{out}}/t.parquet', "
                f"bloom_filters => '{{{{id,s}}}}', {common})"
            ),
            "t.parquet",
            workers,
        ),
        Call(
            f"SELECT rows FROM export_table_arrow('{table}', '{{out}}/t.arrow', compression => '{arrow}', {common})",
            "t.arrow",
            workers,
        ),
        Call(appended, "t.arrow", before=appended),
        Call(
            (
                f"SELECT rows FROM export_query_parquet('TABLE {table}', '{{out}}/t.parquet', "
                f"compression => '{parquet}', overwrite => true)"
            ),
            "t.parquet",
        ),
        Call(
            (
                f"SELECT rows FROM export_query_arrow('TABLE {table}', '{{out}}/t.arrow', "
                f"compression => '{arrow}', overwrite => true)"
            ),
            "t.arrow",
        ),
        Call(
            f"SELECT rows FROM copy_binary_dump('{table}', '{{out}}/t.bin', workers => {workers}, overwrite => true)",
            "t.bin",
            workers,
        ),
        Call(f"SELECT rows, bytes FROM copy_binary_dump('{table}', workers => {workers})", workers=workers),
        Call(f"SELECT rows, bytes FROM decode_table('{table}', '{scan}', {workers}, 'cpu')", workers=workers),
        Call(
            (
                f"SELECT rows FROM import_vcf('{{files}}/{pick(['t.vcf', 't.vcf.gz'])}', '{{out}}/t.arrow', "
                f"'{pick(['column', 'rows'])}', '{arrow}', true)"
            ),
            "t.arrow",
        ),
    ]


def read_calls(pick):
    table, codec = pick(list(TABLES)), pick(READ_CODECS)
    buffers = pick(BUFFER_CODECS)
    declared = "id int, s text" + ("" if table == "long" else ", n numeric, b bytea, j jsonb, a int[]")
    rows = "SELECT count(*), sum(hashtext(t::text)::bigint) FROM"
    foreign = pick([f"{table}_{codec}", f"{table}_a{buffers}"])
    return [
        Call(f"{rows} read_parquet('{{files}}/{table}_{codec}.parquet') AS t({declared})"),
        Call(f"{rows} read_arrow('{{files}}/{table}_a{buffers}.arrow') AS t({declared})"),
        Call(f"{rows} {foreign} t"),
        Call(f"{rows} {foreign} t WHERE id BETWEEN 3 AND 30000 AND s LIKE '%1%'"),
        Call(f"SELECT count(*), sum(id), min(id), max(id), avg(id) FROM {foreign} WHERE id > 2"),
        Call(f"SELECT s, count(*) FROM {foreign} WHERE s < 'text 3' GROUP BY s ORDER BY s"),
        Call(f"SELECT count(*), sum(length(value)) FROM arrow_fdw_metadata_info('{foreign}')"),
        Call(
            "BEGIN; CREATE SCHEMA imported; IMPORT FOREIGN SCHEMA f FROM SERVER pg_strata INTO imported "
            f"OPTIONS (file '{{files}}/{table}_{codec}.parquet'); "
            f"SELECT count(*) FROM pg_attribute WHERE attrelid = 'imported.f'::regclass; ROLLBACK"
        ),
    ]


@pytest.fixture(scope="module")
def memory(installation):
    """A server, the files that are read, and a session that watches."""
    with Server(installation, "memory", **SETTINGS) as server:
        files = places.fresh(places.scratch("memory"), 0o755)
        with server.connect() as db, server.connect() as bystander:
            db.execute("CREATE EXTENSION pg_strata; CREATE TYPE pair AS (i int, t text)")
            for table, sql in TABLES.items():
                db.execute(sql)
                for codec in READ_CODECS:
                    path = files / f"{table}_{codec}.parquet"
                    db.execute(f"SELECT export_table_parquet('{table}', '{path}', compression => '{codec}')")
                    db.execute(
                        f"IMPORT FOREIGN SCHEMA {path.stem} FROM SERVER pg_strata INTO public OPTIONS (file '{path}')"
                    )
                for codec in BUFFER_CODECS:
                    path = files / f"{table}_a{codec}.arrow"
                    db.execute(f"SELECT export_table_arrow('{table}', '{path}', compression => '{codec}')")
                    db.execute(
                        f"IMPORT FOREIGN SCHEMA {path.stem} FROM SERVER pg_strata INTO public OPTIONS (file '{path}')"
                    )
            text, _ = make("4.3", 5_000, ["one", "two", "three"])
            (files / "t.vcf").write_text(text)
            (files / "t.vcf.gz").write_bytes(bgzip(text.encode()))
            yield server, files, bystander


def address_space(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmSize:"))


def limit(pid, size):
    subprocess.run(["prlimit", f"--pid={pid}", f"--as={size}:unlimited"], check=True, **places.as_server())


def contents(path):
    """A digest of what a file holds, however its rows are parted."""
    if path.suffix not in (".parquet", ".arrow"):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    table = pq.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(path).read_all()
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return hashlib.sha256(out.getvalue()).hexdigest()


def answer(db, sql):
    cursor = db.execute(sql)
    while cursor.nextset() and cursor.description is None:
        pass
    return cursor.fetchall() if cursor.description else None


class Campaign:
    def __init__(self, server, files, bystander, out):
        self.server, self.files, self.bystander, self.out = server, files, bystander, out
        self.expected, self.outcomes, self.fatal = {}, collections.Counter(), []
        # What the library itself takes of a process that loads it.
        with self.connect(load=False) as db:
            before = address_space(db.info.backend_pid)
            self.load(db)
            self.library = address_space(db.info.backend_pid) - before

    def load(self, db):
        db.execute("SELECT arrow_fdw_metadata_stats()")

    def connect(self, load=True):
        db = self.server.connect()
        if load:
            self.load(db)
        return db

    def call(self, db, call):
        """Its answer, and what it wrote."""
        found = self.execute(db, call.sql)
        return found, contents(self.out / call.writes) if call.writes else None

    def execute(self, db, sql):
        sql = sql.format(out=self.out, files=self.files)
        if sql.startswith("BEGIN"):
            parts = [part.strip() for part in sql.split(";")]
            try:
                return [answer(db, part) for part in parts[:-1]][-1]
            finally:
                if not db.closed:
                    db.execute("ROLLBACK")
        return answer(db, sql)

    def prepare(self, db, call):
        for name in entries(self.out):
            (self.out / name).unlink()
        if call.before:
            self.execute(db, call.before)

    def expect(self, call):
        if call.sql not in self.expected:
            with self.connect() as db:
                self.prepare(db, call)
                self.expected[call.sql] = self.call(db, call)
        return self.expected[call.sql]

    def run(self, number):
        chance = random.Random(f"{SEED}-{number}")
        call = chance.choice(chance.choice([export_calls, read_calls])(chance.choice))
        room = int(2 ** chance.uniform(2, 8) * MB)
        of_workers = call.workers > 0 and chance.random() < 0.5
        told = (
            f"run {number} of seed {SEED}, "
            f"{room / MB:.1f} MB more{' for each worker' if of_workers else ''}: {call.sql}"
        )
        expected = self.expect(call)
        db = self.connect()
        self.prepare(db, call)
        before = {name: contents(self.out / name) for name in entries(self.out)}
        pid = self.server.process.pid if of_workers else db.info.backend_pid
        limit(pid, address_space(pid) + room + (self.library if of_workers else 0))
        try:
            assert self.call(db, call) == expected, told
            self.outcomes["right"] += 1
        except psycopg.Error as error:
            self.judge(error, told)
            after = {name: contents(self.out / name) for name in entries(self.out)}
            assert after == before, told
        finally:
            if of_workers or not db.closed:
                limit(pid, "unlimited")
        assert self.server.process.poll() is None, told
        log = self.server.log()
        assert "terminated by signal" not in log and "PANIC" not in log, f"{told}\n{log[-3000:]}"
        assert self.bystander.execute("SELECT 1").fetchone() == (1,), told
        if db.closed:
            db = self.connect()
        self.prepare(db, call)
        assert self.call(db, call) == expected, told
        db.close()

    def judge(self, error, told):
        state, severity, message = error.diag.sqlstate, error.diag.severity, error.diag.message_primary or str(error)
        # What a worker says that has no room to begin with.
        at_start = "could not load library" in message or "parallel worker failed to initialize" in message
        assert state and state.startswith("53") or at_start, f"{told}\n{state}: {message}\n{error.diag.message_detail}"
        self.outcomes["ERROR before a worker's start" if at_start else f"{severity} {state}"] += 1
        if severity == "FATAL":
            self.fatal.append(f"{error.diag.message_detail} {told}")


def test_calls_under_limits(memory, out):
    campaign = Campaign(*memory, out)
    try:
        for number in range(RUNS):
            campaign.run(number)
    finally:
        print(f"\nseed {SEED}: {number + 1} runs, {dict(campaign.outcomes)}", *campaign.fatal, sep="\n")
    failed = RUNS - campaign.outcomes["right"]
    assert failed > RUNS // 8, f"the limits were too wide: {campaign.outcomes}"
    assert sum("FATAL" in outcome for outcome in campaign.outcomes.elements()) <= RUNS // 20, campaign.fatal


def test_no_room_for_the_reserve(memory, out):
    """Every function looks for memory before it does anything; the session goes on."""
    server, files, bystander = memory
    campaign = Campaign(server, files, bystander, out)
    for calls in (export_calls, read_calls):
        for call in calls(lambda choices: choices[0]):
            expected = campaign.expect(call)
            with campaign.connect() as db:
                campaign.prepare(db, call)
                before = {name: contents(out / name) for name in entries(out)}
                limit(db.info.backend_pid, address_space(db.info.backend_pid) + 4 * MB)
                with raises("53200") as caught:
                    campaign.call(db, call)
                assert caught.value.diag.severity == "ERROR", call.sql
                limit(db.info.backend_pid, "unlimited")
                assert {name: contents(out / name) for name in entries(out)} == before, call.sql
                assert campaign.call(db, call) == expected, call.sql


def test_what_the_reserve_has_no_room_for(memory, out):
    """A library's allocation that is larger: where it cannot be an error it is the session's end, and nobody else's."""
    server, _, bystander = memory
    lines = [
        "##fileformat=VCFv4.3",
        '##INFO=<ID=X,Number=1,Type=String,Description="x">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO",
        "1\t1\t.\tA\tC\t.\tPASS\tX=" + "x" * (64 * MB),
    ]
    (out / "long.vcf").write_text("\n".join(lines) + "\n")
    sql = f"SELECT rows FROM import_vcf('{out}/long.vcf', '{out}/t.arrow')"
    with server.connect() as db:
        db.execute("SELECT arrow_fdw_metadata_stats()")
        limit(db.info.backend_pid, address_space(db.info.backend_pid) + 24 * MB)
        with raises("53200"):
            db.execute(sql)
    eventually(lambda: entries(out) == ["long.vcf"])
    assert bystander.execute("SELECT 1").fetchone() == (1,)
    with server.connect() as db:
        assert db.execute(sql).fetchone() == (1,)


@pytest.fixture
def little_shared_memory(installation):
    """A server whose segments lie in a small file system, and the directory."""
    server = Server(installation, "segments", dynamic_shared_memory_type="mmap", **SETTINGS)
    server.initdb()
    with small_tmpfs(server.data / "pg_dynshmem", "16m") as directory:
        server.start()
        try:
            yield server, directory
        finally:
            server.stop()


def leave_free(directory, size):
    """Fills the file system but for so many bytes."""
    (directory / "filler").unlink(missing_ok=True)
    state = os.statvfs(directory)
    (directory / "filler").write_bytes(bytes(state.f_bavail * state.f_frsize - size))


def test_workers_that_shared_memory_has_room_for(little_shared_memory, out):
    """Fewer workers, or none, and no word of it but in the result."""
    server, directory = little_shared_memory
    with server.connect() as db:
        db.execute(
            "CREATE EXTENSION pg_strata; CREATE TABLE t AS SELECT i, i % 7 AS j FROM generate_series(1, 50000) i"
        )
        said = []
        db.add_notice_handler(lambda notice: said.append(notice.message_primary))
        # PostgreSQL makes a segment of more than 1 MB for a session's first workers.
        leave_free(directory, MB)
        first = export(db, "t", out / "first.parquet", workers=12)
        leave_free(directory, 2 * MB)
        export(db, "t", out / "second.parquet", workers=1)
        leave_free(directory, MB)
        some = export(db, "t", out / "some.parquet", workers=12)
        leave_free(directory, 50_000)
        none = export(db, "t", out / "none", workers=12)
        dumped = db.execute("SELECT rows FROM copy_binary_dump('t', workers => 12)").fetchone()
        (directory / "filler").unlink()
        again = export(db, "t", out / "again.parquet", workers=12)
    assert 0 < some.workers < 12 and first.workers == none.workers == 0 and again.workers == 12, (
        first,
        some,
        none,
        again,
    )
    assert first.rows == some.rows == none.rows == again.rows == dumped[0] == 50000 and not said, said
    assert pq.read_table(out / "some.parquet").equals(pq.read_table(out / "again.parquet"))
    assert none.files == 1 and pq.read_table(out / "none").num_rows == 50000
