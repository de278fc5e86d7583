/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process registers for the quick kinds of membarrier(2), and a library that did so at its start does
 * not expect them to be refused later.  The agent's own memory carries what was registered.
 */
#include <linux/membarrier.h>

#include "agent/agent_private.h"

void agent_membarrier_save(void)
{
	static const struct {
		int use, registers;
	} kind[] = {
		{MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED},
		{MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE,
		 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE},
		{MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ,
		 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ},
	};
	long r = sys(membarrier, CKPTI_MEMBARRIER_REGISTRATIONS, 0, 0);

	agent_state.membarrier = r > 0 ? (uint32_t)r : 0;
	if (r >= 0)
		return;
	/* An older kernel tells only whether a use is allowed. */
	for (unsigned i = 0; i < sizeof(kind) / sizeof(*kind); i++)
		if (sys(membarrier, kind[i].use, 0, 0) == 0)
			agent_state.membarrier |= (uint32_t)kind[i].registers;
}

void agent_membarrier_restore(void)
{
	for (uint32_t left = agent_state.membarrier; left; left &= left - 1)
		(void)sys(membarrier, left & -left, 0, 0);
}
