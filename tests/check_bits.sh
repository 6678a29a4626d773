#!/usr/bin/env bash
# The same bits everywhere: builds the program with every compiler, optimisation level and architecture
# that is at hand and holds the SHA-256 of every tap of every golden case against tests/bits.txt, the
# elementary functions against their exact vectors. `make bits` runs it whole.
#
#   tests/check_bits.sh                 everything; what is missing is installed where it may be, and
#                                       named and failed where not: nothing is skipped
#   tests/check_bits.sh NAME ...        only the rows of these names
#   tests/check_bits.sh --list          the names
#
# The other architectures run under QEMU's user mode. Debian's packages of that architecture are
# unpacked below build-bits/, not installed.
set -euo pipefail
cd "$(dirname "$0")/.."

export LLAVA_TESTS="" # emulated, the long sweeps would take minutes; natively they are make test's
root=build-bits
programs=(test_bits test_elementary test_many test_product test_number)

# name | compiler | flags | how it runs ("" here) | environment
rows=(
    "gcc -O0|gcc|-O0||"
    "gcc -O2|gcc|-O2 -g||"
    "gcc -O3 -march=native|gcc|-O3 -march=native||"
    "clang -O0|clang|-O0||"
    "clang -O2|clang|-O2||"
    "clang -O3 -march=native|clang|-O3 -march=native||"
    "a decimal comma|gcc|-O2 -g||LC_ALL=de_DE.UTF-8"
    "another heap|gcc|-O2 -g||MALLOC_PERTURB_=165 MALLOC_ARENA_MAX=1"
    "x86-64 with AVX2, without AVX-512|gcc|-O2 -g|qemu-x86_64 -cpu Haswell|"
    "x86-64 with SSE2 alone|gcc|-O2 -g|qemu-x86_64 -cpu Nehalem|"
    "aarch64|aarch64-linux-gnu-gcc|-O2|qemu-aarch64|"
    "aarch64, pages of 64 KiB|aarch64-linux-gnu-gcc|-O2|qemu-aarch64 -p 65536|"
    "s390x, big-endian|s390x-linux-gnu-gcc|-O2|qemu-s390x|"
)

names() { for row in "${rows[@]}"; do echo "${row%%|*}"; done; }

wanted=("$@")
[ $# -gt 0 ] || mapfile -t wanted < <(names)
if [ "${wanted[0]}" = --list ]; then
    names
    exit 0
fi

# Installs Debian packages that are not there.
need() {
    local missing=() package
    for package in "$@"; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" != 0 ]; then
        echo "check_bits: not root; please run: sudo apt-get install ${missing[*]}" >&2
        exit 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
}

# Unpacks the libraries that the program is built from, for another architecture, below its folder.
unpack() {
    local arch=$1 folder=$2 libraries
    [ -e "$folder/ready" ] && [ "$(cat "$folder/ready")" = "$(make -s print-libraries)" ] && return
    dpkg --print-foreign-architectures | grep -qx "$arch" || dpkg --add-architecture "$arch"
    apt-get update -qq
    mapfile -t libraries < <(make -s print-libraries | tr ' ' '\n' | grep -v '^libc6-dev$' | sed "s/\$/:$arch/")
    mapfile -t libraries < <(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
        --no-breaks --no-replaces --no-enhances "${libraries[@]}" |
        grep -E "^[a-z0-9.+-]+:$arch\$" | grep -vE '^(libc6|libc-|libgcc|gcc-|linux-|libcrypt|dpkg|perl|tar|libpcre|libselinux|libacl)' | sort -u)
    rm -rf "$folder"
    mkdir -p "$folder/packages"
    (cd "$folder/packages" && apt-get download -qq "${libraries[@]}" 2>/dev/null)
    for package in "$folder"/packages/*.deb; do
        dpkg -x "$package" "$folder"
    done
    rm -r "$folder/packages"
    make -s print-libraries >"$folder/ready"
}

# First every build, then every program of every row, as many at a time as there are processors.
results=$root/results
rm -rf "$results"
mkdir -p "$results"
chosen=() tasks=()
for row in "${rows[@]}"; do
    IFS='|' read -r name compiler flags runner environment <<<"$row"
    printf '%s\n' "${wanted[@]}" | grep -qxF -- "$name" || continue
    build=$root/$(echo "$compiler$flags" | tr -c 'a-zA-Z0-9\n' _)
    make_words=(CC="$compiler" CFLAGS="$flags" BUILD="$build")
    # as `make` builds it anyway
    if [ "$compiler $flags" = "gcc -O2 -g" ] && [ "$(realpath "$(command -v cc)")" = "$(realpath "$(command -v gcc)")" ]; then
        build=build make_words=()
    fi
    run=()
    case $compiler in
    *-linux-gnu-gcc)
        triplet=${compiler%-gcc}
        arch=${triplet%%-*}
        arch=${arch/aarch64/arm64}
        need "gcc-${triplet}" qemu-user pkg-config
        unpack "$arch" "$root/$arch"
        folder=$PWD/$root/$arch
        export PKG_CONFIG_LIBDIR=$folder/usr/lib/$triplet/pkgconfig:$folder/usr/share/pkgconfig
        export PKG_CONFIG_SYSROOT_DIR=$folder
        libraries=$folder/usr/lib/$triplet:$folder/lib/$triplet
        make_words+=(CFLAGS="$flags -I$folder/usr/include/$triplet")
        make_words+=(LDFLAGS="-L${libraries%%:*} -L${libraries##*:} -Wl,-rpath-link,$libraries")
        run=($runner -L "/usr/$triplet" -E "LD_LIBRARY_PATH=$libraries")
        ;;
    *)
        unset PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR
        need "$compiler"
        if [ -n "$runner" ]; then
            need qemu-user
            run=($runner)
        fi
        ;;
    esac
    case $environment in
    LC_ALL=*)
        need locales
        mkdir -p $root/locale
        locale=${environment#LC_ALL=}
        [ -d "$root/locale/$locale" ] || localedef -i "${locale%%.*}" -f UTF-8 "$root/locale/$locale"
        environment+=" LOCPATH=$PWD/$root/locale"
        [ "$(env $environment printf '%.1f' 0,5)" = "0,5" ] || { echo "check_bits: no decimal comma"; exit 1; }
        ;;
    esac
    make -s -j2 "${make_words[@]}" "${programs[@]/#/$build/tests/}" >/dev/null
    for program in "${programs[@]}"; do
        said=$results/${#chosen[@]}.$program
        # shellcheck disable=SC2086 # the environment is words
        tasks+=("$(printf '%q ' env $environment "${run[@]}" "$build/tests/$program") >$said 2>&1 || mv $said $said.failed")
    done
    chosen+=("$name")
done
[ ${#chosen[@]} -gt 0 ] || { echo "check_bits: no row of that name (--list)"; exit 2; }
printf '%s\0' "${tasks[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c

failed=0
for i in "${!chosen[@]}"; do
    verdict="the same"
    for program in "${programs[@]}"; do
        said=$results/$i.$program
        if [ -e "$said.failed" ]; then
            verdict="OTHER BITS ($program)"
            failed=1
            grep -E 'other bits|ERROR|FAILED' "$said.failed" | head -5 || tail -3 "$said.failed"
        elif ! grep -q PASSED "$said"; then
            verdict="NOT RUN ($program)"
            failed=1
        fi
    done
    printf '| %-34s | %-9s |\n' "${chosen[$i]}" "$verdict"
done
exit $failed
