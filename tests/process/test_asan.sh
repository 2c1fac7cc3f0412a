#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0-only
#
# test_asan.sh - a program that is built with ASan learns of uses of freed and waiting objects, at their line
#
# SRC: the source tree; CC: the compiler; LIB: a libbma.a; CFLAGS: what LIB was built with.
set -u
SRC=${SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
failed=0
unset BMA_DEBUG

# is NAME CONDITION...: one line for each case
is() {
	name=$1
	shift
	if "$@"; then
		echo "ok: $name"
	else
		echo "NOT ok: $name"
		cat "$tmp/out"
		failed=1
	fi
}

# shellcheck disable=SC2086
${CC:-cc} -fsanitize=address ${CFLAGS:-} -g -I"$SRC/include" "$SRC/tests/process/use_after_free.c" \
	-o "$tmp/prog" "$LIB" -lurcu-bp -pthread >"$tmp/out" 2>&1 || { cat "$tmp/out"; exit 1; }

line() {
	grep -n "LINE: $1" "$SRC/tests/process/use_after_free.c" | cut -d: -f1
}

# found CASE: the use is reported, at its line
found() {
	ASAN_OPTIONS=symbolize=1 "$tmp/prog" "$1" >"$tmp/out" 2>&1 && return 1
	grep -q use-after-poison "$tmp/out" && grep -q "use_after_free.c:$(line "$1")" "$tmp/out"
}

quiet() {
	env "$@" >"$tmp/out" 2>&1 && ! [ -s "$tmp/out" ]
}

for case in freed waited tail class_tail percpu; do
	is "ASan: $case" found $case
done
is "ASan: a section may read" quiet "$tmp/prog" section
is "ASan: all is well" quiet "$tmp/prog" none
is "ASan: not with BMA_DEBUG=0" quiet BMA_DEBUG=0 "$tmp/prog" freed
exit $failed
