"""Exact checksums per column, the same from PostgreSQL's table and, through DuckDB, from a file.

Numbers and dates are summed as they are; texts by the first 32 bits of their md5. One more sum, over
the md5 of key, line and texts of each row together, tells when values changed rows.
"""

import duckdb
import pyarrow as pa

TYPES = """SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
           WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


def in_postgres(text):
    return f"sum(('x' || left(md5({text}), 8))::bit(32)::bigint)"


def in_duckdb(text):
    return f"sum(('0x' || left(md5({text}), 8))::BIGINT)"


def expressions(columns, digest, as_text):
    """One aggregate per column, the row's last. `as_text` keeps a bpchar's padding."""
    sums, row = ["count(*)"], []
    for i, (name, kind) in enumerate(columns):
        if kind.startswith("character"):
            sums.append(digest(as_text(name)))
            row.append(as_text(name))
        elif kind == "date":
            sums.append(f"sum({name} - DATE '1970-01-01')")
        else:
            sums.append(f"sum({name})")
            if i == 0 or "linenumber" in name:
                row.append(f"CAST({name} AS text)")
    return ", ".join([*sums, digest(f"concat_ws('|', {', '.join(row)})")])


def of_table(connection, table):
    columns = connection.execute(TYPES, (table,)).fetchall()
    # Casting a bpchar to text would strip its padding: its bytes are those of textin(bpcharout()).
    sums = expressions(
        columns, in_postgres, lambda name: f"textin(bpcharout({name}))" if dict(columns)[name] == "character" else name
    )
    return columns, connection.execute(f"SELECT {sums} FROM {table}").fetchone()


def of_file(columns, path, threads):
    sums = expressions(columns, in_duckdb, lambda name: name)
    with duckdb.connect(config={"threads": threads}) as connection:
        if path.suffix == ".arrow":
            connection.register("file", pa.ipc.open_file(pa.memory_map(str(path))).read_all())
        else:
            connection.execute(f"CREATE VIEW file AS FROM '{path}'")
        return connection.execute(f"SELECT {sums} FROM file").fetchone()


def differences(columns, truth, path, threads=2):
    """The names of what differs between table and file."""
    names = ["row count", *(name for name, _ in columns), "rows as a whole"]
    return [name for name, ours, theirs in zip(names, of_file(columns, path, threads), truth) if ours != theirs]
