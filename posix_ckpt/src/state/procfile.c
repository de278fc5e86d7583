/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files and directories of one process in /proc, such as /proc/self/mountinfo that a program watches.
 * They are opened again when the processes exist, each process that holds one for itself.  What was
 * read of a file so far and what is read from now on need not fit together, but never did.
 *
 * Files that show memory (maps, mem ...) belong to the memory that the process had when they were
 * opened; at a restart that is replaced after this.  Threads come later, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/state_private.h"

#define PROC "/proc/"

/* "/proc/PID/rest": the number and the rest, "" when there is none. */
static const char *split(const char *path, int *ret_pid)
{
	char *end;

	*ret_pid = (int)strtol(path + strlen(PROC), &end, 10);
	return *end == '/' ? end + 1 : end;
}

/* Is it bound to the memory of the process at the time when it was opened? */
static bool shows_memory(const char *rest)
{
	static const char *const name[] = {"maps",    "smaps",   "smaps_rollup", "numa_maps", "mem",
					   "pagemap", "environ", "auxv",         "clear_refs"};
	const char *slash = strrchr(rest, '/');

	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++)
		if (strcmp(slash ? slash + 1 : rest, name[i]) == 0)
			return true;
	return false;
}

static int proc_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	const char *rest;
	int pid, tid;

	if ((!S_ISREG(d->st.st_mode) && !S_ISDIR(d->st.st_mode)) || !ckpti_path_of_process(d->link))
		return 0;
	rest = split(d->link, &pid);
	if (shows_memory(rest))
		return ckpti_desc_err(d, err, -ENOTSUP, "shows the memory of a process in /proc");
	if (sscanf(rest, "task/%d", &tid) == 1 && tid != pid)
		return ckpti_desc_err(d, err, -ENOTSUP, "belongs to one thread in /proc");
	return 1;
}

static int proc_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_proc rec = {0};
	const char *str[1];
	struct stat st;
	int pid, r;

	str[0] = split(d->link, &pid);
	/* The number is that of the /proc through which it was opened. */
	if (cap->member)
		rec.pid =
			cap->member(cap, pid, stat("/proc", &st) == 0 && st.st_dev != d->st.st_dev);
	if (!rec.pid)
		return ckpti_desc_err(d, err, -ENOTSUP,
				      "belongs to a process outside the set in /proc");
	r = ckpti_desc_pos(d, &rec.pos, err);
	if (r < 0)
		return r;
	ckpti_obj_head(d, &rec.o);
	r = ckpti_image_add(cap->img, CKPTI_R_OBJ_PROC, &rec, sizeof(rec), str, 1, NULL, 0, 0);
	return r < 0 ? ckpti_desc_err(d, err, r, "cannot be saved: %s", strerror(-r)) : 0;
}

/* A place for what cannot be opened yet. */
static int proc_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	(void)rb;
	if (d->fd >= 0)
		return 0;
	d->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return d->fd < 0 ? ckpti_err(err, -errno, "cannot open /dev/null: %s", strerror(errno)) : 0;
}

static int proc_place(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_proc rec;
	char path[PATH_MAX];
	const char *rest;
	int pid, tid, fd, r;

	CKPTI_FIXED(&d->rec, &rec);
	pid = rb->pid_now(rb, rec.pid);
	rest = ckpti_view_str(&d->rec, 0);
	if (sscanf(rest, "task/%d", &tid) == 1) {
		rest = strchr(rest + strlen("task/"), '/');
		r = snprintf(path, sizeof(path), PROC "%d/task/%d%s", pid, pid, rest ? rest : "");
	} else {
		r = snprintf(path, sizeof(path), PROC "%d/%s", pid, rest);
	}
	if (r < 0 || r >= (int)sizeof(path))
		return ckpti_err(err, -ENAMETOOLONG, "a path in /proc is too long");
	fd = open(path, (int)rec.o.oflags & (O_ACCMODE | O_PATH | O_DIRECTORY));
	if (fd < 0)
		return ckpti_err_obj(err, -errno, 0, path, "cannot open '%.200s': %s", path,
				     strerror(errno));
	r = ckpti_obj_apply_at(fd, &rec.o, rec.pos);
	if (r < 0) {
		(void)close(fd);
		return ckpti_err_obj(err, r, 0, path, "cannot set up '%.200s': %s", path,
				     strerror(-r));
	}
	return fd;
}

const struct ckpti_fd_kind ckpti_kind_proc = {
	.name = "file of a process in /proc",
	.rec_type = CKPTI_R_OBJ_PROC,
	.probe = proc_probe,
	.save = proc_save,
	.restore = proc_restore,
	.place = proc_place,
};
