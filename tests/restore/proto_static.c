/* SPDX-License-Identifier: BSD-3-Clause */
/* Linked statically: it has no libckpt, and the signal of checkpoints would end it. */
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	uint64_t none = 0;

	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
	for (int i = 0; i < 6000; i++)
		(void)usleep(10000);
	return 0;
}
