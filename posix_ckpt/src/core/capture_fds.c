/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors: the agents pass duplicates of all of them; kcmp() on our own duplicates tells which
 * ones are the same open file description, so no rights over the processes are needed.  All
 * duplicates are closed before anybody goes on: a held one would hide an end of file.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/capture.h"

static uint32_t lookup(const struct ckpti_capture *cap, int pid, int num)
{
	const struct ckpti_snap *s =
		(const struct ckpti_snap *)((const char *)cap - offsetof(struct ckpti_snap, cap));

	for (size_t i = 0; i < s->nfdref; i++)
		if (s->fdref[i].pid == pid && s->fdref[i].e.fd == num)
			return s->fdref[i].e.obj;
	return 0;
}

static int member(const struct ckpti_capture *cap, int pid, bool inner)
{
	const struct ckpti_snap *s =
		(const struct ckpti_snap *)((const char *)cap - offsetof(struct ckpti_snap, cap));

	for (size_t i = 0; i < s->set->n; i++) {
		const struct ckpti_procinfo *p = &s->set->member[i].info;

		if ((inner ? p->inner_pid : p->pid) == pid)
			return p->inner_pid;
	}
	return 0;
}

/* The description that fd refers to, if it is known already. */
static struct ckpti_desc *same_description(struct ckpti_snap *s, int fd, const struct stat *st)
{
	pid_t self = getpid();

	for (size_t i = 0; i < s->cap.ndesc; i++) {
		struct ckpti_desc *d = &s->cap.desc[i];

		if (d->st.st_dev == st->st_dev && d->st.st_ino == st->st_ino &&
		    syscall(SYS_kcmp, self, self, KCMP_FILE, d->fd, fd) == 0)
			return d;
	}
	return NULL;
}

static char *read_fdinfo(int pid, int num)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "fdinfo/%d", num);
	return ckpti_procfs_slurp(pid, name, NULL);
}

static int new_description(struct ckpti_snap *s, struct ckpti_member *m, int num, int fd,
			   const struct stat *st, uint32_t *ret_id, struct ckpti_err *err)
{
	struct ckpti_desc *bigger, *d;
	char name[32];

	bigger = realloc(s->cap.desc, (s->cap.ndesc + 1) * sizeof(*bigger));
	if (!bigger)
		return ckpti_err(err, -ENOMEM, "out of memory");
	s->cap.desc = bigger;
	d = &s->cap.desc[s->cap.ndesc];
	memset(d, 0, sizeof(*d));
	d->id = (uint32_t)s->cap.ndesc + 1;
	d->pid = m->info.pid;
	d->image_pid = m->info.inner_pid;
	d->num = num;
	d->fd = fd;
	d->oflags = fcntl(fd, F_GETFL);
	d->st = *st;
	(void)snprintf(name, sizeof(name), "fd/%d", num);
	if (ckpti_procfs_link(m->info.pid, name, d->link) < 0)
		return ckpti_err_obj(err, -EPERM, m->info.pid, m->info.comm,
				     "descriptor %d may not be read", num);
	d->fdinfo = read_fdinfo(m->info.pid, num);
	if (!d->fdinfo)
		return ckpti_err_obj(err, -EPERM, m->info.pid, m->info.comm,
				     "fdinfo of descriptor %d may not be read", num);
	s->cap.ndesc++;
	*ret_id = d->id;
	return ckpti_fd_probe(d, err);
}

static int take_one(struct ckpti_snap *s, struct ckpti_member *m, int num, int fd,
		    struct ckpti_err *err)
{
	struct ckpti_fdref *ref, *bigger;
	struct ckpti_desc *known;
	char *fdinfo;
	uint32_t id = 0;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return ckpti_err_obj(err, -errno, m->info.pid, m->info.comm,
				     "descriptor %d cannot be examined: %s", num, strerror(errno));
	known = same_description(s, fd, &st);
	if (known) {
		id = known->id;
		(void)close(fd);
	} else {
		r = new_description(s, m, num, fd, &st, &id, err);
		if (r < 0)
			return r;
	}
	bigger = realloc(s->fdref, (s->nfdref + 1) * sizeof(*bigger));
	if (!bigger)
		return ckpti_err(err, -ENOMEM, "out of memory");
	s->fdref = bigger;
	ref = &s->fdref[s->nfdref++];
	memset(ref, 0, sizeof(*ref));
	ref->pid = m->info.pid;
	ref->e.fd = num;
	ref->e.obj = id;
	fdinfo = read_fdinfo(m->info.pid, num);
	if (fdinfo) {
		const char *flags = ckpti_fdinfo_field(fdinfo, "flags");

		if (flags && (strtoul(flags, NULL, 8) & O_CLOEXEC))
			ref->e.flags = FD_CLOEXEC;
		/* A description of TIOCGPTPEER keeps the flag that it was opened with, and fdinfo shows
		 * it everywhere; nobody would have that on standard input, output and error. */
		if (num <= STDERR_FILENO && (s->cap.desc[id - 1].oflags & O_CLOEXEC))
			ref->e.flags = 0;
	}
	r = fdinfo ? ckpti_locks_save(s->locks, m->info.inner_pid, num, id, fdinfo, err) : 0;
	free(fdinfo);
	return r;
}

static int on_fds(void *arg, struct ckpti_member *m, const int *num, const int *fd, uint32_t n)
{
	struct {
		struct ckpti_snap *s;
		struct ckpti_err *err;
	} *ctx = arg;
	int r = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (r == 0)
			r = take_one(ctx->s, m, num[i], fd[i], ctx->err);
		else
			(void)close(fd[i]);
	}
	return r;
}

/* Some kinds cannot even be handed over (an io_uring): which one, and what is it? */
static int name_refused(const struct ckpti_member *m, int error, struct ckpti_err *err)
{
	struct ckpti_err why = {0};
	char dir[64];
	int *nums = NULL;
	size_t n = 0;
	int r = 0;

	(void)snprintf(dir, sizeof(dir), "/proc/%d/fd", m->info.pid);
	if (ckpti_procfs_numbers(dir, &nums, &n) < 0)
		return error;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = ckpti_check_descriptor(m, nums[i], &why);
	free(nums);
	if (r < 0)
		*err = why;
	return r < 0 ? r : error;
}

int ckpti_snap_descriptors(struct ckpti_snap *s, struct ckpti_err *err)
{
	struct {
		struct ckpti_snap *s;
		struct ckpti_err *err;
	} ctx = {s, err};
	struct ckpti_call call = {.type = CKPTI_M_SENDFDS, .fd = -1, .on_fds = on_fds, .arg = &ctx};
	int r = 0;

	/* Without it every descriptor would look like a description of its own. */
	if (syscall(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0) < 0)
		return ckpti_err(err, -ENOTSUP,
				 "this kernel does not compare descriptors (kcmp: %s)",
				 strerror(errno));
	s->cap.lookup = lookup;
	s->cap.member = member;
	for (size_t i = 0; r == 0 && i < s->set->n; i++) {
		struct ckpti_member *m = &s->set->member[i];

		if (m->state != CKPTI_MEMBER_IN)
			continue;
		r = ckpti_link_send(m, &call, err);
		if (r == 0)
			r = ckpti_link_wait(m, &call, err);
		if (r == -EINVAL)
			r = name_refused(m, r, err);
	}
	return r;
}

int ckpti_snap_objects(struct ckpti_snap *s, struct ckpti_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->cap.ndesc; i++)
		r = s->cap.desc[i].kind->save(&s->cap, &s->cap.desc[i], err);
	for (size_t i = 0; r == 0 && i < s->set->n; i++) {
		struct ckpti_member *m = &s->set->member[i];
		struct ckpti_pid_head head = {.pid = m->info.inner_pid};
		struct ckpti_e_fd *e = calloc(s->nfdref + 1, sizeof(*e));
		size_t n = 0;

		if (!e)
			return ckpti_err(err, -ENOMEM, "out of memory");
		for (size_t k = 0; k < s->nfdref; k++)
			if (s->fdref[k].pid == m->info.pid)
				e[n++] = s->fdref[k].e;
		if (m->state == CKPTI_MEMBER_IN)
			r = ckpti_image_add(&s->img, CKPTI_R_FDS, &head, sizeof(head), NULL, 0, e,
					    sizeof(*e), n);
		free(e);
		if (r < 0)
			return ckpti_err(err, r, "out of memory");
	}
	if (r == 0)
		r = ckpti_locks_record(s->locks, &s->img);
	return r;
}

void ckpti_snap_close_descriptors(struct ckpti_snap *s)
{
	for (size_t i = 0; i < s->cap.ndesc; i++) {
		struct ckpti_desc *d = &s->cap.desc[i];

		if (d->fd >= 0)
			(void)close(d->fd);
		d->fd = -1;
		free(d->fdinfo);
		d->fdinfo = NULL;
		free(d->priv);
		d->priv = NULL;
	}
}
