/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From files to settings: which files are believed, and in which order they count.  Whatever fails,
 * *ret is untouched: settings are never half of a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/schema.h"

#define FILE_LIMIT (1U << 20)

const char ckpti_config_site_path[] = CKPT_SITE_CONFIG;

int ckpti_config_user_path(char *ret, size_t size, struct ckpti_err *err)
{
	struct passwd pw, *found = NULL;
	char buf[4096];
	int r = getpwuid_r(geteuid(), &pw, buf, sizeof(buf), &found);

	if (!found)
		return ckpti_err(err, r ? -r : -ENOENT, "the password database has no user %u",
				 geteuid());
	r = snprintf(ret, size, "%s/.config/ckpt.yaml", pw.pw_dir);
	if (r < 0 || (size_t)r >= size)
		return ckpti_err(err, -ENAMETOOLONG, "%s: the home directory is too long",
				 pw.pw_dir);
	return 0;
}

int ckpti_config_defaults(struct ckpti_config *c, struct ckpti_err *err)
{
	const struct ckpti_key *key;
	char word[128];
	int r = 0;

	for (size_t i = 0; r == 0 && (key = ckpti_schema_key(i)); i++) {
		if (!ckpti_value_is_list(key)) {
			r = ckpti_value_parse(key, key->value, c, err);
			continue;
		}
		for (const char *p = key->value; r == 0 && *p;) {
			size_t n = strcspn(p, " ");

			(void)snprintf(word, sizeof(word), "%.*s", (int)n, p);
			r = ckpti_value_parse(key, word, c, err);
			p += n + (p[n] == ' ');
		}
	}
	c->site_path = strdup("");
	c->user_path = strdup("");
	if (!c->site_path || !c->user_path)
		return ckpti_err(err, -ENOMEM, "out of memory");
	return r;
}

void ckpti_config_free(struct ckpti_config *c)
{
	const struct ckpti_key *key;

	for (size_t i = 0; (key = ckpti_schema_key(i)); i++)
		ckpti_value_clear(key, c);
	free(c->site_path);
	free(c->user_path);
	*c = (struct ckpti_config){0};
}

static int check_trust(const char *path, const struct stat *st, enum ckpti_config_source source,
		       struct ckpti_err *err)
{
	if (!S_ISREG(st->st_mode))
		return ckpti_err(err, -EINVAL, "%s: not a regular file", path);
	if (st->st_uid != geteuid() && (source == CKPTI_CONFIG_USER || st->st_uid != 0))
		return ckpti_err(err, -EPERM, "%s: belongs to user %u, not to %s", path, st->st_uid,
				 source == CKPTI_CONFIG_USER ? "you" : "root");
	/* The bits of the group also bound what an access list gives to others. */
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return ckpti_err(err, -EPERM, "%s: others may write to it; chmod go-w helps", path);
	if (st->st_size > FILE_LIMIT)
		return ckpti_err(err, -EFBIG, "%s: larger than 1 MiB", path);
	return 0;
}

static int read_all(int fd, const char *path, char **ret, size_t *ret_len, struct ckpti_err *err)
{
	/* One byte more than is allowed: the file may have grown since its size was looked at. */
	char *buf = malloc(FILE_LIMIT + 1);
	size_t len = 0;
	ssize_t n;

	if (!buf)
		return ckpti_err(err, -ENOMEM, "%s: out of memory", path);
	do {
		n = read(fd, buf + len, FILE_LIMIT + 1 - len);
		if (n > 0)
			len += (size_t)n;
	} while ((n > 0 && len <= FILE_LIMIT) || (n < 0 && errno == EINTR));
	if (n < 0 || len > FILE_LIMIT) {
		int r = n < 0 ? ckpti_err(err, -errno, "%s: %s", path, strerror(errno))
			      : ckpti_err(err, -EFBIG, "%s: larger than 1 MiB", path);

		free(buf);
		return r;
	}
	*ret = buf;
	*ret_len = len;
	return 0;
}

/* *ret_path becomes a copy of the path when there is such a file. */
static int read_file(struct ckpti_config *c, enum ckpti_config_source source, const char *path,
		     char **ret_path, struct ckpti_err *err)
{
	struct stat st;
	char *text = NULL, *copy = NULL;
	size_t len = 0;
	int fd, r;

	/* Non-blocking: a FIFO in its place must not stop us. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0)
		return ckpti_err(err, -errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0) {
		r = ckpti_err(err, -errno, "%s: %s", path, strerror(errno));
		goto out;
	}
	r = check_trust(path, &st, source, err);
	if (r < 0)
		goto out;
	r = read_all(fd, path, &text, &len, err);
	if (r < 0)
		goto out;
	copy = strdup(path);
	if (!copy) {
		r = ckpti_err(err, -ENOMEM, "%s: out of memory", path);
		goto out;
	}
	free(*ret_path);
	*ret_path = copy;
	r = ckpti_yaml_read(c, source, path, text, len, err);
out:
	free(text);
	(void)close(fd);
	return r;
}

int ckpti_config_load(const char *site_path, const char *user_path, struct ckpti_config *ret,
		      struct ckpti_err *err)
{
	struct ckpti_config c = {0};
	int r;

	r = ckpti_config_defaults(&c, err);
	if (r == 0 && site_path)
		r = read_file(&c, CKPTI_CONFIG_SITE, site_path, &c.site_path, err);
	if (r == 0 && user_path)
		r = read_file(&c, CKPTI_CONFIG_USER, user_path, &c.user_path, err);
	if (r == 0)
		r = ckpti_config_check(&c, err);
	if (r < 0)
		ckpti_config_free(&c);
	else
		*ret = c;
	return r;
}
