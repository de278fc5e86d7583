/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See hold.h.  The wait has an end of its own, so that a test that died holds nobody for good; and nothing
 * here can make an operation fail.
 */
#include "util/hold.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_MS 10
#define LIMIT_MS 60000

void ckpti_hold(const char *point)
{
	const char *dir = secure_getenv("CKPT_TEST_HOLD");
	char path[PATH_MAX], here[PATH_MAX + 96], host[65] = "";
	int fd;

	if (!dir || !*dir || snprintf(path, sizeof(path), "%s/%s", dir, point) >= PATH_MAX ||
	    access(path, F_OK) < 0)
		return;
	(void)gethostname(host, sizeof(host) - 1);
	(void)snprintf(here, sizeof(here), "%s.%s.%d", path, host, (int)getpid());
	fd = open(here, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		(void)close(fd);
	for (int ms = 0; ms < LIMIT_MS && access(path, F_OK) == 0; ms += PAUSE_MS)
		(void)nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
}
