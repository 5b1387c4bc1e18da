#!/usr/bin/env bash
# fastparquet 2026.9.0 writes the empty list of row groups of a file without rows as a list of bytes.
#
# One would guess: a file that pyarrow, DuckDB and polars read is one that every reader takes; and that a table without rows
# is the easiest of all.
# Seen: the list's header gives the element type byte where the schema has structs, as Thrift's compact protocol says
# nothing of lists without elements. pyarrow, DuckDB and polars read 0 rows; DataFusion, by the Rust crate parquet, refuses the file.
#
# Prints what each reader says; exits with 1 where that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check fastparquet==2026.9.0 pandas==3.1.1 duckdb==1.5.5 pyarrow==26.0.1 polars==2.1.0 datafusion==55.0.0
cd "$place"
venv/bin/python - > seen <<'PY'
import datafusion
import duckdb
import fastparquet
import pandas
import polars
import pyarrow.parquet

empty = pandas.DataFrame({"a": pandas.Series([], dtype="int32"), "s": pandas.Series([], dtype="object")})
fastparquet.write("empty.parquet", empty, object_encoding="utf8")
print("fastparquet", fastparquet.__version__)
print("pyarrow:", pyarrow.parquet.read_table("empty.parquet").num_rows, "rows")
print("DuckDB:", duckdb.sql("SELECT count(*) FROM 'empty.parquet'").fetchone()[0], "rows")
print("polars:", polars.read_parquet("empty.parquet").height, "rows")
try:
    context = datafusion.SessionContext()
    context.register_parquet("t", "empty.parquet")
    print("DataFusion:", context.sql("SELECT count(*) AS n FROM t").to_pydict()["n"][0], "rows")
except Exception as error:
    print(f"DataFusion {datafusion.__version__}:", str(error).split(": ")[-1])
PY
cat seen
diff seen - <<'SEEN'
fastparquet 2026.9.0
pyarrow: 0 rows
DuckDB: 0 rows
polars: 0 rows
DataFusion 55.0.0: Expected list element type of Struct but got Byte
SEEN
