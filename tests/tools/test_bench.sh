#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0-only
#
# test_bench.sh - `bma bench`: every benchmark runs, for next to no time; its options; its JSON
#
# What it measures is not looked at: a machine that runs tests says nothing about speed.
set -u
: "${BMA:?is the bma command to test}"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
bad=0

result() { # $1: 0 if it is as it should be; $2: what
	if [ "$1" -eq 0 ]; then
		echo "ok: $2"
	else
		echo "NOT ok: $2"
		sed 's/^/    /' "$tmp/out" "$tmp/err"
		bad=1
	fi
}

bench() {
	"$BMA" bench "$@" >"$tmp/out" 2>"$tmp/err"
}

# Does the output satisfy an expression of Python about the JSON object d?
json() {
	python3 - "$tmp/out" "$1" <<'PYTHON' >>"$tmp/err" 2>&1
import json, sys

with open(sys.argv[1]) as f:
    d = json.load(f)

FACTS = {'case', 'size', 'contestant', 'missing', 'stopped_rounds'}

def whole(result):
    """Measured in every figure, or with a reason why not; an unknown figure is null."""
    figures = [v for k, v in result.items() if k not in FACTS]
    if 'missing' in result:
        return bool(result['missing']) and not figures
    return figures and figures[0] and all(
        f is None or f['min'] <= f['median'] <= f['max'] for f in figures)

def goal(begin):
    return next(g for g in d['goals'] if g['goal'].startswith(begin))

def median(bench, contestant, figure):
    """In the only case that was run."""
    results = next(b for b in d['benches'] if b['bench'] == bench)['results']
    return next(r for r in results if r['contestant'] == contestant)[figure]['median']

def measured(name):
    return any(name in r['contestant'] and 'missing' not in r for r in d['results'])

def is_ratio(result, figure):
    """To the median of the first, within what rounding does."""
    exact = result[figure]['median'] / d['results'][0][figure]['median']
    return abs(result[figure]['ratio'] / exact - 1) < 0.01

if not eval('(' + sys.argv[2] + ')'):
    sys.exit('not so: ' + sys.argv[2])
PYTHON
}

# Each benchmark, where it has a short case, with all contestants that this machine has.
runs() {
	name=$1
	shift
	bench "$name" --seconds 0.01 --rounds 2 --json "$@" &&
		json 'd["bench"] == "'"$name"'" and d["rounds"] == 2' &&
		json 'all(whole(r) for r in d["results"])' &&
		json 'd["results"][0]["contestant"].startswith("bma") and measured("bma")'
	result $? "$name runs"
}
runs pair --size 64
runs pair-rcu
runs batch
runs cross
runs htab-mem
runs flood
runs tree
runs scale --case '2 threads'
runs scale --case 'caches, 64'
runs scale --case 'CPUs, 4096'
runs destroy --case '10^4'
runs footprint --case '1 idle'
runs footprint --case 'used, fixed' --contestant bma
runs latency

# A row compares with bma, whichever figure it is.
bench pair --seconds 0.01 --rounds 1 --case 1000 --size 64 --contestant bma --json &&
	json 'len(d["results"]) == 3 and all(is_ratio(r, f) for r in d["results"]
		for f in ("ns", "cpu_ns"))'
result $? 'ratios are to bma'

# What can be preloaded is, and is measured; under a sanitizer nothing can.
for library in jemalloc:libjemalloc.so.2 tcmalloc:libtcmalloc_minimal.so.4 mimalloc:libmimalloc.so.2; do
	name=${library%%:*}
	bench batch --seconds 0.01 --rounds 1 --contestant "$name" --json
	if said=$(LD_PRELOAD=${library#*:} "$BMA" --version 2>&1) && [ "${said#*cannot be}" = "$said" ]; then
		json 'measured("'"$name"'")'
	else
		json 'd["results"][0]["missing"].startswith("'"${library#*:}"' cannot be preloaded")'
	fi
	result $? "malloc of $name"
done

bench batch --seconds 0.01 --rounds 1 --contestant glibc &&
	grep -q '^1000 allocs.*ns.*ratio' "$tmp/out" &&
	grep -q '^  glibc .* -$' "$tmp/out" &&
	! grep -q jemalloc "$tmp/out"
result $? 'a table of the contestant that was asked for, without a ratio'

bench --seconds 0.01 --rounds 1 --case 'deferred free' --contestant glibc --json &&
	json '[b["bench"] for b in d["benches"]] == ["cross", "latency"]' &&
	json 'all(whole(r) for b in d["benches"] for r in b["results"])'
result $? 'all benchmarks that have the case, as one JSON object'

# Verdicts are of what was measured; a goal without a row has none.
bench --seconds 0.01 --rounds 1 --case '1 in flight, 64 B' --json &&
	json 'abs(goal("pair, 1 in flight, fixed-size: beside the array")["measured"] *
		median("pair", "array, no safety", "cpu_ns") / median("pair", "bma, fixed-size", "cpu_ns") - 1) < 0.01' &&
	json 'goal("pair, 1 in flight, kmalloc-like")["measured"] * 1.01 >=
		median("pair", "bma, kmalloc-like", "cpu_ns") / median("pair", "glibc", "cpu_ns")' &&
	json 'all(g["verdict"] == ("reached" if g["measured"] <= g["at_most"] else "not reached")
		for g in d["goals"] if g["measured"] is not None)' &&
	json 'goal("tree: operations")["verdict"] == "not measured" and len(d["goals"]) > 20'
result $? 'goals are judged by the rows'

bench --seconds 0.01 --rounds 1 --case '1 in flight, 64 B' &&
	test "$(grep -c '^  pair.*\(at most\|at least\).*reached$' "$tmp/out")" -eq 3 &&
	! grep -q 'tree:' "$tmp/out"
result $? 'goals in a table, where there is anything to judge'

# The tables of docs/performance.md are what was measured.
cp "$SRC/docs/performance.md" "$tmp/performance.md"
bench pair --seconds 0.01 --rounds 1 --size 64 --json &&
	python3 "$SRC/scripts/performance" "$tmp/out" "$tmp/performance.md" 2>>"$tmp/err" &&
	test "$(grep -c '^| array, no safety | [0-9.]* |$' "$tmp/performance.md")" -eq 2 &&
	test "$(grep -c '<!-- ' "$tmp/performance.md")" -eq "$(grep -c '<!-- ' "$SRC/docs/performance.md")"
result $? 'tables of a document'

bench batch --seconds 0.01 --rounds 1 --threads 3 --size 100 --json &&
	json 'd["threads"] == 3 and all(r["size"] == 100 for r in d["results"])'
result $? '--threads and --size'

bench cross --seconds 0.01 --rounds 1 --threads 3 --json &&
	json 'all("even" in r["missing"] for r in d["results"] if r["contestant"].startswith("bma"))'
result $? 'a row says why it cannot run'

# Without the program that is linked with the shared library, unless it is installed.
cp "$BMA" "$tmp/bma"
real=$BMA BMA=$tmp/bma
bench batch --seconds 0.01 --rounds 1 --contestant fixed --json &&
	json 'all("bma-shared" in r["missing"] for r in d["results"])' ||
	{ [ -n "${BMA_LIBEXECDIR-}" ] && [ -x "$BMA_LIBEXECDIR/bma-shared" ]; }
result $? 'a copy of the command says what it lacks'
BMA=$real

bench --list && test "$(grep -c '^[a-z-]*: ' "$tmp/out")" -eq 11
result $? '--list names all benchmarks'

bench flood --list && grep -q '^flood: ' "$tmp/out" && grep -q 'bma, urcu-qsbr' "$tmp/out" &&
	test "$(grep -c '^[a-z-]*: ' "$tmp/out")" -eq 1
result $? '--list of one'

bench tree --help && grep -q -- '--size B .*(default: 64)' "$tmp/out" &&
	grep -q 'lookup' "$tmp/out"
result $? '--help says the defaults'

refuses() {
	bench "$@"
	test $? -eq 2 && test -s "$tmp/err" && ! test -s "$tmp/out"
	result $? "refuses: $*"
}
refuses nonesuch
refuses pair --seconds 0
refuses pair --rounds 100
refuses pair --threads 0
refuses pair --size x
refuses pair --size 65537
refuses htab-mem --size 7
refuses pair --case 'no such case'
refuses pair word
refuses pair --wrong 2
refuses --worker nonsense

is_png() {
	test "$(head -c 8 "$1" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a
}
if command -v gnuplot >/dev/null; then
	for name in batch flood latency; do
		bench "$name" --seconds 0.02 --rounds 1 --plot "$tmp/$name.png" && is_png "$tmp/$name.png"
		result $? "a picture of $name"
	done
	bench --seconds 0.01 --rounds 1 --case 'deferred free' --plot "$tmp/all.png" &&
		is_png "$tmp/all-cross.png" && is_png "$tmp/all-latency.png" && ! test -e "$tmp/all.png"
	result $? 'a picture of each, where all run'
	bench batch --seconds 0.01 --rounds 1 --plot "$tmp/none/x.png"
	test $? -eq 1
	result $? 'a picture that cannot be written is a failure'
fi

exit $bad
