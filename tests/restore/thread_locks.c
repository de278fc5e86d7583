/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks that are held, and threads that wait for them: mutexes of all kinds know their owner, waiters
 * get them later, a robust mutex tells when its owner dies after the restart, timed waits end.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "t.h"

enum {
	NORMAL,
	RECURSIVE,
	ERRORCHECK,
	ROBUST,
	PI,
	KINDS
};

static pthread_mutex_t mutex[KINDS], dying;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_mutex_t cm = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cv = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static atomic_int waiting, got, die;
static int signalled;

static void make(pthread_mutex_t *m, int kind)
{
	pthread_mutexattr_t a;

	(void)pthread_mutexattr_init(&a);
	if (kind == RECURSIVE)
		(void)pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
	if (kind == ERRORCHECK)
		(void)pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
	if (kind == ROBUST)
		(void)pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	if (kind == PI)
		t_check(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT) == 0, "protocol");
	t_check(pthread_mutex_init(m, &a) == 0, "pthread_mutex_init");
}

static void *wait_for_mutex(void *arg)
{
	pthread_mutex_t *m = arg;

	atomic_fetch_add(&waiting, 1);
	t_check(pthread_mutex_lock(m) == 0, "a waiter's lock failed");
	atomic_fetch_add(&got, 1);
	t_check(pthread_mutex_unlock(m) == 0, "a waiter's unlock failed");
	return NULL;
}

static void *wait_for_write(void *arg)
{
	(void)arg;
	atomic_fetch_add(&waiting, 1);
	t_check(pthread_rwlock_wrlock(&rw) == 0, "a writer's lock failed");
	atomic_fetch_add(&got, 1);
	t_check(pthread_rwlock_unlock(&rw) == 0, "a writer's unlock failed");
	return NULL;
}

static void *wait_for_sem(void *arg)
{
	(void)arg;
	atomic_fetch_add(&waiting, 1);
	t_check(sem_wait(&sem) == 0, "sem_wait: %m");
	atomic_fetch_add(&got, 1);
	return NULL;
}

static void *wait_for_cond(void *arg)
{
	(void)arg;
	(void)pthread_mutex_lock(&cm);
	atomic_fetch_add(&waiting, 1);
	while (!signalled)
		t_check(pthread_cond_wait(&cv, &cm) == 0, "pthread_cond_wait");
	(void)pthread_mutex_unlock(&cm);
	atomic_fetch_add(&got, 1);
	return NULL;
}

static void *wait_at_barrier(void *arg)
{
	(void)arg;
	atomic_fetch_add(&waiting, 1);
	(void)pthread_barrier_wait(&barrier);
	atomic_fetch_add(&got, 1);
	return NULL;
}

/* Ends with the robust mutex in its hands. */
static void *hold_and_die(void *arg)
{
	(void)arg;
	t_check(pthread_mutex_lock(&dying) == 0, "lock");
	atomic_fetch_add(&waiting, 1);
	while (!atomic_load(&die))
		t_sleep_ms(5);
	return NULL;
}

/* A timed wait that nobody ends, over the checkpoint and the restart: until an absolute time. */
static void *timed(void *arg)
{
	static pthread_cond_t c;
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_condattr_t a;
	int64_t end = t_now_ns(CLOCK_MONOTONIC) + 1000000000LL;
	struct timespec ts = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
	int r;

	(void)pthread_condattr_init(&a);
	(void)pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c, &a);
	(void)pthread_mutex_lock(&m);
	atomic_fetch_add(&waiting, 1);
	do
		r = pthread_cond_timedwait(&c, &m, &ts);
	while (r == 0);
	t_check(r == ETIMEDOUT, "pthread_cond_timedwait: error %d", r);
	t_check(t_now_ns(CLOCK_MONOTONIC) >= end, "pthread_cond_timedwait ended early");
	(void)arg;
	return NULL;
}

int main(void)
{
	enum {
		NTHREADS = KINDS + 6
	};
	pthread_t thread[NTHREADS];
	int n = 0;

	t_start();
	for (int i = 0; i < KINDS; i++) {
		make(&mutex[i], i);
		t_check(pthread_mutex_lock(&mutex[i]) == 0, "lock");
	}
	t_check(pthread_mutex_lock(&mutex[RECURSIVE]) == 0, "lock again");
	make(&dying, ROBUST);
	t_check(pthread_rwlock_rdlock(&rw) == 0, "rdlock");
	t_check(sem_init(&sem, 0, 0) == 0, "sem_init");
	t_check(pthread_barrier_init(&barrier, NULL, 2) == 0, "barrier");
	for (int i = 0; i < KINDS; i++)
		(void)pthread_create(&thread[n++], NULL, wait_for_mutex, &mutex[i]);
	(void)pthread_create(&thread[n++], NULL, wait_for_write, NULL);
	(void)pthread_create(&thread[n++], NULL, wait_for_sem, NULL);
	(void)pthread_create(&thread[n++], NULL, wait_for_cond, NULL);
	(void)pthread_create(&thread[n++], NULL, wait_at_barrier, NULL);
	(void)pthread_create(&thread[n++], NULL, hold_and_die, NULL);
	(void)pthread_create(&thread[n++], NULL, timed, NULL);
	while (atomic_load(&waiting) < NTHREADS)
		t_sleep_ms(1);
	t_sleep_ms(50);
	t_ready();

	t_check(atomic_load(&got) == 0, "%d waiters went through a lock", got);
	t_check(pthread_mutex_trylock(&mutex[NORMAL]) == EBUSY, "normal: not held");
	t_check(pthread_mutex_lock(&mutex[RECURSIVE]) == 0, "recursive: not ours any more");
	for (int i = 0; i < 3; i++)
		t_check(pthread_mutex_unlock(&mutex[RECURSIVE]) == 0, "recursive: count %d", i);
	t_check(pthread_mutex_lock(&mutex[ERRORCHECK]) == EDEADLK, "error-checking: owner lost");
	t_check(pthread_mutex_trylock(&mutex[PI]) == EBUSY, "priority-inheriting: not held");
	for (int i = 0; i < KINDS; i++)
		if (i != RECURSIVE)
			t_check(pthread_mutex_unlock(&mutex[i]) == 0, "unlock of kind %d", i);
	t_check(pthread_rwlock_trywrlock(&rw) == EBUSY, "rwlock: not held");
	t_check(pthread_rwlock_unlock(&rw) == 0, "rwlock: unlock");
	t_check(sem_post(&sem) == 0, "sem_post");
	(void)pthread_mutex_lock(&cm);
	signalled = 1;
	(void)pthread_cond_signal(&cv);
	(void)pthread_mutex_unlock(&cm);
	(void)pthread_barrier_wait(&barrier);
	t_check(pthread_mutex_trylock(&dying) == EBUSY, "robust: not held by its thread");
	atomic_store(&die, 1);
	t_check(pthread_mutex_lock(&dying) == EOWNERDEAD, "robust: the owner's death is not told");
	t_check(pthread_mutex_consistent(&dying) == 0 && pthread_mutex_unlock(&dying) == 0,
		"robust: cannot be repaired");
	for (int i = 0; i < n; i++)
		t_check(pthread_join(thread[i], NULL) == 0, "join");
	t_check(atomic_load(&got) == KINDS + 4, "%d waiters got their lock", got);
	t_done();
}
