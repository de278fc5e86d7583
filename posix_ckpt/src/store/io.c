/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whole reads and writes: a call interrupted or cut short is continued.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/store_private.h"

int ckpti_store_write_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;
	ssize_t n;

	while (len > 0) {
		n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int ckpti_store_write_at(int fd, const void *buf, size_t len, uint64_t off)
{
	const char *p = buf;
	ssize_t n;

	while (len > 0) {
		n = pwrite(fd, p, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int ckpti_store_read_at(int fd, void *buf, size_t len, uint64_t off)
{
	char *p = buf;
	ssize_t n;

	while (len > 0) {
		n = pread(fd, p, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EBADMSG;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int ckpti_store_hash_fd(int fd, uint64_t ret_hash[2], uint64_t *ret_size)
{
	struct ckpti_hasher *h = ckpti_hasher_new();
	char *buf = malloc(IO_CHUNK);
	uint64_t off = 0;
	ssize_t n;
	int r = -ENOMEM;

	if (!h || !buf)
		goto out;
	for (;;) {
		n = pread(fd, buf, IO_CHUNK, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		ckpti_hasher_update(h, buf, (size_t)n);
		off += (uint64_t)n;
	}
	r = n < 0 ? -errno : 0;
out:
	ckpti_hasher_free(h, r == 0 ? ret_hash : NULL);
	free(buf);
	if (r == 0)
		*ret_size = off;
	return r;
}
