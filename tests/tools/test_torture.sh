#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0-only
#
# test_torture.sh - `bma torture` as a command: options, exit status, and what it prints
#
# That it finds what it is for is shown by scripts/torture-fail, whose changes must still fit the
# sources.  BMA is the command, SRC the source directory.
set -u

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
bad=0

# expect WHAT STATUS PATTERN ARGUMENT...: the command ends with that status and says that
expect() {
	what=$1 status=$2 pattern=$3
	shift 3
	"$BMA" torture "$@" >"$tmp/out" 2>&1
	got=$?
	if [ $got -eq "$status" ] && grep -q -- "$pattern" "$tmp/out"; then
		echo "ok: $what"
	else
		echo "NOT ok: $what: exit status $got"
		cat "$tmp/out"
		bad=1
	fi
}

expect 'help' 0 '--duration S' --help
expect 'a duration that is none' 2 'a number of seconds' --duration soon
expect 'a kind that there is not' 2 "does not know 'mbx'" --kinds own,mbx
expect 'no kind' 2 'needs one at least' --kinds none
expect 'a fault that there is not' 2 "does not know 'open'" --faults open
expect 'a disturber that there is not' 2 "does not know ''" --only signals,
expect 'an element too small' 2 '--size takes' --size 8
expect 'too many threads' 2 '--signals takes' --signals 17
expect 'a word too many' 2 "what is 'now'" now
expect 'an option for its own use' 2 'for its own use' --phase 99,99
expect 'two seconds of everything' 0 '^bma torture: no failure: .*; seed 7$' --duration 2 --seed 7
export BMA_CPUS=64
expect 'two seconds on 64 CPUs' 0 'no failure' --duration 2
unset BMA_CPUS
expect 'with nothing to disturb' 0 'no failure' --duration 0.5 --only none --faults none
expect 'one kind' 0 '^  trace ' --duration 0.5 --kinds trace

# Every kind was read, every disturber disturbed, every fault was met with.
"$BMA" torture --duration 3 --json --seed 18446744073709551615 >"$tmp/json" 2>"$tmp/err"
if python3 - "$tmp/json" <<'PROGRAM'
import json
import sys

with open(sys.argv[1]) as f:
    t = json.load(f)
assert t['failed'] is False and t['failures'] == [], t
assert t['seed'] == '18446744073709551615', t
assert set(t['reader_pipe']) == {'own', 'trace', 'memb', 'mb', 'qsbr', 'bp'}, t
for pipe in t['reader_pipe'].values():
    assert len(pipe) == 11 and pipe[0] > 0 and not any(pipe[2:]), t
assert t['threads'] >= 6 * (t['updaters'] + t['readers']) + len(t['disturbances']), t
# A thread sanitizer cannot have forks.
assert all(n for name, n in t['disturbances'].items() if name != 'fork'), t
assert t['faults']['mmap'] and t['faults']['thread'], t
PROGRAM
then
	echo 'ok: JSON'
else
	echo 'NOT ok: JSON'
	cat "$tmp/json" "$tmp/err"
	bad=1
fi

if python3 "$SRC/scripts/torture-fail" --check >"$tmp/out" 2>&1; then
	echo 'ok: the changes of torture-fail fit the sources'
else
	echo 'NOT ok: the changes of torture-fail fit the sources'
	cat "$tmp/out"
	bad=1
fi
exit $bad
