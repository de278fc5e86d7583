/* SPDX-License-Identifier: BSD-3-Clause */
/* See wrap_fake.h. */
#include "wrap_fake.h"

#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

int t_failures;
volatile long t_entered, t_hits;
volatile int t_raise;

struct ckpti_agent ckpti_agent = {.magic = CKPTI_AGENT_MAGIC, .abi = CKPTI_AGENT_ABI};

/* The kernel's struct sigaction. */
struct kernel_action {
	void *handler;
	uint64_t flags;
	void *restorer;
	uint64_t mask;
};

void ckpti_agent_overlook(void *uc)
{
	(void)uc;
}

static bool handled_signal_due(const ucontext_t *uc)
{
	uint64_t pending = 0, blocked;

	memcpy(&blocked, &uc->uc_sigmask, sizeof(blocked));
	(void)syscall(SYS_rt_sigpending, &pending, sizeof(pending));
	pending &= ~blocked & ~(1ULL << (ckpti_agent.host.signo - 1));
	for (int sig = 1; pending; sig++, pending >>= 1) {
		void *handler;

		if (!(pending & 1))
			continue;
		t_kernel_action(sig, &handler, NULL);
		if (handler != (void *)SIG_DFL && handler != (void *)SIG_IGN)
			return true;
	}
	return false;
}

static void handler(int sig, siginfo_t *si, void *ucv)
{
	const ucontext_t *uc = ucv;
	const uint8_t *ip = (const uint8_t *)uc->uc_mcontext.gregs[REG_RIP];
	volatile int *flag;
	int saved = errno;

	if (si->si_code != CKPTI_SI_MUSTER) {
		ckpti_agent.host.foreign(sig, si, ucv);
		return;
	}
	t_entered++;
	if (uc->uc_mcontext.gregs[REG_RAX] != -EINTR || ip[-2] != 0x0f || ip[-1] != 0x05)
		return;
	flag = ckpti_agent.host.interrupted();
	if (flag && !handled_signal_due(uc)) {
		*flag = 1;
		t_hits++;
		if (t_raise) {
			(void)syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), t_raise);
			t_raise = 0;
		}
	}
	errno = saved;
}

int ckpti_agent_start(const struct ckpti_agent_host *host)
{
	uint64_t own = 1ULL << (host->signo - 1);
	struct sigaction sa, own_sa;
	struct kernel_action ka;

	ckpti_agent.host = *host;
	ckpti_agent.pid = getpid();
	/* libc knows the return trampoline: let it fill one in for a neighbour, and copy that. */
	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = SIG_IGN;
	if (sigaction(SIGUSR2, &sa, &own_sa) < 0 ||
	    syscall(SYS_rt_sigaction, SIGUSR2, NULL, &ka, sizeof(own)) < 0)
		abort();
	(void)sigaction(SIGUSR2, &own_sa, NULL);
	ka.handler = (void *)handler;
	ka.flags |= SA_SIGINFO | SA_RESTART | SA_ONSTACK;
	ka.mask = ~0ULL;
	if (syscall(SYS_rt_sigaction, host->signo, &ka, NULL, sizeof(own)) < 0)
		abort();
	(void)syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &own, NULL, sizeof(own));
	return 0;
}

int t_signo(void)
{
	return ckpti_agent.host.signo;
}

uint64_t t_kernel_mask(void)
{
	uint64_t mask = 0;

	(void)syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof(mask));
	return mask;
}

void t_kernel_action(int sig, void **ret_handler, uint64_t *ret_mask)
{
	struct kernel_action ka = {.handler = NULL};

	(void)syscall(SYS_rt_sigaction, sig, NULL, &ka, sizeof(ka.mask));
	if (ret_handler)
		*ret_handler = ka.handler;
	if (ret_mask)
		*ret_mask = ka.mask;
}

bool t_is_ours(void *h)
{
	return h == (void *)handler;
}

int64_t t_now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

/* ---- bombardment -------------------------------------------------------------------------- */

static struct {
	pthread_t thread;
	volatile int stop;
	unsigned int period_us;
	int tid;
	bool children;
} bomb;

static void hit(int pid, int tid)
{
	siginfo_t si;

	memset(&si, 0, sizeof(si));
	si.si_signo = t_signo();
	si.si_code = CKPTI_SI_MUSTER;
	si.si_pid = getpid();
	if (tid)
		(void)syscall(SYS_rt_tgsigqueueinfo, pid, tid, si.si_signo, &si);
	else
		(void)syscall(SYS_rt_sigqueueinfo, pid, si.si_signo, &si);
}

static void hit_children(int tid)
{
	char path[64], text[4096];
	char *p, *end;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (n <= 0)
		return;
	text[n] = '\0';
	for (p = text; *p; p = end) {
		long pid = strtol(p, &end, 10);

		if (end == p)
			break;
		hit((int)pid, 0);
	}
}

static void *bombard(void *arg)
{
	struct timespec ts = {.tv_nsec = (long)bomb.period_us * 1000};

	(void)arg;
	while (!bomb.stop) {
		hit(getpid(), bomb.tid);
		if (bomb.children)
			hit_children(bomb.tid);
		(void)syscall(SYS_nanosleep, &ts, NULL);
	}
	return NULL;
}

void t_bomb_start(unsigned int period_us, bool children)
{
	sigset_t all, old;

	bomb.stop = 0;
	bomb.period_us = period_us;
	bomb.children = children;
	bomb.tid = (int)syscall(SYS_gettid);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &old);
	if (pthread_create(&bomb.thread, NULL, bombard, NULL) != 0)
		abort();
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void t_bomb_stop(void)
{
	bomb.stop = 1;
	(void)pthread_join(bomb.thread, NULL);
}
