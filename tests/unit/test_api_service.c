/* SPDX-License-Identifier: BSD-3-Clause */
/* atcheckpoint(), atrestart(), and functions of ckpt_setup(): who is called when, and on which thread. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/agent.h"
#include "agent/protocol.h"
#include "api_fake.h"
#include "ckpt.h"

static char calls[256]; /* written by the service's thread */
static pthread_mutex_t calls_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t handler_thread;
static unsigned rounds; /* reports so far */
static int refuse;
static int codes[5];

static void note(char c)
{
	size_t n;

	(void)pthread_mutex_lock(&calls_lock);
	n = strlen(calls);
	calls[n] = c;
	calls[n + 1] = '\0';
	(void)pthread_mutex_unlock(&calls_lock);
}

static void first(void)
{
	handler_thread = pthread_self();
	note('1');
}

static void second(void)
{
	note('2');
}

static void third(void)
{
	note('3');
}

static void after_a(void)
{
	note('a');
}

static void after_b(void)
{
	note('b');
}

/* What a handler must not do. */
static void forbidden(void)
{
	codes[0] = ckpt_create("/tmp/x", 0, P_PID, NULL, 0) == -1 ? errno : 0;
	codes[1] = ckpt_hold() == -1 ? errno : 0;
	codes[2] = ckpt_release() == -1 ? errno : 0;
	codes[3] = ckpt_restart("/tmp/x", NULL, 0) == -1 ? errno : 0;
	codes[4] = ckpt_self(0) == -1 ? errno : 0;
}

static int hook(enum ckpt_event ev, void *arg)
{
	(void)arg;
	note("?CcRrA"[ev]);
	return ev == CKPT_EV_PRECREATE && refuse;
}

static bool wait_calls(const char *want)
{
	for (int i = 0; i < 2000; i++) {
		bool same;

		(void)pthread_mutex_lock(&calls_lock);
		same = strcmp(calls, want) == 0;
		(void)pthread_mutex_unlock(&calls_lock);
		if (same)
			return true;
		(void)usleep(1000);
	}
	print_error("calls: '%s', not '%s'\n", calls, want);
	return false;
}

static int coordinator = -1;

/* The coordinator is its socket. */
static void listen_as(uint64_t nonce)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int n = snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, CKPTI_SOCK_PREFIX "%016llx",
			 (unsigned long long)nonce);

	(void)close(coordinator);
	coordinator = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(coordinator >= 0);
	assert_int_equal(bind(coordinator, (struct sockaddr *)&addr,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)),
			 0);
	assert_int_equal(listen(coordinator, 1), 0);
}

static void prepare(uint64_t nonce)
{
	listen_as(nonce);
	calls[0] = '\0';
	fake_prepare(nonce);
	assert_true(fake_wait_prepared(++rounds));
	assert_int_equal(fake_nonce, nonce);
}

static void test_registration_starts_the_service(void **state)
{
	(void)state;
	assert_int_equal(atcheckpoint(NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(atrestart(NULL), -1);
	assert_int_equal(ckpti_agent.handlers, 0);
	assert_int_equal(atcheckpoint(first), 0);
	assert_int_equal(ckpti_agent.handlers, 1);
	assert_int_equal(atcheckpoint(second), 0);
	assert_int_equal(atcheckpoint(third), 0);
	assert_int_equal(atrestart(after_a), 0);
	assert_int_equal(atrestart(after_b), 0);
}

static void test_handlers_run_in_order_elsewhere(void **state)
{
	int before = fake_foreign_calls;

	(void)state;
	prepare(11);
	assert_int_equal(fake_veto, 0);
	assert_string_equal(calls, "123");
	assert_false(pthread_equal(handler_thread, pthread_self()));
	assert_int_equal(fake_foreign_calls, before + 1);
	fake_end(1);
	(void)usleep(20000);
	assert_string_equal(calls, "123"); /* going on calls nobody */
}

static volatile int sigrestart;

static void on_sigrestart(int sig)
{
	(void)sig;
	sigrestart++;
}

static void test_restart_handlers_run_in_order(void **state)
{
	(void)state;
	/* Without a handler the signal would be deadly: it must not be sent. */
	prepare(12);
	fake_new_life();
	assert_true(wait_calls("123ab"));
	(void)signal(SIGRESTART, on_sigrestart);
	prepare(13);
	fake_new_life();
	assert_true(wait_calls("123ab"));
	for (int i = 0; i < 1000 && !sigrestart; i++)
		(void)usleep(1000);
	assert_int_equal(sigrestart, 1);
}

static void test_calls_in_handlers_are_refused(void **state)
{
	(void)state;
	assert_int_equal(atcheckpoint(forbidden), 0);
	prepare(14);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(codes[i], EDEADLK);
	fake_end(2);
}

static void test_setup_functions_may_refuse(void **state)
{
	struct ckpt_fn fn = {hook, NULL};
	struct ckpt_args a[] = {
		{CKPT_PRECREATE, &fn}, {CKPT_POSTCREATE, &fn}, {CKPT_POSTRESTART, &fn}};
	struct ckpt_args *args[] = {&a[0], &a[1], &a[2]};

	(void)state;
	assert_int_equal(ckpt_setup(args, 3), 0);
	prepare(15);
	assert_string_equal(calls, "C123");
	fake_end(3);
	assert_true(wait_calls("C123c"));

	prepare(16);
	fake_new_life();
	assert_true(wait_calls("C123abr"));

	/* The checkpoint ended without a new generation. */
	prepare(17);
	fake_end(3);
	assert_true(wait_calls("C123A"));

	/* Refused: plain handlers are not called, and who refused is not told. */
	refuse = 1;
	prepare(18);
	refuse = 0;
	assert_int_equal(fake_veto, 1);
	assert_true(wait_calls("C"));
}

static void test_next_prepare_ends_a_round_without_end(void **state)
{
	(void)state;
	prepare(19);
	assert_string_equal(calls, "C123");
	(void)usleep(200000); /* it is only slow */
	assert_string_equal(calls, "C123");
	calls[0] = '\0';
	listen_as(20);
	fake_prepare(20);
	assert_true(fake_wait_prepared(++rounds));
	assert_int_equal(fake_nonce, 20);
	assert_string_equal(calls, "AC123");
	fake_end(4);
	assert_true(wait_calls("AC123c"));
}

static void test_coordinator_that_died_ends_the_round(void **state)
{
	(void)state;
	prepare(0xfeedfacecafef00d);
	assert_string_equal(calls, "C123");
	(void)close(coordinator);
	coordinator = -1;
	assert_true(wait_calls("C123A"));
}

static void test_fork_keeps_handlers(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		calls[0] = '\0';
		listen_as(21);
		fake_prepare(21);
		_exit(fake_wait_prepared(rounds + 1) && fake_nonce == 21 &&
				      strcmp(calls, "C123") == 0 && ckpti_agent.handlers == 1
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_more_than_32_are_taken(void **state)
{
	char want[64] = "C123";

	(void)state;
	for (int i = 0; i < CKPT_ATMAX_COMPAT; i++) {
		assert_int_equal(atcheckpoint(second), 0);
		want[4 + i] = '2';
	}
	prepare(22);
	assert_string_equal(calls, want);
	fake_end(5);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registration_starts_the_service),
		cmocka_unit_test(test_handlers_run_in_order_elsewhere),
		cmocka_unit_test(test_restart_handlers_run_in_order),
		cmocka_unit_test(test_calls_in_handlers_are_refused),
		cmocka_unit_test(test_setup_functions_may_refuse),
		cmocka_unit_test(test_next_prepare_ends_a_round_without_end),
		cmocka_unit_test(test_coordinator_that_died_ends_the_round),
		cmocka_unit_test(test_fork_keeps_handlers),
		cmocka_unit_test(test_more_than_32_are_taken),
	};

	fake_cpr_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
