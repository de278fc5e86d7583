/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Old callers: the way in which batch systems used the calls on IRIX and on UNICOS compiles and behaves
 * as they expect.  Own code, after the pattern only: options in a global variable, null argument
 * vectors, the id of an array session passed as 64 bits and printed as such, a busy answer retried,
 * one statefile kept until the next is complete.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <chkpnt.h>
#include <ckpt.h>

#include "api_fake.h"

#ifndef SIGCKPT
#error "portable programs test for SIGCKPT with #ifdef"
#endif

typedef long long ash_t;

/* Save a task on a shutdown of the batch server. */
static int task_save(ash_t session, unsigned long type, int end_it, const char *path)
{
	cpr_flags = end_it ? CKPT_CHECKPOINT_KILL | CKPT_NQE : CKPT_CHECKPOINT_CONT | CKPT_NQE;
	ckpt_setup(0, 0);
	if (ckpt_create(path, session, type, 0, 0) == -1)
		return errno == EAGAIN || errno == EBUSY ? 1 : 2;
	return 0;
}

static ash_t task_restore(const char *path)
{
	ash_t session;

	cpr_flags = CKPT_NQE;
	session = ckpt_restart(path, 0, 0);
	return session;
}

static void logged(int fd, const char *want)
{
	char text[1024] = "";

	assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
	assert_memory_equal(text, want, strlen(want));
}

static void test_array_session_is_a_job_step(void **state)
{
	char log[] = "/tmp/ckpt-api-log-XXXXXX";
	int fd = mkstemp(log);

	(void)state;
	assert_true(fd >= 0);
	(void)setenv("FAKE_LOG", log, 1);
	fake_cpr_use("log");
	assert_int_equal(task_save(0x123400000001LL, P_ASH, 1, "/tmp/t.CK"), 0);
	logged(fd, "args --api-result 3 -c -p 4660.1:ASH ");
	(void)setenv("SLURM_JOB_ID", "77", 1);
	(void)setenv("SLURM_STEP_ID", "0", 1);
	assert_int_equal(task_save(0, P_ASH, 1, "/tmp/t.CK"), 0);
	logged(fd, "args --api-result 3 -c -p 77.0:ASH ");
	(void)unsetenv("SLURM_JOB_ID");
	fake_cpr_use("E95"); /* ENOTSUP: no ckpt-step here */
	assert_int_equal(task_save(0x123400000001LL, P_ASH, 1, "/tmp/t.CK"), 2);
	assert_int_equal(errno, ENOTSUP);
	(void)close(fd);
	(void)unlink(log);
}

static void test_session_is_saved_and_restored(void **state)
{
	char text[32];
	int status;

	(void)state;
	fake_cpr_use("ok");
	assert_int_equal(task_save(getsid(0), P_SID, 0, "/tmp/t.CK"), 0);
	assert_int_equal(task_save(getpid(), P_PID, 1, "/tmp/t.CK"), 0);
	(void)snprintf(text, sizeof(text), "%llx", task_restore("/tmp/t.CK"));
	assert_string_equal(text, "1267");
	/* The caller stays who it was and gets the end of the restarted task. */
	assert_true(waitpid(-1, &status, 0) > 0);
	assert_int_equal(WEXITSTATUS(status), 5);
	fake_cpr_use("E11"); /* EAGAIN */
	assert_int_equal(task_save(getpid(), P_PID, 0, "/tmp/t.CK"), 1);
	fake_cpr_use("E2");
	assert_int_equal(task_restore("/tmp/none"), -1);
	assert_int_equal(errno, ENOENT);
}

static void test_unicos_calls(void **state)
{
	char log[] = "/tmp/ckpt-api-log-XXXXXX";
	char want[128];
	char text[1024] = "";
	int fd = mkstemp(log);
	int status;

	(void)state;
	assert_true(fd >= 0);
	(void)setenv("FAKE_LOG", log, 1);
	cpr_flags = 0xdead; /* of the other interface: must not matter here */
	fake_cpr_use("log");
	assert_int_equal(chkpnt(C_SESS, 1234, "/tmp/t.CK", CHKPNT_KILL), 0);
	assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
	(void)snprintf(want, sizeof(want), "args --api-result 3 -c -p 1234:SID -k -- /tmp/t.CK\n");
	assert_memory_equal(text, want, strlen(want));
	assert_int_equal(chkpnt(C_PROC, getpid(), "/tmp/t.CK", 0), 0);
	assert_int_equal(chkpnt(C_PGRP, 0, "/tmp/t.CK", 0), 0);
	assert_int_equal(chkpnt(C_JOB, 77, "/tmp/t.CK", 0), 0);
	assert_int_equal(chkpnt(C_JOB, 0, "/tmp/t.CK", 0), -1);
	assert_int_equal(errno, ENOTSUP);
	assert_int_equal(chkpnt(99, 1, "/tmp/t.CK", 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(chkpnt(C_PROC, 1, "/tmp/t.CK", 64), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(restart("/tmp/t.CK", 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(restart("/tmp/t.CK", 0), 4711);
	assert_true(waitpid(-1, &status, 0) > 0);
	cpr_flags = 0;
	(void)close(fd);
	(void)unlink(log);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_array_session_is_a_job_step),
		cmocka_unit_test(test_session_is_saved_and_restored),
		cmocka_unit_test(test_unicos_calls),
	};

	pid_t pid;
	int status;

	fake_cpr_main(argc, argv);
	/* A session and a process group that have ids here, whoever starts the test: in a container both may be 0. */
	pid = fork();
	if (pid == 0) {
		(void)setsid();
		exit(cmocka_run_group_tests(tests, NULL, NULL));
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
									       : 1;
}
