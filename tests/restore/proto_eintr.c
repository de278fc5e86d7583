/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nobody sees an EINTR of a checkpoint: one thread in each blocking call, through libc and, where it
 * makes a difference, by a raw system call.  Calls with a timeout take as long as they were asked for
 * (raw ones at least: they are repeated in full); the others return for their real reason only.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "t.h"

#define SLEEP_MS 2500
#define SLACK_MS 1500

static int quiet_pipe[2], quiet_sock[2], listener, quiet_epoll; /* nothing ever comes */
static int end_pipe[2], end_event, end_sock[2], locked_fd;      /* main ends these waits */
static pid_t child;
static uint32_t quiet_word, end_word;
static sem_t quiet_sem, end_sem;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER, cond_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t quiet_cond = PTHREAD_COND_INITIALIZER, end_cond = PTHREAD_COND_INITIALIZER;
static int cond_over;
static volatile sig_atomic_t usr1;
static int semid = -1, msgid = -1;

static const struct timespec nap = {SLEEP_MS / 1000, SLEEP_MS % 1000 * 1000000L};

static struct timespec until(int clock)
{
	int64_t ns = t_now_ns(clock) + SLEEP_MS * 1000000LL;

	return (struct timespec){ns / 1000000000, ns % 1000000000};
}

/* libc's convention out of one that returns the error */
static long err(int e)
{
	errno = e;
	return e ? -1 : 0;
}

static sigset_t only(int signo)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, signo);
	return set;
}

/* ---- with a timeout: return after SLEEP_MS ---------------------------------------------------- */

static long f_nanosleep(void)
{
	return nanosleep(&nap, NULL);
}
static long r_nanosleep(void)
{
	return syscall(SYS_nanosleep, &nap, NULL);
}
static long f_clock_nanosleep(void)
{
	return err(clock_nanosleep(CLOCK_BOOTTIME, 0, &nap, NULL));
}

static long f_nanosleep_abs(void)
{
	struct timespec ts = until(CLOCK_MONOTONIC);

	return err(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL));
}

static long r_nanosleep_abs(void)
{
	struct timespec ts = until(CLOCK_MONOTONIC);

	return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static long f_usleep(void)
{
	return usleep(SLEEP_MS * 1000);
}

static long f_poll(void)
{
	struct pollfd p = {quiet_pipe[0], POLLIN, 0};

	return poll(&p, 1, SLEEP_MS);
}

static long r_poll(void)
{
	struct pollfd p = {quiet_pipe[0], POLLIN, 0};

	return syscall(SYS_poll, &p, 1, SLEEP_MS);
}

static long f_ppoll(void)
{
	struct pollfd p = {quiet_pipe[0], POLLIN, 0};
	sigset_t none = only(SIGUSR2);

	return ppoll(&p, 1, &nap, &none);
}

static long f_select(void)
{
	struct timeval tv = {SLEEP_MS / 1000, SLEEP_MS % 1000 * 1000};
	fd_set in;

	FD_ZERO(&in);
	FD_SET(quiet_pipe[0], &in);
	return select(quiet_pipe[0] + 1, &in, NULL, NULL, &tv);
}

static long r_select(void)
{
	struct timeval tv = {SLEEP_MS / 1000, SLEEP_MS % 1000 * 1000};

	return syscall(SYS_select, 0, NULL, NULL, NULL, &tv);
}

static long f_pselect(void)
{
	sigset_t none = only(SIGUSR2);

	return pselect(0, NULL, NULL, NULL, &nap, &none);
}

static long f_epoll_wait(void)
{
	struct epoll_event e;

	return epoll_wait(quiet_epoll, &e, 1, SLEEP_MS);
}

static long r_epoll_wait(void)
{
	struct epoll_event e;

	return syscall(SYS_epoll_wait, quiet_epoll, &e, 1, SLEEP_MS);
}

static long f_epoll_pwait(void)
{
	sigset_t none = only(SIGUSR2);
	struct epoll_event e;

	return epoll_pwait(quiet_epoll, &e, 1, SLEEP_MS, &none);
}

static long f_sigtimedwait(void)
{
	sigset_t set = only(SIGUSR2);

	return sigtimedwait(&set, NULL, &nap);
}

static long r_sigtimedwait(void)
{
	uint64_t set = 1ULL << (SIGUSR2 - 1);

	return syscall(SYS_rt_sigtimedwait, &set, NULL, &nap, 8);
}

static long r_futex(void)
{
	return syscall(SYS_futex, &quiet_word, FUTEX_WAIT, 0, &nap, NULL, 0);
}

static long f_sem_timedwait(void)
{
	struct timespec ts = until(CLOCK_REALTIME);

	return sem_timedwait(&quiet_sem, &ts);
}

static long f_sem_clockwait(void)
{
	struct timespec ts = until(CLOCK_MONOTONIC);

	return sem_clockwait(&quiet_sem, CLOCK_MONOTONIC, &ts);
}

static long f_mutex_timedlock(void)
{
	struct timespec ts = until(CLOCK_REALTIME);

	return err(pthread_mutex_timedlock(&held, &ts));
}

static long f_cond_timedwait(void)
{
	struct timespec ts = until(CLOCK_REALTIME);
	int e = 0;

	(void)pthread_mutex_lock(&cond_lock);
	while (e == 0)
		e = pthread_cond_timedwait(&quiet_cond, &cond_lock, &ts);
	(void)pthread_mutex_unlock(&cond_lock);
	return err(e);
}

static long f_recv(void)
{
	char c;

	return recv(quiet_sock[0], &c, 1, 0);
}

static long f_accept(void)
{
	return accept(listener, NULL, NULL);
}

static long f_semtimedop(void)
{
	struct sembuf op = {0, -1, 0};

	return semtimedop(semid, &op, 1, &nap);
}

/* ---- without: return when main says so -------------------------------------------------------- */

static long f_pause(void)
{
	return pause();
}
static long r_pause(void)
{
	return syscall(SYS_pause);
}

static long f_sigsuspend(void)
{
	sigset_t set = only(SIGUSR2);

	return sigsuspend(&set);
}

static long f_sigwaitinfo(void)
{
	sigset_t set = only(SIGUSR2);

	return sigwaitinfo(&set, NULL) == SIGUSR2 ? 0 : -1;
}

static long f_sigwait(void)
{
	sigset_t set = only(SIGUSR2);
	int sig = 0;

	return err(sigwait(&set, &sig)) == 0 && sig == SIGUSR2 ? 0 : -1;
}

static long f_read(void)
{
	char c;

	return read(end_pipe[0], &c, 1) == 1 ? 0 : -1;
}

static long r_read(void)
{
	char c;

	return syscall(SYS_read, end_pipe[0], &c, 1) == 1 ? 0 : -1;
}

static long f_eventfd(void)
{
	uint64_t v;

	return read(end_event, &v, sizeof(v)) == sizeof(v) ? 0 : -1;
}

static long f_recv_end(void)
{
	char c;

	return recv(end_sock[0], &c, 1, 0) == 1 ? 0 : -1;
}

static long r_futex_end(void)
{
	while (!__atomic_load_n(&end_word, __ATOMIC_SEQ_CST))
		if (syscall(SYS_futex, &end_word, FUTEX_WAIT, 0, NULL, NULL, 0) < 0 &&
		    errno != EAGAIN)
			return -1;
	return 0;
}

static long f_sem_wait(void)
{
	return sem_wait(&end_sem);
}

static long f_cond_wait(void)
{
	int e = 0;

	(void)pthread_mutex_lock(&cond_lock);
	while (!cond_over && e == 0)
		e = pthread_cond_wait(&end_cond, &cond_lock);
	(void)pthread_mutex_unlock(&cond_lock);
	return err(e);
}

static long f_flock(void)
{
	int fd = open(t_path("locked"), O_RDWR | O_CLOEXEC);
	long r = flock(fd, LOCK_EX);
	int e = errno;

	(void)close(fd);
	errno = e;
	return r;
}

static long f_open_fifo(void)
{
	int fd = open(t_path("fifo"), O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : close(fd);
}

static long f_waitpid(void)
{
	int status;

	return waitpid(child, &status, 0) == child ? 0 : -1;
}

static long f_msgrcv(void)
{
	struct {
		long type;
		char text[8];
	} m;

	return msgrcv(msgid, &m, sizeof(m.text), 1, 0) < 0 ? -1 : 0;
}

static long f_semop(void)
{
	struct sembuf op = {1, -1, 0};

	return semop(semid, &op, 1);
}

/* ---- the table --------------------------------------------------------------------------------- */

enum kind {
	TIMED, /* libc: takes as long as asked for */
	RAW,   /* raw, timed: at least so long */
	REAL,  /* a deadline of the wall clock, which goes on while nothing runs */
	ENDED, /* until main ends it */
	SIG1,  /* until SIGUSR1 comes, whose handler interrupts it: EINTR is right then */
	SIG2,  /* until SIGUSR2 comes, which is blocked */
};

struct call {
	const char *name;
	long (*fn)(void);
	enum kind kind;
	int want; /* errno of a good end, 0: it succeeds */
	int tid;
	pthread_t thread;
	uint32_t returned;
	long ret;
	int error;
	int64_t took_ms, real_ms;
};

#define C(f, k, e)                                        \
	{                                                 \
		.name = #f, .fn = f, .kind = k, .want = e \
	}

static struct call calls[] = {
	C(f_nanosleep, TIMED, 0),
	C(r_nanosleep, RAW, 0),
	C(f_clock_nanosleep, TIMED, 0),
	C(f_nanosleep_abs, TIMED, 0),
	C(r_nanosleep_abs, TIMED, 0),
	C(f_usleep, TIMED, 0),
	C(f_poll, TIMED, 0),
	C(r_poll, RAW, 0),
	C(f_ppoll, TIMED, 0),
	C(f_select, TIMED, 0),
	C(r_select, RAW, 0),
	C(f_pselect, TIMED, 0),
	C(f_epoll_wait, TIMED, 0),
	C(r_epoll_wait, RAW, 0),
	C(f_epoll_pwait, TIMED, 0),
	C(f_sigtimedwait, TIMED, EAGAIN),
	C(r_sigtimedwait, RAW, EAGAIN),
	C(r_futex, RAW, ETIMEDOUT),
	C(f_sem_timedwait, REAL, ETIMEDOUT),
	C(f_sem_clockwait, TIMED, ETIMEDOUT),
	C(f_mutex_timedlock, REAL, ETIMEDOUT),
	C(f_cond_timedwait, REAL, ETIMEDOUT),
	C(f_recv, RAW, EAGAIN),
	C(f_accept, RAW, EAGAIN),
	C(f_pause, SIG1, EINTR),
	C(r_pause, SIG1, EINTR),
	C(f_sigsuspend, SIG1, EINTR),
	C(f_sigwaitinfo, SIG2, 0),
	C(f_sigwait, SIG2, 0),
	C(f_read, ENDED, 0),
	C(r_read, ENDED, 0),
	C(f_eventfd, ENDED, 0),
	C(f_recv_end, ENDED, 0),
	C(r_futex_end, ENDED, 0),
	C(f_sem_wait, ENDED, 0),
	C(f_cond_wait, ENDED, 0),
	C(f_flock, ENDED, 0),
	C(f_open_fifo, ENDED, 0),
	C(f_waitpid, ENDED, 0),
	/* Objects of System V are of the machine, not of the process: without a restart only. */
	C(f_semtimedop, TIMED, EAGAIN),
	C(f_msgrcv, ENDED, 0),
	C(f_semop, ENDED, 0),
};
#define NSYSV  3
#define NCALLS (sizeof(calls) / sizeof(*calls))

static void *run(void *arg)
{
	struct call *c = arg;
	sigset_t usr2 = only(SIGUSR2);
	int64_t start, real;

	/* Only the sigsuspend thread's mask lets nothing else matter; SIGUSR2 is waited for. */
	(void)pthread_sigmask(SIG_BLOCK, &usr2, NULL);
	start = t_now_ns(CLOCK_MONOTONIC);
	real = t_now_ns(CLOCK_REALTIME);
	__atomic_store_n(&c->tid, gettid(), __ATOMIC_SEQ_CST);
	errno = 0;
	c->ret = c->fn();
	c->error = c->ret < 0 ? errno : 0;
	c->took_ms = (t_now_ns(CLOCK_MONOTONIC) - start) / 1000000;
	c->real_ms = (t_now_ns(CLOCK_REALTIME) - real) / 1000000;
	__atomic_store_n(&c->returned, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void on_usr1(int sig)
{
	(void)sig;
	usr1++;
}

static void set_up(int sysv)
{
	struct sigaction sa = {.sa_handler = on_usr1};
	const struct timeval tv = {SLEEP_MS / 1000, SLEEP_MS % 1000 * 1000};
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	(void)sigaction(SIGUSR1, &sa, NULL);
	t_sys(pipe2(quiet_pipe, O_CLOEXEC));
	t_sys(pipe2(end_pipe, O_CLOEXEC));
	t_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, quiet_sock));
	t_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, end_sock));
	t_sys(setsockopt(quiet_sock[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	listener = t_sys(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", t_path("listener"));
	t_sys(bind(listener, (struct sockaddr *)&un, sizeof(un)));
	t_sys(listen(listener, 1));
	t_sys(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	quiet_epoll = t_sys(epoll_create1(EPOLL_CLOEXEC));
	end_event = t_sys(eventfd(0, EFD_CLOEXEC));
	t_sys(sem_init(&quiet_sem, 0, 0));
	t_sys(sem_init(&end_sem, 0, 0));
	(void)pthread_mutex_lock(&held);
	locked_fd = t_sys(open(t_path("locked"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	t_sys(flock(locked_fd, LOCK_EX));
	t_sys(mkfifo(t_path("fifo"), 0600));
	child = t_sys(fork());
	while (child == 0)
		(void)pause();
	if (!sysv)
		return;
	semid = t_sys(semget(IPC_PRIVATE, 2, 0600));
	msgid = t_sys(msgget(IPC_PRIVATE, 0600));
}

static void start(struct call *c)
{
	t_check(pthread_create(&c->thread, NULL, run, c) == 0, "pthread_create");
	while (!__atomic_load_n(&c->tid, __ATOMIC_SEQ_CST))
		(void)usleep(1000);
}

static void end_waits(size_t n)
{
	struct {
		long type;
		char text[8];
	} m = {1, "end"};
	struct sembuf op = {1, 1, 0};
	int fd;

	for (size_t i = 0; i < n; i++)
		if (calls[i].kind == SIG1 || calls[i].kind == SIG2)
			(void)pthread_kill(calls[i].thread,
					   calls[i].kind == SIG1 ? SIGUSR1 : SIGUSR2);
	t_sys(write(end_pipe[1], "ab", 2));
	t_sys(eventfd_write(end_event, 1));
	t_sys(send(end_sock[1], "a", 1, 0));
	__atomic_store_n(&end_word, 1, __ATOMIC_SEQ_CST);
	(void)syscall(SYS_futex, &end_word, FUTEX_WAKE, 1, NULL, NULL, 0);
	t_sys(sem_post(&end_sem));
	(void)pthread_mutex_lock(&cond_lock);
	cond_over = 1;
	(void)pthread_cond_broadcast(&end_cond);
	(void)pthread_mutex_unlock(&cond_lock);
	t_sys(flock(locked_fd, LOCK_UN));
	fd = t_sys(open(t_path("fifo"), O_WRONLY | O_CLOEXEC));
	(void)close(fd);
	t_sys(kill(child, SIGKILL));
	if (msgid < 0)
		return;
	t_sys(msgsnd(msgid, &m, sizeof(m.text), 0));
	t_sys(semop(semid, &op, 1));
}

static void remove_sysv(void)
{
	if (semid >= 0)
		(void)semctl(semid, 0, IPC_RMID);
	if (msgid >= 0)
		(void)msgctl(msgid, IPC_RMID, NULL);
}

/* Everything is judged before anything fails the test, so that it tells all at once. */
static int judge(const struct call *c)
{
	int good = c->error == c->want && (c->want || c->ret >= 0);

	if (c->kind == TIMED || c->kind == RAW)
		good &= c->took_ms >= SLEEP_MS - 5;
	if (c->kind == REAL)
		good &= c->real_ms >= SLEEP_MS - 5;
	/* Without the wrapped calls what is left of a time is not known: it begins anew. */
	if (c->kind == TIMED && getenv("LD_PRELOAD"))
		good &= c->took_ms <= SLEEP_MS + SLACK_MS;
	if (!good)
		(void)fprintf(stderr, "%s returned %ld after %ld ms: %s\n", c->name, c->ret,
			      (long)c->took_ms, strerror(c->error));
	return !good;
}

int main(int argc, char **argv)
{
	size_t n = NCALLS - NSYSV;
	int bad = 0;

	t_start();
	if (argc == 2 && strcmp(argv[1], "sysv") == 0)
		n = NCALLS;
	set_up(n == NCALLS);
	for (size_t i = 0; i < n; i++)
		start(&calls[i]);
	t_ready();
	for (size_t i = 0; i < n; i++) {
		if (calls[i].kind < ENDED || !__atomic_load_n(&calls[i].returned, __ATOMIC_SEQ_CST))
			continue;
		(void)fprintf(stderr, "%s has returned: %s\n", calls[i].name,
			      strerror(calls[i].error));
		bad++;
	}
	if (!bad) {
		end_waits(n);
		for (size_t i = 0; i < n; i++)
			(void)pthread_join(calls[i].thread, NULL);
		for (size_t i = 0; i < n; i++)
			bad += judge(&calls[i]);
	}
	remove_sysv();
	t_check(!bad, "calls were disturbed");
	t_check(usr1 == 3, "%d SIGUSR1 instead of 3", (int)usr1);
	t_done();
}
