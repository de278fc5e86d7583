/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DIR/hashes: content hashes of mapped files, so that libraries are not read again for every
 * generation.  A line for each file, the last line is the hash of all before it; a file that does not
 * end so is ignored.  Nothing depends on the cache: losing it costs time only.
 *
 * A file is recognised by device, inode, size, mtime and ctime.  One that changed less than two
 * seconds ago is not entered: a second change within the granularity of its time stamps would go
 * unnoticed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/store_private.h"

#define MAGIC_LINE "ckpt-hashes 1\n"
#define END_FORMAT "end %016" PRIx64 "\n"
#define END_SIZE   21
#define MAX_SIZE   (8 << 20)
#define SETTLED_NS (2 * INT64_C(1000000000))

static int64_t to_ns(const struct timespec *ts)
{
	return (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec;
}

static struct store_hash from_stat(const struct stat *sb)
{
	return (struct store_hash){
		.dev = sb->st_dev,
		.ino = sb->st_ino,
		.size = (uint64_t)sb->st_size,
		.mtime_ns = to_ns(&sb->st_mtim),
		.ctime_ns = to_ns(&sb->st_ctim),
	};
}

static int append(struct ckpti_store *st, const struct store_hash *h)
{
	struct store_hash *p;
	size_t cap;

	if (st->nhashes == st->hashes_cap) {
		cap = st->hashes_cap ? 2 * st->hashes_cap : 64;
		p = reallocarray(st->hashes, cap, sizeof(*p));
		if (!p)
			return -ENOMEM;
		st->hashes = p;
		st->hashes_cap = cap;
	}
	st->hashes[st->nhashes++] = *h;
	return 0;
}

/* The next number of *p in `base`, with the white space before it; clears *ok when there is none. */
static uint64_t number(char **p, int base, bool *ok)
{
	char *end = *p;
	uint64_t n;

	errno = 0;
	n = strtoull(*p, &end, base);
	*ok = *ok && errno == 0 && end != *p;
	*p = end;
	return n;
}

/* text is the whole file with a NUL behind it. */
static void parse(struct ckpti_store *st, char *text, size_t len)
{
	struct store_hash h;
	bool ok = true;
	uint64_t end;
	char *p;

	if (len < strlen(MAGIC_LINE) + END_SIZE ||
	    strncmp(text, MAGIC_LINE, strlen(MAGIC_LINE)) != 0)
		return;
	p = text + len - END_SIZE;
	if (strncmp(p, "end ", 4) != 0)
		return;
	p += 4;
	end = number(&p, 16, &ok);
	if (!ok || end != ckpti_hash64(text, len - END_SIZE))
		return;
	text[len - END_SIZE] = '\0';
	for (p = text + strlen(MAGIC_LINE); *p; p += *p == '\n') {
		memset(&h, 0, sizeof(h));
		h.dev = number(&p, 10, &ok);
		h.ino = number(&p, 10, &ok);
		h.size = number(&p, 10, &ok);
		h.mtime_ns = (int64_t)number(&p, 10, &ok);
		h.ctime_ns = (int64_t)number(&p, 10, &ok);
		h.hash[0] = number(&p, 16, &ok);
		h.hash[1] = number(&p, 16, &ok);
		if (!ok || append(st, &h) < 0)
			return;
	}
}

static void read_cache(struct ckpti_store *st)
{
	char *text = NULL;
	struct stat sb;
	int fd;

	st->hashes_read = true;
	fd = ckpti_store_open_ours(st, HASHES_FILE, O_RDONLY, &sb, NULL);
	if (fd < 0)
		return;
	if (sb.st_size > 0 && sb.st_size <= MAX_SIZE)
		text = calloc(1, (size_t)sb.st_size + 1);
	if (text && ckpti_store_read_at(fd, text, (size_t)sb.st_size, 0) == 0)
		parse(st, text, (size_t)sb.st_size);
	free(text);
	close(fd);
}

int ckpti_store_cache_get(struct ckpti_store *st, const struct stat *sb, uint64_t ret_hash[2])
{
	struct store_hash key = from_stat(sb), *h;
	size_t i;

	if (!st->hashes_read)
		read_cache(st);
	for (i = 0; i < st->nhashes; i++) {
		h = &st->hashes[i];
		if (h->ino == key.ino && h->dev == key.dev && h->size == key.size &&
		    h->mtime_ns == key.mtime_ns && h->ctime_ns == key.ctime_ns) {
			ret_hash[0] = h->hash[0];
			ret_hash[1] = h->hash[1];
			h->used = true;
			return 1;
		}
	}
	return 0;
}

void ckpti_store_cache_put(struct ckpti_store *st, const struct stat *sb, const uint64_t hash[2])
{
	struct store_hash h = from_stat(sb);
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (to_ns(&now) - h.ctime_ns < SETTLED_NS || to_ns(&now) - h.mtime_ns < SETTLED_NS)
		return;
	h.hash[0] = hash[0];
	h.hash[1] = hash[1];
	h.used = true;
	if (append(st, &h) == 0)
		st->hashes_changed = true;
}

/* Write what this generation used.  Not synced: a torn file is recognised. */
void ckpti_store_cache_save(struct ckpti_store *st)
{
	char *text = NULL;
	size_t len = 0, i;
	FILE *f;
	int fd;

	if (!st->hashes_changed)
		return;
	f = open_memstream(&text, &len);
	if (!f)
		return;
	(void)fputs(MAGIC_LINE, f);
	for (i = 0; i < st->nhashes; i++) {
		const struct store_hash *h = &st->hashes[i];

		if (h->used)
			(void)fprintf(f,
				      "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64
				      " %016" PRIx64 " %016" PRIx64 "\n",
				      h->dev, h->ino, h->size, h->mtime_ns, h->ctime_ns, h->hash[0],
				      h->hash[1]);
	}
	if (fflush(f) == 0)
		(void)fprintf(f, END_FORMAT, ckpti_hash64(text, len));
	if (fclose(f) != 0)
		goto out;
	fd = openat(st->dirfd, HASHES_TEMP, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		goto out;
	if (ckpti_store_write_all(fd, text, len) < 0 ||
	    renameat(st->dirfd, HASHES_TEMP, st->dirfd, HASHES_FILE) < 0)
		(void)unlinkat(st->dirfd, HASHES_TEMP, 0);
	close(fd);
out:
	free(text);
}
