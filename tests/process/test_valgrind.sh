#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0-only
#
# test_valgrind.sh - under memcheck a program learns of uses of freed and waiting objects, at their line
#
# SRC: the source tree; CC: the compiler; LIB: a libbma.a, built without a sanitizer.
set -u
SRC=${SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
failed=0
unset BMA_DEBUG
command -v valgrind >/dev/null || exit 77

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

${CC:-cc} -gdwarf-4 -I"$SRC/include" "$SRC/tests/process/use_after_free.c" \
	-o "$tmp/prog" "$LIB" -lurcu-bp -pthread >"$tmp/out" 2>&1 || { cat "$tmp/out"; exit 1; }
${CC:-cc} -gdwarf-4 -I"$SRC/include" "$SRC/examples/fixed_size.c" \
	-o "$tmp/example" "$LIB" -lurcu -lurcu-bp -lurcu-memb -pthread >"$tmp/out" 2>&1 || { cat "$tmp/out"; exit 1; }

line() {
	grep -n "LINE: $1" "$SRC/tests/process/use_after_free.c" | cut -d: -f1
}

memcheck() {
	valgrind -q --error-exitcode=9 --fair-sched=yes "$@" >"$tmp/out" 2>&1
}

# found CASE: the use is reported, at its line, with where it was allocated and freed
found() {
	memcheck "$tmp/prog" "$1"
	[ $? = 9 ] && grep -q "use_after_free.c:$(line "$1"))" "$tmp/out" &&
		grep -q "alloc'd" "$tmp/out"
}

for case in freed waited tail class_tail percpu; do
	is "memcheck: $case" found $case
done
is "memcheck: a section may read" memcheck "$tmp/prog" section
is "memcheck: all is well" memcheck --leak-check=full --errors-for-leak-kinds=definite "$tmp/prog" none
is "memcheck: an example is clean" memcheck "$tmp/example"
exit $failed
