/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpr: checkpoint and restart of running programs.  Start reading here: the table of commands, and
 * what holds for all of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

const struct ckpti_cmd ckpti_cmds[CKPTI_VERB_COUNT] = {
	[CKPTI_VERB_CREATE] = {"create", 'c', ckpti_cmd_create, "DIR -p ID[:TYPE],...",
			       "Checkpoint processes into DIR"},
	[CKPTI_VERB_RESTART] = {"restart", 'r', ckpti_cmd_restart, "DIR",
				"Restart what DIR holds and wait for its end"},
	[CKPTI_VERB_INFO] = {"info", 'i', ckpti_cmd_info, "DIR...", "Show what DIR holds"},
	[CKPTI_VERB_REMOVE] = {"delete", 'D', ckpti_cmd_remove, "DIR...",
			       "Delete checkpoint directories"},
	[CKPTI_VERB_RUN] = {"run", 0, ckpti_cmd_run, "[--] COMMAND [ARG...]",
			    "Run COMMAND so that it can be checkpointed"},
	[CKPTI_VERB_VERIFY] = {"verify", 0, ckpti_cmd_verify, "DIR...",
			       "Check every checksum of a checkpoint"},
	[CKPTI_VERB_CHECK] = {"check", 0, ckpti_cmd_check, "[PID]",
			      "Say what can be checkpointed here, or whether PID can"},
	[CKPTI_VERB_STATUS] = {"status", 0, ckpti_cmd_status, "",
			       "List the running programs that can be checkpointed"},
};

/* A standard descriptor that is closed would be taken by the first file opened, and messages would
 * then be written into that. */
static int fill_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* NOLINTNEXTLINE(android-cloexec-open): as any standard descriptor */
		if (open("/dev/null", O_RDWR) != fd)
			return -errno;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct ckpti_cmd_opts o;
	int status, r;

	/* It obeys its environment and writes where it is told: never with somebody else's rights. */
	if (geteuid() != getuid() || getegid() != getgid()) {
		(void)fprintf(stderr,
			      "cpr: refused: must not be installed set-user-ID or set-group-ID\n");
		return CKPTI_EXIT_REFUSED;
	}
	if (argc > 1 && strcmp(argv[1], "--complete") == 0) {
		ckpti_opts_complete(argc - 2, argv + 2);
		return CKPTI_EXIT_OK;
	}
	if (argc > 0)
		argv[0] = program_invocation_short_name; /* getopt() would print the path */
	ckpti_opts_parse(argc, argv, &o);
	if (o.verb != CKPTI_VERB_RUN && fill_standard_fds() < 0)
		return CKPTI_EXIT_FAILED;

	status = ckpti_cmds[o.verb].fn(&o);
	ckpti_opts_free(&o);
	/* A full disk or a closed pipe at the very end must not look like success. */
	r = ferror(stdout) ? -EIO : 0;
	if (fclose(stdout) != 0)
		r = -errno;
	if (r < 0 && status == CKPTI_EXIT_OK) {
		(void)fprintf(stderr, "cpr: writing the output: %s\n", strerror(-r));
		status = CKPTI_EXIT_FAILED;
	}
	return status;
}
