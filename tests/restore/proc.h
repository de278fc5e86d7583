/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes of a test: they share a page, each waits on it through the checkpoint and then compares
 * its ids with those that it had.  Whoever waits for it learns the outcome from its status, the root
 * also from the page (of a process without a parent).
 */
#ifndef CKPT_T_PROC_H
#define CKPT_T_PROC_H

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t.h"

#define P_MAX    160
#define P_ORPHAN 1 /* flag: the parent is outside of the test */
#define P_FAILED 99

struct p_ids {
	int pid, ppid, pgid, sid;
};

struct p_member {
	struct p_ids ids; /* before the checkpoint */
	uint32_t ready;
	uint32_t verified; /* its ids are the same */
	uint32_t signals;  /* SIGUSR1 that it has had */
};

struct p_board {
	uint32_t go;
	struct p_member m[P_MAX];
};

static struct p_board *p_board;
static struct p_member *p_me;

static inline void p_start(void)
{
	p_board = mmap(NULL, sizeof(*p_board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	t_check(p_board != MAP_FAILED, "no shared memory");
}

static inline struct p_ids p_ids(void)
{
	return (struct p_ids){getpid(), getppid(), getpgrp(), getsid(0)};
}

/* Poll *word; nothing that takes long happens on this page. */
static inline void p_await(const uint32_t *word, uint32_t value, const char *what)
{
	for (int i = 0; i < 6000; i++) {
		if (__atomic_load_n(word, __ATOMIC_SEQ_CST) >= value)
			return;
		(void)usleep(10000);
	}
	t_fail("%s: not within 60 s", what);
}

static inline void p_go(void)
{
	__atomic_store_n(&p_board->go, 1, __ATOMIC_SEQ_CST);
}

/* Status that member i ends with: of this very life of the test. */
static inline int p_status(int i)
{
	return (int)((t_token() >> (i % 50)) & 0x3f) + 1;
}

static inline void p_count_signal(int signo)
{
	(void)signo;
	__atomic_add_fetch(&p_me->signals, 1, __ATOMIC_SEQ_CST);
}

/* Through the checkpoint as member i. */
static inline void p_live_through(int i, int flags)
{
	struct p_member *m = &p_board->m[i];
	struct p_ids now;

	p_me = m;
	(void)signal(SIGUSR1, p_count_signal);
	m->ids = p_ids();
	__atomic_store_n(&m->ready, 1, __ATOMIC_SEQ_CST);
	p_await(&p_board->go, 1, "go");
	now = p_ids();
	if (flags & P_ORPHAN)
		now.ppid = m->ids.ppid;
	if (memcmp(&now, &m->ids, sizeof(now)) != 0)
		t_fail("member %d was pid %d ppid %d pgid %d sid %d, is %d %d %d %d", i, m->ids.pid,
		       m->ids.ppid, m->ids.pgid, m->ids.sid, now.pid, now.ppid, now.pgid, now.sid);
	__atomic_store_n(&m->verified, 1, __ATOMIC_SEQ_CST);
}

static inline void p_all_ready(int n)
{
	for (int i = 0; i < n; i++)
		p_await(&p_board->m[i].ready, 1, "a process does not start");
}

/* wait() for child `pid` and nothing else. */
static inline void p_reap(int pid, int want)
{
	int status = -1;
	int got = waitpid(pid, &status, 0);

	t_check(got == pid, "waitpid(%d) returned %d: %m", pid, got);
	t_check(WIFEXITED(status) && WEXITSTATUS(status) == want,
		"process %d ended with %x instead of status %d", pid, (unsigned)status, want);
}

#endif
