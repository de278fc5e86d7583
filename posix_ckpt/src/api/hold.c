/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hold-off, and what a program may ask about its checkpoints.  The agent looks at one counter of the
 * process; each thread keeps its own share of it, so that a release without a hold is noticed and a
 * thread that ends cannot leave a hold behind.
 */
#include <errno.h>
#include <pthread.h>

#include "agent/agent.h"
#include "api/api_private.h"
#include "wrap/signo.h"

static _Thread_local unsigned depth;

static pthread_key_t key; /* non-NULL value: the thread has had a hold; its end is to be noticed */
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static int key_error;

static void add(int n)
{
	(void)__atomic_add_fetch(&ckpti_agent.holds, n, __ATOMIC_SEQ_CST);
}

static void thread_ends(void *arg)
{
	(void)arg;
	add(-(int)depth);
	depth = 0;
}

static void make_key(void)
{
	key_error = pthread_key_create(&key, thread_ends);
}

unsigned ckpti_hold_depth(void)
{
	return depth;
}

void ckpti_hold_enter(void)
{
	add(1);
}

void ckpti_hold_leave(void)
{
	add(-1);
}

void ckpti_hold_after_fork(void)
{
	__atomic_store_n(&ckpti_agent.holds, (int32_t)depth, __ATOMIC_SEQ_CST);
}

static int hold(struct ckpti_err *err)
{
	int r;

	if (ckpti_service_inside())
		return ckpti_err(err, -EDEADLK, "ckpt_hold() was called from a handler");
	ckpti_api_watch_fork();
	(void)pthread_once(&key_once, make_key);
	r = key_error ? key_error : pthread_setspecific(key, &depth);
	if (r)
		return ckpti_err(err, -r, "no thread-specific data for ckpt_hold()");
	add(1);
	depth++;
	return 0;
}

int ckpt_hold(void)
{
	struct ckpti_err err = {0};
	int r = hold(&err);

	return r < 0 ? ckpti_api_fail(CKPT_AT_CALL, r, &err) : 0;
}

static int release(struct ckpti_err *err)
{
	if (ckpti_service_inside())
		return ckpti_err(err, -EDEADLK, "ckpt_release() was called from a handler");
	if (!depth)
		return ckpti_err(err, -EPERM, "ckpt_release() without ckpt_hold() in this thread");
	depth--;
	add(-1);
	return 0;
}

int ckpt_release(void)
{
	struct ckpti_err err = {0};
	int r = release(&err);

	return r < 0 ? ckpti_api_fail(CKPT_AT_CALL, r, &err) : 0;
}

int ckpt_need(int *flag)
{
	struct ckpti_err err = {0};

	if (!flag) {
		(void)ckpti_err(&err, -EINVAL, "ckpt_need() was given a null pointer");
		return ckpti_api_fail(CKPT_AT_CALL, err.code, &err);
	}
	*flag = __atomic_load_n(&ckpti_agent.want, __ATOMIC_RELAXED) != 0;
	return 0;
}

uint64_t ckpt_generation(void)
{
	return __atomic_load_n(&ckpti_agent.generation, __ATOMIC_ACQUIRE);
}

unsigned ckpt_restarts(void)
{
	return __atomic_load_n(&ckpti_agent.restarts, __ATOMIC_ACQUIRE);
}

int ckpt_signo_checkpoint(void)
{
	return ckpti_signo_checkpoint();
}

int ckpt_signo_restart(void)
{
	return ckpti_signo_restart();
}
