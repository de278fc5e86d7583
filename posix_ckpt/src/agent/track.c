/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Give the coordinator the means to see which pages change: a userfaultfd, which only the process
 * itself can make.  All else is done with it from outside, while the program runs.  It is closed here
 * when it has been sent, and when the coordinator ends, however it does, the kernel drops all that was
 * done with it.
 */
#include <errno.h>
#include <fcntl.h>

#include "agent/agent_private.h"
#include "agent/mem.h"

static uint64_t nonce; /* of the request that is being served */

static int send_tracker(void)
{
	struct ckpti_msg msg;
	long fd = sys(userfaultfd, O_CLOEXEC | CKPTI_UFFD_USER_MODE_ONLY);
	int r;

	memset(&msg, 0, sizeof(msg));
	msg.type = CKPTI_M_TRACK;
	msg.error = fd < 0 ? (int32_t)fd : 0;
	msg.n = fd >= 0;
	r = agent_link_tell(nonce, &msg, (int)fd);
	if (fd >= 0)
		(void)sys(close, fd);
	return r;
}

void agent_track(uint64_t wanted_by)
{
	uint32_t idle = AGENT_IDLE;

	/* A round has begun: it will do without. */
	if (!__atomic_compare_exchange_n(&agent_state.phase, &idle, AGENT_STARTING, 0,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return;
	nonce = wanted_by;
	if (agent_thread_count() == 1)
		(void)send_tracker();
	else
		(void)agent_apart(send_tracker);
	__atomic_store_n(&agent_state.phase, AGENT_IDLE, __ATOMIC_SEQ_CST);
}
