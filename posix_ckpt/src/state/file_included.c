/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An included file at the point of no return: missing, it is made; changed, it is put back and what it
 * held is kept, as of an open file.  Nobody has it open, so that its inode need not be one that was
 * opened before.
 *
 * Tasks of a parallel job that come back together have saved the same file of their node, each for the
 * case that it comes back alone.  One of them puts it back: the others find the name of a socket taken, and
 * a second name, on which its owner listens when that is done.  The names are kept as long as the program
 * runs, so that a task that is late does not put back what others have written since.
 *
 * Anybody on the host may take such names.  So whoever has the first one listens on it at once: the kernel
 * says who that is, and a name that another user has counts for nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
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

#define STEP_MS      20
#define STEP_NS      (STEP_MS * 1000000)
#define MAX_STEPS    30000 /* as long as reading a large image may take */
#define SILENT_STEPS 250   /* between two calls of its owner */
#define BACKLOG      4096
#define FILL_STEPS   100 /* for a file of at most --copy-limit to be written */

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

struct name {
	struct sockaddr_un addr;
	socklen_t len;
};

struct claim {
	struct name taken, done; /* somebody puts it back; that is done */
	int fd, done_fd;
};

/* Who has a name. */
enum owner {
	UNKNOWN, /* nobody, or who does not listen yet, or is asked by too many */
	OURS,
	FOREIGN
};

static struct name name_of(const struct ckpti_rebuild *rb, const struct ckpti_file *f,
			   const char *end)
{
	struct name ret = {.addr.sun_family = AF_UNIX};
	int n = snprintf(ret.addr.sun_path + 1, sizeof(ret.addr.sun_path) - 1,
			 "posix-ckpt/put/%u/%.40s/%016" PRIx64 "%s", getuid(), rb->launch,
			 ckpti_hash64(f->path, strlen(f->path)), end);

	ret.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	return ret;
}

/* ret_fd: the connection, which breaks when the name's owner ends; NULL: not wanted. */
static enum owner ask(const struct name *name, int *ret_fd)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred cred;
	socklen_t len = sizeof(cred);
	enum owner ret = UNKNOWN;

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&name->addr, name->len) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0)
		ret = cred.uid == getuid() ? OURS : FOREIGN;
	if (ret == OURS && ret_fd)
		*ret_fd = fd;
	else if (fd >= 0)
		(void)close(fd);
	return ret;
}

/* The new socket of that name; -EADDRINUSE: somebody has it. */
static int bind_to(const struct name *name, struct ckpti_err *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return ckpti_err(err, -errno, "cannot make a socket: %s", strerror(errno));
	if (bind(fd, (const struct sockaddr *)&name->addr, name->len) == 0)
		return fd;
	r = -errno;
	(void)close(fd);
	return r == -EADDRINUSE ? r : ckpti_err(err, r, "cannot name a socket: %s", strerror(-r));
}

static int listen_on(int fd, struct ckpti_err *err)
{
	return listen(fd, BACKLOG) == 0
		       ? 0
		       : ckpti_err(err, -errno, "cannot listen: %s", strerror(errno));
}

static void leave(const struct claim *c)
{
	(void)close(c->done_fd);
	(void)close(c->fd);
}

/* 0: it is ours; -EADDRINUSE: somebody else's; -EEXIST: another user is in the way. */
static int take(struct claim *c, struct ckpti_err *err)
{
	const struct timespec step = {.tv_nsec = STEP_NS};
	int r;

	c->fd = bind_to(&c->taken, err);
	if (c->fd < 0)
		return c->fd;
	r = listen_on(c->fd, err);
	c->done_fd = -1;
	/* One of us that had both may not have lost the second one yet. */
	for (int i = 0; r == 0 && c->done_fd < 0 && i < SILENT_STEPS; i++) {
		c->done_fd = bind_to(&c->done, err);
		if (c->done_fd == -EADDRINUSE)
			(void)nanosleep(&step, NULL);
		else if (c->done_fd < 0)
			r = c->done_fd;
	}
	if (r == 0 && c->done_fd < 0)
		r = -EEXIST;
	if (r < 0)
		(void)close(c->fd);
	return r;
}

/* Until who has it is done: -EALREADY.  0: he has given up. */
static int wait_for(struct ckpti_rebuild *rb, const struct ckpti_file *f, const struct claim *c,
		    int owner, struct ckpti_err *err)
{
	for (int i = 0; i < MAX_STEPS; i++) {
		struct pollfd pfd = {.fd = owner, .events = POLLIN};

		if (ask(&c->done, NULL) == OURS)
			return -EALREADY;
		if (rb->aborted && rb->aborted(rb, err))
			return err->code ? err->code : -ECANCELED;
		if (poll(&pfd, 1, STEP_MS) > 0)
			return 0;
	}
	return ckpti_err_obj(err, -ETIMEDOUT, 0, f->path,
			     "another task has not put '%.200s' back within %d s", f->path,
			     MAX_STEPS / (1000 / STEP_MS));
}

/* 0: it is ours to put back; -EALREADY: somebody has done it; -EEXIST: another user is in the way. */
static int claim(struct ckpti_rebuild *rb, const struct ckpti_file *f, struct claim *c,
		 struct ckpti_err *err)
{
	const struct timespec step = {.tv_nsec = STEP_NS};
	int silent = 0, fd, r;

	*c = (struct claim){.taken = name_of(rb, f, ""), .done = name_of(rb, f, "/done")};
	while ((r = take(c, err)) == -EADDRINUSE) {
		enum owner owner = ask(&c->taken, &fd);

		if (owner == FOREIGN)
			return -EEXIST;
		if (owner == OURS) {
			r = wait_for(rb, f, c, fd, err);
			(void)close(fd);
			if (r < 0)
				return r;
			continue;
		}
		if (ask(&c->done, NULL) == OURS)
			return -EALREADY;
		if (++silent > SILENT_STEPS)
			return -EEXIST;
		(void)nanosleep(&step, NULL);
	}
	return r;
}

/* As of an open file, which each task puts back that had it open. */
static int put_back_alone(struct ckpti_rebuild *rb, const struct ckpti_file *f,
			  struct ckpti_err *err)
{
	char text[300];

	(void)snprintf(text, sizeof(text),
		       "another user holds the name of a socket: every task puts '%.200s' back",
		       f->path);
	if (rb->note)
		rb->note(rb, text);
	return put_back(rb, f, err);
}

int ckpti_file_settle_included(struct ckpti_rebuild *rb, const struct ckpti_file *f,
			       struct ckpti_err *err)
{
	struct claim c;
	int r;

	if (!rb->launch)
		return put_back(rb, f, err);
	r = claim(rb, f, &c, err);
	if (r == -EEXIST)
		return put_back_alone(rb, f, err);
	if (r < 0)
		return r == -EALREADY ? 0 : r;
	r = put_back(rb, f, err);
	/* Its names stay: until the builder ends. */
	if (r == 0)
		r = listen_on(c.done_fd, err);
	if (r < 0)
		leave(&c);
	return r;
}
