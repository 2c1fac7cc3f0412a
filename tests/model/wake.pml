/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * wake.pml - how the process home's threads are woken (barrier WAKE, home/process/reclaimer.c), for spin
 *
 * The reclaimer, who has work for it, who waits for a round, and one that is ended at any step on the way.  No
 * tick comes while somebody waits: who needs one waits for ever, which spin calls an invalid end.  The
 * thread of a liburcu flavour is the same, with `wanted` for the work and `hurry` for the round.
 *
 * variant WAKE: holds: a wake, as it is
 * variant CLAIMED: fails: a wake that is claimed, then made
 * variant UNSEEN: fails: a round that is asked for before a tick, unseen
 * variant WAKER: fails: WAKE left out by who wakes
 * variant SLEEPER: fails: WAKE left out by who sleeps
 */
#define RUNNING 0
#define TICKING 1
#define ASLEEP 2
/* Rounds that may be followed by a tick; those after them are made by wakes, of which there are few. */
#define MAX_TICKS 2

byte state = RUNNING, begun, ended;
bool in_futex, woken, round_wanted, asker_waits;
bool work[2]; /* of the waker that may end on the way, and of the other, which sees to its own */

inline set_and_wake()
{
#ifdef CLAIMED
	/* Where it is claimed, who comes later leaves it to the one that has claimed it. */
	atomic {
		if
		:: state == seen -> state = RUNNING
		:: else -> seen = RUNNING
		fi
	};
	if
	:: mortal -> goto gone
	:: skip
	fi;
	if
	:: seen != RUNNING -> in_futex = false
	:: else
	fi
#else
	atomic { state = RUNNING; in_futex = false }
#endif
}

inline wake_from(how)
{
	seen = state;
	if
	:: seen == how -> set_and_wake()
	:: else
	fi
}

proctype waker(bool mortal)
{
	byte seen;
	bool was;

#ifdef WAKER
	/* Its stores reach memory after its loads. */
	was = woken;
	seen = state;
	work[mortal] = true;
	if
	:: !was -> woken = true
	:: else
	fi;
	if
	:: seen == ASLEEP -> set_and_wake()
	:: else
	fi;
#else
	work[mortal] = true;
	was = woken;
	if
	:: !was -> woken = true
	:: else
	fi;
	if
	:: mortal -> goto gone
	:: skip
	fi;
	wake_from(ASLEEP);
#endif
	!work[mortal];
gone:	skip
}

proctype asker()
{
	byte seen, after;
	bool mortal = false;

	after = begun;
#ifndef UNSEEN
	round_wanted = true;
#endif
	woken = true;
	wake_from(ASLEEP);
	wake_from(TICKING);
	asker_waits = true;
	ended > after;
	asker_waits = false;
gone:	skip
}

proctype reclaimer()
{
	byte how;
	bool go;

	do
	::	round_wanted = false;
		begun++;
		work[0] = false;
		work[1] = false;
		ended = begun;
		if
		:: begun < MAX_TICKS -> how = TICKING
		:: how = ASLEEP
		fi;
#ifdef SLEEPER
		/* Its store reaches memory after its load. */
		go = (how == TICKING -> round_wanted : woken);
		state = how;
#else
		state = how;
		go = (how == TICKING -> round_wanted : woken);
#endif
		if
		:: go
		:: else ->
			atomic { in_futex = (state == how) };
end:			if
			:: !in_futex
			:: how == TICKING && timeout && !asker_waits -> in_futex = false
			fi
		fi;
		state = RUNNING;
		woken = false
	od
}

init
{
	atomic { run reclaimer(); run waker(false); run waker(true); run asker() }
}
