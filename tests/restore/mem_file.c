/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of a real file system, mapped: private unmodified, private modified, shared; afterwards the
 * shared one is at the state of the checkpoint, also for those who read the file.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t.h"

#define SIZE (200000) /* not a multiple of the page size */
#define PAGE 4096

static unsigned char *shared, *clean, *dirty, *readonly, *gone;

static unsigned char *map(const char *path, int prot, int flags, uint64_t seed)
{
	static unsigned char buf[SIZE];
	unsigned char *p;
	int fd;

	t_fill(buf, SIZE, seed);
	t_write_file(path, buf, SIZE);
	fd = t_sys(open(path, (flags & MAP_SHARED ? O_RDWR : O_RDONLY) | O_CLOEXEC));
	p = t_sys(mmap(NULL, SIZE, prot, flags, fd, 0));
	t_sys(close(fd));
	return p;
}

static void disturb(void)
{
	memset(shared, 0x77, SIZE);
	(void)msync(shared, SIZE, MS_SYNC);
	(void)close(open(t_path("disturb-seen"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	memset(dirty, 0x66, SIZE);
}

int main(void)
{
	static unsigned char buf[SIZE];
	unsigned char *hidden;
	struct stat st;

	t_start();
	clean = map(t_path("clean"), PROT_READ, MAP_PRIVATE, t_token());
	dirty = map(t_path("dirty"), PROT_READ | PROT_WRITE, MAP_PRIVATE, t_token() + 1);
	t_fill(dirty + 3 * PAGE, PAGE, t_token() + 11);
	/* Beyond the end of the file, on its last page: memory like any other. */
	t_fill(dirty + SIZE, PAGE - SIZE % PAGE, t_token() + 12);
	shared = map(t_path("shared"), PROT_READ | PROT_WRITE, MAP_SHARED, t_token() + 2);
	t_fill(shared + 5 * PAGE, PAGE, t_token() + 21);
	/* Written while it was writable, then protected. */
	readonly = map(t_path("readonly"), PROT_READ | PROT_WRITE, MAP_PRIVATE, t_token() + 3);
	t_fill(readonly, PAGE, t_token() + 31);
	t_sys(mprotect(readonly, SIZE, PROT_READ));
	gone = map(t_path("gone"), PROT_READ | PROT_WRITE, MAP_PRIVATE, t_token() + 4);
	gone[0] ^= 0xff;
	t_sys(unlink(t_path("gone")));
	hidden = map(t_path("hidden"), PROT_NONE, MAP_PRIVATE, t_token() + 5);
	t_sys(unlink(t_path("hidden")));

	t_write_file(t_path("large"), "", 0);
	t_on_disturb(disturb);
	t_ready();

	t_check(t_filled(clean, SIZE, t_token()), "private, unmodified: differs");
	t_fill(buf, SIZE, t_token() + 1);
	t_fill(buf + 3 * PAGE, PAGE, t_token() + 11);
	t_check(memcmp(dirty, buf, SIZE) == 0, "private, modified: differs");
	t_check(t_filled(dirty + SIZE, PAGE - SIZE % PAGE, t_token() + 12),
		"private, modified: differs behind the end of the file");
	t_check(t_read_file(t_path("dirty"), buf, SIZE) == SIZE &&
			t_filled(buf, SIZE, t_token() + 1),
		"private, modified: the file has changed");

	t_fill(buf, SIZE, t_token() + 2);
	t_fill(buf + 5 * PAGE, PAGE, t_token() + 21);
	t_check(memcmp(shared, buf, SIZE) == 0, "shared: differs");
	/* What the disturbed life had made of it is the user's, too: kept beside it. */
	if (access(t_path("disturb-seen"), F_OK) == 0) {
		/* named by the generation that was restarted: the newest one is there */
		char kept[] = "shared.ckpt-old.3";

		for (char *n = strchr(kept, 0) - 1; *n > '1' && access(t_path(kept), F_OK) < 0;
		     --*n)
			;
		t_check(t_read_file(t_path(kept), buf, SIZE) == SIZE,
			"shared: the changed file was not kept");
		t_check(buf[0] == 0x77 && buf[SIZE - 1] == 0x77, "shared: kept with other content");
	}
	shared[0] ^= 0xff;
	t_check(stat(t_path("shared"), &st) == 0 && st.st_size == SIZE, "shared: size %ld",
		(long)st.st_size);
	t_check(t_read_file(t_path("shared"), buf, SIZE) == SIZE && memcmp(shared, buf, SIZE) == 0,
		"shared: mapping and file are two objects");

	t_fill(buf, SIZE, t_token() + 3);
	t_fill(buf, PAGE, t_token() + 31);
	t_check(memcmp(readonly, buf, SIZE) == 0, "modified, then read-only: differs");
	t_fill(buf, SIZE, t_token() + 4);
	buf[0] ^= 0xff;
	t_check(memcmp(gone, buf, SIZE) == 0, "private, deleted: differs");
	t_sys(mprotect(hidden, SIZE, PROT_READ));
	t_check(t_filled(hidden, SIZE, t_token() + 5), "deleted without read permission: differs");
	t_done();
}
