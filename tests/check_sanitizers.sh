#!/bin/sh
# Does each sanitizer of SANITIZE=1 really end the program? One planted fault each, compiled with the same flags.
#
#   tests/check_sanitizers.sh COMPILER FLAGS...
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# finds NAME WORD STATEMENTS: they must end the program with a report that says WORD
finds() {
    name=$1 word=$2 body=$3
    printf '#include <stdlib.h>\nint main(int n, char **w)\n{\n    (void)w;\n    %s\n}\n' "$body" >"$work/planted.c"
    $compile -o "$work/planted" "$work/planted.c"
    if "$work/planted" 2>"$work/report"; then
        echo "sanitizers: a planted $name was not found"
        exit 1
    fi
    grep -q "$word" "$work/report" || { cat "$work/report"; exit 1; }
}

compile=$*
finds "read outside" heap-buffer-overflow 'char *p = calloc(4, 1); int x = p[n + 3]; free(p); return x;'
finds "leak" "detected memory leaks" 'char *volatile p = malloc((size_t)n); p = NULL; return p != NULL;'
finds "signed overflow" "signed integer overflow" 'volatile int most = 0x7fffffff; return most + n == 0;'
finds "cast out of range" "outside the range" 'volatile double big = 1e30; return (int)(big * n);'
echo "sanitizers: a read outside, a leak, an overflow and a cast out of range are each found"
