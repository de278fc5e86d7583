/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * signalfd: its set of signals, the pending ones with what came with them, and none that it does not
 * ask for.
 */
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "fd.h"

static int some, all;

static void disturb(void)
{
	struct signalfd_siginfo si;

	while (read(some, &si, sizeof(si)) > 0)
		;
}

int main(void)
{
	struct signalfd_siginfo si;
	sigset_t set;

	t_start();
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigaddset(&set, SIGRTMIN + 3);
	some = t_sys(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
	(void)sigaddset(&set, SIGUSR2);
	t_sys(sigprocmask(SIG_BLOCK, &set, NULL));
	/* A full set has the checkpoint's own signal in it, which must not be read from it. */
	(void)sigfillset(&set);
	all = t_sys(signalfd(-1, &set, SFD_NONBLOCK));
	t_sys(kill(getpid(), SIGUSR1));
	for (int i = 0; i < 3; i++)
		t_sys(sigqueue(getpid(), SIGRTMIN + 3,
			       (union sigval){.sival_int = (int)(t_token() & 0xffff) + i}));
	t_sys(kill(getpid(), SIGUSR2));
	t_on_disturb(disturb);
	t_ready();

	t_check(fcntl(some, F_GETFD) == FD_CLOEXEC && (get_flags(some) & O_NONBLOCK), "flags");
	t_check(read(some, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGUSR1 &&
			si.ssi_pid == (unsigned)getpid(),
		"signal %u from %u", si.ssi_signo, si.ssi_pid);
	for (int i = 0; i < 3; i++)
		t_check(read(some, &si, sizeof(si)) == sizeof(si) &&
				si.ssi_signo == (unsigned)SIGRTMIN + 3 &&
				si.ssi_int == (int)(t_token() & 0xffff) + i,
			"queued signal %d: %u with %d", i, si.ssi_signo, si.ssi_int);
	t_check(read(some, &si, sizeof(si)) < 0 && errno == EAGAIN, "one more signal: %u with %d",
		si.ssi_signo, si.ssi_int - (int)(t_token() & 0xffff));
	t_check(read(all, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGUSR2,
		"signal %u instead of SIGUSR2", si.ssi_signo);
	t_check(read(all, &si, sizeof(si)) < 0 && errno == EAGAIN, "one more signal: %u",
		si.ssi_signo);
	t_sys(kill(getpid(), SIGUSR1));
	t_check(read(some, &si, sizeof(si)) == sizeof(si), "no signal afterwards");
	t_done();
}
