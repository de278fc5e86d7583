/* SPDX-License-Identifier: BSD-3-Clause */
/* Two thousand mappings of different length and protection, each with a word of its own. */
#include <string.h>
#include <sys/mman.h>

#include "t.h"

#define N    2000
#define PAGE 4096UL

static unsigned char *at[N];
static size_t len[N];

static void disturb(void)
{
	for (int i = 0; i < N; i += 2)
		(void)munmap(at[i], len[i]);
}

int main(void)
{
	unsigned char *base, *p;
	uint64_t state, count = 0;

	t_start();
	state = t_token();
	base = t_sys(mmap(NULL, N * 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	p = base;
	for (int i = 0; i < N; i++) {
		len[i] = (1 + t_random(&state) % 5) * PAGE;
		at[i] = p;
		t_sys(mprotect(p, len[i], PROT_READ | PROT_WRITE));
		t_fill(p + len[i] - PAGE, PAGE, t_token() + (uint64_t)i);
		if (i % 2)
			t_sys(mprotect(p, len[i], PROT_READ));
		p += len[i] + (i % 3 ? PAGE : 0);
	}
	t_on_disturb(disturb);
	t_ready();
	for (int i = 0; i < N; i++) {
		t_check(t_filled(at[i] + len[i] - PAGE, PAGE, t_token() + (uint64_t)i),
			"mapping %d differs", i);
		count += len[i] == PAGE || at[i][0] == 0;
	}
	t_check(count == N, "%lu mappings begin with zeros", (unsigned long)count);
	t_done();
}
