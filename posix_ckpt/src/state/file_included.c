/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An included file at the point of no return: missing, it is made; changed, it is put back and what it
 * held is kept, as of an open file.  Nobody has it open, so that its inode need not be one that was
 * opened before.
 *
 * Tasks of a parallel job that come back together have saved the same file of their node, each for the
 * case that it comes back alone.  One of them puts it back: the others find the name of a socket taken,
 * which says whether that is done yet.  The name is kept as long as the program runs, so that a task that is
 * late does not put back what others have written since.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ckpt.h"
#include "state/file_private.h"

#define STEP_NS       20000000
#define MAX_STEPS     3000 /* a minute */
#define CLAIM_BACKLOG 4096
#define FILL_STEPS    100 /* for a file of at most --copy-limit to be written */

static int make(struct ckpti_rebuild *rb, const struct ckpti_file *f, struct ckpti_err *err)
{
	int fd = ckpti_file_make_named(f), r;

	if (fd == -EEXIST)
		return fd;
	if (fd < 0)
		return ckpti_err_obj(err, fd, 0, f->path, "cannot make '%.200s' anew: %s", f->path,
				     strerror(-fd));
	r = ckpti_content_restore(rb, (uint32_t)f->rec.content, fd, err);
	if (r == 0)
		r = ckpti_file_set_attributes(f, fd, err);
	if (r < 0)
		(void)unlink(f->path);
	(void)close(fd);
	return r;
}

/* 1: it has the saved content, 0: it is to be put back. */
static int is_unchanged(struct ckpti_rebuild *rb, const struct ckpti_file *f, struct ckpti_err *err)
{
	struct stat st;
	int fd, r;

	fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return ckpti_err_obj(err, -errno, 0, f->path, "cannot read '%.200s': %s", f->path,
				     strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		r = ckpti_err_obj(err, -ESTALE, 0, f->path, "'%.200s' is no regular file any more",
				  f->path);
	else if ((uint64_t)st.st_size != f->rec.size)
		r = 0;
	else
		r = ckpti_content_equal(rb, (uint32_t)f->rec.content, fd, err);
	(void)close(fd);
	return r;
}

static bool is_left_alone(const struct ckpti_rebuild *rb, const struct ckpti_file *f)
{
	/* What the first life works with is not a second one's to change. */
	return (rb->clone && !f->relocated) || f->rec.policy == CKPT_FILE_MERGE ||
	       f->rec.policy == CKPT_FILE_IGNORE || f->rec.policy == CKPT_FILE_APPEND ||
	       f->rec.policy == CKPT_FILE_SUBSTITUTE;
}

static int put_back(struct ckpti_rebuild *rb, const struct ckpti_file *f, struct ckpti_err *err)
{
	const struct timespec step = {.tv_nsec = STEP_NS};
	int fd, r, steps = 0;

	if (access(f->path, F_OK) < 0 && errno == ENOENT) {
		r = make(rb, f, err);
		if (r != -EEXIST)
			return r;
		/* Another task of the job, which had it open, is making it. */
		steps = FILL_STEPS;
	}
	if (is_left_alone(rb, f))
		return 0;
	while ((r = is_unchanged(rb, f, err)) == 0 && steps-- > 0)
		(void)nanosleep(&step, NULL);
	if (r != 0)
		return r < 0 ? r : 0;
	fd = open(f->path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return ckpti_err_obj(err, -errno, 0, f->path,
				     "'%.200s' changed since the checkpoint and cannot be put "
				     "back: %s",
				     f->path, strerror(errno));
	r = ckpti_file_fit(rb, f, fd, err);
	(void)close(fd);
	return r;
}

/* ---- one of several ----------------------------------------------------------------------- */

static socklen_t claim_name(const struct ckpti_rebuild *rb, const struct ckpti_file *f,
			    struct sockaddr_un *ret)
{
	int n;

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(ret->sun_path + 1, sizeof(ret->sun_path) - 1,
		     "posix-ckpt/put/%u/%.40s/%016" PRIx64, getuid(), rb->launch,
		     ckpti_hash64(f->path, strlen(f->path)));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

/* Its owner listens when it is done.  A queue that is full says so, too. */
static bool is_done(const struct sockaddr_un *sa, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool done;

	if (fd < 0)
		return false;
	done = connect(fd, (const struct sockaddr *)sa, len) == 0 || errno == EAGAIN;
	(void)close(fd);
	return done;
}

/* A socket: it is ours to put back; -EALREADY: somebody has done it; -errno. */
static int claim(const struct ckpti_rebuild *rb, const struct ckpti_file *f, struct ckpti_err *err)
{
	const struct timespec step = {.tv_nsec = STEP_NS};
	struct sockaddr_un sa;
	socklen_t len = claim_name(rb, f, &sa);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return ckpti_err(err, -errno, "cannot make a socket: %s", strerror(errno));
	for (int i = 0; i < MAX_STEPS; i++) {
		int r = bind(fd, (const struct sockaddr *)&sa, len) < 0 ? -errno : 0;

		if (r == 0)
			return fd;
		if (r == -EADDRINUSE && is_done(&sa, len))
			r = -EALREADY;
		if (r != -EADDRINUSE) {
			(void)close(fd);
			return r == -EALREADY ? r
					      : ckpti_err(err, r, "cannot name a socket: %s",
							  strerror(-r));
		}
		(void)nanosleep(&step, NULL);
	}
	(void)close(fd);
	return ckpti_err_obj(err, -ETIMEDOUT, 0, f->path,
			     "another task has not put '%.200s' back within a minute", f->path);
}

int ckpti_file_settle_included(struct ckpti_rebuild *rb, const struct ckpti_file *f,
			       struct ckpti_err *err)
{
	int fd, r;

	if (!rb->launch)
		return put_back(rb, f, err);
	fd = claim(rb, f, err);
	if (fd < 0)
		return fd == -EALREADY ? 0 : fd;
	r = put_back(rb, f, err);
	/* It stays open: until the builder ends. */
	if (r == 0 && listen(fd, CLAIM_BACKLOG) < 0)
		r = ckpti_err(err, -errno, "cannot listen: %s", strerror(errno));
	if (r < 0)
		(void)close(fd);
	return r;
}
