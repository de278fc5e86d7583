/* SPDX-License-Identifier: BSD-3-Clause */
/* 64 MiB of noise.  sha256sum, a program that is not part of the test, judges them before and after. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "t.h"

#define SIZE (64UL << 20)

static unsigned char *map;

static void disturb(void)
{
	memset(map + SIZE / 2, 0, SIZE / 4);
}

static void sum(char *ret)
{
	FILE *f = popen("sha256sum > sum", "we");

	t_check(f && fwrite(map, 1, SIZE, f) == SIZE, "sha256sum: %m");
	t_check(pclose(f) == 0, "sha256sum failed");
	t_check(t_read_file(t_path("sum"), ret, 64) == 64, "sha256sum printed too little");
}

int main(void)
{
	char before[64], after[64];

	t_start();
	map = t_sys(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	t_fill(map, SIZE, t_token());
	sum(before);
	t_write_file(t_path("large"), "", 0);
	t_on_disturb(disturb);
	t_ready();
	sum(after);
	t_check(memcmp(before, after, 64) == 0, "%.64s before, %.64s after", before, after);
	t_done();
}
