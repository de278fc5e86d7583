/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does the coordinator that has sent a PREPARE still exist?  It listens on a socket that its nonce
 * names, and a list of sockets tells without disturbing it.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/protocol.h"
#include "api/api_private.h"

/* 1: name occurs in the file; 0: it does not; -1: that cannot be told. */
static int file_has(const char *path, const char *name)
{
	const size_t len = strlen(name);
	char buf[4096];
	size_t kept = 0;
	int found = -1;
	ssize_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && found != 1 && (n = read(fd, buf + kept, sizeof(buf) - kept)) > 0) {
		kept += (size_t)n;
		if (memmem(buf, kept, name, len))
			found = 1;
		/* The end may be the start of the name. */
		if (kept >= len) {
			memmove(buf, buf + kept - (len - 1), len - 1);
			kept = len - 1;
		}
	}
	if (fd >= 0) {
		if (found != 1 && n == 0)
			found = 0;
		(void)close(fd);
	}
	return found;
}

bool ckpti_coordinator_is_gone(uint64_t nonce)
{
	static const uint64_t all = ~0ULL;
	char name[64];
	uint64_t old;
	int found;

	(void)snprintf(name, sizeof(name), "@" CKPTI_SOCK_PREFIX "%016" PRIx64, nonce);
	/* With SIGCKPT closed no image is taken while the list is open. */
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
	found = file_has("/proc/net/unix", name);
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
	return found == 0;
}
