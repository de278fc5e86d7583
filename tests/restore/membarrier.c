/* SPDX-License-Identifier: BSD-3-Clause */
/* What a process has registered for with membarrier(2) is allowed after a restart, and only that. */
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "t.h"

static long membarrier(int cmd)
{
	return syscall(SYS_membarrier, cmd, 0, 0);
}

int main(void)
{
	t_start();
	if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) < 0)
		t_skip("this kernel has no membarrier(2)");
	t_ready();
	t_check(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0, "the registration is lost: %m");
	t_check(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE) < 0 && errno == EPERM,
		"there is one that it did not make");
	t_done();
}
