/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The locks of a statefile directory, all of them open file description locks: they end with the
 * descriptor, so a killed process leaves none behind, and threads of one process do not share them.
 *
 *   DIR/lock byte 0   exclusive: the one writer, from open to close
 *   DIR/lock byte 1   shared: a reader between choosing a generation and having its files pinned;
 *                     exclusive: the writer while it drops generations.  Both hold it briefly.
 *   DIR/lock byte 2   exclusive: a life that was restarted from here and still runs
 *   data-*, pin-*     shared: a reader needs the content; exclusive: a writer rewrites a spare file
 */
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "store/store_private.h"

#define WRITER_BYTE 0
#define LIST_BYTE   1
#define LIFE_BYTE   2
#define WAIT_MS     5000 /* a holder of LIST_BYTE that takes longer is stopped */

static int set_lock(int fd, short type, off_t start, off_t len)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

	return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

static bool held_by_other(int r)
{
	return r == -EAGAIN || r == -EACCES;
}

int ckpti_store_lock_file(int fd, short type)
{
	return set_lock(fd, type, 0, 0);
}

int ckpti_store_lock_writer(struct ckpti_store *st, struct ckpti_err *err)
{
	struct stat mine, named;
	int fd, r, tries;

	/* The file may be removed (`cpr -D`) between our open and our lock; then the lock is on a file
	 * that nobody else will find. */
	for (tries = 0; tries < 100; tries++) {
		fd = openat(st->dirfd, LOCK_FILE,
			    O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
		if (fd < 0)
			return ckpti_store_fail(st, err, -errno, "open", LOCK_FILE);
		r = set_lock(fd, F_WRLCK, WRITER_BYTE, 1);
		if (held_by_other(r)) {
			close(fd);
			return ckpti_err(err, -EBUSY, "'%s' is in use by another checkpoint",
					 st->path);
		}
		if (r < 0) {
			close(fd);
			return ckpti_store_fail(st, err, r, "lock", LOCK_FILE);
		}
		if (fstat(fd, &mine) == 0 &&
		    fstatat(st->dirfd, LOCK_FILE, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
		    mine.st_dev == named.st_dev && mine.st_ino == named.st_ino) {
			st->lockfd = fd;
			return 0;
		}
		close(fd);
	}
	return ckpti_err(err, -EBUSY, "'%s' is being removed", st->path);
}

int ckpti_store_lease(struct ckpti_store *st, bool over, struct ckpti_err *err)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	int fd = openat(st->dirfd, LOCK_FILE, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int tries, r;

	if (fd < 0) {
		/* A copy without the file, or on a read-only file system, cannot be guarded. */
		r = -errno;
		return r == -ENOENT || r == -EROFS || r == -EACCES
			       ? -ENOLCK
			       : ckpti_store_fail(st, err, r, "open", LOCK_FILE);
	}
	/* Whoever looked after processes that have just ended needs a moment to notice. */
	for (tries = 0; tries < 100; tries++) {
		r = set_lock(fd, F_WRLCK, LIFE_BYTE, 1);
		if (r == 0)
			return fd;
		if (over || !held_by_other(r))
			break;
		(void)nanosleep(&pause, NULL);
	}
	close(fd);
	if (over || !held_by_other(r))
		return -ENOLCK;
	return ckpti_err(
		err, -EBUSY,
		"processes that were restarted from '%s' still run; end them, or use --clone",
		st->path);
}

int ckpti_store_lock_list(struct ckpti_store *st, bool exclusive)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	int r, ms;

	if (st->lockfd < 0) /* a copy of a directory that came without: nobody writes there */
		return 0;
	for (ms = 0; ms < WAIT_MS; ms += 2) {
		r = set_lock(st->lockfd, exclusive ? F_WRLCK : F_RDLCK, LIST_BYTE, 1);
		if (!held_by_other(r))
			return r;
		(void)nanosleep(&pause, NULL);
	}
	return -EBUSY;
}

void ckpti_store_unlock_list(struct ckpti_store *st)
{
	if (st->lockfd >= 0)
		(void)set_lock(st->lockfd, F_UNLCK, LIST_BYTE, 1);
}
