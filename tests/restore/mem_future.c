/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: mem_future [onfault]
 *
 * mlockall(MCL_FUTURE): what is mapped after a restart is locked, what was mapped before is as it was.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "t.h"

#define LEN 65536UL

static int has_flag(const void *addr, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long start, end;
	char line[4096], word[8];
	int inside = 0, found = 0;

	t_check(f, "smaps: %m");
	(void)snprintf(word, sizeof(word), " %s ", flag);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (unsigned long)addr >= start && (unsigned long)addr < end;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, word) != NULL;
	}
	(void)fclose(f);
	return found;
}

static int resident(void *addr)
{
	unsigned char page[LEN / 4096];

	t_sys(mincore(addr, LEN, page));
	return page[LEN / 4096 - 1] & 1;
}

static char *area(void)
{
	return t_sys(mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

static void disturb(void)
{
	(void)munlockall();
}

int main(int argc, char **argv)
{
	int onfault = argc > 1 && strcmp(argv[1], "onfault") == 0;
	struct rlimit lim;
	char *old, *new, *guard;

	t_start();
	old = area();
	t_sys(getrlimit(RLIMIT_MEMLOCK, &lim));
	lim.rlim_cur = lim.rlim_max;
	t_sys(setrlimit(RLIMIT_MEMLOCK, &lim));
	t_sys(mlockall(MCL_FUTURE | (onfault ? MCL_ONFAULT : 0)));
	guard = t_sys(mmap(NULL, LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	t_check(has_flag(guard, "lo"), "a guard of before is not locked");
	t_on_disturb(disturb);
	t_ready();

	t_check(!has_flag(old, "lo"), "what was mapped before is locked");
	t_check(has_flag(guard, "lo"), "the guard is not locked");
	new = area();
	t_check(has_flag(new, "lo"), "what is mapped now is not locked");
	t_check(has_flag(new, "lf") == onfault && resident(new) == !onfault,
		"it is locked in the other way");
	t_done();
}
