/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes that were started without libckpt: ptrace brings the agent in, by a few remote calls, and
 * then everything goes the usual way, by signals.
 *
 * What such a process lacks are the wrapped calls of libc, which keep the signal away from an exec: a
 * signal that is pending then would end the new program.  So the request is made while all threads are
 * held.  The one that is to lead is let go first; each other one when the leader has signalled it, and
 * it takes the signal before it can begin a system call.  After the checkpoint the agent is taken out
 * again, so that the process is as it was.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "arch/ptrace.h"
#include "core/set.h"
#include "core/tracee.h"
#include "inject/inject.h"

extern const uint8_t ckpti_inject_blob[], ckpti_inject_blob_end[];

#define AGAIN_NS    1000000000U /* between two requests to one process */
#define SIGNAL_NS   2000000000U /* for the leader to signal the others */
#define WITHDRAW_NS 1000000000U /* for the threads to leave the handler */
#define STEP_NS     50000
#define ALL_SIGNALS (~0ULL)
#define RSEQ_CONFIG 0x420f /* PTRACE_GET_RSEQ_CONFIGURATION, Linux 5.13 */

#define RSEQ_CS 8 /* offset of the section that is under way, 0: none, or it has been left */

struct rseq_config {
	uint64_t pointer;
	uint32_t size, signature, flags, pad;
};

/* A thread that remote calls are made in. */
struct worker {
	int pid;
	struct arch_tracee t;
	uint64_t insn; /* a system call instruction */
	uint64_t mask; /* of its signals */
};

static const struct ckpti_inject_header *header(void)
{
	return (const void *)ckpti_inject_blob;
}

static void nap(void)
{
	const struct timespec step = {.tv_nsec = STEP_NS};

	(void)nanosleep(&step, NULL);
}

static int peek(int pid, uint64_t addr, void *buf, uint64_t len)
{
	struct iovec local = {.iov_base = buf, .iov_len = len};
	struct iovec there = {.iov_base = (void *)addr, .iov_len = len};
	ssize_t n = process_vm_readv(pid, &local, 1, &there, 1, 0);

	return n < 0 ? -errno : (uint64_t)n == len ? 0 : -EFAULT;
}

/* While threads are held, and one has other registers than its own, nothing but SIGKILL may end us. */
static void block_signals(sigset_t *ret_old)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, ret_old);
}

static void unblock_signals(const sigset_t *old)
{
	(void)sigprocmask(SIG_SETMASK, old, NULL);
}

/* ---- remote calls ------------------------------------------------------------------------- */

/* Does the thread stand in a restartable sequence?  A remote call would end it unseen. */
static bool in_sequence(int pid, int tid)
{
	struct rseq_config conf = {0};
	uint64_t section = 0;

	return ptrace(RSEQ_CONFIG, tid, sizeof(conf), &conf) > 0 && conf.pointer &&
	       peek(pid, conf.pointer + RSEQ_CS, &section, sizeof(section)) == 0 && section;
}

/* -EAGAIN: no thread can be used now. */
static int worker_begin(struct worker *w, const struct ckpti_tracees *t)
{
	struct ckpti_map *map = NULL;
	size_t n = 0;
	int r;

	memset(w, 0, sizeof(*w));
	w->pid = t->pid;
	w->t.wait = ckpti_tracee_wait;
	for (size_t i = 0; i < t->n && !w->t.tid; i++)
		if (t->tid[i] && !in_sequence(t->pid, t->tid[i]))
			w->t.tid = t->tid[i];
	r = w->t.tid ? ckpti_procfs_maps(w->pid, &map, &n) : -EAGAIN;
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && !w->insn; i++)
		if (strcmp(map[i].name, "[vdso]") == 0)
			w->insn =
				arch_find_syscall(w->pid, map[i].start, map[i].end - map[i].start);
	ckpti_procfs_maps_free(map, n);
	if (!w->insn)
		return -ENOEXEC;
	if (ptrace(PTRACE_GETSIGMASK, w->t.tid, sizeof(w->mask), &w->mask) < 0)
		return -errno;
	return ptrace(PTRACE_SETSIGMASK, w->t.tid, sizeof(uint64_t), &(uint64_t){ALL_SIGNALS}) < 0
		       ? -errno
		       : 0;
}

/* Back from the end of a remote call to where a signal would be taken: there the kernel repeats a call
 * that the thread was in. */
static int worker_end(struct worker *w)
{
	int status;

	(void)ptrace(PTRACE_SETSIGMASK, w->t.tid, sizeof(w->mask), &w->mask);
	if (w->t.late)
		(void)syscall(SYS_tgkill, w->pid, w->t.tid, w->t.late);
	if (ptrace(PTRACE_INTERRUPT, w->t.tid, NULL, NULL) < 0 ||
	    ptrace(PTRACE_CONT, w->t.tid, NULL, 0) < 0)
		return -errno;
	return ckpti_tracee_wait(w->t.tid, &status);
}

static long remote(struct worker *w, long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	return arch_remote_syscall(&w->t, w->insn, nr, a, b, c, d, -1, 0);
}

static int copy(int pid, uint64_t addr, const void *buf, uint64_t len)
{
	struct iovec local = {.iov_base = (void *)buf, .iov_len = len};
	struct iovec there = {.iov_base = (void *)addr, .iov_len = len};
	ssize_t n = process_vm_writev(pid, &local, 1, &there, 1, 0);

	return n < 0 ? -errno : (uint64_t)n == len ? 0 : -EFAULT;
}

/* ---- in ----------------------------------------------------------------------------------- */

/* Where libc has registered restartable sequences, which is the same in all threads. */
static void find_rseq(int tid, struct ckpti_agent_host *host)
{
	struct rseq_config conf = {0};
	uint64_t base;

	if (ptrace(RSEQ_CONFIG, tid, sizeof(conf), &conf) < 0 || !conf.pointer ||
	    arch_thread_pointer(tid, &base) < 0)
		return;
	host->rseq_offset = (int64_t)(conf.pointer - base);
	host->rseq_size = conf.size;
}

static int plant(struct worker *w, int signo, uint64_t *ret_at)
{
	const struct ckpti_inject_header *h = header();
	struct ckpti_agent_host host = {.signo = signo};
	long at = remote(w, SYS_mmap, 0, h->total_len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS);
	long r;

	if (at < 0)
		return (int)at;
	find_rseq(w->t.tid, &host);
	r = copy(w->pid, (uint64_t)at, ckpti_inject_blob, h->file_len);
	if (r == 0)
		r = copy(w->pid, (uint64_t)at + h->host, &host, sizeof(host));
	if (r == 0)
		r = remote(w, SYS_mprotect, (uint64_t)at, h->text_len, PROT_READ | PROT_EXEC, 0);
	if (r == 0)
		r = arch_remote_call(&w->t, (uint64_t)at + h->start, (uint64_t)at + h->stack,
				     CKPTI_INJECT_DONE);
	if (r < 0) {
		(void)remote(w, SYS_munmap, (uint64_t)at, h->total_len, 0, 0);
		return (int)r;
	}
	*ret_at = (uint64_t)at;
	return 0;
}

static int bring_in(struct ckpti_set *set, struct ckpti_member *m, const struct ckpti_tracees *t)
{
	struct worker w;
	int r = worker_begin(&w, t);
	int end;

	if (r < 0)
		return r;
	r = plant(&w, set->signo, &m->agent_at);
	end = worker_end(&w);
	if (r == 0) {
		m->agent = CKPTI_AGENT_PLANTED;
		m->planted = true;
	}
	return r < 0 ? r : end;
}

uint64_t ckpti_inject_find(int pid, const char *maps)
{
	uint64_t magic = 0;

	/* Anonymous and executable: few are. */
	for (const char *p = maps; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
		uint64_t start;
		char perm[8];
		int len = 0;

		if (sscanf(p, "%" SCNx64 "-%*x %7s %*s %*s %*s%n", &start, perm, &len) != 2 ||
		    strcmp(perm, "r-xp") != 0 || !len || strncmp(p + len, " \n", 2) != 0)
			continue;
		if (peek(pid, start, &magic, sizeof(magic)) == 0 && magic == CKPTI_INJECT_MAGIC)
			return start;
	}
	return 0;
}

/* ---- the request -------------------------------------------------------------------------- */

static int remember_shut(struct ckpti_member *m, int tid)
{
	int *bigger = realloc(m->shut, (m->nshut + 1) * sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	m->shut = bigger;
	m->shut[m->nshut++] = tid;
	return 0;
}

static void open_signal(const struct ckpti_set *set, struct ckpti_member *m, int tid)
{
	uint64_t bit = 1ULL << (set->signo - 1), mask;
	struct ckpti_procinfo now;

	if (ckpti_procfs_read(tid, &now) < 0 || !(now.sig_blocked & bit) ||
	    ptrace(PTRACE_GETSIGMASK, tid, sizeof(mask), &mask) < 0)
		return;
	if (mask & bit && remember_shut(m, tid) < 0)
		return;
	mask &= ~bit;
	(void)ptrace(PTRACE_SETSIGMASK, tid, sizeof(mask), &mask);
}

static int has_signal(int tid, uint64_t bit)
{
	struct ckpti_procinfo now;

	return ckpti_procfs_read(tid, &now) < 0 || now.sig_pending & bit;
}

/* Does a thread still run in the agent, or on its memory, or has a signal for it? */
static int is_inside(const struct ckpti_tracees *t, uint64_t at, uint64_t bit)
{
	for (size_t i = 0; i < t->n; i++) {
		struct ckpti_procinfo now;
		uint64_t ip, sp;

		if (!t->tid[i])
			continue;
		if (ckpti_procfs_read(t->tid[i], &now) < 0 ||
		    (now.sig_pending | now.sig_shared) & bit ||
		    arch_position(t->tid[i], &ip, &sp) < 0 || ip - at < header()->total_len ||
		    sp - at < header()->total_len)
			return 1;
	}
	return 0;
}

/* The first one leads. */
static int ask_all(struct ckpti_set *set, struct ckpti_member *m, struct ckpti_tracees *t)
{
	uint64_t bit = 1ULL << (set->signo - 1);
	uint64_t deadline = ckpti_now_ns() + SIGNAL_NS;
	size_t first = 0, waiting = 0;
	int r;

	while (first < t->n && !t->tid[first])
		first++;
	if (first == t->n)
		return -EAGAIN;
	r = ckpti_set_signal(set, m, t->tid[first], CKPTI_SI_REQUEST);
	if (r < 0)
		return r;
	open_signal(set, m, t->tid[first]);
	ckpti_tracees_let_go(t, first, 0);
	do {
		waiting = 0;
		for (size_t i = 0; i < t->n; i++) {
			if (!t->tid[i])
				continue;
			if (has_signal(t->tid[i], bit)) {
				open_signal(set, m, t->tid[i]);
				ckpti_tracees_let_go(t, i, 0);
			} else {
				waiting++;
			}
		}
		if (waiting)
			nap();
	} while (waiting && ckpti_now_ns() < deadline);
	return 0;
}

static int refused(const struct ckpti_member *m, int r, struct ckpti_err *err)
{
	switch (r) {
	case -EAGAIN:
	case -ESRCH: /* it has ended, which the next scan will see */
	case -ECHILD:
		return -EAGAIN;
	case -EPERM:
		return ckpti_err_obj(err, -EPERM, m->info.pid, m->info.comm,
				     "has no libckpt and may not be traced to bring it in "
				     "(kernel.yama.ptrace_scope); start it with 'cpr run'");
	case -ENOEXEC:
		return ckpti_err_obj(
			err, -ENOTSUP, m->info.pid, m->info.comm,
			"has no libckpt and is a program of 32 bits or without a vdso");
	default:
		return ckpti_err_obj(err, r, m->info.pid, m->info.comm,
				     "has no libckpt, which cannot be brought in: %s",
				     strerror(-r));
	}
}

int ckpti_set_inject(struct ckpti_set *set, struct ckpti_member *m, struct ckpti_err *err)
{
	struct ckpti_tracees t;
	sigset_t old;
	int r;

	/* It is about to come in, or waits for something: not held again and again. */
	if (m->asked && ckpti_now_ns() - m->knock_ns < AGAIN_NS)
		return -EAGAIN;
	block_signals(&old);
	r = ckpti_tracees_hold(&m->info, &t);
	if (r < 0)
		goto out;
	if (m->agent == CKPTI_AGENT_NONE)
		r = bring_in(set, m, &t);
	else if (is_inside(&t, m->agent_at, 1ULL << (set->signo - 1)))
		r = -EAGAIN; /* it is about to come in, or to go on after the last round */
	if (r == 0)
		r = ask_all(set, m, &t);
	ckpti_tracees_release(&t);
out:
	unblock_signals(&old);
	return r < 0 ? refused(m, r, err) : 0;
}

/* ---- out ---------------------------------------------------------------------------------- */

static int take_out(struct ckpti_member *m, struct ckpti_tracees *t, int signo)
{
	const struct ckpti_inject_header *h = header();
	struct worker w;
	uint32_t busy;
	long r;
	int end;

	if (peek(m->info.pid, m->agent_at + h->busy, &busy, sizeof(busy)) < 0 || busy ||
	    is_inside(t, m->agent_at, 1ULL << (signo - 1)))
		return -EAGAIN;
	r = worker_begin(&w, t);
	if (r < 0)
		return (int)r;
	r = arch_remote_call(&w.t, m->agent_at + h->stop, m->agent_at + h->stack,
			     CKPTI_INJECT_DONE);
	if (r == 0)
		r = remote(&w, SYS_munmap, m->agent_at, h->total_len, 0, 0);
	end = worker_end(&w);
	for (size_t i = 0; r == 0 && i < t->n; i++) {
		uint64_t mask, bit = 1ULL << (signo - 1);

		for (size_t k = 0; k < m->nshut; k++)
			if (t->tid[i] && m->shut[k] == t->tid[i] &&
			    ptrace(PTRACE_GETSIGMASK, t->tid[i], sizeof(mask), &mask) == 0) {
				mask |= bit;
				(void)ptrace(PTRACE_SETSIGMASK, t->tid[i], sizeof(mask), &mask);
			}
	}
	return r < 0 ? (int)r : end;
}

static void withdraw(struct ckpti_set *set, struct ckpti_member *m)
{
	uint64_t deadline = ckpti_now_ns() + WITHDRAW_NS;
	struct ckpti_procinfo now;
	struct ckpti_tracees t;
	sigset_t old;
	int r;

	do {
		if (ckpti_procfs_read(m->info.pid, &now) < 0 ||
		    now.start_time != m->info.start_time)
			return;
		block_signals(&old);
		r = ckpti_tracees_hold(&now, &t);
		if (r == 0)
			r = take_out(m, &t, set->signo);
		ckpti_tracees_release(&t);
		unblock_signals(&old);
		if (r == -EAGAIN)
			nap();
	} while (r == -EAGAIN && ckpti_now_ns() < deadline);
	if (r == 0)
		m->planted = false;
}

void ckpti_set_withdraw(struct ckpti_set *set)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->member[i].planted)
			withdraw(set, &set->member[i]);
}
