/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/cpus.h"

#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/procfs.h"
#include "core/supervisor.h"

#define MAX_CPUS (CKPTI_LAUNCH_WORDS * 64)
#define MASK_LEN (CKPTI_LAUNCH_WORDS * sizeof(uint64_t))
#define MAX_LIST 8192 /* of every other processor */

/* The builder above the process, which is of its life's launch; 0: it lives for the first time. */
static int builder_of(int pid)
{
	struct ckpti_procinfo p;

	while (pid > 1 && ckpti_procfs_stat(pid, &p) == 0) {
		struct ckpti_procinfo parent;

		if (ckpti_procfs_stat(p.ppid, &parent) == 0 &&
		    ckpti_supervisor_is_name(parent.comm))
			return parent.pid;
		pid = p.ppid;
	}
	return 0;
}

void ckpti_cpus_of_launch(int pid, uint64_t ret[CKPTI_LAUNCH_WORDS])
{
	int builder = builder_of(pid);
	char text[MAX_LIST];

	memset(ret, 0, MASK_LEN);
	if (builder)
		(void)syscall(SYS_sched_getaffinity, builder, MASK_LEN, ret);
	else if (ckpti_procfs_environ(pid, CKPTI_LAUNCH_CPUS, text, sizeof(text)) == 1)
		(void)ckpti_launch_cpus_parse(text, ret);
}

void ckpti_cpus_now(uint64_t ret[CKPTI_LAUNCH_WORDS])
{
	memset(ret, 0, MASK_LEN);
	(void)syscall(SYS_sched_getaffinity, 0, MASK_LEN, ret);
}

static bool has(const uint64_t *mask, unsigned cpu)
{
	return mask[cpu / 64] >> (cpu % 64) & 1;
}

static unsigned count(const uint64_t *mask)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CKPTI_LAUNCH_WORDS; i++)
		n += (unsigned)__builtin_popcountll(mask[i]);
	return n;
}

static bool contains(const uint64_t *outer, const uint64_t *inner)
{
	for (unsigned i = 0; i < CKPTI_LAUNCH_WORDS; i++)
		if (inner[i] & ~outer[i])
			return false;
	return true;
}

void ckpti_cpus_follow(const uint64_t then[CKPTI_LAUNCH_WORDS],
		       const uint64_t now[CKPTI_LAUNCH_WORDS], uint64_t mask[CKPTI_LAUNCH_WORDS])
{
	uint64_t to[CKPTI_LAUNCH_WORDS] = {0};
	unsigned old = 0, new = 0;

	if (count(then) == 0 || count(now) == 0 || memcmp(then, now, MASK_LEN) == 0)
		return;
	if (count(now) < count(then) || contains(mask, then)) {
		memcpy(mask, now, MASK_LEN);
		return;
	}
	for (; old < MAX_CPUS; old++) {
		if (!has(then, old))
			continue;
		/* There are at least as many: one is found. */
		while (!has(now, new))
			new ++;
		if (has(mask, old))
			to[new / 64] |= 1ULL << (new % 64);
		new ++;
	}
	/* Bound to processors that were not the launch's at all. */
	memcpy(mask, count(to) ? to : now, MASK_LEN);
}
