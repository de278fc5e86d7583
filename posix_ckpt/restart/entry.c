/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entry of the restorer, reached at the exec stop with the plan's address: nothing of the new program
 * has run yet.  Order: memory, process, threads, timers; then every thread enters the agent, which is
 * part of the restored memory, and waits there for the rest of the tree.
 */
#include <signal.h>

#include "agent/mem.h"
#include "restart/restorer.h"

void restorer_main(struct ckpti_plan *p);

/* The first bytes of the blob. */
__asm__(".section .text.start, \"ax\"\n"
	".globl restorer_start\n"
	"restorer_start:\n\t"
	"call restorer_main\n\t"
	"hlt\n\t"
	".text\n");

_Noreturn void restorer_die(const struct ckpti_plan *p, const char *what, uint64_t addr, long error)
{
	struct ckpti_plan_error e;
	unsigned i;

	memset(&e, 0, sizeof(e));
	e.pid = p->pid;
	e.error = (int32_t)error;
	e.addr = addr;
	for (i = 0; i < sizeof(e.what) - 1 && what[i]; i++)
		e.what[i] = what[i];
	(void)sys(write, p->err_fd, &e, sizeof(e));
	for (;;)
		(void)sys(exit_group, 127);
}

void restorer_main(struct ckpti_plan *p)
{
	struct ckpti_plan_thread *main_thread = PLAN_ARRAY(p, thread);
	uint64_t top, all = ~0ULL;

	/* Our parents have blocked what libc lets them.  Timers of SIGEV_THREAD send one of the two
	 * signals that it keeps for itself, and may do so before their thread has its mask. */
	(void)sys(rt_sigprocmask, SIG_SETMASK, &all, 0, 8);
	restorer_memory(p);
	restorer_process(p);
	restorer_threads(p);
	restorer_timers(p);
	restorer_self(p, main_thread);
	restorer_pending(p, 0);
	(void)sys(close, p->err_fd);
	/* Nobody enters the agent, whose leader unmaps us, before the last one has left our stacks. */
	__atomic_store_n(&p->release, 1, __ATOMIC_SEQ_CST);
	(void)ckpti_futex_wake(&p->release, 1 << 30);
	top = main_thread->t.uc - 256;
	arch_jump_on_stack(p->resume, (long)&p->back, (long)&main_thread->back, top);
}
