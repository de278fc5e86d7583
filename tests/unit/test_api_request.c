/* SPDX-License-Identifier: BSD-3-Clause */
/* src/api and the program that it starts: invisible to the caller, every ending reported, and a
 * caller that wakes up in a new life touches nothing of the old one. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/agent.h"
#include "api_fake.h"
#include "ckpt.h"

static volatile int sigchld;

static void on_sigchld(int sig)
{
	(void)sig;
	sigchld++;
}

static void assert_fails(long r, int err)
{
	assert_int_equal(r, -1);
	assert_int_equal(errno, err);
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int create(void)
{
	return ckpt_create("/tmp/x", CKPT_SELF, P_PID, NULL, 0);
}

/* ---- what the program sees ---------------------------------------------------------------- */

static void test_helper_is_invisible(void **state)
{
	int fds = count_fds();
	sigset_t before, after;

	(void)state;
	sigchld = 0;
	(void)sigprocmask(SIG_BLOCK, NULL, &before);
	fake_cpr_use("ok");
	for (int i = 0; i < 20; i++)
		assert_int_equal(create(), 0);
	(void)usleep(20000);
	assert_int_equal(sigchld, 0);
	assert_fails(waitpid(-1, NULL, WNOHANG), ECHILD);
	assert_fails(waitpid(-1, NULL, WNOHANG | __WALL), ECHILD);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(fake_own_fds(), 0);
	(void)sigprocmask(SIG_BLOCK, NULL, &after);
	assert_memory_equal(&before, &after, 8); /* all that the kernel fills in */
}

static void test_own_children_stay_ours(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(3);
	fake_cpr_use("ok");
	assert_int_equal(create(), 0);
	assert_int_equal(waitpid(-1, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 3);
}

/* ---- what cpr sees ------------------------------------------------------------------------ */

static char *read_file(const char *path)
{
	static char text[8192];
	FILE *f = fopen(path, "re");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	(void)fclose(f);
	return text;
}

static void test_helper_gets_options_and_nothing_else(void **state)
{
	char log[] = "/tmp/ckpt-api-log-XXXXXX";
	char want[256];
	int leak[2], logfd = mkstemp(log);
	unsigned long flags = CKPT_FORCE | CKPT_CHECKPOINT_UPGRADE | CKPT_DRYRUN;
	ckpt_id_t other = 12345;
	struct timespec timeout = {2, 500000001};
	struct ckpt_file_policy policy = {"/tmp/*.log", CKPT_FILE_APPEND};
	struct ckpt_args a[] = {{CKPT_FLAGS, &flags},
				{CKPT_ID, &other},
				{CKPT_TIMEOUT, &timeout},
				{CKPT_FILEPOLICY, &policy}};
	struct ckpt_args *args[] = {&a[0], &a[1], &a[2], &a[3]};
	sigset_t term;
	const char *text;

	(void)state;
	assert_true(logfd >= 0);
	assert_int_equal(pipe(leak), 0); /* not close-on-exec */
	(void)setenv("LD_PRELOAD", "", 1);
	(void)setenv("CKPT_SET", "0123456789abcdef", 1);
	(void)setenv("FAKE_LOG", log, 1);
	(void)sigemptyset(&term);
	(void)sigaddset(&term, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &term, NULL);
	fake_cpr_use("log");
	assert_int_equal(ckpt_create("-odd name", CKPT_SELF, P_HID, args, 4), 0);
	(void)sigprocmask(SIG_UNBLOCK, &term, NULL);
	text = read_file(log);
	(void)snprintf(want, sizeof(want),
		       "args --api-result 3 -c -p %d:HID,12345:HID -f -u --dry-run --timeout 2.501 "
		       "--file-policy /tmp/*.log=APPEND -- -odd name\npreload 0 set 0\nleader 1\n",
		       getpid());
	assert_memory_equal(text, want, strlen(want));
	/* 0 to 2 are /dev/null, 3 is the result: the pipe is not there. */
	assert_non_null(strstr(text, "fds 0 1 2 3\n"));
	assert_non_null(strstr(text, "blocked 0\n"));
	(void)unsetenv("LD_PRELOAD");
	(void)unsetenv("CKPT_SET");
	(void)close(leak[0]);
	(void)close(leak[1]);
	(void)close(logfd);
	(void)unlink(log);
}

/* ---- endings ------------------------------------------------------------------------------ */

static void test_failure_is_passed_on(void **state)
{
	struct ckpt_error e;

	(void)state;
	fake_cpr_use("E95"); /* ENOTSUP */
	assert_fails(create(), ENOTSUP);
	assert_int_equal(ckpt_lasterror(&e), 0);
	assert_int_equal(e.code, CKPT_AT_WORK);
	assert_int_equal(e.err, ENOTSUP);
	assert_int_equal(e.pid, 99);
	assert_string_equal(e.object, "thing");
	assert_string_equal(e.text, "the thing cannot be saved");
	fake_cpr_use("die");
	assert_fails(create(), EIO);
	assert_int_equal(ckpt_lasterror(&e), 0);
	assert_int_equal(e.code, CKPT_AT_START);
	assert_int_equal(fake_own_fds(), 0);
}

static char events[32];

static int note_event(enum ckpt_event ev, void *arg)
{
	static const char letters[] = "?CcRrA";
	size_t n = strlen(events);

	events[n] = letters[ev];
	events[n + 1] = *(const char *)arg;
	events[n + 2] = '\0';
	return ev == CKPT_EV_PRECREATE && *(const char *)arg == 'x';
}

static void test_functions_hear_of_every_ending(void **state)
{
	static char a[] = "a", b[] = "b", x[] = "x";
	struct ckpt_fn fa = {note_event, a}, fb = {note_event, b}, fx = {note_event, x};
	struct ckpt_args pre_a = {CKPT_PRECREATE, &fa}, pre_x = {CKPT_PRECREATE, &fx};
	struct ckpt_args post_b = {CKPT_POSTCREATE, &fb}, life_b = {CKPT_POSTRESTART, &fb};
	struct ckpt_args *good[] = {&pre_a, &post_b, &life_b};
	struct ckpt_args *refused[] = {&pre_a, &pre_x, &post_b};
	struct ckpt_error e;

	(void)state;
	fake_cpr_use("ok");
	events[0] = '\0';
	assert_int_equal(ckpt_create("/tmp/x", 0, P_PID, good, 3), 0);
	assert_string_equal(events, "Cacb");
	events[0] = '\0';
	assert_fails(ckpt_create("/tmp/x", 0, P_PID, refused, 3), ECANCELED);
	assert_string_equal(events, "CaCxAa");
	assert_int_equal(ckpt_lasterror(&e), 0);
	assert_int_equal(e.code, CKPT_AT_FUNCTION);
	fake_cpr_use("E16"); /* EBUSY */
	events[0] = '\0';
	assert_fails(ckpt_create("/tmp/x", 0, P_PID, good, 3), EBUSY);
	assert_string_equal(events, "CaAa");
}

static volatile int usr1;

static void on_usr1(int sig)
{
	(void)sig;
	usr1++;
}

static void test_signal_and_lock_follow(void **state)
{
	int signo = SIGUSR1, on = 1, off = 0;
	struct ckpt_args sig = {CKPT_SIGNAL, &signo};
	struct ckpt_args lock = {CKPT_LOCK, &on}, unlock = {CKPT_LOCK, &off};
	struct ckpt_args *first[] = {&sig, &lock}, *second[] = {&unlock};

	(void)state;
	(void)signal(SIGUSR1, on_usr1);
	usr1 = 0;
	fake_cpr_use("ok");
	assert_int_equal(ckpt_create("/tmp/x", 0, P_PID, first, 2), 0);
	assert_int_equal(usr1, 1);
	assert_int_equal(ckpti_agent.holds, 1);
	assert_int_equal(ckpt_create("/tmp/x", 0, P_PID, second, 1), 0);
	assert_int_equal(ckpti_agent.holds, 0);
	assert_fails(ckpt_create("/tmp/x", 0, P_PID, second, 1), EPERM);
	fake_cpr_use("E28");
	assert_fails(ckpt_create("/tmp/x", 0, P_PID, first, 1), ENOSPC);
	assert_int_equal(usr1, 1);
}

/* ---- a new life --------------------------------------------------------------------------- */

static int stand_in[CKPTI_MAX_OWN_FDS];

/* What a restart does to us while we wait: our descriptors do not exist any more, and the numbers
 * belong to the program. */
static void *restart_us(void *arg)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)arg;
	(void)usleep(100000);
	for (int i = 0; i < CKPTI_MAX_OWN_FDS; i++) {
		stand_in[i] = ckpti_agent.own_fd[i];
		if (stand_in[i] >= 0)
			(void)dup2(null, stand_in[i]);
	}
	(void)close(null);
	fake_new_life();
	return NULL;
}

static int close_stand_ins(void)
{
	int n = 0;

	for (int i = 0; i < CKPTI_MAX_OWN_FDS; i++)
		n += stand_in[i] >= 0 && close(stand_in[i]) == 0;
	return n;
}

static void test_new_life_touches_nothing(void **state)
{
	unsigned before = ckpt_restarts();
	static char b[] = "b";
	struct ckpt_fn fn = {note_event, b};
	struct ckpt_args post = {CKPT_POSTCREATE, &fn}, life = {CKPT_POSTRESTART, &fn};
	struct ckpt_args *args[] = {&post, &life};
	pthread_t t;

	(void)state;
	events[0] = '\0';
	fake_cpr_use("slow");
	assert_int_equal(pthread_create(&t, NULL, restart_us, NULL), 0);
	assert_int_equal(ckpt_create("/tmp/x", 0, P_PID, args, 2), 0);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(ckpt_restarts(), before + 1);
	assert_string_equal(events, "rb");
	/* Both numbers are free for the program, and what it has there is still open. */
	assert_int_equal(fake_own_fds(), 0);
	assert_int_equal(close_stand_ins(), 2);
}

static void test_self_tells_lives_apart(void **state)
{
	pthread_t t;

	(void)state;
	(void)setenv("CKPT_DIR", "/tmp/x", 1);
	fake_cpr_use("ok");
	assert_int_equal(ckpt_self(0), 0);
	fake_cpr_use("slow");
	assert_int_equal(pthread_create(&t, NULL, restart_us, NULL), 0);
	assert_int_equal(ckpt_self(0), 1);
	assert_int_equal(pthread_join(t, NULL), 0);
	(void)close_stand_ins();
	(void)unsetenv("CKPT_DIR");
}

/* ---- asynchronous ------------------------------------------------------------------------- */

static int start_async(ckpt_handle_t *handle)
{
	unsigned long flags = CKPT_ASYNC;
	struct ckpt_args f = {CKPT_FLAGS, &flags}, h = {CKPT_HANDLE, handle};
	struct ckpt_args *args[] = {&f, &h};

	return ckpt_create("/tmp/x", 0, P_PID, args, 2);
}

static void test_async_is_collected_once(void **state)
{
	struct timespec soon = {0, 1000000};
	ckpt_handle_t h[3] = {0};
	int done = 7;

	(void)state;
	fake_cpr_use("slow");
	assert_int_equal(start_async(&h[0]), 0);
	assert_int_equal(start_async(&h[1]), 0);
	assert_true(h[0] && h[1] && h[0] != h[1]);
	assert_fails(start_async(&h[2]), EBUSY);
	assert_fails(create(), EBUSY);
	assert_int_equal(ckpt_test(h[0], &done), 0);
	assert_int_equal(done, 0);
	assert_fails(ckpt_wait(h[0], &soon), EINPROGRESS);
	assert_int_equal(ckpt_wait(h[0], NULL), 0);
	assert_fails(ckpt_wait(h[0], NULL), EINVAL);
	assert_int_equal(ckpt_wait(h[1], NULL), 0);
	assert_int_equal(fake_own_fds(), 0);
	fake_cpr_use("E110");
	assert_int_equal(start_async(&h[0]), 0);
	(void)usleep(300000);
	assert_fails(ckpt_test(h[0], &done), ETIMEDOUT);
	assert_int_equal(done, 1);
	assert_fails(ckpt_test(h[0], &done), EINVAL);
	assert_fails(ckpt_test(0, &done), EINVAL);
	assert_fails(ckpt_test(h[0], NULL), EINVAL);
}

static void test_async_of_a_former_life_is_gone(void **state)
{
	ckpt_handle_t h[2];

	(void)state;
	fake_cpr_use("slow");
	assert_int_equal(start_async(&h[0]), 0);
	assert_int_equal(start_async(&h[1]), 0);
	(void)restart_us(NULL);
	assert_fails(ckpt_wait(h[0], NULL), ERESTART);
	assert_fails(ckpt_wait(h[0], NULL), EINVAL);
	/* The other one makes room when it is needed. */
	assert_int_equal(start_async(&h[0]), 0);
	assert_int_equal(ckpt_wait(h[0], NULL), 0);
	assert_int_equal(start_async(&h[0]), 0);
	assert_int_equal(start_async(&h[1]), 0);
	assert_int_equal(ckpt_wait(h[0], NULL), 0);
	assert_int_equal(ckpt_wait(h[1], NULL), 0);
	assert_int_equal(fake_own_fds(), 0);
	(void)close_stand_ins();
}

/* ---- ckpt_restart ------------------------------------------------------------------------- */

static void test_restart_returns_root_and_child(void **state)
{
	unsigned long flags = CKPT_NEWIDS | CKPT_RESTART_INTERACTIVE;
	struct ckpt_relocate reloc = {"/a", "/b"};
	struct ckpt_args f = {CKPT_FLAGS, &flags}, r = {CKPT_RELOCATE, &reloc};
	struct ckpt_args *args[] = {&f, &r};
	char log[] = "/tmp/ckpt-api-log-XXXXXX";
	int status, logfd = mkstemp(log);

	(void)state;
	(void)setenv("FAKE_LOG", log, 1);
	fake_cpr_use("log");
	assert_int_equal(ckpt_restart("/tmp/x", args, 2), 4711);
	assert_true(waitpid(-1, &status, 0) > 0);
	assert_int_equal(WEXITSTATUS(status), 5);
	assert_non_null(strstr(read_file(log), "args --api-result 3 --api-ready 4 -r -j --ids new "
					       "--relocate /a=/b -- /tmp/x\n"));
	assert_int_equal(fake_own_fds(), 0);
	(void)close(logfd);
	(void)unlink(log);
}

static void test_restart_failure_leaves_no_child(void **state)
{
	(void)state;
	fake_cpr_use("E2");
	assert_fails(ckpt_restart("/tmp/x", NULL, 0), ENOENT);
	assert_fails(waitpid(-1, NULL, WNOHANG), ECHILD);
	fake_cpr_use("die");
	assert_fails(ckpt_restart("/tmp/x", NULL, 0), EIO);
	assert_fails(waitpid(-1, NULL, WNOHANG), ECHILD);
	assert_int_equal(fake_own_fds(), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_helper_is_invisible),
		cmocka_unit_test(test_own_children_stay_ours),
		cmocka_unit_test(test_helper_gets_options_and_nothing_else),
		cmocka_unit_test(test_failure_is_passed_on),
		cmocka_unit_test(test_functions_hear_of_every_ending),
		cmocka_unit_test(test_signal_and_lock_follow),
		cmocka_unit_test(test_new_life_touches_nothing),
		cmocka_unit_test(test_self_tells_lives_apart),
		cmocka_unit_test(test_async_is_collected_once),
		cmocka_unit_test(test_async_of_a_former_life_is_gone),
		cmocka_unit_test(test_restart_returns_root_and_child),
		cmocka_unit_test(test_restart_failure_leaves_no_child),
	};

	fake_cpr_main(argc, argv);
	(void)signal(SIGCHLD, on_sigchld);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
