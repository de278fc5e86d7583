/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A large mapping that is shared and hardly used: neither a checkpoint nor a restart makes the kernel
 * provide the pages that nobody has touched.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "t.h"

#define SIZE  (1UL << 28)
#define STEP  (SIZE / 8)
#define CHUNK (40UL << 10)
#define LIMIT (64 << 10) /* KiB of shared memory that may be in use */

static long shared_kib(void)
{
	char text[8192];
	const char *p;

	text[t_read_file("/proc/self/status", text, sizeof(text) - 1)] = 0;
	p = strstr(text, "RssShmem:");
	t_check(p, "/proc/self/status has no RssShmem");
	return strtol(p + strlen("RssShmem:"), NULL, 10);
}

int main(void)
{
	unsigned char *p;

	t_start();
	p = t_sys(mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	for (unsigned long at = 0; at < SIZE; at += STEP)
		t_fill(p + at, CHUNK, t_token() + at);
	t_ready();
	t_check(shared_kib() < LIMIT, "%ld KiB of shared memory are in use", shared_kib());
	for (unsigned long at = 0; at < SIZE; at += STEP) {
		t_check(t_filled(p + at, CHUNK, t_token() + at), "content at %lu differs", at);
		t_check(!p[at + CHUNK] && !p[at + STEP - 1], "a hole at %lu has content", at);
	}
	t_done();
}
