/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt_exclude(): excluded pages come back as zeros after a restart, and as they are when the program
 * merely goes on; the image is smaller by them.  What was included again is saved.
 */
#include <ckpt.h>
#include <string.h>
#include <sys/mman.h>

#include "t.h"

#define SIZE (4UL << 20)
#define PAGE 4096UL

static unsigned char *map, *again;

static void disturb(void)
{
	memset(map, 0x44, PAGE);
}

int main(void)
{
	unsigned char *cut;

	t_start();
	map = t_sys(
		mmap(NULL, 3 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	t_fill(map, 3 * SIZE, t_token());
	t_sys(ckpt_exclude(map + SIZE, SIZE));
	again = t_sys(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	t_fill(again, SIZE, t_token() + 1);
	t_sys(ckpt_exclude(again, SIZE));
	t_sys(ckpt_include(again, SIZE));
	t_write_file(t_path("large"), "", 0);
	t_on_disturb(disturb);
	t_ready();
	cut = t_sys(
		mmap(NULL, 3 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	t_fill(cut, 3 * SIZE, t_token());
	if (ckpt_restarts() > 0)
		memset(cut + SIZE, 0, SIZE);
	t_check(memcmp(map, cut, SIZE) == 0, "memory in front of the excluded part differs");
	t_check(memcmp(map + SIZE, cut + SIZE, SIZE) == 0, "the excluded part is not %s",
		ckpt_restarts() > 0 ? "zero" : "untouched");
	t_check(memcmp(map + 2 * SIZE, cut + 2 * SIZE, SIZE) == 0,
		"memory behind the excluded part differs");
	t_check(t_filled(again, SIZE, t_token() + 1), "memory that was included again differs");
	t_fill(map + SIZE, SIZE, 1); /* it can be used again */
	t_done();
}
