/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The manifest of a generation: what each task had at one common moment.  kv text whose last pair
 * is a check sum of all before it, so that a file that was cut off or changed is not taken for one.
 * Needs kv.c only, because the plugin reads manifests, too.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spank/lib/step_private.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SUM_FORMAT "sum=%016" PRIx64 "\n"
#define SUM_SIZE   21

void ckpti_manifest_free(struct ckpti_manifest *m)
{
	free(m->task);
	*m = (struct ckpti_manifest){0};
}

/* "task.<rank>.<what>" */
static const char *task_key(char ret[40], uint32_t rank, const char *what)
{
	(void)snprintf(ret, 40, "task.%" PRIu32 ".%s", rank, what);
	return ret;
}

/* ---- writing ------------------------------------------------------------------------------ */

static int put_task(struct ckpti_kv *kv, uint32_t rank, const struct ckpti_manifest_task *t)
{
	char key[40];

	switch (t->state) {
	case CKPTI_TASK_LIVE:
		if (t->generation == 0)
			return -EINVAL;
		ckpti_kv_set_u64(kv, task_key(key, rank, "gen"), t->generation);
		ckpti_kv_set_u64(kv, task_key(key, rank, "stored"), t->stored);
		if (t->puts)
			ckpti_kv_set_u64(kv, task_key(key, rank, "puts"), 1);
		break;
	case CKPTI_TASK_ENDED:
		if (t->status < 0)
			return -EINVAL;
		ckpti_kv_setf(kv, task_key(key, rank, "status"), "%d", t->status);
		break;
	default:
		return -EINVAL;
	}
	if (t->host[0])
		ckpti_kv_set(kv, task_key(key, rank, "host"), t->host);
	return 0;
}

int ckpti_manifest_write(const struct ckpti_manifest *m, char **ret, size_t *ret_len)
{
	char *body = NULL;
	struct ckpti_kv kv;
	size_t len = 0;
	int r = 0;

	if (m->generation == 0 || m->epoch == 0 || m->ntasks == 0 ||
	    m->ntasks > CKPTI_STEP_MAX_TASKS)
		return -EINVAL;
	ckpti_kv_init(&kv);
	ckpti_kv_set_u64(&kv, "format", 1);
	ckpti_kv_set_u64(&kv, "generation", m->generation);
	ckpti_kv_set_u64(&kv, "epoch", m->epoch);
	ckpti_kv_setf(&kv, "ctime", "%" PRId64, m->ctime);
	ckpti_kv_set_u64(&kv, "ntasks", m->ntasks);
	ckpti_kv_set_u64(&kv, "restarts", m->restarts);
	ckpti_kv_set_u64(&kv, "stored", m->stored);
	ckpti_kv_set_u64(&kv, "stop_us", m->stop_us);
	ckpti_kv_set_u64(&kv, "durable_us", m->durable_us);
	ckpti_kv_set(&kv, "reason", m->reason);
	for (uint32_t i = 0; r == 0 && i < m->ntasks; i++)
		r = put_task(&kv, i, &m->task[i]);
	if (r == 0)
		r = ckpti_kv_write(&kv, &body, &len);
	ckpti_kv_free(&kv);
	if (r < 0)
		return r;
	*ret = realloc(body, len + SUM_SIZE + 1);
	if (!*ret) {
		free(body);
		return -ENOMEM;
	}
	(void)snprintf(*ret + len, SUM_SIZE + 1, SUM_FORMAT, XXH3_64bits(*ret, len));
	*ret_len = len + SUM_SIZE;
	return 0;
}

/* ---- reading ------------------------------------------------------------------------------ */

static bool sum_is_right(const char *text, size_t len)
{
	char want[SUM_SIZE + 1];

	if (len < SUM_SIZE)
		return false;
	(void)snprintf(want, sizeof(want), SUM_FORMAT, XXH3_64bits(text, len - SUM_SIZE));
	return memcmp(want, text + len - SUM_SIZE, SUM_SIZE) == 0;
}

static int get_task(const struct ckpti_kv *kv, uint32_t rank, struct ckpti_manifest_task *ret)
{
	int64_t status;
	char key[40];

	ret->generation = ckpti_kv_get_u64(kv, task_key(key, rank, "gen"), 0);
	ret->stored = ckpti_kv_get_u64(kv, task_key(key, rank, "stored"), 0);
	ret->puts = ckpti_kv_get_u64(kv, task_key(key, rank, "puts"), 0) != 0;
	status = ckpti_kv_get_i64(kv, task_key(key, rank, "status"), -1);
	(void)snprintf(ret->host, sizeof(ret->host), "%s",
		       ckpti_kv_get(kv, task_key(key, rank, "host"), ""));
	/* Exactly one of the two. */
	if ((ret->generation == 0) == (status < 0) || status > INT32_MAX)
		return -EBADMSG;
	ret->state = ret->generation ? CKPTI_TASK_LIVE : CKPTI_TASK_ENDED;
	ret->status = ret->generation ? 0 : (int)status;
	if (ret->generation == 0)
		ret->stored = ret->puts = 0;
	return 0;
}

/* A number that must be there, from 1 to max. */
static int get_number(const struct ckpti_kv *kv, const char *key, uint64_t max, uint64_t *ret)
{
	*ret = ckpti_kv_get_u64(kv, key, 0);
	return *ret == 0 || *ret > max ? -EBADMSG : 0;
}

static int get_all(const struct ckpti_kv *kv, struct ckpti_manifest *ret)
{
	uint64_t epoch, ntasks;

	if (ckpti_kv_get_u64(kv, "format", 0) != 1)
		return -EPROTONOSUPPORT;
	if (get_number(kv, "generation", INT64_MAX, &ret->generation) < 0 ||
	    get_number(kv, "epoch", UINT32_MAX, &epoch) < 0 ||
	    get_number(kv, "ntasks", CKPTI_STEP_MAX_TASKS, &ntasks) < 0)
		return -EBADMSG;
	ret->epoch = (uint32_t)epoch;
	ret->ctime = ckpti_kv_get_i64(kv, "ctime", 0);
	ret->restarts = (unsigned)ckpti_kv_get_u64(kv, "restarts", 0);
	ret->stored = ckpti_kv_get_u64(kv, "stored", 0);
	ret->stop_us = ckpti_kv_get_u64(kv, "stop_us", 0);
	ret->durable_us = ckpti_kv_get_u64(kv, "durable_us", 0);
	(void)snprintf(ret->reason, sizeof(ret->reason), "%s", ckpti_kv_get(kv, "reason", ""));
	ret->task = calloc(ntasks, sizeof(ret->task[0]));
	if (!ret->task)
		return -ENOMEM;
	ret->ntasks = (uint32_t)ntasks;
	for (uint32_t i = 0; i < ret->ntasks; i++) {
		if (get_task(kv, i, &ret->task[i]) < 0)
			return -EBADMSG;
	}
	return 0;
}

int ckpti_manifest_parse(struct ckpti_manifest *ret, const char *text, size_t len)
{
	struct ckpti_kv kv;
	int r;

	*ret = (struct ckpti_manifest){0};
	if (!sum_is_right(text, len))
		return -EBADMSG;
	ckpti_kv_init(&kv);
	r = ckpti_kv_parse(&kv, text, len);
	if (r == 0)
		r = get_all(&kv, ret);
	if (r < 0)
		ckpti_manifest_free(ret);
	ckpti_kv_free(&kv);
	return r;
}
