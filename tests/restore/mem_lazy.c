/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that a restart with --lazy maps from the image must behave as what the program has asked for,
 * anonymous memory: when it is given back, grown, moved, protected, forked, locked, and used by the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t.h"

#define SIZE (4UL << 20)

enum {
	GIVEN_BACK,
	GROWN,
	FORKED,
	HIDDEN,
	LOCKED,
	READ_INTO,
	BY_CALL,
	ARGUMENTS,
	WRITTEN,
	COUNT
};
static unsigned char *map[COUNT], *block;

static void disturb(void)
{
	for (int i = 0; i < COUNT; i++)
		memset(map[i], 0xee, i == HIDDEN ? 0 : SIZE);
}

static int is_zero(const unsigned char *p, size_t n)
{
	while (n && !*p)
		p++, n--;
	return n == 0;
}

static void give_back(unsigned char *p)
{
	t_sys(madvise(p + SIZE / 4, SIZE / 4, MADV_DONTNEED));
	t_check(is_zero(p + SIZE / 4, SIZE / 4), "what was given back is not zero");
	memset(p + SIZE / 4, 3, SIZE / 4);
	t_sys(madvise(p, SIZE, MADV_DONTNEED));
	t_check(is_zero(p, SIZE), "what was given back as a whole is not zero");
	memset(p, 5, SIZE);
}

static void grow(unsigned char *p)
{
	unsigned char *q = t_sys(mremap(p, SIZE, 3 * SIZE, MREMAP_MAYMOVE));

	t_check(t_filled(q, SIZE, t_token() + GROWN), "memory differs after it has been moved");
	t_check(is_zero(q + SIZE, 2 * SIZE), "memory that has grown does not begin with zeros");
	q = t_sys(mremap(q, 3 * SIZE, SIZE, 0));
	t_check(t_filled(q, SIZE, t_token() + GROWN), "memory differs after it has shrunk");
	block = realloc(block, 8 * SIZE);
	t_check(block && t_filled(block, SIZE, t_token() + COUNT), "a grown block differs");
	memset(block + SIZE, 1, 7 * SIZE);
}

static void in_child(unsigned char *p)
{
	pid_t pid = t_sys(fork());
	int status;

	if (pid == 0) {
		if (!t_filled(p, SIZE, t_token() + FORKED))
			_exit(1);
		memset(p, 1, SIZE);
		_exit(0);
	}
	t_sys(waitpid(pid, &status, 0));
	t_check(status == 0, "a child sees other memory");
	t_check(t_filled(p, SIZE, t_token() + FORKED), "a child has changed our memory");
}

/* Nobody stands in front of this call: it may fail, but shows nothing of what follows in the image. */
static void grow_by_call(unsigned char *p)
{
	long r = syscall(SYS_mremap, p, SIZE, 3 * SIZE, MREMAP_MAYMOVE, NULL);
	unsigned char *q = r == -1 ? p : (unsigned char *)r;

	t_check(r != -1 || errno == EFAULT, "a system call: %m");
	t_check(t_filled(q, SIZE, t_token() + BY_CALL), "memory differs after a system call");
	t_check(r == -1 || is_zero(q + SIZE, 2 * SIZE), "what a system call gives is not zero");
}

/* The program's arguments are here now: the kernel shows them to others where memory is anonymous only. */
static void show_arguments(const unsigned char *p, size_t n)
{
	struct prctl_mm_map mm = {.brk = (uintptr_t)sbrk(0), .exe_fd = (uint32_t)-1};
	uint64_t field[52] = {0}; /* by the numbers of proc(5) */
	char text[1024] = "", *at;

	(void)t_read_file("/proc/self/stat", text, sizeof(text) - 1);
	at = strrchr(text, ')') + 4;
	for (int i = 4; i < 52; i++)
		field[i] = strtoull(at, &at, 10);
	mm.start_code = field[26];
	mm.end_code = field[27];
	mm.start_stack = field[28];
	mm.start_data = field[45];
	mm.end_data = field[46];
	mm.start_brk = field[47];
	mm.arg_start = (uintptr_t)p;
	mm.arg_end = mm.arg_start + n;
	mm.env_start = field[50];
	mm.env_end = field[51];
	t_sys(prctl(PR_SET_MM, PR_SET_MM_MAP, &mm, sizeof(mm), 0));
}

/* The kernel writes to it, and reads it. */
static void by_kernel(unsigned char *p)
{
	int fd = t_sys(memfd_create("t", MFD_CLOEXEC));

	t_check(t_sys(write(fd, p, SIZE)) == (ssize_t)SIZE, "a short write");
	memset(p, 0, SIZE / 2);
	t_check(t_sys(pread(fd, p, SIZE, 0)) == (ssize_t)SIZE, "a short read");
	t_check(t_filled(p, SIZE, t_token() + READ_INTO), "what was read differs");
	t_sys(close(fd));
}

int main(void)
{
	unsigned char shown[64], *arguments;

	t_start();
	for (int i = 0; i < COUNT; i++) {
		/* Not one behind the other, so that each is a mapping of its own. */
		map[i] = t_sys(
			mmap(NULL, SIZE + 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		t_sys(mprotect(map[i], SIZE, PROT_READ | PROT_WRITE));
		t_fill(map[i], SIZE, t_token() + (uint64_t)i);
	}
	/* Not its end, which a lazy restart never maps; and to a zero, or the kernel takes them for a title that
	 * ends somewhere else. */
	arguments = map[ARGUMENTS] + SIZE / 2;
	while (arguments[sizeof(shown) - 1])
		arguments++;
	show_arguments(arguments, sizeof(shown));
	block = malloc(SIZE);
	t_check(block, "no memory");
	t_fill(block, SIZE, t_token() + COUNT);
	t_sys(mprotect(map[HIDDEN], SIZE, PROT_NONE));
	t_write_file(t_path("large"), "", 0);
	t_on_disturb(disturb);
	t_ready();
	t_check(access((char *)map[HIDDEN], F_OK) < 0 && errno == EFAULT,
		"what is hidden can be read: %m");
	t_sys(mprotect(map[HIDDEN], SIZE, PROT_READ));
	t_check(t_read_file("/proc/self/cmdline", shown, sizeof(shown)) == sizeof(shown) &&
			memcmp(shown, arguments, sizeof(shown)) == 0,
		"the arguments cannot be seen");
	for (int i = COUNT - 1; i >= 0; i--)
		t_check(t_filled(map[i], SIZE, t_token() + (uint64_t)i), "mapping %d differs", i);
	/* Only our copy changes. */
	memset(map[WRITTEN], 7, SIZE);
	give_back(map[GIVEN_BACK]);
	grow(map[GROWN]);
	in_child(map[FORKED]);
	if (mlock(map[LOCKED], 65536) == 0)
		t_sys(munlock(map[LOCKED], 65536));
	by_kernel(map[READ_INTO]);
	grow_by_call(map[BY_CALL]);
	t_done();
}
