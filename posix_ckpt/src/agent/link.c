/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The conversation with the coordinator, from the connect to "go".  If the coordinator disappears or
 * stays silent beyond the deadline the process goes on: a checkpoint is never worth a hang.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent/agent_private.h"
#include "agent/mem.h"
#include "agent/text.h"

union control {
	struct cmsghdr head;
	uint8_t space[CMSG_SPACE(sizeof(int))];
};

/*
 * Everybody can read the name in /proc/net/unix, and take it when the coordinator has gone: memory and
 * descriptors are given to a process of the same user only.
 */
static int is_trusted(long fd)
{
	struct ucred peer;
	uint32_t len = sizeof(peer);

	return sys(getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       peer.uid == (uint32_t)sys(getuid);
}

static int connect_to(uint64_t nonce)
{
	static const char digit[] = "0123456789abcdef";
	struct sockaddr_un sa;
	struct rlimit limit;
	char *p = sa.sun_path + 1;
	long fd, r;

	memset(&sa, 0, sizeof(sa));
	sa.sun_family = AF_UNIX;
	memcpy(p, CKPTI_SOCK_PREFIX, sizeof(CKPTI_SOCK_PREFIX) - 1);
	p += sizeof(CKPTI_SOCK_PREFIX) - 1;
	for (int shift = 60; shift >= 0; shift -= 4)
		*p++ = digit[(nonce >> shift) & 15];
	agent_limit_lift(RLIMIT_NOFILE, &limit);
	fd = sys(socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	agent_limit_restore(RLIMIT_NOFILE, &limit);
	if (fd < 0)
		return (int)fd;
	r = sys(connect, fd, &sa, (char *)p - (char *)&sa);
	if (r == 0 && !is_trusted(fd))
		r = -EACCES;
	if (r < 0) {
		(void)sys(close, fd);
		return (int)r;
	}
	return (int)fd;
}

int agent_link_open(uint64_t nonce)
{
	int fd = connect_to(nonce);

	if (fd < 0)
		return fd;
	agent_state.sock = fd;
	return 0;
}

int agent_link_wanted(uint64_t nonce)
{
	int fd = connect_to(nonce);

	if (fd >= 0)
		(void)sys(close, fd);
	return fd >= 0;
}

void agent_link_close(void)
{
	if (agent_state.mailbox)
		(void)sys(munmap, agent_state.mailbox, agent_state.mailbox_size);
	agent_state.mailbox = NULL;
	if (agent_state.sock >= 0)
		(void)sys(close, agent_state.sock);
	agent_state.sock = -1;
}

static int send_on(int to, const struct ckpti_msg *msg, int fd)
{
	struct ckpti_msg out = *msg;
	struct iovec iov = {.iov_base = &out, .iov_len = sizeof(out)};
	union control control;
	struct msghdr hdr;
	long r;

	out.protocol = CKPTI_PROTOCOL;
	out.pid = ckpti_agent.pid;
	if (!out.tid)
		out.tid = agent_state.leader;
	memset(&hdr, 0, sizeof(hdr));
	hdr.msg_iov = &iov;
	hdr.msg_iovlen = 1;
	if (fd >= 0) {
		memset(&control, 0, sizeof(control));
		hdr.msg_control = &control;
		hdr.msg_controllen = sizeof(control);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(int));
	}
	r = sys(sendmsg, to, &hdr, MSG_NOSIGNAL);
	return r < 0 ? (int)r : 0;
}

int agent_link_send(const struct ckpti_msg *msg)
{
	return send_on(agent_state.sock, msg, -1);
}

/* The next message; *ret_fd gets a descriptor that came with it, or -1.  0, or -errno at the end of
 * the conversation.  Until it is answered there is room for descriptors; while the coordinator looks
 * at the process its limit is its own: *ret_limit. */
static int receive(struct ckpti_msg *msg, int *ret_fd, struct rlimit *ret_limit)
{
	struct pollfd pfd = {.fd = agent_state.sock, .events = POLLIN};
	struct iovec iov = {.iov_base = msg, .iov_len = sizeof(*msg)};
	union control control;
	struct msghdr hdr;
	struct {
		int64_t sec, nsec;
	} timeout = {AGENT_DEADLINE_MS / 1000, 0};
	long r;

	*ret_fd = -1;
	memset(&hdr, 0, sizeof(hdr));
	hdr.msg_iov = &iov;
	hdr.msg_iovlen = 1;
	hdr.msg_control = &control;
	hdr.msg_controllen = sizeof(control);
	r = sys(ppoll, &pfd, 1, &timeout, 0, 8);
	if (r <= 0)
		return r < 0 ? (int)r : -ETIMEDOUT;
	agent_limit_lift(RLIMIT_NOFILE, ret_limit);
	r = sys(recvmsg, agent_state.sock, &hdr, MSG_CMSG_CLOEXEC);
	if (r < (long)sizeof(*msg)) {
		agent_limit_restore(RLIMIT_NOFILE, ret_limit);
		return r < 0 ? (int)r : -EPIPE;
	}
	if (hdr.msg_controllen >= sizeof(struct cmsghdr) && control.head.cmsg_level == SOL_SOCKET &&
	    control.head.cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(&control.head), sizeof(int));
	return 0;
}

static int map_mailbox(int fd, uint64_t size)
{
	long p = sys(mmap, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p < 0 && p > -4096)
		return (int)p;
	agent_state.mailbox = (uint8_t *)p;
	agent_state.mailbox_size = size;
	return 0;
}

static void round_ended(const struct ckpti_msg *msg)
{
	if (msg->error == 0 && msg->value) {
		ckpti_agent.generation = msg->value;
		ckpti_agent.want = 0;
	}
	__atomic_add_fetch(&ckpti_agent.event_seq, 1, __ATOMIC_SEQ_CST);
	(void)ckpti_futex_wake(&ckpti_agent.event_seq, 1 << 30);
}

static int hello(void)
{
	struct ckpti_msg msg;

	memset(&msg, 0, sizeof(msg));
	msg.type = CKPTI_M_HELLO;
	msg.n = agent_state.nin;
	msg.block = (uint64_t)&ckpti_agent;
	msg.resume = (uint64_t)ckpti_agent_resume;
	return agent_link_send(&msg);
}

void agent_serve(void)
{
	static struct ckpti_msg msg, answer;
	struct rlimit limit;
	int fd, r;

	if (hello() < 0)
		return;
	while (receive(&msg, &fd, &limit) == 0) {
		memset(&answer, 0, sizeof(answer));
		answer.type = CKPTI_M_DONE;
		switch (msg.type) {
		case CKPTI_M_MAILBOX:
			r = map_mailbox(fd, msg.value);
			break;
		case CKPTI_M_SENDFDS:
			r = agent_cmd_sendfds();
			break;
		case CKPTI_M_STATE:
			r = agent_cmd_state();
			break;
		case CKPTI_M_WRITE:
			r = agent_cmd_write(fd, msg.value, &answer);
			break;
		case CKPTI_M_RESUME:
			agent_limit_restore(RLIMIT_NOFILE, &limit);
			round_ended(&msg);
			return;
		default:
			r = -EPROTO;
		}
		if (fd >= 0)
			(void)sys(close, fd);
		agent_limit_restore(RLIMIT_NOFILE, &limit);
		if (r < 0) {
			answer.type = CKPTI_M_FAILED;
			answer.error = r;
		}
		if (agent_link_send(&answer) < 0)
			return;
	}
}

int agent_link_tell(uint64_t nonce, const struct ckpti_msg *msg, int fd)
{
	int sock = connect_to(nonce);
	int r;

	if (sock < 0)
		return sock;
	r = send_on(sock, msg, fd);
	(void)sys(close, sock);
	return r;
}

int ckpti_agent_prepared(uint64_t nonce, int veto)
{
	struct ckpti_msg msg;

	memset(&msg, 0, sizeof(msg));
	msg.type = CKPTI_M_PREPARED;
	msg.error = veto ? -ECANCELED : 0;
	return agent_link_tell(nonce, &msg, -1);
}
