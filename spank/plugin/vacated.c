/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * srun, or `cpr run` of a batch script, at the end of a vacated step: what the batch script would do next belongs to the life after the
 * restart, so srun does not return to it, but waits until Slurm ends the job.
 *
 * Slurm does that with SIGTERM to all processes of the script and, when KillWait has passed, SIGKILL, to one
 * after the other.  SIGTERM does not end us: a shell that handles it would go on with the next line.  And as we may
 * be killed a moment before the shell is, those who wait for us are stopped by then.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "spank/plugin/link.h"
#include "spank/plugin/plugin.h"
#include "util/clock.h"

#define MAX_WAIT_S     86400UL
#define MAX_GENERATION 32

static bool background;

void ckpti_vacated_note(void)
{
	struct sigaction act;

	/* A script starts commands with '&' so; it does not wait for us, or does by a command of its own. */
	background = sigaction(SIGINT, NULL, &act) == 0 && act.sa_handler == SIG_IGN;
}

/* Name and parent of a process; false: it has gone. */
static bool look_up(pid_t pid, char ret_name[32], pid_t *ret_parent)
{
	char path[40], text[512], *open_paren, *close_paren;
	ssize_t n = -1;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		(void)close(fd);
	}
	if (n <= 0)
		return false;
	text[n] = '\0';
	open_paren = strchr(text, '(');
	close_paren = strrchr(text, ')');
	if (!open_paren || !close_paren || strlen(close_paren) < 5)
		return false;
	*close_paren = '\0';
	(void)snprintf(ret_name, 32, "%s", open_paren + 1);
	*ret_parent = (pid_t)strtol(close_paren + 4, NULL, 10); /* ") S PARENT" */
	return true;
}

/* The script and what is between it and us.  Nobody outside of a batch step: it has slurmstepd above. */
static void signal_those_who_wait(int number)
{
	pid_t chain[MAX_GENERATION], pid = getppid(), parent;
	char name[32];
	size_t n = 0;

	while (pid > 1 && n < MAX_GENERATION && look_up(pid, name, &parent)) {
		if (strcmp(name, "slurmstepd") == 0) {
			while (n > 0)
				(void)kill(chain[--n], number);
			return;
		}
		chain[n++] = pid;
		pid = parent;
	}
}

void ckpti_vacated_block(const char *line)
{
	char *rest;
	unsigned long seconds = strtoul(line, &rest, 10);
	int code = (int)strtol(rest, &rest, 10);
	struct timespec left;
	int64_t deadline;
	bool stopped = false;
	sigset_t all, ends;
	int number;

	if (seconds > MAX_WAIT_S)
		seconds = MAX_WAIT_S;
	deadline = ckpti_now_ms() + (int64_t)seconds * 1000;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, NULL);
	(void)sigemptyset(&ends);
	(void)sigaddset(&ends, SIGINT);
	(void)sigaddset(&ends, SIGTERM);
	while (ckpti_now_ms() < deadline) {
		left = ckpti_link_left(deadline);
		number = sigtimedwait(&ends, NULL, &left);
		if (number == SIGINT)
			break;
		if (number == SIGTERM && !background) {
			signal_those_who_wait(SIGSTOP);
			stopped = true;
		}
	}
	/* Slurm did not end the job after all. */
	if (stopped)
		signal_those_who_wait(SIGCONT);
	(void)fflush(NULL);
	_exit(code > 0 && code < 256 ? code : 1);
}
