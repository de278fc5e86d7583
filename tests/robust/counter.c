/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: counter [default]
 *
 * Counts the signals that it gets, in the file `counts`: a line "NUMBER COUNT" for each that has come.
 * Its waits must not be interrupted by anything else: those that were are number 0.  With `default`
 * SIGTSTP, SIGTERM and SIGSEGV keep their default action.  Ends with status 7 when the file `end` appears.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LAST 65

static volatile sig_atomic_t count[LAST];
static volatile sig_atomic_t all;

static void handler(int sig)
{
	count[sig]++;
	all++;
}

static void tell(void)
{
	FILE *f = fopen("counts.tmp", "we");

	if (!f)
		_exit(1);
	for (int sig = 0; sig < LAST; sig++)
		if (count[sig])
			(void)fprintf(f, "%d %d\n", sig, (int)count[sig]);
	if (fclose(f) != 0 || rename("counts.tmp", "counts") < 0)
		_exit(1);
}

static int wait_somehow(unsigned turn)
{
	const struct timespec time = {.tv_nsec = 30000000};

	return turn % 2 ? poll(NULL, 0, 30) : nanosleep(&time, NULL);
}

int main(int argc, char **argv)
{
	int keep = argc > 1 && strcmp(argv[1], "default") == 0;
	sig_atomic_t told = -1;

	for (int sig = 1; sig < LAST; sig++) {
		/* SIGCKPT and SIGRESTART have a meaning of their own. */
		if (sig == SIGRTMAX - 2 || sig == SIGRTMAX - 3 || sig == SIGCHLD ||
		    (keep && (sig == SIGTSTP || sig == SIGTERM || sig == SIGSEGV)))
			continue;
		(void)signal(sig, handler);
	}
	for (unsigned turn = 0; access("end", F_OK) < 0; turn++) {
		sig_atomic_t before = all;

		if (wait_somehow(turn) < 0 && errno == EINTR && all == before) {
			count[0]++;
			all++;
		}
		if (told != all) {
			told = all;
			tell();
		}
	}
	return 7;
}
