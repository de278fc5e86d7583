/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions and process groups as shells and daemons make them: jobs in groups of their own, a group
 * and a session whose leaders have ended, a session with its leader, orphans.  A signal to a group
 * reaches its members and nobody else.  With the argument "subreaper" the root adopts the orphans.
 */
#include <sys/prctl.h>

#include "proc.h"

enum {
	JOB1,      /* first job: leader … */
	JOB1_MATE, /* … and another of its group, as in a pipeline */
	JOB2,
	LEADERLESS, /* the leader of its group has ended and was waited for */
	LEADERLESS_MATE,
	ZOMBIE_LED,     /* the leader of its group is a zombie */
	SESSION,        /* leads a session … */
	SESSION_ORPHAN, /* … has an orphan in its group … */
	SESSION_JOB,    /* … and a child with a group of its own */
	DAEMON,         /* no parent, and the leader of its session has ended */
	DAEMON_MATE,    /* its child */
	ORPHAN,         /* no parent, in the session of the root */
	MEMBERS
};

static int orphan_flag = P_ORPHAN; /* 0: the root is a subreaper, so their parent is known */

static int start(int i, int pgid)
{
	int pid = t_sys(fork());

	if (pid == 0) {
		t_sys(setpgid(0, pgid));
		p_live_through(i, 0);
		_exit(p_status(i));
	}
	t_sys(setpgid(pid, pgid));
	return pid;
}

/* A group of two whose leader ends; wait for it or leave a zombie. */
static int dead_leader(void)
{
	int pid = t_sys(fork());

	if (pid == 0)
		for (;;)
			(void)pause();
	t_sys(setpgid(pid, 0));
	return pid;
}

static void lose(void (*become)(int i), int i)
{
	int pid = t_sys(fork());

	if (pid == 0) {
		become(i);
		_exit(0);
	}
	p_reap(pid, 0);
}

static void become_orphan(int i)
{
	int parent = getpid();

	if (t_sys(fork()) == 0) {
		while (getppid() == parent)
			(void)usleep(1000);
		p_live_through(i, orphan_flag);
		_exit(0);
	}
}

static int session(void)
{
	int pid = t_sys(fork());

	if (pid == 0) {
		int job;

		t_sys(setsid());
		job = start(SESSION_JOB, 0);
		lose(become_orphan, SESSION_ORPHAN);
		p_live_through(SESSION, 0);
		p_reap(job, p_status(SESSION_JOB));
		_exit(p_status(SESSION));
	}
	return pid;
}

static void become_daemon(int i)
{
	t_sys(setsid());
	if (t_sys(fork()) == 0) {
		int mate;

		while (getppid() == getsid(0))
			(void)usleep(1000);
		mate = t_sys(fork());
		if (mate == 0) {
			p_live_through(DAEMON_MATE, 0);
			_exit(p_status(DAEMON_MATE));
		}
		p_live_through(i, orphan_flag);
		p_reap(mate, p_status(DAEMON_MATE));
		_exit(0);
	}
}

/* SIGUSR1 to the group of member i arrives at n members, i and those after it. */
static void signal_group(int i, int n)
{
	int others = 0;

	for (int k = 0; k < MEMBERS; k++)
		others += (int)p_board->m[k].signals;
	t_check(kill(-p_board->m[i].ids.pgid, SIGUSR1) == 0, "kill(-%d) for member %d: %m",
		p_board->m[i].ids.pgid, i);
	for (int k = i; k < i + n; k++)
		p_await(&p_board->m[k].signals, 1, "a signal to a group does not arrive");
	t_sleep_ms(20);
	for (int k = 0; k < MEMBERS; k++)
		others -= (int)p_board->m[k].signals;
	t_check(others == -n, "a signal to %d processes came to %d", n, -others);
}

int main(int argc, char **argv)
{
	int gone, zombie, led, pid[4];
	siginfo_t info;

	t_start();
	p_start();
	if (argc == 2 && strcmp(argv[1], "subreaper") == 0) {
		t_sys(prctl(PR_SET_CHILD_SUBREAPER, 1));
		orphan_flag = 0;
	}
	pid[0] = start(JOB1, 0);
	pid[1] = start(JOB1_MATE, pid[0]);
	pid[2] = start(JOB2, 0);
	gone = dead_leader();
	led = start(LEADERLESS, gone);
	pid[3] = start(LEADERLESS_MATE, gone);
	t_sys(kill(gone, SIGKILL));
	t_sys(waitpid(gone, NULL, 0));
	zombie = dead_leader();
	int zled = start(ZOMBIE_LED, zombie);
	t_sys(kill(zombie, SIGKILL));
	t_sys(waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT));
	int ses = session();
	lose(become_daemon, DAEMON);
	lose(become_orphan, ORPHAN);
	p_all_ready(MEMBERS);
	struct p_ids mine = p_ids();
	t_ready();
	t_check(getpid() == mine.pid && getpgrp() == mine.pgid && getsid(0) == mine.sid,
		"the root was %d in group %d of session %d, is %d %d %d", mine.pid, mine.pgid,
		mine.sid, getpid(), getpgrp(), getsid(0));
	signal_group(JOB1, 2);
	signal_group(JOB2, 1);
	signal_group(LEADERLESS, 2);
	signal_group(ZOMBIE_LED, 1);
	signal_group(SESSION, 2);
	signal_group(SESSION_JOB, 1);
	signal_group(DAEMON, 2);
	t_check(getsid(p_board->m[DAEMON].ids.pid) == p_board->m[DAEMON].ids.sid &&
			p_board->m[DAEMON].ids.sid != mine.sid,
		"the daemon is not in its session");
	p_go();
	p_reap(pid[0], p_status(JOB1));
	p_reap(pid[1], p_status(JOB1_MATE));
	p_reap(pid[2], p_status(JOB2));
	p_reap(led, p_status(LEADERLESS));
	p_reap(pid[3], p_status(LEADERLESS_MATE));
	p_reap(zled, p_status(ZOMBIE_LED));
	p_reap(ses, p_status(SESSION));
	t_check(waitpid(-zombie, NULL, WNOHANG) == zombie, "the zombie has left its group");
	if (!orphan_flag) {
		p_reap(p_board->m[DAEMON].ids.pid, 0);
		p_reap(p_board->m[ORPHAN].ids.pid, 0);
		p_reap(p_board->m[SESSION_ORPHAN].ids.pid, 0);
	}
	t_check(waitpid(-1, NULL, WNOHANG) < 0, "there are more children than were made");
	for (int i = 0; i < MEMBERS; i++)
		p_await(&p_board->m[i].verified, 1, "a member has not verified its ids");
	t_done();
}
