#!/usr/bin/env bash
# DataFusion 55.0.0 leaves out rows with NaN by a column's max, though NaN is greater than every number to it.
#
# One would guess: an engine that orders NaN above all numbers does not leave out a row group by a max, which by Parquet's
# rules does not count NaN (parquet.thrift, ColumnOrder).
# Seen: of 1, 2 and NaN in a file that states the max 2, x > 1000000 is true of one row in the list of columns, and of none
# in WHERE.
#
# Prints both; exits with 1 where that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check datafusion==55.0.0 pyarrow==26.0.1
cd "$place"
venv/bin/python - > seen <<'PY'
import datafusion
import pyarrow
import pyarrow.parquet

pyarrow.parquet.write_table(pyarrow.table({"x": [1.0, 2.0, float("nan")]}), "x.parquet")
print("stated: max", pyarrow.parquet.read_metadata("x.parquet").row_group(0).column(0).statistics.max)
context = datafusion.SessionContext()
context.register_parquet("t", "x.parquet")
ask = lambda query: context.sql(query).to_pydict()["n"][0]
print(f"DataFusion {datafusion.__version__}: rows by sum(x > 1000000):", ask("SELECT sum(CAST(x > 1000000 AS INT)) AS n FROM t"))
print("rows by WHERE x > 1000000:", ask("SELECT count(*) AS n FROM t WHERE x > 1000000"))
PY
cat seen
diff seen - <<'SEEN'
stated: max 2.0
DataFusion 55.0.0: rows by sum(x > 1000000): 1
rows by WHERE x > 1000000: 0
SEEN
