/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The functions that we stand in front of: what dlsym(RTLD_NEXT) finds, looked up all at once.
 *
 * Normally our constructor does it, while the process has one thread and nothing is locked; a call
 * that comes even earlier does it itself.  After that a call is one load and one jump, so wrappers of
 * async-signal-safe functions stay so.
 *
 * To be included first: the fortified inline versions in libc's headers would get in the way.
 */
#ifndef CKPT_WRAP_REAL_H
#define CKPT_WRAP_REAL_H

#undef _FORTIFY_SOURCE
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <wordexp.h>

/* clang-format off */
#define CKPTI_REAL_LIST(X) \
	X(accept) X(accept4) X(clock_nanosleep) X(close) X(close_range) X(closefrom) X(dup2) X(dup3) X(epoll_pwait) X(epoll_pwait2) X(epoll_wait) \
	X(execve) X(execveat) X(execvp) X(execvpe) X(fexecve) X(madvise) X(mq_timedreceive) X(mq_timedsend) \
	X(mremap) X(msgrcv) X(msgsnd) X(pause) X(poll) X(popen) X(posix_spawn) X(posix_spawnp) X(ppoll) \
	X(pselect) X(pthread_attr_setsigmask_np) X(pthread_sigmask) X(recv) X(recvfrom) X(recvmsg) \
	X(select) X(sem_clockwait) X(sem_timedwait) X(semop) X(semtimedop) X(sigaction) \
	X(sigignore) X(siginterrupt) X(signal) X(signalfd) X(sigprocmask) X(sigset) X(sigsuspend) \
	X(sigtimedwait) X(sigwait) X(sigwaitinfo) X(sysv_signal) X(wordexp)
/* clang-format on */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
struct ckpti_real {
#define CKPTI_REAL_FIELD(name) __typeof__(name) *name;
	CKPTI_REAL_LIST(CKPTI_REAL_FIELD)
#undef CKPTI_REAL_FIELD
};
#pragma GCC diagnostic pop

extern struct ckpti_real ckpti_real_table;
extern bool ckpti_real_ready;

/* Look everything up.  May be called more than once, also by two threads: it stores the same. */
void ckpti_real_resolve(void);

static inline const struct ckpti_real *ckpti_real(void)
{
	if (__builtin_expect(!__atomic_load_n(&ckpti_real_ready, __ATOMIC_ACQUIRE), 0))
		ckpti_real_resolve();
	return &ckpti_real_table;
}

#define REAL(name) (ckpti_real()->name)

/* A function that takes the place of libc's. */
#define CKPTI_EXPORT __attribute__((visibility("default")))

#endif
