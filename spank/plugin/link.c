/* SPDX-License-Identifier: BSD-3-Clause */
/* See link.h.  In srun there are threads and handlers of its own, so nothing here may change a process's state. */
#include "spank/plugin/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spank/plugin/plugin.h"
#include "util/clock.h"

#define START_TIMEOUT_MS 10000
#define END_TIMEOUT_MS   10000
#define REAP_TIMEOUT_MS  1000
#define KILL_TIMEOUT_MS  1000
#define MAX_WAIT_S       86400UL

struct timespec ckpti_link_left(int64_t deadline)
{
	int64_t now = ckpti_now_ms(), left = now < deadline ? deadline - now : 0;

	return (struct timespec){.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
}

__attribute__((format(printf, 3, 4))) static void say(const struct ckpti_link *l, bool refused,
						      const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	l->say(refused, text);
}

/* ---- descriptors -------------------------------------------------------------------------- */

/* Above the numbers that the child gives away. */
static int lift(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, 10);

	(void)close(fd);
	return high < 0 ? -errno : high;
}

static void close_if(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

int ckpti_link_open(struct ckpti_link *l, int *ret_status, int *ret_life)
{
	int status[2], life[2], r;

	if (pipe2(status, O_CLOEXEC) < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, life) < 0) {
		r = -errno;
		(void)close(status[0]);
		(void)close(status[1]);
		return r;
	}
	status[1] = lift(status[1]);
	life[1] = lift(life[1]);
	r = status[1] < 0 ? status[1] : life[1];
	if (r < 0) {
		close_if(status[0]);
		close_if(status[1]);
		close_if(life[0]);
		close_if(life[1]);
		return r;
	}
	l->status_fd = status[0];
	l->life_fd = life[0];
	l->len = l->taken = 0;
	*ret_status = status[1];
	*ret_life = life[1];
	return 0;
}

/* ---- its lines ---------------------------------------------------------------------------- */

/* 1: *ret_line; 0: it has ended; -ETIMEDOUT; -EINTR.  A line that is too long comes in pieces. */
static int next_line(struct ckpti_link *l, int64_t deadline, char **ret_line)
{
	struct pollfd p = {.fd = l->status_fd, .events = POLLIN};
	struct timespec left;
	char *begin, *end;
	ssize_t n;
	int r;

	for (;;) {
		begin = l->text + l->taken;
		end = memchr(begin, '\n', l->len - l->taken);
		if (end) {
			*end = '\0';
			l->taken = (size_t)(end + 1 - l->text);
			*ret_line = begin;
			return 1;
		}
		l->len -= l->taken;
		memmove(l->text, begin, l->len);
		l->taken = 0;
		if (l->len == sizeof(l->text))
			l->len = 0;

		left = ckpti_link_left(deadline);
		r = ppoll(&p, 1, &left, l->wake);
		if (l->interrupted && *l->interrupted)
			return -EINTR;
		if (r == 0 || (r < 0 && ckpti_now_ms() >= deadline))
			return -ETIMEDOUT;
		if (r < 0)
			continue;
		n = read(l->status_fd, l->text + l->len, sizeof(l->text) - l->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		l->len += (size_t)n;
	}
}

/* The rest of the line after "word ", or NULL when it begins with another one. */
static char *after(char *line, const char *word)
{
	size_t len = strlen(word);

	return strncmp(line, word, len) == 0 && line[len] == ' ' ? line + len + 1 : NULL;
}

static void set_env(char *pair)
{
	char *value = strchr(pair, '=');

	if (!value || strncmp(pair, CKPTI_PLUGIN_ENV, sizeof(CKPTI_PLUGIN_ENV) - 1) != 0)
		return;
	*value++ = '\0';
	(void)setenv(pair, value, 1);
}

/* A longer deadline; the same text is shown once. */
static int64_t wait_longer(const struct ckpti_link *l, char *rest)
{
	static char shown[256];
	char *text;
	unsigned long seconds = strtoul(rest, &text, 10);

	text += strspn(text, " ");
	if (*text && strncmp(text, shown, sizeof(shown) - 1) != 0) {
		l->say(false, text);
		(void)snprintf(shown, sizeof(shown), "%s", text);
	}
	if (seconds > MAX_WAIT_S)
		seconds = MAX_WAIT_S;
	return ckpti_now_ms() + (int64_t)seconds * 1000 + START_TIMEOUT_MS;
}

enum ckpti_link_answer ckpti_link_answer(struct ckpti_link *l)
{
	int64_t deadline = ckpti_now_ms() + START_TIMEOUT_MS;
	char *line, *rest, why[64];
	int r;

	while ((r = next_line(l, deadline, &line)) == 1) {
		if (strcmp(line, "ready") == 0)
			return CKPTI_LINK_READY;
		if ((rest = after(line, "env"))) {
			set_env(rest);
		} else if ((rest = after(line, "wait"))) {
			deadline = wait_longer(l, rest);
		} else if ((rest = after(line, "error"))) {
			l->say(false, rest);
			return CKPTI_LINK_WITHOUT;
		} else if ((rest = after(line, "refuse"))) {
			l->say(true, rest);
			return CKPTI_LINK_REFUSED;
		}
	}
	if (r == -EINTR) {
		say(l, true, "interrupted before the %s began", l->what);
		return CKPTI_LINK_REFUSED;
	}
	(void)snprintf(why, sizeof(why),
		       r == 0 ? "has ended before the %s began" : "was not ready in time", l->what);
	if (l->may_restart)
		say(l, true, "the coordinator %s, and the %s might have to be restarted", why,
		    l->what);
	else
		say(l, false, "the coordinator %s, the %s runs without checkpoints", why, l->what);
	return l->may_restart ? CKPTI_LINK_REFUSED : CKPTI_LINK_WITHOUT;
}

/* ---- its end ------------------------------------------------------------------------------ */

static bool has_ended_by(const struct ckpti_link *l, int64_t deadline, int *ret_status)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	pid_t r;

	while ((r = waitpid(l->pid, ret_status, WNOHANG)) == 0 && ckpti_now_ms() < deadline)
		(void)nanosleep(&pause, NULL);
	return r != 0;
}

/* Its wait status.  It is given until the deadline, then it is killed; one that hangs in the file system is
 * not even ended by that, and is left alone. */
static int reap(struct ckpti_link *l, int64_t deadline)
{
	int status = 0;

	if (!has_ended_by(l, deadline, &status)) {
		(void)kill(l->pid, SIGKILL);
		(void)has_ended_by(l, ckpti_now_ms() + KILL_TIMEOUT_MS, &status);
	}
	l->pid = 0;
	(void)close(l->status_fd);
	return status;
}

void ckpti_link_give_up(struct ckpti_link *l)
{
	(void)close(l->life_fd);
	(void)reap(l, ckpti_now_ms() + REAP_TIMEOUT_MS);
}

void ckpti_link_end(struct ckpti_link *l)
{
	int64_t deadline = ckpti_now_ms() + END_TIMEOUT_MS;
	char *line, *rest, last[512] = "";
	int r, status;

	/* It may have died long ago: no SIGPIPE. */
	(void)send(l->life_fd, "exit\n", 5, MSG_NOSIGNAL);
	(void)close(l->life_fd);
	while ((r = next_line(l, deadline, &line)) == 1) {
		rest = after(line, "block");
		if (rest)
			(void)snprintf(last, sizeof(last), "%s", rest);
	}
	if (r == -ETIMEDOUT)
		say(l, false, "the coordinator did not end in time");
	status = reap(l, r == 0 ? ckpti_now_ms() + REAP_TIMEOUT_MS : deadline);
	/* Nobody else can tell: the tasks ran on, and its own last words are missing. */
	if (r == 0 && WIFSIGNALED(status))
		say(l, false,
		    "the coordinator was ended by signal %d, there were no checkpoints after that",
		    WTERMSIG(status));
	/* Whatever became of it then: the step was vacated. */
	if (last[0])
		ckpti_vacated_block(last);
}
