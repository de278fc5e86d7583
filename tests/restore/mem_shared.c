/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that parent and child share: writes of one are seen by the other afterwards, a mapping that
 * only the child has left is there too, and a mutex between processes works and keeps its owner.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t.h"

#define SIZE (1 << 20)

struct common {
	atomic_uint ask, answer;
	pthread_mutex_t mutex;
	unsigned char noise[SIZE];
};

static struct common *c;
static unsigned char *others; /* of the child, unmapped by the parent */
static unsigned char *hidden; /* without any permission */

static void disturb(void)
{
	t_fill(c->noise, SIZE, t_token() + 99);
}

static void answer(unsigned int ask)
{
	switch (ask) {
	case 1: /* what the parent wrote before */
		t_check(t_filled(c->noise, SIZE, t_token()), "the child sees other content");
		break;
	case 2: /* what the parent writes now */
		t_check(t_filled(c->noise, SIZE, t_token() + 1), "no longer shared");
		t_fill(c->noise, SIZE, t_token() + 2);
		break;
	case 3:
		t_check(t_filled(others, SIZE, t_token() + 3), "the child's part differs");
		break;
	case 4:
		t_check(pthread_mutex_trylock(&c->mutex) == EBUSY, "the mutex is not held");
		break;
	case 5:
		t_check(pthread_mutex_lock(&c->mutex) == 0, "the mutex cannot be taken");
		t_check(pthread_mutex_unlock(&c->mutex) == 0, "the mutex cannot be released");
		break;
	default:
		_exit(0);
	}
}

static void child(void)
{
	for (unsigned int seen = 0;;) {
		unsigned int ask = atomic_load(&c->ask);

		if (ask != seen) {
			answer(ask);
			seen = ask;
			atomic_store(&c->answer, ask);
		}
		(void)usleep(1000);
	}
}

static void ask(unsigned int what)
{
	atomic_store(&c->ask, what);
	for (int i = 0; atomic_load(&c->answer) != what; i++) {
		t_check(i < 5000, "the child does not answer question %u", what);
		(void)usleep(1000);
	}
}

int main(void)
{
	pthread_mutexattr_t attr;
	int status;
	pid_t pid;

	t_start();
	c = t_sys(
		mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	others = t_sys(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	hidden = t_sys(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	t_fill(hidden, SIZE, t_token() + 4);
	t_sys(mprotect(hidden, SIZE, PROT_NONE));
	(void)pthread_mutexattr_init(&attr);
	(void)pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	(void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	(void)pthread_mutex_init(&c->mutex, &attr);
	t_fill(c->noise, SIZE, t_token());
	t_fill(others, SIZE, t_token() + 3);
	pid = t_sys(fork());
	if (pid == 0)
		child();
	t_sys(munmap(others, SIZE));
	t_check(pthread_mutex_lock(&c->mutex) == 0, "lock");
	t_on_disturb(disturb);
	t_ready();
	t_check(t_filled(c->noise, SIZE, t_token()), "shared memory differs");
	t_sys(mprotect(hidden, SIZE, PROT_READ));
	t_check(t_filled(hidden, SIZE, t_token() + 4), "memory without read permission differs");
	ask(1);
	t_fill(c->noise, SIZE, t_token() + 1);
	ask(2);
	t_check(t_filled(c->noise, SIZE, t_token() + 2), "the child's writes are not seen");
	ask(3);
	ask(4);
	t_check(pthread_mutex_lock(&c->mutex) == EDEADLK, "the mutex has forgotten its owner");
	t_check(pthread_mutex_unlock(&c->mutex) == 0, "the owner cannot release the mutex");
	ask(5);
	atomic_store(&c->ask, 6);
	t_check(waitpid(pid, &status, 0) == pid && status == 0, "the child failed");
	t_done();
}
