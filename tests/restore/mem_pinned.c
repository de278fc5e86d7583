/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are mapped and then changed on disk, as an upgrade of a library does: replaced by rename,
 * overwritten in place, deleted, or only touched.  What was mapped must come back, page for page, also
 * pages that nobody had looked at.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t.h"

#define SIZE (128 << 10)

enum {
	REPLACED,
	OVERWRITTEN,
	DELETED,
	TOUCHED,
	SHORTER,
	N
};

static const char *const name[N] = {"replaced", "overwritten", "deleted", "touched", "shorter"};

static void put(const char *path, uint64_t seed)
{
	static unsigned char buf[SIZE];

	t_fill(buf, SIZE, seed);
	t_write_file(path, buf, SIZE);
}

/* Runs when nothing is mapped any more in this life: its own pages must not be in the way. */
static void disturb(void)
{
	put(t_path("new"), t_token() + 50);
	(void)rename(t_path("new"), t_path(name[REPLACED]));
	put(t_path(name[OVERWRITTEN]), t_token() + 51);
	(void)unlink(t_path(name[DELETED]));
	(void)utimensat(AT_FDCWD, t_path(name[TOUCHED]), NULL, 0);
	(void)truncate(t_path(name[SHORTER]), 4096);
}

int main(void)
{
	unsigned char *map[N];

	t_start();
	for (int i = 0; i < N; i++) {
		int fd;

		put(t_path(name[i]), t_token() + (uint64_t)i);
		fd = t_sys(open(t_path(name[i]), O_RDONLY | O_CLOEXEC));
		map[i] = t_sys(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
		t_sys(close(fd));
		map[i][9 * 4096] = 0xaa; /* one page is our own */
	}
	t_on_disturb(disturb);
	t_ready();
	for (int i = 0; i < N; i++) {
		static unsigned char want[SIZE];

		t_fill(want, SIZE, t_token() + (uint64_t)i);
		want[9 * 4096] = 0xaa;
		for (int page = 0; page < SIZE / 4096; page++)
			for (int j = 0; j < 4096; j++)
				t_check(map[i][page * 4096 + j] == want[page * 4096 + j],
					"%s: page %d differs", name[i], page);
	}
	t_done();
}
