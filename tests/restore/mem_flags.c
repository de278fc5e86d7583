/* SPDX-License-Identifier: BSD-3-Clause */
/* Advice, locks, seals and huge pages of mappings, as /proc/self/smaps tells them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "t.h"

#define PAGE      4096
#define HUGE_SIZE (2UL << 20)
#define LEN       (64UL * PAGE)

static const struct {
	const char *name;
	int advice;
} kind[] = {
	{"sr", MADV_SEQUENTIAL}, {"rr", MADV_RANDOM},     {"dc", MADV_DONTFORK},
	{"dd", MADV_DONTDUMP},   {"wf", MADV_WIPEONFORK}, {"nh", MADV_NOHUGEPAGE},
	{"hg", MADV_HUGEPAGE},   {"mg", MADV_MERGEABLE},
};

#define NKIND (sizeof(kind) / sizeof(*kind))

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

static unsigned char *map[NKIND], *locked, *huge, *plain, *sealed;

/* The line `field` of the mapping that holds `addr`, without the name; never freed. */
static char *smaps(const void *addr, const char *field)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char *line = NULL;
	size_t size = 0, n = strlen(field);
	unsigned long start, end;
	int inside = 0;

	t_check(f, "smaps: %m");
	while (getline(&line, &size, f) > 0) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (unsigned long)addr >= start && (unsigned long)addr < end;
		else if (inside && strncmp(line, field, n) == 0 && line[n] == ':')
			break;
	}
	(void)fclose(f);
	return line + n + 1;
}

static int has_flag(const void *addr, const char *flag)
{
	char word[8];

	(void)snprintf(word, sizeof(word), " %s ", flag);
	return strstr(smaps(addr, "VmFlags"), word) != NULL;
}

static unsigned char *area(size_t len)
{
	/* A gap on both sides, so that no neighbour is merged with it. */
	unsigned char *p =
		t_sys(mmap(NULL, len + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	t_sys(mprotect(p + PAGE, len, PROT_READ | PROT_WRITE));
	return p + PAGE;
}

static void disturb(void)
{
	(void)munlock(locked, LEN);
	for (size_t i = 0; i < NKIND; i++)
		(void)madvise(map[i], LEN, MADV_NORMAL);
}

int main(void)
{
	int has[NKIND], mlocked, has_huge, has_seal;
	unsigned char *p;
	struct rlimit lim;

	t_start();
	for (size_t i = 0; i < NKIND; i++) {
		map[i] = area(LEN);
		t_fill(map[i], LEN, t_token() + i);
		/* Not every kernel is built with every kind. */
		has[i] = madvise(map[i], LEN, kind[i].advice) == 0;
		t_check(!has[i] || has_flag(map[i], kind[i].name), "set-up of %s", kind[i].name);
	}
	plain = area(LEN);
	t_fill(plain, LEN, t_token() + 100);
	locked = area(LEN);
	t_sys(getrlimit(RLIMIT_MEMLOCK, &lim));
	mlocked = lim.rlim_cur >= LEN && mlock(locked, LEN) == 0;
	t_fill(locked, LEN, t_token() + 101);
	p = area(3 * HUGE_SIZE);
	huge = (unsigned char *)(((unsigned long)p + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	(void)madvise(huge, HUGE_SIZE, MADV_HUGEPAGE);
	t_fill(huge, HUGE_SIZE, t_token() + 102);
	has_huge = atoi(smaps(huge, "AnonHugePages")) > 0;
	sealed = area(LEN);
	t_fill(sealed, LEN, t_token() + 103);
	has_seal = syscall(SYS_mseal, sealed, LEN, 0) == 0;
	t_write_file(t_path("large"), "", 0);
	t_on_disturb(disturb);
	t_ready();

	for (size_t i = 0; i < NKIND; i++) {
		for (size_t j = 0; j < NKIND; j++)
			t_check(has_flag(map[i], kind[j].name) == (i == j && has[i]),
				"flag %s of the mapping made with %s", kind[j].name, kind[i].name);
		t_check(t_filled(map[i], LEN, t_token() + i), "content of %s differs",
			kind[i].name);
	}
	for (size_t j = 0; j < NKIND; j++)
		t_check(!has_flag(plain, kind[j].name), "a plain mapping has %s", kind[j].name);
	t_check(!has_flag(plain, "lo"), "a plain mapping is locked");
	t_check(t_filled(plain, LEN, t_token() + 100), "plain content differs");
	t_check(has_flag(locked, "lo") == mlocked, "mlock is lost");
	t_check(!mlocked || atoi(smaps(locked, "Locked")) == (int)(LEN / 1024), "locked are %s",
		smaps(locked, "Locked"));
	t_check(t_filled(locked, LEN, t_token() + 101), "locked content differs");
	t_check(t_filled(huge, HUGE_SIZE, t_token() + 102), "huge page: content differs");
	t_check(!has_huge || has_flag(huge, "hg"), "huge page: the advice is lost");
	t_check(t_filled(sealed, LEN, t_token() + 103), "sealed: content differs");
	t_check(!has_seal || (munmap(sealed, LEN) < 0 && errno == EPERM), "sealed: it is not");
	t_check(munmap(plain, LEN) == 0, "a plain mapping is sealed");
	t_done();
}
