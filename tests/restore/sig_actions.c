/* SPDX-License-Identifier: BSD-3-Clause */
/* What is to happen on each signal: handler, flags and mask, as the kernel tells; and it happens. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "t.h"

struct ksigaction {
	uint64_t handler, flags, restorer, mask;
};

static volatile sig_atomic_t plain_hits, info_hits, nested;
static volatile int info_value;

static void on_plain(int sig)
{
	(void)sig;
	plain_hits++;
}

static void on_info(int sig, siginfo_t *si, void *uc)
{
	sigset_t now;

	(void)sig;
	(void)uc;
	info_hits++;
	info_value = si->si_value.sival_int;
	/* Blocked by the action's mask, or as the signal itself. */
	if (sigprocmask(SIG_SETMASK, NULL, &now) == 0 && sigismember(&now, SIGWINCH) == 1 &&
	    sigismember(&now, SIGRTMIN + 5) == 1)
		nested++;
}

static void disturb(void)
{
	(void)signal(SIGUSR1, SIG_IGN);
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGRTMIN + 5, SIG_IGN);
}

static void read_all(struct ksigaction *k)
{
	for (int sig = 1; sig <= 64; sig++)
		(void)syscall(SYS_rt_sigaction, sig, NULL, &k[sig - 1], 8L);
}

int main(void)
{
	static struct ksigaction before[64], after[64];
	struct sigaction sa = {.sa_handler = on_plain};
	union sigval value = {.sival_int = (int)(getpid() ^ 0x5a5a)};
	sigset_t mask, now;

	t_start();
	t_sys(sigaction(SIGUSR1, &sa, NULL));
	sa.sa_flags = SA_NODEFER | SA_RESTART;
	t_sys(sigaction(SIGUSR2, &sa, NULL));
	sa.sa_flags = (int)SA_RESETHAND;
	t_sys(sigaction(SIGALRM, &sa, NULL));
	sa.sa_flags = SA_NOCLDSTOP | SA_NOCLDWAIT;
	t_sys(sigaction(SIGCHLD, &sa, NULL));
	t_check(signal(SIGTERM, SIG_IGN) != SIG_ERR, "signal");
	t_check(signal(SIGPIPE, SIG_IGN) != SIG_ERR, "signal");
	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = on_info;
	sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
	(void)sigaddset(&sa.sa_mask, SIGWINCH);
	t_sys(sigaction(SIGRTMIN + 5, &sa, NULL));
	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGHUP);
	(void)sigaddset(&mask, SIGRTMAX);
	t_sys(sigprocmask(SIG_SETMASK, &mask, NULL));
	read_all(before);
	t_on_disturb(disturb);
	t_ready();

	read_all(after);
	/* An agent that had to be brought in stays in a restarted program; libckpt.so is there already. */
	if (!getenv("LD_PRELOAD"))
		before[SIGRTMAX - 3] = after[SIGRTMAX - 3];
	for (int sig = 1; sig <= 64; sig++)
		t_check(memcmp(&before[sig - 1], &after[sig - 1], sizeof(*before)) == 0,
			"signal %d: handler %#lx flags %#lx mask %#lx, were %#lx %#lx %#lx", sig,
			after[sig - 1].handler, after[sig - 1].flags, after[sig - 1].mask,
			before[sig - 1].handler, before[sig - 1].flags, before[sig - 1].mask);
	(void)sigprocmask(SIG_SETMASK, NULL, &now);
	for (int sig = 1; sig < NSIG; sig++)
		t_check(sigismember(&now, sig) == sigismember(&mask, sig), "mask of signal %d",
			sig);
	t_check(raise(SIGUSR1) == 0 && raise(SIGUSR2) == 0 && plain_hits == 2, "no handler ran");
	t_check(raise(SIGTERM) == 0 && raise(SIGPIPE) == 0, "an ignored signal");
	t_check(raise(SIGALRM) == 0 && plain_hits == 3, "the one-shot handler did not run");
	t_check(signal(SIGALRM, SIG_IGN) == SIG_DFL, "the one-shot handler stays");
	t_check(sigqueue(getpid(), SIGRTMIN + 5, value) == 0 && info_hits == 1 &&
			info_value == value.sival_int && nested == 1,
		"the handler with siginfo: %d runs, value %d, mask %d", info_hits, info_value,
		nested);
	t_done();
}
