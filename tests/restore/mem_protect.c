/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Protections and guards.  The oracle is the processor: each access is tried under a SIGSEGV handler,
 * code is run.
 */
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "t.h"

#define PAGE 4096

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

static sigjmp_buf back;
static unsigned char *base;

static void on_segv(int sig)
{
	(void)sig;
	siglongjmp(back, 1);
}

static int can_read(const volatile unsigned char *p)
{
	if (sigsetjmp(back, 1))
		return 0;
	(void)*p;
	return 1;
}

static int can_write(volatile unsigned char *p)
{
	if (sigsetjmp(back, 1))
		return 0;
	*p = *p;
	return 1;
}

static int can_run(unsigned char *p)
{
	int (*fn)(void);

	memcpy(&fn, &p, sizeof(fn));
	if (sigsetjmp(back, 1))
		return 0;
	return fn() == 42;
}

static void disturb(void)
{
	(void)mprotect(base, 64 * PAGE, PROT_READ | PROT_WRITE);
}

static void check(int i, int readable, int writable, const char *what)
{
	unsigned char *p = base + (size_t)i * PAGE;

	t_check(can_read(p) == readable, "%s: readable is not %d", what, readable);
	t_check(can_write(p) == writable, "%s: writable is not %d", what, writable);
}

int main(void)
{
	static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov $42, %eax; ret */
	struct sigaction sa = {.sa_handler = on_segv, .sa_flags = SA_NODEFER};
	unsigned char *guarded;
	int guards;

	t_start();
	t_sys(sigaction(SIGSEGV, &sa, NULL));
	base = t_sys(
		mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	t_fill(base, 64 * PAGE, t_token());
	memcpy(base + 8 * PAGE, code, sizeof(code));
	memcpy(base + 10 * PAGE, code, sizeof(code));
	t_sys(mprotect(base + 2 * PAGE, PAGE, PROT_READ));
	t_sys(mprotect(base + 4 * PAGE, PAGE, PROT_NONE)); /* with content */
	t_sys(mprotect(base + 8 * PAGE, PAGE, PROT_READ | PROT_EXEC));
	t_sys(mprotect(base + 12 * PAGE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
	/* Reserved without content. */
	t_sys(mmap(base + 20 * PAGE, 8 * PAGE, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0));
	/* Guards inside one mapping, the second one in what was never touched. */
	guarded = t_sys(
		mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	t_fill(guarded, 8 * PAGE, t_token() + 1);
	guards = madvise(guarded + 3 * PAGE, PAGE, MADV_GUARD_INSTALL) == 0;
	if (guards)
		t_sys(madvise(guarded + 12 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL));
	t_write_file(t_path("large"), "", 0);
	t_on_disturb(disturb);
	t_ready();

	check(0, 1, 1, "read and write");
	check(1, 1, 1, "read and write, last page before");
	check(2, 1, 0, "read only");
	check(4, 0, 0, "no access");
	check(8, 1, 0, "read and run");
	check(12, 1, 1, "everything");
	check(20, 0, 0, "reserved");
	check(27, 0, 0, "reserved, end");
	check(28, 1, 1, "behind what is reserved");
	t_check(can_run(base + 8 * PAGE), "code does not run");
	t_check(!can_run(base + 10 * PAGE), "data can be run");
	t_sys(mprotect(base + 4 * PAGE, PAGE, PROT_READ));
	t_check(memcmp(base + 8 * PAGE, code, sizeof(code)) == 0, "code differs");
	memset(base + 8 * PAGE, 0, 0);
	for (int i = 0; i < 20; i++) {
		static unsigned char all[64 * PAGE];

		if (i == 0)
			t_fill(all, sizeof(all), t_token());
		if (i == 8 || i == 10)
			continue;
		t_check(memcmp(base + i * PAGE, all + i * PAGE, PAGE) == 0, "page %d differs", i);
	}
	for (int i = 0; guards && i < 16; i++)
		t_check(can_read(guarded + i * PAGE) == (i != 3 && i != 12 && i != 13),
			"guard regions: page %d", i);
	if (guards) {
		static unsigned char all[8 * PAGE];

		t_fill(all, sizeof(all), t_token() + 1);
		t_check(memcmp(guarded, all, 3 * PAGE) == 0, "before the guard: differs");
		t_check(memcmp(guarded + 4 * PAGE, all + 4 * PAGE, 4 * PAGE) == 0,
			"behind the guard: differs");
	}
	t_done();
}
