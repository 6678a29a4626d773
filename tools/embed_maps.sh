#!/bin/sh
# Writes the C file that carries the name maps given as arguments inside the program:
#     sh tools/embed_maps.sh tools/maps/*.json > build/tools/maps.c
set -eu
echo '/* Made by tools/embed_maps.sh from tools/maps/: do not edit. */'
echo '#include "tools/map.h"'
n=0
for file in "$@"; do
    echo "static const unsigned char map_$n[] = {"
    od -An -v -tu1 "$file" | sed -e 's/  */ /g' -e 's/ *$//' -e 's/\([0-9]\) /\1, /g' -e 's/$/,/'
    echo '};'
    n=$((n + 1))
done
echo 'const llava_built_in_map llava_built_in_maps[] = {'
n=0
for file in "$@"; do
    echo "    {\"$(basename "$file" .json)\", map_$n, sizeof map_$n},"
    n=$((n + 1))
done
echo '    {0},'
echo '};'
