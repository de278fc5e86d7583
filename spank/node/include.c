/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that no task has open and that the user wants to have saved (--checkpoint-include).  cpr saves
 * them; here it is decided which task's cpr looks for which pattern:
 *
 *   on a node-local path  every task's: one that comes back alone on another node needs them there.  At
 *                         the restart the first of a node puts them back
 *   elsewhere             one task's of the step: who makes the file `include-ROUND-HASH` in the life's
 *                         directory.  Tasks with the same working directory, and absolute patterns, make
 *                         the same one
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/procfs.h"
#include "core/supervisor.h"
#include "image/image.h"
#include "spank/lib/step.h"
#include "spank/node/node.h"
#include "state/include.h"

/* Without "//", "/./" and "/name/../", so that two ways to write a pattern are one. */
static void normalize(char *path)
{
	char *to = path;

	for (const char *from = path; *from;) {
		size_t len = strcspn(from + 1, "/");

		if (len == 0 || (len == 1 && from[1] == '.')) {
			/* nothing */
		} else if (len == 2 && from[1] == '.' && from[2] == '.') {
			while (to > path && *--to != '/')
				;
		} else {
			memmove(to, from, len + 1);
			to += len + 1;
		}
		from += len + 1;
	}
	*to = 0;
}

/* The next pattern of the list, absolute: relative ones are to the task's working directory.  False: that
 * was all. */
static bool next_pattern(const char **list, const char *cwd, char ret[CKPTI_NODE_PATTERN])
{
	char word[PATH_MAX];

	while (**list) {
		size_t len = strcspn(*list, ",");
		int r;

		(void)snprintf(word, sizeof(word), "%.*s", (int)len, *list);
		*list += len + ((*list)[len] == ',');
		if (!len)
			continue;
		r = word[0] == '/' ? snprintf(ret, CKPTI_NODE_PATTERN, "%s", word)
				   : ckpti_include_absolute(cwd, word, ret, CKPTI_NODE_PATTERN);
		if (r < 0 || r >= CKPTI_NODE_PATTERN)
			continue;
		normalize(ret);
		return true;
	}
	return false;
}

static int directory_of(const struct ckpti_task *t, char cwd[PATH_MAX])
{
	return (int)ckpti_procfs_link(ckpti_supervisor_root(t->pid), "cwd", cwd);
}

int ckpti_include_check_node(const struct ckpti_node *n, uint64_t *need, struct ckpti_err *err)
{
	char cwd[PATH_MAX], pattern[CKPTI_NODE_PATTERN];
	const char *one = pattern, *list;
	const struct ckpti_include in = {.glob = &one, .n = 1, .copy_limit = n->config.copy_limit};
	int r = 0;

	for (size_t i = 0; r == 0 && n->round.include[0] && i < n->ntasks; i++) {
		const struct ckpti_task *t = &n->task[i];

		if (!ckpti_task_live(t) || directory_of(t, cwd) < 0)
			continue;
		list = n->round.include;
		/* Elsewhere it may hang: that is for cpr. */
		while (r == 0 && next_pattern(&list, cwd, pattern))
			if (ckpti_node_is_local(n, pattern))
				r = ckpti_include_add_sizes(&in, cwd, need, err);
	}
	return r;
}

/* Has nobody else of the step taken it?  When that cannot be told the file is saved rather twice. */
static bool take(const struct ckpti_node *n, const char *pattern)
{
	char path[PATH_MAX + 64];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/" CKPTI_STEP_INCLUDE "%" PRIu64 "-%016" PRIx64,
		       n->life, n->round.number, ckpti_hash64(pattern, strlen(pattern)));
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0)
		(void)close(fd);
	return fd >= 0 || errno != EEXIST;
}

/* What earlier rounds have left. */
static void sweep(const struct ckpti_node *n)
{
	struct ckpti_step st;
	struct ckpti_err err = {.code = 0};

	if (ckpti_step_open(n->stepdir, &st, &err) < 0)
		return;
	ckpti_step_sweep_included(&st, n->epoch, n->round.number);
	ckpti_step_close(&st);
}

char **ckpti_include_of_task(const struct ckpti_node *n, const struct ckpti_task *t)
{
	char cwd[PATH_MAX], pattern[CKPTI_NODE_PATTERN];
	const char *list = n->round.include;
	char **found = calloc(strlen(list) + 2, sizeof(*found));
	bool taken = false;
	size_t k = 0;

	if (!found || !*list || directory_of(t, cwd) < 0)
		return found;
	while (next_pattern(&list, cwd, pattern)) {
		if (!ckpti_node_is_local(n, pattern)) {
			if (!take(n, pattern))
				continue;
			taken = true;
		}
		found[k] = strdup(pattern);
		k += found[k] != NULL;
	}
	if (taken) {
		sweep(n);
		(void)dprintf(STDERR_FILENO, CKPTI_NODE_NOTE CKPTI_NODE_PUTS "\n");
	}
	return found;
}

/* Each thing is told once: a file that is missing would be so at every interval. */
static bool is_news(struct ckpti_node *n, const char *text)
{
	uint64_t hash = ckpti_hash64(text, strlen(text));

	for (size_t i = 0; i < n->nnoted; i++)
		if (n->noted[i] == hash)
			return false;
	if (n->nnoted == sizeof(n->noted) / sizeof(n->noted[0]))
		return false;
	n->noted[n->nnoted++] = hash;
	return true;
}

bool ckpti_include_tell(struct ckpti_node *n, const struct ckpti_part *p)
{
	char text[4096], *line, *save = NULL;
	bool puts = false;
	ssize_t got = pread(p->errors, text, sizeof(text) - 1, 0);
	const size_t len = strlen(CKPTI_NODE_NOTE);

	text[got > 0 ? got : 0] = 0;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, CKPTI_NODE_NOTE, len) != 0)
			continue;
		if (strcmp(line + len, CKPTI_NODE_PUTS) == 0)
			puts = true;
		else if (is_news(n, line))
			ckpti_uplink_notice(n, "node %s: %s", n->host, line + len);
	}
	return puts;
}
