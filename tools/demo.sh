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
"$program" diff true.npz "$work/demo.npz" >"$work/table" || status=$?
sed 's/^..//' "$work/table" | awk '$3 ~ /e[-+]/ && $4 + 0 >= worst + 0 { worst = $4; at = $1 }
     END { printf "  largest difference: %s of the row'"'"'s largest value, in %s\n", worst, at }'
tail -n 1 "$work/table" | sed 's/^/  /'
exit $status
