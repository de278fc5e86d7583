/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What mpirun was started with, and which generation of each rank belongs to which of the whole: one
 * small text file for each generation.
 *
 *   posix-ckpt mpirun 1
 *   cwd /home/ada
 *   arg mpirun                     one line for each, in order
 *   env HOME=/home/ada
 *   rank 17                        generation, rank 0 first
 *   sum 0123456789abcdef           XXH3 of all before this line
 *
 * Control characters and % are written as %XX.  The file says what to execute, so neither it nor its
 * directory may be writable for anybody else.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "mpirun.h"

#define PREFIX   "mpirun-"
#define HEAD     "posix-ckpt mpirun 1\n"
#define MAX_FILE (64UL << 20)

static void file_name(char *ret, size_t size, uint64_t generation)
{
	(void)snprintf(ret, size, PREFIX "%08" PRIu64, generation);
}

/* 0: another kind of file. */
static uint64_t number_of(const char *name)
{
	char *end;
	uint64_t n;

	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0 || !isdigit(name[strlen(PREFIX)]))
		return 0;
	n = strtoull(name + strlen(PREFIX), &end, 10);
	return *end ? 0 : n;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int ckpti_mpirun_list(const char *dir, uint64_t **ret, size_t *ret_n, struct ckpti_err *err)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	uint64_t *bigger;

	*ret = NULL;
	*ret_n = 0;
	if (!d)
		return ckpti_err(err, -errno, "'%s': %s", dir, strerror(errno));
	while ((e = readdir(d))) {
		if (!number_of(e->d_name))
			continue;
		bigger = realloc(*ret, (*ret_n + 1) * sizeof(**ret));
		if (!bigger)
			break;
		*ret = bigger;
		(*ret)[(*ret_n)++] = number_of(e->d_name);
	}
	(void)closedir(d);
	if (*ret)
		qsort(*ret, *ret_n, sizeof(**ret), compare);
	return e ? ckpti_err(err, -ENOMEM, "no memory for the list of '%s'", dir) : 0;
}

bool ckpti_mpirun_is_dir(const char *dir)
{
	char *rank0 = ckpti_mpirun_rank_dir(dir, 0);
	uint64_t *gens = NULL;
	size_t n = 0;
	bool ret = ckpti_mpirun_list(dir, &gens, &n, NULL) == 0 && n > 0;

	/* Before the first is complete, and when a removal was interrupted, there are only statefiles. */
	ret |= rank0 && access(rank0, F_OK) == 0;
	free(rank0);
	free(gens);
	return ret;
}

char *ckpti_mpirun_rank_dir(const char *dir, size_t rank)
{
	char *path = NULL;

	return asprintf(&path, "%s/rank-%zu", dir, rank) < 0 ? NULL : path;
}

static void free_words(char **words)
{
	for (size_t i = 0; words && words[i]; i++)
		free(words[i]);
	free(words);
}

void ckpti_mpirun_record_free(struct ckpti_mpirun_record *rec)
{
	free(rec->cwd);
	free(rec->rank);
	free_words(rec->args);
	free_words(rec->env);
	memset(rec, 0, sizeof(*rec));
}

/* ---- reading ------------------------------------------------------------------------------ */

static char *unescape(const char *s)
{
	char *ret = malloc(strlen(s) + 1), *to = ret;
	unsigned value;

	for (; ret && *s; s++) {
		if (*s == '%' && sscanf(s + 1, "%2x", &value) == 1 && isxdigit(s[2])) {
			*to++ = (char)value;
			s += 2;
		} else {
			*to++ = *s;
		}
	}
	if (ret)
		*to = '\0';
	return ret;
}

static int add_word(char ***words, const char *text)
{
	size_t n = 0;
	char **bigger;

	while (*words && (*words)[n])
		n++;
	bigger = realloc(*words, (n + 2) * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	*words = bigger;
	bigger[n] = unescape(text);
	bigger[n + 1] = NULL;
	return bigger[n] ? 0 : -ENOMEM;
}

static int add_rank(struct ckpti_mpirun_record *rec, const char *text)
{
	uint64_t *bigger = realloc(rec->rank, (rec->nranks + 1) * sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	rec->rank = bigger;
	bigger[rec->nranks++] = strtoull(text, NULL, 10);
	return bigger[rec->nranks - 1] && rec->nranks <= CKPTI_MPIRUN_MAX ? 0 : -EBADMSG;
}

static int set_text(char **ret, const char *text)
{
	if (*ret)
		return -EBADMSG;
	*ret = unescape(text);
	return *ret ? 0 : -ENOMEM;
}

static int parse_line(struct ckpti_mpirun_record *rec, char *line)
{
	char *value = strchr(line, ' ');

	if (!value)
		return -EBADMSG;
	*value++ = '\0';
	if (strcmp(line, "cwd") == 0)
		return set_text(&rec->cwd, value);
	if (strcmp(line, "arg") == 0)
		return add_word(&rec->args, value);
	if (strcmp(line, "env") == 0)
		return add_word(&rec->env, value);
	if (strcmp(line, "rank") == 0)
		return add_rank(rec, value);
	return -EBADMSG;
}

static int parse(struct ckpti_mpirun_record *rec, char *text)
{
	char *sum = strstr(text, "\nsum "), *next, *line;
	int r = 0;

	if (strncmp(text, HEAD, strlen(HEAD)) != 0 || !sum)
		return -EBADMSG;
	sum++;
	if (strtoull(sum + 4, NULL, 16) != ckpti_hash64(text, (size_t)(sum - text)))
		return -EBADMSG;
	*sum = '\0';
	for (line = text + strlen(HEAD); r == 0 && *line; line = next) {
		next = strchr(line, '\n'); /* there is one: that in front of sum */
		*next++ = '\0';
		r = parse_line(rec, line);
	}
	if (r == 0 && (!rec->cwd || !rec->args || !rec->env || !rec->nranks))
		r = -EBADMSG;
	return r;
}

/* Only ours, and nobody else may have written to it. */
static int check_owner(int fd, const char *path, struct ckpti_err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return ckpti_err(err, -errno, "'%s': %s", path, strerror(errno));
	if (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
		return ckpti_err(err, -EPERM,
				 "'%s' belongs to another user, or others may write to it", path);
	return 0;
}

int ckpti_mpirun_check_dir(const char *dir, struct ckpti_err *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd < 0)
		return ckpti_err(err, -errno, "'%s': %s", dir, strerror(errno));
	r = check_owner(fd, dir, err);
	(void)close(fd);
	return r;
}

static int read_text(int dirfd, const char *name, char **ret)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	ssize_t n;
	int r = 0;

	*ret = NULL;
	if (fd < 0)
		return -errno;
	if (check_owner(fd, name, NULL) < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (unsigned long)st.st_size > MAX_FILE)
		r = -EBADMSG;
	if (r == 0) {
		*ret = calloc(1, (size_t)st.st_size + 1);
		n = *ret ? read(fd, *ret, (size_t)st.st_size) : -1;
		if (n != st.st_size)
			r = n < 0 ? -errno : -EBADMSG;
	}
	(void)close(fd);
	return r;
}

static int load_one(int dirfd, uint64_t generation, struct ckpti_mpirun_record *ret)
{
	char name[40], *text;
	int r;

	file_name(name, sizeof(name), generation);
	r = read_text(dirfd, name, &text);
	if (r == 0)
		r = parse(ret, text);
	free(text);
	if (r < 0)
		ckpti_mpirun_record_free(ret);
	ret->generation = generation;
	return r;
}

int ckpti_mpirun_load(const char *dir, uint64_t generation, struct ckpti_mpirun_record *ret,
		      struct ckpti_err *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	uint64_t *gens = NULL;
	size_t n = 0;

	memset(ret, 0, sizeof(*ret));
	if (fd < 0)
		return ckpti_err(err, -errno, "'%s': %s", dir, strerror(errno));
	r = check_owner(fd, dir, err);
	if (r == 0)
		r = ckpti_mpirun_list(dir, &gens, &n, err);
	if (r < 0)
		goto out;
	r = -ENODATA;
	/* A damaged one is passed over, unless it was asked for. */
	for (size_t i = n; i > 0 && r < 0; i--)
		if (!generation || gens[i - 1] == generation)
			r = load_one(fd, gens[i - 1], ret);
	if (r == -ENODATA && n == 0)
		r = ckpti_err(err, r, "'%s': no complete checkpoint", dir);
	else if (r == -ENODATA)
		r = ckpti_err(err, r, "'%s' has no generation %" PRIu64, dir, generation);
	else if (r == -EBADMSG)
		r = ckpti_err(err, r, "'%s': the record of mpirun is damaged", dir);
	else if (r < 0)
		r = ckpti_err(err, r, "'%s': cannot read the record of mpirun: %s", dir,
			      strerror(-r));
out:
	free(gens);
	(void)close(fd);
	return r;
}

/* ---- writing ------------------------------------------------------------------------------ */

static void put(FILE *f, const char *key, const char *value)
{
	(void)fprintf(f, "%s ", key);
	for (const unsigned char *p = (const unsigned char *)value; *p; p++)
		(void)fprintf(f, *p < ' ' || *p == '%' || *p == 0x7f ? "%%%02x" : "%c", *p);
	(void)fputc('\n', f);
}

static char *compose(const struct ckpti_mpirun_record *rec)
{
	char *text = NULL, *whole = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	(void)fputs(HEAD, f);
	put(f, "cwd", rec->cwd);
	for (char **word = rec->args; *word; word++)
		put(f, "arg", *word);
	for (char **word = rec->env; *word; word++)
		put(f, "env", *word);
	for (size_t i = 0; i < rec->nranks; i++)
		(void)fprintf(f, "rank %" PRIu64 "\n", rec->rank[i]);
	if (fclose(f) == 0 &&
	    asprintf(&whole, "%ssum %016" PRIx64 "\n", text, ckpti_hash64(text, size)) < 0)
		whole = NULL;
	free(text);
	return whole;
}

int ckpti_mpirun_save(const char *dir, const struct ckpti_mpirun_record *rec, struct ckpti_err *err)
{
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1, r = 0;
	char name[40], *text = compose(rec);
	size_t len = text ? strlen(text) : 0;

	file_name(name, sizeof(name), rec->generation);
	if (!text)
		r = -ENOMEM;
	else if (dirfd < 0)
		r = -errno;
	if (r == 0)
		fd = openat(dirfd, "new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			    0600);
	if (r == 0 && (fd < 0 || write(fd, text, len) != (ssize_t)len || fsync(fd) < 0 ||
		       renameat(dirfd, "new", dirfd, name) < 0 || fsync(dirfd) < 0))
		r = errno ? -errno : -ENOSPC;
	if (fd >= 0)
		(void)close(fd);
	if (dirfd >= 0)
		(void)close(dirfd);
	free(text);
	return r < 0 ? ckpti_err(err, r, "'%s/%s': %s", dir, name, strerror(-r)) : 0;
}

int ckpti_mpirun_drop(const char *dir, uint64_t generation)
{
	char name[40], *path = NULL;
	int r;

	file_name(name, sizeof(name), generation);
	if (asprintf(&path, "%s/%s", dir, name) < 0)
		return -ENOMEM;
	r = unlink(path) < 0 ? -errno : 0;
	free(path);
	return r;
}

/* Links to files that the ranks had. */
static void remove_pins(int dirfd)
{
	int fd = openat(dirfd, "pins", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (strncmp(e->d_name, "pin", 3) == 0)
			(void)unlinkat(fd, e->d_name, 0);
	if (d)
		(void)closedir(d);
	(void)unlinkat(dirfd, "pins", AT_REMOVEDIR);
}

static int remove_ranks(const char *dir, struct ckpti_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < CKPTI_MPIRUN_MAX; i++) {
		char *path = ckpti_mpirun_rank_dir(dir, i);
		bool there = path && access(path, F_OK) == 0;

		if (there)
			r = ckpti_store_remove(path, err);
		free(path);
		if (!there)
			break;
	}
	return r;
}

int ckpti_mpirun_remove(const char *dir, struct ckpti_err *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	uint64_t *gens = NULL;
	size_t n = 0;

	if (fd < 0)
		return ckpti_err(err, -errno, "'%s': %s", dir, strerror(errno));
	r = check_owner(fd, dir, err);
	if (r == 0)
		r = ckpti_mpirun_list(dir, &gens, &n, err);
	/* Records first: what is left of a removal that was interrupted is no checkpoint. */
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = ckpti_mpirun_drop(dir, gens[i]);
		if (r < 0)
			(void)ckpti_err(err, r, "'%s': %s", dir, strerror(-r));
	}
	if (r == 0)
		r = remove_ranks(dir, err);
	if (r == 0) {
		remove_pins(fd);
		(void)unlinkat(fd, "new", 0);
		(void)unlinkat(fd, "lock", 0);
		if (rmdir(dir) < 0)
			r = ckpti_err(err, -errno, "'%s': %s", dir, strerror(errno));
	}
	(void)close(fd);
	free(gens);
	return r;
}
