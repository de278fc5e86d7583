/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A TCB in the guest for each thread of the application that calls MPI.  The guest makes a thread that
 * parks in the kernel, and we borrow its TCB: its stack, its tid and its entry in libc's lists are real,
 * and it does not run.  To make and to end one, a thread must be inside already; it uses the service
 * TCB then, which belongs to a thread that is parked for this alone, under a lock.
 */
#include "guest/guest_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__thread struct ckpti_guest_thread *ckpti_guest_self;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t at_exit;
static bool have_key;
int guest_loader_tid;
static bool lost;   /* of all, nobody has a TCB yet: a new life */
static int serving; /* threads that use the service TCB or wait for it */
static struct ckpti_guest_thread *all;
static struct ckpti_guest_thread *stands_in, *stood_for; /* NULL: nobody */

static void tell_guest(uint64_t guest_fs, struct ckpti_guest_thread *thread)
{
	*(struct ckpti_guest_thread **)(guest_fs + (uint64_t)ckpti_guest_port->thread_offset) =
		thread;
}

static struct ckpti_guest_thread *thread_new(struct ckpti_err *err)
{
	struct ckpti_guest_thread *t = calloc(1, sizeof(*t));

	if (!t) {
		(void)ckpti_err(err, -ENOMEM, "no memory for a thread that calls MPI");
		return NULL;
	}
	t->app_fs = ckpti_fs_get();
	t->tid = gettid();
	return t;
}

static void enlist(struct ckpti_guest_thread *t)
{
	t->next = all;
	__atomic_store_n(&all, t, __ATOMIC_RELEASE);
	ckpti_guest_self = t;
	(void)pthread_setspecific(at_exit, t);
}

/* Under the lock.  The two functions below are the only ones that use the service TCB. */
static int serve_new(struct ckpti_guest_thread *t)
{
	struct ckpti_guest_port *port = ckpti_guest_port;
	struct ckpti_guest_thread service = {.app_fs = ckpti_fs_get(),
					     .guest_fs = port->service_fs};
	uint64_t fs = 0;
	void *parked = NULL;
	int r;

	tell_guest(port->service_fs, &service);
	ckpti_guest_enter(&service);
	r = port->thread_new(&fs, &parked);
	ckpti_guest_leave(&service);
	tell_guest(port->service_fs, NULL);
	t->guest_fs = fs;
	t->parked = parked;
	return r;
}

static void serve_end(struct ckpti_guest_thread *t)
{
	struct ckpti_guest_port *port = ckpti_guest_port;
	struct ckpti_guest_thread service = {.app_fs = t->app_fs, .guest_fs = port->service_fs};

	tell_guest(port->service_fs, &service);
	ckpti_guest_enter(&service);
	port->thread_end(t->parked);
	ckpti_guest_leave(&service);
	tell_guest(port->service_fs, NULL);
}

static void thread_exits(void *arg)
{
	struct ckpti_guest_thread *t = arg, **at;

	(void)__atomic_add_fetch(&serving, 1, __ATOMIC_SEQ_CST);
	(void)pthread_mutex_lock(&lock);
	for (at = &all; *at && *at != t; at = &(*at)->next)
		;
	if (*at) {
		__atomic_store_n(at, t->next, __ATOMIC_RELEASE);
		if (t == stands_in || t == stood_for)
			stands_in = stood_for = NULL;
		if (!lost)
			tell_guest(t->guest_fs, NULL);
		if (!lost && t->parked)
			serve_end(t);
		free(t);
	}
	ckpti_guest_self = NULL;
	(void)pthread_mutex_unlock(&lock);
	(void)__atomic_sub_fetch(&serving, 1, __ATOMIC_SEQ_CST);
}

/* In a new life. */
static int bind_all(struct ckpti_guest_port *port, struct ckpti_err *err)
{
	int r = 0;

	__atomic_store_n(&ckpti_guest_port, port, __ATOMIC_RELEASE);
	(void)pthread_mutex_lock(&lock);
	for (struct ckpti_guest_thread *t = all; r == 0 && t; t = t->next) {
		if (t->parked)
			r = serve_new(t);
		else
			t->guest_fs = port->main_fs;
		if (r == 0)
			tell_guest(t->guest_fs, t);
	}
	lost = r != 0;
	(void)pthread_mutex_unlock(&lock);
	if (r)
		return ckpti_err(err, -r, "the guest cannot make a thread: %s", strerror(r));
	return ckpti_guest_self ? 0 : ckpti_guest_attach(err);
}

int guest_thread_first(struct ckpti_guest_port *port, struct ckpti_err *err)
{
	struct ckpti_guest_thread *t;

	if (lost)
		return bind_all(port, err);
	t = thread_new(err);
	if (!t)
		return -ENOMEM;
	if (!have_key && pthread_key_create(&at_exit, thread_exits) != 0) {
		free(t);
		return ckpti_err(err, -EAGAIN, "no more keys for thread-specific data");
	}
	have_key = true;
	t->guest_fs = port->main_fs;
	__atomic_store_n(&ckpti_guest_port, port, __ATOMIC_RELEASE);
	tell_guest(t->guest_fs, t);
	enlist(t);
	return 0;
}

int ckpti_guest_attach(struct ckpti_err *err)
{
	struct ckpti_guest_thread *t = thread_new(err);
	int r;

	if (!t)
		return -ENOMEM;
	(void)__atomic_add_fetch(&serving, 1, __ATOMIC_SEQ_CST);
	(void)pthread_mutex_lock(&lock);
	r = serve_new(t);
	if (r == 0) {
		tell_guest(t->guest_fs, t);
		enlist(t);
	} else {
		free(t);
		r = ckpti_err(err, -r, "the guest cannot make a thread: %s", strerror(r));
	}
	(void)pthread_mutex_unlock(&lock);
	(void)__atomic_sub_fetch(&serving, 1, __ATOMIC_SEQ_CST);
	return r;
}

/* Under the lock.  With what makes the owner of a TCB end. */
static void exchange(struct ckpti_guest_thread *a, struct ckpti_guest_thread *b)
{
	struct ckpti_guest_thread c = *a;

	a->guest_fs = b->guest_fs;
	a->parked = b->parked;
	b->guest_fs = c.guest_fs;
	b->parked = c.parked;
	tell_guest(a->guest_fs, a);
	tell_guest(b->guest_fs, b);
}

void ckpti_guest_stand_in(const struct ckpti_guest_thread *whom)
{
	struct ckpti_guest_thread *self = ckpti_guest_self, *t;

	(void)pthread_mutex_lock(&lock);
	if (stood_for)
		exchange(stands_in, stood_for);
	stands_in = stood_for = NULL;
	/* It may have ended. */
	for (t = all; t && t != whom; t = t->next)
		;
	if (t && self && t != self) {
		exchange(self, t);
		stands_in = self;
		stood_for = t;
	}
	(void)pthread_mutex_unlock(&lock);
}

/* In a new life. */
void guest_thread_lost(void)
{
	lost = true;
}

/* In a forked child, or before the first load: there are no threads in the guest. */
void guest_thread_forget(void)
{
	if (lost)
		return;
	(void)pthread_mutex_init(&lock, NULL);
	all = stands_in = stood_for = NULL;
	serving = 0;
	ckpti_guest_self = NULL;
	if (have_key)
		(void)pthread_setspecific(at_exit, NULL);
}

int ckpti_guest_inside(void)
{
	if (__atomic_load_n(&serving, __ATOMIC_SEQ_CST))
		return -1;
	for (struct ckpti_guest_thread *t = __atomic_load_n(&all, __ATOMIC_ACQUIRE); t; t = t->next)
		if (t->depth > 0)
			return t->tid;
	return 0;
}

int ckpti_guest_colls(void)
{
	int n = 0;

	(void)pthread_mutex_lock(&lock);
	for (struct ckpti_guest_thread *t = all; t; t = t->next)
		n += __atomic_load_n(&t->colls, __ATOMIC_ACQUIRE);
	(void)pthread_mutex_unlock(&lock);
	return n;
}

/* The list of robust futexes that each thread shows to the kernel lies beside its TCB. */
bool ckpti_guest_has_task(int tid)
{
	void *head = NULL;
	size_t size;

	/* The one that loads has for a while what the guest's linker has registered for it. */
	if (tid == __atomic_load_n(&guest_loader_tid, __ATOMIC_SEQ_CST))
		return false;
	return raw(SYS_get_robust_list, tid, &head, &size, 0, 0, 0) == 0 &&
	       ckpti_guest_has_addr((uintptr_t)head);
}
