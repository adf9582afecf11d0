#!/bin/sh
# fuzz.sh SECONDS BUILD TARGET...: runs each fuzzer that long.  What it has
# learnt stays in BUILD/corpus_TARGET, an input that fails in BUILD/crash-*.
seconds=$1 build=$2
shift 2
for target in "$@"; do
	corpus=$build/corpus_$target
	mkdir -p "$corpus"
	if "$build/fuzz_$target" -max_total_time="$seconds" -timeout=5 \
	    -max_len=600 -artifact_prefix="$build/" "$corpus" \
	    > "$build/fuzz_$target.log" 2>&1; then
		echo "ok fuzz_$target: $(grep '^Done' "$build/fuzz_$target.log")"
	else
		tail -n 40 "$build/fuzz_$target.log"
		echo "not ok fuzz_$target: the input is in $build/"
		exit 1
	fi
done
