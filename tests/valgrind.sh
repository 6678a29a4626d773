#!/usr/bin/env bash
# Every test program, and every program that it runs, under valgrind's memcheck: reads and writes outside of
# memory, values that nothing set, memory that is lost. BUILD's programs are run as they are; valgrind has no
# AVX-512, so the kernels for narrower vectors are chosen.
#
#   tests/valgrind.sh BUILD JOBS [TEST...]     TEST: names like test_json; none: all of them
#   tests/valgrind.sh BUILD JOBS quick         all of them in minutes: the shortest sweeps (LLAVA_TESTS=short), and of
#                                              those that run the program often, one run in sixteen is watched
set -euo pipefail
build=$1 jobs=$2
shift 2

# They run the program often, a second each under valgrind. The longest first.
often="test_cli test_outputs test_feeding test_attacks test_draw test_original test_help test_near_tie test_published test_run_json"
# Not here: what needs the processor's or the clock's own ways.
apart="test_number test_progress"
echo "valgrind: LEFT OUT: test_number sets flush-to-zero, which valgrind has not; test_progress holds lines against the clock"
all=$(cd tests && printf '%s\n' test_*.c | sed 's/\.c$//' | sort)
part=1
if [ "${1-}" = quick ]; then
    part=16
    export LLAVA_TESTS=short
fi
if [ $# = 0 ] || [ "$1" = quick ]; then
    set -- test_diagnose $often $(comm -23 <(echo "$all") <(printf '%s\n' test_diagnose $often $apart | sort))
fi

# libjpeg-turbo's vector code is assembly that works on more bytes than are set; its C code gives the same pictures.
export JSIMD_FORCENONE=1
check="valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible"

# What the tests take for the program: watches it, or one run in $part, chosen by the words without their folders.
program=$build/llava-ref-checked
cat >"$program" <<END
#!/bin/sh
words=\$(printf '%s\n' "\$@" | sed 's|.*/||' | cksum)
# valgrind writes files of its own
[ "\$(ulimit -f)" = unlimited ] && [ \$((\${words%% *} % part)) = 0 ] || exec "$PWD/$build/llava-ref" "\$@"
exec $check "$PWD/$build/llava-ref" "\$@"
END
chmod +x "$program"

export check program build often part
printf '%s\n' "$@" | xargs -P "$jobs" -I{} bash -c '
    begun=$SECONDS status=0
    case " $often " in *" {} "*) ;; *) export part=1 ;; esac
    said=$(LLAVA_REF=$program $check $build/tests/{} 2>&1) || status=$?
    printf "== %s, %s s\n%s\n" {} $((SECONDS - begun)) "$said"
    [ $status = 0 ] || echo "FAILED: {} ends with status $status"
    exit $((status != 0))' || { echo "make valgrind: test programs failed, see above"; exit 1; }
echo "make valgrind: $# test programs, nothing found"
