#!/bin/sh
# Tests the module on a FreeBSD machine: loads it with the test host enabled,
# runs the live claims, and tries to unload it while a node is open, politely
# and by force.  As root, where no VSS driver is attached:
#
#	live.sh hv_vss_broker.ko live [stress]
#
# The last line is plain: "N passed, N failed".
set -u
module=$1 live=$2 stress=${3:-}
passed=0 failed=0

claim() {	# claim NAME STATUS: the status of the command just run
	if [ "$2" -eq 0 ]; then
		echo "ok $1"
		passed=$((passed + 1))
	else
		echo "not ok $1"
		failed=$((failed + 1))
	fi
}

if kldstat -q -m vmbus/hv_vss_broker; then
	echo "live.sh: hv_vss_broker is loaded already; unload it first" >&2
	exit 2
fi
if [ -e /dev/hv_fsvss_dev ]; then
	echo "live.sh: the in-base driver is attached; set" \
	    "hint.hvvss.0.disabled=\"1\" in /boot/loader.conf and reboot" >&2
	exit 2
fi
kenv hw.hv_vss_broker.testhost=1 > /dev/null
kenv dev.hvvssb.0.freeze_timeout_ms=120000 > /dev/null
kldload "$module" || exit 2
trap 'kldunload -f hv_vss_broker 2> /dev/null
    kenv -qu hw.hv_vss_broker.testhost
    kenv -qu dev.hvvssb.0.freeze_timeout_ms' EXIT

[ "$(sysctl -n dev.hvvssb.0.freeze_timeout_ms)" = 120000 ] &&
    ! sysctl dev.hvvssb.0.freeze_timeout_ms=900001 > /dev/null 2>&1 &&
    sysctl dev.hvvssb.0.freeze_timeout_ms=900000 > /dev/null &&
    sysctl dev.hvvssb.0.freeze_timeout_ms=0 > /dev/null
claim a_freeze_has_a_limit_of_its_own_by_tunable_and_sysctl $?

out=$("$live")
echo "$out"
passed=$((passed + $(echo "$out" | grep -c '^ok ')))
failed=$((failed + $(echo "$out" | grep -c '^not ok ')))

[ "$(stat -f %Lp /dev/hv_fsvss_dev)" = 600 ]
claim the_daemons_node_has_mode_0600 $?
sysctl -n dev.hvvssb.0.state | grep -q '^none: idle'
claim the_state_is_told_by_sysctl $?

# A process that holds the node open, and stays alive whatever happens to it.
sleep 60 < /dev/hv_appvss_dev &
holder=$!
! kldunload hv_vss_broker 2> /dev/null
claim unloading_is_refused_while_a_node_is_open $?
kldunload -f hv_vss_broker
claim unloading_by_force_works_all_the_same $?
kill -0 "$holder"
claim and_the_process_that_had_it_open_is_still_alive $?
kill "$holder"
[ ! -e /dev/hv_appvss_dev ]
claim its_nodes_are_gone $?

# All programs at once, and the module pulled away and put back beneath them.
if [ -n "$stress" ]; then
	"$stress" &
	hammering=$!
	rounds=0 bad=0
	while [ "$rounds" -lt 8 ]; do
		kldload "$module" || bad=$((bad + 1))
		sleep 2
		sysctl -n dev.hvvssb.0.messages dev.hvvssb.0.answers |
		    xargs echo "# messages, answers:"
		kldunload -f hv_vss_broker || bad=$((bad + 1))
		rounds=$((rounds + 1))
	done
	[ "$bad" -eq 0 ]
	claim the_module_comes_and_goes_while_programs_hammer_its_nodes $?
	kill "$hammering"
	wait "$hammering"
	claim and_all_of_them_come_to_their_end $?
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
