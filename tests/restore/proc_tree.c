/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A tree of 100 processes: a root, 9 children, 10 grandchildren of each.  After the restart everybody
 * has its parent, every parent waits for its own children and gets their statuses, and SIGCHLD comes
 * for them only.
 */
#include "proc.h"

#define CHILDREN      9
#define GRANDCHILDREN 10

static volatile sig_atomic_t chlds;

static void on_chld(int signo)
{
	(void)signo;
	chlds++;
}

static int grandchild(int c, int g)
{
	return 1 + CHILDREN + c * GRANDCHILDREN + g;
}

static void child(int c)
{
	int pid[GRANDCHILDREN];

	chlds = 0;
	for (int g = 0; g < GRANDCHILDREN; g++) {
		pid[g] = t_sys(fork());
		if (pid[g] == 0) {
			p_live_through(grandchild(c, g), 0);
			_exit(p_status(grandchild(c, g)));
		}
	}
	p_live_through(1 + c, 0);
	for (int g = 0; g < GRANDCHILDREN; g++)
		p_reap(pid[g], p_status(grandchild(c, g)));
	t_check(waitpid(-1, NULL, WNOHANG) < 0, "there are more children than were made");
	/* Several that end at the same time make one signal. */
	t_check(chlds > 0 && chlds <= GRANDCHILDREN, "%d SIGCHLD for %d children", (int)chlds,
		GRANDCHILDREN);
	_exit(p_status(1 + c));
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_chld, .sa_flags = SA_RESTART};
	int pid[CHILDREN];

	t_start();
	p_start();
	(void)sigaction(SIGCHLD, &sa, NULL);
	for (int c = 0; c < CHILDREN; c++) {
		pid[c] = t_sys(fork());
		if (pid[c] == 0)
			child(c);
	}
	p_board->m[0].ready = 1;
	p_all_ready(1 + CHILDREN + CHILDREN * GRANDCHILDREN);
	t_ready();
	t_sleep_ms(100);
	t_check(chlds == 0, "%d SIGCHLD although nobody has ended", (int)chlds);
	t_check(waitpid(-1, NULL, WNOHANG) == 0, "a child has ended");
	p_go();
	for (int c = 0; c < CHILDREN; c++)
		p_reap(pid[c], p_status(1 + c));
	t_check(chlds > 0 && chlds <= CHILDREN, "%d SIGCHLD for %d children", (int)chlds, CHILDREN);
	t_done();
}
