/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * scontrol with the word `checkpoint`, which Slurm had until 19.05.  For a folder of its own,
 * earlier in PATH than Slurm's.
 *
 * argv alone decides: with `checkpoint` as the command word ckpt-step is executed, with
 * anything else the real scontrol, with the same arguments, environment and
 * descriptors.  Nothing is opened, asked or waited for before, so that everything else is as
 * quick and as good as without us.  Not covered: the prompt of a scontrol without a command.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "spank/lib/slurm.h"
#include "spank/scontrol/options.h"

#define EXIT_NOT_FOUND 127 /* as a shell says it */

/* Index of the command word; 0: none, or the real one shall say what is wrong with the options. */
static int command_word(int argc, char **argv)
{
	static const struct option longs[] = {CKPTI_SCONTROL_LONG_OPTIONS, {0}};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+" CKPTI_SCONTROL_OPTIONS, longs, NULL)) != -1) {
		if (c == '?' || c == 'h' || c == 'V')
			return 0;
	}
	return optind < argc ? optind : 0;
}

static bool is_checkpoint(const char *word)
{
	size_t len = strlen(word);

	return len >= 2 && strncasecmp(word, "checkpoint", len) == 0;
}

/* ckpt-step is one folder above us, in a build as when installed. */
static int run_step(char **argv, int word)
{
	static const char above[] = "/../ckpt-step";
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof(above));
	char *slash;

	if (n > 0) {
		path[n] = '\0';
		slash = strrchr(path, '/');
		memcpy(slash ? slash : path, above, sizeof(above));
		for (char **a = argv + word; *a; a++)
			a[0] = a[1];
		(void)execv(path, argv);
	} else {
		(void)snprintf(path, sizeof(path), "ckpt-step");
	}
	(void)fprintf(stderr, "scontrol: cannot execute %s: %s\n", path, strerror(errno));
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct ckpti_err err = {0};
	char path[PATH_MAX];
	int word = command_word(argc, argv);

	if (word > 0 && is_checkpoint(argv[word]))
		return run_step(argv, word);
	if (ckpti_slurm_real_scontrol(path, &err) == 0) {
		(void)execv(path, argv);
		(void)ckpti_err(&err, -errno, "cannot execute %s: %s", path, strerror(errno));
	}
	(void)fprintf(stderr, "scontrol: %s\n", err.text);
	return EXIT_NOT_FOUND;
}
