/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Start cpr, wait for it, read its result.  Its two descriptors are registered with the agent for as
 * long as they are open, so that they never enter an image, and carry high numbers, so that the
 * program's next open() gets the number that it expects.
 */
#include "api/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "api/api_private.h"
#include "util/clock.h"

#define HIGH_FD  200  /* still below the smallest usual limit, and usable in select() */
#define SLICE_MS 1000 /* how long a wait may go on without asking whether this is a new life */

/* ---- descriptors of ours ------------------------------------------------------------------ */

#define RESERVED (-2) /* in ckpti_agent.own_fd[]: taken, but no descriptor yet */

static bool swap_slot(int from, int to)
{
	for (int i = 0; i < CKPTI_MAX_OWN_FDS; i++) {
		int32_t expected = from;

		if (__atomic_compare_exchange_n(&ckpti_agent.own_fd[i], &expected, to, false,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return true;
	}
	return false;
}

/* Room for both descriptors of a request, before anything is started. */
static int reserve_slots(struct ckpti_err *err)
{
	if (swap_slot(-1, RESERVED)) {
		if (swap_slot(-1, RESERVED))
			return 0;
		(void)swap_slot(RESERVED, -1);
	}
	return ckpti_err(err, -EBUSY, "%d requests of this process are under way already",
			 CKPTI_MAX_OWN_FDS / 2);
}

/* Give fd a high number, and that a reserved slot. */
static int adopt(int fd)
{
	long high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH_FD);

	if (high >= 0) {
		(void)syscall(SYS_close, fd);
		fd = (int)high;
	}
	(void)swap_slot(RESERVED, fd);
	return fd;
}

/* Close fd, or give the reserved slot back when there is none. */
static void drop(int fd)
{
	if (fd >= 0)
		(void)syscall(SYS_close, fd);
	(void)swap_slot(fd >= 0 ? fd : RESERVED, -1);
}

/* ---- start -------------------------------------------------------------------------------- */

static void block_signals(uint64_t *old)
{
	static const uint64_t all = ~0ULL;

	/* Not pthread_sigmask(): ours would leave SIGCKPT open. */
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, old, 8);
}

static void restore_signals(const uint64_t *old)
{
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, old, NULL, 8);
}

/* With all signals blocked: between a system call that makes a descriptor and its registration this
 * thread cannot be checkpointed.  The two slots are reserved. */
static int start_blocked(struct ckpti_helper *h, struct ckpti_spawn *s, struct ckpti_err *err)
{
	int pipefd[2] = {-1, -1};
	int r;

	r = (int)syscall(SYS_memfd_create, "ckpt-result", MFD_CLOEXEC);
	if (r < 0)
		return ckpti_err(err, -errno, "memfd_create: %s", strerrordesc_np(errno));
	h->result_fd = adopt(r);
	if (!s->detach) {
		if (syscall(SYS_pipe2, pipefd, O_CLOEXEC) < 0)
			return ckpti_err(err, -errno, "pipe: %s", strerrordesc_np(errno));
		h->wait_fd = adopt(pipefd[0]);
	}
	s->result_fd = h->result_fd;
	s->ready_fd = pipefd[1];
	r = ckpti_spawn(s);
	if (pipefd[1] >= 0)
		(void)syscall(SYS_close, pipefd[1]);
	if (r < 0)
		return ckpti_err_obj(err, r, 0, s->path, "cannot start '%s': %s", s->path,
				     strerrordesc_np(-r));
	if (s->detach)
		h->wait_fd = adopt(s->pid_fd);
	else
		h->pid = s->pid;
	return 0;
}

int ckpti_helper_start(struct ckpti_helper *h, enum ckpti_helper_mode mode, char *const argv[],
		       struct ckpti_err *err)
{
	struct ckpti_spawn s = {.argv = argv, .detach = mode == CKPTI_HELPER_CREATE};
	char path[PATH_MAX];
	uint64_t mask;
	char **env;
	int r;

	*h = (struct ckpti_helper){.result_fd = -1, .wait_fd = -1};
	r = ckpti_helper_locate(path, err);
	if (r < 0)
		return r;
	env = ckpti_helper_environ();
	if (!env)
		return ckpti_err(err, -ENOMEM, "no memory for the environment of cpr");
	s.path = path;
	s.envp = env;
	block_signals(&mask);
	h->restarts = ckpt_restarts();
	r = reserve_slots(err);
	if (r == 0) {
		r = start_blocked(h, &s, err);
		if (r < 0) {
			drop(h->result_fd);
			drop(h->wait_fd);
		}
	}
	restore_signals(&mask);
	free(env);
	return r;
}

/* ---- wait and finish ---------------------------------------------------------------------- */

bool ckpti_helper_is_gone(const struct ckpti_helper *h)
{
	return ckpt_restarts() != h->restarts;
}

int ckpti_helper_wait(const struct ckpti_helper *h, int ms)
{
	const int64_t end = ms < 0 ? INT64_MAX : ckpti_now_ms() + ms;
	struct pollfd p = {.fd = h->wait_fd, .events = POLLIN};

	/* In slices: in a new life the number may lead to anything, so poll() could sleep on. */
	for (;;) {
		int64_t left = end - ckpti_now_ms();
		int slice = left > SLICE_MS ? SLICE_MS : left < 0 ? 0 : (int)left;
		long r = syscall(SYS_poll, &p, 1, slice);

		if (ckpti_helper_is_gone(h) || r > 0)
			return 1;
		if (r < 0 && errno != EINTR)
			return 1;
		if (left <= 0)
			return 0;
	}
}

static int read_result(const struct ckpti_helper *h, struct ckpti_result *ret,
		       struct ckpti_err *err)
{
	long n;

	memset(ret, 0, sizeof(*ret));
	n = syscall(SYS_pread64, h->result_fd, ret, sizeof(*ret), 0L);
	if (n < (long)(2 * sizeof(uint32_t)) || ret->magic != CKPTI_RESULT_MAGIC) {
		memset(ret, 0, sizeof(*ret));
		return ckpti_err_obj(err, -EIO, 0, "cpr", "the program cpr ended without a result");
	}
	/* A longer struct of a newer cpr was cut, a shorter one is followed by zeros. */
	ret->object[sizeof(ret->object) - 1] = '\0';
	ret->text[sizeof(ret->text) - 1] = '\0';
	if (ret->error > 0 || ret->error < -4095)
		return ckpti_err_obj(err, -EIO, 0, "cpr", "the result of cpr makes no sense");
	if (ret->error < 0)
		return ckpti_err_obj(err, ret->error, ret->pid, ret->object, "%s",
				     ret->text[0] ? ret->text : strerrordesc_np(-ret->error));
	return 0;
}

int ckpti_helper_finish(struct ckpti_helper *h, struct ckpti_result *ret, struct ckpti_err *err)
{
	int r = 1;

	/* Held: the answer to "which life is this?" must stay true until the descriptors are closed. */
	ckpti_hold_enter();
	if (ckpti_helper_is_gone(h)) {
		(void)swap_slot(h->result_fd, -1);
		(void)swap_slot(h->wait_fd, -1);
	} else {
		r = read_result(h, ret, err);
		if (r < 0 && h->pid > 0)
			while (syscall(SYS_wait4, h->pid, NULL, __WALL, NULL) < 0 && errno == EINTR)
				;
		drop(h->result_fd);
		drop(h->wait_fd);
	}
	ckpti_hold_leave();
	h->result_fd = h->wait_fd = -1;
	return r;
}
