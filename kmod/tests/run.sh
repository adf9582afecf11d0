#!/bin/sh
# Runs test programs (each argument may have arguments of its own, separated
# by blanks) and adds up their claims.  The last line is plain:
# "N passed, N failed"; the exit status is 0 only if something passed and
# nothing failed.  A program that dies without a "not ok" line counts as one
# failure, so that a crash or a sanitizer's report can't go unnoticed.
passed=0 failed=0
for program in "$@"; do
	name=${program%% *}
	name=${name##*/}
	echo "== $name"
	# shellcheck disable=SC2086
	out=$($program 2>&1)
	status=$?
	printf '%s\n' "$out" | grep -v '^ok ' || :
	ok=$(printf '%s\n' "$out" | grep -c '^ok ')
	not_ok=$(printf '%s\n' "$out" | grep -c '^not ok ')
	if [ "$status" -ne 0 ] && [ "$not_ok" -eq 0 ]; then
		echo "not ok $name ended with status $status"
		not_ok=1
	fi
	passed=$((passed + ok)) failed=$((failed + not_ok))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
