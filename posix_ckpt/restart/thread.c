/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads: create them with their old numbers, let each restore what belongs to it (the counterpart
 * of agent/thread.c), and send it into the agent on its own stack below its signal frame.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/sched.h>

#include "agent/mem.h"
#include "restart/restorer.h"

/* The right to choose task numbers ends here: no program ever runs with it. */
static void drop_rights(const struct ckpti_plan *p)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	long r;

	(void)sys(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	memset(data, 0, sizeof(data));
	(void)sys(capget, &head, data);
	for (int i = 0; i < 2; i++) {
		/* Where the old rights were more than there are now: those that there are. */
		data[i].inheritable |= data[i].permitted;
		data[i].inheritable &= (uint32_t)(p->cap_inh >> (32 * i));
		data[i].permitted &= (uint32_t)(p->cap_prm >> (32 * i));
		data[i].effective = data[i].permitted & (uint32_t)(p->cap_eff >> (32 * i));
	}
	r = sys(capset, &head, data);
	if (r < 0)
		restorer_die(p, "cannot set capabilities", 0, r);
}

void restorer_pending(const struct ckpti_plan *p, int tid)
{
	const struct ckpti_plan_pending *q = PLAN_ARRAY(p, pending);

	for (uint64_t i = 0; i < p->npending; i++) {
		int32_t signo;

		if (q[i].tid != tid)
			continue;
		memcpy(&signo, q[i].info, sizeof(signo));
		if (tid)
			(void)sys(rt_tgsigqueueinfo, p->pid, tid, signo, q[i].info);
		else
			(void)sys(rt_sigqueueinfo, p->pid, signo, q[i].info);
	}
}

void restorer_self(const struct ckpti_plan *p, struct ckpti_plan_thread *t)
{
	int32_t param = t->t.priority;
	int32_t tid = (int32_t)sys(gettid);

	arch_set_thread_bases(t->t.fs_base, t->t.gs_base);
	(void)sys(set_tid_address, t->t.clear_tid);
	if (t->t.robust)
		(void)sys(set_robust_list, t->t.robust, t->t.robust_len);
	if (t->t.rseq) {
		long r = sys(rseq, t->t.rseq, t->t.rseq_len, 0, t->t.rseq_sig);

		if (r < 0)
			restorer_die(p, "cannot register restartable sequences", t->t.rseq, r);
	}
	(void)sys(prctl, PR_SET_NAME, t->t.comm);
	if (t->t.timerslack)
		(void)sys(prctl, PR_SET_TIMERSLACK, t->t.timerslack);
	(void)sys(sched_setaffinity, 0, sizeof(t->t.affinity), t->t.affinity);
	if (t->t.policy)
		(void)sys(sched_setscheduler, 0, t->t.policy, &param);
	(void)sys(setpriority, 0, 0, t->t.nice);
	/* libc keeps the number of a thread where the kernel clears it at the thread's end. */
	if (p->new_ids && tid != t->t.tid && t->t.clear_tid)
		*(int32_t *)t->t.clear_tid = tid;
	t->back.tid = tid;
	restorer_pending(p, t->t.tid);
	drop_rights(p);
	if (p->pdeathsig)
		(void)sys(prctl, PR_SET_PDEATHSIG, p->pdeathsig);
}

static void thread_main(long arg)
{
	struct ckpti_plan_thread *t = (struct ckpti_plan_thread *)arg;
	struct ckpti_plan *p = (struct ckpti_plan *)t->pad;

	restorer_self(p, t);
	__atomic_add_fetch(&p->restored, 1, __ATOMIC_SEQ_CST);
	(void)ckpti_futex_wake(&p->restored, 1);
	while (!__atomic_load_n(&p->release, __ATOMIC_SEQ_CST))
		(void)ckpti_futex_wait(&p->release, 0, NULL);
	arch_jump_on_stack(p->resume, (long)&p->back, (long)&t->back, t->t.uc - 256);
}

void restorer_threads(struct ckpti_plan *p)
{
	struct ckpti_plan_thread *t = PLAN_ARRAY(p, thread);
	uint32_t others = (uint32_t)p->nthread - 1;
	uint32_t n;

	for (uint64_t i = 1; i < p->nthread; i++) {
		struct clone_args args;
		int32_t tid = t[i].t.tid;
		long r;

		memset(&args, 0, sizeof(args));
		args.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			     CLONE_SYSVSEM;
		args.stack = t[i].stack - CKPTI_PLAN_STACK;
		args.stack_size = CKPTI_PLAN_STACK;
		if (!p->new_ids) {
			args.set_tid = (uint64_t)&tid;
			args.set_tid_size = 1;
		}
		t[i].pad = (uint64_t)p;
		r = arch_clone3(&args, sizeof(args), thread_main, (long)&t[i]);
		if (r < 0)
			restorer_die(p, "cannot create a thread with its old number", (uint64_t)tid,
				     r);
	}
	while ((n = __atomic_load_n(&p->restored, __ATOMIC_SEQ_CST)) < others)
		(void)ckpti_futex_wait(&p->restored, n, NULL);
}
