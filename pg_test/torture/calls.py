"""The functions that write and read files, each with the answer that it must give."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..helpers.support import copy_binary

SMALL, LARGE = 2000, 120_000
TABLES = f"""
    CREATE TABLE small AS SELECT i AS id, 'text ' || i AS s, i / 4.0 AS n FROM generate_series(1, {SMALL}) i;
    CREATE TABLE large AS SELECT i AS id, md5(i::text) AS s, i / 7.0 AS n FROM generate_series(1, {LARGE}) i;
    CREATE TABLE parted (id int, s text, n numeric) PARTITION BY RANGE (id);
    CREATE TABLE parted1 PARTITION OF parted FOR VALUES FROM (0) TO ({SMALL // 2});
    CREATE TABLE parted2 PARTITION OF parted FOR VALUES FROM ({SMALL // 2}) TO ({SMALL + 1});
    INSERT INTO parted SELECT * FROM small;
    CREATE VIEW slow AS SELECT id, s, n FROM small WHERE pg_sleep(0.00002) IS NOT NULL"""
SOURCES = [
    "VACUUM ANALYZE small",
    "VACUUM ANALYZE large",
    "SELECT export_table_parquet('small', '{sources}/small.parquet', row_group_rows => 500, bloom_filters => '{{id}}')",
    "SELECT export_table_parquet('large', '{sources}/large.parquet', row_group_rows => 20000)",
    "SELECT export_table_parquet('large', '{sources}/parts', workers => 2, row_group_rows => 20000)",
    "SELECT export_table_arrow('small', '{sources}/small.arrow', record_batch_rows => 500)",
    "SELECT export_table_arrow('large', '{sources}/large.arrow', record_batch_rows => 20000, compression => 'zstd')",
    (
        "CREATE FOREIGN TABLE f_small (id int, s text, "
        "n numeric) SERVER pg_strata OPTIONS (file '{sources}/small.parquet')"
    ),
    (
        "CREATE FOREIGN TABLE f_large (id int, s text, "
        "n numeric) SERVER pg_strata OPTIONS (files '{sources}/large.parquet,{sources}/large.arrow')"
    ),
    (
        "CREATE FOREIGN TABLE f_parts (id int, s text, n numeric) SERVER pg_strata OPTIONS (dir '{sources}/parts', "
        "suffix '.parquet', parallel_workers '2')"
    ),
]
VCF = "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "".join(
    f"1\t{i}\t.\tA\tC\t.\tPASS\t.\n" for i in range(1, SMALL + 1)
)
COLUMNS = "t(id int, s text, n numeric)"


@dataclass
class Call:
    """A statement that writes `target`, or reads: then `answer` is its result."""

    name: str
    sql: str
    target: Path = None
    rows: int = 0
    answer: list = None
    append: bool = False
    gpu: bool = False

    def text(self, workers):
        return self.sql.format(path=self.target, workers=workers)


def writes(arena):
    out, sources = arena.out, arena.sources
    call = lambda name, sql, target, rows, **more: Call(name, f"SELECT rows FROM {sql}", out / target, rows, **more)
    for table, rows, groups in (("small", SMALL, 500), ("large", LARGE, 20000)):
        yield call(
            f"parquet {table}",
            f"export_table_parquet('{table}', '{{path}}', workers => {{workers}}, row_group_rows => {groups}, "
            f"overwrite => true, "
            "device => 'cpu', compression => 'snappy')",
            f"{table}.parquet",
            rows,
        )
        yield call(
            f"directory {table}",
            f"export_table_parquet('{table}', '{{path}}', workers => {{workers}}, row_group_rows => {groups}, "
            f"overwrite => true, "
            "device => 'cpu', scan => 'copy_binary')",
            f"{table}-parts",
            rows,
        )
        yield call(
            f"gpu {table}",
            (
                f"export_table_parquet('{table}', '{{path}}', workers => {{workers}}, "
                f"row_group_rows => {groups}, overwrite => true)"
            ),
            f"{table}-gpu.parquet",
            rows,
            gpu=True,
        )
        yield call(
            f"arrow {table}",
            (
                f"export_table_arrow('{table}', '{{path}}', workers => {{workers}}, "
                f"record_batch_rows => {groups}, overwrite => true)"
            ),
            f"{table}.arrow",
            rows,
        )
        yield call(
            f"dump {table}",
            f"copy_binary_dump('{table}', '{{path}}', {{workers}}, overwrite => true)",
            f"{table}.bin",
            rows,
        )
        yield call(
            f"query {table}",
            f"export_query_parquet('TABLE {table}', '{{path}}', overwrite => true)",
            f"{table}-query.parquet",
            rows,
        )
    yield call(
        "arrow directory",
        "export_table_arrow('small', '{path}', workers => {workers}, record_batch_rows => 300, overwrite => true)",
        "arrow-parts",
        SMALL,
    )
    yield call(
        "query arrow",
        "export_query_arrow('SELECT * FROM small ORDER BY id', '{path}', overwrite => true)",
        "query.arrow",
        SMALL,
    )
    yield call("query slow", "export_query_arrow('TABLE slow', '{path}', overwrite => true)", "slow.arrow", SMALL)
    yield call(
        "append",
        "export_table_arrow('small', '{path}', workers => {workers}, append => true)",
        "append.arrow",
        SMALL,
        append=True,
    )
    yield call(
        "partitions",
        "export_table_parquet('parted', '{path}', workers => {workers}, overwrite => true)",
        "parted.parquet",
        SMALL,
    )
    yield call(
        "foreign", "export_query_parquet('TABLE f_small', '{path}', overwrite => true)", "foreign.parquet", SMALL
    )
    (sources / "t.vcf").write_text(VCF)
    yield call("vcf", f"import_vcf('{sources}/t.vcf', '{{path}}', overwrite => true)", "vcf.arrow", SMALL)


READS = {
    "read_parquet": (
        f"SELECT count(*), sum(id), sum(n), max(s) FROM read_parquet('{{sources}}/small.parquet') AS {COLUMNS}"
    ),
    "read_arrow": f"SELECT count(*), sum(id), sum(n), max(s) FROM read_arrow('{{sources}}/small.arrow') AS {COLUMNS}",
    "scan": "SELECT count(*), sum(length(s)), max(s) FROM f_large",
    "aggregate": "SELECT count(*), sum(id), min(id), sum(n) FROM f_large WHERE id > 100",
    "pruned": "SELECT s FROM f_small WHERE id = 777",
    "parallel": "SELECT count(*), sum(id), max(s) FROM f_parts",
    "join": "SELECT count(*), sum(f_small.n) FROM f_small JOIN small USING (id)",
    "metadata": "SELECT count(*) > 0 FROM arrow_fdw_metadata_info('f_parts')",
    "statistics": "SELECT count(*) FROM arrow_fdw_metadata_stats()",
    "analyze": "ANALYZE f_parts; SELECT reltuples > 0 FROM pg_class WHERE relname = 'f_parts'",
    "import schema": "DROP FOREIGN TABLE IF EXISTS imported; "
    "IMPORT FOREIGN SCHEMA imported FROM SERVER pg_strata INTO public OPTIONS (dir '{sources}/parts'); "
    "SELECT count(*), sum(id) FROM imported",
    "explain": "SELECT count(*) FROM (SELECT 1) s; EXPLAIN (COSTS OFF) SELECT count(*) FROM f_large WHERE id = 5",
    "decode": "SELECT rows FROM decode_table('large', workers => {workers}, device => 'cpu')",
    "count": "SELECT rows FROM copy_binary_dump('large', NULL, {workers})",
    "gpu status": "SELECT count(*) > 0 FROM gpu_status()",
}


def calls(arena):
    """All of them by name, the answers of those that read found by the same statements without a fault, and held
    against the tables' own."""
    found = {call.name: call for call in writes(arena)}
    db = arena.watcher
    arena.dumps = {f"{table}.bin": copy_binary(db, table) for table in ("small", "large")}
    for name, sql in READS.items():
        sql = sql.replace("{sources}", str(arena.sources))
        found[name] = Call(name, sql)
        found[name].answer = answer(db, found[name].text(1))
    of = lambda columns, table: db.execute(f"SELECT {columns} FROM {table}").fetchall()
    assert (
        found["read_parquet"].answer == found["read_arrow"].answer == of("count(*), sum(id), sum(n), max(s)", "small")
    )
    assert found["scan"].answer == of("2 * count(*), 2 * sum(length(s)), max(s)", "large")
    assert found["parallel"].answer == of("count(*), sum(id), max(s)", "large")
    assert found["aggregate"].answer == of("2 * count(*), 2 * sum(id), min(id), 2 * sum(n)", "large WHERE id > 100")
    for call in found.values():
        if call.target:
            db.execute(call.text(1))
    return found


def answer(connection, sql):
    cursor = connection.execute(sql)
    while cursor.nextset():
        pass
    return cursor.fetchall()


def state(path):
    """Names, places and bytes: what an export that failed must leave as it was."""
    if path.is_dir():
        return {file.name: state(file) for file in path.iterdir()}
    if not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, zlib.crc32(path.read_bytes())


def rows_and_sum(arena, path):
    """Of a file or a directory, whole as its own footer or manifest says."""
    if path.suffix == ".bin":
        return None, path.read_bytes() == arena.dumps[path.name]
    if path.is_dir():
        manifest = json.loads((path / "_SUCCESS").read_text())
        files = sorted(path.glob("part-*"))
        assert {file.name for file in files} == {entry["name"] for entry in manifest["files"]} and manifest["rows"] >= 0
    else:
        files = [path]
    tables = [
        pq.read_table(file, page_checksum_verification=True)
        if file.suffix == ".parquet"
        else pa.ipc.open_file(file).read_all()
        for file in files
    ]
    column = "id" if "id" in tables[0].column_names and "vcf" not in path.name else "pos"
    return sum(table.num_rows for table in tables), sum(pc.sum(table[column]).as_py() or 0 for table in tables)
