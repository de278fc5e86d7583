/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chkpnt and restart, as on UNICOS: thin layers over cpr.  One program, argv[0] decides.  Exit status
 * is 0 or 1, as it was there; `restart` returns when the programs run, unless -w asks it to wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *self; /* "chkpnt" or "restart" */

static int usage(void)
{
	if (strcmp(self, "restart") == 0)
		(void)fprintf(stderr, "usage: restart [-vw] [-f] DIR\n");
	else
		(void)fprintf(stderr,
			      "usage: chkpnt [-kv] -p PID | -g PGID | -s SID | -j SID -f DIR\n");
	return EXIT_FAILURE;
}

/* In a build tree beside us, in an installed one in the bin of the same prefix. */
static void find_cpr(char *ret, size_t size)
{
	static const char *const places[] = {"cpr", "../../../bin/cpr"};
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	while (n > 0 && exe[n - 1] != '/')
		n--;
	for (size_t i = 0; n > 0 && i < sizeof(places) / sizeof(places[0]); i++) {
		(void)snprintf(ret, size, "%.*s%s", (int)n, exe, places[i]);
		if (access(ret, X_OK) == 0)
			return;
	}
	(void)snprintf(ret, size, "%s", CKPT_BINDIR "/cpr");
}

static int cannot_run(const char *cpr)
{
	(void)fprintf(stderr, "%s: %s: %s\n", self, cpr, strerror(errno));
	return EXIT_FAILURE;
}

/* Runs cpr and turns its five exit statuses into two. */
static int run(const char *cpr, const char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return cannot_run(cpr);
	if (pid == 0) {
		(void)execv(cpr, (char *const *)(uintptr_t)argv);
		_exit(cannot_run(cpr));
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return cannot_run(cpr);
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int chkpnt(const char *cpr, int argc, char **argv)
{
	const char *dir = NULL, *id = NULL, *type = "HID";
	bool end = false, verbose = false;
	char target[64];
	int c;

	while ((c = getopt(argc, argv, "P:p:g:s:j:f:kv")) != -1) {
		switch (c) {
		case 'p':
		case 'P': /* SUPER-UX */
			id = optarg;
			type = "HID";
			break;
		case 'g':
			id = optarg;
			type = "GID";
			break;
		case 's':
		case 'j': /* a job was a session there: what batch systems called it with */
			id = optarg;
			type = "SID";
			break;
		case 'f':
			dir = optarg;
			break;
		case 'k':
			end = true;
			break;
		case 'v':
			verbose = true;
			break;
		default:
			return usage();
		}
	}
	if (!dir && optind < argc)
		dir = argv[optind++];
	if (!dir || !id || optind != argc)
		return usage();
	(void)snprintf(target, sizeof(target), "%s:%s", id, type);
	return run(cpr, (const char *const[]){"cpr", verbose ? "-c" : "-qc", end ? "-k" : "-g",
					      "-p", target, "--", dir, NULL});
}

/* Starts cpr and leaves it to itself as soon as it says that the programs run. */
static int restart_and_leave(const char *cpr, const char *dir, bool verbose)
{
	char fd[16], byte;
	int ready[2], status = 0;
	ssize_t n;
	pid_t pid;

	/* Close-on-exec is set by cpr: its restored processes must not inherit the pipe. */
	if (pipe2(ready, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		return cannot_run(cpr);
	if (pid == 0) {
		(void)fcntl(ready[1], F_SETFD, 0);
		(void)snprintf(fd, sizeof(fd), "%d", ready[1]);
		(void)execl(cpr, "cpr", verbose ? "-r" : "-qr", "--api-ready", fd, "--", dir,
			    (char *)NULL);
		_exit(cannot_run(cpr));
	}
	(void)close(ready[1]);
	do
		n = read(ready[0], &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return EXIT_SUCCESS;
	(void)waitpid(pid, &status, 0); /* it has said why */
	return EXIT_FAILURE;
}

static int restart(const char *cpr, int argc, char **argv)
{
	bool wait = false, verbose = false;
	const char *dir = NULL;
	int c;

	while ((c = getopt(argc, argv, "f:vwi")) != -1) {
		switch (c) {
		case 'f':
			dir = optarg;
			break;
		case 'v':
			verbose = true;
			break;
		case 'w':
			wait = true;
			break;
		case 'i': /* SUPER-UX: interactive; everything here is */
			break;
		default:
			return usage();
		}
	}
	if (!dir && optind < argc)
		dir = argv[optind++];
	if (!dir || optind != argc)
		return usage();
	if (!wait)
		return restart_and_leave(cpr, dir, verbose);
	return run(cpr, (const char *const[]){"cpr", verbose ? "-r" : "-qr", "--", dir, NULL});
}

int main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	char cpr[PATH_MAX + 32];

	self = slash ? slash + 1 : argc > 0 ? argv[0] : "chkpnt";
	find_cpr(cpr, sizeof(cpr));
	if (strcmp(self, "restart") == 0)
		return restart(cpr, argc, argv);
	self = "chkpnt";
	return chkpnt(cpr, argc, argv);
}
