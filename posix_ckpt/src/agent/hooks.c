/* SPDX-License-Identifier: BSD-3-Clause */
/* Plug-ins' predicates and events: asked in the order of registration. */
#include "ckpt_hooks.h"

#include "agent/agent_private.h"

#define EACH(h)                                              \
	for (uint32_t i_ = 0; i_ < ckpti_agent.nhooks; i_++) \
		for (const struct ckpt_hooks *h = ckpti_agent.hooks[i_]; h; h = NULL)

int agent_foreign_task(int tid)
{
	EACH(h)
	if (h->foreign_task && h->foreign_task(h->arg, tid))
		return 1;
	return 0;
}

int agent_foreign_fd(int fd)
{
	for (int i = 0; i < CKPTI_MAX_OWN_FDS; i++)
		if (ckpti_agent.own_fd[i] == fd)
			return 1;
	EACH(h)
	if (h->foreign_fd && h->foreign_fd(h->arg, fd))
		return 1;
	return 0;
}

int agent_foreign_map(uintptr_t start, uintptr_t end)
{
	EACH(h)
	if (h->foreign_map && h->foreign_map(h->arg, start, end))
		return 1;
	return 0;
}

int agent_foreign_timer(int id)
{
	EACH(h)
	if (h->foreign_timer && h->foreign_timer(h->arg, id))
		return 1;
	return 0;
}

/* When one refuses, those that had agreed are told that it is over. */
int agent_hooks_quiesce(void)
{
	const struct ckpt_hooks *h;
	uint32_t n;

	for (n = 0; n < ckpti_agent.nhooks; n++) {
		h = ckpti_agent.hooks[n];
		if (h && h->quiesce && h->quiesce(h->arg))
			break;
	}
	if (n == ckpti_agent.nhooks)
		return 0;
	while (n--) {
		h = ckpti_agent.hooks[n];
		if (h && h->after_continue)
			h->after_continue(h->arg);
	}
	return 1;
}

int agent_hooks_before_image(void)
{
	EACH(h)
	if (h->before_image && h->before_image(h->arg))
		return 1;
	return 0;
}

void agent_hooks_after_continue(void)
{
	EACH(h)
	if (h->after_continue)
		h->after_continue(h->arg);
}

void agent_hooks_after_restart(void)
{
	EACH(h)
	if (h->after_restart)
		h->after_restart(h->arg);
}
