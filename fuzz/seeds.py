"""Makes the fuzzers' seeds anew, in fuzz/seeds: files by the extension and by pyarrow, pages and streams of a server.

target/venv/bin/python -m fuzz.seeds     after python3 -m pg_test.lab install 18"""

import datetime
import decimal
import shutil
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pg_test.lab import places, postgres
from pg_test.lab.server import Server
from pg_test.helpers.support import copy_binary, create_extension

SEEDS = Path(__file__).with_name("seeds")
# Columns, and the numbers of their kinds in `stored` and `sent` of src/fuzzing/rows.rs.
ROWS = {
    "integers": (
        "SELECT i % 2 = 0 AS a, i::int2 AS b, i AS c, i::int8 AS d FROM generate_series(1, 5) i",
        [0, 1, 2, 3],
        [0, 1, 2, 3],
    ),
    "times": (
        (
            "SELECT current_date - i AS a, now()::timestamp AS b, localtime AS c, "
            "gen_random_uuid() AS d FROM generate_series(1, 5) i"
        ),
        [4, 5, 6, 7],
        [10, 12, 11, 14],
    ),
    "numerics": (
        "SELECT (i / 4.0)::numeric(9,2) AS a, (i * 1e7)::numeric(18,4) AS b, (i * 1e20)::numeric(38,10) AS c, "
        "i / 7.0 AS d, 'NaN'::numeric AS e "
        "FROM generate_series(-2, 2) i",
        [8, 9, 10, 15, 10],
        [7, 8, 9, 9, 9],
    ),
    "texts": (
        "SELECT repeat('t', i * 60) AS a, NULLIF(i, 2)::text AS b, ('name ' || i)::name AS c, "
        "'x'::\"char\" AS d, sha256(i::text::bytea) AS e "
        "FROM generate_series(1, 4) i",
        [11, 11, 13, 14, 11],
        [16, 16, 16, 16, 16],
    ),
    "skipped": (
        "SELECT i, 'skipped' AS a, '{1}'::int8[] AS b, i AS c FROM generate_series(1, 4) i",
        [2, 16, 16, 2],
        [2, 16, 16, 2],
    ),
    "compressed": (
        "SELECT i, repeat('compressed ', 400) AS a, repeat(md5(i::text), 100) AS b FROM generate_series(1, 2) i",
        [2, 11, 11],
        [2, 16, 16],
    ),
    "nested": (
        "SELECT array[i, NULL, i] AS a, array['a', 'b'] AS b, ROW(1.5, 'b', current_date)::composite AS c, "
        "'{\"j\": 1}'::jsonb AS d "
        "FROM generate_series(1, 3) i",
        [16, 16, 16, 16],
        [17, 18, 19, 15],
    ),
}
TABLE = """CREATE TABLE t AS SELECT i AS id, i % 3 = 0 AS flag, i / 8.0 AS n, 'text ' || i % 7 AS s,
    NULLIF(i, 5)::float8 AS f, now() AS at,
    array[i, i] AS l, current_date + i AS d, (i * 10)::numeric(30,4) AS m FROM generate_series(1, 60) i"""
OPTIONS = {
    0: ["zstd:3", "gzip", " BROTLI : 11 ", "lzo", "snappy:1"],
    1: ["none", "lz4", "zstd:22"],
    2: [
        "f_@{year}_${mode}.parquet\nx/f_1993_AIR.parquet",
        "${a}_${b}\nx_y_z",
        "@{a}1\n-111",
        "${k0}-${k1}-${k2}\n------",
        "${a}/@{b}.x\né/5.x",
    ],
    3: ["-12.345\n2", "NaN\n0", "1200\n-2", "99999999999999999999999999999999999999999\n3", "0.001\n2"],
    4: ["abc%def", "a\\%b%", "_x%", "žl%uť"],
}
VCF = [
    "20\t14370\trs1;rs2\tG\tA,T\t29.5\tPASS\tDP=14;AF=0.5,.;DB\tGT:HQ\t0|0:51,.\t./1\n",
    "X\t0\t.\tT\t.\t.\t.\t.\tGT\t1\t.\n",
    "1\t5\t.\tA\tC,G\t.\tq10;s50\tCH=a,b;DP=.\tGT:GL\t0/1/2:1,2,3,4,5,6\t.:.\n",
    '##fileformat=VCFv4.5\n##FORMAT=<ID=LPL,Number=LG,Type=Integer,Description="">\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tone\n'
    "1\t5\t.\tA\tC\t.\t.\t.\tLPL\t3,2,1\n",
]


def seed(target, name, data):
    place = SEEDS / target
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_bytes(data)


def of_rows(server, db):
    db.execute("CREATE TYPE composite AS (a numeric, b text, c date)")
    for name, (query, stored, sent) in ROWS.items():
        db.execute(f"CREATE TABLE {name} AS {query}; CHECKPOINT")
        file = server.data / db.execute("SELECT pg_relation_filepath(%s)", (name,)).fetchone()[0]
        page = file.read_bytes()[:8192]
        lower, upper = struct.unpack_from("<HH", page, 12)
        lines = (lower - 24) // 4
        seed("heap_pages", name, bytes([len(stored) - 1, lines, *stored]) + page[24:lower] + page[upper:])
        if name != "compressed":
            seed("copy_binary", name, bytes([len(sent) - 1, *sent]) + copy_binary(db, name))


def of_exports(db, out):
    db.execute(TABLE)
    for codec in ("zstd", "snappy", "none"):
        path = out / f"{codec}.parquet"
        db.execute(
            f"SELECT export_table_parquet('t', '{path}', compression => '{codec}', row_group_rows => 40, "
            f"bloom_filters => '{{id,s}}')"
        )
        parquet(f"ours_{codec}", path)
    for codec in ("none", "zstd"):
        path = out / f"{codec}.arrow"
        db.execute(f"SELECT export_table_arrow('t', '{path}', compression => '{codec}', record_batch_rows => 40)")
        seed("arrow_file", f"ours_{codec}", path.read_bytes())


def parquet(name, path):
    data = path.read_bytes()
    seed("parquet_pages", name, data)
    if name in ("ours_zstd", "pages", "int96", "dictionary"):
        seed("parquet_metadata", name, data[4:-4])


def columns():
    rows = range(50)
    return {
        "i": pa.array([None if i % 9 == 0 else i * 1000 for i in rows], pa.int64()),
        "s": pa.array([f"text {i % 5}" for i in rows]),
        "b": pa.array([bytes([i] * 3) for i in rows], pa.binary(3)),
        "d": pa.array([decimal.Decimal(i) / 4 for i in rows], pa.decimal128(20, 2)),
        "t": pa.array([datetime.datetime(2020, 1, 1) + datetime.timedelta(i) for i in rows]),
        "l": pa.array([[i, None] * (i % 3) for i in rows], pa.list_(pa.int32())),
        "r": pa.array([{"x": i, "y": str(i)} for i in rows]),
        "m": pa.array([[("k", i)] for i in rows], pa.map_(pa.string(), pa.int32())),
        "f": pa.array([i / 3 for i in rows], pa.float32()),
        "u": pa.array([i % 2 == 0 for i in rows]),
    }


def of_pyarrow(out):
    table = pa.table(columns())
    flat = table.select(["i", "s", "t", "f"])
    delta = {"i": "DELTA_BINARY_PACKED", "s": "DELTA_BYTE_ARRAY", "t": "DELTA_BINARY_PACKED", "f": "BYTE_STREAM_SPLIT"}
    lengths = {**delta, "s": "DELTA_LENGTH_BYTE_ARRAY"}
    writes = {
        "dictionary": (table, {}),
        "plain": (table, {"use_dictionary": False, "compression": "none", "data_page_version": "2.0"}),
        "delta": (
            flat,
            {"use_dictionary": False, "column_encoding": delta, "data_page_version": "2.0", "compression": "lz4"},
        ),
        "lengths": (flat, {"use_dictionary": False, "column_encoding": lengths, "compression": "gzip"}),
        "pages": (
            flat,
            {
                "data_page_size": 64,
                "write_batch_size": 10,
                "write_page_index": True,
                "compression": "brotli",
                "write_page_checksum": True,
            },
        ),
        "int96": (table.select(["t", "u", "b"]), {"use_deprecated_int96_timestamps": True, "compression": "snappy"}),
    }
    for name, (what, options) in writes.items():
        pq.write_table(what, out / f"{name}.parquet", **options)
        parquet(name, out / f"{name}.parquet")
    table = table.append_column("dict", table["s"].combine_chunks().dictionary_encode())
    table = table.append_column("view", table["s"].cast(pa.string_view()))
    for name, compression in (("plain", None), ("lz4", "lz4")):
        with pa.ipc.new_file(
            out / "t.arrow", table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
        ) as writer:
            writer.write_table(table, max_chunksize=30)
        seed("arrow_file", f"pyarrow_{name}", (out / "t.arrow").read_bytes())


def main():
    shutil.rmtree(SEEDS, ignore_errors=True)
    out = places.fresh(places.home() / "seeds", 0o755)
    with Server(postgres.find(18), "seeds") as server:
        create_extension(server)
        with server.connect() as db:
            of_rows(server, db)
            of_exports(db, out)
    of_pyarrow(out)
    for parser, texts in OPTIONS.items():
        for number, text in enumerate(texts):
            seed("options", f"{parser}_{number}", bytes([parser]) + text.encode())
    for number, text in enumerate(VCF):
        seed("vcf_lines", str(number), text.encode())
    print(sum(file.stat().st_size for file in SEEDS.rglob("*") if file.is_file()), "bytes")


if __name__ == "__main__":
    main()
