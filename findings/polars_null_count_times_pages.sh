#!/usr/bin/env bash
# polars 1.44.2 states a column chunk's null_count as the NULLs times the number of its pages (2.0.0 counts them once).
#
# One would guess: statistics of a mature writer may be lacking, but are true, so that a reader may leave out a row group
# that has as many NULLs as rows.
# Seen: of 1,000 rows, 500 of them NULL, in two pages, null_count is 1,000 beside a min and a max. DuckDB, pyarrow's
# datasets, DataFusion and polars itself then find none of the other 500 rows by IS NOT NULL, without an error.
#
# Prints what each reader finds; exits with 1 where that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check polars==1.44.2 duckdb==1.5.5 pyarrow==26.0.1 datafusion==55.0.0
cd "$place"
venv/bin/python - > seen <<'PY'
import datafusion
import duckdb
import polars
import pyarrow.dataset
import pyarrow.parquet

values = polars.DataFrame({"v": [None if i % 2 == 0 else i for i in range(1000)]})
values.write_parquet("values.parquet", data_page_size=4000)
stated = pyarrow.parquet.read_metadata("values.parquet").row_group(0).column(0).statistics
print(f"polars {polars.__version__}: {values['v'].null_count()} of 1000 rows are NULL; stated are null_count {stated.null_count}, min {stated.min}, max {stated.max}")
print("DuckDB, IS NOT NULL:", duckdb.sql("SELECT count(*) FROM 'values.parquet' WHERE v IS NOT NULL").fetchone()[0],
      "by count(v):", duckdb.sql("SELECT count(v) FROM 'values.parquet'").fetchone()[0])
field = pyarrow.dataset.field("v")
print("pyarrow, is_valid:", pyarrow.dataset.dataset("values.parquet").count_rows(filter=field.is_valid()))
context = datafusion.SessionContext()
context.register_parquet("t", "values.parquet")
print("DataFusion, IS NOT NULL:", context.sql("SELECT count(*) AS n FROM t WHERE v IS NOT NULL").to_pydict()["n"][0])
found = polars.scan_parquet("values.parquet").filter(polars.col("v").is_not_null()).select(polars.len()).collect().item()
print("polars, is_not_null:", found)
PY
cat seen
diff seen - <<'SEEN'
polars 1.44.2: 500 of 1000 rows are NULL; stated are null_count 1000, min 1, max 999
DuckDB, IS NOT NULL: 0 by count(v): 500
pyarrow, is_valid: 0
DataFusion, IS NOT NULL: 0
polars, is_not_null: 0
SEEN
