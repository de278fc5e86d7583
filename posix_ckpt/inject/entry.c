/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What core/inject.c runs in a process to bring the agent in and to take it out again.  Freestanding, on
 * a stack of its own, in a thread whose signals are all blocked.
 */
#include <errno.h>
#include <signal.h>

#include "agent/agent_private.h"
#include "agent/mem.h"
#include "inject/inject.h"

#define STACK_SIZE (16U << 10)

void inject_start(void);
void inject_stop(void);

struct ckpti_agent_host inject_host;
uint8_t inject_stack[STACK_SIZE] __attribute__((aligned(64)));
__asm__(".globl inject_stack_end\n"
	".set inject_stack_end, inject_stack + 16384");
_Static_assert(STACK_SIZE == 16384, "inject_stack_end");

uint32_t inject_busy;
static struct ckpti_ksigaction before; /* what the program does with the signal */

static _Noreturn void done(long result)
{
	for (;;)
		(void)arch_syscall(CKPTI_INJECT_DONE, result, 0, 0, 0, 0, 0);
}

/* A signal of that number which is not ours: the program gets it as if we were not here. */
static void foreign(int sig, void *si, void *uc)
{
	if (!si) /* the announcement of a checkpoint: the program has not heard of such */
		return;
	if (before.handler == (uint64_t)SIG_DFL || before.handler == (uint64_t)SIG_IGN) {
		ckpti_agent_overlook(uc);
		return;
	}
	/* It comes back to us. */
	__atomic_add_fetch(&inject_busy, 1, __ATOMIC_SEQ_CST);
	((void (*)(int, void *, void *))before.handler)(sig, si, uc);
	__atomic_sub_fetch(&inject_busy, 1, __ATOMIC_SEQ_CST);
}

void inject_start(void)
{
	long r = sys(rt_sigaction, inject_host.signo, 0, &before, 8);

	inject_host.foreign = foreign;
	if (r == 0)
		r = ckpti_agent_start(&inject_host);
	done(r);
}

void inject_stop(void)
{
	long r = sys(rt_sigaction, inject_host.signo, &before, 0, 8);

	if (r == 0) {
		(void)sys(munmap, agent_state.wipe, 4096);
		if (ckpti_agent.launch_env)
			(void)sys(munmap, ckpti_agent.launch_env, ckpti_agent.launch_env_len);
	}
	done(r);
}
