/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that the kernel does not restart after a handler although it has SA_RESTART, and whose repeat
 * is simple: they have no timeout, an absolute one, or (sockets) one of the kernel's own, which then
 * starts anew.
 */
#include "wrap/wrap_private.h"

ssize_t __recv_chk(int fd, void *buf, size_t len, size_t size, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t size, int flags, __SOCKADDR_ARG addr,
		       socklen_t *addr_len);
void __chk_fail(void) __attribute__((noreturn));

/* Call until no checkpoint interrupts it; an expression, because the results differ in type. */
#define REPEAT(call)                                     \
	({                                               \
		struct ckpti_wait w_;                    \
		__typeof__(call) r_;                     \
                                                         \
		ckpti_wait_begin(&w_, CKPTI_UNTIMED);    \
		do                                       \
			r_ = (call);                     \
		while (ckpti_wait_again(&w_, r_ == -1)); \
		ckpti_wait_end(&w_);                     \
		r_;                                      \
	})

/* ---- sockets with SO_RCVTIMEO ------------------------------------------------------------- */

CKPTI_EXPORT ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	return REPEAT(REAL(recv)(fd, buf, len, flags));
}

CKPTI_EXPORT ssize_t recvfrom(int fd, void *buf, size_t len, int flags, __SOCKADDR_ARG addr,
			      socklen_t *addr_len)
{
	return REPEAT(REAL(recvfrom)(fd, buf, len, flags, addr, addr_len));
}

CKPTI_EXPORT ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	return REPEAT(REAL(recvmsg)(fd, msg, flags));
}

CKPTI_EXPORT int accept(int fd, __SOCKADDR_ARG addr, socklen_t *addr_len)
{
	return REPEAT(REAL(accept)(fd, addr, addr_len));
}

CKPTI_EXPORT int accept4(int fd, __SOCKADDR_ARG addr, socklen_t *addr_len, int flags)
{
	return REPEAT(REAL(accept4)(fd, addr, addr_len, flags));
}

/* What programs call that were compiled with _FORTIFY_SOURCE. */
CKPTI_EXPORT ssize_t __recv_chk(int fd, void *buf, size_t len, size_t size, int flags)
{
	if (len > size)
		__chk_fail();
	return recv(fd, buf, len, flags);
}

CKPTI_EXPORT ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t size, int flags,
				    __SOCKADDR_ARG addr, socklen_t *addr_len)
{
	if (len > size)
		__chk_fail();
	return recvfrom(fd, buf, len, flags, addr, addr_len);
}

/* ---- System V and POSIX IPC --------------------------------------------------------------- */

CKPTI_EXPORT ssize_t msgrcv(int id, void *msg, size_t size, long type, int flags)
{
	return REPEAT(REAL(msgrcv)(id, msg, size, type, flags));
}

CKPTI_EXPORT int msgsnd(int id, const void *msg, size_t size, int flags)
{
	return REPEAT(REAL(msgsnd)(id, msg, size, flags));
}

CKPTI_EXPORT int semop(int id, struct sembuf *ops, size_t n)
{
	return REPEAT(REAL(semop)(id, ops, n));
}

CKPTI_EXPORT int semtimedop(int id, struct sembuf *ops, size_t n, const struct timespec *timeout)
{
	const struct timespec *want = timeout;
	struct timespec left;
	struct ckpti_wait w;
	int r;

	ckpti_wait_begin(&w, timeout ? CKPTI_TIMED : CKPTI_UNTIMED);
	for (;;) {
		r = REAL(semtimedop)(id, ops, n, want);
		if (!ckpti_wait_again(&w, r == -1))
			break;
		if (timeout) {
			(void)ckpti_wait_left(&w, timeout, &left);
			want = &left;
		}
	}
	ckpti_wait_end(&w);
	return r;
}

CKPTI_EXPORT int sem_timedwait(sem_t *sem, const struct timespec *until)
{
	return REPEAT(REAL(sem_timedwait)(sem, until));
}

CKPTI_EXPORT int sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until)
{
	return REPEAT(REAL(sem_clockwait)(sem, clock, until));
}

CKPTI_EXPORT ssize_t mq_timedreceive(mqd_t mq, char *buf, size_t len, unsigned int *prio,
				     const struct timespec *until)
{
	return REPEAT(REAL(mq_timedreceive)(mq, buf, len, prio, until));
}

CKPTI_EXPORT int mq_timedsend(mqd_t mq, const char *buf, size_t len, unsigned int prio,
			      const struct timespec *until)
{
	return REPEAT(REAL(mq_timedsend)(mq, buf, len, prio, until));
}
