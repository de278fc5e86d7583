/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Knocking at a process: SIGCKPT with the nonce goes to one thread that has it open; that one leads
 * and signals the others.
 *
 * The C library's ways to close the signal are wrapped, so a thread that has it closed for long did
 * that with a raw system call.  It is opened by ptrace while the thread stands at the border of the
 * kernel, and stays open: the program would not have known the difference had it used its libc.
 * Threads that plug-ins own are left alone, because nobody has signalled them.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "core/set.h"
#include "core/tracee.h"

#define MANY_TIMES 5 /* who takes the signal so often without coming in is not our handler */

/* What the thread is in rides along, so that its handler can repeat an interrupted call. */
static void add_syscall(int tid, siginfo_t *info)
{
	char *text = ckpti_procfs_slurp(tid, "syscall", NULL);
	uint64_t sp = 0, ip = 0;
	int32_t nr = -1;
	uint32_t low;

	if (text &&
	    sscanf(text, "%d %*x %*x %*x %*x %*x %*x %" SCNx64 " %" SCNx64, &nr, &sp, &ip) != 3)
		nr = -1;
	free(text);
	low = (uint32_t)ip;
	memcpy((char *)info + 32, &sp, sizeof(sp));
	memcpy((char *)info + 40, &nr, sizeof(nr));
	memcpy((char *)info + 44, &low, sizeof(low));
}

int ckpti_set_signal(const struct ckpti_set *set, struct ckpti_member *m, int tid, int code)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = set->signo;
	info.si_code = code;
	info.si_pid = getpid();
	info.si_uid = getuid();
	memcpy((char *)&info + 24, &set->nonce, sizeof(set->nonce));
	add_syscall(tid, &info);
	if (syscall(SYS_rt_tgsigqueueinfo, m->info.pid, tid, set->signo, &info) < 0)
		return -errno;
	m->asked += code == CKPTI_SI_REQUEST;
	return 0;
}

/* ---- the first knock ---------------------------------------------------------------------- */

struct search {
	uint64_t bit;
	int open;    /* the first thread that can take the signal, 0: none */
	int waiting; /* one that has it but did not run yet: a further one would only pile up */
};

static int search_one(void *arg, const struct ckpti_procinfo *t)
{
	struct search *s = arg;

	if (t->sig_blocked & s->bit)
		return 0;
	if (!s->open)
		s->open = t->pid;
	if (t->sig_pending & s->bit)
		s->waiting = t->pid;
	return s->waiting;
}

int ckpti_set_knock(struct ckpti_set *set, struct ckpti_member *m, int code)
{
	struct search s = {.bit = 1ULL << (set->signo - 1)};

	(void)ckpti_each_thread(m->info.pid, search_one, &s);
	if (s.waiting)
		return 0;
	return s.open ? ckpti_set_signal(set, m, s.open, code) : -EAGAIN;
}

/* ---- the second --------------------------------------------------------------------------- */

struct second {
	struct ckpti_set *set;
	struct ckpti_member *m;
	uint64_t bit;
	int request;                /* nobody leads yet: this thread is to */
	struct ckpti_procinfo shut; /* keeps it closed, and may not be traced; pid 0: none */
};

/* Between the wrapper of an exec and the exec itself the signal must stay closed: that is what keeps the
 * program alive. */
static int open_one(void *arg, const struct ckpti_procinfo *t)
{
	struct second *s = arg;
	struct ckpti_procinfo now;
	uint64_t mask;
	long taken;

	if (!(t->sig_blocked & s->bit) || (t->state != 'S' && t->state != 'R') ||
	    (!s->request && !(t->sig_pending & s->bit)) || ckpti_near_exec(t, &s->m->info))
		return 0;
	if (t->tracer != getpid() && ptrace(PTRACE_SEIZE, t->pid, NULL, NULL) < 0) {
		if (errno == EPERM)
			s->shut = *t;
		return 0;
	}
	taken = ckpti_tracee_stop(t->pid);
	if (taken < 0)
		return 0;
	/* It stands: what is read now holds until it is let go. */
	if (ckpti_procfs_read(t->pid, &now) == 0 && now.sig_caught & s->bit &&
	    ptrace(PTRACE_GETSIGMASK, t->pid, sizeof(mask), &mask) == 0) {
		mask &= ~s->bit;
		if (!(now.sig_pending & s->bit))
			(void)ckpti_set_signal(s->set, s->m, t->pid, CKPTI_SI_REQUEST);
		(void)ptrace(PTRACE_SETSIGMASK, t->pid, sizeof(mask), &mask);
		s->request = 0;
	}
	(void)ptrace(PTRACE_DETACH, t->pid, NULL, taken);
	return 0;
}

/*
 * Threads that have had the leader's signal and keep it closed are opened.  When no thread could be
 * asked to lead, the first one is.
 */
int ckpti_set_knock_again(struct ckpti_set *set, struct ckpti_member *m, struct ckpti_err *err)
{
	struct second s = {.set = set, .m = m, .bit = 1ULL << (set->signo - 1)};
	struct search first = {.bit = s.bit};

	(void)ckpti_each_thread(m->info.pid, search_one, &first);
	s.request = !first.open && !m->asked;
	(void)ckpti_each_thread(m->info.pid, open_one, &s);
	/* No waiting will help. */
	if (s.shut.pid)
		return ckpti_err_obj(
			err, -EPERM, m->info.pid, m->info.comm,
			"thread %d (%s) keeps the signal of checkpoints blocked, as that of "
			"timers with SIGEV_THREAD does, and may not be traced to open it "
			"(kernel.yama.ptrace_scope)",
			s.shut.pid, s.shut.comm);
	return 0;
}

static int sleeps(void *arg, const struct ckpti_procinfo *t)
{
	(void)arg;
	return t->state == 'S' && !(t->sig_pending & 1ULL << (SIGKILL - 1));
}

int ckpti_set_sleeps(const struct ckpti_member *m)
{
	return ckpti_each_thread(m->info.pid, sleeps, NULL);
}

/* ---- who is missing ----------------------------------------------------------------------- */

struct missing {
	uint64_t bit;
	struct ckpti_procinfo has_it; /* has the signal and did not take it; pid 0: none */
	struct ckpti_procinfo
		outside; /* does not stand in our handler, which has everything blocked */
};

static int look_for_missing(void *arg, const struct ckpti_procinfo *t)
{
	const uint64_t never = 1ULL << (SIGKILL - 1) | 1ULL << (SIGSTOP - 1);
	struct missing *s = arg;

	if (t->sig_pending & s->bit) {
		s->has_it = *t;
		return 1;
	}
	if ((t->sig_blocked | never) != ~0ULL && !s->outside.pid)
		s->outside = *t;
	return 0;
}

/* In vfork() the kernel keeps the parent until the child has its own memory. */
static bool has_vfork_child(const struct ckpti_set *set, const struct ckpti_member *m)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->member[i].info.ppid == m->info.pid &&
		    ckpti_shares_memory(&set->member[i].info))
			return true;
	return false;
}

static const char *reason(const struct ckpti_set *set, const struct ckpti_member *m,
			  const struct missing *s, const struct ckpti_procinfo *t)
{
	if (m->held)
		return "holds checkpoints off (ckpt_hold)";
	if (t->state == 'T')
		return "is stopped; send it SIGCONT first";
	if (ckpti_shares_memory(&m->info))
		return "was made by vfork() and executes no program";
	if (t->state == 'D' && has_vfork_child(set, m))
		return "waits for its child of vfork(), which executes no program";
	if (t->state == 'D')
		return "sleeps uninterruptibly in the kernel";
	if (t->sig_blocked & s->bit && (s->has_it.pid || !m->asked))
		return "keeps the signal of checkpoints blocked by a raw system call";
	if (m->asked >= MANY_TIMES)
		return set->signo == SIGRTMAX - 2
			       ? "took the signal of checkpoints for itself; if the program uses that "
				 "number, start it with another one in CKPT_SIGNO"
			       : "took the signal of checkpoints for itself";
	return "did not stop";
}

int ckpti_set_tell_missing(const struct ckpti_set *set, const struct ckpti_member *m, int code,
			   struct ckpti_err *err)
{
	struct missing s = {.bit = 1ULL << (set->signo - 1)};
	const struct ckpti_procinfo *t = &m->info;
	char *wchan;

	(void)ckpti_each_thread(m->info.pid, look_for_missing, &s);
	if (s.has_it.pid)
		t = &s.has_it;
	else if (s.outside.pid)
		t = &s.outside;
	wchan = ckpti_procfs_slurp(t->pid, "wchan", NULL);
	(void)ckpti_err_obj(err, code, m->info.pid, m->info.comm,
			    "thread %d (%s) %s (state %c, wait channel %s)", t->pid, t->comm,
			    reason(set, m, &s, t), t->state,
			    wchan && wchan[0] && wchan[0] != '0' ? wchan : "none");
	free(wchan);
	return code;
}
