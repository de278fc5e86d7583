/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest program: linked with the real MPI library, so its linker loads that.  It tells the
 * application where everything is and then waits for ever, its stack kept, while others call in.
 */
#include "guest/guest.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* More than libc's minimum: thread-local data of the libraries lies on it too. */
#define PARKED_STACK (256UL << 10)

/* Of the application's thread that has borrowed this TCB. */
static __thread struct ckpti_guest_thread *borrower;

static struct ckpti_guest_port *port;

struct parked {
	pthread_t thread;
	uint64_t fs;
	int state; /* futex */
};

enum {
	STARTING,
	READY,
	ENDING
};

static uint64_t own_fs(void)
{
	uint64_t fs;

	__asm__("mov %%fs:0, %0" : "=r"(fs)); /* the TCB's first word is its address */
	return fs;
}

static void wait_while(int *state, int value)
{
	while (__atomic_load_n(state, __ATOMIC_SEQ_CST) == value)
		(void)syscall(SYS_futex, state, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void advance(int *state, int value)
{
	__atomic_store_n(state, value, __ATOMIC_SEQ_CST);
	(void)syscall(SYS_futex, state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *park(void *arg)
{
	struct parked *p = arg;

	p->fs = own_fs();
	advance(&p->state, READY);
	/* From here on somebody else uses this TCB; the wait touches none of it. */
	wait_while(&p->state, READY);
	return NULL;
}

static int thread_new(uint64_t *ret_fs, void **ret_parked)
{
	struct parked *p = calloc(1, sizeof(*p));
	pthread_attr_t attr;
	int r;

	if (!p)
		return ENOMEM;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, PARKED_STACK);
	r = pthread_create(&p->thread, &attr, park, p);
	(void)pthread_attr_destroy(&attr);
	if (r) {
		free(p);
		return r;
	}
	wait_while(&p->state, STARTING);
	*ret_fs = p->fs;
	*ret_parked = p;
	return 0;
}

static void thread_end(void *parked)
{
	struct parked *p = parked;

	advance(&p->state, ENDING);
	(void)pthread_join(p->thread, NULL);
	free(p);
}

static void flush(void)
{
	(void)fflush(NULL);
}

static void exiting(int status, void *arg)
{
	(void)arg;
	port->leave(status);
}

int main(int argc, char **argv)
{
	void *parked;

	if (argc != 2) {
		fprintf(stderr, "%s is loaded by the checkpointing MPI library, not run\n",
			argv[0]);
		return 2;
	}
	port = (struct ckpti_guest_port *)strtoul(argv[1], NULL, 16);
	port->main_fs = own_fs();
	port->thread_offset = (int64_t)((uintptr_t)&borrower - port->main_fs);
	port->thread_new = thread_new;
	port->thread_end = thread_end;
	port->flush = flush;
	if (thread_new(&port->service_fs, &parked) != 0 || on_exit(exiting, NULL) != 0)
		port->service_fs = 0; /* the application says so */
	for (size_t i = 0; i < port->count; i++)
		port->table[i] = dlsym(RTLD_DEFAULT, port->names[i]);
	port->arrived(port);
	return 1;
}
