/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See plugstack.h.  Lines are "required|optional PLUGIN ARGUMENT…" and "include GLOB", as spank(8) has them; a
 * relative GLOB begins at the directory of the file that it stands in.
 */
#include "spank/lib/plugstack.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 8 /* files that include one another would never end */
#define BLANKS    " \t\r\n"

struct search {
	const char *plugin, *key;
	char *ret;
	size_t size;
	bool found; /* the line */
};

static int look_into(struct search *s, const char *path, unsigned depth);

static int take_arguments(struct search *s, char **save)
{
	size_t len = strlen(s->key);
	const char *word;

	s->found = true;
	while ((word = strtok_r(NULL, BLANKS, save))) {
		if (strncmp(word, s->key, len) != 0 || word[len] != '=')
			continue;
		if (snprintf(s->ret, s->size, "%s", word + len + 1) >= (int)s->size)
			return -ENAMETOOLONG;
		return 0;
	}
	return -ENOENT;
}

static int include(struct search *s, const char *from, const char *pattern, unsigned depth)
{
	const char *slash = strrchr(from, '/');
	char whole[PATH_MAX];
	int r = -ENOENT;
	glob_t g;

	if (pattern[0] == '/' || !slash)
		slash = from;
	if (snprintf(whole, sizeof(whole), "%.*s%s%s", (int)(slash - from), from,
		     slash == from ? "" : "/", pattern) >= (int)sizeof(whole))
		return -ENAMETOOLONG;
	if (glob(whole, 0, NULL, &g) != 0)
		return -ENOENT; /* none */
	for (size_t i = 0; i < g.gl_pathc && !s->found && r == -ENOENT; i++)
		r = look_into(s, g.gl_pathv[i], depth + 1);
	globfree(&g);
	return r;
}

static int take_line(struct search *s, const char *path, char *line, unsigned depth)
{
	char *save, *word, *slash;

	line[strcspn(line, "#")] = '\0';
	word = strtok_r(line, BLANKS, &save);
	if (!word)
		return -ENOENT;
	if (strcmp(word, "include") == 0) {
		word = strtok_r(NULL, BLANKS, &save);
		return word ? include(s, path, word, depth) : -ENOENT;
	}
	word = strtok_r(NULL, BLANKS, &save);
	if (!word)
		return -ENOENT;
	slash = strrchr(word, '/');
	return strcmp(slash ? slash + 1 : word, s->plugin) == 0 ? take_arguments(s, &save)
								: -ENOENT;
}

static int look_into(struct search *s, const char *path, unsigned depth)
{
	FILE *file = depth < MAX_DEPTH ? fopen(path, "re") : NULL;
	char *line = NULL;
	size_t size = 0;
	int r = -ENOENT;

	if (!file)
		return depth < MAX_DEPTH ? -errno : -ELOOP;
	while (!s->found && r == -ENOENT && getline(&line, &size, file) >= 0)
		r = take_line(s, path, line, depth);
	if (ferror(file))
		r = -EIO;
	free(line);
	(void)fclose(file);
	return r;
}

int ckpti_plugstack_argument(const char *path, const char *plugin, const char *key, char *ret,
			     size_t size)
{
	struct search s = {.plugin = plugin, .key = key, .ret = ret, .size = size};

	return look_into(&s, path, 0);
}
