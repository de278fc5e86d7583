/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry says where the coordinator is.  It is a file in the owner's home and nobody's
 * authority: the host must be the one where Slurm knows srun to be, and the coordinator proves
 * that it is the owner's before it is told anything (spank/lib/auth.h).
 *
 * Several conversations of a job are open at once and waited for one after the other: what a
 * coordinator says meanwhile stays in its socket.
 */
#include "spank/scontrol/talk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "spank/lib/auth.h"
#include "spank/lib/registry.h"
#include "spank/lib/step.h"
#include "spank/scontrol/say.h"
#include "util/clock.h"

#define CONNECT_MS 5000
#define JOIN_MS    10000
/* Beyond max_wait, which the coordinator keeps: so that its answer wins. */
#define SLACK_MS 30000
/* Of a coordinator that does not say how long it waits by itself. */
#define MAX_WAIT 300U /* seconds */
/* Nobody needs to be told how far something is that is about to end. */
#define PATIENCE_MS 2000

void ckpti_talk_init(struct ckpti_talk *t, uint32_t job, uint32_t step, const char *host)
{
	*t = (struct ckpti_talk){.job = job, .step = step};
	(void)snprintf(t->host, sizeof(t->host), "%s", host ? host : "");
	if (step == CKPTI_STEP_BATCH)
		(void)snprintf(t->name, sizeof(t->name), "batch");
	else
		(void)snprintf(t->name, sizeof(t->name), "%u", step);
}

void ckpti_talk_close(struct ckpti_talk *t)
{
	ckpti_wire_free(t->wire);
	t->wire = NULL;
}

/* Slurm has the name as the administrator wrote it, the coordinator as the kernel has it: one may
 * be without the domain. */
static bool same_host(const char *a, const char *b)
{
	size_t na = strcspn(a, "."), nb = strcspn(b, ".");

	if (a[na] && b[nb])
		return strcasecmp(a, b) == 0;
	return na > 0 && na == nb && strncasecmp(a, b, na) == 0;
}

int ckpti_talk_open(struct ckpti_talk *t, const char *cluster, uid_t owner, struct ckpti_err *err)
{
	struct ckpti_kv registry, hello, welcome;
	uint64_t port;
	const char *host;
	int fd, r;

	ckpti_kv_init(&registry);
	ckpti_kv_init(&hello);
	ckpti_kv_init(&welcome);
	r = ckpti_registry_read(cluster, t->job, t->name, &registry, err);
	if (r < 0)
		goto out;
	(void)snprintf(t->dir, sizeof(t->dir), "%s", ckpti_kv_get(&registry, "dir", ""));
	host = ckpti_kv_get(&registry, "host", "");
	port = ckpti_kv_get_u64(&registry, "port", 0);
	if (!same_host(host, t->host) || port == 0 || port > 65535) {
		r = ckpti_err(
			err, -EPERM,
			"the registry names host '%s' port %llu, but srun of step %u.%s is on '%s'",
			host, (unsigned long long)port, t->job, t->name, t->host);
		goto out;
	}
	fd = ckpti_wire_connect(t->host, (unsigned)port, CONNECT_MS, err);
	if (fd < 0) {
		r = -EHOSTDOWN;
		goto out;
	}
	t->wire = ckpti_wire_new(fd);
	if (!t->wire) {
		r = ckpti_err(err, -ENOMEM, "no memory for a connection");
		goto out;
	}
	ckpti_kv_set(&hello, "role", "client");
	r = ckpti_auth_join(t->wire, owner, t->job, t->step, (unsigned)port, &hello, JOIN_MS,
			    &welcome, err);
	if (r < 0 && r != -EPERM && r != -EACCES && r != -EIO)
		r = -EHOSTDOWN;
	t->max_wait = (unsigned)ckpti_kv_get_u64(&welcome, "max_wait", MAX_WAIT);
out:
	ckpti_kv_free(&registry);
	ckpti_kv_free(&hello);
	ckpti_kv_free(&welcome);
	return r;
}

int ckpti_talk_send(struct ckpti_talk *t, const struct ckpti_request *q, enum ckpti_verb verb,
		    struct ckpti_err *err)
{
	struct ckpti_kv kv;
	int r;

	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "verb", ckpti_request_verb(verb));
	if (q->max_wait) {
		t->max_wait = q->max_wait;
		ckpti_kv_set_u64(&kv, "max_wait", t->max_wait);
	}
	if (q->image_dir[0])
		ckpti_kv_set(&kv, "image_dir", q->image_dir);
	r = ckpti_wire_send(t->wire, CKPTI_W_REQUEST, &kv);
	if (r < 0) {
		(void)ckpti_err(err, r, "%s", strerrordesc_np(-r));
		r = -EHOSTDOWN;
	}
	t->sent_ms = ckpti_now_ms();
	ckpti_kv_free(&kv);
	return r;
}

/* The next frame; 0: what is waiting to be told should be told now. */
static int next_frame(struct ckpti_talk *t, int64_t end, bool waiting, unsigned *ret_type,
		      struct ckpti_kv *ret)
{
	int64_t now = ckpti_now_ms(), left = end - now, calm = t->sent_ms + PATIENCE_MS - now;
	int r;

	/* Somebody who never stops talking does not prolong the time. */
	if (left <= 0)
		return -ETIMEDOUT;
	if (!waiting || calm >= left) {
		r = ckpti_wire_wait(t->wire, (int)left, ret_type, ret);
		return r < 0 ? r : 1;
	}
	r = calm > 0 ? ckpti_wire_wait(t->wire, (int)calm, ret_type, ret) : -ETIMEDOUT;
	return r == -ETIMEDOUT ? 0 : r < 0 ? r : 1;
}

int ckpti_talk_result(struct ckpti_talk *t, const char *label, struct ckpti_kv *ret,
		      struct ckpti_err *err)
{
	int64_t end = t->sent_ms + (int64_t)t->max_wait * 1000 + SLACK_MS;
	char progress[512] = "";
	unsigned type;
	int r;

	for (;;) {
		r = next_frame(t, end, progress[0] != '\0', &type, ret);
		if (r == 0) {
			ckpti_say_plain("%s%s", label, progress);
			progress[0] = '\0';
			continue;
		}
		if (r == -ETIMEDOUT)
			return ckpti_err(err, r, "no result of step %u.%s within %lld s", t->job,
					 t->name, (long long)(end - t->sent_ms) / 1000);
		if (r < 0) {
			(void)ckpti_err(err, r, "%s",
					r == -EPIPE ? "it ended" : strerrordesc_np(-r));
			return -EHOSTDOWN;
		}
		if (type == CKPTI_W_RESULT)
			return 0;
		if (type == CKPTI_W_PROGRESS)
			(void)snprintf(progress, sizeof(progress), "%s",
				       ckpti_kv_get(ret, "text", ""));
		else if (type == CKPTI_W_PING)
			(void)ckpti_wire_send(t->wire, CKPTI_W_PING, NULL);
		ckpti_kv_free(ret);
	}
}

void ckpti_talk_last_good(const char *dir, char *ret, size_t size)
{
	struct ckpti_manifest m = {0};
	struct ckpti_err err = {0};
	struct ckpti_step st;
	unsigned skipped;
	int r;

	if (!*dir) {
		(void)snprintf(ret, size, "its directory is not known");
		return;
	}
	r = ckpti_step_open(dir, &st, &err);
	if (r == 0) {
		r = ckpti_step_load(&st, 0, &m, &skipped, &err);
		ckpti_step_close(&st);
	}
	if (r == 0)
		(void)snprintf(ret, size, "last good generation %llu of %s",
			       (unsigned long long)m.generation, dir);
	else
		(void)snprintf(ret, size, "no good generation in %s (%s)", dir,
			       err.text[0] ? err.text : strerrordesc_np(-r));
	ckpti_manifest_free(&m);
}
