/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The connection to the coordinator.  It is tried again and again, quietly, as long as tasks live; the
 * tasks know nothing of it.  A coordinator that is silent for too long is lost: so is a round that was
 * under way.
 *
 * Connecting waits.  There is no round then, the watch goes its own way, and the wait is never longer
 * than the fence allows.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spank/lib/auth.h"
#include "spank/node/node.h"

#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 5000
#define JOIN_LIMIT_MS  5000 /* a coordinator with a thousand nodes takes its time */
#define LEAST_MS       200
#define NOTICE_MAX     512

void ckpti_uplink_init(struct ckpti_node *n)
{
	struct ckpti_uplink *l = &n->uplink;

	l->backoff_ms = BACKOFF_MIN_MS;
	l->heartbeat_ms = (unsigned)n->config.heartbeat * 1000;
	l->silence_ms = (unsigned)n->config.silence * 1000;
}

/* ---- notices ---------------------------------------------------------------------------------- */

static void send_notices(struct ckpti_node *n)
{
	struct ckpti_uplink *l = &n->uplink;

	for (size_t i = 0; i < l->nnotices && l->wire; i++) {
		struct ckpti_kv kv;

		ckpti_kv_init(&kv);
		ckpti_kv_set(&kv, "text", l->notice[i]);
		ckpti_uplink_send(n, CKPTI_W_NOTICE, &kv);
		ckpti_kv_free(&kv);
	}
	if (!l->wire)
		return; /* once more, and perhaps twice for the user */
	for (size_t i = 0; i < l->nnotices; i++)
		free(l->notice[i]);
	l->nnotices = 0;
}

void ckpti_uplink_notice(struct ckpti_node *n, const char *fmt, ...)
{
	struct ckpti_uplink *l = &n->uplink;
	char *text = malloc(NOTICE_MAX);
	va_list ap;

	if (!text)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, NOTICE_MAX, fmt, ap);
	va_end(ap);
	if (l->nnotices == sizeof(l->notice) / sizeof(l->notice[0])) {
		free(text); /* nobody has listened for long; the first ones tell most */
		return;
	}
	l->notice[l->nnotices++] = text;
	if (l->wire)
		send_notices(n);
}

/* ---- connecting --------------------------------------------------------------------------------- */

static void lose(struct ckpti_node *n)
{
	struct ckpti_uplink *l = &n->uplink;

	ckpti_wire_free(l->wire);
	l->wire = NULL;
	l->backoff_ms = BACKOFF_MIN_MS;
	l->next_ms = ckpti_node_now_ms() + BACKOFF_MIN_MS;
	ckpti_round_lost(n);
}

static void describe(const struct ckpti_node *n, struct ckpti_kv *kv)
{
	ckpti_kv_set(kv, "role", "node");
	ckpti_kv_set_u64(kv, "node", n->index);
	ckpti_kv_set(kv, "host", n->host);
	ckpti_kv_set_u64(kv, "nnodes", n->nnodes);
	ckpti_kv_set_u64(kv, "ntasks", n->ntasks_step);
	ckpti_kv_set_u64(kv, "epoch", n->epoch);
	ckpti_kv_set_u64(kv, "restored", n->restored);
	ckpti_tasks_describe(n, kv);
}

static int join(struct ckpti_node *n, struct ckpti_kv *welcome, struct ckpti_err *err)
{
	int slack = ckpti_fence_slack_ms(n);
	int limit = slack < JOIN_LIMIT_MS ? slack : JOIN_LIMIT_MS;
	struct ckpti_wire *w;
	struct ckpti_kv hello;
	int fd, r;

	limit = limit < LEAST_MS ? LEAST_MS : limit;
	fd = ckpti_wire_connect(n->server, n->port, limit / 2, err);
	if (fd < 0)
		return fd;
	w = ckpti_wire_new(fd);
	if (!w)
		return ckpti_err(err, -ENOMEM, "no memory for a connection");
	ckpti_kv_init(&hello);
	describe(n, &hello);
	r = ckpti_auth_join(w, geteuid(), n->job, n->step, n->port, &hello, limit, welcome, err);
	ckpti_kv_free(&hello);
	if (r < 0) {
		ckpti_wire_free(w);
		return r;
	}
	n->uplink.wire = w;
	return 0;
}

static void tell_started(struct ckpti_node *n)
{
	struct ckpti_kv kv;

	if (n->uplink.told_started || !ckpti_restored_all(n))
		return;
	n->uplink.told_started = true;
	ckpti_kv_init(&kv);
	ckpti_kv_set_u64(&kv, "restored", n->restored);
	ckpti_tasks_describe(n, &kv);
	ckpti_uplink_send(n, CKPTI_W_STARTED, &kv);
	ckpti_kv_free(&kv);
}

/* Thousands of agents that lost the same coordinator must not come back in step. */
static unsigned jitter(unsigned ms)
{
	return ms / 2 + (unsigned)random() % (ms / 2 + 1);
}

static void try_to_connect(struct ckpti_node *n)
{
	struct ckpti_uplink *l = &n->uplink;
	struct ckpti_err err = {.code = 0};
	struct ckpti_kv welcome;
	int r;

	ckpti_kv_init(&welcome);
	r = join(n, &welcome, &err);
	if (r < 0) {
		l->backoff_ms =
			l->backoff_ms * 2 < BACKOFF_MAX_MS ? l->backoff_ms * 2 : BACKOFF_MAX_MS;
		l->next_ms = ckpti_node_now_ms() + jitter(l->backoff_ms);
		ckpti_kv_free(&welcome);
		return;
	}
	l->heartbeat_ms = (unsigned)ckpti_kv_get_u64(&welcome, "heartbeat_ms", l->heartbeat_ms);
	l->silence_ms = (unsigned)ckpti_kv_get_u64(&welcome, "silence_ms", l->silence_ms);
	ckpti_kv_free(&welcome);
	l->backoff_ms = BACKOFF_MIN_MS;
	l->heard_ms = l->pinged_ms = ckpti_node_now_ms();
	n->told_live = n->told_ended = UINT32_MAX;
	l->told_started = false;
	tell_started(n);
	send_notices(n);
	ckpti_restored_tick(n);
}

/* ---- being connected ------------------------------------------------------------------------------ */

void ckpti_uplink_send(struct ckpti_node *n, unsigned type, struct ckpti_kv *kv)
{
	if (n->uplink.wire && ckpti_wire_send(n->uplink.wire, type, kv) < 0)
		lose(n);
}

static void take(struct ckpti_node *n, unsigned type, const struct ckpti_kv *kv)
{
	switch (type) {
	case CKPTI_W_ROUND:
	case CKPTI_W_MUSTER:
	case CKPTI_W_RESUME:
	case CKPTI_W_COMMITTED:
	case CKPTI_W_ABORT:
		ckpti_round_frame(n, type, kv);
		break;
	case CKPTI_W_KILL:
		ckpti_fence_kill(n);
		break;
	default: /* PING, and what newer coordinators say */
		break;
	}
}

void ckpti_uplink_event(struct ckpti_node *n, bool readable, bool writable)
{
	struct ckpti_uplink *l = &n->uplink;
	struct ckpti_kv kv;
	unsigned type;
	int r = 0;

	if (l->wire && writable && ckpti_wire_flush(l->wire) < 0)
		lose(n);
	while (l->wire && readable && (r = ckpti_wire_recv(l->wire, &type, &kv)) == 1) {
		l->heard_ms = ckpti_node_now_ms();
		take(n, type, &kv);
		ckpti_kv_free(&kv);
		ckpti_round_advance(n);
	}
	if (l->wire && r < 0)
		lose(n);
}

void ckpti_uplink_forgive(struct ckpti_node *n, uint64_t ms)
{
	uint64_t now = ckpti_node_now_ms();

	n->uplink.heard_ms += ms;
	if (n->uplink.heard_ms > now)
		n->uplink.heard_ms = now;
}

void ckpti_uplink_tick(struct ckpti_node *n)
{
	struct ckpti_uplink *l = &n->uplink;
	uint64_t now = ckpti_node_now_ms();

	if (!l->wire) {
		/* The HELLO names all tasks of the node. */
		if (n->all_started && now >= l->next_ms)
			try_to_connect(n);
		return;
	}
	if (now - l->heard_ms > l->silence_ms) {
		lose(n);
	} else if (now - l->pinged_ms >= l->heartbeat_ms) {
		l->pinged_ms = now;
		ckpti_uplink_send(n, CKPTI_W_PING, NULL);
	}
	tell_started(n);
}

void ckpti_uplink_end(struct ckpti_node *n, int timeout_ms)
{
	struct ckpti_uplink *l = &n->uplink;
	uint64_t deadline;

	/* They were quick.  How they ended is worth one attempt. */
	if (!l->wire)
		try_to_connect(n);
	deadline = ckpti_node_now_ms() + (uint64_t)timeout_ms;
	while (l->wire && ckpti_wire_wants_write(l->wire)) {
		struct pollfd pfd = {.fd = ckpti_wire_fd(l->wire), .events = POLLOUT};
		uint64_t now = ckpti_node_now_ms();

		if (now >= deadline || poll(&pfd, 1, (int)(deadline - now)) <= 0 ||
		    ckpti_wire_flush(l->wire) < 0)
			break;
	}
	ckpti_wire_free(l->wire);
	l->wire = NULL;
}
