/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A writer that is killed at any instruction, and one that finds the disk full: the last good
 * generation stays, whole, and the next writer cleans up.
 *
 * The calls that change the directory are wrapped by the linker; a child process dies in the n-th of
 * them, for n = 1, 2, … until it survives.  A write that dies has written half of its bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store_fixture.h"
#include "store_pages.h"

#define AGAIN (CKPTI_STORE_CREATE | CKPTI_STORE_FORCE)

/* volatile: glibc marks its functions as leaf, so gcc would drop the stores before the calls. */
static volatile unsigned calls;
static volatile unsigned die_at;
static volatile unsigned fail_at;
static volatile int fail_with;
static volatile off_t unreadable = -1; /* a byte of every file that is open for reading only */

/* Counts a call; true when it is to fail. */
static int strike(void)
{
	unsigned n = ++calls;

	if (n == die_at)
		(void)kill(getpid(), SIGKILL);
	if (n == fail_at) {
		errno = fail_with;
		return 1;
	}
	return 0;
}

ssize_t __real_write(int fd, const void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len);
int __real_renameat(int from, const char *o, int to, const char *n);
int __wrap_renameat(int from, const char *o, int to, const char *n);
int __real_unlinkat(int fd, const char *name, int flags);
int __wrap_unlinkat(int fd, const char *name, int flags);
int __real_mkdirat(int fd, const char *name, mode_t mode);
int __wrap_mkdirat(int fd, const char *name, mode_t mode);
ssize_t __real_pwrite(int fd, const void *buf, size_t len, off_t off);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t off);

ssize_t __real_pread(int fd, void *buf, size_t len, off_t off);
ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t off);

ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t off)
{
	if (off <= unreadable && unreadable < off + (off_t)len &&
	    (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) {
		errno = EIO;
		return -1;
	}
	return __real_pread(fd, buf, len, off);
}

ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
	if (calls + 1 == die_at)
		(void)__real_write(fd, buf, len / 2);
	return strike() ? -1 : __real_write(fd, buf, len);
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t off)
{
	if (calls + 1 == die_at)
		(void)__real_pwrite(fd, buf, len / 2, off);
	return strike() ? -1 : __real_pwrite(fd, buf, len, off);
}

int __wrap_fsync(int fd)
{
	return strike() ? -1 : __real_fsync(fd);
}

int __wrap_ftruncate(int fd, off_t len)
{
	return strike() ? -1 : __real_ftruncate(fd, len);
}

int __wrap_renameat(int from, const char *o, int to, const char *n)
{
	return strike() ? -1 : __real_renameat(from, o, to, n);
}

int __wrap_unlinkat(int fd, const char *name, int flags)
{
	return strike() ? -1 : __real_unlinkat(fd, name, flags);
}

int __wrap_mkdirat(int fd, const char *name, mode_t mode)
{
	return strike() ? -1 : __real_mkdirat(fd, name, mode);
}

static void ok(int r, const struct ckpti_err *err)
{
	if (r != 0)
		print_error("%d: %s\n", r, err->text);
	assert_int_equal(r, 0);
}

static int was_killed(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return 1;
	}
	assert_int_equal(WEXITSTATUS(status), 0);
	return 0;
}

/* A child writes generation `seed`; 1 when it was killed, 0 when it ended. */
static int killed_in_write(const char *dir, unsigned seed, unsigned n)
{
	struct ckpti_err err;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		calls = 0;
		die_at = n;
		_exit(write_generation(dir, AGAIN, seed, 1, 1, &err) == 0 ? 0 : 3);
	}
	return was_killed(pid);
}

static void test_store_first_write_killed_anywhere(void **state)
{
	struct scratch *s = *state;
	struct ckpti_err err;
	int killed = 1, r;
	unsigned n;

	for (n = 1; killed; n++) {
		assert_true(n < 200);
		killed = killed_in_write(s->dir, 1, n);
		r = check_generation(s->dir, 0, 1, &err);
		/* Whole, or not there. */
		if (r != 0)
			assert_true(killed && (r == -ENODATA || r == -ENOENT));
		if (killed && access(s->dir, F_OK) == 0 && count_files(s, "") > 0)
			ok(ckpti_store_remove(s->dir, NULL), &err);
		else if (killed)
			(void)rmdir(s->dir);
	}
	assert_true(n > 10);
}

static void test_store_next_write_killed_anywhere(void **state)
{
	struct scratch *s = *state;
	unsigned n, seed = 2, good = 2, committed = 0;
	struct ckpti_err err;
	int killed = 1;

	/* Two, so that there are spare files to recycle. */
	ok(write_generation(s->dir, AGAIN, 1, 1, 1, &err), &err);
	ok(write_generation(s->dir, AGAIN, 2, 1, 1, &err), &err);
	for (n = 1; killed; n++) {
		assert_true(n < 200);
		seed++;
		killed = killed_in_write(s->dir, seed, n);
		/* The newest is the new one, or still the one before: both whole. */
		if (check_generation(s->dir, 0, seed, &err) == 0) {
			good = seed;
			committed++;
		} else {
			ok(check_generation(s->dir, 0, good, &err), &err);
		}
	}
	assert_true(n > 10);
	/* Some died after the commit, in the cleaning up; the last one ended. */
	assert_true(committed > 1 && committed < n - 1);
	/* Nothing is left of the dead. */
	assert_int_equal(count_files(s, "gen-"), 1);
	assert_int_equal(count_files(s, "data-"), 4);
	assert_int_equal(count_files(s, "pin-"), 1);
	assert_int_equal(count_files(s, "gen.tmp") + count_files(s, "pin.tmp"), 0);
}

/* Every call fails once: the write says so or was complete; nothing is lost either way. */
static void test_store_next_write_fails_anywhere(void **state)
{
	static const int codes[] = {ENOSPC, EDQUOT, EIO};
	struct scratch *s = *state;
	unsigned n, total, seed = 1, good = 1, failures = 0;
	struct ckpti_err err;
	int r;

	ok(write_generation(s->dir, AGAIN, 1, 1, 1, &err), &err);
	calls = 0;
	ok(write_generation(s->dir, AGAIN, ++seed, 1, 0, &err), &err);
	good = seed;
	total = calls;
	for (n = 1; n <= total; n++) {
		seed++;
		calls = 0;
		fail_with = codes[n % 3];
		fail_at = n;
		r = write_generation(s->dir, AGAIN, seed, 1, (int)(n % 2), &err);
		fail_at = 0;
		if (r == 0) {
			good = seed;
		} else {
			failures++;
			assert_int_equal(err.code, r);
			if (r == -ENOSPC && !strstr(err.text, "pwrite"))
				assert_non_null(strstr(err.text, s->dir));
		}
		ok(check_generation(s->dir, 0, good, &err), &err);
	}
	assert_true(failures >= 5);
}

/* A child writes what p says; 1 when it was killed, 0 when it ended. */
static int killed_in_sharing(const char *dir, const struct pages *p, unsigned n)
{
	struct ckpti_reused got;
	struct ckpti_err err;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		calls = 0;
		die_at = n;
		_exit(pages_write(dir, p, 2, &got, &err) == 0 ? got.reused == 0 : 3);
	}
	return was_killed(pid);
}

/* The same with generations that share data files, two of which are kept: both stay whole. */
static void test_store_sharing_write_killed_anywhere(void **state)
{
	static struct pages good[2], p; /* good[0] the newest */
	struct scratch *s = *state;
	struct ckpti_reused got;
	struct ckpti_err err;
	uint64_t newest = 2;
	unsigned n, committed = 0;
	int killed = 1;

	pages_init(&p, 3U << 20);
	ok(pages_write(s->dir, &p, 2, &got, &err), &err);
	good[1] = p;
	pages_change(&p, 700);
	ok(pages_write(s->dir, &p, 2, &got, &err), &err);
	good[0] = p;
	assert_true(got.reused > 0);
	for (n = 1; killed; n++) {
		assert_true(n < 200);
		for (unsigned i = 0; i < 3; i++)
			pages_change(&p, (n * 7 + i * 190) % 768);
		killed = killed_in_sharing(s->dir, &p, n);
		if (pages_check(s->dir, newest + 1, &p, &err) == 0) {
			good[1] = good[0];
			good[0] = p;
			newest++;
			committed++;
		} else {
			assert_int_equal(err.code, -ENODATA);
		}
		ok(pages_check(s->dir, newest, &good[0], &err), &err);
		ok(pages_check(s->dir, newest - 1, &good[1], &err), &err);
	}
	assert_true(n > 10);
	assert_true(committed > 1 && committed < n - 1);
	assert_int_equal(count_files(s, "gen-"), 2);
	assert_int_equal(count_files(s, "gen.tmp"), 0);
}

static void test_store_sharing_write_fails_anywhere(void **state)
{
	static struct pages good, p;
	struct scratch *s = *state;
	unsigned n, total, generations, failures = 0;
	struct ckpti_reused got;
	struct ckpti_err err;
	int r;

	pages_init(&p, 3U << 20);
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	calls = 0;
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	good = p;
	total = calls;
	for (n = 1; n <= total; n++) {
		pages_change(&p, n * 5 % 768);
		generations = count_files(s, "gen-");
		calls = 0;
		fail_with = n % 2 ? ENOSPC : EIO;
		fail_at = n;
		r = pages_write(s->dir, &p, 1, &got, &err);
		fail_at = 0;
		if (r == 0) {
			good = p;
		} else {
			failures++;
			/* What is reported as failed is not there. */
			assert_int_equal(count_files(s, "gen-"), generations);
		}
		ok(pages_check(s->dir, 0, &good, &err), &err);
	}
	assert_true(failures >= 5);
}

static unsigned named_files(const char *dir)
{
	struct ckpti_store *st = NULL;
	struct ckpti_image img;
	struct ckpti_err err;
	struct ckpti_view v;
	size_t pos = 0;
	unsigned n = 0;

	ckpti_image_init(&img);
	ok(ckpti_store_open_read(dir, &st, &err), &err);
	ok(ckpti_store_load(st, 0, &img, &err), &err);
	while (ckpti_image_next(&img, &pos, &v))
		n += v.type == CKPTI_R_DATAFILE;
	ckpti_image_free(&img);
	ckpti_store_close(st);
	return n;
}

/* One write for each of its calls, which fails so; how many have made a generation that stands alone. */
static unsigned failing_writes(struct scratch *s, int error)
{
	static struct pages good, p;
	unsigned total = 1, alone = 0;
	struct ckpti_reused got;
	struct ckpti_err err;
	int r;

	pages_init(&p, 3U << 20);
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	good = p;
	for (unsigned n = 0; n <= total; n++) {
		pages_change(&p, 5);
		calls = 0;
		fail_with = error;
		fail_at = n;
		r = pages_write(s->dir, &p, 1, &got, &err);
		fail_at = 0;
		assert_true(r == 0 || r == -error);
		assert_true((r == 0) == (err.code == 0));
		if (n == 0) {
			assert_int_equal(got.stored, 4096);
			total = calls;
		}
		if (r == 0)
			good = p;
		if (r == 0 && !got.reused) {
			alone++;
			assert_int_equal(named_files(s->dir), 2);
		}
		ok(pages_check(s->dir, 0, &good, &err), &err);
		assert_true(count_files(s, "data-") < 8);
	}
	return alone;
}

/* What stands alone is there already when there is no room for what has changed.  Only that is no failure. */
static void test_store_no_room_to_share(void **state)
{
	assert_true(failing_writes(*state, ENOSPC) >= 1);
	assert_true(failing_writes(*state, EDQUOT) >= 1);
	assert_int_equal(failing_writes(*state, EIO), 0);
}

/* What cannot be read of the last generation is stored anew, also when the piece before it is the same. */
static void test_store_unreadable_is_not_shared(void **state)
{
	enum {
		PIECE = 64
	}; /* pages that are compared at a time */
	static struct pages p;
	struct scratch *s = *state;
	struct ckpti_reused got;
	struct ckpti_err err;

	pages_init(&p, 3U << 20);
	for (unsigned i = 0; i < PIECE; i++)
		p.value[PIECE + i] = p.value[i];
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	unreadable = (PIECE + 7) * 4096;
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	unreadable = -1;
	assert_int_equal(got.stored, PIECE * 4096);
	ok(pages_check(s->dir, 0, &p, &err), &err);
}

static void test_store_full_disk(void **state)
{
	struct scratch *s = *state;
	struct ckpti_err err;
	int r;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", s->root, "tmpfs", 0, "size=5m,mode=0700") < 0) {
		print_message("no file system of our own: %s\n", strerror(errno));
		skip();
	}
	/* One generation has 3 MiB: the second does not fit beside it. */
	ok(write_generation(s->dir, AGAIN, 1, 1, 0, &err), &err);
	r = write_generation(s->dir, AGAIN, 2, 1, 0, &err);
	assert_int_equal(r, -ENOSPC);
	ok(check_generation(s->dir, 0, 1, &err), &err);
	assert_int_equal(count_files(s, "data-"), 2);
	/* Room for the data but not for the image and the pin. */
	assert_int_equal(umount2(s->root, MNT_DETACH), 0);
	assert_int_equal(mount("tmpfs", s->root, "tmpfs", 0, "size=3100k,mode=0700"), 0);
	r = write_generation(s->dir, AGAIN, 1, 1, 1, &err);
	assert_int_equal(r, -ENOSPC);
	assert_non_null(strstr(err.text, s->dir));
	assert_non_null(strstr(err.text, "No space left"));
	assert_int_equal(access(s->dir, F_OK), -1);
	assert_int_equal(umount2(s->root, MNT_DETACH), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_store_first_write_killed_anywhere),
		TEST(test_store_next_write_killed_anywhere),
		TEST(test_store_next_write_fails_anywhere),
		TEST(test_store_sharing_write_killed_anywhere),
		TEST(test_store_sharing_write_fails_anywhere),
		TEST(test_store_no_room_to_share),
		TEST(test_store_unreadable_is_not_shared),
		TEST(test_store_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
