#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0-only
#
# test_flavor_select.sh - which readers bpf_mem_alloc_init() waits for, by what a program includes
#
# SRC: the source tree; CC, CXX: the compilers (without CC, gcc and clang, those that there are).
# LIB: a libbma.a to link with (with $CFLAGS, if it was built with a sanitizer); without it, only what
# compiles and what does not is tested.
set -u
SRC=${SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
LIB=${LIB:-}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
failed=0

is() {
	echo "ok: $*"
}

is_not() {
	echo "NOT ok: $*"
	[ ! -s "$tmp/out" ] || cat "$tmp/out"
	failed=1
}

# compile COMPILER OPTION... FILE: keeps what it says in $tmp/out
compile() {
	"$@" -I"$SRC/include" -Wall -Wextra -Werror >"$tmp/out" 2>&1
}

# Use the default init, with @1 included before the header.
program() {
	printf '%b\n' "$1"
	cat <<'EOF'
#include <bma/bpf_mem_alloc.h>
#include <bma/stats.h>
int main(void)
{
	struct bpf_mem_alloc ma;

	if (bpf_mem_alloc_init(&ma, 64, false))
		return 1;
	bpf_mem_alloc_destroy(&ma);
	return 0;
}
EOF
}

# Name a flavour with the same includes.
named() {
	printf '%b\n' "$1"
	cat <<EOF
#include <bma/bpf_mem_alloc.h>
int main(void)
{
	struct bpf_mem_alloc ma;

	if (bpf_mem_alloc_init_flavor(&ma, 64, false, &$2))
		return 1;
	bpf_mem_alloc_destroy(&ma);
	return 0;
}
EOF
}

# Is a reader of @2 (own: of <bma/rcu.h>) waited for?  @1 is included before the header.
reader() {
	printf '%b\n' "$1"
	cat <<EOF
#include <bma/bpf_mem_alloc.h>
#include <bma/rcu.h>
#include <bma/stats.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
EOF
	if [ "$2" = own ]; then
		cat <<'EOF'
#define enter() bpf_rcu_read_lock()
#define leave() bpf_rcu_read_unlock()
EOF
	else
		cat <<EOF
#include <stdbool.h>
#include <urcu/flavor.h>
extern const struct rcu_flavor_struct urcu_$2_flavor;
#define flavor urcu_$2_flavor
#define enter() (flavor.register_thread(), flavor.thread_online(), flavor.read_lock())
#define leave() (flavor.read_unlock(), flavor.thread_offline(), flavor.unregister_thread())
EOF
	fi
	cat <<'EOF'
static _Atomic int in, go;
static void ms(long n)
{
	struct timespec t = { 0, n * 1000000 };
	nanosleep(&t, NULL);
}
static void *stay(void *arg)
{
	enter();
	in = 1;
	while (!go)
		ms(1);
	leave();
	return arg;
}
int main(void)
{
	struct bpf_mem_alloc ma;
	struct bpf_mem_stats s;
	pthread_t thread;
	int i, waited;

	if (bpf_mem_alloc_init(&ma, 64, false) || pthread_create(&thread, NULL, stay, NULL))
		return 2;
	while (!in)
		ms(1);
	bpf_mem_cache_free_rcu(&ma, bpf_mem_cache_alloc(&ma));
	for (i = 0; i < WAIT_MS; i++) {
		ms(1);
		bpf_mem_alloc_stats(&ma, &s);
		if (!s.objs_waiting_rcu)
			break;
	}
	waited = i == WAIT_MS;
	go = 1;
	pthread_join(thread, NULL);
	bpf_mem_alloc_destroy(&ma);
	return !waited;
}
EOF
}

# compiles WHAT: the program on stdin does, as C11 and as C++17
compiles() {
	cat >"$tmp/a.c"
	cp "$tmp/a.c" "$tmp/a.cc"
	if compile $c -std=c11 $1 -c -o "$tmp/a.o" "$tmp/a.c" &&
		compile $cxx -std=c++17 $1 -c -o "$tmp/a.o" "$tmp/a.cc"; then
		is "$c: $2 compiles"
	else
		is_not "$c: $2 does not compile"
	fi
}

# compiles_not WHAT: it does not, not even as far as -fsyntax-only, and the message says what to do
compiles_not() {
	cat >"$tmp/a.c"
	cp "$tmp/a.c" "$tmp/a.cc"
	for how in "$c -std=c11 -fsyntax-only $tmp/a.c" "$c -std=gnu11 -O2 -c -o $tmp/a.o $tmp/a.c" \
		"$cxx -std=c++17 -fsyntax-only $tmp/a.cc"; do
		if compile $how; then
			is_not "$how: $1 compiles"
		elif ! grep -q 'bpf_mem_alloc_init_flavor' "$tmp/out"; then
			is_not "$how: $1: no word of bpf_mem_alloc_init_flavor"
		else
			is "${how%% -fs*}: $1 does not compile"
		fi
	done
}

# takes FLAVOUR WHAT INCLUDES: the allocator waits for readers of that flavour (or our own) and of no other
takes() {
	for flavor in memb mb qsbr bp own; do
		wait=3000
		[ "$flavor" != "$1" ] || wait=60
		reader "$3" "$flavor" >"$tmp/a.c"
		if ! compile $c -std=gnu11 -DWAIT_MS=$wait $4 ${CFLAGS:-} -o "$tmp/a" "$tmp/a.c" "$LIB" \
			-lurcu -lurcu-memb -lurcu-mb -lurcu-qsbr -lurcu-bp -lpthread; then
			is_not "$c: $2 with a reader of $flavor does not compile"
			continue
		fi
		"$tmp/a"
		case $flavor.$? in
		"$1.0") is "$c: $2 waits for readers of $flavor" ;;
		"$1."*) is_not "$c: $2 does not wait for readers of $flavor" ;;
		*.1) is "$c: $2 does not wait for readers of $flavor" ;;
		*) is_not "$c: $2 waits for readers of $flavor" ;;
		esac
	done
}

# alone HEADER: it compiles with nothing before it, twice, in each dialect
alone() {
	printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$1" "$1" >"$tmp/a.c"
	cp "$tmp/a.c" "$tmp/a.cc"
	for how in "$c -std=c11 -pedantic -Wstrict-prototypes" "$c -std=gnu17" "$c -std=c11 -O0"; do
		compile $how -Wshadow -Wundef -fsyntax-only "$tmp/a.c" && is "$how: $1 alone" ||
			is_not "$how: $1 alone"
	done
	for std in c++17 c++20 gnu++17; do
		compile $cxx -std=$std -pedantic -Wundef -fsyntax-only "$tmp/a.cc" &&
			is "$cxx -std=$std: $1 alone" || is_not "$cxx -std=$std: $1 alone"
	done
}

unmapped() {
	for flavor in memb mb qsbr bp; do
		include="#include <urcu/urcu-$flavor.h>"
		program "$include" | compiles_not "urcu/urcu-$flavor.h, unmapped,"
		# Included, but the default not used: nothing to say.
		named "$include" "urcu_${flavor}_flavor" |
			compiles '' "urcu/urcu-$flavor.h, unmapped, with the flavour named,"
	done
	program '#include <urcu/urcu-mb.h>\n#include <urcu/urcu-bp.h>' | compiles_not 'two flavours'
}

mapped() {
	program '' | compiles '' 'no flavour'
	program '#include <urcu.h>' | compiles '' 'urcu.h'
	program '#include <urcu-qsbr.h>' | compiles '' 'urcu-qsbr.h'
	program '#include <urcu-bp.h>' | compiles '' 'urcu-bp.h'
	for flavor in memb mb qsbr bp; do
		program "#define URCU_API_MAP\n#include <urcu/urcu-$flavor.h>" |
			compiles '' "urcu/urcu-$flavor.h, mapped,"
	done
	# What has no flavour of its own leaves the default.
	program '#include <urcu/list.h>\n#include <urcu/uatomic.h>\n#include <urcu/compiler.h>' |
		compiles '' 'liburcu without a flavour'
}

# A program whose readers are ours needs no library of liburcu, and runs.
without_liburcu() {
	program '' >"$tmp/a.c"
	if compile $c -std=gnu11 ${CFLAGS:-} -o "$tmp/a" "$tmp/a.c" "$LIB" -lpthread && "$tmp/a"; then
		is "$c: no flavour, linked without liburcu"
	else
		is_not "$c: no flavour, linked without liburcu"
	fi
}

linked() {
	without_liburcu
	takes own 'no flavour' '' ''
	takes own 'urcu/flavor.h alone' '#include <urcu/flavor.h>' ''
	takes memb 'urcu.h' '#include <urcu.h>' ''
	takes mb 'urcu.h with RCU_MB' '#include <urcu.h>' -DRCU_MB
	takes qsbr 'urcu-qsbr.h' '#include <urcu-qsbr.h>' ''
	takes bp 'urcu-bp.h' '#include <urcu-bp.h>' ''
	takes mb 'urcu/urcu-mb.h, mapped,' '#define URCU_API_MAP\n#include <urcu/urcu-mb.h>' ''
	takes memb 'urcu/urcu-memb.h, mapped,' '#define URCU_API_MAP\n#include <urcu/urcu-memb.h>' ''
}

check() {
	c=$1
	case $c in
	*clang*) cxx=${CXX:-clang++} ;;
	*) cxx=${CXX:-g++} ;;
	esac
	command -v "${c%% *}" >/dev/null && command -v "${cxx%% *}" >/dev/null || return
	alone bma/bpf_mem_alloc.h
	alone bma/rcu.h
	alone bma/stats.h
	mapped
	unmapped
	[ -z "$LIB" ] || linked
}

if [ -n "${CC:-}" ]; then
	check "$CC"
else
	check gcc
	check clang
fi
exit $failed
