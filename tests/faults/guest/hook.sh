#!/bin/sh
# A script of the fault matrix. It says in the record that it has begun; if there is a gate for it (a FIFO), it waits there for an order and does
# what it says; then it says that it has ended. It uses no program but sleep and head, and those before anything is frozen or after.
me=${0##*/}
directory=@DIRECTORY@
say() {
	read -r up _ </proc/uptime
	echo "$me $phase $1 $$ $up $HV_VSS_OUTCOME" >>"$directory/record"
}
phase=$1
say began
order=go
[ -p "$directory/gates/$me-$phase" ] && read -r order <"$directory/gates/$me-$phase"
case $order in
exit) exit 3 ;;
hang) exec sleep 600 ;;
slow) sleep 0.3 ;;
garbage)
	head -c 100000 /dev/urandom
	head -c 100000 /dev/urandom >&2
	;;
closed-socket) exec <&- >&- 2>&- ;;
esac
if [ -e "$directory/refuse-$me-$phase" ]; then
	exit 1
fi
say ended
