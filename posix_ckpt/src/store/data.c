/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data files of the generation being written.
 *
 * A file that no generation refers to any more is rewritten in place where possible: its blocks are
 * there already, which makes writing several times as fast as into a new file.  Two things forbid it:
 * a reader that holds the shared lock (it may have mapped the old content), and a second hard link (a
 * copy that somebody made of the directory).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store_private.h"

int ckpti_store_add_file(struct ckpti_store *st, uint32_t id, int fd, const char *name,
			 uint64_t size)
{
	struct store_file *f;
	size_t cap;

	if (st->nfiles == st->files_cap) {
		cap = st->files_cap ? 2 * st->files_cap : 16;
		f = reallocarray(st->files, cap, sizeof(*f));
		if (!f) {
			close(fd);
			return -ENOMEM;
		}
		st->files = f;
		st->files_cap = cap;
	}
	f = &st->files[st->nfiles++];
	*f = (struct store_file){.id = id, .fd = fd, .size = size};
	memcpy(f->name, name, strlen(name) + 1);
	return 0;
}

void ckpti_store_drop_files(struct ckpti_store *st)
{
	while (st->nfiles > 0)
		close(st->files[--st->nfiles].fd);
}

struct store_file *ckpti_store_file_by_id(const struct ckpti_store *st, uint32_t id)
{
	size_t i;

	for (i = 0; i < st->nfiles; i++) {
		if (st->files[i].id == id && id != 0)
			return &st->files[i];
	}
	return NULL;
}

struct store_file *ckpti_store_file_by_name(const struct ckpti_store *st, const char *name)
{
	size_t i;

	for (i = 0; i < st->nfiles; i++) {
		if (strcmp(st->files[i].name, name) == 0)
			return &st->files[i];
	}
	return NULL;
}

/* A spare file with our exclusive lock, or -1. */
static int open_spare(struct ckpti_store *st, const char *name)
{
	struct stat sb;
	int fd = ckpti_store_open_ours(st, name, O_RDWR, &sb, NULL);

	if (fd < 0)
		return -1;
	if (sb.st_nlink != 1 || ckpti_store_lock_file(fd, F_WRLCK) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* fd of the best spare file, or -1; takes it off the list.  The smallest that is large enough is best,
 * else the largest. */
static int take_spare(struct ckpti_store *st, uint64_t want, char *ret_name)
{
	int fd = -1;

	while (fd < 0 && st->nspare > 0) {
		size_t i = st->nspare;

		while (--i > 0 && (uint64_t)st->spare[i].size < want)
			;
		memcpy(ret_name, st->spare[i].name, NAME_SIZE);
		fd = open_spare(st, ret_name);
		memmove(&st->spare[i], &st->spare[i + 1],
			(--st->nspare - i) * sizeof(st->spare[0]));
	}
	return fd;
}

static int make_file(struct ckpti_store *st, char *ret_name)
{
	int fd;

	do {
		ckpti_store_data_name(++st->last_data, ret_name);
		fd = openat(st->dirfd, ret_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0600);
	} while (fd < 0 && errno == EEXIST);
	if (fd < 0)
		return -errno;
	/* Against an odd umask; the lock is for symmetry with recycled files and dropped with theirs. */
	(void)fchmod(fd, 0600);
	(void)ckpti_store_lock_file(fd, F_WRLCK);
	return fd;
}

int ckpti_store_datafile(struct ckpti_store *st, uint64_t size, uint32_t *ret_id, int *ret_fd,
			 struct ckpti_err *err)
{
	uint32_t id = (uint32_t)st->nfiles + 1;
	char name[NAME_SIZE];
	int fd, r;

	if (!st->writer)
		return ckpti_err(err, -EINVAL, "'%s' is not open for writing", st->path);
	fd = take_spare(st, size, name);
	if (fd < 0)
		fd = make_file(st, name);
	if (fd < 0)
		return ckpti_store_fail(st, err, fd, "create", name);
	r = ckpti_store_add_file(st, id, fd, name, 0);
	if (r < 0) {
		(void)unlinkat(st->dirfd, name, 0);
		return ckpti_store_fail(st, err, r, "create", name);
	}
	*ret_id = id;
	*ret_fd = fd;
	return 0;
}

int ckpti_store_datafile_done(struct ckpti_store *st, uint32_t id, uint64_t size,
			      struct ckpti_err *err)
{
	struct store_file *f = ckpti_store_file_by_id(st, id);
	struct stat sb;

	if (!f)
		return ckpti_err(err, -EINVAL, "'%s' has no data file %u", st->path, id);
	if (size > INT64_MAX)
		return ckpti_store_fail(st, err, -EFBIG, "complete", f->name);
	if (fstat(f->fd, &sb) < 0 ||
	    ((uint64_t)sb.st_size != size && ftruncate(f->fd, (off_t)size) < 0))
		return ckpti_store_fail(st, err, -errno, "complete", f->name);
	f->size = size;
	f->done = true;
	return 0;
}
