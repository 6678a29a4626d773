#!/usr/bin/env bash
# Every test program, and every program that it runs, under valgrind's memcheck: reads and writes outside of
# memory, values that nothing set, memory that is lost. BUILD's programs are run as they are; valgrind has no
# AVX-512, so the kernels for narrower vectors are chosen.
#
#   tests/valgrind.sh BUILD JOBS [TEST...]     TEST: names like test_json; none: all of them; "quick": all
#                                              but those that compute much, which are named
set -euo pipefail
build=$1 jobs=$2
shift 2

# The model and its kernels over many shapes: half a minute to minutes each here. The readers, the comparator and the
# command line are all among the others.
slow="test_bench test_bits test_diagnose test_elementary test_exp test_fast test_feeding test_golden test_model test_ops
      test_peak test_product test_taps test_towers test_decisions test_resample"

all=$(cd tests && printf '%s\n' test_*.c | sed 's/\.c$//')
if [ "${1-}" = quick ]; then
    left_out=$(comm -12 <(echo "$all" | sort) <(echo $slow | tr ' ' '\n' | sort) | tr '\n' ' ')
    set -- $(comm -23 <(echo "$all" | sort) <(echo $slow | tr ' ' '\n' | sort))
    echo "valgrind: LEFT OUT of the quick run, make valgrind has them: $left_out"
elif [ $# = 0 ]; then
    set -- $all
fi

check="valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible"
program=$build/llava-ref-checked
printf '#!/bin/sh\nexec %s %s "$@"\n' "$check" "$PWD/$build/llava-ref" >"$program"
chmod +x "$program"

export check program build
printf '%s\n' "$@" | xargs -P "$jobs" -I{} bash -c '
    begun=$SECONDS status=0
    said=$(LLAVA_REF=$program $check $build/tests/{} 2>&1) || status=$?
    printf "== %s, %s s\n%s\n" {} $((SECONDS - begun)) "$said"
    exit $status' || { echo "make valgrind: test programs failed, see above"; exit 1; }
echo "make valgrind: $# test programs, nothing found"
