/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may set what, and how far: each assignment passes here, and so do the demands of a job.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"

static unsigned by(enum ckpti_config_source source)
{
	switch (source) {
	case CKPTI_CONFIG_SITE:
		return CKPTI_BY_SITE;
	case CKPTI_CONFIG_USER:
		return CKPTI_BY_USER;
	case CKPTI_CONFIG_JOB:
		return CKPTI_BY_JOB;
	case CKPTI_CONFIG_DEFAULT:
	default:
		return 0;
	}
}

static int check_may(const struct ckpti_key *key, enum ckpti_config_source source,
		     struct ckpti_err *err)
{
	static const char *const who[] = {
		[CKPTI_BY_SITE] = "the site's file",
		[CKPTI_BY_USER] = "the user's file",
		[CKPTI_BY_SITE | CKPTI_BY_USER] = "the files of site and user",
		[CKPTI_BY_USER | CKPTI_BY_JOB] = "the user's file and options of the job",
	};
	unsigned all = CKPTI_BY_SITE | CKPTI_BY_USER | CKPTI_BY_JOB;

	if (key->flags & by(source))
		return 0;
	return ckpti_err(err, -EPERM, "%s: can be set in %s only", key->name,
			 who[key->flags & all]);
}

const struct ckpti_config_origin *ckpti_config_origin(const struct ckpti_config *c,
						      const char *name)
{
	const struct ckpti_key *key;

	for (size_t i = 0; (key = ckpti_schema_key(i)); i++) {
		if (strcmp(key->name, name) == 0)
			return &c->origin[i];
	}
	return NULL;
}

/* A single value (not a list) that may not exceed the site's, which is in *c still. */
static int check_ceiling(const struct ckpti_config *c, const struct ckpti_key *key,
			 const char *text, struct ckpti_err *err)
{
	struct ckpti_config v = {0};
	struct ckpti_err ignored = {.code = 0};

	/* What cannot be read is told by the assignment itself. */
	if (ckpti_value_parse(key, text, &v, &ignored) < 0 ||
	    ckpti_value_number(key, &v) <= ckpti_value_number(key, c))
		return 0;
	return ckpti_err(err, -ERANGE, "%s: '%.60s' is more than the site allows (%s:%u)",
			 key->name, text, c->site_path, c->origin[ckpti_schema_number(key)].line);
}

int ckpti_config_assign(struct ckpti_config *c, const struct ckpti_key *key, const char *text,
			const struct ckpti_config_origin *from, bool first, struct ckpti_err *err)
{
	struct ckpti_config_origin *origin = &c->origin[ckpti_schema_number(key)];
	struct ckpti_err detail = {.code = 0};
	int r;

	r = check_may(key, from->source, err);
	if (r == 0 && (key->flags & CKPTI_CEILING) && origin->source == CKPTI_CONFIG_SITE)
		r = check_ceiling(c, key, text, err);
	if (r < 0)
		return r;
	if (first && ckpti_value_is_list(key))
		ckpti_value_clear(key, c);
	if (text) {
		r = ckpti_value_parse(key, text, c, &detail);
		if (r < 0)
			return ckpti_err(err, r, "%s: %s", key->name, detail.text);
	}
	if (first || origin->source != from->source)
		*origin = *from;
	return 0;
}

/* "FILE:LINE:COLUMN: " of the value to blame, "" when no file has it. */
static const char *place(const struct ckpti_config *c, const char *key, char *ret, size_t size)
{
	const struct ckpti_config_origin *o = ckpti_config_origin(c, key);

	if (o->source != CKPTI_CONFIG_SITE && o->source != CKPTI_CONFIG_USER)
		return "";
	(void)snprintf(ret, size,
		       "%s:%u:%u: ", o->source == CKPTI_CONFIG_SITE ? c->site_path : c->user_path,
		       o->line, o->column);
	return ret;
}

static int check_interval(const struct ckpti_config *c, uint64_t interval, const char *what,
			  struct ckpti_err *err)
{
	char have[CKPTI_SECONDS_SIZE], min[CKPTI_SECONDS_SIZE];

	if (interval >= c->min_interval)
		return 0;
	return ckpti_err(err, -ERANGE,
			 "%sinterval: %s is shorter than the site allows, min_interval is %s", what,
			 ckpti_seconds_text(interval, have),
			 ckpti_seconds_text(c->min_interval, min));
}

static int check_keep(const struct ckpti_config *c, unsigned keep, const char *what,
		      struct ckpti_err *err)
{
	if (keep <= c->max_keep)
		return 0;
	return ckpti_err(err, -ERANGE,
			 "%s"
			 "keep: %u is more than the site allows, max_keep is %u",
			 what, keep, c->max_keep);
}

int ckpti_config_check(const struct ckpti_config *c, struct ckpti_err *err)
{
	char at[256], time[CKPTI_SECONDS_SIZE];
	const char *key;
	int r;

	r = check_interval(c, c->interval, place(c, "interval", at, sizeof(at)), err);
	if (r == 0)
		r = check_keep(c, c->keep, place(c, "keep", at, sizeof(at)), err);
	if (r < 0)
		return r;
	/* Of two that do not go together the one that was set is to blame. */
	if (c->silence < 2 * c->heartbeat) {
		key = ckpti_config_origin(c, "silence")->source ? "silence" : "heartbeat";
		return ckpti_err(err, -ERANGE, "%s%s: silence must be at least two heartbeats, %s",
				 place(c, key, at, sizeof(at)), key,
				 ckpti_seconds_text(2 * c->heartbeat, time));
	}
	if (c->fence < 2 * c->silence) {
		key = ckpti_config_origin(c, "fence")->source ? "fence" : "silence";
		return ckpti_err(err, -ERANGE, "%s%s: fence must be at least twice silence, %s",
				 place(c, key, at, sizeof(at)), key,
				 ckpti_seconds_text(2 * c->silence, time));
	}
	if (c->site_writers_count && !*c->site_writers_directory)
		return ckpti_err(err, -EINVAL, "%ssite_writers: a directory is needed as well",
				 place(c, "site_writers.count", at, sizeof(at)));
	return 0;
}

int ckpti_config_set_job(struct ckpti_config *c, const char *option, const char *name,
			 const char *value, struct ckpti_err *err)
{
	const struct ckpti_config_origin from = {.source = CKPTI_CONFIG_JOB};
	const struct ckpti_key *key = ckpti_schema_find("", name);
	struct ckpti_config v = {0}; /* the new value alone, with the site's limits beside it */
	struct ckpti_err detail = {.code = 0};
	int r;

	if (!key)
		return ckpti_err(err, -ENOENT, "%s: unknown key '%.60s'", option, name);
	r = ckpti_value_parse(key, value, &v, &detail);
	v.min_interval = c->min_interval;
	v.max_keep = c->max_keep;
	if (r == 0)
		r = check_may(key, CKPTI_CONFIG_JOB, &detail);
	if (r == 0 && strcmp(name, "interval") == 0)
		r = check_interval(&v, v.interval, "", &detail);
	if (r == 0 && strcmp(name, "keep") == 0)
		r = check_keep(&v, v.keep, "", &detail);
	ckpti_value_clear(key, &v);
	if (r == 0)
		r = ckpti_config_assign(c, key, value, &from, false, &detail);
	return r < 0 ? ckpti_err(err, r, "%s: %s", option, detail.text) : 0;
}

/* realpath() of the longest part that exists, and the rest, in which nothing leads up, behind
 * it. */
static int resolve(const char *path, char *ret)
{
	char part[PATH_MAX];
	size_t len = strlen(path), used, n;

	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(part, path, len + 1);
	while (!realpath(part, ret)) {
		if (errno != ENOENT || len <= 1)
			return -errno;
		while (len > 1 && part[len - 1] == '/')
			len--;
		while (len > 1 && part[len - 1] != '/')
			len--;
		part[len] = '\0';
	}
	used = strlen(ret);
	if (used == 1)
		used = 0; /* "/": each name brings its own */
	for (path += len; *path; path += n) {
		path += strspn(path, "/");
		n = strcspn(path, "/");
		if (n == 2 && path[0] == '.' && path[1] == '.')
			return -ENOENT; /* the parent of what does not exist */
		if (n == 0 || (n == 1 && path[0] == '.'))
			continue;
		if (used + n + 2 > PATH_MAX)
			return -ENAMETOOLONG;
		ret[used++] = '/';
		memcpy(ret + used, path, n);
		used += n;
		ret[used] = '\0';
	}
	return 0;
}

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (strcmp(dir, "/") == 0)
		return true;
	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static int check_directory(const struct ckpti_config *c, const char *directory,
			   struct ckpti_err *err)
{
	char path[PATH_MAX], dir[PATH_MAX];
	int r;

	if (c->directories.n == 0)
		return 0;
	r = resolve(directory, path);
	if (r < 0)
		return ckpti_err(err, r, "directory: %s: %s", directory, strerror(-r));
	for (size_t i = 0; i < c->directories.n; i++) {
		if (resolve(c->directories.item[i], dir) == 0 && is_below(path, dir))
			return 0;
	}
	return ckpti_err(
		err, -ERANGE,
		"directory: %.200s is not below a directory that the site allows, such as %s",
		directory, c->directories.item[0]);
}

int ckpti_config_check_job(const struct ckpti_config *c, uint64_t interval, unsigned keep,
			   const char *directory, struct ckpti_err *err)
{
	int r = interval ? check_interval(c, interval, "", err) : 0;

	if (r == 0 && keep)
		r = check_keep(c, keep, "", err);
	if (r == 0 && directory)
		r = check_directory(c, directory, err);
	return r;
}
