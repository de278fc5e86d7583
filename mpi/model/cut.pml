/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How ranks agree where collective calls are cut (mpi/shim/cut.c, control.c).
 *
 *	spin -run -O2 cut.pml		 no errors: each cut is whole, and everybody gets to the end
 *	spin -DNO_RELIEF -run -O2 cut.pml  a deadlock: why held calls are let pass when nothing moves
 *	spin -DNO_RECHECK -run -O2 cut.pml assertion violated: why a target that was raised needs another
 *					   round of reports
 *
 * Three ranks, two communicators: A has rank 1 alone, B has 0 and 2.  The program is such that, if the
 * cut begins when rank 2 has entered B, rank 0 must go on to B, needs a message from rank 1 for that,
 * and rank 1 is held at A.
 */
#define N 3
#define C 2
#define AT(p, c) ((p) * C + (c))
#define MEMBER(p, c) ((c) == 0 && (p) == 1 || (c) == 1 && (p) != 1)

mtype = { OPEN, CUT, HOLD };

mtype mode[N] = OPEN;
byte seq[N * C], target[N * C];	/* calls begun, calls allowed */
bool inside[N];			/* in a collective call, or about to look at the gate */
bool passed[N];			/* in one */
bool held[N];
byte wants[N];			/* the communicator of a call that is held */
byte mail[N];
bool done, moved;

#define PASSES(p, c) (mode[p] == OPEN || mode[p] == CUT && seq[AT(p, c)] < target[AT(p, c)])
#define BEGUN_BY(p, c, n) (!MEMBER(p, c) || seq[AT(p, c)] >= n)

/* First say that one is inside, then look: so whoever closes the gate sees one or is seen. */
inline collective(me, c)
{
	do
	:: inside[me] = true;
	   if
	   :: atomic { PASSES(me, c) -> seq[AT(me, c)]++; passed[me] = true; moved = true };
	      break
	   :: else -> atomic { inside[me] = false; moved = true }
	   fi;
	   wants[me] = c;
	   atomic { held[me] = true; moved = true };
	   PASSES(me, c);
	   held[me] = false
	od;
	/* Rank 0 is the root of a broadcast: it need not wait. */
	me == 0 || BEGUN_BY(0, c, seq[AT(me, c)]) && BEGUN_BY(1, c, seq[AT(me, c)]) &&
		BEGUN_BY(2, c, seq[AT(me, c)]);
	atomic { inside[me] = false; passed[me] = false; moved = true }
}

inline receive(me)
{
	atomic { mode[me] != HOLD && mail[me] > 0 -> mail[me]--; moved = true }
}

inline send(me, to)
{
	atomic { mode[me] != HOLD -> mail[to]++; moved = true }
}

active proctype rank0() { receive(0); collective(0, 1); collective(0, 1); send(0, 1) }
active proctype rank1() { collective(1, 0); send(1, 0); collective(1, 0); receive(1) }
active proctype rank2() { collective(2, 1); collective(2, 1) }

active proctype root()
{
	byte i, c, most;
	byte was[N * C];
	bool whole, raised, anyone;

	i = 0;
	do :: i < N -> atomic { mode[i] = CUT;
			for (c : 0 .. C - 1) { target[AT(i, c)] = seq[AT(i, c)] } };
		       i++
	   :: else -> break od;
	do
	:: done -> break
	:: else ->
		moved = false;
		whole = true;
		anyone = false;
		raised = false;
		/* A report is of one moment; those of different ranks are not of the same one. */
		i = 0;
		do
		:: i < N -> atomic {
				whole = whole && !inside[i];
				anyone = anyone || held[i];
				for (c : 0 .. C - 1) { was[AT(i, c)] = seq[AT(i, c)];
					if :: was[AT(i, c)] != target[AT(i, c)] -> whole = false
					   :: else fi } };
			    i++
		:: else -> break
		od;
		atomic {
			for (c : 0 .. C - 1) {
				most = 0;
				for (i : 0 .. N - 1) {
					if :: MEMBER(i, c) && was[AT(i, c)] > most -> most = was[AT(i, c)]
					   :: else fi }
				for (i : 0 .. N - 1) {
					if :: MEMBER(i, c) && target[AT(i, c)] < most ->
						target[AT(i, c)] = most; raised = true
					   :: else fi } }
			i = 0; c = 0
		}
		if
#ifndef NO_RECHECK
		:: whole && !raised -> done = true
#else
		:: whole -> done = true
#endif
#ifndef NO_RELIEF
		/* Nothing has moved for a while.  The model may think so too early. */
		:: !whole && anyone ->
			i = 0;
			do :: i < N -> atomic { if
				:: held[i] && seq[AT(i, wants[i])] == target[AT(i, wants[i])] ->
					target[AT(i, wants[i])] = seq[AT(i, wants[i])] + 1
				:: else fi };
				i++
			   :: else -> break od
#endif
		:: (!whole || raised) && (moved || raised)
		fi
	od;
	i = 0;
	do :: i < N -> mode[i] = HOLD; i++ :: else -> break od;
	assert(!passed[0] && !passed[1] && !passed[2]);
	assert(seq[AT(0, 1)] == seq[AT(2, 1)]);
	i = 0;
	do :: i < N -> mode[i] = OPEN; i++ :: else -> break od
}
