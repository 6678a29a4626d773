#!/usr/bin/env bash
# Fuzzes the readers of files (tests/fuzz/targets.c), each from seeds taken out of golden/ and tests/data, with
# its dictionary, under the address and undefined-behaviour sanitizers.
#
#   tests/fuzz/run.sh SECONDS [TARGET ...]          libFuzzer, SECONDS for each target
#   AFL=1 tests/fuzz/run.sh SECONDS [TARGET ...]    AFL++ on the same functions
#
# libFuzzer's random numbers begin with FUZZ_SEED (1): CI walks a known way a little, another seed goes on.
#
# Exit status 1 where anything was found; the input stays in build-fuzz/found/TARGET. Once the fault is
# mended it moves to tests/fuzz/found/TARGET, where `make test` replays it for ever.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:?"usage: tests/fuzz/run.sh SECONDS [TARGET ...]"}
shift
small=-DLLAVA_MAX_PIXELS=1000000
build=build-fuzz
if [ "${AFL:-0}" = 1 ]; then
    build=build-afl
    export AFL_QUIET=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_UI=1 AFL_USE_ASAN=1 AFL_USE_UBSAN=1
    make -s -j2 BUILD=$build CC=afl-clang-fast CFLAGS="-O1 -g $small" FUZZER=-fsanitize=fuzzer $build/fuzz >/dev/null
else
    make -s -j2 BUILD=$build CC=clang \
        CFLAGS="-O1 -g $small -fsanitize=fuzzer-no-link,address,undefined,float-cast-overflow -fno-sanitize-recover=all" \
        $build/fuzz >/dev/null
fi

# All targets are those with a dictionary: every target has one.
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(basename -s .dict tests/fuzz/dictionaries/*.dict)

# Seeds: small real files of the kind that the target reads.
seeds() {
    local target=$1 folder=$2 pattern
    case $target in
    json | config) pattern='config.json' ;;
    index) pattern='model.safetensors.index.json' ;;
    safetensors) pattern='*.safetensors' ;;
    processor) pattern='pr*processor_config.json' ;;
    tokenizer) pattern='tokenizer.json' ;;
    text) pattern='case.json' ;;
    template) pattern='chat_template.j*' ;;
    png | exif) pattern='*.png' ;;
    jpeg) pattern='*.jp*g' ;;
    npz | inputs | diff | inspect) pattern='inputs.npz' ;;
    messages) pattern='messages*.json' ;;
    *) pattern='' ;;
    esac
    mkdir -p "$folder"
    if [ -n "$pattern" ]; then
        find golden tests -name "$pattern" -size -64k -type f | while read -r file; do
            cp "$file" "$folder/$(sha256sum "$file" | cut -c1-16)"
        done
    fi
    case $target in
    map) cp tools/maps/*.json "$folder" ;;
    inspect | draw | diagnose) cp tests/fuzz/seeds/{diff,draw,diagnose}/* "$folder" ;;
    folder) model_folders "$folder" ;;
    esac
    for own in tests/fuzz/{seeds,found}/"$target"; do
        [ ! -d "$own" ] || cp -r "$own"/. "$folder"
    done
}

# Whole model folders, each as one file: "=== NAME" and a line end before every text.
model_folders() {
    local tokenizer model file
    find golden -path '*/model/tokenizer.json' | while read -r tokenizer; do
        model=$(dirname "$tokenizer")
        for file in "$model"/*.json "$model"/*.jinja "$model"/../tower/config.json; do
            [ -f "$file" ] || continue
            case $file in */../tower/*) printf '=== tower/config.json\n' ;; *) printf '=== %s\n' "$(basename "$file")" ;; esac
            cat "$file"
        done >"$1/$(echo "$model" | cut -d/ -f2)"
    done
}

# One target; status 1 where something was found, 2 where the fuzzer did not run.
fuzz_one() {
    local target=$1 corpus=$build/corpus/$1 crashes=$build/found/$1 log=$build/log-$1 runs count
    mkdir -p "$crashes"
    seeds "$target" "$corpus"
    export FUZZ_TARGET=$target
    if [ "${AFL:-0}" = 1 ]; then
        rm -rf "$build/out/$target"
        mkdir -p "$build/out"
        timeout $((seconds + 60)) afl-fuzz -V "$seconds" -t 5000 -m none -i "$corpus" -o "$build/out/$target" \
            -x "tests/fuzz/dictionaries/$target.dict" -- $build/fuzz >"$log" 2>&1 || true
        runs=$(sed -n 's/^execs_done *: //p' "$build/out/$target/default/fuzzer_stats" 2>/dev/null || true)
        find "$build/out/$target/default" -path '*/crashes/id*' -exec cp {} "$crashes" \; \
            -o -path '*/hangs/id*' -exec cp {} "$crashes" \; 2>/dev/null || true
    else
        $build/fuzz -seed="${FUZZ_SEED:-1}" -max_total_time="$seconds" -timeout=60 -report_slow_units=60 -rss_limit_mb=3000 -max_len=65536 -print_final_stats=1 \
            -dict="tests/fuzz/dictionaries/$target.dict" -artifact_prefix="$crashes/" "$corpus" >"$log" 2>&1 || true
        runs=$(sed -n 's/^stat::number_of_executed_units: //p' "$log")
    fi
    if [ -z "$runs" ] || [ "$runs" -eq 0 ]; then
        echo "$target: the fuzzer did not run"
        tail -20 "$log"
        return 2
    fi
    count=$(find "$crashes" -type f | wc -l)
    printf '%-12s %10s runs, %s found\n' "$target" "$runs" "$count"
    if [ "$count" -gt 0 ]; then
        grep -E 'ERROR|SUMMARY|runtime error|^fuzz:' "$log" | head -5 || true
        ls "$crashes"
        return 1
    fi
}
export -f fuzz_one seeds model_folders
export build seconds

printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -euo pipefail -c 'fuzz_one {}'
