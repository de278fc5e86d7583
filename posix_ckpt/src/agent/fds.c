/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hand a duplicate of every descriptor to the coordinator, which saves the objects behind them: it
 * can use libc, and sharing between processes is visible only from there.
 */
#include <errno.h>
#include <sys/socket.h>

#include "agent/agent_private.h"
#include "agent/mem.h"
#include "agent/text.h"

static struct ckpti_msg batch;

static int flush(int more)
{
	static union {
		struct cmsghdr head;
		uint8_t space[CMSG_SPACE(sizeof(int) * CKPTI_FDS_PER_MSG)];
	} control;
	struct iovec iov = {.iov_base = &batch, .iov_len = sizeof(batch)};
	struct msghdr hdr;
	long r;

	batch.type = CKPTI_M_FDS;
	batch.protocol = CKPTI_PROTOCOL;
	batch.pid = ckpti_agent.pid;
	batch.more = (uint32_t)more;
	memset(&hdr, 0, sizeof(hdr));
	hdr.msg_iov = &iov;
	hdr.msg_iovlen = 1;
	if (batch.n) {
		hdr.msg_control = &control;
		hdr.msg_controllen = CMSG_SPACE(sizeof(int) * batch.n);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int) * batch.n);
		memcpy(CMSG_DATA(&control.head), batch.fd, sizeof(int) * batch.n);
	}
	r = sys(sendmsg, agent_state.sock, &hdr, MSG_NOSIGNAL);
	batch.n = 0;
	return r < 0 ? (int)r : 0;
}

static int add(void *arg, int dirfd, int fd)
{
	(void)arg;
	if (fd == dirfd || fd == agent_state.sock || agent_foreign_fd(fd))
		return 0;
	batch.fd[batch.n++] = fd;
	return batch.n == CKPTI_FDS_PER_MSG ? flush(1) : 0;
}

int agent_cmd_sendfds(void)
{
	int r;

	memset(&batch, 0, sizeof(batch));
	r = agent_for_numbers("/proc/self/fd", add, NULL);
	return r < 0 ? r : flush(0);
}
