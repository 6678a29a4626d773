#!/bin/sh
# What wrong decisions do to the demo model: one line each, with the relative L2 error at a tensor and at
# the logits of the prompt, and the answer.
#
#   sh docs/book/try.sh TAP DECISION=VALUE ...      PICTURE, QUESTION and DTYPE may be set
set -eu
tap=$1
shift
picture=${PICTURE:-golden/demo/pictures/0-red-triangle-red-triangle-yellow-square.png}
question=${QUESTION:-What is in the picture?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

ask() { # ask FILE.npz OPTION...: dumps the two tensors, prints the answer
    file=$1
    shift
    build/llava-ref run --model golden/demo/model --image "$picture" --chat "$question" \
        --generate 24 --taps "$tap,logits" --dump "$file" "$@"
}

error() { # of one tensor: the third column of diff's table behind its mark
    build/llava-ref diff "$work/right.npz" "$work/wrong.npz" --taps "$1" 2>&1 |
        awk -v tap="$1" '{ sub(/^> /, ""); if ($1 == tap) print $3 }'
}

answer=$(ask "$work/right.npz")
printf "%-31s %-${#tap}s %-7s %s\n" decision "$tap" logits answer
printf "%-31s %-${#tap}s %-7s %s\n" - 0 0 "$answer"
for decision; do
    answer=$(ask "$work/wrong.npz" --set "$decision" ${DTYPE:+--dtype "$DTYPE"})
    printf "%-31s %-${#tap}s %-7s %s\n" "$decision" "$(error "$tap")" "$(error logits)" "$answer"
    rm "$work/wrong.npz"
done
