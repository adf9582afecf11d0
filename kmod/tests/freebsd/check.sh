#!/bin/sh
# Compiles a whole module, glue included, against FreeBSD's real kernel
# headers, which come with the ziglang package.  It makes no module: what it
# proves and what it does not is said in ../../README.md.
#
#	SOURCES="a.c ..." MANUALS="a.4" check.sh MODULE OUTPUT [PROGRAM...]
#
# MODULE is its directory; tests/imports in it lists what it takes from the
# kernel.  Each PROGRAM is "NAME FILE...", with files in MODULE/tests/live.
# The package is installed once into FREEBSD_CROSS_DIR (default:
# ~/.cache/hv_vss/freebsd-cross) unless it is there.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
module=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
shift 2
cross=${FREEBSD_CROSS_DIR:-$HOME/.cache/hv_vss/freebsd-cross}

if ! "$cross/venv/bin/python" -c 'import ziglang' 2>/dev/null; then
	echo "installing ziglang into $cross/venv"
	mkdir -p "$cross"
	python3 -m venv "$cross/venv"
	"$cross/venv/bin/pip" install -q ziglang==0.17.1
fi
zig=$("$cross/venv/bin/python" -c 'import os, ziglang
print(os.path.join(os.path.dirname(ziglang.__file__), "zig"))')
export ZIG_GLOBAL_CACHE_DIR="$cross/zigcache"

# Generated or in-tree headers that the package lacks: generated interfaces
# in full of what we call, options empty.
mkdir -p "$out/include"
for option in global bus ddb; do
	: > "$out/include/opt_$option.h"
done

for arch in x86_64 aarch64; do
	case $arch in
	x86_64)
		arch_flags="-mcmodel=kernel -mno-red-zone -mno-mmx -mno-sse
		    -mno-avx -msoft-float" ;;
	aarch64)
		arch_flags="-mgeneral-regs-only -mcpu=generic+reserve_x18" ;;
	esac
	for version in 14.0 15.0; do
		mkdir -p "$out/$arch-$version"
		for source in $SOURCES; do
			# shellcheck disable=SC2086
			"$zig" cc -target "$arch-freebsd.$version" -c -O2 \
			    -std=gnu99 -D_KERNEL -DKLD_MODULE \
			    -DINVARIANTS -DINVARIANT_SUPPORT \
			    -ffreestanding -fwrapv $arch_flags \
			    -fno-asynchronous-unwind-tables -fno-common \
			    -fno-strict-aliasing -fno-sanitize=all \
			    -Wall -Wextra -Wconversion -Wno-unused-parameter \
			    -Wstrict-prototypes -Wmissing-prototypes \
			    -Wpointer-arith -Wcast-qual -Wundef \
			    -Wno-pointer-sign -Wno-sign-compare \
			    -Wno-missing-field-initializers -Werror \
			    -I"$module" -I"$here/include" -I"$out/include" \
			    -o "$out/$arch-$version/${source%.c}.o" \
			    "$module/$source"
		done
		echo "ok $arch FreeBSD $version: $(echo $SOURCES | wc -w) files"
	done
done

# What the module needs of the kernel, by name: a new dependency shows here.
nm --defined-only "$out"/x86_64-14.0/*.o | awk 'NF == 3 { print $3 }' |
    sort -u > "$out/defined"
nm -u "$out"/x86_64-14.0/*.o | awk '$1 == "U" { print $2 }' | sort -u |
    comm -23 - "$out/defined" > "$out/imports"
grep -v '^#' "$module/tests/imports" | diff - "$out/imports" || {
	echo "not ok: the module's imports (right) are not those listed (left)"
	exit 1
}
echo "ok imports: $(wc -l < "$out/imports") kernel symbols, as listed"

# A manual's complete program is one.
for manual in $MANUALS; do
	sed -n '/^#include <sys.types.h>/,/^\.Ed/p' "$module/$manual" |
	    grep -v '^\.' | sed 's/\\e/\\/g' > "$out/example.c"
	[ -s "$out/example.c" ] || continue
	"$zig" cc -target x86_64-freebsd.14.0 -Wall -Wextra -Werror -c \
	    -I"$module" -o "$out/example.o" "$out/example.c"
	echo "ok $manual's example compiles: $(wc -l < "$out/example.c") lines"
done

# What runs on a FreeBSD machine, as programs for it.
for program in "$@"; do
	# shellcheck disable=SC2086
	(cd "$module/tests/live" && set -- $program && name=$1 && shift &&
	    "$zig" cc -target x86_64-freebsd.14.0 -std=c11 -D_BSD_VISIBLE \
	    -Wall -Wextra -Werror -Wno-unused-function -o "$out/$name" "$@")
	echo "ok ${program%% *}: linked for FreeBSD; tests/live/live.sh runs it there"
done
