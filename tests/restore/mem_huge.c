/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Huge pages of hugetlbfs, private and anonymous: content, kind and size of the pages, what was never
 * touched, a piece without rights.
 */
#include <errno.h>
#include <linux/mman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "t.h"

#define HUGE   (2UL << 20)
#define PAGES  3
#define WANTED "/proc/sys/vm/nr_hugepages"
#define FREE   "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"

static unsigned char *map;
static long before;

static long number(const char *path)
{
	char text[32] = "";

	(void)t_read_file(path, text, sizeof(text) - 1);
	return strtol(text, NULL, 10);
}

static void provide(long n)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%ld", n);
	t_write_file(WANTED, text, strlen(text));
}

/* Kilobytes that the field of /proc/self/smaps counts at addr. */
static long smaps(const void *addr, const char *field)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long start, end;
	char line[4096];
	int inside = 0;
	long n = -1;

	t_check(f, "smaps: %m");
	while (n < 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (unsigned long)addr >= start && (unsigned long)addr < end;
		else if (inside && strncmp(line, field, strlen(field)) == 0)
			n = strtol(line + strlen(field) + 1, NULL, 10);
	}
	(void)fclose(f);
	return n;
}

static void disturb(void)
{
	memset(map, 0x55, HUGE);
}

int main(void)
{
	t_start();
	before = number(WANTED);
	if (number(FREE) < PAGES)
		provide(before + PAGES);
	map = mmap(NULL, PAGES * HUGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
	if (map == MAP_FAILED) {
		provide(before);
		t_skip("no huge pages here");
	}
	t_fill(map, HUGE, t_token());
	t_fill(map + 2 * HUGE, 5000, t_token() + 1);
	t_sys(mprotect(map + 2 * HUGE, HUGE, PROT_NONE));
	t_on_disturb(disturb);
	t_ready();

	t_check(smaps(map, "KernelPageSize:") == 2048 && smaps(map, "Private_Hugetlb:") == 2048,
		"pages of %ld KiB, %ld KiB are there", smaps(map, "KernelPageSize:"),
		smaps(map, "Private_Hugetlb:"));
	t_check(t_filled(map, HUGE, t_token()), "the first page differs");
	t_check(map[HUGE] == 0 && map[2 * HUGE - 1] == 0, "what was never touched is not zero");
	t_check(access((char *)map + 2 * HUGE, F_OK) < 0 && errno == EFAULT,
		"the last page can be read: %m");
	t_sys(mprotect(map + 2 * HUGE, HUGE, PROT_READ | PROT_WRITE));
	t_check(t_filled(map + 2 * HUGE, 5000, t_token() + 1) && map[2 * HUGE + 5000] == 0,
		"the last page differs");
	t_sys(munmap(map, PAGES * HUGE));
	provide(before);
	t_done();
}
