/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "core/procfs.h"

#define NAME "cpr"

void ckpti_supervisor_take_name(int root)
{
	char name[16];

	(void)snprintf(name, sizeof(name), NAME "/%d", root);
	(void)prctl(PR_SET_NAME, name);
}

/* The number behind the slash, 0 when there is none. */
static int number_in(const char *comm)
{
	size_t len = strlen(NAME "/");

	return strncmp(comm, NAME "/", len) == 0 ? atoi(comm + len) : 0;
}

bool ckpti_supervisor_is_name(const char *comm)
{
	return strcmp(comm, NAME) == 0 || number_in(comm) > 0;
}

/* Children of `parent`: the first builder, or the one with the number `inner`. */
static int child_of(int parent, int inner)
{
	int *pids = NULL, found = 0;
	size_t n = 0;

	if (ckpti_procfs_numbers("/proc", &pids, &n) < 0)
		return 0;
	for (size_t i = 0; i < n && !found; i++) {
		struct ckpti_procinfo p;

		if (ckpti_procfs_stat(pids[i], &p) < 0 || p.ppid != parent)
			continue;
		if (inner ? ckpti_procfs_status(&p) == 0 && p.inner_pid == inner
			  : number_in(p.comm) > 0)
			found = pids[i];
	}
	free(pids);
	return found;
}

int ckpti_supervisor_root(int pid)
{
	struct ckpti_procinfo p, b;
	int root = 0;

	if (ckpti_procfs_stat(pid, &p) < 0 || !ckpti_supervisor_is_name(p.comm))
		return pid;
	if (!number_in(p.comm) && ckpti_procfs_stat(child_of(pid, 0), &b) < 0)
		return pid;
	if (number_in(p.comm))
		b = p;
	root = child_of(b.pid, number_in(b.comm));
	return root ? root : pid;
}
