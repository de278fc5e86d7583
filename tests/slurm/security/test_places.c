/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A base directory that alice shares with bob, who was there first, or comes in between.  Whatever lies
 * in the way: alice gets a directory of her own or an error that names what is wrong, nothing is written
 * where bob said, and nothing waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "security.h"
#include "spank/lib/fs.h"
#include "spank/lib/step.h"

static char base[64], bait[64];

static const char *in(const char *dir, const char *name)
{
	static char path[4][160];
	static unsigned turn;
	char *p = path[turn++ % 4];

	(void)snprintf(p, 160, "%s/%s", dir, name);
	return p;
}

static int setup(void **state)
{
	(void)state;
	(void)snprintf(base, sizeof(base), "/tmp/ckpt-places-XXXXXX");
	(void)snprintf(bait, sizeof(bait), "/tmp/ckpt-bait-XXXXXX");
	if (!mkdtemp(base) || !mkdtemp(bait) || chmod(base, 01777) < 0 || chmod(bait, 0777) < 0)
		return -1;
	return chown(bait, BOB, BOB);
}

static int teardown(void **state)
{
	char command[160];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s %s", base, bait);
	return system(command);
}

static struct ckpti_step_id alices(void)
{
	struct ckpti_step_id id = {.cluster = "c",
				   .uid = ALICE,
				   .job = 5,
				   .step = 1,
				   .submit_time = 1000,
				   .ntasks = 1,
				   .set_base = 1ULL << 32,
				   .name = "solver"};

	memset(id.key, 'a', sizeof(id.key) - 1);
	return id;
}

/* A generation of one task that has ended: there are no parts to look for. */
static int commit(struct ckpti_step *st, uint32_t epoch, uint64_t generation)
{
	struct ckpti_manifest_task task = {.state = CKPTI_TASK_ENDED, .host = "n0"};
	struct ckpti_manifest m = {.generation = generation,
				   .epoch = epoch,
				   .ctime = 1,
				   .ntasks = 1,
				   .reason = "request",
				   .task = &task};
	struct ckpti_err err = {0};
	int r = ckpti_step_commit(st, &m, &err);

	if (r < 0)
		(void)fprintf(stderr, "commit: %s\n", err.text);
	return r;
}

static int count(const char *dir)
{
	char **names = NULL;
	size_t n = 0;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? fd : ckpti_fs_names(fd, &names, &n);

	if (fd >= 0)
		close(fd);
	ckpti_fs_free_names(names, n);
	return r < 0 ? r : (int)n;
}

/* ---- names that are taken ------------------------------------------------------------------- */

/* All names that a step of job 5 would have, as things that lead to bob or make one wait. */
static int occupy(void *arg)
{
	(void)arg;
	(void)umask(0);
	REQUIRE(mkdir(in(base, "5.1"), 0777) == 0);
	REQUIRE(symlink(bait, in(base, "5.1.1")) == 0);
	REQUIRE(mkfifo(in(base, "5.1.2"), 0666) == 0);
	REQUIRE(close(open(in(base, "5.1.3"), O_CREAT | O_WRONLY | O_CLOEXEC, 0666)) == 0);
	REQUIRE(symlink("nowhere", in(base, "5.1.4")) == 0);
	return 0;
}

static int step_beside(void *arg)
{
	struct ckpti_step_id id = alices();
	struct ckpti_step st;
	uint32_t epoch;
	struct stat sb;

	(void)arg;
	(void)umask(0); /* as careless as users are */
	REQUIRE(ckpti_step_find(base, &id, &st, NULL) == -ENOENT);
	REQUIRE(ckpti_step_make(base, &id, &st, NULL) == 0);
	REQUIRE(strcmp(strrchr(st.path, '/'), "/5.1.5") == 0);
	REQUIRE(fstat(st.dirfd, &sb) == 0 && sb.st_uid == ALICE && (sb.st_mode & 07777) == 0700);
	REQUIRE(ckpti_step_take_epoch(&st, &epoch, NULL) == 0);
	REQUIRE(fstatat(st.dirfd, "life-1", &sb, AT_SYMLINK_NOFOLLOW) == 0);
	REQUIRE((sb.st_mode & 07777) == 0700);
	REQUIRE(commit(&st, epoch, 1) == 0);
	REQUIRE(fstatat(st.dirfd, "gen-1", &sb, AT_SYMLINK_NOFOLLOW) == 0);
	REQUIRE((sb.st_mode & 07777) == 0600);
	ckpti_step_close(&st);
	REQUIRE(ckpti_step_find(base, &id, &st, NULL) == 0);
	ckpti_step_close(&st);
	return 0;
}

static void test_places_occupied_names_are_passed_over(void **state)
{
	(void)state;
	run_as(BOB, occupy, NULL);
	run_as(ALICE, step_beside, NULL);
	assert_int_equal(count(bait), 0);
	assert_int_equal(count(in(base, "5.1")), 0);
}

/* ---- the counter of steps --------------------------------------------------------------------- */

static int occupy_counter(void *arg)
{
	const int *how = arg;
	char name[32];

	(void)umask(0);
	(void)snprintf(name, sizeof(name), ".steps.%u", ALICE);
	(void)rmdir(in(base, name));
	(void)unlink(in(base, name));
	if (*how == 0)
		REQUIRE(mkdir(in(base, name), 0777) == 0);
	if (*how == 1)
		REQUIRE(symlink(bait, in(base, name)) == 0);
	if (*how == 2)
		REQUIRE(mkfifo(in(base, name), 0666) == 0);
	return 0;
}

static int count_steps(void *arg)
{
	const struct ckpti_step_id id = alices();
	struct ckpti_err err = {0};
	unsigned number;

	(void)arg;
	REQUIRE(ckpti_step_occurrence(base, &id, 0, "solver", "/", "", &number, &err) == -EPERM);
	REQUIRE(strstr(err.text, ".steps.") != NULL);
	return 0;
}

static void test_places_occupied_counter_is_named(void **state)
{
	(void)state;
	for (int how = 0; how < 3; how++) {
		run_as(BOB, occupy_counter, &how);
		run_as(ALICE, count_steps, NULL);
		assert_int_equal(count(bait), 0);
	}
}

/* ---- exchanged while it is in use -------------------------------------------------------------- */

/* Base without the sticky bit: bob may rename what is alice's. */
static int exchange(void *arg)
{
	(void)arg;
	(void)umask(0);
	REQUIRE(rename(in(base, "5.1"), in(base, "away")) == 0);
	REQUIRE(mkdir(in(base, "5.1"), 0777) == 0);
	REQUIRE(mkdir(in(base, "5.1/life-1"), 0777) == 0);
	REQUIRE(symlink(bait, in(base, "5.1/life-2")) == 0);
	return 0;
}

struct shared {
	struct ckpti_step st;
	uint32_t epoch;
};

static int go_on(void *arg)
{
	struct shared *s = arg;
	struct ckpti_step st;
	uint32_t epoch;

	/* The coordinator has the directory open and goes on in it. */
	REQUIRE(commit(&s->st, s->epoch, 1) == 0);
	REQUIRE(access(in(base, "away/gen-1"), F_OK) == 0);
	REQUIRE(ckpti_step_superseded(s->st.dirfd, s->epoch) == 0);
	REQUIRE(ckpti_step_take_epoch(&s->st, &epoch, NULL) == 0 && epoch == 2);
	REQUIRE(access(in(base, "away/life-2"), F_OK) == 0);
	/* Who comes by the path gets an error. */
	REQUIRE(ckpti_step_open(in(base, "5.1"), &st, NULL) == -EPERM);
	return 0;
}

static int make_alices(void *arg)
{
	struct ckpti_step_id id = alices();
	struct ckpti_step st;
	uint32_t epoch;

	(void)arg;
	REQUIRE(ckpti_step_make(base, &id, &st, NULL) == 0);
	REQUIRE(ckpti_step_take_epoch(&st, &epoch, NULL) == 0 && epoch == 1);
	return 0;
}

static void test_places_exchanged_directory_is_not_followed(void **state)
{
	struct shared s = {.epoch = 1};

	(void)state;
	assert_int_equal(chmod(base, 0777), 0);
	run_as(ALICE, make_alices, NULL);
	/* What alice's coordinator holds. */
	(void)snprintf(s.st.path, sizeof(s.st.path), "%s", in(base, "5.1"));
	s.st.id = alices();
	s.st.dirfd = open(s.st.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(s.st.dirfd >= 0);
	run_as(BOB, exchange, NULL);
	run_as(ALICE, go_on, &s);
	close(s.st.dirfd);
	assert_int_equal(count(bait), 0);
	assert_int_equal(count(in(base, "5.1")), 2);
	assert_int_equal(count(in(base, "5.1/life-1")), 0);
}

/* ---- what bob can see of it --------------------------------------------------------------------- */

static int pry(void *arg)
{
	struct ckpti_step_id id = alices();
	struct ckpti_step st;

	(void)arg;
	REQUIRE(open(in(base, "5.1"), O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 && errno == EACCES);
	REQUIRE(open(in(base, "5.1/step"), O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES);
	REQUIRE(mkdir(in(base, "5.1/life-9"), 0700) < 0 && errno == EACCES);
	REQUIRE(rename(in(base, "5.1"), in(base, "mine")) < 0);
	/* Not by our own code either: to call oneself alice is not enough. */
	REQUIRE(ckpti_step_find(base, &id, &st, NULL) == -ENOENT);
	REQUIRE(ckpti_step_open(in(base, "5.1"), &st, NULL) < 0);
	return 0;
}

static void test_places_others_see_and_change_nothing(void **state)
{
	(void)state;
	run_as(ALICE, make_alices, NULL);
	run_as(BOB, pry, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_places_occupied_names_are_passed_over, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_places_occupied_counter_is_named, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_places_exchanged_directory_is_not_followed,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_places_others_see_and_change_nothing, setup,
						teardown),
	};

	need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
