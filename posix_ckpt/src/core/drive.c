/* SPDX-License-Identifier: BSD-3-Clause */
/* The barriers of a checkpoint that is driven from outside: see drive.h. */
#include "core/drive.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/set.h"

static const char *const names[] = {
	[CKPTI_PHASE_PREPARED] = "prepared",
	[CKPTI_PHASE_CAPTURED] = "captured",
	[CKPTI_PHASE_COMMITTED] = "committed",
};

/* Waits for input at most until the deadline (0: not at all): 1, 0 at the deadline, -ECANCELED at the
 * end of the connection. */
static int fill(struct ckpti_drive *d, uint64_t deadline)
{
	struct pollfd pfd = {.fd = d->fd, .events = POLLIN};
	uint64_t now = ckpti_now_ns();
	ssize_t n;
	int r;

	do {
		r = poll(&pfd, 1, deadline > now ? (int)((deadline - now + 999999) / 1000000) : 0);
		now = ckpti_now_ns();
	} while ((r < 0 && errno == EINTR) || (r == 0 && now < deadline));
	if (r == 0)
		return 0;
	do {
		n = read(d->fd, d->buf + d->n, sizeof(d->buf) - d->n);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 1;
	if (n <= 0)
		return -ECANCELED;
	d->n += (size_t)n;
	return 1;
}

/* Takes the first line out of the buffer; false: there is none yet. */
static bool take_line(struct ckpti_drive *d, char *line)
{
	const char *end = memchr(d->buf, '\n', d->n);
	size_t len = end ? (size_t)(end - d->buf) : 0;

	if (!end)
		return false;
	memcpy(line, d->buf, len);
	line[len] = '\0';
	d->n -= len + 1;
	memmove(d->buf, end + 1, d->n);
	return true;
}

/* What a line says: 1 go on, -ECANCELED not.  *why then is the reason, and points into the line. */
static int understand(char *line, const char **why)
{
	if (strcmp(line, "go") == 0)
		return 1;
	if (strncmp(line, "abort", 5) == 0 && (line[5] == ' ' || line[5] == '\0'))
		*why = line[5] && line[6] ? line + 6 : "no reason was told";
	else
		*why = "the driving program sent a line that is neither 'go' nor 'abort'";
	return -ECANCELED;
}

/* Nothing is due: has it been called off all the same? */
static int still_wanted(struct ckpti_drive *d, char *line, const char **why)
{
	int r;

	do {
		if (take_line(d, line)) {
			r = understand(line, why);
			if (r == 1)
				*why = "the driving program said 'go' before it was asked";
			return -ECANCELED;
		}
		r = fill(d, 0);
	} while (r == 1);
	return r;
}

static int answer(struct ckpti_drive *d, char *line, const char **why)
{
	unsigned limit_ms = d->timeout_ms ? d->timeout_ms : CKPTI_DRIVE_TIMEOUT_MS;
	uint64_t deadline = ckpti_now_ns() + (uint64_t)limit_ms * 1000000U;
	int r;

	do {
		if (take_line(d, line))
			return understand(line, why);
		if (d->n == sizeof(d->buf)) {
			*why = "the driving program sent a line that is too long";
			return -ECANCELED;
		}
		r = fill(d, deadline);
	} while (r == 1);
	return r == 0 ? -ETIMEDOUT : r;
}

static int announce(struct ckpti_drive *d, enum ckpti_phase phase, uint64_t generation)
{
	char line[64];
	int n;

	/* What is lost here is found by the reading end: no reason to die. */
	(void)signal(SIGPIPE, SIG_IGN);
	if (phase == CKPTI_PHASE_COMMITTED)
		n = snprintf(line, sizeof(line), "%s %" PRIu64 "\n", names[phase], generation);
	else
		n = snprintf(line, sizeof(line), "%s\n", names[phase]);
	return write(d->fd, line, (size_t)n) == n ? 0 : -ECANCELED;
}

int ckpti_drive_phase(void *arg, enum ckpti_phase phase, const struct ckpti_create_result *so_far,
		      struct ckpti_err *err)
{
	const char *why = "the connection to the driving program was closed";
	struct ckpti_drive *d = arg;
	char line[sizeof(d->buf) + 1], late[96], stays[64] = "";
	int r = still_wanted(d, line, &why);

	if (r == 0 && phase != CKPTI_PHASE_BETWEEN) {
		r = announce(d, phase, so_far->generation);
		if (r == 0)
			r = answer(d, line, &why);
	}
	if (r >= 0)
		return 0;
	if (r == -ETIMEDOUT) {
		(void)snprintf(late, sizeof(late), "no answer to '%s' within %g s", names[phase],
			       (d->timeout_ms ? d->timeout_ms : CKPTI_DRIVE_TIMEOUT_MS) / 1000.0);
		why = late;
	}
	if (phase == CKPTI_PHASE_COMMITTED)
		(void)snprintf(stays, sizeof(stays),
			       "; generation %" PRIu64 " stays, the processes go on",
			       so_far->generation);
	return ckpti_err(err, r, "given up: %.250s%s", why, stays);
}
