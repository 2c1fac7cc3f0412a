/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * seed.pml - the seed's teardown, and ours, for spin
 *
 * Lists are sets of objects, a bit each; what is one atomic operation in the kernel is one step here.
 *
 * variant LEAK: fails: 1 drained, then filled again
 * variant ORDER: fails: 2 flags in the wrong order
 * variant TGT: fails: 3 another cache's callback
 * variant CONSUMERS: fails: 4 two consumers of one list
 * variant COOKIES: holds: the same scene, with cookies and one reclaimer
 */

#ifdef CONSUMERS

/* Two nodes, 1 and 2; 0 is none. */
byte first = 1;
byte next[3];
byte owner[3];

inline own(node, who)
{
	assert(node == 0 || owner[node] == 0);
	owner[node] = (node == 0 -> 0 : who)
}

/* A refill takes the first, twice: load, load its next, compare-and-swap. */
proctype refill()
{
	byte n, after, taken;

	n = first;
	do
	:: n == 0 || taken == 2 -> break
	:: else ->
		after = next[n];
		atomic {
			if
			:: first == n -> first = after; own(n, 1); taken++
			:: else -> skip
			fi
		};
		n = first
	od
}

/* Another takes all; the first is handed out and freed again, the second kept. */
proctype take_all_and_add()
{
	byte n, kept;

	atomic { n = first; first = 0; own(n, 2) }
	if
	:: n == 0 -> skip
	:: else ->
		atomic { kept = next[n]; own(kept, 2) }
		atomic { owner[n] = 0; next[n] = first }
		first = n
	fi
}

init
{
	atomic {
		next[1] = 2;
		run refill();
		run take_all_and_add()
	}
}

#else
#ifdef COOKIES

/*
 * Magazines: 1 in a bucket with a cookie, 2 on its way to the slab, 4 just freed.  The reclaimer alone moves
 * them; destroy sets one flag.  A reader of each kind may be inside from before; memory must wait for it.
 */
byte bucket = 1, trace_wait = 2, on_cpu = 4, depot, back;
bool dying, reader, sleeper, finished;
byte completed[2], cookie[2];
bool waiting;
bool old_reader, old_sleeper; /* inside since before the cookies */

proctype user()
{
	dying = true
}

proctype readers()
{
	do
	:: atomic { !finished && !reader -> reader = true }
	:: atomic { reader -> reader = false; old_reader = false }
	:: atomic { !finished && !sleeper -> sleeper = true }
	:: atomic { sleeper -> sleeper = false; old_sleeper = false }
	:: finished && !reader && !sleeper -> break
	od
}

/* A grace period ends when no reader is inside that was there at its beginning. */
proctype grace_periods()
{
	do
	:: atomic { !old_reader && (completed[0] < 2 || (waiting && completed[0] < cookie[0])) ->
		completed[0]++ }
	:: atomic { !old_sleeper && (completed[1] < 2 || (waiting && completed[1] < cookie[1])) ->
		completed[1]++ }
	:: finished -> break
	od
}

proctype reclaimer()
{
	byte taken = 0;

	do
	:: !dying && bucket -> depot = depot | bucket; bucket = 0
	:: !dying && depot -> trace_wait = trace_wait | depot; depot = 0
	:: dying && !waiting ->
		/* Takes all there is, then both cookies: nobody else fills. */
		taken = bucket | depot | trace_wait | on_cpu;
		bucket = 0; depot = 0; trace_wait = 0; on_cpu = 0;
		atomic {
			cookie[0] = completed[0] + 1; cookie[1] = completed[1] + 1;
			old_reader = reader; old_sleeper = sleeper;
			waiting = true
		}
	:: dying && waiting && completed[0] >= cookie[0] && completed[1] >= cookie[1] ->
		assert((back & taken) == 0 && !old_reader && !old_sleeper);
		back = back | taken;
		break
	od;
	assert(back == 7 && bucket == 0 && depot == 0 && trace_wait == 0 && on_cpu == 0);
	finished = true
}

init
{
	atomic { run user(); run readers(); run grace_periods(); run reclaimer() }
}

#else

#define CACHES 2

byte waiting[CACHES], next_trace[CACHES], waiting_trace[CACHES];
bool rcu_in_progress[CACHES], trace_in_progress[CACHES];
bool rcu_queued[CACHES], trace_queued[CACHES];
byte tgt[CACHES];
byte back, all;
bool caches_freed, destroyed, callbacks_done;

inline free_all(some)
{
	assert((back & some) == 0);
	back = back | some
}

inline rcu_callback()
{
	assert(!caches_freed);
	t = tgt[c];
	atomic { objs = waiting[c]; waiting[c] = 0; rcu_queued[c] = false }
	if
	:: objs == 0 -> skip
	:: else ->
		next_trace[t] = next_trace[t] | objs;
		atomic { busy = trace_in_progress[t]; trace_in_progress[t] = true }
		if
		:: busy -> skip
		:: else ->
			atomic { objs = next_trace[t]; next_trace[t] = 0 }
			waiting_trace[t] = waiting_trace[t] | objs;
			trace_queued[t] = true
		fi
	fi;
	assert(!caches_freed);
	rcu_in_progress[c] = false
}

inline trace_callback()
{
	assert(!caches_freed);
	atomic { objs = waiting_trace[c]; waiting_trace[c] = 0; free_all(objs) }
	assert(!caches_freed);
	atomic { trace_in_progress[c] = false; trace_queued[c] = false }
}

proctype callbacks()
{
	byte c, t, objs;
	bool busy;

	for (c : 0 .. CACHES - 1) {
		if :: rcu_queued[c] -> rcu_callback() :: else fi
	}
	for (c : 0 .. CACHES - 1) {
		if :: trace_queued[c] -> trace_callback() :: else fi
	}
	callbacks_done = true
}

proctype destroy()
{
	byte c, objs;
	bool wait = false;

	for (c : 0 .. CACHES - 1) {
		atomic { objs = next_trace[c]; next_trace[c] = 0; free_all(objs) }
		atomic { objs = waiting_trace[c]; waiting_trace[c] = 0; free_all(objs) }
		atomic { objs = waiting[c]; waiting[c] = 0; free_all(objs) }
#ifdef ORDER
		wait = wait || trace_in_progress[c];
		wait = wait || rcu_in_progress[c]
#else
		wait = wait || rcu_in_progress[c];
		wait = wait || trace_in_progress[c]
#endif
	}
	if
	:: wait -> !(rcu_in_progress[0] || rcu_in_progress[1] ||
		     trace_in_progress[0] || trace_in_progress[1])
	:: else
	fi;
	caches_freed = true;
	destroyed = true
}

init
{
	atomic {
		tgt[0] = 0;
		tgt[1] = 1;
#ifdef LEAK
		waiting[0] = 1; rcu_in_progress[0] = true; rcu_queued[0] = true;
		waiting_trace[0] = 2; trace_in_progress[0] = true; trace_queued[0] = true;
		all = 3;
#endif
#ifdef ORDER
		waiting[0] = 1; rcu_in_progress[0] = true; rcu_queued[0] = true;
		all = 1;
#endif
#ifdef TGT
		tgt[1] = 0;
		waiting[1] = 1; rcu_in_progress[1] = true; rcu_queued[1] = true;
		all = 1;
#endif
		run destroy();
		run callbacks()
	}
	destroyed && callbacks_done;
	assert(back == all)
}

#endif
#endif
