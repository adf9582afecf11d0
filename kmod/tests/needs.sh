#!/bin/sh
# needs.sh NEED HAVE TEST...: the tests need this tool; an empty HAVE says that
# it is missing.  Names what is skipped, in the way of the project's other
# tests (tests/testbed): the file that HV_VSS_TEST_RECORD names gets a line for
# each declaration and each skip.  Fails where nothing may be skipped.
need=$1 have=$2
shift 2
for test in "$@"; do
	[ -z "${HV_VSS_TEST_RECORD:-}" ] ||
	    printf 'needs\t%s\t%s\n' "$test" "$need" >> "$HV_VSS_TEST_RECORD"
	[ -z "$have" ] || continue
	echo "skipped: $test: needs $need"
	[ -z "${HV_VSS_TEST_RECORD:-}" ] ||
	    printf 'skipped\t%s\t%s\n' "$test" "$need" >> "$HV_VSS_TEST_RECORD"
done
[ -n "$have" ] || [ -z "${HV_VSS_NO_SKIP:-}" ]
