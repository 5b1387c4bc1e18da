"""python -m pg_test.bench.cancel_reads [CANCELS=20] [MB=300] [FILES=100000] [PATTERN]: how long a reading statement
goes on after pg_cancel_backend.

Statements over pages, dictionaries, buffers and lines of so many megabytes, by codec, and over so many files; each is
cancelled at random moments of its run. They do nothing else with long values, which PostgreSQL's own functions, sorts
and aggregates work on as a whole, without a look for a cancel. The files stay for the next run, under target/. Prints
the longest times in milliseconds, and the most that the backend ran on a processor meanwhile, which other load on the
machine does not change; PATTERN chooses statements by their labels.
"""

import base64
import random
import subprocess
import sys
import threading
import time
import zlib

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from ..lab import places, postgres
from ..lab.server import Server

CODECS = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")
MOST_SECONDS = 4


def texts(megabytes, parts, letters=""):
    """So many values, of so many megabytes together, that compress about as texts do."""
    block = base64.b64encode(random.Random(1).randbytes(3 << 18)).decode() + letters * (1 << 18)
    size = megabytes * (1 << 20) // parts
    return pa.array(
        [
            (str(part) + block * (size // len(block.encode()) + 1))[: size // (2 if letters else 1)]
            for part in range(parts)
        ]
    )


def write(path, column, codec="none", **options):
    """The column, which a function makes, as a file, unless there is one."""
    if path.exists():
        return
    table = pa.table({"x": column()})
    if str(path).endswith(".arrow"):
        with pa.ipc.new_file(
            path, table.schema, options=pa.ipc.IpcWriteOptions(compression=None if codec == "none" else codec)
        ) as writer:
            writer.write_table(table)
    else:
        pq.write_table(table, path, compression=codec, data_page_size=(1 << 31) - 1, write_statistics=False, **options)


def files_of(directory, megabytes, files):
    """Statements by label."""
    statements = {}

    def value():
        return texts(megabytes, 3)

    def repeated():
        return pa.concat_arrays([texts(megabytes, 3000)] * 2)

    def read(label, path):
        statements[label] = f"SELECT FROM {table_of(path)} WHERE octet_length(x) < 0"

    def read_numbers(label, path):
        statements[label] = f"SELECT sum(x) FROM read_parquet('{path}') AS t(x int8)"

    for codec in CODECS:
        path = directory / f"page.{codec}.parquet"
        write(path, value, codec, use_dictionary=False)
        read(f"parquet page {codec}", path)
        statements[f"parquet page {codec}, ANALYZE"] = f"ANALYZE {table_of(path)}"
    for codec in ("none", "zstd", "lz4"):
        write(directory / f"buffer.{codec}.arrow", value, codec)
        read(f"arrow buffer {codec}", directory / f"buffer.{codec}.arrow")
    write(directory / "letters.parquet", lambda: texts(megabytes, 3, "é"), use_dictionary=False)
    read("parquet page of letters", directory / "letters.parquet")
    write(directory / "letters.arrow", lambda: texts(megabytes, 3, "é"))
    read("arrow buffer of letters", directory / "letters.arrow")
    write(
        directory / "dictionary.parquet",
        repeated,
        "snappy",
        use_dictionary=True,
        dictionary_pagesize_limit=(1 << 31) - 1,
    )
    read("parquet dictionary", directory / "dictionary.parquet")
    write(directory / "dictionary.arrow", lambda: repeated().dictionary_encode(), "zstd")
    read("arrow dictionary", directory / "dictionary.arrow")
    write(directory / "nulls.parquet", lambda: pa.nulls(100_000_000, pa.string()), row_group_size=100_000_000)
    read("100 M NULLs", directory / "nulls.parquet")
    write(directory / "groups.parquet", lambda: pa.array(range(100_000)), row_group_size=1)
    read_numbers("100,000 row groups", directory / "groups.parquet")
    write(directory / "groups.arrow", lambda: pa.chunked_array([[number] for number in range(100_000)], pa.int64()))
    read_numbers("100,000 record batches", directory / "groups.arrow")
    many_files(directory / "many", files, statements)
    vcf_files(directory, megabytes, statements)
    return statements


def many_files(directory, files, statements):
    source = directory.with_suffix(".parquet")
    write(source, lambda: pa.array([1]))
    for number in range(0 if directory.exists() else files):
        below = directory / f"k={number % 1000}"
        if number < 1000:
            below.mkdir(parents=True)
        (below / f"f_{number}_a.parquet").write_bytes(source.read_bytes())
    statements |= {
        "files: EXPLAIN": "EXPLAIN SELECT * FROM many",
        "files: count": "SELECT count(*) FROM many",
        "files: sum of those of a key": "SELECT sum(x) FROM many WHERE k = 7",
        "files: sum, parallel": "SELECT sum(x) FROM many_parallel",
        "files: ANALYZE": "ANALYZE many",
        "files: IMPORT FOREIGN SCHEMA": (
            f"IMPORT FOREIGN SCHEMA other FROM SERVER pg_strata INTO public OPTIONS "
            f"(dir '{directory}', pattern 'k=@{{k}}/f_@{{n}}_${{a}}.parquet')"
        ),
        "files: metadata": "SELECT count(*) FROM arrow_fdw_metadata_info('many')",
        "files: read_parquet": f"SELECT count(*) FROM read_parquet('{directory}') AS t(x int8)",
    }


def bgzip(text):
    """Blocks of 64 KB, in BGZF."""
    out = bytearray()
    for at in range(0, len(text), 65280):
        block = text[at : at + 65280]
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = packer.compress(block) + packer.flush()
        out += b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + (len(packed) + 25).to_bytes(2, "little") + packed
        out += zlib.crc32(block).to_bytes(4, "little") + len(block).to_bytes(4, "little")
    return bytes(out) + bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def vcf_files(directory, megabytes, statements):
    head = (
        '##fileformat=VCFv4.3\n##contig=<ID=1>\n##INFO=<ID=X,Number=1,Type=String,Description="x">\n'
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    )
    names = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    fixed = "1\t1\t.\tA\tC\t.\t.\t"
    size = megabytes << 20
    contents = {
        "a text": head + names + "\n" + fixed + "X=" + "a" * size + "\n",
        "letters": head + names + "\n" + fixed.replace("\tA\t", "\t" + "A" * size + "\t") + ".\n",
        "no line": head + names + "\n" + "a" * size,
        "samples": head
        + names
        + "\tFORMAT\t"
        + "\t".join(f"s{at}" for at in range(size // 100))
        + "\n"
        + (fixed + ".\tGT" + "\t0|1" * (size // 100) + "\n") * 3,
        "contigs": head + "".join(f"##contig=<ID=c{at},length=100>\n" for at in range(1_000_000)) + names + "\n",
        "a header line": head + "##comment=" + "a" * size + "\n" + names + "\n",
    }
    for label, text in contents.items():
        path = directory / f"{label.replace(' ', '_')}.vcf"
        if not path.exists():
            path.write_text(text)
            (directory / f"{path.name}.gz").write_bytes(bgzip(text.encode()))
        for name in (path.name, f"{path.name}.gz"):
            statements[f"import_vcf: {label}{' bgzip' * name.endswith('gz')}"] = (
                f"SELECT import_vcf('{directory}/{name}', '{directory}/out.arrow', overwrite => true)"
            )


def table_of(path):
    return path.name.replace(".", "_")


def make_tables(connection, directory):
    for path in [*directory.glob("*.parquet"), *directory.glob("*.arrow")]:
        if path.stem not in ("many", "groups", "out"):
            connection.execute(
                f"CREATE FOREIGN TABLE {table_of(path)} (x text) SERVER pg_strata OPTIONS (file '{path}')"
            )
    connection.execute(
        f"CREATE FOREIGN TABLE many (x int8, "
        f"k int OPTIONS (virtual 'k')) SERVER pg_strata OPTIONS (dir '{directory}/many')"
    )
    connection.execute(
        f"CREATE FOREIGN TABLE many_parallel (x int8) SERVER pg_strata OPTIONS (dir '{directory}/many', "
        f"parallel_workers '2')"
    )


def milliseconds(pid):
    """That a process has run on processors."""
    with open(f"/proc/{pid}/schedstat") as file:
        return int(file.read().split()[0]) / 1e6


def cancelled(server, statement, after):
    """Milliseconds from the cancel to the error, by the clock and of a processor; None when the statement was quicker;
    and the whole time."""
    with server.connect() as connection, server.connect() as other:
        connection.execute("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0")
        pid, moment = connection.info.backend_pid, []

        def cancel():
            time.sleep(after)
            moment.extend((time.perf_counter(), milliseconds(pid)))
            other.execute("SELECT pg_cancel_backend(%s)", (pid,))

        thread = threading.Thread(target=cancel)
        start = time.perf_counter()
        thread.start()
        try:
            connection.execute(statement)
            return None, time.perf_counter() - start
        except psycopg.errors.QueryCanceled:
            return ((time.perf_counter() - moment[0]) * 1000, milliseconds(pid) - moment[1]), None
        except psycopg.Error as error:
            return None, f"{error.diag.sqlstate} {error.diag.message_primary} {error.diag.message_detail}"[:150]
        finally:
            thread.join()


def main(cancels=20, megabytes=300, files=100_000, pattern=""):
    chance = random.Random(1)
    directory = places.home() / f"cancel-reads-{megabytes}-{files}"
    if not directory.exists():
        places.fresh(directory, 0o777)
    statements = files_of(directory, megabytes, files)
    subprocess.run(["chmod", "-R", "a+rX", directory], check=True)
    with Server(postgres.chosen(), "cancel-reads") as server:
        with server.connect() as connection:
            connection.execute("CREATE EXTENSION pg_strata")
            make_tables(connection, directory)
        for label, statement in statements.items():
            if pattern not in label:
                continue
            # How long it takes, or how it ends by itself.
            _, whole = cancelled(server, statement, MOST_SECONDS)
            seconds = whole if isinstance(whole, float) else MOST_SECONDS
            found = sorted(
                one
                for one, _ in (cancelled(server, statement, chance.uniform(0, seconds)) for _ in range(cancels))
                if one is not None
            )
            ending = f"{whole:.1f} s" if isinstance(whole, float) else whole or f"over {MOST_SECONDS} s"
            longest = ", ".join(f"{one:.0f}" for one, _ in found[:-4:-1])
            processor = max((one for _, one in found), default=0)
            print(
                (
                    f"{label:<40} {len(found):>3} cancelled, longest {longest} ms, "
                    f"of a processor {processor:.0f} ms  ({ending})"
                ),
                flush=True,
            )


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:4]]
    main(*numbers, *sys.argv[4:])
