/* SPDX-License-Identifier: BSD-3-Clause */
/* The coordinator's side of the agent protocol: docs/design/0002-agent-protocol.md. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/set.h"

#define CAPTURE_SILENCE_MS 120000 /* longest silence of an agent that carries out a command */

int ckpti_link_listen(struct ckpti_set *set, struct ckpti_err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	socklen_t len;
	int fd, n;

	if (getrandom(&set->nonce, sizeof(set->nonce), 0) != sizeof(set->nonce))
		return ckpti_err(err, -errno, "no random numbers: %s", strerror(errno));
	n = snprintf(sa.sun_path + 1, sizeof(sa.sun_path) - 1, CKPTI_SOCK_PREFIX "%016" PRIx64,
		     set->nonce);
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ckpti_err(err, -errno, "cannot make a socket: %s", strerror(errno));
	if (bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, 4096) < 0) {
		int r = -errno;

		(void)close(fd);
		return ckpti_err(err, r, "cannot listen for the processes: %s", strerror(-r));
	}
	set->listener = fd;
	return 0;
}

static int give_mailbox(struct ckpti_member *m, struct ckpti_err *err)
{
	struct ckpti_call call = {.type = CKPTI_M_MAILBOX, .value = CKPTI_MAILBOX_SIZE};
	int r;

	m->mailbox_fd = memfd_create("ckpt-mailbox", MFD_CLOEXEC);
	if (m->mailbox_fd < 0 || ftruncate(m->mailbox_fd, (off_t)CKPTI_MAILBOX_SIZE) < 0)
		return ckpti_err(err, -errno, "cannot make a mailbox: %s", strerror(errno));
	m->mailbox = mmap(NULL, CKPTI_MAILBOX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			  m->mailbox_fd, 0);
	if (m->mailbox == MAP_FAILED) {
		m->mailbox = NULL;
		return ckpti_err(err, -errno, "cannot map a mailbox: %s", strerror(errno));
	}
	call.fd = m->mailbox_fd;
	r = ckpti_link_send(m, &call, err);
	return r < 0 ? r : ckpti_link_wait(m, &call, err);
}

/* Late, or not asked for: the process does without. */
static void take_tracker(struct ckpti_member *m, const struct ckpti_msg *msg, int tracker)
{
	bool wanted = m->tracker == CKPTI_TRACKER_ASKED;

	if (wanted)
		m->tracker = msg->error ? CKPTI_TRACKER_NONE : tracker;
	if (tracker >= 0 && m->tracker != tracker)
		(void)close(tracker);
}

/* rode: a descriptor that came along, or -1. */
static int first_message(struct ckpti_set *set, int fd, const struct ckpti_msg *msg, int rode,
			 int pid, struct ckpti_err *err)
{
	struct ckpti_member *m = ckpti_set_find(set, pid);
	int error = msg->error < 0 ? msg->error : -EPROTO;

	if (m && msg->type == CKPTI_M_TRACK && msg->protocol == CKPTI_PROTOCOL) {
		take_tracker(m, msg, rode);
		(void)close(fd);
		return 0;
	}
	if (rode >= 0)
		(void)close(rode);
	if (!m || m->sock >= 0) {
		(void)close(fd);
		return 0;
	}
	if (msg->protocol != CKPTI_PROTOCOL) {
		(void)close(fd);
		return ckpti_err_obj(err, -EPROTONOSUPPORT, pid, m->info.comm,
				     "its libckpt speaks protocol %u, this program %d",
				     msg->protocol, CKPTI_PROTOCOL);
	}
	switch (msg->type) {
	case CKPTI_M_HELLO:
		m->sock = fd;
		m->block = msg->block;
		m->resume = msg->resume;
		m->state = CKPTI_MEMBER_IN;
		if (!set->first_in_ns)
			set->first_in_ns = ckpti_now_ns();
		return give_mailbox(m, err);
	case CKPTI_M_PREPARED:
		m->prepared = true;
		(void)close(fd);
		return msg->error ? ckpti_err_obj(err, error, pid, m->info.comm,
						  "a checkpoint handler refused")
				  : 0;
	case CKPTI_M_HELD:
		(void)close(fd);
		m->held = true;
		m->state = CKPTI_MEMBER_NEW;
		m->knock_ns = ckpti_now_ns();
		if (set->req->policy == CKPTI_POLICY_WAIT)
			return 0;
		return ckpti_err_obj(err, -EAGAIN, pid, m->info.comm, "holds checkpoints off");
	default:
		(void)close(fd);
		return ckpti_err_obj(err, error, pid, m->info.comm,
				     error == -EMFILE ? "has no descriptor left (ulimit -n): %s"
						      : "its threads could not be stopped: %s",
				     strerror(-error));
	}
}

/* A message with the descriptors that came along; fd[] has room for CKPTI_FDS_PER_MSG.  false: the end of
 * the conversation. */
static bool read_message(int sock, struct ckpti_msg *msg, int *fd, uint32_t *ret_nfd)
{
	union {
		struct cmsghdr head;
		uint8_t space[CMSG_SPACE(sizeof(int) * CKPTI_FDS_PER_MSG)];
	} control;
	struct iovec iov = {.iov_base = msg, .iov_len = sizeof(*msg)};
	struct msghdr hdr = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(sock, &hdr, MSG_CMSG_CLOEXEC);

	*ret_nfd = 0;
	if (n >= 0 && hdr.msg_controllen >= sizeof(struct cmsghdr) &&
	    control.head.cmsg_type == SCM_RIGHTS) {
		*ret_nfd = (uint32_t)((control.head.cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fd, CMSG_DATA(&control.head), *ret_nfd * sizeof(int));
	}
	return n >= (ssize_t)sizeof(*msg);
}

/* Only the named process itself may answer: the kernel vouches for the peer's pid and user. */
static int accept_one(struct ckpti_set *set, struct ckpti_err *err)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct ckpti_msg msg;
	int rode[CKPTI_FDS_PER_MSG];
	struct pollfd pfd = {.events = POLLIN};
	uint32_t n = 0;
	int fd = accept4(set->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0 : -errno;
	pfd.fd = fd;
	/* Root has become the owner of the processes before it listens. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || cred.uid != getuid() ||
	    !ckpti_set_find(set, cred.pid) || poll(&pfd, 1, 1000) != 1 ||
	    !read_message(fd, &msg, rode, &n) || n > 1) {
		while (n)
			(void)close(rode[--n]);
		(void)close(fd);
		return 1;
	}
	return first_message(set, fd, &msg, n ? rode[0] : -1, cred.pid, err) < 0 ? err->code : 1;
}

int ckpti_link_poll(struct ckpti_set *set, int timeout_ms, struct ckpti_err *err)
{
	struct pollfd pfd = {.fd = set->listener, .events = POLLIN};
	int r;

	if (poll(&pfd, 1, timeout_ms) <= 0)
		return 0;
	do {
		r = accept_one(set, err);
	} while (r > 0);
	return r;
}

bool ckpti_link_waits(const struct ckpti_member *m)
{
	struct pollfd pfd = {.fd = m->sock, .events = POLLIN};

	/* Whom nobody asks anything is silent. */
	return m->sock >= 0 && poll(&pfd, 1, 0) == 0;
}

int ckpti_link_send(struct ckpti_member *m, const struct ckpti_call *call, struct ckpti_err *err)
{
	union {
		struct cmsghdr head;
		uint8_t space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct ckpti_msg msg = {
		.type = call->type, .protocol = CKPTI_PROTOCOL, .value = call->value};
	struct iovec iov = {.iov_base = &msg, .iov_len = sizeof(msg)};
	struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};

	if (call->fd >= 0) {
		hdr.msg_control = &control;
		hdr.msg_controllen = sizeof(control);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &call->fd, sizeof(int));
	}
	if (sendmsg(m->sock, &hdr, MSG_NOSIGNAL) < 0)
		return ckpti_err_obj(err, -EOWNERDEAD, m->info.pid, m->info.comm,
				     "ended during the checkpoint");
	return 0;
}

static int receive(struct ckpti_member *m, struct ckpti_msg *msg, int *fd, uint32_t *ret_nfd,
		   struct ckpti_err *err)
{
	struct pollfd pfd = {.fd = m->sock, .events = POLLIN};
	int r;

	*ret_nfd = 0;
	do {
		r = poll(&pfd, 1, CAPTURE_SILENCE_MS);
	} while (r < 0 && errno == EINTR);
	if (r == 0)
		return ckpti_err_obj(err, -ETIMEDOUT, m->info.pid, m->info.comm,
				     "did not answer for %d s during the capture",
				     CAPTURE_SILENCE_MS / 1000);
	if (!read_message(m->sock, msg, fd, ret_nfd))
		return ckpti_err_obj(err, -EOWNERDEAD, m->info.pid, m->info.comm,
				     "ended during the checkpoint");
	return 0;
}

static int failed(const struct ckpti_member *m, const struct ckpti_call *call,
		  const struct ckpti_msg *msg, struct ckpti_err *err)
{
	int error = msg->error < 0 ? msg->error : -EPROTO;
	const char *what = call->type == CKPTI_M_WRITE     ? "cannot write its memory"
			   : call->type == CKPTI_M_SENDFDS ? "cannot hand over its descriptors"
			   : call->type == CKPTI_M_MAILBOX
				   ? "cannot map 64 MiB (mlockall: ulimit -l)"
				   : "cannot tell its state";

	if (call->type == CKPTI_M_STATE && msg->error == -E2BIG)
		return ckpti_err_obj(err, -ENOTSUP, m->info.pid, m->info.comm,
				     "too many signals wait for delivery");
	if (call->type == CKPTI_M_WRITE && msg->error == -EFBIG)
		return ckpti_err_obj(
			err, -EFBIG, m->info.pid, m->info.comm,
			"its hard limit on file sizes (ulimit -H -f) is below the size "
			"of its image");
	if (msg->addr)
		return ckpti_err_obj(err, error, m->info.pid, m->info.comm,
				     "%s at address 0x%" PRIx64 ": %s", what, msg->addr,
				     strerror(-error));
	return ckpti_err_obj(err, error, m->info.pid, m->info.comm, "%s: %s", what,
			     strerror(-error));
}

int ckpti_link_wait(struct ckpti_member *m, const struct ckpti_call *call, struct ckpti_err *err)
{
	int fd[CKPTI_FDS_PER_MSG];
	struct ckpti_msg msg;
	uint32_t nfd;
	int r;

	for (;;) {
		r = receive(m, &msg, fd, &nfd, err);
		if (r < 0)
			return r;
		if (msg.type == CKPTI_M_FDS && call->on_fds) {
			r = nfd == msg.n ? call->on_fds(call->arg, m, msg.fd, fd, nfd)
					 : ckpti_err_obj(err, -EMFILE, m->info.pid, m->info.comm,
							 "too many descriptors to take over (see "
							 "ulimit -n)");
			if (r < 0)
				return r;
			continue;
		}
		for (uint32_t i = 0; i < nfd; i++)
			(void)close(fd[i]);
		if (msg.type == CKPTI_M_FAILED)
			return failed(m, call, &msg, err);
		if (msg.type == CKPTI_M_DONE)
			return 0;
		return ckpti_err_obj(err, -EPROTO, m->info.pid, m->info.comm,
				     "unexpected message %u from its libckpt", msg.type);
	}
}

int ckpti_link_call_all(struct ckpti_member *const *m, const struct ckpti_call *call, size_t n,
			struct ckpti_err *err)
{
	size_t sent = 0;
	int r = 0;

	while (r == 0 && sent < n) {
		r = ckpti_link_send(m[sent], &call[sent], err);
		sent += r == 0;
	}
	for (size_t i = 0; i < sent; i++) {
		int one = ckpti_link_wait(m[i], &call[i], err);

		if (r == 0)
			r = one;
	}
	return r;
}
