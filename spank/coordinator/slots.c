/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking turns on a site: `count` files in a directory that all may write to.  Who has one locked may
 * write; the lock goes with the process, however it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spank/coordinator/coord.h"

/* Users share these files: whoever comes first makes one, and the others must be able to lock it. */
static int open_slot(int dirfd, unsigned number)
{
	char name[32];
	int fd;

	(void)snprintf(name, sizeof(name), "slot-%u", number);
	/* Not with O_CREAT when it is there: protected_regular forbids that to all but its owner. */
	fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (fd >= 0)
		(void)fchmod(fd, 0666);
	else if (errno == EEXIST)
		fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	return fd;
}

int ckpti_slot_take(struct ckpti_coord *c, struct ckpti_err *err)
{
	const unsigned count = c->config.site_writers_count;
	const char *path = c->config.site_writers_directory;
	uint32_t first = 0;
	int dirfd, taken = 0;

	if (c->slot_fd >= 0 || count == 0 || !path[0])
		return 1;
	dirfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return ckpti_err(err, -errno, "the site's directory '%s' cannot be used: %s", path,
				 strerror(errno));
	(void)getrandom(&first, sizeof(first), GRND_NONBLOCK);
	for (unsigned i = 0; i < count && c->slot_fd < 0; i++) {
		int fd = open_slot(dirfd, (first + i) % count);

		if (fd < 0)
			continue;
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			c->slot_fd = fd;
			break;
		}
		taken++;
		(void)close(fd);
	}
	(void)close(dirfd);
	if (c->slot_fd < 0 && taken == 0)
		return ckpti_err(err, -EACCES, "no file in the site's directory '%s' can be locked",
				 path);
	return c->slot_fd >= 0;
}

void ckpti_slot_give(struct ckpti_coord *c)
{
	if (c->slot_fd >= 0)
		(void)close(c->slot_fd);
	c->slot_fd = -1;
}
