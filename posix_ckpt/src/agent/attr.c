/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Settings of a process and of its threads that neither /proc shows to others nor the signal frame
 * holds: priorities of input and output, NUMA policies, mitigations, and the like.  As with
 * membarrier.c, the agent's own memory carries them, and each thread sets its own again when it comes
 * back.
 *
 * NUMA nodes may be others where the restart is: of the old ones those count that are there; where
 * none is, the kernel's choice.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/prctl.h>

#include "agent/agent_private.h"
#include "agent/mem.h"
#include "agent/text.h"

#define IOPRIO_SELF 1                             /* IOPRIO_WHO_PROCESS */
#define MAX_NODE    (AGENT_NODE_WORDS * 64UL + 1) /* as the kernel wants to have it counted */
#define FILTER      "/proc/self/coredump_filter"

/* Not in the headers of Debian 12. */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif

/* ---- NUMA --------------------------------------------------------------------------------- */

static void get_policy(struct agent_policy *p, uint64_t addr, long flags)
{
	int32_t mode = 0;

	memset(p, 0, sizeof(*p));
	if (sys(get_mempolicy, &mode, p->nodes, MAX_NODE, addr, flags) == 0)
		p->mode = mode;
}

static int same_policy(const struct agent_policy *a, const struct agent_policy *b)
{
	return a->mode == b->mode && memcmp(a->nodes, b->nodes, sizeof(a->nodes)) == 0;
}

/* Nodes that are here now; 0: a policy of nodes of which none is. */
static int usable(const struct agent_policy *p, uint64_t *nodes)
{
	uint64_t allowed[AGENT_NODE_WORDS] = {0}, had = 0, left = 0;

	(void)sys(get_mempolicy, 0, allowed, MAX_NODE, 0, MPOL_F_MEMS_ALLOWED);
	for (int i = 0; i < AGENT_NODE_WORDS; i++) {
		nodes[i] = p->nodes[i] & allowed[i];
		had |= p->nodes[i];
		left |= nodes[i];
	}
	return left || !had;
}

/* Mappings with a policy of their own; text is that of /proc/self/maps. */
static void save_areas(const char *text)
{
	for (const char *p = text; *p;) {
		struct agent_area *last = NULL, *a;
		uint64_t start = agent_hex(&p), end;

		p += *p == '-';
		end = agent_hex(&p);
		while (*p && *p++ != '\n')
			;
		if (agent_state.nareas == AGENT_MAX_AREAS)
			return;
		a = &agent_state.area[agent_state.nareas];
		get_policy(&a->policy, start, MPOL_F_ADDR);
		if (a->policy.mode == MPOL_DEFAULT)
			continue;
		a->start = start;
		a->end = end;
		if (agent_state.nareas)
			last = a - 1;
		if (last && last->end == start && same_policy(&last->policy, &a->policy))
			last->end = end;
		else
			agent_state.nareas++;
	}
}

static void restore_areas(void)
{
	uint64_t nodes[AGENT_NODE_WORDS];

	for (uint32_t i = 0; i < agent_state.nareas; i++) {
		const struct agent_area *a = &agent_state.area[i];

		/* The content came before the policy. */
		if (usable(&a->policy, nodes))
			(void)sys(mbind, a->start, a->end - a->start, a->policy.mode, nodes,
				  MAX_NODE, MPOL_MF_MOVE);
	}
}

/* ---- a thread ----------------------------------------------------------------------------- */

void agent_attr_save_thread(struct agent_attr *a)
{
	long r = sys(ioprio_get, IOPRIO_SELF, 0);

	memset(a, 0, sizeof(*a));
	a->ioprio = r > 0 ? (int32_t)r : 0;
	get_policy(&a->policy, 0, 0);
	for (long i = 0; i < AGENT_NSPEC; i++) {
		r = sys(prctl, PR_GET_SPECULATION_CTRL, i, 0, 0, 0);
		a->speculation[i] =
			r > 0 && (r & PR_SPEC_PRCTL) ? (uint32_t)(r & ~PR_SPEC_PRCTL) : 0;
	}
	a->keepcaps = (int32_t)sys(prctl, PR_GET_KEEPCAPS, 0, 0, 0, 0);
	(void)sys(prctl, PR_GET_TSC, &a->tsc, 0, 0, 0);
	a->mce_kill = (int32_t)sys(prctl, PR_MCE_KILL_GET, 0, 0, 0, 0);
}

static void restore_thread(const struct agent_attr *a)
{
	uint64_t nodes[AGENT_NODE_WORDS];

	if (a->ioprio)
		(void)sys(ioprio_set, IOPRIO_SELF, 0, a->ioprio);
	if (a->policy.mode != MPOL_DEFAULT && usable(&a->policy, nodes))
		(void)sys(set_mempolicy, a->policy.mode, nodes, MAX_NODE);
	for (long i = 0; i < AGENT_NSPEC; i++)
		if (a->speculation[i] & ~(uint32_t)PR_SPEC_ENABLE)
			(void)sys(prctl, PR_SET_SPECULATION_CTRL, i, a->speculation[i], 0, 0);
	if (a->keepcaps == 1)
		(void)sys(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
	if (a->tsc == PR_TSC_SIGSEGV)
		(void)sys(prctl, PR_SET_TSC, a->tsc, 0, 0, 0);
	if (a->mce_kill == PR_MCE_KILL_EARLY || a->mce_kill == PR_MCE_KILL_LATE)
		(void)sys(prctl, PR_MCE_KILL, PR_MCE_KILL_SET, a->mce_kill, 0, 0);
}

/* A thread is found by its frame. */
void agent_attr_restore_thread(uint64_t uc)
{
	for (uint32_t i = 0; i < agent_state.nin && i < AGENT_MAX_THREADS; i++)
		if (agent_state.thread[i].uc == uc)
			restore_thread(&agent_state.attr[i]);
}

/* ---- the process -------------------------------------------------------------------------- */

void agent_attr_save(char *scratch, size_t size)
{
	long r;

	/* Not those of the checkpoint before. */
	agent_state.nareas = 0;
	if (agent_slurp("/proc/self/maps", scratch, size) > 0)
		save_areas(scratch);
	if (agent_slurp(FILTER, agent_state.dump_filter, sizeof(agent_state.dump_filter)) <= 0)
		agent_state.dump_filter[0] = 0;
	r = sys(prctl, PR_GET_MDWE, 0, 0, 0, 0);
	agent_state.mdwe = r > 0 ? (uint32_t)r : 0;
}

/* The file reads as hexadecimal without a prefix, and takes one with it. */
static void restore_dump_filter(void)
{
	char text[sizeof(agent_state.dump_filter) + 2] = "0x";
	size_t n = agent_strlen(agent_state.dump_filter);
	long fd = n ? sys(openat, AT_FDCWD, FILTER, O_WRONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	memcpy(text + 2, agent_state.dump_filter, n);
	(void)sys(write, fd, text, n + 2);
	(void)sys(close, fd);
}

void agent_attr_restore(void)
{
	restore_areas();
	restore_dump_filter();
	if (agent_state.mdwe)
		(void)sys(prctl, PR_SET_MDWE, agent_state.mdwe, 0, 0, 0);
}
