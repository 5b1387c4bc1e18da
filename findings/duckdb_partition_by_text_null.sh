#!/usr/bin/env bash
# DuckDB 1.5.5 does not read back what it writes by PARTITION_BY, where a text is NULL in letters or Hive's name for NULL.
#
# One would guess: COPY ... (PARTITION_BY) escapes what the reader of hive partitions takes for something else, as it does
# with slashes and the equals sign.
# Seen: the texts 'NULL' and 'null' become directories of that name and come back as NULL. The text
# '__HIVE_DEFAULT_PARTITION__' has the same directory as NULL, and one of the two rows is gone, without an error. polars
# reads the first two as texts.
#
# Prints what was written and what is read; exits with 1 where that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==1.5.5 polars==2.1.0
cd "$place"
venv/bin/python - > seen <<'PY'
import os

import duckdb
import polars

texts = ["NULL", "null", "a=b", None, "__HIVE_DEFAULT_PARTITION__"]
duckdb.sql("CREATE TABLE t (v int, j text)")
duckdb.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(texts)))
duckdb.sql("COPY t TO 'd' (FORMAT parquet, PARTITION_BY (j))")
print(f"DuckDB {duckdb.__version__} was given:", list(enumerate(texts)))
print("directories:", sorted(os.listdir("d")))
print("DuckDB reads:", duckdb.sql("SELECT v, j FROM read_parquet('d/*/*.parquet', hive_partitioning = true) ORDER BY v").fetchall())
rows = polars.scan_parquet("d/**/*.parquet", hive_partitioning=True).select("v", "j").sort("v").collect().rows()
print(f"polars {polars.__version__} reads:", rows)
PY
cat seen
diff seen - <<'SEEN'
DuckDB 1.5.5 was given: [(0, 'NULL'), (1, 'null'), (2, 'a=b'), (3, None), (4, '__HIVE_DEFAULT_PARTITION__')]
directories: ['j=NULL', 'j=__HIVE_DEFAULT_PARTITION__', 'j=a%3Db', 'j=null']
DuckDB reads: [(0, None), (1, None), (2, 'a=b'), (3, None)]
polars 2.1.0 reads: [(0, 'NULL'), (1, 'null'), (2, 'a=b'), (3, None)]
SEEN
