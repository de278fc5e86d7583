/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parts of a parallel job that come back together: what one of them puts back in the file system another
 * may read at once.  So a part says by a file of an agreed name that it is done, and waits for those of
 * the others before its processes go on.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/life.h"

#define STEP_NS       50000000
#define LIMIT_MS      600000 /* as long as reading a large image may take */
#define MS_OF_STEP_NS (STEP_NS / 1000000)

static int say(const char *path, struct ckpti_err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return ckpti_err_obj(err, -errno, 0, path, "cannot make '%.200s': %s", path,
				     strerror(errno));
	(void)close(fd);
	return 0;
}

int ckpti_life_meet(struct ckpti_life *life, struct ckpti_err *err)
{
	const struct ckpti_restart_req *req = life->req;
	const struct timespec step = {.tv_nsec = STEP_NS};
	int r = req->settled ? say(req->settled, err) : 0;

	for (size_t i = 0, ms = 0; r == 0 && i < req->nafter;) {
		if (access(req->after[i], F_OK) == 0) {
			i++;
			continue;
		}
		if (ckpti_tree_aborted(life, err))
			return err->code ? err->code : -ECANCELED;
		if (ms > LIMIT_MS)
			return ckpti_err_obj(err, -ETIMEDOUT, 0, req->after[i],
					     "another part has not made '%.200s' within %d s",
					     req->after[i], LIMIT_MS / 1000);
		(void)nanosleep(&step, NULL);
		ms += MS_OF_STEP_NS;
	}
	return r;
}
