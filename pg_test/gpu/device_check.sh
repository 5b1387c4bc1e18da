#!/usr/bin/env bash
# Everything that needs a GPU, in less than ten minutes and one table.
#
#   pg_test/gpu/device_check.sh FOLDER [SECTION...]
#
# FOLDER is what pack.sh made. Sections: check (gpu_check: golden bytes, rates, faults), sanitize
# (compute-sanitizer's memcheck, racecheck and synccheck on small slots), server (the extension on
# PostgreSQL 18: pg_test/gpu_service beside each other, then gpu/test_extension.py), sql (gpu_service/test_query.py, then
# gpu/test_sql.py: SQL on columns by GPU, CPU and PostgreSQL; SCALE: TPC-H's scale factor). Without one named, all of them but sql.
# GIGABYTES: how much each rate moves.
# OUT: a folder for the logs. The exit status is 1 when a line of the table failed.
set -uo pipefail
folder=$(realpath "${1:?usage: device_check.sh FOLDER [SECTION...]}")
shift
sections=${*:-check sanitize server}
logs=${OUT:-$(mktemp -d)}
budget=${BUDGET:-570}
started=$SECONDS
work=/var/tmp/pg_strata_device
lines=$logs/table
: > "$lines"
failed=0
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

left() { echo $((budget - (SECONDS - started))); }

# line WHAT RESULT NOTE
line() {
    printf '%s\t%s\t%s\n' "$1" "$2" "$3" >> "$lines"
    [ "$2" != FAILED ] || failed=1
}

# step NAME SECONDS COMMAND...: runs with a limit, keeps the log, gives the command's status.
step() {
    local name=$1 limit=$2 log="$logs/$1.log" status begin=$SECONDS
    shift 2
    [ "$limit" -le "$(left)" ] || limit=$(left)
    if [ "$limit" -lt 5 ]; then
        line "$name" FAILED "no time left"
        return 99
    fi
    echo "== $name (at most $limit s): $*"
    timeout --kill-after=5 "$limit" "$@" > "$log" 2>&1
    status=$?
    echo "== $name: status $status after $((SECONDS - begin)) s"
    return $status
}

where_nvrtc_is() {
    ldconfig -p | grep -q 'libnvrtc\.so\.13' && return
    local found
    found=$(find /usr/local /opt /usr/lib -name 'libnvrtc.so.13*' 2>/dev/null | head -1)
    [ -z "$found" ] || export PG_STRATA_NVRTC=$(dirname "$found")
}

# Where there is one to try: for gpu_check and test_extension.
where_nvcomp_is() {
    [ -f "$folder/libnvcomp.so.6.xz" ] || return
    export PG_STRATA_NVCOMP=$work/libnvcomp.so.6
    python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), open(sys.argv[2], "wb"))' "$folder/libnvcomp.so.6.xz" "$PG_STRATA_NVCOMP"
    chmod 644 "$PG_STRATA_NVCOMP"
}

machine() {
    local gpu
    gpu=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>&1 | paste -sd';')
    line machine "$(nproc) cores" "$gpu; $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs); kernel $(uname -r); $(ldd --version | head -1 | awk '{print $NF}'); NVRTC ${PG_STRATA_NVRTC:-by the linker}"
}

check() {
    step gpu_check 330 "$folder/gpu_check" all --cache "$work/cache" --gigabytes "${GIGABYTES:-16}"
    local status=$?
    cat "$logs/gpu_check.log"
    if grep -q '^gpu_check: ' "$logs/gpu_check.log"; then
        awk -F' \\| ' '/^gpu_check +\|/ {on = 1; next} /^-+\|/ {next} /^gpu_check: / {on = 0}
            on {gsub(/ +$/, "", $1); gsub(/^ +| +$/, "", $2); print $1 "\t" $2 "\t" $3}' "$logs/gpu_check.log" >> "$lines"
        [ $status = 0 ] || failed=1
    else
        line gpu_check FAILED "status $status: $(tail -1 "$logs/gpu_check.log")"
    fi
}

sanitize() {
    local tool status sanitizer
    sanitizer=$(command -v compute-sanitizer || find /usr/local/cuda*/bin /opt -name compute-sanitizer -type f 2>/dev/null | head -1)
    [ -n "$sanitizer" ] || { line compute-sanitizer FAILED "not found"; return; }
    for tool in memcheck racecheck synccheck; do
        local more=""
        [ $tool = memcheck ] && more="--leak-check no"
        # shellcheck disable=SC2086
        # Other people's kernels are not looked at.
        PG_STRATA_NVCOMP='' step "$tool" 120 "$sanitizer" --tool $tool $more --error-exitcode 9 --print-limit 10 "$folder/gpu_check" small --cache "$work/cache"
        status=$?
        local summary
        summary=$(grep -E 'ERROR SUMMARY|RACECHECK SUMMARY' "$logs/$tool.log" | tail -1 | sed 's/=* *//')
        if [ $status = 0 ]; then
            line "compute-sanitizer $tool" ok "$summary; $(grep -m1 '^\.\.\. GPU' "$logs/$tool.log" | cut -c5-)"
        else
            line "compute-sanitizer $tool" FAILED "status $status; $summary"
            grep -vE '^\.\.\.' "$logs/$tool.log" | head -60
        fi
    done
}

# place NAME: a copy of the tests with a target folder of its own, so that several can run beside each other.
place() {
    rm -rf "${work:?}/$1"
    mkdir -p "$work/$1/target"
    cp -r "$folder/pg_test" "$folder/Cargo.toml" "$work/$1/"
    python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$folder/pg18.tar.xz" "$work/$1/target"
}

# tests NAME FILE...: pytest with the extension, in a place of its own; the status in NAME.status.
tests() {
    local name=$1
    shift
    place "$name" && step "$name" "${SERVER_SECONDS:-300}" env -C "$work/$name" python3 -m pytest -q --maxfail=5 -p no:cacheprovider "$@"
    echo $? > "$logs/$name.status"
}

# prepare: what tests with the extension need; false without it.
prepare() {
    [ -f "$folder/pg18.tar.xz" ] || { line "extension" skipped "no pg18.tar.xz in the folder"; return 1; }
    umask 022
    if [ -d "$folder/wheels" ]; then
        python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$work/site" "$folder"/wheels/*.whl
        export PYTHONPATH="$work/site${PYTHONPATH:+:$PYTHONPATH}"
    fi
    # Tests that need a real GPU run when this is set. PG_STRATA_NVRTC, where set, is for the servers.
    export PG_STRATA_TEST_GPU=1 PGS=18
    # A test that measures appends a line of its own to the table: what, result, note, tabs between them.
    export PG_STRATA_TABLE=$lines
}

# summary NAME: a line of what pytest said.
summary() {
    local name=$1 summary
    summary=$(grep -E '(passed|failed|error|skipped).* in ' "$logs/$name.log" | tail -1)
    if [ "$(cat "$logs/$name.status")" = 0 ]; then
        line "$name on PostgreSQL 18" ok "$summary"
    else
        tail -60 "$logs/$name.log"
        line "$name on PostgreSQL 18" FAILED "status $(cat "$logs/$name.status"): $summary"
    fi
}

sql() {
    prepare || return
    tests test_query pg_test/gpu_service/test_query.py
    summary test_query
    tests test_sql pg_test/gpu/test_sql.py
    summary test_sql
}

server() {
    prepare || return
    local file name names=""
    # What measures runs alone, behind the others.
    for file in "$folder"/pg_test/gpu_service/test_*.py; do
        [ -f "$file" ] || continue
        name=$(basename "$file" .py)
        if [ "$name" = test_encode ]; then
            # By far the longest: in two halves.
            names="$names lines"
            tests lines "pg_test/gpu_service/$name.py" -k test_lines &
            tests "$name" "pg_test/gpu_service/$name.py" -k "not test_lines" &
        else
            tests "$name" "pg_test/gpu_service/$name.py" &
        fi
        names="$names $name"
    done
    wait
    tests test_extension pg_test/gpu/test_extension.py
    for name in $names test_extension; do
        summary "$name"
    done
}

mkdir -p "$work"
chmod 755 "$work" 2>/dev/null
where_nvrtc_is
where_nvcomp_is
machine
for section in $sections; do
    case $section in
        check | sanitize | server | sql) "$section" ;;
        *) line "$section" FAILED "no such section" ;;
    esac
done
line "seconds in all" "$((SECONDS - started))" ""
echo
awk -F'\t' '{if (length($1) > a) a = length($1); if (length($2) > b) b = length($2); w[NR] = $1; r[NR] = $2; n[NR] = $3}
    END {for (i = 1; i <= NR; i++) printf "%-" a "s | %" b "s | %s\n", w[i], r[i], n[i]}' "$lines"
[ $failed = 0 ] && echo "device_check: ok" || echo "device_check: FAILED"
exit $failed
