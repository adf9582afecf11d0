#!/bin/sh
# Stands in for hv_vss_flush, so that guests side by side do not wait for each other's disks: sync(2) is for the whole machine.
directory=@DIRECTORY@
say() {
	read -r up _ </proc/uptime
	echo "flush - $1 $$ $up -" >>"$directory/record"
}
say began
[ -p "$directory/gates/flush" ] && read -r _ <"$directory/gates/flush"
say ended
