/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests with CKPT_ASYNC: a small table of the process, as large as the agent has room for
 * descriptors.  After a restart the entries are still there, but belong to the former life.
 */
#include <errno.h>
#include <stdlib.h>

#include "agent/agent.h"
#include "api/request.h"

#define MAX_ASYNC (CKPTI_MAX_OWN_FDS / 2)

static struct request *table[MAX_ASYNC]; /* API lock; handle % MAX_ASYNC is the index */
static uint64_t count;

int ckpti_async_add(struct request *q, struct ckpti_err *err)
{
	int r = -EBUSY;

	q->busy = true;
	q->helper.restarts = ckpt_restarts();
	ckpti_api_lock();
	for (size_t i = 0; i < MAX_ASYNC && r < 0; i++) {
		struct request *old = table[i];
		struct ckpti_result none;

		if (old && !old->busy && ckpti_helper_is_gone(&old->helper)) {
			(void)ckpti_helper_finish(&old->helper, &none, NULL);
			ckpti_request_free(old);
			table[i] = NULL;
		}
		if (!table[i]) {
			q->handle = ++count * MAX_ASYNC + i;
			table[i] = q;
			r = 0;
		}
	}
	ckpti_api_unlock();
	if (r < 0)
		(void)ckpti_err(err, r, "%d requests of this process are under way already",
				MAX_ASYNC);
	return r;
}

void ckpti_async_publish(struct request *q)
{
	q->path = NULL; /* the caller's, and not needed any more */
	ckpti_api_lock();
	q->busy = false;
	ckpti_api_unlock();
}

void ckpti_async_remove(struct request *q)
{
	ckpti_api_lock();
	table[q->handle % MAX_ASYNC] = NULL;
	ckpti_api_unlock();
	ckpti_request_free(q);
}

/* The caller has it for itself until ckpti_async_publish() or _remove(). */
static int take(ckpt_handle_t handle, struct request **ret, struct ckpti_err *err)
{
	struct request *q;
	int r = 0;

	ckpti_api_lock();
	q = table[handle % MAX_ASYNC];
	if (!handle || !q || q->handle != handle)
		r = ckpti_err(err, -EINVAL, "this is not the handle of a request under way");
	else if (q->busy)
		r = ckpti_err(err, -EBUSY, "another thread waits for this request");
	else
		q->busy = true;
	ckpti_api_unlock();
	if (r == 0)
		*ret = q;
	return r;
}

/* 1: ended, the handle is gone, *ret_result is what became of it (negative: -errno); 0: not yet. */
static int collect(struct request *q, int ms, int *ret_result, enum ckpt_error_at *ret_at,
		   struct ckpti_err *err)
{
	bool gone = ckpti_helper_is_gone(&q->helper);

	if (!ckpti_helper_wait(&q->helper, ms)) {
		ckpti_async_publish(q);
		return 0;
	}
	*ret_result = ckpti_request_complete(q, ret_at, err);
	/* Only the thread that was waiting when the image was taken learns how it ended. */
	if (gone)
		*ret_result = ckpti_err(err, -ERESTART,
					"the process was restarted since the request was made");
	ckpti_async_remove(q);
	return 1;
}

int ckpt_test(ckpt_handle_t handle, int *done)
{
	enum ckpt_error_at at = CKPT_AT_CALL;
	struct ckpti_err err = {0};
	struct request *q = NULL;
	int result = 0;
	int r;

	if (!done)
		r = ckpti_err(&err, -EINVAL, "ckpt_test() was given a null pointer");
	else
		r = take(handle, &q, &err);
	if (r == 0) {
		*done = collect(q, 0, &result, &at, &err);
		r = result;
	}
	return r < 0 ? ckpti_api_fail(at, r, &err) : 0;
}

static int read_timeout(const struct timespec *ts, int *ret_ms, struct ckpti_err *err)
{
	if (!ts) {
		*ret_ms = -1;
		return 0;
	}
	if (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec > 999999999)
		return ckpti_err(err, -EINVAL, "the timeout is not a time");
	*ret_ms = ts->tv_sec >= INT_MAX / 1000
			  ? INT_MAX
			  : (int)(ts->tv_sec * 1000 + (ts->tv_nsec + 999999) / 1000000);
	return 0;
}

int ckpt_wait(ckpt_handle_t handle, const struct timespec *timeout)
{
	enum ckpt_error_at at = CKPT_AT_CALL;
	struct ckpti_err err = {0};
	struct request *q = NULL;
	int result = 0;
	int ms = 0;
	int r = read_timeout(timeout, &ms, &err);

	if (r == 0)
		r = take(handle, &q, &err);
	if (r == 0) {
		if (collect(q, ms, &result, &at, &err))
			r = result;
		else
			r = ckpti_err(&err, -EINPROGRESS, "the checkpoint is still under way");
	}
	return r < 0 ? ckpti_api_fail(at, r, &err) : 0;
}
