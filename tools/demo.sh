#!/bin/sh
# make demo: one question to the demo model, its stages, and how far they are from transformers.
set -eu
program=$1
case "$program" in /*) ;; *) program=$(pwd)/$program ;; esac
golden=golden/demo-chat
question=$(sed -n '/"--chat"/{n;s/^ *"\(.*\)",*$/\1/p;}' $golden/case.json)
picture=$(sed -n '/"--image"/{n;s/^ *"\(.*\)",*$/\1/p;}' $golden/case.json)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

cd $golden
echo "picture:  golden/${picture#../}"
echo "question: $question"
printf 'answer:   '
"$program" run --model ../demo/model --image "$picture" --chat "$question" --generate 24 \
    --dump "$work/demo.npz" --hash "$work/hashes" | sed '/^$/d'

echo
echo "stages (float64), with the SHA-256 of each:"
awk '$2 !~ /^step\./ && ($2 !~ /layers\./ || $2 ~ /layers\.[0-9]+\.output$/) {
         printf "  %-28s %-5s %-16s %.16s\n", $2, $3, $4, $1 }' "$work/hashes"

echo
echo "against transformers' own activations (golden/demo-chat/true.npz, true float64):"
status=0
"$program" diff true.npz "$work/demo.npz" --json "$work/diff.json" >"$work/table" || status=$?
awk '/"name"/ { name = $2 } /"rel_max"/ { gsub(/,/, "", $2); if ($2 + 0 >= worst + 0) { worst = $2; at = name } }
     END { gsub(/[",]/, "", at); printf "  largest difference: %.2g of the row'"'"'s largest value, in %s\n", worst, at }' \
    "$work/diff.json"
tail -n 1 "$work/table" | sed 's/^/  /'
exit $status
