/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * epoll: which files are watched, for what, with which data.
 *
 * An entry is keyed by the open file and by the descriptor number that was used to add it, which
 * fdinfo shows without saying in which process.  Saving finds the file among the descriptions of the
 * set (device and inode first, then kcmp(2), because all anonymous inodes look alike) and a process
 * that still holds it under that number; that process adds the entry again after a restart, because
 * the number must be right for the program's own later EPOLL_CTL_MOD and DEL.  Where the number has
 * been closed while the file stayed open under another one, the file has it again while it is added.
 *
 * Limit: an EPOLLONESHOT entry that has fired is added again with no event but EPOLLERR and EPOLLHUP,
 * which the kernel cannot be kept from adding; an edge that was seen is reported once more.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "state/kinds.h"

/* One "tfd:" line of fdinfo. */
struct entry {
	int tfd;
	uint32_t toff; /* entries before it with the same number */
	uint32_t events;
	uint64_t data;
	uint64_t ino;
	dev_t dev;
};

static int epoll_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	(void)err;
	return strcmp(d->link, "anon_inode:[eventpoll]") == 0;
}

/* All entries of fdinfo; *ret is malloc'ed. */
static int parse(const char *fdinfo, struct entry **ret, size_t *ret_n)
{
	struct entry *list = NULL, *grown;
	const char *line = fdinfo;
	size_t n = 0, i;

	while ((line = strstr(line, "tfd:")) != NULL) {
		struct entry e = {0};
		unsigned long long sdev;

		if (sscanf(line,
			   "tfd: %d events: %x data: %" SCNx64 " pos:%*d ino:%" SCNx64 " sdev:%llx",
			   &e.tfd, &e.events, &e.data, &e.ino, &sdev) != 5) {
			free(list);
			return -EINVAL;
		}
		line += strlen("tfd:");
		/* The kernel's own dev_t: 20 bits of minor number. */
		e.dev = makedev((unsigned)(sdev >> 20), (unsigned)(sdev & 0xfffff));
		for (i = 0; i < n; i++)
			e.toff += list[i].tfd == e.tfd;
		grown = realloc(list, (n + 1) * sizeof(*list));
		if (!grown) {
			free(list);
			return -ENOMEM;
		}
		list = grown;
		list[n++] = e;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

/* Is t the watched file?  Where kcmp is not allowed, and in a mere check, the inode must do. */
static int is_target(const struct ckpti_desc *ep, const struct entry *e, const struct ckpti_desc *t)
{
	struct kcmp_epoll_slot slot = {.tfd = (uint32_t)e->tfd, .toff = e->toff};
	long r;

	if (t->st.st_ino != e->ino || t->st.st_dev != e->dev)
		return 0;
	if (ep->fd < 0 || t->fd < 0)
		return 1;
	slot.efd = (uint32_t)ep->fd;
	r = syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, (unsigned long)t->fd, &slot);
	return r == 0 || (r < 0 && (errno == EPERM || errno == ENOSYS || errno == EOPNOTSUPP));
}

/* A process that holds t under number num; the one of the epoll descriptor first. */
static const struct ckpti_desc *find_holder(const struct ckpti_capture *cap,
					    const struct ckpti_desc *ep, const struct ckpti_desc *t,
					    int num)
{
	size_t i;

	if (cap->lookup(cap, ep->pid, num) == t->id)
		return ep;
	if (cap->lookup(cap, t->pid, num) == t->id)
		return t;
	for (i = 0; i < cap->ndesc; i++)
		if (cap->lookup(cap, cap->desc[i].pid, num) == t->id)
			return &cap->desc[i];
	return NULL;
}

static int save_entry(struct ckpti_capture *cap, const struct ckpti_desc *ep, const struct entry *e,
		      struct ckpti_e_epoll *ret, struct ckpti_err *err)
{
	const struct ckpti_desc *holder = NULL, *target = NULL;
	size_t i;

	for (i = 0; i < cap->ndesc && !holder; i++) {
		if (!is_target(ep, e, &cap->desc[i]))
			continue;
		target = &cap->desc[i];
		holder = find_holder(cap, ep, target, e->tfd);
	}
	if (!target)
		return ckpti_err_obj(err, -ENOTSUP, ep->pid, ep->link,
				     "epoll descriptor %d watches descriptor %d, which has been "
				     "closed while the file stayed open outside the set",
				     ep->num, e->tfd);
	/* Each process opens its own then, and no number leads from the entry to one of them. */
	if (!holder && target->kind->place)
		return ckpti_err_obj(err, -ENOTSUP, ep->pid, ep->link,
				     "epoll descriptor %d watches descriptor %d, which has been "
				     "closed while its %s stayed open",
				     ep->num, e->tfd, target->kind->name);
	*ret = (struct ckpti_e_epoll){
		.fd = e->tfd,
		.obj = target->id,
		.events = e->events,
		.pid = (holder ? holder : ep)->image_pid,
		.data = e->data,
		.closed = !holder,
	};
	return 0;
}

static int epoll_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_epoll rec = {0};
	struct ckpti_e_epoll *out = NULL;
	struct entry *list = NULL;
	size_t n = 0, i;
	int r;

	r = parse(d->fdinfo, &list, &n);
	if (r < 0) {
		(void)ckpti_err_obj(err, r, d->pid, d->link,
				    "epoll descriptor %d: cannot read its entries: %s", d->num,
				    strerror(-r));
		goto out;
	}
	out = calloc(n + 1, sizeof(*out));
	if (!out) {
		r = ckpti_err(err, -ENOMEM, "out of memory");
		goto out;
	}
	for (i = 0; i < n; i++) {
		r = save_entry(cap, d, &list[i], &out[i], err);
		if (r < 0)
			goto out;
	}
	ckpti_obj_head(d, &rec.o);
	r = ckpti_image_add(cap->img, CKPTI_R_OBJ_EPOLL, &rec, sizeof(rec), NULL, 0, out,
			    sizeof(*out), n);
out:
	free(out);
	free(list);
	return r;
}

static int epoll_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_epoll rec;
	int fd;

	(void)rb;
	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		return ckpti_err(err, -errno, "cannot create an epoll descriptor: %s",
				 strerror(errno));
	return ckpti_obj_take(d, fd, &rec.o, "an epoll descriptor", err);
}

/* Add an entry whose number is another file's by now, or nobody's: it is the file's for a moment. */
static int add_closed(struct ckpti_rebuild *rb, int ep, const struct ckpti_e_epoll *e,
		      struct epoll_event *ev)
{
	struct ckpti_redesc *target = ckpti_redesc_by_id(rb, e->obj);
	int aside = fcntl(e->fd, F_DUPFD, 0), r = 0;

	if (aside < 0 && errno != EBADF)
		return -errno;
	if (!target || dup2(target->fd, e->fd) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, e->fd, ev) < 0)
		r = -errno;
	if (aside < 0) {
		(void)close(e->fd);
		return r;
	}
	if (dup2(aside, e->fd) < 0 && r == 0)
		r = -errno;
	(void)close(aside);
	return r;
}

static int epoll_attach(struct ckpti_rebuild *rb, struct ckpti_redesc *d, int pid,
			struct ckpti_err *err)
{
	struct ckpti_e_epoll e;
	uint64_t i;
	int r;

	for (i = 0; i < d->rec.count; i++) {
		struct epoll_event ev = {0};

		CKPTI_ELEM(&d->rec, i, &e);
		if (e.pid != pid)
			continue;
		ev.events = e.events;
		ev.data.u64 = e.data;
		if (e.closed)
			r = add_closed(rb, d->fd, &e, &ev);
		else
			r = epoll_ctl(d->fd, EPOLL_CTL_ADD, e.fd, &ev) < 0 ? -errno : 0;
		if (r < 0)
			return ckpti_err(err, r, "cannot watch descriptor %d by epoll: %s", e.fd,
					 strerror(-r));
	}
	return ckpti_obj_attach(rb, d, pid, err);
}

const struct ckpti_fd_kind ckpti_kind_epoll = {
	.name = "epoll",
	.rec_type = CKPTI_R_OBJ_EPOLL,
	.probe = epoll_probe,
	.save = epoll_save,
	.restore = epoll_restore,
	.attach = epoll_attach,
};
