/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A coordinator that is killed at any instruction: the calls that change the directory are wrapped
 * by the linker, and a child dies in the n-th of them, for n = 1, 2, … until it survives.  A write
 * that dies has written half of its bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "step_fixture.h"

/* volatile: glibc marks its functions as leaf, so gcc would drop the stores before the calls. */
static volatile unsigned calls;
static volatile unsigned die_at;

static void strike(void)
{
	if (++calls == die_at)
		(void)kill(getpid(), SIGKILL);
}

ssize_t __real_write(int fd, const void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_renameat(int from, const char *o, int to, const char *n);
int __wrap_renameat(int from, const char *o, int to, const char *n);
int __real_renameat2(int from, const char *o, int to, const char *n, unsigned flags);
int __wrap_renameat2(int from, const char *o, int to, const char *n, unsigned flags);
int __real_unlinkat(int fd, const char *name, int flags);
int __wrap_unlinkat(int fd, const char *name, int flags);
int __real_mkdirat(int fd, const char *name, mode_t mode);
int __wrap_mkdirat(int fd, const char *name, mode_t mode);

ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
	if (calls + 1 == die_at)
		(void)__real_write(fd, buf, len / 2);
	strike();
	return __real_write(fd, buf, len);
}

int __wrap_fsync(int fd)
{
	strike();
	return __real_fsync(fd);
}

int __wrap_renameat(int from, const char *o, int to, const char *n)
{
	strike();
	return __real_renameat(from, o, to, n);
}

int __wrap_renameat2(int from, const char *o, int to, const char *n, unsigned flags)
{
	strike();
	return __real_renameat2(from, o, to, n, flags);
}

int __wrap_unlinkat(int fd, const char *name, int flags)
{
	strike();
	return __real_unlinkat(fd, name, flags);
}

int __wrap_mkdirat(int fd, const char *name, mode_t mode)
{
	strike();
	return __real_mkdirat(fd, name, mode);
}

/* Run fn in a child that dies in its n-th call; true when it did. */
static bool dies(unsigned n, int (*fn)(const struct base *b), const struct base *b)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		calls = 0;
		die_at = n;
		_exit(-fn(b));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return true;
	assert_int_equal(WEXITSTATUS(status), 0);
	return false;
}

static int make_step(const struct base *b)
{
	const struct ckpti_step_id id = sample_id('a');
	struct ckpti_step st;

	return ckpti_step_make(b->path, &id, &st, NULL);
}

static int open_step(const struct base *b, struct ckpti_step *ret)
{
	const struct ckpti_step_id id = sample_id('a');

	return ckpti_step_find(b->path, &id, ret, NULL);
}

static void test_make_is_all_or_nothing(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st;
	unsigned n = 1, found = 0;
	char command[96];
	int r;

	while (dies(n, make_step, b)) {
		r = open_step(b, &st);
		assert_true(r == 0 || r == -ENOENT);
		if (r == 0) {
			/* There already; the next attempt would make another one. */
			ckpti_step_close(&st);
			(void)snprintf(command, sizeof(command), "rm -rf %s/5.1", b->path);
			assert_int_equal(system(command), 0);
			found++;
		}
		n++;
	}
	assert_in_range(n, 6, 20);
	assert_in_range(found, 1, 3);
	assert_int_equal(open_step(b, &st), 0);
	ckpti_step_close(&st);
}

/* Not counted until the parts are written: die_at is set late. */
static unsigned commit_dies_at;

static int commit_and_die(const struct base *b)
{
	struct ckpti_manifest m;
	struct ckpti_step st;
	uint64_t gens[16];
	size_t n;

	die_at = 0;
	if (open_step(b, &st) < 0)
		return 90;
	n = ckpti_step_list(&st, gens, 16);
	make_manifest(&st, 1, gens[n - 1] + 1, &m);
	calls = 0;
	die_at = commit_dies_at;
	if (ckpti_step_commit(&st, &m, NULL) < 0)
		return 91;
	return ckpti_step_prune(&st, 2, 1, NULL);
}

static void test_commit_and_prune_leave_a_good_generation(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st;
	struct ckpti_manifest m;
	uint64_t gens[16], before = 1;
	unsigned skipped, advanced = 0;
	uint32_t epoch;
	size_t n;

	assert_int_equal(make_step(b), 0);
	assert_int_equal(open_step(b, &st), 0);
	assert_int_equal(ckpti_step_take_epoch(&st, &epoch, NULL), 0);
	assert_int_equal(add_generation(&st, 1, 1, NULL), 0);
	for (commit_dies_at = 1; dies(1, commit_and_die, b); commit_dies_at++) {
		assert_int_equal(ckpti_step_load(&st, 0, &m, &skipped, NULL), 0);
		assert_int_equal(skipped, 0);
		assert_true(m.generation == before || m.generation == before + 1);
		advanced += m.generation != before;
		before = m.generation;
		ckpti_manifest_free(&m);
		/* Every one that has a name is good. */
		n = ckpti_step_list(&st, gens, 16);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(ckpti_step_load(&st, gens[i], &m, &skipped, NULL), 0);
			ckpti_manifest_free(&m);
		}
	}
	assert_in_range(commit_dies_at, 5, 20);
	assert_in_range(advanced, 1, commit_dies_at - 4);
	assert_int_equal(ckpti_step_list(&st, gens, 16), 2);
	ckpti_step_close(&st);
}

static int prune_old_life(const struct base *b)
{
	struct ckpti_step st;
	int r = open_step(b, &st);

	return r < 0 ? r : ckpti_step_prune(&st, 1, 2, NULL);
}

static void test_prune_of_a_life_can_be_cut_off_anywhere(void **state)
{
	const struct base *b = *state;
	struct ckpti_manifest m;
	struct ckpti_step st;
	unsigned n = 0, skipped;
	uint32_t epoch;

	assert_int_equal(make_step(b), 0);
	assert_int_equal(open_step(b, &st), 0);
	assert_int_equal(ckpti_step_take_epoch(&st, &epoch, NULL), 0);
	assert_int_equal(add_generation(&st, 1, 1, NULL), 0);
	assert_int_equal(add_generation(&st, 1, 2, NULL), 0);
	assert_int_equal(ckpti_step_take_epoch(&st, &epoch, NULL), 0);
	assert_int_equal(add_generation(&st, 2, 3, NULL), 0);
	/* Each attempt gets one call further than it needs to do one more thing. */
	while (dies(2 + n % 3, prune_old_life, b)) {
		assert_int_equal(ckpti_step_load(&st, 0, &m, &skipped, NULL), 0);
		assert_int_equal(m.generation, 3);
		ckpti_manifest_free(&m);
		/* No manifest without its parts. */
		if (ckpti_step_list(&st, NULL, 0) > 1) {
			if (exists(below(b, "5.1/gen-2"))) {
				assert_int_equal(ckpti_step_load(&st, 2, &m, &skipped, NULL), 0);
				ckpti_manifest_free(&m);
			}
		}
		assert_in_range(++n, 1, 100);
	}
	assert_in_range(n, 3, 100);
	assert_false(exists(below(b, "5.1/life-1")));
	ckpti_step_close(&st);
}

#define STEP_TEST(name) cmocka_unit_test_setup_teardown(name, base_setup, base_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STEP_TEST(test_make_is_all_or_nothing),
		STEP_TEST(test_commit_and_prune_leave_a_good_generation),
		STEP_TEST(test_prune_of_a_life_can_be_cut_off_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
