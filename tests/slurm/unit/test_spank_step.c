/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "spank/lib/fs.h"
#include "spank/lib/step_private.h"
#include "step_fixture.h"

/* ---- who it is ---------------------------------------------------------------------------- */

static void test_key_depends_on_everything(void **state)
{
	char key[33], other[33];

	(void)state;
	/* XXH3-128 of "name\0" "/cwd\0" "4.0\0"; must never change. */
	ckpti_step_key("name", "/cwd", 4, 0, key);
	assert_string_equal(key, "53a4efc3503ef706d8e5aa10cb9f113f");
	ckpti_step_key("name/", "cwd", 4, 0, other);
	assert_string_not_equal(key, other);
	ckpti_step_key("name", "/cwd", 5, 0, other);
	assert_string_not_equal(key, other);
	ckpti_step_key("name", "/cwd", 4, 1, other);
	assert_string_not_equal(key, other);
}

static void test_occurrence_counts_equal_steps_of_a_life(void **state)
{
	struct ckpti_step_id id = sample_id('a');
	const struct base *b = *state;
	unsigned n = 99;
	struct stat sb;

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ckpti_step_occurrence(b->path, &id, 0, "x", "/w", "", &n, NULL),
				 0);
		assert_int_equal(n, i);
	}
	assert_int_equal(ckpti_step_occurrence(b->path, &id, 0, "y", "/w", "", &n, NULL), 0);
	assert_int_equal(n, 0);
	/* Another cluster has a job of the same number. */
	(void)strcpy(id.cluster, "d");
	assert_int_equal(ckpti_step_occurrence(b->path, &id, 0, "x", "/w", "", &n, NULL), 0);
	assert_int_equal(n, 0);
	/* Requeued: Slurm has given it another time as well. */
	(void)strcpy(id.cluster, "c");
	id.submit_time += 50;
	assert_int_equal(ckpti_step_occurrence(b->path, &id, 1, "x", "/w", "", &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(ckpti_step_occurrence(b->path, &id, 1, "x", "/w", "", &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(stat(below(b, ".steps.%u", (unsigned)geteuid()), &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0700);
}

static unsigned start_equal(const struct base *b, const struct ckpti_step_id *id, unsigned life,
			    const char *stdio)
{
	unsigned n = 99;

	assert_int_equal(ckpti_step_occurrence(b->path, id, life, "x", "/w", stdio, &n, NULL), 0);
	return n;
}

/* Equal steps that come in another order are told apart by where their output goes. */
static void test_occurrence_by_output(void **state)
{
	struct ckpti_step_id id = sample_id('a');
	const struct base *b = *state;

	assert_int_equal(start_equal(b, &id, 0, "left"), 0);
	assert_int_equal(start_equal(b, &id, 0, "right"), 1);
	assert_int_equal(start_equal(b, &id, 0, "right"), 2);
	assert_int_equal(start_equal(b, &id, 1, "right"), 1);
	/* The life after one that has not come far knows the rest from the one before. */
	assert_int_equal(start_equal(b, &id, 2, "right"), 1);
	assert_int_equal(start_equal(b, &id, 2, "left"), 0);
	assert_int_equal(start_equal(b, &id, 2, "right"), 2);
	assert_int_equal(start_equal(b, &id, 2, "right"), 3);
	/* Names that are new each time: by their order. */
	assert_int_equal(start_equal(b, &id, 3, "monday"), 0);
	assert_int_equal(start_equal(b, &id, 3, "tuesday"), 1);
	/* Without a token the job has another time of submission in each life. */
	id.token[0] = '\0';
	id.job++;
	assert_int_equal(start_equal(b, &id, 0, "left"), 0);
	assert_int_equal(start_equal(b, &id, 0, "right"), 1);
	id.submit_time += 50;
	assert_int_equal(start_equal(b, &id, 1, "right"), 1);
	assert_int_equal(start_equal(b, &id, 1, "left"), 0);
	/* Another job that got the same number counts from the beginning. */
	id.submit_time += 50;
	assert_int_equal(start_equal(b, &id, 0, "right"), 0);
}

static void test_occurrence_is_exclusive(void **state)
{
	const struct ckpti_step_id id = sample_id('a');
	const struct base *b = *state;
	unsigned n, seen = 0;
	int status;

	for (int i = 0; i < 8; i++) {
		if (fork() == 0) {
			_exit(ckpti_step_occurrence(b->path, &id, 0, "x", "/w", "", &n, NULL) < 0
				      ? 99
				      : (int)n);
		}
	}
	while (wait(&status) > 0) {
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 8);
		seen |= 1U << WEXITSTATUS(status);
	}
	assert_int_equal(seen, 0xff);
}

/* ---- making and finding ------------------------------------------------------------------- */

static void make(const struct base *b, const struct ckpti_step_id *id, const char *want_name)
{
	struct ckpti_err err = {0};
	struct ckpti_step st;

	if (ckpti_step_make(b->path, id, &st, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(st.path, below(b, "%s", want_name));
	ckpti_step_close(&st);
}

static void expect_find(const struct base *b, const struct ckpti_step_id *id, const char *want_name)
{
	struct ckpti_err err = {0};
	struct ckpti_step st;
	int r = ckpti_step_find(b->path, id, &st, &err);

	if (!want_name) {
		assert_int_equal(r, -ENOENT);
		assert_int_equal(st.dirfd, -1);
		assert_int_equal(err.code, -ENOENT);
		return;
	}
	if (r < 0)
		fail_msg("%s", err.text);
	assert_string_equal(st.path, below(b, "%s", want_name));
	ckpti_step_close(&st);
}

static void test_step_is_made_and_found_again(void **state)
{
	struct ckpti_step_id id = sample_id('a');
	const struct base *b = *state;
	struct ckpti_step st;
	struct stat sb;
	char **names;
	size_t n;
	int fd;

	expect_find(b, &id, NULL);
	make(b, &id, "5.1");
	assert_int_equal(stat(below(b, "5.1"), &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0700);
	assert_int_equal(stat(below(b, "5.1/step"), &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
	/* The number of the step says nothing. */
	id.step = 2;
	expect_find(b, &id, "5.1");
	assert_int_equal(ckpti_step_open(below(b, "5.1"), &st, NULL), 0);
	assert_string_equal(st.id.cluster, id.cluster);
	assert_string_equal(st.id.key, id.key);
	assert_string_equal(st.id.name, id.name);
	assert_int_equal(st.id.uid, id.uid);
	assert_int_equal(st.id.job, 5);
	assert_int_equal(st.id.step, 1);
	assert_int_equal(st.id.submit_time, 1000);
	assert_int_equal(st.id.ntasks, NTASKS);
	assert_true(st.id.set_base == id.set_base);
	ckpti_step_close(&st);
	/* Nothing else is left of the making. */
	fd = open(b->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(ckpti_fs_names(fd, &names, &n), 0);
	assert_int_equal(n, 1);
	assert_string_equal(names[0], "5.1");
	ckpti_fs_free_names(names, n);
	close(fd);
}

static void test_step_names_that_are_taken(void **state)
{
	struct ckpti_step_id id = sample_id('a');
	const struct base *b = *state;

	make(b, &id, "5.1");
	id.key[0] = 'b';
	make(b, &id, "5.1.1");
	write_text(below(b, "5.1.2"), "a file");
	assert_int_equal(symlink("/tmp", below(b, "5.1.3")), 0);
	id.key[0] = 'c';
	make(b, &id, "5.1.4");
	id.key[0] = 'd';
	id.step = CKPTI_STEP_BATCH;
	make(b, &id, "5.batch");
	expect_find(b, &id, "5.batch");
	id.key[0] = 'b';
	expect_find(b, &id, "5.1.1");
}

static void test_step_of_another_identity_is_not_found(void **state)
{
	const struct ckpti_step_id id = sample_id('a');
	struct ckpti_step_id other = id;
	const struct base *b = *state;

	make(b, &id, "5.1");
	other.key[31] = 'f';
	expect_find(b, &other, NULL);
	other = id;
	other.cluster[0] = 'x';
	expect_find(b, &other, NULL);
	other = id;
	other.uid++;
	expect_find(b, &other, NULL);
	other = id;
	other.job = 55;
	expect_find(b, &other, NULL);
	other = id;
	other.submit_time++; /* not a later life: another job with the same number */
	expect_find(b, &other, NULL);
	other.restarts = 1;
	other.submit_time = id.submit_time - 1;
	expect_find(b, &other, NULL);
}

/* Slurm changes the time of submission when it requeues. */
static void test_step_of_an_earlier_life_is_found(void **state)
{
	struct ckpti_step_id id = sample_id('a');
	const struct base *b = *state;
	struct ckpti_step st;

	make(b, &id, "5.1");
	id.restarts = 2;
	id.submit_time = 3000;
	expect_find(b, &id, "5.1");
	/* With a token nothing else counts, and one without it is another job. */
	(void)strcpy(id.token, "0123456789abcdef0123456789abcdef");
	expect_find(b, &id, NULL);
	make(b, &id, "5.1.1");
	id.submit_time = 10;
	id.restarts = 0;
	expect_find(b, &id, "5.1.1");
	id.token[0] = 'f';
	expect_find(b, &id, NULL);
	/* Of several the latest that is not later than we are. */
	id = sample_id('a');
	id.submit_time = 2000;
	make(b, &id, "5.1.2");
	id.restarts = 1;
	id.submit_time = 2500;
	expect_find(b, &id, "5.1.2");
	id.submit_time = 1500;
	expect_find(b, &id, "5.1");
	/* Two that claim to be the same. */
	id = sample_id('a');
	make(b, &id, "5.1.3");
	assert_int_equal(ckpti_step_find(b->path, &id, &st, NULL), -ENOTUNIQ);
	assert_int_equal(st.dirfd, -1);
}

/* It may be ours, so the step must not begin anew. */
static void expect_unusable(const struct base *b, const struct ckpti_step_id *id, int want)
{
	struct ckpti_err err = {0};
	struct ckpti_step st;

	assert_int_equal(ckpti_step_find(b->path, id, &st, &err), want);
	assert_int_equal(st.dirfd, -1);
	assert_non_null(strstr(err.text, below(b, "5.1")));
}

static void test_step_of_somebody_else_is_refused(void **state)
{
	const struct ckpti_step_id id = sample_id('a');
	struct ckpti_err err = {0};
	const struct base *b = *state;
	struct ckpti_step st;

	make(b, &id, "5.1");
	assert_int_equal(chmod(below(b, "5.1"), 0770), 0);
	expect_unusable(b, &id, -EPERM);
	/* Names that a step never has are the user's own. */
	assert_int_equal(rename(below(b, "5.1"), below(b, "5.results")), 0);
	expect_find(b, &id, NULL);
	assert_int_equal(rename(below(b, "5.results"), below(b, "5.1")), 0);
	assert_int_equal(ckpti_step_open(below(b, "5.1"), &st, &err), -EPERM);
	assert_int_equal(chmod(below(b, "5.1"), 0700), 0);
	expect_find(b, &id, "5.1");
	assert_int_equal(chmod(below(b, "5.1/step"), 0622), 0);
	expect_unusable(b, &id, -EPERM);
	assert_int_equal(chmod(below(b, "5.1/step"), 0600), 0);
	write_text(below(b, "5.2"), "a file");
	assert_int_equal(mkdir(below(b, "5.3"), 0700), 0);
	expect_find(b, &id, "5.1");
	if (geteuid() == 0) {
		assert_int_equal(chown(below(b, "5.1"), 61001, 61001), 0);
		expect_find(b, &id, NULL);
		assert_int_equal(ckpti_step_open(below(b, "5.1"), &st, NULL), -EPERM);
		assert_int_equal(chown(below(b, "5.1"), 0, 0), 0);
	}
	/* A link to a good one is not a step of this job. */
	assert_int_equal(rename(below(b, "5.1"), below(b, "elsewhere")), 0);
	assert_int_equal(symlink("elsewhere", below(b, "5.1")), 0);
	expect_find(b, &id, NULL);
	/* A FIFO in place of the file does not make us wait. */
	assert_int_equal(unlink(below(b, "elsewhere/step")), 0);
	assert_int_equal(mkfifo(below(b, "elsewhere/step"), 0600), 0);
	assert_int_equal(ckpti_step_open(below(b, "elsewhere"), &st, NULL), -EPERM);
}

/* ---- epochs ------------------------------------------------------------------------------- */

static void test_epoch_is_taken_once(void **state)
{
	const struct ckpti_step_id id = sample_id('a');
	const struct base *b = *state;
	struct ckpti_step st;
	uint32_t epoch;
	int status, got = 0, lost = 0;

	assert_int_equal(ckpti_step_make(b->path, &id, &st, NULL), 0);
	assert_int_equal(ckpti_step_epoch(&st), 0);
	assert_int_equal(ckpti_step_take_epoch(&st, &epoch, NULL), 0);
	assert_int_equal(epoch, 1);
	assert_int_equal(ckpti_step_superseded(st.dirfd, 1), 0);
	/* Names that are none of ours. */
	assert_int_equal(mkdir(below(b, "5.1/life-07"), 0700), 0);
	assert_int_equal(mkdir(below(b, "5.1/life-x"), 0700), 0);
	assert_int_equal(ckpti_step_superseded(st.dirfd, 1), 0);
	for (int i = 0; i < 8; i++) {
		if (fork() == 0) {
			int r = ckpti_step_take_epoch(&st, &epoch, NULL);

			_exit(r == 0 ? (int)epoch : r == -EEXIST ? 100 : 99);
		}
	}
	while (wait(&status) > 0) {
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 99);
		got += WEXITSTATUS(status) < 99;
		lost += WEXITSTATUS(status) == 100;
	}
	/* Whoever won has a number of his own. */
	assert_int_equal(got + lost, 8);
	assert_int_equal(ckpti_step_epoch(&st), 1 + got);
	assert_int_equal(ckpti_step_superseded(st.dirfd, 1), 1);
	assert_int_equal(ckpti_step_superseded(st.dirfd, 1U + (unsigned)got), 0);
	ckpti_step_close(&st);
	assert_int_equal(ckpti_step_superseded(-1, 1), -EBADF);
}

/* ---- generations -------------------------------------------------------------------------- */

static struct ckpti_step new_step(const struct base *b)
{
	const struct ckpti_step_id id = sample_id('a');
	struct ckpti_step st;
	uint32_t epoch;

	assert_int_equal(ckpti_step_make(b->path, &id, &st, NULL), 0);
	assert_int_equal(ckpti_step_take_epoch(&st, &epoch, NULL), 0);
	return st;
}

static void expect_load(const struct ckpti_step *st, uint64_t ask, uint64_t want, unsigned skipped)
{
	struct ckpti_err err = {0};
	struct ckpti_manifest m;
	unsigned n = 99;
	int r = ckpti_step_load(st, ask, &m, &n, &err);

	if (r < 0)
		fail_msg("%s", err.text);
	assert_int_equal(m.generation, want);
	assert_int_equal(n, skipped);
	ckpti_manifest_free(&m);
}

static void test_generation_is_committed_and_loaded(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st = new_step(b);
	struct ckpti_manifest m, got;
	struct ckpti_err err = {0};
	uint64_t list[4];
	unsigned skipped;

	assert_int_equal(ckpti_step_load(&st, 0, &got, &skipped, &err), -ENODATA);
	assert_non_null(strstr(err.text, "holds no complete checkpoint"));
	make_manifest(&st, 1, 7, &m);
	assert_int_equal(ckpti_step_commit(&st, &m, NULL), 0);
	assert_int_equal(ckpti_step_load(&st, 0, &got, &skipped, NULL), 0);
	assert_int_equal(skipped, 0);
	assert_memory_equal(m.task, got.task, NTASKS * sizeof(m.task[0]));
	assert_memory_equal(&m, &got, offsetof(struct ckpti_manifest, task));
	ckpti_manifest_free(&got);
	/* It is never written again. */
	m.stored++;
	err = (struct ckpti_err){0};
	assert_int_equal(ckpti_step_commit(&st, &m, &err), -EEXIST);
	ckpti_manifest_free(&m);
	assert_int_equal(add_generation(&st, 1, 10, NULL), 0);
	assert_int_equal(ckpti_step_list(&st, list, 4), 2);
	assert_int_equal(list[0], 7);
	assert_int_equal(list[1], 10);
	expect_load(&st, 0, 10, 0);
	expect_load(&st, 7, 7, 0);
	ckpti_step_close(&st);
}

static void test_commit_of_a_life_that_is_over_is_refused(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st = new_step(b);
	struct ckpti_err err = {0};
	uint32_t epoch;

	assert_int_equal(ckpti_step_take_epoch(&st, &epoch, NULL), 0);
	assert_int_equal(add_generation(&st, 1, 1, &err), -ESTALE);
	assert_int_equal(ckpti_step_list(&st, NULL, 0), 0);
	assert_int_equal(ckpti_step_prune(&st, 1, 1, NULL), -ESTALE);
	assert_int_equal(add_generation(&st, 2, 1, NULL), 0);
	ckpti_step_close(&st);
}

static void flip(const char *path, long at)
{
	FILE *f = fopen(path, "r+be");
	int c;

	assert_non_null(f);
	assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
	c = fgetc(f);
	assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
	(void)fputc(c ^ 1, f);
	assert_int_equal(fclose(f), 0);
}

static void test_damaged_generations_are_passed_over(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st = new_step(b);
	struct ckpti_err err = {0};
	struct ckpti_manifest m;
	unsigned skipped;

	for (uint64_t i = 1; i <= 6; i++)
		assert_int_equal(add_generation(&st, 1, i, NULL), 0);
	flip(below(b, "5.1/gen-6"), 40);
	expect_load(&st, 0, 5, 1);
	assert_int_equal(truncate(below(b, "5.1/gen-5"), 100), 0);
	expect_load(&st, 0, 4, 2);
	/* Parts: gone, cut, another header. */
	assert_int_equal(unlink(below(b, "5.1/life-1/task-0/gen-00000004")), 0);
	expect_load(&st, 0, 3, 3);
	assert_int_equal(truncate(below(b, "5.1/life-1/task-1/gen-00000003"), 500), 0);
	expect_load(&st, 0, 2, 4);
	flip(below(b, "5.1/life-1/task-1/gen-00000002"), 40);
	expect_load(&st, 0, 1, 5);
	assert_int_equal(ckpti_step_load(&st, 2, &m, &skipped, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "generation 2 in"));
	assert_non_null(strstr(err.text, "life-1/task-1"));
	assert_int_equal(rename(below(b, "5.1/life-1/task-1"), below(b, "5.1/life-1/x")), 0);
	/* The cause told is that of the newest. */
	err = (struct ckpti_err){0};
	assert_int_equal(ckpti_step_load(&st, 0, &m, &skipped, &err), -ENOENT);
	assert_int_equal(skipped, 6);
	assert_non_null(strstr(err.text, "gen-6"));
	ckpti_step_close(&st);
}

/* What is good but not to be read now does not fall back behind the user's back. */
static void test_generation_that_cannot_be_judged_is_not_passed_over(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st = new_step(b);
	struct ckpti_manifest m;
	unsigned skipped;

	assert_int_equal(add_generation(&st, 1, 1, NULL), 0);
	assert_int_equal(add_generation(&st, 1, 2, NULL), 0);
	assert_int_equal(chmod(below(b, "5.1/gen-2"), 0666), 0);
	assert_int_equal(ckpti_step_load(&st, 0, &m, &skipped, NULL), -EPERM);
	assert_int_equal(chmod(below(b, "5.1/gen-2"), 0600), 0);
	expect_load(&st, 0, 2, 0);
	ckpti_step_close(&st);
}

static void test_rejected_generation_is_not_chosen_again(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st = new_step(b);

	assert_int_equal(add_generation(&st, 1, 1, NULL), 0);
	assert_int_equal(add_generation(&st, 1, 2, NULL), 0);
	assert_int_equal(ckpti_step_reject(&st, 2, "did not start\nreally"), 0);
	expect_load(&st, 0, 1, 1);
	expect_load(&st, 2, 2, 0); /* asked for by its number */
	/* A new one under an old number is a new one. */
	assert_int_equal(unlink(below(b, "5.1/gen-2")), 0);
	assert_int_equal(add_generation(&st, 1, 2, NULL), 0);
	expect_load(&st, 0, 2, 0);
	ckpti_step_close(&st);
}

static void test_manifest_with_any_bit_changed_is_refused(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st = new_step(b);
	struct ckpti_manifest m, got;
	size_t len;
	char *text;

	make_manifest(&st, 1, 1, &m);
	assert_int_equal(ckpti_manifest_write(&m, &text, &len), 0);
	assert_int_equal(ckpti_manifest_parse(&got, text, len), 0);
	ckpti_manifest_free(&got);
	for (size_t i = 0; i < len; i++) {
		text[i] ^= 4;
		assert_int_equal(ckpti_manifest_parse(&got, text, len), -EBADMSG);
		text[i] ^= 4;
		assert_int_equal(ckpti_manifest_parse(&got, text, i), -EBADMSG);
	}
	free(text);
	/* Incomplete ones are not written. */
	m.task[1].state = 0;
	assert_int_equal(ckpti_manifest_write(&m, &text, &len), -EINVAL);
	ckpti_manifest_free(&m);
	ckpti_step_close(&st);
}

static void expect_held(const struct ckpti_step *st, uint32_t epoch, uint32_t rank, size_t n)
{
	uint64_t *held;
	size_t got;

	assert_int_equal(ckpti_step_held(st, epoch, rank, &held, &got), 0);
	assert_int_equal(got, n);
	if (epoch == 1 && rank == 0 && n == 2) {
		assert_int_equal(held[0], 1);
		assert_int_equal(held[1], 3);
	}
	free(held);
}

static void test_held_are_the_parts_that_manifests_name(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st = new_step(b);
	uint64_t *held;
	size_t n;

	assert_int_equal(add_generation(&st, 1, 1, NULL), 0);
	(void)write_part(&st, 1, 0); /* of a round that was given up */
	assert_int_equal(add_generation(&st, 1, 2, NULL), 0);
	expect_held(&st, 1, 0, 2);
	expect_held(&st, 1, 1, 2);
	expect_held(&st, 1, NTASKS - 1, 0);
	expect_held(&st, 2, 0, 0);
	/* Nothing is known to be held by one that cannot be read. */
	assert_int_equal(fchmodat(st.dirfd, "gen-1", 0622, 0), 0);
	assert_true(ckpti_step_held(&st, 1, 0, &held, &n) < 0);
	assert_null(held);
	ckpti_step_close(&st);
}

/* ---- removing ----------------------------------------------------------------------------- */

static void test_prune_keeps_what_is_needed(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st = new_step(b);
	struct ckpti_err err = {0};
	uint32_t epoch;

	assert_int_equal(add_generation(&st, 1, 1, NULL), 0);
	assert_int_equal(add_generation(&st, 1, 2, NULL), 0);
	assert_int_equal(mkdir(below(b, "5.1/life-1/pins"), 0700), 0);
	write_text(below(b, "5.1/life-1/pins/pin-00"), "x");
	write_text(below(b, "5.1/life-1/alive"), "");
	assert_int_equal(ckpti_step_take_epoch(&st, &epoch, NULL), 0);
	assert_int_equal(ckpti_step_take_epoch(&st, &epoch, NULL), 0); /* 2 has left nothing */
	assert_int_equal(add_generation(&st, 3, 3, NULL), 0);
	assert_int_equal(ckpti_step_prune(&st, 2, 3, &err), 0);
	assert_false(exists(below(b, "5.1/gen-1")));
	assert_false(exists(below(b, "5.1/life-2")));
	expect_load(&st, 2, 2, 0);
	expect_load(&st, 0, 3, 0);
	/* A damaged one goes, and does not count. */
	assert_int_equal(add_generation(&st, 3, 4, NULL), 0);
	flip(below(b, "5.1/gen-3"), 40);
	assert_int_equal(ckpti_step_prune(&st, 2, 3, &err), 0);
	assert_false(exists(below(b, "5.1/gen-3")));
	expect_load(&st, 2, 2, 0);
	/* Now nobody needs the first life. */
	assert_int_equal(add_generation(&st, 3, 5, NULL), 0);
	assert_int_equal(ckpti_step_prune_manifests(&st, 2, 3, &err), 0);
	assert_false(exists(below(b, "5.1/gen-2")));
	assert_true(exists(below(b, "5.1/life-1/task-0")));
	assert_int_equal(ckpti_step_prune_lives(&st, 3, &err), 0);
	assert_false(exists(below(b, "5.1/life-1")));
	assert_true(exists(below(b, "5.1/life-3/task-0")));
	expect_load(&st, 4, 4, 0);
	expect_load(&st, 5, 5, 0);
	ckpti_step_close(&st);
}

static void test_forget_leaves_nothing_to_restart_from(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st = new_step(b);
	struct ckpti_manifest m;
	unsigned skipped;

	assert_int_equal(add_generation(&st, 1, 1, NULL), 0);
	assert_int_equal(add_generation(&st, 1, 2, NULL), 0);
	assert_int_equal(ckpti_step_forget(&st, NULL), 0);
	assert_int_equal(ckpti_step_load(&st, 0, &m, &skipped, NULL), -ENODATA);
	assert_int_equal(ckpti_step_forget(&st, NULL), 0);
	assert_int_equal(add_generation(&st, 1, 3, NULL), 0);
	expect_load(&st, 0, 3, 0);
	ckpti_step_close(&st);
}

/* The next life begins while the file is being written. */
static int too_late(const void *arg)
{
	(void)arg;
	return -ESTALE;
}

static void test_file_that_comes_too_late_is_not_there(void **state)
{
	const struct base *b = *state;
	int fd = open(b->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(ckpti_fs_write_if(fd, "late", "x", 1, false, too_late, NULL), -ESTALE);
	assert_false(exists(below(b, "late")));
	close(fd);
}

static void test_prune_leaves_what_is_in_use_and_what_is_foreign(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st = new_step(b);
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	uint32_t epoch;
	int fd;

	assert_int_equal(add_generation(&st, 1, 1, NULL), 0);
	assert_int_equal(ckpti_step_take_epoch(&st, &epoch, NULL), 0);
	assert_int_equal(add_generation(&st, 2, 2, NULL), 0);
	/* A program that was restarted from it has mapped a file. */
	fd = open(below(b, "5.1/life-1/task-0/data-00000001"), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	write_text(below(b, "5.1/life-1/task-1/notes"), "mine");
	write_text(below(b, "5.1/life-1/notes"), "mine");
	assert_int_equal(ckpti_step_prune(&st, 1, 2, NULL), 0);
	assert_true(exists(below(b, "5.1/life-1/task-0/gen-00000001")));
	assert_true(exists(below(b, "5.1/life-1/task-1/notes")));
	assert_true(exists(below(b, "5.1/life-1/notes")));
	assert_false(exists(below(b, "5.1/life-1/task-1/gen-00000001")));
	close(fd);
	assert_int_equal(unlink(below(b, "5.1/life-1/notes")), 0);
	assert_int_equal(unlink(below(b, "5.1/life-1/task-1/notes")), 0);
	assert_int_equal(ckpti_step_prune(&st, 1, 2, NULL), 0);
	assert_false(exists(below(b, "5.1/life-1")));
	ckpti_step_close(&st);
}

/* A manifest that merely cannot be read now may need anything. */
static void test_prune_touches_no_life_when_a_manifest_is_unreadable(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st = new_step(b);
	uint32_t epoch;

	assert_int_equal(add_generation(&st, 1, 1, NULL), 0);
	assert_int_equal(ckpti_step_take_epoch(&st, &epoch, NULL), 0);
	assert_int_equal(add_generation(&st, 2, 2, NULL), 0);
	assert_int_equal(chmod(below(b, "5.1/gen-1"), 0620), 0);
	assert_int_equal(ckpti_step_prune(&st, 1, 2, NULL), 0);
	assert_true(exists(below(b, "5.1/gen-1")));
	assert_true(exists(below(b, "5.1/life-1/task-0/gen-00000001")));
	ckpti_step_close(&st);
}

static void test_remove_takes_ours_and_leaves_the_rest(void **state)
{
	const struct base *b = *state;
	struct ckpti_step st = new_step(b);
	struct ckpti_err err = {0};
	struct ckpti_kv kv;

	assert_int_equal(add_generation(&st, 1, 1, NULL), 0);
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "count", "1");
	assert_int_equal(ckpti_step_write_file(&st, "disabled", &kv, NULL), 0);
	ckpti_kv_free(&kv);
	assert_int_equal(ckpti_step_read_file(&st, "disabled", &kv), 0);
	assert_string_equal(ckpti_kv_get(&kv, "count", ""), "1");
	ckpti_kv_free(&kv);
	assert_int_equal(ckpti_step_read_file(&st, "last", &kv), -ENOENT);
	write_text(below(b, "5.1/results.txt"), "precious");
	assert_int_equal(ckpti_step_remove(&st, &err), -ENOTEMPTY);
	assert_non_null(strstr(err.text, "results.txt"));
	assert_true(exists(below(b, "5.1/results.txt")));
	assert_true(exists(below(b, "5.1/step")));
	assert_false(exists(below(b, "5.1/gen-1")));
	assert_false(exists(below(b, "5.1/life-1")));
	assert_int_equal(unlink(below(b, "5.1/results.txt")), 0);
	assert_int_equal(ckpti_step_remove(&st, NULL), 0);
	assert_false(exists(below(b, "5.1")));
	ckpti_step_close(&st);
}

#define STEP_TEST(name) cmocka_unit_test_setup_teardown(name, base_setup, base_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key_depends_on_everything),
		STEP_TEST(test_occurrence_counts_equal_steps_of_a_life),
		STEP_TEST(test_occurrence_by_output),
		STEP_TEST(test_occurrence_is_exclusive),
		STEP_TEST(test_step_is_made_and_found_again),
		STEP_TEST(test_step_names_that_are_taken),
		STEP_TEST(test_step_of_another_identity_is_not_found),
		STEP_TEST(test_step_of_an_earlier_life_is_found),
		STEP_TEST(test_step_of_somebody_else_is_refused),
		STEP_TEST(test_epoch_is_taken_once),
		STEP_TEST(test_generation_is_committed_and_loaded),
		STEP_TEST(test_commit_of_a_life_that_is_over_is_refused),
		STEP_TEST(test_damaged_generations_are_passed_over),
		STEP_TEST(test_generation_that_cannot_be_judged_is_not_passed_over),
		STEP_TEST(test_rejected_generation_is_not_chosen_again),
		STEP_TEST(test_manifest_with_any_bit_changed_is_refused),
		STEP_TEST(test_held_are_the_parts_that_manifests_name),
		STEP_TEST(test_forget_leaves_nothing_to_restart_from),
		STEP_TEST(test_file_that_comes_too_late_is_not_there),
		STEP_TEST(test_prune_keeps_what_is_needed),
		STEP_TEST(test_prune_leaves_what_is_in_use_and_what_is_foreign),
		STEP_TEST(test_prune_touches_no_life_when_a_manifest_is_unreadable),
		STEP_TEST(test_remove_takes_ours_and_leaves_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
