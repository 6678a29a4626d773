#!/bin/sh
# How far runs of the demo model in shorter types are from the one in float64, tensor by tensor.
#   sh docs/book/drift.sh TAP ...
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
for type in f64 f32 f16 bf16; do
    build/llava-ref run --model golden/demo/model --chat "What is in the picture?" --dtype "$type" --dump "$work/$type.npz" \
        --image golden/demo/pictures/0-red-triangle-red-triangle-yellow-square.png --taps "$(echo "$@" | tr ' ' ,)" 2>/dev/null >&2
done
printf '%-28s %-10s %-10s %s\n' '' f32 f16 bf16
for tap; do
    printf '%-28s' "$tap"
    for type in f32 f16 bf16; do
        build/llava-ref diff "$work/f64.npz" "$work/$type.npz" --taps "$tap" |
            awk -v tap="$tap" '{ sub(/^> /, ""); if ($1 == tap) printf " %s   ", $3 }' || true
    done
    echo
done
