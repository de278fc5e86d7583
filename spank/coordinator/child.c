/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Children for what may take long.  A child is a copy of this process that calls one function and sends
 * what it returns through a pipe; it has none of our connections.  Each has a deadline, and the loop never waits
 * for one.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spank/coordinator/coord.h"

static void write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

/* Until it is dropped, or we end. */
__attribute__((noreturn)) static void stay(int fd)
{
	(void)close(fd);
	for (;;)
		(void)pause();
}

__attribute__((noreturn)) static void be_child(ckpti_child_fn *fn, void *arg, int fd, bool keep)
{
	static char result[CKPTI_CHILD_MAX];
	sigset_t none;
	size_t len;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGTERM, SIG_DFL);
	/* What it starts ends with it, when it must. */
	(void)setpgid(0, 0);
	/* Its end is that of the child, also when the child becomes another program. */
	if (fd >= 0)
		(void)fcntl(fd, F_SETFD, 0);
	len = fn(arg, result);
	if (fd >= 0)
		write_all(fd, result, len);
	if (keep && len > 0)
		stay(fd);
	_exit(0);
}

/* A child must not hold on to connections: their end has a meaning to the other side. */
static void close_connections(struct ckpti_coord *c)
{
	for (struct ckpti_conn *conn = c->conns; conn; conn = conn->next)
		(void)close(ckpti_wire_fd(conn->wire));
	if (c->listen_fd >= 0)
		(void)close(c->listen_fd);
	if (c->conns_fd >= 0)
		(void)close(c->conns_fd);
	if (c->args.life_fd >= 0)
		(void)close(c->args.life_fd);
	if (c->args.status_fd >= 0)
		(void)close(c->args.status_fd);
}

static int start(struct ckpti_coord *c, ckpti_child_fn *fn, void *arg, int timeout_ms, bool keep,
		 ckpti_child_done *done, struct ckpti_child **ret, struct ckpti_err *err)
{
	struct ckpti_child *child = calloc(1, sizeof(*child));
	pid_t parent = getpid();
	int fds[2];

	if (!child)
		return ckpti_err(err, -ENOMEM, "no memory for a child");
	if (pipe2(fds, O_CLOEXEC) < 0) {
		free(child);
		return ckpti_err(err, -errno, "cannot make a pipe: %s", strerror(errno));
	}
	child->pid = fork();
	if (child->pid == 0) {
		close_connections(c);
		if (keep && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
			_exit(1);
		be_child(fn, arg, fds[1], keep);
	}
	(void)close(fds[1]);
	if (child->pid > 0)
		(void)setpgid(child->pid, child->pid);
	if (child->pid < 0) {
		int code = -errno;

		(void)close(fds[0]);
		free(child);
		return ckpti_err(err, code, "cannot start a child: %s", strerror(-code));
	}
	(void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
	child->fd = fds[0];
	child->keep = keep;
	child->done = done;
	child->deadline_ms = ckpti_now_ms() + timeout_ms;
	child->next = c->children;
	c->children = child;
	if (ret)
		*ret = child;
	return 0;
}

int ckpti_child_start(struct ckpti_coord *c, ckpti_child_fn *fn, void *arg, int timeout_ms,
		      ckpti_child_done *done, struct ckpti_child **ret, struct ckpti_err *err)
{
	return start(c, fn, arg, timeout_ms, false, done, ret, err);
}

int ckpti_child_keep(struct ckpti_coord *c, ckpti_child_fn *fn, void *arg, int timeout_ms,
		     ckpti_child_done *done, struct ckpti_child **ret, struct ckpti_err *err)
{
	return start(c, fn, arg, timeout_ms, true, done, ret, err);
}

int ckpti_child_leave(ckpti_child_fn *fn, void *arg, struct ckpti_err *err)
{
	pid_t pid = fork();

	if (pid < 0)
		return ckpti_err(err, -errno, "cannot start a child: %s", strerror(errno));
	if (pid == 0) {
		(void)close_range(3, ~0U, 0);
		if (fork() == 0)
			be_child(fn, arg, -1, false);
		_exit(0);
	}
	(void)waitpid(pid, NULL, 0);
	return 0;
}

void ckpti_child_event(struct ckpti_coord *c, struct ckpti_child *child)
{
	ssize_t n;

	(void)c;
	for (;;) {
		char *to = child->result + child->len;

		n = read(child->fd, to, sizeof(child->result) - child->len);
		if (n <= 0)
			break;
		child->len += (size_t)n;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		child->over = true;
}

/* One that hangs in the file system is not even ended by SIGKILL before that answers, so it is not waited for. */
void ckpti_child_drop(struct ckpti_child *child)
{
	if (child->dead)
		return;
	if (kill(-child->pid, SIGKILL) < 0)
		(void)kill(child->pid, SIGKILL);
	if (child->fd >= 0)
		(void)close(child->fd);
	child->fd = -1;
	child->dead = true;
	child->done = NULL;
}

/* It has answered, or will not any more. */
static void take_answer(struct ckpti_coord *c, struct ckpti_child *child)
{
	ckpti_child_done *done = child->done;
	size_t len = child->over ? child->len : 0;

	if (child->keep && len > 0) {
		(void)close(child->fd);
		child->fd = -1;
		child->done = NULL;
	} else {
		ckpti_child_drop(child);
	}
	if (done)
		done(c, child->result, len);
}

void ckpti_child_tick(struct ckpti_coord *c)
{
	struct ckpti_child **link = &c->children, *child;
	int64_t now = ckpti_now_ms();

	while ((child = *link)) {
		if (child->fd >= 0 && (child->over || now >= child->deadline_ms)) {
			take_answer(c, child);
			/* done() may have started another one. */
			link = &c->children;
		} else if (child->dead && waitpid(child->pid, NULL, WNOHANG) != 0) {
			*link = child->next;
			free(child);
		} else {
			link = &child->next;
		}
	}
}

static struct ckpti_child *first_at_work(struct ckpti_coord *c)
{
	struct ckpti_child *child = c->children;

	while (child && (child->fd < 0 || child->over))
		child = child->next;
	return child;
}

void ckpti_child_end(struct ckpti_coord *c, int timeout_ms, bool leave)
{
	int64_t end = ckpti_now_ms() + timeout_ms, left;
	struct ckpti_child *child;

	while ((child = first_at_work(c)) && (left = end - ckpti_now_ms()) > 0) {
		struct pollfd pfd = {.fd = child->fd, .events = POLLIN};

		if (poll(&pfd, 1, (int)left) > 0)
			ckpti_child_event(c, child);
	}
	while ((child = c->children)) {
		c->children = child->next;
		if (!leave || child->keep)
			ckpti_child_drop(child);
		free(child);
	}
}
