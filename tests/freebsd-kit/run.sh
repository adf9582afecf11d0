#!/bin/sh
# Runs the project's tests on this FreeBSD machine, without a Rust toolchain: first every unit test, then the claims about the kernel, with the
# real /dev/ufssuspend on UFS images on md(4). Ends in `N passed, N failed`, exit 0 if none failed.
#
#   ./run [WORK_DIRECTORY]     as root; the default is /var/tmp/hv_vss-kit (about 60 MB)
#   SKIP="NAME ..." ./run      without these test binaries (the names before the dash); each is named as skipped
#   MODULE=FILE ./run          tries this hv_vss_broker.ko; without, one is built if there are kernel sources (SYSDIR)
#   FREEZE=FILE ./run          the same for vfsfreeze.ko
#   LAST_WISH=yes ./run        also the claim whose proof leaves a filesystem frozen until the machine is reset
#
# Only for a machine that may be reset.
set -u
cd "$(dirname "$0")" || exit 64
here=$(pwd)
work=${1:-/var/tmp/hv_vss-kit}

[ "$(uname -s)" = FreeBSD ] || { echo "this kit runs on FreeBSD, not on $(uname -s)"; exit 64; }
[ -w /dev/ufssuspend ] || { echo "/dev/ufssuspend is not there or not ours: run this as root, outside of a jail"; exit 64; }
echo "kernel: $(uname -rm), version $(uname -K)"
echo "date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"

mkdir -p "$work" || exit 64
passed=0
failed=0
limit=
command -v timeout >/dev/null && limit="timeout -k 10 900"

# A program's own count is taken from its last lines: `test result: ok. 37 passed; 0 failed; ...` or `claims: 30 passed, 0 failed`.
count() {
    counted=no
    while read -r first second third fourth fifth sixth rest; do
        case "$first $second" in
            "test result:") passed=$((passed + fourth)); failed=$((failed + sixth)); counted=yes ;;
            "claims: "*) passed=$((passed + second)); failed=$((failed + fourth)); counted=yes ;;
        esac
    done < "$1"
    [ $counted = yes ]
}

echo
echo "tests (not in this kit, since they need a compiler and the sources: $(cat not-in-this-kit))"
for test in debug/deps/*; do
    name=$(basename "$test")
    case " ${SKIP:-} " in *" ${name%-*} "*) echo "  $name: skipped, as told"; continue ;; esac
    log=$work/$name.log
    # The manual, against which vssctl is held, lies with the sources; which files another process has open, is asked of Linux's /proc.
    at_home=
    case $name in ctl-*) at_home="--skip manual:: --skip a_thaw_asks_before_it_closes_any_file" ;; esac
    # Tests of programs look for these in the directory above their own.
    # shellcheck disable=SC2086 # words on purpose
    $limit "$here/$test" $at_home > "$log" 2>&1
    status=$?
    before="$passed $failed"
    if count "$log" && [ $status = 0 ]; then
        echo "  $name: ok"
    else
        [ "$before" != "$passed $failed" ] || failed=$((failed + 1))
        echo "  $name: exit $status"
        # Which tests failed, where, and the first line of why.
        reason=no
        while read -r line; do
            [ $reason = no ] || echo "      $line"
            reason=no
            case "$line" in
                *" ... FAILED" | *ld-elf*) echo "    $line" ;;
                *panicked*) echo "    $line"; reason=next ;;
            esac
        done < "$log"
    fi
done

echo
echo "claims about the kernel"
wish=
[ "${LAST_WISH:-no}" = no ] || wish=--last-wish
# shellcheck disable=SC2086 # words on purpose
debug/hv-vss-freebsd-kit "$work/ground" "$here/debug/hv_vss_worker" "$here/debug/libufs.so" $wish > "$work/claims.log" 2>&1
cat "$work/claims.log"
count "$work/claims.log" || { echo "the claims were not tried to the end"; failed=$((failed + 1)); }

echo
echo "the kernel driver, through its test host"
module=${MODULE:-}
if [ -z "$module" ] && [ -d "${SYSDIR:-/usr/src/sys}" ] && command -v cc >/dev/null; then
    cp -R kmod "$work/kmod" && (cd "$work/kmod" && make) > "$work/kmod.log" 2>&1 && module=$work/kmod/broker/hv_vss_broker.ko
    [ -n "$module" ] || { echo "  it can't be built: $(tail -1 "$work/kmod.log")"; failed=$((failed + 1)); }
fi
if [ -n "$module" ]; then
    sh kmod/broker/live.sh "$module" "$here/kmod/broker/live" "$here/kmod/broker/stress" > "$work/live.log" 2>&1
    cat "$work/live.log"
    sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/claims: \1 passed, \2 failed/p' "$work/live.log" > "$work/live.count"
    count "$work/live.count" || { echo "the driver was not tried to the end"; failed=$((failed + 1)); }
else
    echo "  not tried: there are no kernel sources here; set MODULE to an hv_vss_broker.ko for this kernel, or SYSDIR to its sources"
fi

echo
echo "the freeze, on images and on this machine's root"
freeze=${FREEZE:-}
[ -n "$freeze" ] || [ ! -f "$work/kmod/vfsfreeze/vfsfreeze.ko" ] || freeze=$work/kmod/vfsfreeze/vfsfreeze.ko
if [ -n "$freeze" ]; then
    sh kmod/vfsfreeze/live.sh "$freeze" "$here/kmod/vfsfreeze/live" "$work/vfsfreeze" 20 / > "$work/freeze.log" 2>&1
    cat "$work/freeze.log"
    sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/claims: \1 passed, \2 failed/p' "$work/freeze.log" > "$work/freeze.count"
    count "$work/freeze.count" || { echo "the freeze was not tried to the end"; failed=$((failed + 1)); }
else
    echo "  not tried: set FREEZE to a vfsfreeze.ko for this kernel, or SYSDIR to its sources"
fi

echo
echo "$passed passed, $failed failed"
[ $failed = 0 ]
