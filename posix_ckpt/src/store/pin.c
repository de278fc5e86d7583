/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mapped files, pinned by content: the image records the hash of each, and on request the directory
 * keeps a copy under that hash, once for all generations.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "store/store_private.h"

/* For messages: what fd is, "" when that cannot be told. */
static const char *describe(int fd, char *buf, size_t size)
{
	char link[64];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buf, size - 1);
	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int hash_file(struct ckpti_store *st, int fd, uint64_t ret_hash[2], struct stat *ret_st,
		     struct ckpti_err *err)
{
	char path[PATH_MAX];
	struct stat after = {0};
	uint64_t size = 0;
	int r;

	if (fstat(fd, ret_st) < 0)
		return ckpti_err(err, -errno, "cannot examine the mapped file '%s': %s",
				 describe(fd, path, sizeof(path)), strerrordesc_np(errno));
	if (ckpti_store_cache_get(st, ret_st, ret_hash))
		return 0;
	r = ckpti_store_hash_fd(fd, ret_hash, &size);
	if (r == 0 && fstat(fd, &after) < 0)
		r = -errno;
	if (r < 0)
		return ckpti_err(err, r, "cannot read the mapped file '%s': %s",
				 describe(fd, path, sizeof(path)), strerrordesc_np(-r));
	if (!same_file(ret_st, &after) || size != (uint64_t)after.st_size)
		return ckpti_err(err, -ESTALE, "the mapped file '%s' changed while it was read",
				 describe(fd, path, sizeof(path)));
	ckpti_store_cache_put(st, ret_st, ret_hash);
	return 0;
}

/* Copy fd from offset 0 to `to`, hashing what is written. */
static int copy_bytes(int fd, int to, uint64_t ret_hash[2])
{
	struct ckpti_hasher *h = ckpti_hasher_new();
	char *buf = malloc(IO_CHUNK);
	off_t off = 0;
	ssize_t n;
	int r = -ENOMEM;

	if (!h || !buf)
		goto out;
	for (r = 0; r == 0;) {
		n = pread(fd, buf, IO_CHUNK, off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			r = n < 0 ? -errno : 0;
			break;
		}
		r = ckpti_store_write_all(to, buf, (size_t)n);
		ckpti_hasher_update(h, buf, (size_t)n);
		off += n;
	}
out:
	ckpti_hasher_free(h, r == 0 ? ret_hash : NULL);
	free(buf);
	return r;
}

/* The copy appears under its name complete and on disk, or not at all. */
static int keep_copy(struct ckpti_store *st, int fd, const uint64_t hash[2], const char *name,
		     struct ckpti_err *err)
{
	uint64_t copied[2] = {0, 0}, size;
	char path[PATH_MAX];
	struct stat sb;
	int to, r;

	/* What is left over may be a link to a pin that others use: it must not be written to. */
	(void)unlinkat(st->dirfd, PIN_TEMP, 0);
	to = openat(st->dirfd, PIN_TEMP, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return ckpti_store_fail(st, err, -errno, "create", PIN_TEMP);
	/* Sharing blocks costs nothing where the file system can do it. */
	if (ioctl(to, FICLONE, fd) == 0)
		r = ckpti_store_hash_fd(to, copied, &size);
	else
		r = copy_bytes(fd, to, copied);
	/* A restart may have to execute it. */
	if (r == 0 && fstat(fd, &sb) == 0 && (sb.st_mode & 0111) && fchmod(to, 0700) < 0)
		r = -errno;
	if (r == 0 && fsync(to) < 0)
		r = -errno;
	if (r < 0) {
		(void)ckpti_store_fail(st, err, r, "write", name);
		goto out;
	}
	if (copied[0] != hash[0] || copied[1] != hash[1]) {
		r = ckpti_err(err, -ESTALE, "the mapped file '%s' changed while it was copied",
			      describe(fd, path, sizeof(path)));
		goto out;
	}
	r = ckpti_names_add(&st->pins, name);
	if (r == 0 && renameat(st->dirfd, PIN_TEMP, st->dirfd, name) < 0)
		r = -errno;
	if (r < 0)
		(void)ckpti_store_fail(st, err, r, "write", name);
out:
	if (r < 0)
		(void)unlinkat(st->dirfd, PIN_TEMP, 0);
	close(to);
	return r;
}

int ckpti_store_pin(struct ckpti_store *st, int fd, int copy, uint64_t ret_hash[2], char *ret_name,
		    struct ckpti_err *err)
{
	struct stat sb = {0}, have = {0};
	uint64_t hash[2] = {0, 0};
	char name[NAME_SIZE];
	bool exec;
	int old, r;

	if (!st->writer)
		return ckpti_err(err, -EINVAL, "'%s' is not open for writing", st->path);
	r = hash_file(st, fd, hash, &sb, err);
	if (r < 0)
		return r;
	name[0] = '\0';
	if (copy) {
		ckpti_store_pin_name(hash, name);
		old = ckpti_store_open_ours(st, name, O_RDONLY, &have, NULL);
		if (old >= 0)
			close(old);
		exec = sb.st_mode & 0111;
		if ((old < 0 || have.st_size != sb.st_size) &&
		    !ckpti_store_link_shared(st, name, sb.st_size, exec)) {
			r = keep_copy(st, fd, hash, name, err);
			if (r == 0)
				ckpti_store_offer_shared(st, name, sb.st_size, exec);
		}
	}
	if (r < 0)
		return r;
	memcpy(ret_hash, hash, sizeof(hash));
	memcpy(ret_name, name, sizeof(name));
	return 0;
}
