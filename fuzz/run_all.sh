#!/bin/sh
# run_all.sh SECONDS [AT ONCE]: runs the fuzzers that are built, all at once or so many, and says what each did.
#
# TARGETS chooses some. PROGRAMS is where they lie, each by its name or `all` of them in one; OUT takes their logs,
# what they found, and the corpus that they grew. Each fuzzer starts from seeds/ and from what earlier runs left in
# OUT. With more processors than targets each target gets several processes on one corpus.
cd "$(dirname "$0")" || exit 2
seconds=${1:-60}
programs=${PROGRAMS:-target/x86_64-unknown-linux-gnu/release}
out=${OUT:-target/findings}
targets=${TARGETS:-parquet_pages arrow_file parquet_metadata heap_pages copy_binary vcf_lines options}
count=$(echo "$targets" | wc -w)
processors=$(nproc)
at_once=${2:-$processors}
mkdir -p "$out"

# A malloc beyond 2 GB or 20 s for one input are findings; more than 8 GB in all too, which a fuzzer takes by itself in hours. Panics that the readers catch are none.
fuzz() {
    target=$1 number=$2
    program="$programs/$target"
    [ -x "$program" ] || program="$programs/all"
    mkdir -p "$out/corpus/$target" "$out/found/$target"
    TARGET=$target \
    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:abort_on_error=1 \
        "$program" "$out/corpus/$target" "seeds/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=8192 \
        -malloc_limit_mb=2048 -max_len=16384 -reload=1 -print_final_stats=1 -artifact_prefix="$out/found/$target/" \
        > "$out/$target.$number.log" 2>&1
}

running=0
number=0
while [ "$number" = 0 ] || [ "$((number * count + count))" -le "$at_once" ]; do
    for target in $targets; do
        # Waits for the oldest where no more are to run at once.
        [ "$running" -lt "$at_once" ] || { wait; running=0; }
        fuzz "$target" "$number" &
        running=$((running + 1))
    done
    number=$((number + 1))
done
wait

printf '%-18s %10s %14s %9s %9s %8s\n' target processes executions coverage corpus findings
failed=0
for target in $targets; do
    executions=$(grep -h stat::number_of_executed_units "$out/$target".*.log | awk '{sum += $2} END {print sum + 0}')
    coverage=$(grep -hoE 'cov: [0-9]+' "$out/$target".*.log | awk '$2 > most {most = $2} END {print most + 0}')
    corpus=$(find "$out/corpus/$target" -type f | wc -l)
    found=$(find "$out/found/$target" -type f ! -name 'slow-unit-*' | wc -l)
    [ "$found" = 0 ] || failed=1
    printf '%-18s %10s %14s %9s %9s %8s\n' "$target" "$(ls "$out/$target".*.log | wc -l)" "$executions" "$coverage" "$corpus" "$found"
done
find "$out/found" -type f
exit $failed
