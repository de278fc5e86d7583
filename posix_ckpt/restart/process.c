/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What belongs to the whole process and does not survive an exec: close-on-exec flags, POSIX locks,
 * signal actions, timers, some prctl settings.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <signal.h>

#include "agent/mem.h"
#include "restart/restorer.h"

static void descriptors(const struct ckpti_plan *p)
{
	const int32_t *cloexec = PLAN_ARRAY(p, cloexec);
	const struct ckpti_plan_lock *lock = PLAN_ARRAY(p, lock);

	if (p->keep_first <= p->keep_last)
		(void)sys(close_range, p->keep_first, p->keep_last, 0);
	for (uint64_t i = 0; i < p->ncloexec; i++)
		(void)sys(fcntl, cloexec[i], F_SETFD, FD_CLOEXEC);
	/* Last of all that opens and closes files: closing any descriptor of a file drops its locks. */
	for (uint64_t i = 0; i < p->nlock; i++) {
		struct flock fl;
		long r;

		memset(&fl, 0, sizeof(fl));
		fl.l_type = (short)lock[i].type;
		fl.l_whence = 0; /* SEEK_SET */
		fl.l_start = (off_t)lock[i].start;
		fl.l_len = (off_t)lock[i].len;
		r = sys(fcntl, lock[i].fd, F_SETLK, &fl);
		if (r < 0)
			restorer_die(p, "another process holds a file lock of descriptor",
				     (uint64_t)lock[i].fd, r);
	}
}

static void signals(const struct ckpti_plan *p)
{
	const struct ckpti_e_sigaction *sa = PLAN_ARRAY(p, sigaction);

	for (int sig = 1; sig <= 64; sig++) {
		struct ckpti_ksigaction k;

		if (sig == SIGKILL || sig == SIGSTOP)
			continue;
		k.handler = sa[sig - 1].handler;
		k.flags = sa[sig - 1].flags;
		k.restorer = sa[sig - 1].restorer;
		k.mask = sa[sig - 1].mask;
		(void)sys(rt_sigaction, sig, &k, 0, 8);
	}
}

/* What arrived while the process was being built (a helper's SIGCHLD) is not the program's. */
static void forget_pending(void)
{
	uint64_t all = ~0ULL;
	struct {
		int64_t sec, nsec;
	} zero = {0, 0};

	while (sys(rt_sigtimedwait, &all, 0, &zero, 8) > 0)
		;
}

void restorer_process(struct ckpti_plan *p)
{
	const struct ckpti_e_itimer *it = PLAN_ARRAY(p, itimer);

	descriptors(p);
	forget_pending();
	signals(p);
	for (int i = 0; i < 3; i++) {
		struct {
			int64_t isec, iusec, vsec, vusec;
		} v;

		v.isec = it[i].interval_us / 1000000;
		v.iusec = it[i].interval_us % 1000000;
		v.vsec = it[i].value_us / 1000000;
		v.vusec = it[i].value_us % 1000000;
		if (it[i].value_us)
			(void)sys(setitimer, i, &v, 0);
	}
	(void)sys(prctl, PR_SET_CHILD_SUBREAPER, p->subreaper);
	if (!p->dumpable)
		(void)sys(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (p->thp_disable)
		(void)sys(prctl, PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

/* The number that the thread has now. */
static int32_t tid_now(const struct ckpti_plan *p, int32_t tid)
{
	const struct ckpti_plan_thread *t = PLAN_ARRAY(p, thread);

	if (tid == t[0].t.tid)
		return (int32_t)sys(gettid);
	for (uint64_t i = 1; i < p->nthread; i++)
		if (t[i].t.tid == tid)
			return t[i].back.tid;
	return tid;
}

/* When the threads exist, which a timer may be aimed at. */
void restorer_timers(const struct ckpti_plan *p)
{
	const struct ckpti_e_timer *t = PLAN_ARRAY(p, timer);

	if (!p->ntimer)
		return;
	(void)sys(prctl, PR_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0);
	for (uint64_t i = 0; i < p->ntimer; i++) {
		struct {
			uint64_t value;
			int32_t signo, notify, tid;
			int32_t pad[12];
		} ev;
		struct {
			int64_t isec, insec, vsec, vnsec;
		} v;
		int32_t id = t[i].id;
		long r;

		memset(&ev, 0, sizeof(ev));
		ev.value = t[i].value;
		ev.signo = t[i].signo;
		ev.notify = t[i].notify;
		ev.tid = tid_now(p, t[i].tid);
		/* A kernel from before the prctl gives out ascending numbers: skip to ours. */
		for (;;) {
			r = sys(timer_create, t[i].clock, &ev, &id);
			if (r < 0 || id >= t[i].id)
				break;
			(void)sys(timer_delete, id);
		}
		if (r < 0 || id != t[i].id)
			restorer_die(p, "cannot create a timer with its old number",
				     (uint64_t)t[i].id, r < 0 ? r : -EADDRINUSE);
		v.isec = t[i].interval_ns / 1000000000;
		v.insec = t[i].interval_ns % 1000000000;
		v.vsec = t[i].value_ns / 1000000000;
		v.vnsec = t[i].value_ns % 1000000000;
		(void)sys(timer_settime, id, 0, &v, 0);
	}
	(void)sys(prctl, PR_TIMER_CREATE_RESTORE_IDS, 0, 0, 0, 0);
}
