#!/usr/bin/env bash
# Every test program, and every program that it runs, under valgrind's memcheck: reads and writes outside of
# memory, values that nothing set, memory that is lost. BUILD's programs are run as they are; valgrind has no
# AVX-512, so the kernels for narrower vectors are chosen.
#
#   tests/valgrind.sh BUILD JOBS [TEST...]     TEST: names like test_json; none: all of them; "quick": those
#                                              that compute little; the others are named
set -euo pipefail
build=$1 jobs=$2
shift 2

# The comparator, the bounds, readers, smaller commands: about a minute of CPU, and seen to be clean. Among the others
# are the model's arithmetic over many shapes and programs that run the program hundreds of times: many minutes.
quick="test_bounds test_chat test_checkpoint test_compare test_config test_counting test_diff test_explain test_file
       test_fuzz test_inspect test_inspect_png test_interrupt test_jpeg test_json test_limits test_llava_dump test_map
       test_npz test_sha256 test_verdicts"

all=$(cd tests && printf '%s\n' test_*.c | sed 's/\.c$//' | sort)
if [ "${1-}" = quick ]; then
    set -- $quick
    echo "valgrind: LEFT OUT of the quick run (make valgrind has them):" $(comm -23 <(echo "$all") <(printf '%s\n' $quick | sort))
elif [ $# = 0 ]; then
    set -- $all
fi

# libjpeg-turbo's vector code is assembly that works on more bytes than are set; its C code gives the same pictures.
export JSIMD_FORCENONE=1
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
