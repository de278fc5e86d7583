/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program of `protocol`: does what it is told through standard input and answers each line with one.
 *
 *	tell           "life TOKEN COUNT"
 *	hold, release  ckpt_hold(), ckpt_release()
 *	need           what ckpt_need() says
 *	create DIR     ckpt_create() of itself: result, errno, ckpt_restarts(), ckpt_generation()
 *	self           ckpt_self(): the same
 *	handlers       register two atcheckpoint() and two atrestart() handlers
 *	log            what they wrote
 *	block N        N threads block all signals by a raw system call, for good
 *	blockall       and the main thread, too
 *	steal          a thread that takes every signal with a raw sigtimedwait
 *	use N          have a handler for signal N
 *	useraw N       the same by a raw system call
 *	count N        raise signal N, say how often its handler has been called
 *	vfork          a child of vfork() that sleeps instead of an exec (the parent waits in the kernel)
 *	sleep          a thread in nanosleep(); its tid.  SIGUSR1 has a handler that interrupts
 *	read           a thread in read(); its tid
 *	interrupted    calls that have ended with EINTR, calls of SIGUSR1's handler
 *	nomain         from now on the main thread takes no SIGUSR1
 *	child          fork a child that pauses; its pid
 *	exec FILE      fork a child that executes it; its pid
 *	exit N
 */
#include <ckpt.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "t.h"

static char notes[256];
static volatile sig_atomic_t calls[65];
static int interrupted; /* calls that have ended with EINTR */

static void note(const char *text)
{
	(void)strncat(notes, text, sizeof(notes) - strlen(notes) - 1);
}

/* malloc and the thread's name: handlers run in normal context on the library's thread. */
static void note_where(const char *text)
{
	char name[16] = "";
	char *copy = malloc(64);

	(void)pthread_getname_np(pthread_self(), name, sizeof(name));
	(void)snprintf(copy, 64, "%s%s ", text, strcmp(name, "ckpt-handlers") == 0 ? "" : "!");
	note(copy);
	free(copy);
}

static void first_before(void)
{
	note_where("b1");
}
static void second_before(void)
{
	note_where("b2");
}
static void first_after(void)
{
	note_where("r1");
}
static void second_after(void)
{
	note_where("r2");
}

static void count(int sig)
{
	calls[sig]++;
}

static void *blocker(void *arg)
{
	uint64_t all = ~0ULL;

	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
	__atomic_add_fetch((int *)arg, 1, __ATOMIC_SEQ_CST);
	for (;;)
		(void)usleep(100000);
	return NULL;
}

static void *thief(void *arg)
{
	uint64_t all = ~0ULL;
	siginfo_t info;

	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
	__atomic_add_fetch((int *)arg, 1, __ATOMIC_SEQ_CST);
	for (;;)
		(void)syscall(SYS_rt_sigtimedwait, &all, &info, NULL, 8);
	return NULL;
}

static void *sleeper(void *arg)
{
	const struct timespec ts = {.tv_sec = 60};

	__atomic_store_n((int *)arg, gettid(), __ATOMIC_SEQ_CST);
	if (nanosleep(&ts, NULL) < 0 && errno == EINTR)
		__atomic_add_fetch(&interrupted, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void *reader(void *arg)
{
	int fd[2];
	char c;

	t_sys(pipe(fd));
	__atomic_store_n((int *)arg, gettid(), __ATOMIC_SEQ_CST);
	if (read(fd[0], &c, 1) < 0 && errno == EINTR)
		__atomic_add_fetch(&interrupted, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static int start(void *(*fn)(void *))
{
	static int word;
	pthread_t t;

	word = 0;
	t_check(pthread_create(&t, NULL, fn, &word) == 0, "pthread_create");
	while (!__atomic_load_n(&word, __ATOMIC_SEQ_CST))
		(void)usleep(1000);
	return word;
}

static void use_raw(int sig)
{
	/* The kernel's struct; SA_RESTORER is not needed by a handler that never returns … so it exits. */
	static struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} sa, old;

	/* The restorer of libc's own handlers serves. */
	(void)signal(SIGUSR2, count);
	(void)syscall(SYS_rt_sigaction, SIGUSR2, NULL, &old, 8);
	sa = old;
	sa.handler = count;
	(void)syscall(SYS_rt_sigaction, sig, &sa, NULL, 8);
}

static int vfork_child(void)
{
	const struct timespec ts = {.tv_sec = 4};
	pid_t pid = vfork();

	if (pid == 0) {
		(void)syscall(SYS_nanosleep, &ts, NULL);
		_exit(0);
	}
	return pid;
}

static void answer(const char *format, long a, long b, long c, long d)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	(void)printf(format, a, b, c, d);
#pragma GCC diagnostic pop
	(void)printf("\n");
	(void)fflush(stdout);
}

static void created(long r)
{
	struct ckpt_error e;

	if (r < 0 && ckpt_lasterror(&e) == 0)
		(void)fprintf(stderr, "%s\n", e.text);
	answer("%ld %ld %ld %ld", r, r < 0 ? errno : 0, ckpt_restarts(), (long)ckpt_generation());
}

/* Needs the word's argument. */
static int with_argument(const char *word, const char *arg, int n)
{
	if (strcmp(word, "create") == 0) {
		unsigned long flags = CKPT_FORCE;
		struct ckpt_args a = {CKPT_FLAGS, &flags}, *args[] = {&a};

		created(ckpt_create(arg, CKPT_SELF, P_HID, args, 1));
	} else if (strcmp(word, "block") == 0) {
		for (int i = 0; i < n; i++)
			(void)start(blocker);
		answer("ok", 0, 0, 0, 0);
	} else if (strcmp(word, "use") == 0) {
		(void)signal(n, count);
		answer("ok", 0, 0, 0, 0);
	} else if (strcmp(word, "useraw") == 0) {
		use_raw(n);
		answer("ok", 0, 0, 0, 0);
	} else if (strcmp(word, "count") == 0) {
		(void)raise(n);
		answer("%ld", calls[n], 0, 0, 0);
	} else if (strcmp(word, "exec") == 0) {
		pid_t pid = t_sys(fork());

		if (pid == 0) {
			(void)execl(arg, arg, (char *)NULL);
			_exit(127);
		}
		answer("%ld", pid, 0, 0, 0);
	} else if (strcmp(word, "exit") == 0) {
		_exit(n);
	} else {
		return 0;
	}
	return 1;
}

static int simple(const char *word)
{
	static unsigned told;
	const struct sigaction interrupts = {.sa_handler = count};
	uint64_t all = ~0ULL;
	sigset_t usr1;
	int n = 0;

	if (strcmp(word, "tell") == 0) {
		answer("life %016lx %ld", (long)t_token(), ++told, 0, 0);
	} else if (strcmp(word, "hold") == 0) {
		answer("%ld", ckpt_hold(), 0, 0, 0);
	} else if (strcmp(word, "release") == 0) {
		answer("%ld", ckpt_release(), 0, 0, 0);
	} else if (strcmp(word, "need") == 0) {
		(void)ckpt_need(&n);
		answer("%ld", n, 0, 0, 0);
	} else if (strcmp(word, "self") == 0) {
		created(ckpt_self(0));
	} else if (strcmp(word, "handlers") == 0) {
		answer("%ld",
		       atcheckpoint(first_before) | atcheckpoint(second_before) |
			       atrestart(first_after) | atrestart(second_after),
		       0, 0, 0);
	} else if (strcmp(word, "log") == 0) {
		(void)printf("log %s\n", notes);
		(void)fflush(stdout);
	} else if (strcmp(word, "blockall") == 0) {
		(void)start(blocker);
		(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
		answer("ok", 0, 0, 0, 0);
	} else if (strcmp(word, "steal") == 0) {
		(void)start(thief);
		answer("ok", 0, 0, 0, 0);
	} else if (strcmp(word, "vfork") == 0) {
		answer("ok", 0, 0, 0, 0);
		(void)vfork_child();
	} else if (strcmp(word, "sleep") == 0 || strcmp(word, "read") == 0) {
		(void)sigaction(SIGUSR1, &interrupts, NULL);
		answer("%ld", start(word[0] == 's' ? sleeper : reader), 0, 0, 0);
	} else if (strcmp(word, "interrupted") == 0) {
		answer("%ld %ld", interrupted, calls[SIGUSR1], 0, 0);
	} else if (strcmp(word, "nomain") == 0) {
		(void)sigemptyset(&usr1);
		(void)sigaddset(&usr1, SIGUSR1);
		answer("%ld", pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0, 0, 0);
	} else if (strcmp(word, "child") == 0) {
		n = t_sys(fork());
		while (n == 0)
			(void)pause();
		answer("%ld", n, 0, 0, 0);
	} else {
		return 0;
	}
	return 1;
}

int main(void)
{
	char line[512], word[16], arg[480];

	t_start();
	(void)printf("ready\n");
	(void)fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		arg[0] = 0;
		if (sscanf(line, "%15s %479s", word, arg) < 1)
			continue;
		if (!simple(word) && !with_argument(word, arg, atoi(arg)))
			t_fail("what is '%s'?", line);
	}
	return 98;
}
