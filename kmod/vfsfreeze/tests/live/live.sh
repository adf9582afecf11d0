#!/bin/sh
# Tries vfsfreeze.ko on this FreeBSD machine, as root, on images of its own:
#
#	live.sh MODULE LIVE [WORK_DIRECTORY [HOLDS [MORE]]]
#
# MODULE is vfsfreeze.ko, LIVE the program from live.c, MORE another mounted
# directory that is held with the images, such as /.  Ends in the line
# "N passed, N failed".  Only for a machine that may be reset.
module=$1 live=$2 work=${3:-/var/tmp/vfsfreeze-live} holds=${4:-20} more=${5:-}
passed=0 failed=0
units=

say() { # claim, status
	if [ "$2" -eq 0 ]; then
		echo "ok $1"
		passed=$((passed + 1))
	else
		echo "not ok $1"
		failed=$((failed + 1))
	fi
}

run() {
	"$@" > "$work/out" 2>&1
	status=$?
	cat "$work/out"
	passed=$((passed + $(grep -c '^ok ' "$work/out")))
	n=$(grep -c '^not ok ' "$work/out")
	[ "$status" -eq 0 ] || [ "$n" -ne 0 ] || n=1
	failed=$((failed + n))
}

disk() { # image, megabytes, directory, newfs...
	truncate -s "$2m" "$1" || exit 64
	unit=$(mdconfig -a -t vnode -f "$1") || exit 64
	units="$unit $units"
	dir=$3
	shift 3
	"$@" "/dev/$unit" > "$work/newfs.log" 2>&1 || cat "$work/newfs.log"
	mkdir -p "$dir"
}

mkdir -p "$work" || exit 64
kldstat -q -m vfsfreeze || kldload "$module" || exit 64
ls -l /dev/vfsfreeze
disk "$work/a.img" 48 "$work/a" newfs -U && mount "/dev/$unit" "$work/a"
disk "$work/b.img" 64 "$work/b" newfs && mount "/dev/$unit" "$work/b"
disk "$work/j.img" 64 "$work/j" newfs -U -j && mount "/dev/$unit" "$work/j"
disk "$work/a/i.img" 24 "$work/i" newfs -U && mount "/dev/$unit" "$work/i"
all="$work/i $work/b $work/j $work/a"
if kldload -n msdosfs 2> /dev/null && command -v newfs_msdos > /dev/null; then
	disk "$work/d.img" 16 "$work/d" newfs_msdos &&
	    mount -t msdosfs "/dev/$unit" "$work/d" && all="$all $work/d"
fi
mkdir -p "$work/t"
mount -t tmpfs -o size=32m tmpfs "$work/t" && all="$all $work/t"
[ -z "$more" ] || all="$all $more"

# shellcheck disable=SC2086 # words on purpose
run "$live" -n "$holds" $all
# shellcheck disable=SC2086 # words on purpose
run "$live" $all

# The module: refused while it is open or holds, and unloaded after that.
"$live" -h 20 "$work/b" > "$work/holder" &
holder=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
	grep -q held "$work/holder" && break
	sleep 1
done
sysctl -n vfs.vfsfreeze.list | grep -q "^$work/b ufs $holder held "
say the_hold_is_listed_with_its_process $?
! kldunload vfsfreeze 2> /dev/null
say an_unload_is_refused_while_something_is_held $?
kill -9 $holder
wait $holder 2> /dev/null
sleep 1
sysctl vfs.vfsfreeze
# One claim about the time limit, one about memory.
[ "$(sysctl -n vfs.vfsfreeze.expired)" -eq 2 ]
say nothing_expired_but_what_was_to $?
kldunload vfsfreeze
say the_module_unloads_when_nothing_is_held $?
! [ -e /dev/vfsfreeze ]
say its_node_is_gone $?
[ -z "$(vmstat -m | awk '$1 == "vfsfreeze"')" ]
say no_memory_is_left $?
kldload "$module"
say it_loads_anew $?

# The newest first: it lies in a file of the first.
umount "$work/t" 2> /dev/null
umount "$work/d" 2> /dev/null
umount "$work/i" 2> /dev/null
for unit in $units; do
	umount "/dev/$unit" 2> /dev/null
	fsck_ffs -fn "/dev/$unit" > "$work/fsck" 2>&1 &&
	    echo "# /dev/$unit: $(tail -1 "$work/fsck")"
	mdconfig -d -u "$unit"
done
kldunload vfsfreeze
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
