/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A storm of processes: workers that start children in every way the C library knows and check how
 * each of them ended, and one process that starts and ends threads all the time.  What it proves while
 * it is checkpointed over and over: nobody dies of our signal, nobody hangs, no status is lost.
 *
 *	storm EXECS WORKERS SECONDS    the storm: goes on until so many programs were executed and the file
 *	                               "enough" is there; prints a line, exits 0 when all was well
 *	storm leaf STATUS              ends with the status
 *	storm chain DEPTH STATUS       becomes itself DEPTH times, then ends with the status
 *
 * The workers count in shared memory, so that the total is known whatever happens to them.  A token
 * that lives only in memory is printed at the start and at the end: a restarted storm has the same.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORKERS   16
#define CHAIN_DEPTH   4
#define SILENCE_S     25 /* a worker that has ended no child for so long hangs */
#define THREADS       4  /* that start others */
#define SHORT_THREADS 3  /* that each of them starts at a time */

extern char **environ;

struct totals {
	uint64_t execs[MAX_WORKERS]; /* programs started; doubles as the sign of life */
	uint64_t children, threads;
	uint64_t killed, wrong; /* children that ended by a signal, with another status */
	uint32_t stop;
};

static struct totals *all;
static char self[4096];

static void add(uint64_t *n, uint64_t k)
{
	(void)__atomic_add_fetch(n, k, __ATOMIC_RELAXED);
}

static int stopped(void)
{
	return (int)__atomic_load_n(&all->stop, __ATOMIC_RELAXED);
}

/* The oracle: what the parent knows that the child must have done. */
static void judge(const char *how, int status, int want)
{
	add(&all->children, 1);
	if (WIFEXITED(status) && WEXITSTATUS(status) == want)
		return;
	add(WIFSIGNALED(status) ? &all->killed : &all->wrong, 1);
	(void)fprintf(stderr, "storm: a child by %s ended with %s %d instead of status %d\n", how,
		      WIFSIGNALED(status) ? "signal" : "status",
		      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), want);
}

static void reap(const char *how, pid_t pid, int want)
{
	int status = 0;
	pid_t got;

	do
		got = waitpid(pid, &status, 0);
	while (got < 0 && errno == EINTR);
	if (got == pid) {
		judge(how, status, want);
		return;
	}
	add(&all->wrong, 1);
	(void)fprintf(stderr, "storm: waitpid(%d) for %s: %s\n", (int)pid, how, strerror(errno));
}

/* ---- ways to start a child; each returns the number of programs that were executed ---------- */

static uint64_t by_fork(int want)
{
	char status[16];
	pid_t pid;

	(void)snprintf(status, sizeof(status), "%d", want);
	pid = fork();
	if (pid == 0) {
		(void)execl(self, self, "leaf", status, (char *)NULL);
		_exit(120);
	}
	reap("fork", pid, want);
	return 1;
}

static uint64_t by_vfork(int want)
{
	char status[16];
	char *argv[] = {self, (char *)"leaf", status, NULL};
	pid_t pid;

	(void)snprintf(status, sizeof(status), "%d", want);
	pid = vfork();
	if (pid == 0) {
		(void)execve(self, argv, environ);
		_exit(121);
	}
	reap("vfork", pid, want);
	return 1;
}

static uint64_t by_spawn(int want)
{
	char status[16];
	char *argv[] = {self, (char *)"leaf", status, NULL};
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid;

	/* An empty mask of the child's own: it must not undo that our signal is closed. */
	(void)sigemptyset(&none);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	(void)snprintf(status, sizeof(status), "%d", want);
	if (posix_spawn(&pid, self, NULL, want & 1 ? &attr : NULL, argv, environ) == 0)
		reap("posix_spawn", pid, want);
	else
		add(&all->wrong, 1);
	(void)posix_spawnattr_destroy(&attr);
	return 1;
}

static uint64_t by_system(int want)
{
	char command[32];

	(void)snprintf(command, sizeof(command), "exit %d", want);
	judge("system", system(command), want);
	return 1;
}

static uint64_t by_popen(int want)
{
	char command[4200], line[32] = "";
	FILE *f;

	(void)snprintf(command, sizeof(command), "echo %d; %s leaf %d", want, self, want);
	f = popen(command, "r");
	if (!f || !fgets(line, sizeof(line), f) || atoi(line) != want) {
		add(&all->wrong, 1);
		(void)fprintf(stderr, "storm: popen gave '%s' instead of %d\n", line, want);
	}
	if (f)
		judge("popen", pclose(f), want);
	return 2;
}

static uint64_t by_chain(int want)
{
	char status[16], depth[16];
	pid_t pid;

	(void)snprintf(status, sizeof(status), "%d", want);
	(void)snprintf(depth, sizeof(depth), "%d", CHAIN_DEPTH);
	pid = fork();
	if (pid == 0) {
		(void)execlp(self, self, "chain", depth, status, (char *)NULL);
		_exit(122);
	}
	reap("a chain of execs", pid, want);
	return CHAIN_DEPTH + 1;
}

/* The grandchild loses its parent and tells its status through a pipe. */
static uint64_t by_double_fork(int want)
{
	unsigned char byte = 0;
	int fd[2];
	pid_t pid;

	if (pipe(fd) < 0) {
		add(&all->wrong, 1);
		return 0;
	}
	pid = fork();
	if (pid == 0) {
		if (fork() == 0) {
			byte = (unsigned char)want;
			(void)close(fd[0]);
			_exit(write(fd[1], &byte, 1) == 1 ? 0 : 1);
		}
		_exit(want);
	}
	(void)close(fd[1]);
	reap("a double fork", pid, want);
	if (read(fd[0], &byte, 1) != 1 || byte != want) {
		add(&all->wrong, 1);
		(void)fprintf(stderr, "storm: an orphan sent %d instead of %d\n", byte, want);
	}
	(void)close(fd[0]);
	return 0;
}

static void work(int nr)
{
	static uint64_t (*const way[])(int) = {by_fork,  by_vfork, by_spawn,      by_system,
					       by_popen, by_chain, by_double_fork};
	const size_t n = sizeof(way) / sizeof(*way);

	for (unsigned i = (unsigned)nr; !stopped(); i++)
		add(&all->execs[nr], way[i % n]((int)(i * 7 % 100)));
	_exit(0);
}

/* ---- threads -------------------------------------------------------------------------------- */

static void *short_thread(void *arg)
{
	return (void *)((uintptr_t)arg * 3);
}

static void *start_threads(void *arg)
{
	for (uintptr_t i = (uintptr_t)arg; !stopped(); i++) {
		pthread_t t[SHORT_THREADS];
		void *ret;

		for (uintptr_t k = 0; k < SHORT_THREADS; k++)
			if (pthread_create(&t[k], NULL, short_thread, (void *)(i + k)) != 0)
				abort();
		for (uintptr_t k = 0; k < SHORT_THREADS; k++) {
			if (pthread_join(t[k], &ret) != 0 || (uintptr_t)ret != (i + k) * 3)
				abort();
			add(&all->threads, 1);
		}
		(void)usleep(200); /* the children are the test: leave them the processor */
	}
	return NULL;
}

static void thread_storm(void)
{
	pthread_t t[THREADS];

	for (uintptr_t k = 0; k < THREADS; k++)
		if (pthread_create(&t[k], NULL, start_threads, (void *)(k * 1000)) != 0)
			abort();
	for (int k = 0; k < THREADS; k++)
		(void)pthread_join(t[k], NULL);
	_exit(0);
}

/* ---- the storm ------------------------------------------------------------------------------ */

static time_t now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static uint64_t execs(int workers)
{
	uint64_t sum = 0;

	for (int i = 0; i < workers; i++)
		sum += __atomic_load_n(&all->execs[i], __ATOMIC_RELAXED);
	return sum;
}

/* 0, or the number + 1 of a worker that has done nothing for too long. */
static int watch(uint64_t want, int workers, time_t limit)
{
	uint64_t last[MAX_WORKERS] = {0};
	time_t moved[MAX_WORKERS];
	time_t start = now();

	for (int i = 0; i < workers; i++)
		moved[i] = start;
	while ((execs(workers) < want || access("enough", F_OK) < 0) && now() - start < limit) {
		(void)usleep(50000);
		for (int i = 0; i < workers; i++) {
			uint64_t n = __atomic_load_n(&all->execs[i], __ATOMIC_RELAXED);

			if (n != last[i])
				moved[i] = now();
			else if (now() - moved[i] > SILENCE_S)
				return i + 1;
			last[i] = n;
		}
	}
	return 0;
}

static int storm(uint64_t want, int workers, time_t limit)
{
	pid_t pid[MAX_WORKERS + 1];
	uint64_t token = 0;
	int hangs;

	(void)!getrandom(&token, sizeof(token), 0);
	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED || workers < 1 || workers > MAX_WORKERS)
		return 2;
	(void)printf("token=%016lx\n", (unsigned long)token);
	(void)fflush(stdout);
	for (int i = 0; i <= workers; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			if (i == workers)
				thread_storm();
			work(i);
		}
	}
	hangs = watch(want, workers, limit);
	__atomic_store_n(&all->stop, 1, __ATOMIC_SEQ_CST);
	if (hangs) {
		(void)fprintf(stderr, "storm: worker %d hangs\n", hangs - 1);
		for (int i = 0; i <= workers; i++)
			(void)kill(pid[i], SIGKILL);
	}
	for (int i = 0; i <= workers; i++)
		reap("the storm itself", pid[i], 0);
	(void)printf("end token=%016lx execs=%lu children=%lu threads=%lu killed=%lu wrong=%lu\n",
		     (unsigned long)token, (unsigned long)execs(workers),
		     (unsigned long)all->children, (unsigned long)all->threads,
		     (unsigned long)all->killed, (unsigned long)all->wrong);
	return hangs || all->killed || all->wrong;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "leaf") == 0)
		return atoi(argv[2]);
	if (argc == 4 && strcmp(argv[1], "chain") == 0) {
		char depth[16];
		int n = atoi(argv[2]) - 1;
		char *next[] = {argv[0], (char *)"chain", depth, argv[3], NULL};

		if (n < 0)
			return atoi(argv[3]);
		(void)snprintf(depth, sizeof(depth), "%d", n);
		/* Three members of the family in turn. */
		if (n % 3 == 0)
			(void)execv(argv[0], next);
		else if (n % 3 == 1)
			(void)execvp(argv[0], next);
		else
			(void)execle(argv[0], argv[0], "chain", depth, argv[3], (char *)NULL,
				     environ);
		return 123;
	}
	if (argc != 4 || !realpath(argv[0], self))
		return 2;
	return storm(strtoull(argv[1], NULL, 10), atoi(argv[2]), (time_t)atoi(argv[3]));
}
