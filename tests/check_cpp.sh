#!/bin/sh
# tools/llava_dump.h compiles as C++11 and newer without a warning and writes what it writes as C.
# Needs a C++ compiler (CXX, default g++), which nothing else here does. Run at the top level.
set -eu
CXX=${CXX:-g++} CC=${CC:-gcc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
warnings="-Wall -Wextra -Wconversion -Wshadow -pedantic -Werror"
$CC -x c -std=c11 $warnings -I. -o "$work/c" tests/llava_dump_cpp.cpp
"$work/c" "$work/from-c"
for standard in c++11 c++17 c++20; do
    $CXX -x c++ -std=$standard $warnings -I. -o "$work/$standard" tests/llava_dump_cpp.cpp
    "$work/$standard" "$work/from-$standard"
    diff -r "$work/from-c" "$work/from-$standard"
done
test "$(ls "$work/from-c" | wc -l)" -eq 8
echo "check_cpp: llava_dump.h as C++11, C++17 and C++20 writes the same 8 files as C"
