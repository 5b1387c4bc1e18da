"""One export by a peer, in a process of its own: python -m pg_test.bench.peer NAME CODEC TABLE FILE DSN URI

Prints the seconds from connecting to the finished file; imports are not counted.
"""

import sys
import time


def duckdb(codec, table, file, dsn, _):
    from pathlib import Path

    import duckdb
    import duckdb_extension_postgres_scanner as extension

    scanner = next(Path(extension.__path__[0]).rglob("postgres_scanner.duckdb_extension"))
    started = time.perf_counter()
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute(f"LOAD '{scanner}'")
        connection.execute(
            f"COPY (SELECT * FROM postgres_scan('{dsn}', 'public', '{table}')) TO '{file}' (FORMAT parquet, "
            f"COMPRESSION {codec})"
        )
    return started


def adbc(codec, table, file, _, uri):
    import adbc_driver_postgresql.dbapi
    import pyarrow.parquet

    started = time.perf_counter()
    with adbc_driver_postgresql.dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        reader = cursor.fetch_record_batch()
        with pyarrow.parquet.ParquetWriter(file, reader.schema, compression=codec) as writer:
            for batch in reader:
                writer.write_batch(batch)
    return started


def adbc_arrow(_codec, table, file, _, uri):
    import adbc_driver_postgresql.dbapi
    import pyarrow

    started = time.perf_counter()
    with adbc_driver_postgresql.dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        reader = cursor.fetch_record_batch()
        with pyarrow.ipc.new_file(file, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
    return started


def connectorx(codec, table, file, _, uri):
    import connectorx
    import pyarrow.parquet

    started = time.perf_counter()
    arrow = connectorx.read_sql(uri, f"SELECT * FROM {table}", return_type="arrow")
    pyarrow.parquet.write_table(arrow, file, compression=codec)
    return started


PEERS = {"duckdb": duckdb, "adbc": adbc, "adbc_arrow": adbc_arrow, "connectorx": connectorx}

if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    began = PEERS[name](*arguments)
    print(time.perf_counter() - began)
