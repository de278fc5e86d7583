/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Children for what may take long.  A child is a copy of this process that calls one function and sends
 * what it returns through a pipe; it has none of our connections.  Each has a deadline.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spank/coordinator/coord.h"

#define REAP_MS 500 /* less than anybody's silence */

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

__attribute__((noreturn)) static void be_child(ckpti_child_fn *fn, void *arg, int fd)
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
	_exit(0);
}

/* A child must not hold on to connections: their end has a meaning to the other side. */
static void close_connections(struct ckpti_coord *c)
{
	for (struct ckpti_conn *conn = c->conns; conn; conn = conn->next)
		(void)close(ckpti_wire_fd(conn->wire));
	if (c->listen_fd >= 0)
		(void)close(c->listen_fd);
	if (c->args.life_fd >= 0)
		(void)close(c->args.life_fd);
	if (c->args.status_fd >= 0)
		(void)close(c->args.status_fd);
	/* The lock is this process's alone. */
	if (c->slot_fd >= 0)
		(void)close(c->slot_fd);
}

int ckpti_child_start(struct ckpti_coord *c, ckpti_child_fn *fn, void *arg, int timeout_ms,
		      ckpti_child_done *done, struct ckpti_child **ret, struct ckpti_err *err)
{
	struct ckpti_child *child = calloc(1, sizeof(*child));
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
		be_child(fn, arg, fds[1]);
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
	child->done = done;
	child->deadline_ms = ckpti_now_ms() + timeout_ms;
	child->next = c->children;
	c->children = child;
	if (ret)
		*ret = child;
	return 0;
}

int ckpti_child_leave(ckpti_child_fn *fn, void *arg, struct ckpti_err *err)
{
	pid_t pid = fork();

	if (pid < 0)
		return ckpti_err(err, -errno, "cannot start a child: %s", strerror(errno));
	if (pid == 0) {
		(void)close_range(3, ~0U, 0);
		if (fork() == 0)
			be_child(fn, arg, -1);
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

/* Its pipe is at its end, so it is gone or about to be.  Or it is late, and hangs in the file system: not even
 * ended by SIGKILL, it is left alone, because everybody else waits for us. */
static void reap(struct ckpti_child *child)
{
	int64_t end = ckpti_now_ms() + REAP_MS;

	if (kill(-child->pid, SIGKILL) < 0)
		(void)kill(child->pid, SIGKILL);
	while (waitpid(child->pid, NULL, WNOHANG) == 0 && ckpti_now_ms() < end)
		(void)poll(NULL, 0, 2);
	(void)close(child->fd);
}

void ckpti_child_tick(struct ckpti_coord *c)
{
	struct ckpti_child **link = &c->children, *child;
	int64_t now = ckpti_now_ms();

	while ((child = *link)) {
		if (!child->over && now < child->deadline_ms) {
			link = &child->next;
			continue;
		}
		*link = child->next;
		if (!child->over)
			child->len = 0;
		reap(child);
		if (child->done)
			child->done(c, child->result, child->len);
		free(child);
		/* done() may have started another one. */
		link = &c->children;
	}
}

void ckpti_child_end(struct ckpti_coord *c, int timeout_ms)
{
	int64_t end = ckpti_now_ms() + timeout_ms;

	while (c->children) {
		struct ckpti_child *child = c->children;
		struct pollfd pfd = {.fd = child->fd, .events = POLLIN};
		int64_t left = end - ckpti_now_ms();

		if (left > 0 && poll(&pfd, 1, (int)left) > 0)
			ckpti_child_event(c, child);
		if (child->over || left <= 0) {
			c->children = child->next;
			reap(child);
			free(child);
		}
	}
}
