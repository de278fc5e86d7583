/* SPDX-License-Identifier: BSD-3-Clause */
/* src/api without cpr: arguments and errors, holds, excluded memory, plug-ins, ckpt_stat(). */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/agent.h"
#include "api_fake.h"
#include "ckpt.h"
#include "ckpt_hooks.h"
#include "image_sample.h"
#include "store/store.h"

#define PAGE 4096UL

static void assert_fails(long r, int err)
{
	assert_int_equal(r, -1);
	assert_int_equal(errno, err);
}

static int create_with(unsigned long type, void *data)
{
	struct ckpt_args arg = {type, data};
	struct ckpt_args *args[] = {&arg};

	return ckpt_create("/nowhere/x", CKPT_SELF, P_PID, args, 1);
}

/* ---- errors ------------------------------------------------------------------------------- */

static void *fresh_thread(void *arg)
{
	struct ckpt_error e;

	(void)arg;
	return (void *)(uintptr_t)(ckpt_lasterror(&e) == -1 && errno == ENODATA);
}

static void test_lasterror_is_per_thread(void **state)
{
	struct ckpt_error e;
	pthread_t t;
	void *ret;

	(void)state;
	assert_fails(ckpt_create(NULL, 0, P_PID, NULL, 0), EINVAL);
	assert_int_equal(ckpt_lasterror(&e), 0);
	assert_int_equal(e.code, CKPT_AT_CALL);
	assert_int_equal(e.err, EINVAL);
	assert_int_equal(e.rank, -1);
	assert_true(e.host[0] != '\0');
	assert_string_equal(e.text, "no directory was given");
	assert_int_equal(pthread_create(&t, NULL, fresh_thread, NULL), 0);
	assert_int_equal(pthread_join(t, &ret), 0);
	assert_non_null(ret);
	assert_fails(ckpt_lasterror(NULL), EINVAL);
}

static void test_batch_types_are_refused_by_name(void **state)
{
	struct ckpt_error e;

	(void)state;
	(void)unsetenv("SLURM_JOB_ID");
	assert_fails(ckpt_create("/nowhere/x", CKPT_SELF, P_ASH, NULL, 0), ENOTSUP);
	assert_int_equal(ckpt_lasterror(&e), 0);
	assert_non_null(strstr(e.text, "needs a Slurm job step"));
	assert_fails(ckpt_create("/nowhere/x", CKPT_SELF, P_JID, NULL, 0), ENOTSUP);
	assert_fails(ckpt_create("/nowhere/x", -1, P_JID, NULL, 0), EINVAL);
}

static void test_create_refuses_bad_targets(void **state)
{
	(void)state;
	assert_fails(ckpt_create("", 0, P_PID, NULL, 0), ENOENT);
	assert_fails(ckpt_create("/nowhere/x", 0, 0x999, NULL, 0), EINVAL);
	assert_fails(ckpt_create("/nowhere/x", 0, 0, NULL, 0), EINVAL);
	assert_fails(ckpt_create("/nowhere/x", -5, P_PID, NULL, 0), EINVAL);
	assert_fails(ckpt_create("/nowhere/x", 1LL << 40, P_SID, NULL, 0), EINVAL);
	assert_fails(ckpt_create("/nowhere/x", 1, P_PID | 0x10000, NULL, 0), EINVAL);
}

static void test_restart_refuses_bad_arguments(void **state)
{
	int sig = 10;
	struct ckpt_args arg = {CKPT_SIGNAL, &sig};
	struct ckpt_args *args[] = {&arg};

	(void)state;
	assert_fails(ckpt_restart(NULL, NULL, 0), EINVAL);
	assert_fails(ckpt_restart("", NULL, 0), ENOENT);
	assert_fails(ckpt_restart("/nowhere/x", args, 1), EINVAL);
	assert_fails(ckpt_restart("/nowhere/x", NULL, 1), EINVAL);
}

static void test_create_refuses_bad_arguments(void **state)
{
	struct ckpt_args *null_arg[] = {NULL};
	struct ckpt_file_policy bad_action = {"*.log", (enum ckpt_file_action)77};
	struct ckpt_file_policy no_glob = {NULL, CKPT_FILE_MERGE};
	struct timespec no_time = {0, 0};
	struct timespec negative = {-1, 0};
	struct ckpt_fn no_fn = {NULL, NULL};
	struct ckpt_relocate reloc = {"/a", "/b"};
	ckpt_handle_t handle = 0;
	unsigned long flags = 1UL << 30;
	unsigned long both = CKPT_CHECKPOINT_KILL | CKPT_CHECKPOINT_CONT;
	unsigned long async = CKPT_ASYNC;
	int two = 2, big = 1000;

	(void)state;
	assert_fails(ckpt_create("/nowhere/x", 0, P_PID, NULL, 1), EINVAL);
	assert_fails(ckpt_create("/nowhere/x", 0, P_PID, null_arg, 1), EINVAL);
	assert_fails(create_with(0x7777, &two), EINVAL);
	assert_fails(create_with(0, &two), EINVAL);
	assert_fails(create_with(0x106, &two), EINVAL); /* reserved */
	assert_fails(create_with(CKPT_LOCK, NULL), EINVAL);
	assert_fails(create_with(CKPT_LOCK, &two), EINVAL);
	assert_fails(create_with(CKPT_SIGNAL, &big), EINVAL);
	assert_fails(create_with(CKPT_FILEPOLICY, &bad_action), EINVAL);
	assert_fails(create_with(CKPT_FILEPOLICY, &no_glob), EINVAL);
	assert_fails(create_with(CKPT_TIMEOUT, &no_time), EINVAL);
	assert_fails(create_with(CKPT_TIMEOUT, &negative), EINVAL);
	assert_fails(create_with(CKPT_PRECREATE, &no_fn), EINVAL);
	assert_fails(create_with(CKPT_RELOCATE, &reloc), EINVAL); /* of ckpt_restart() only */
	assert_fails(create_with(CKPT_FLAGS, &flags), EINVAL);
	assert_fails(create_with(CKPT_FLAGS, &both), EINVAL);
	assert_fails(create_with(CKPT_FLAGS, &async), EINVAL);   /* without a handle */
	assert_fails(create_with(CKPT_HANDLE, &handle), EINVAL); /* without the flag */
}

static void test_bad_argument_has_no_effect(void **state)
{
	static char buf[4 * PAGE];
	struct ckpt_range range = {buf, sizeof(buf)};
	struct ckpt_args good = {CKPT_EXCLUDE, &range};
	struct ckpt_args bad = {0x7777, &range};
	struct ckpt_args *args[] = {&good, &bad};

	(void)state;
	assert_fails(ckpt_create("/nowhere/x", 0, P_PID, args, 2), EINVAL);
	assert_int_equal(ckpti_agent.nexclude, 0);
}

static void test_setup_takes_defaults(void **state)
{
	struct ckpt_relocate relative = {"a", "/b"};
	struct ckpt_args arg = {CKPT_ID, &relative};
	struct ckpt_args *args[] = {&arg};
	unsigned long flags = 1UL << 30;

	(void)state;
	assert_int_equal(ckpt_setup(NULL, 0), 0);
	assert_fails(ckpt_setup(args, 1), EINVAL);
	arg.ckpt_type = CKPT_RELOCATE;
	assert_fails(ckpt_setup(args, 1), EINVAL);
	/* Defaults are looked at when they are used. */
	arg = (struct ckpt_args){CKPT_FLAGS, &flags};
	assert_int_equal(ckpt_setup(args, 1), 0);
	assert_fails(ckpt_create("/nowhere/x", 0, P_PID, NULL, 0), EINVAL);
	flags = 0;
	assert_int_equal(ckpt_setup(args, 1), 0);
}

static void test_program_that_is_missing_is_named(void **state)
{
	struct ckpt_error e;

	(void)state;
	(void)setenv("CKPT_CPR", "/nowhere/cpr", 1);
	assert_fails(ckpt_create("/tmp/x", 0, P_PID, NULL, 0), ENOPKG);
	assert_int_equal(ckpt_lasterror(&e), 0);
	assert_int_equal(e.code, CKPT_AT_START);
	assert_string_equal(e.object, "/nowhere/cpr");
	assert_int_equal(fake_own_fds(), 0);
	(void)unsetenv("CKPT_CPR");
}

static void test_self_needs_a_directory(void **state)
{
	(void)state;
	(void)unsetenv("CKPT_DIR");
	assert_fails(ckpt_self(0), ENOENT);
	(void)setenv("CKPT_DIR", "/tmp/x", 1);
	assert_fails(ckpt_self(CKPT_ASYNC), EINVAL);
	(void)unsetenv("CKPT_DIR");
}

static void test_type_names(void **state)
{
	(void)state;
	assert_string_equal(ckpt_type_str(P_PID), "PID");
	assert_string_equal(ckpt_type_str(P_PGID), "GID");
	assert_string_equal(ckpt_type_str(P_SID), "SID");
	assert_string_equal(ckpt_type_str(P_ASH), "ASH");
	assert_string_equal(ckpt_type_str(P_HID), "HID");
	assert_string_equal(ckpt_type_str(P_SPGP), "SGP");
	assert_string_equal(ckpt_type_str(P_JID), "JID");
	assert_string_equal(ckpt_type_str(12345), "unknown");
}

/* ---- holds -------------------------------------------------------------------------------- */

static void *hold_and_end(void *arg)
{
	(void)arg;
	return (void *)(uintptr_t)(ckpt_hold() == 0 && ckpt_hold() == 0);
}

static void *release_only(void *arg)
{
	(void)arg;
	return (void *)(uintptr_t)(ckpt_release() == -1 && errno == EPERM);
}

static void *in_thread(void *(*fn)(void *))
{
	pthread_t t;
	void *ret = NULL;

	assert_int_equal(pthread_create(&t, NULL, fn, NULL), 0);
	assert_int_equal(pthread_join(t, &ret), 0);
	return ret;
}

static void test_holds_nest_per_thread(void **state)
{
	(void)state;
	assert_fails(ckpt_release(), EPERM);
	assert_int_equal(ckpt_hold(), 0);
	assert_int_equal(ckpt_hold(), 0);
	assert_int_equal(ckpti_agent.holds, 2);
	assert_non_null(in_thread(release_only));
	assert_int_equal(ckpti_agent.holds, 2);
	/* Oneself, while one holds it off: that would never end. */
	assert_fails(ckpt_create("/nowhere/x", CKPT_SELF, P_PID, NULL, 0), EDEADLK);
	assert_int_equal(ckpt_release(), 0);
	assert_int_equal(ckpt_release(), 0);
	assert_fails(ckpt_release(), EPERM);
	assert_int_equal(ckpti_agent.holds, 0);
}

static void test_thread_that_ends_gives_holds_back(void **state)
{
	(void)state;
	assert_non_null(in_thread(hold_and_end));
	assert_int_equal(ckpti_agent.holds, 0);
}

static void test_fork_keeps_only_own_holds(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(ckpt_hold(), 0);
	/* As if another thread held two more. */
	__atomic_add_fetch(&ckpti_agent.holds, 2, __ATOMIC_SEQ_CST);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(ckpti_agent.holds == 1 && ckpt_release() == 0 && ckpti_agent.holds == 0 ? 0
											      : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	__atomic_sub_fetch(&ckpti_agent.holds, 2, __ATOMIC_SEQ_CST);
	assert_int_equal(ckpt_release(), 0);
}

static void test_need_tells_of_a_request(void **state)
{
	int flag = 7;

	(void)state;
	assert_int_equal(ckpt_need(&flag), 0);
	assert_int_equal(flag, 0);
	ckpti_agent.want = 1;
	assert_int_equal(ckpt_need(&flag), 0);
	assert_int_equal(flag, 1);
	ckpti_agent.want = 0;
	assert_fails(ckpt_need(NULL), EINVAL);
}

/* ---- excluded memory ---------------------------------------------------------------------- */

static bool is_excluded(const void *page)
{
	uintptr_t a = (uintptr_t)page;

	for (uint32_t i = 0; i < ckpti_agent.nexclude; i++) {
		if (ckpti_agent.exclude[i].start <= a && a < ckpti_agent.exclude[i].end)
			return true;
	}
	return false;
}

static void test_exclude_takes_whole_pages_inside(void **state)
{
	char *base = (char *)0x10000000;

	(void)state;
	assert_int_equal(ckpt_exclude(base + 1, 3 * PAGE), 0);
	assert_false(is_excluded(base));
	assert_true(is_excluded(base + PAGE));
	assert_true(is_excluded(base + 2 * PAGE));
	assert_false(is_excluded(base + 3 * PAGE));
	/* Too small to hold a page. */
	assert_int_equal(ckpt_exclude(base + 8 * PAGE + 1, PAGE), 0);
	assert_int_equal(ckpti_agent.nexclude, 1);
	/* One byte asked for brings its page back. */
	assert_int_equal(ckpt_include(base + 2 * PAGE - 1, 1), 0);
	assert_false(is_excluded(base + PAGE));
	assert_true(is_excluded(base + 2 * PAGE));
	assert_int_equal(ckpt_include(base, 8 * PAGE), 0);
	assert_int_equal(ckpti_agent.nexclude, 0);
	assert_fails(ckpt_exclude((void *)(UINTPTR_MAX - 10), 100), EINVAL);
	assert_fails(ckpt_include((void *)(UINTPTR_MAX - 10), 100), EINVAL);
	assert_int_equal(ckpti_agent.holds, 0);
}

/* Against a plain bit map: pseudo-random calls, every page compared after each. */
static void test_exclude_agrees_with_a_bit_map(void **state)
{
	enum {
		N = 48
	};
	char *base = (char *)0x20000000;
	bool want[N] = {false};
	unsigned seed = 12345;

	(void)state;
	for (int step = 0; step < 2000; step++) {
		unsigned from, n, add;

		seed = seed * 1103515245 + 12345;
		from = (seed >> 8) % N;
		n = (seed >> 16) % (N - from + 1);
		add = (seed >> 24) & 1;
		if (add)
			assert_int_equal(ckpt_exclude(base + from * PAGE, n * PAGE), 0);
		else
			assert_int_equal(ckpt_include(base + from * PAGE, n * PAGE), 0);
		for (unsigned i = from; i < from + n; i++)
			want[i] = add;
		for (unsigned i = 0; i < N; i++)
			assert_int_equal(is_excluded(base + i * PAGE), want[i]);
		for (uint32_t i = 1; i < ckpti_agent.nexclude; i++)
			assert_true(ckpti_agent.exclude[i - 1].end < ckpti_agent.exclude[i].start);
	}
	assert_int_equal(ckpt_include(base, N * PAGE), 0);
	assert_int_equal(ckpti_agent.nexclude, 0);
}

static void test_exclude_has_room_for_64(void **state)
{
	char *base = (char *)0x30000000;

	(void)state;
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(ckpt_exclude(base + 2 * i * PAGE, PAGE), 0);
	assert_fails(ckpt_exclude(base + 128 * PAGE, PAGE), ENOSPC);
	assert_false(is_excluded(base + 128 * PAGE));
	/* Closing a gap needs no room, it makes some. */
	assert_int_equal(ckpt_exclude(base + PAGE, PAGE), 0);
	assert_int_equal(ckpti_agent.nexclude, 63);
	assert_int_equal(ckpt_exclude(base + 128 * PAGE, PAGE), 0);
	/* Splitting one does. */
	assert_fails(ckpt_include(base + PAGE, PAGE), ENOSPC);
	assert_true(is_excluded(base + PAGE));
	assert_int_equal(ckpt_include(base, 200 * PAGE), 0);
	assert_int_equal(ckpti_agent.nexclude, 0);
}

/* ---- plug-ins ----------------------------------------------------------------------------- */

static void test_hooks_are_kept_in_order(void **state)
{
	struct ckpt_hooks h[CKPTI_MAX_HOOKS + 1];

	(void)state;
	memset(h, 0, sizeof(h));
	assert_fails(ckpt_hooks_register(NULL), EINVAL);
	assert_fails(ckpt_hooks_register(&h[0]), EINVAL);
	for (size_t i = 0; i <= CKPTI_MAX_HOOKS; i++)
		h[i] = (struct ckpt_hooks){.version = CKPT_HOOKS_VERSION, .name = "test"};
	for (size_t i = 0; i < CKPTI_MAX_HOOKS; i++)
		assert_int_equal(ckpt_hooks_register(&h[i]), 0);
	assert_fails(ckpt_hooks_register(&h[CKPTI_MAX_HOOKS]), ENOSPC);
	assert_fails(ckpt_hooks_register(&h[0]), EINVAL);
	assert_fails(ckpt_hooks_remove(&h[CKPTI_MAX_HOOKS]), ENOENT);
	assert_int_equal(ckpt_hooks_remove(&h[1]), 0);
	assert_ptr_equal(ckpti_agent.hooks[0], &h[0]);
	assert_ptr_equal(ckpti_agent.hooks[1], &h[2]);
	assert_int_equal(ckpti_agent.nhooks, CKPTI_MAX_HOOKS - 1);
	for (size_t i = 0; i < CKPTI_MAX_HOOKS; i++)
		assert_int_equal(ckpt_hooks_remove(&h[i]), i == 1 ? -1 : 0);
	assert_int_equal(ckpti_agent.nhooks, 0);
}

/* ---- statefiles --------------------------------------------------------------------------- */

static void make_statefile(const char *dir)
{
	static const char data[SAMPLE_DATA_SIZE];
	struct ckpti_header h = {.ctime_ns = 1700000000LL * 1000000000, .page_size = 4096};
	struct ckpti_store *st = NULL;
	struct ckpti_image img;
	uint32_t id;
	int fd;

	assert_int_equal(ckpti_store_open_write(dir, CKPTI_STORE_CREATE, &st, NULL), 0);
	assert_int_equal(ckpti_store_datafile(st, sizeof(data), &id, &fd, NULL), 0);
	assert_int_equal(pwrite(fd, data, sizeof(data), 0), sizeof(data));
	assert_int_equal(ckpti_store_datafile_done(st, id, sizeof(data), NULL), 0);
	ckpti_image_init(&img);
	sample_fill(&img, 0, NULL, NULL, 1234);
	h.generation = ckpti_store_generation(st);
	h.uid = getuid();
	assert_int_equal(ckpti_store_hash(st, &img, NULL, NULL, NULL), 0);
	assert_int_equal(ckpti_store_commit(st, &img, &h, 1, NULL), 0);
	ckpti_image_free(&img);
	ckpti_store_close(st);
}

static void test_stat_lists_processes(void **state)
{
	char dir[] = "/tmp/ckpt-api-XXXXXX";
	char path[64];
	struct ckpt_stat *list = (void *)1;
	const struct ckpt_stat *s;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/state", dir);
	assert_fails(ckpt_stat(path, &list), ENOENT);
	assert_null(list);
	make_statefile(path);
	assert_int_equal(ckpt_stat(path, &list), 0);
	s = list;
	assert_non_null(s);
	assert_int_equal(s->cs_pid, 41);
	assert_int_equal(s->cs_ppid, 0);
	assert_int_equal(s->cs_pgrp, 41);
	assert_int_equal(s->cs_type, P_PID);
	assert_int_equal(s->cs_id, 41);
	assert_int_equal(s->cs_rank, -1);
	assert_int_equal(s->cs_flags, 0);
	assert_int_equal(s->cs_revision, CKPTI_VERSION);
	assert_string_equal(s->cs_host, "node1");
	assert_string_equal(s->cs_comm, "worker");
	assert_string_equal(s->cs_cdir, "/tmp");
	assert_string_equal(s->cs_psargs, "worker -v in.dat");
	assert_int_equal(s->cs_nfiles, 4);
	assert_int_equal(s->cs_nthreads, 1);
	assert_int_equal(s->cs_bytes, 5 * PAGE);
	assert_int_equal(s->cs_stored, 8192);
	assert_int_equal(s->cs_ctime, 1700000000);
	assert_int_equal(s->cs_generation, 1);
	s = s->cs_next;
	assert_non_null(s);
	assert_int_equal(s->cs_pid, 42);
	assert_int_equal(s->cs_ppid, 41);
	assert_null(s->cs_next);
	errno = 77;
	ckpt_stat_free(list);
	ckpt_stat_free(NULL);
	assert_int_equal(errno, 77);
	assert_int_equal(ckpt_remove(path), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_fails(ckpt_remove(path), ENOENT);
	assert_int_equal(rmdir(dir), 0);
}

static void test_stat_refuses_strange_directories(void **state)
{
	char dir[] = "/tmp/ckpt-api-XXXXXX";
	struct ckpt_stat *list = NULL;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_fails(ckpt_stat(dir, &list), ENODATA);
	assert_int_equal(chmod(dir, 0777), 0);
	assert_fails(ckpt_stat(dir, &list), EPERM);
	assert_int_equal(rmdir(dir), 0);
	assert_fails(ckpt_stat(NULL, &list), EINVAL);
	assert_fails(ckpt_stat("/tmp", NULL), EINVAL);
	assert_fails(ckpt_remove(NULL), EINVAL);
}

static void test_launch_is_that_of_now(void **state)
{
	static char now[] = "CKPT_T_A=there\0CKPT_T_AB=longer\0CKPT_T_E=\0";

	(void)state;
	(void)setenv("CKPT_T_A", "here", 1);
	(void)setenv("CKPT_T_OLD", "old", 1);
	assert_null(ckpt_launch_environment());
	assert_string_equal(ckpt_launch_getenv("CKPT_T_A"), "here");
	assert_null(ckpt_launch_getenv("CKPT_T_AB"));
	ckpti_agent.launch_env = now;
	assert_ptr_equal(ckpt_launch_environment(), now);
	assert_string_equal(ckpt_launch_getenv("CKPT_T_A"), "there");
	assert_string_equal(ckpt_launch_getenv("CKPT_T_AB"), "longer");
	assert_string_equal(ckpt_launch_getenv("CKPT_T_E"), "");
	/* Of the first life only; and nothing that is no name. */
	assert_null(ckpt_launch_getenv("CKPT_T_OLD"));
	assert_null(ckpt_launch_getenv("CKPT_T_"));
	assert_null(ckpt_launch_getenv(""));
	assert_null(ckpt_launch_getenv(NULL));
	ckpti_agent.launch_env = NULL;
	assert_string_equal(ckpt_launch_getenv("CKPT_T_OLD"), "old");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lasterror_is_per_thread),
		cmocka_unit_test(test_batch_types_are_refused_by_name),
		cmocka_unit_test(test_create_refuses_bad_targets),
		cmocka_unit_test(test_restart_refuses_bad_arguments),
		cmocka_unit_test(test_create_refuses_bad_arguments),
		cmocka_unit_test(test_bad_argument_has_no_effect),
		cmocka_unit_test(test_setup_takes_defaults),
		cmocka_unit_test(test_program_that_is_missing_is_named),
		cmocka_unit_test(test_self_needs_a_directory),
		cmocka_unit_test(test_type_names),
		cmocka_unit_test(test_holds_nest_per_thread),
		cmocka_unit_test(test_thread_that_ends_gives_holds_back),
		cmocka_unit_test(test_fork_keeps_only_own_holds),
		cmocka_unit_test(test_need_tells_of_a_request),
		cmocka_unit_test(test_exclude_takes_whole_pages_inside),
		cmocka_unit_test(test_exclude_agrees_with_a_bit_map),
		cmocka_unit_test(test_exclude_has_room_for_64),
		cmocka_unit_test(test_hooks_are_kept_in_order),
		cmocka_unit_test(test_launch_is_that_of_now),
		cmocka_unit_test(test_stat_lists_processes),
		cmocka_unit_test(test_stat_refuses_strange_directories),
	};

	fake_cpr_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
