/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The page of shared memory of a step on one node: made by the plugin in slurmstepd, filled in by
 * the tasks (pid) and by slurmstepd (end), read by the node agent, which says there when it is
 * ready to be ended.  Programs of the user never have it.
 */
#ifndef CKPT_SPANK_PAGE_H
#define CKPT_SPANK_PAGE_H

#include <stdint.h>

#define CKPTI_PAGE_MAGIC 0x31454741504b43ULL /* "CKPAGE1" */

enum ckpti_slot_state {
	CKPTI_SLOT_EMPTY,
	CKPTI_SLOT_FRESH,    /* the program itself */
	CKPTI_SLOT_RESTORED, /* `cpr -r`, whose descendant is the program */
	CKPTI_SLOT_LEFT_OUT, /* runs without us: see reason */
	CKPTI_SLOT_ENDED
};

enum ckpti_page_agent {
	CKPTI_AGENT_NONE,
	CKPTI_AGENT_STARTED, /* by the task that has set it */
	CKPTI_AGENT_OVER     /* all tasks have ended, and it has told how as well as it could */
};

struct ckpti_slot {
	uint32_t state; /* written last, atomically */
	int32_t pid;    /* 0 when the task had ended in an earlier life already */
	uint32_t rank;
	int32_t status; /* ENDED: as wait() */
	char reason[111];
	uint8_t building; /* RESTORED: 1 until the program runs; then cpr writes 0, see --api-ready */
};

struct ckpti_page {
	uint64_t magic;
	uint32_t nslots;
	uint32_t agent; /* enum ckpti_page_agent */
	struct ckpti_slot slot[];
};

#endif
