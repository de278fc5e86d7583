/* SPDX-License-Identifier: BSD-3-Clause */
/* Private anonymous memory: mappings, the brk heap, a stack that has grown and can grow on. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "t.h"

#define SIZE (1 << 20)
#define DEEP (256 << 10)

static unsigned char bss[100000];
static unsigned char data[100000] = {1};
static unsigned char *map, *heap;
static size_t page;

static void disturb(void)
{
	memset(map, 0xee, SIZE);
	memset(heap, 0xee, SIZE);
	memset(bss, 0xee, sizeof(bss));
	memset(data, 0xee, sizeof(data));
	(void)munmap(map + SIZE, SIZE);
}

/* Touches the stack far below what was used before the checkpoint. */
static __attribute__((noinline)) int deeper(size_t size)
{
	unsigned char *p = __builtin_alloca(size);

	for (size_t i = 0; i < size; i += page)
		p[i] = (unsigned char)i;
	__asm__ volatile("" : : "r"(p) : "memory");
	return p[size / 2] == (unsigned char)(size / 2);
}

/* The frame that is live across the checkpoint holds noise too. */
static __attribute__((noinline)) void with_deep_stack(void)
{
	unsigned char frame[DEEP];

	t_fill(frame, sizeof(frame), t_token() + 4);
	t_ready();
	t_check(t_filled(frame, sizeof(frame), t_token() + 4), "the stack differs");
}

static int is_zero(const unsigned char *p, size_t n)
{
	while (n--)
		if (*p++)
			return 0;
	return 1;
}

int main(void)
{
	unsigned char *sparse, *brk_end;

	t_start();
	t_write_file(t_path("large"), "", 0);
	page = (size_t)sysconf(_SC_PAGESIZE);
	map = t_sys(
		mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	t_fill(map, 2 * SIZE, t_token());
	heap = t_sys(sbrk(SIZE));
	brk_end = sbrk(0);
	t_fill(heap, SIZE, t_token() + 1);
	t_fill(bss, sizeof(bss), t_token() + 2);
	t_fill(data, sizeof(data), t_token() + 3);
	/* Every third page is touched, the others must read as zero. */
	sparse = t_sys(
		mmap(NULL, 300 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	for (size_t i = 0; i < 300; i += 3)
		t_fill(sparse + i * page, page, t_token() ^ i);
	t_on_disturb(disturb);
	with_deep_stack();
	t_check(t_filled(map, 2 * SIZE, t_token()), "a private mapping differs");
	t_check(t_filled(heap, SIZE, t_token() + 1), "the heap differs");
	t_check(t_filled(bss, sizeof(bss), t_token() + 2), "bss differs");
	t_check(t_filled(data, sizeof(data), t_token() + 3), "data differs");
	for (size_t i = 0; i < 300; i++)
		t_check(i % 3 ? is_zero(sparse + i * page, page)
			      : t_filled(sparse + i * page, page, t_token() ^ i),
			"page %zu of a sparse mapping differs", i);
	/* The kernel knows the end of the heap, and the heap can grow from there. */
	t_check(sbrk(0) == brk_end, "the heap ends at %p instead of %p", sbrk(0), brk_end);
	t_check(sbrk((intptr_t)(4 * page)) == brk_end && is_zero(brk_end, 4 * page),
		"the heap cannot grow");
	t_check(deeper(4 << 20), "the stack cannot grow");
	t_done();
}
