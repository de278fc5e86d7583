/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes that have ended and wait to be waited for: status and signal are there after the restart,
 * the SIGCHLD that waits for delivery too, and no further one comes.
 */
#include "proc.h"

static volatile sig_atomic_t chlds;

static void on_chld(int signo)
{
	(void)signo;
	chlds++;
}

/* Make a child that ends by itself (signal 0) or by a signal, and let it be a zombie. */
static int ended(int status, int signo)
{
	siginfo_t info;
	int pid = t_sys(fork());

	if (pid == 0) {
		if (signo)
			(void)raise(signo);
		_exit(status);
	}
	t_sys(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
	return pid;
}

static void expect(int pid, int code, int status)
{
	siginfo_t info = {0};

	t_sys(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG));
	t_check(info.si_pid == pid, "process %d is no zombie", pid);
	t_check(info.si_code == code && info.si_status == status,
		"process %d has code %d status %d instead of %d %d", pid, info.si_code,
		info.si_status, code, status);
	t_check(info.si_uid == getuid(), "process %d belonged to user %u", pid, info.si_uid);
}

static int child_with_zombie(void)
{
	int pid = t_sys(fork());

	if (pid == 0) {
		int z = ended(p_status(3), 0);

		p_live_through(0, 0);
		expect(z, CLD_EXITED, p_status(3));
		_exit(p_status(0));
	}
	return pid;
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_chld, .sa_flags = SA_RESTART};
	int plain, zero, killed, termed, child, blocked;
	siginfo_t info;
	sigset_t chld;

	t_start();
	p_start();
	plain = ended(p_status(1), 0);
	zero = ended(0, 0);
	killed = ended(0, SIGKILL);
	termed = ended(0, SIGTERM);
	child = child_with_zombie();
	p_await(&p_board->m[0].ready, 1, "child");
	(void)sigaction(SIGCHLD, &sa, NULL);
	/* One whose signal is still to be delivered. */
	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &chld, NULL);
	blocked = ended(p_status(2), 0);
	t_ready();
	t_sleep_ms(100);
	t_check(sigwaitinfo(&chld, &info) == SIGCHLD, "sigwaitinfo: %m");
	t_check(info.si_pid == blocked && info.si_status == p_status(2),
		"SIGCHLD is about process %d with status %d instead of %d with %d", info.si_pid,
		info.si_status, blocked, p_status(2));
	(void)sigprocmask(SIG_UNBLOCK, &chld, NULL);
	t_check(chlds == 0, "a further SIGCHLD came");
	expect(plain, CLD_EXITED, p_status(1));
	expect(zero, CLD_EXITED, 0);
	expect(killed, CLD_KILLED, SIGKILL);
	expect(termed, CLD_KILLED, SIGTERM);
	expect(blocked, CLD_EXITED, p_status(2));
	t_check(waitpid(-1, NULL, WNOHANG) == 0, "there is another zombie");
	p_go();
	p_reap(child, p_status(0));
	t_check(chlds == 1, "%d SIGCHLD for one child", (int)chlds);
	t_done();
}
