/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lock of the API, and what fork() means for it.  The child has one thread: holds of the other
 * threads are gone, and so is the service thread, which is started again there because registered
 * handlers are kept.
 */
#include <pthread.h>

#include "api/api_private.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fork_prepare(void)
{
	(void)pthread_mutex_lock(&lock);
}

static void fork_parent(void)
{
	(void)pthread_mutex_unlock(&lock);
}

static void fork_child(void)
{
	(void)pthread_mutex_unlock(&lock);
	ckpti_hold_after_fork();
	ckpti_service_after_fork();
}

static void watch_fork(void)
{
	/* Fails for want of memory only; then a child of fork() must not use the library. */
	(void)pthread_atfork(fork_prepare, fork_parent, fork_child);
}

void ckpti_api_watch_fork(void)
{
	(void)pthread_once(&once, watch_fork);
}

void ckpti_api_lock(void)
{
	ckpti_api_watch_fork();
	(void)pthread_mutex_lock(&lock);
}

void ckpti_api_unlock(void)
{
	(void)pthread_mutex_unlock(&lock);
}
