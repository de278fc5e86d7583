/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Do the records agree with each other?  Two passes: the first collects every number that something
 * may refer to in one sorted table and refuses doubles; the second looks at each record and resolves
 * its references.  Both are O(n log n), so that a hostile image cannot make us slow either.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/refs_private.h"

#define PID_LIMIT (1 << 22) /* PID_MAX_LIMIT of the kernel */

int ckpti_refs_bad(const struct refs *r, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return ckpti_err(r->err, -EBADMSG, "record %" PRIu64 " of the image (%s) is invalid: %s",
			 r->rec, ckpti_rec_name(r->type), what);
}

static int no_memory(const struct refs *r)
{
	return ckpti_err(r->err, -ENOMEM, "no memory to check the image");
}

/* ---- the table ---------------------------------------------------------------------------- */

static int add_ref(struct refs *r, enum ref_space space, uint32_t id, uint32_t type, uint64_t size)
{
	struct ref *p;
	size_t cap;

	if (id == 0)
		return ckpti_refs_bad(r, "it has the number 0");
	if (r->nref == r->cap) {
		cap = r->cap ? 2 * r->cap : 256;
		p = reallocarray(r->ref, cap, sizeof(*p));
		if (!p)
			return no_memory(r);
		r->ref = p;
		r->cap = cap;
	}
	r->ref[r->nref++] = (struct ref){.space = space, .id = id, .type = type, .size = size};
	return 0;
}

static int add_proc(struct refs *r, const struct ckpti_view *v)
{
	struct ckpti_r_proc proc;
	struct ref_proc *p;
	size_t cap;
	int res;

	CKPTI_FIXED(v, &proc);
	if (proc.pid <= 0 || proc.pid > PID_LIMIT)
		return ckpti_refs_bad(r, "process id %" PRId32, proc.pid);
	if (r->nprocs == r->procs_cap) {
		cap = r->procs_cap ? 2 * r->procs_cap : 16;
		p = reallocarray(r->procs, cap, sizeof(*p));
		if (!p)
			return no_memory(r);
		r->procs = p;
		r->procs_cap = cap;
	}
	res = add_ref(r, REF_PROC, (uint32_t)proc.pid, 0, r->nprocs);
	if (res < 0)
		return res;
	r->procs[r->nprocs++] = (struct ref_proc){.pid = proc.pid, .proc = *v};
	return 0;
}

static int add_threads(struct refs *r, const struct ckpti_view *v)
{
	struct ckpti_e_thread t;
	uint64_t i;
	int res = 0;

	for (i = 0; i < v->count && res == 0; i++) {
		CKPTI_ELEM(v, i, &t);
		if (t.tid <= 0 || t.tid > PID_LIMIT)
			return ckpti_refs_bad(r, "thread id %" PRId32, t.tid);
		res = add_ref(r, REF_THREAD, (uint32_t)t.tid, ckpti_view_key(v), 0);
	}
	return res;
}

/* First pass: enter what v defines. */
static int collect(struct refs *r, const struct ckpti_view *v)
{
	uint32_t key = ckpti_view_key(v);
	struct ckpti_r_datafile datafile;
	struct ckpti_r_mapfile mapfile;
	struct ckpti_r_content content;
	struct ckpti_r_shm shm;

	switch (v->type) {
	case CKPTI_R_DATAFILE:
		CKPTI_FIXED(v, &datafile);
		return add_ref(r, REF_DATAFILE, key, 0, datafile.size);
	case CKPTI_R_MAPFILE:
		CKPTI_FIXED(v, &mapfile);
		return add_ref(r, REF_MAPFILE, key, 0, mapfile.size);
	case CKPTI_R_SHM:
		CKPTI_FIXED(v, &shm);
		return add_ref(r, REF_SHM, key, 0, shm.size);
	case CKPTI_R_CONTENT:
		CKPTI_FIXED(v, &content);
		return add_ref(r, REF_CONTENT, key, 0, content.size);
	case CKPTI_R_PROC:
		return add_proc(r, v);
	case CKPTI_R_THREADS:
		return add_threads(r, v);
	default:
		if (ckpti_rec_is_obj(v->type))
			return add_ref(r, REF_OBJ, key, v->type, 0);
		return 0;
	}
}

static int compare(const void *a, const void *b)
{
	const struct ref *x = a, *y = b;

	if (x->space != y->space)
		return x->space < y->space ? -1 : 1;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return 0;
}

const struct ref *ckpti_refs_find(const struct refs *r, enum ref_space space, uint64_t id)
{
	struct ref key = {.space = space, .id = (uint32_t)id};

	if (id > UINT32_MAX || r->nref == 0)
		return NULL;
	return bsearch(&key, r->ref, r->nref, sizeof(key), compare);
}

struct ref_proc *ckpti_refs_proc(const struct refs *r, int32_t pid)
{
	const struct ref *ref = pid > 0 ? ckpti_refs_find(r, REF_PROC, (uint32_t)pid) : NULL;

	return ref ? &r->procs[ref->size] : NULL;
}

static int sort_refs(struct refs *r)
{
	static const char *const names[REF_SPACES] = {
		"data files",     "mapped files", "shared memory objects",
		"saved contents", "open files",   "processes",
		"threads",
	};
	size_t i;

	if (r->nref > 0)
		qsort(r->ref, r->nref, sizeof(r->ref[0]), compare);
	for (i = 1; i < r->nref; i++) {
		if (compare(&r->ref[i - 1], &r->ref[i]) == 0)
			return ckpti_err(r->err, -EBADMSG,
					 "the image is invalid: two %s with the number %" PRIu32,
					 names[r->ref[i].space], r->ref[i].id);
	}
	return 0;
}

/* ---- records that belong to no single process -------------------------------------------- */

/* "data-" or "pin-" and exactly `digits` lower-case hex digits: such a name cannot lead out of the
 * statefile directory. */
static int good_name(const char *name, const char *prefix, size_t digits)
{
	size_t n = strlen(prefix);

	return strncmp(name, prefix, n) == 0 && strlen(name) == n + digits &&
	       strspn(name + n, "0123456789abcdef") == digits;
}

static int check_set(struct refs *r, const struct ckpti_view *v)
{
	uint64_t threads = 0;
	struct ckpti_r_set s;
	size_t i;

	CKPTI_FIXED(v, &s);
	for (i = 0; i < r->nref; i++)
		threads += r->ref[i].space == REF_THREAD;
	if (s.nprocs > r->nprocs || s.nthreads > threads)
		return ckpti_refs_bad(r, "it counts more processes or threads than there are");
	if (s.root_pid != 0 && !ckpti_refs_find(r, REF_PROC, s.root_pid))
		return ckpti_refs_bad(r, "the root process %" PRIu32 " is missing", s.root_pid);
	return 0;
}

static int check_machine(struct refs *r, const struct ckpti_view *v)
{
	struct ckpti_r_machine m;

	CKPTI_FIXED(v, &m);
	if (m.page_size != r->page)
		return ckpti_refs_bad(r, "page size %" PRIu32 " is not that of the header",
				      m.page_size);
	if (m.cpu_words > sizeof(m.cpu) / sizeof(m.cpu[0]))
		return ckpti_refs_bad(r, "%" PRIu32 " words of processor features", m.cpu_words);
	return 0;
}

static int check_datafile(struct refs *r, const struct ckpti_view *v)
{
	struct ckpti_r_datafile d;

	CKPTI_FIXED(v, &d);
	if (d.flags != 0)
		return ckpti_refs_bad(r, "unknown flags %#" PRIx32, d.flags);
	if (!good_name(ckpti_view_str(v, 0), "data-", 8))
		return ckpti_refs_bad(r, "its name is not one of a data file");
	return 0;
}

static int check_mapfile(struct refs *r, const struct ckpti_view *v)
{
	const char *copy = ckpti_view_str(v, 1);

	if (*copy && !good_name(copy, "pin-", 32))
		return ckpti_refs_bad(r, "the name of its copy is not one of a pinned file");
	return 0;
}

static int check_extents(struct refs *r, const struct ckpti_view *v)
{
	const struct ref *owner = NULL, *file;
	struct ckpti_r_extents x;
	struct ckpti_e_extent e;
	struct ref_proc *proc = NULL;
	uint64_t i, end;
	int fits;

	CKPTI_FIXED(v, &x);
	switch (x.owner_kind) {
	case CKPTI_OWN_PROC:
		proc = ckpti_refs_proc(r, (int32_t)x.owner);
		break;
	case CKPTI_OWN_SHM:
		owner = ckpti_refs_find(r, REF_SHM, x.owner);
		break;
	case CKPTI_OWN_CONTENT:
		owner = ckpti_refs_find(r, REF_CONTENT, x.owner);
		break;
	default:
		return ckpti_refs_bad(r, "unknown kind of owner %" PRIu32, x.owner_kind);
	}
	if (!proc && !owner)
		return ckpti_refs_bad(r, "its owner %" PRIu32 " is missing", x.owner);

	for (i = 0; i < v->count; i++) {
		CKPTI_ELEM(v, i, &e);
		if (e.flags != 0)
			return ckpti_refs_bad(r, "unknown flags of an extent: %#" PRIx32, e.flags);
		file = ckpti_refs_find(r, REF_DATAFILE, e.datafile);
		if (!file)
			return ckpti_refs_bad(r, "data file %" PRIu32 " is missing", e.datafile);
		if (e.len == 0 || e.off % CKPTI_PAGE || e.off > file->size ||
		    e.len > file->size - e.off)
			return ckpti_refs_bad(r,
					      "an extent at %#" PRIx64
					      " lies outside data file %" PRIu32,
					      e.off, e.datafile);
		if (e.addr % CKPTI_PAGE || __builtin_add_overflow(e.addr, e.len, &end))
			return ckpti_refs_bad(r, "an extent for the odd address %#" PRIx64, e.addr);
		if (proc)
			fits = e.len % r->page == 0 && ckpti_refs_mapped(proc, e.addr, e.len);
		else
			fits = end - owner->size < r->page || end <= owner->size;
		if (!fits)
			return ckpti_refs_bad(r, "an extent at %#" PRIx64 " lies outside its owner",
					      e.addr);
	}
	return 0;
}

static int check_shm(struct refs *r, const struct ckpti_view *v)
{
	struct ckpti_r_shm s;

	CKPTI_FIXED(v, &s);
	if (s.kind < CKPTI_SHM_ANON || s.kind > CKPTI_SHM_DELETED)
		return ckpti_refs_bad(r, "unknown kind %" PRIu32, s.kind);
	if (s.size > INT64_MAX)
		return ckpti_refs_bad(r, "size %#" PRIx64, s.size);
	return 0;
}

static int check_locks(struct refs *r, const struct ckpti_view *v)
{
	struct ckpti_e_lock l;
	uint64_t i;

	for (i = 0; i < v->count; i++) {
		CKPTI_ELEM(v, i, &l);
		if (l.kind < CKPTI_LOCK_POSIX || l.kind > CKPTI_LOCK_FLOCK)
			return ckpti_refs_bad(r, "unknown kind of lock %" PRIu32, l.kind);
		if (!ckpti_refs_find(r, REF_OBJ, l.obj))
			return ckpti_refs_bad(r, "open file %" PRIu32 " is missing", l.obj);
		if (!ckpti_refs_proc(r, l.pid))
			return ckpti_refs_bad(r, "process %" PRId32 " is missing", l.pid);
	}
	return 0;
}

static int check_epoll(struct refs *r, const struct ckpti_view *v)
{
	struct ckpti_e_epoll e;
	uint64_t i;

	for (i = 0; i < v->count; i++) {
		CKPTI_ELEM(v, i, &e);
		if (!ckpti_refs_find(r, REF_OBJ, e.obj))
			return ckpti_refs_bad(r, "open file %" PRIu32 " is missing", e.obj);
		if (!ckpti_refs_proc(r, e.pid))
			return ckpti_refs_bad(r, "process %" PRId32 " is missing", e.pid);
	}
	return 0;
}

static int check_watches(struct refs *r, const struct ckpti_view *v)
{
	struct ckpti_e_watch e;
	int32_t last = 0;
	uint64_t i;

	for (i = 0; i < v->count; i++) {
		CKPTI_ELEM(v, i, &e);
		if (e.wd <= last)
			return ckpti_refs_bad(r, "watch %" PRId32 " behind watch %" PRId32, e.wd,
					      last);
		last = e.wd;
	}
	return 0;
}

/* The other end of a socket: none, or an object of the same type. */
static int check_peer(struct refs *r, uint32_t type, uint32_t peer)
{
	const struct ref *ref;

	if (peer == 0)
		return 0;
	ref = ckpti_refs_find(r, REF_OBJ, peer);
	if (!ref || ref->type != type)
		return ckpti_refs_bad(r, "its peer %" PRIu32 " is missing", peer);
	return 0;
}

static int check_queue(struct refs *r, const struct ckpti_view *v, uint64_t nbytes, uint64_t nmsgs)
{
	uint64_t have = v->count; /* bytes: the table says so */

	if (nbytes > have || nmsgs > (have - nbytes) / sizeof(uint32_t))
		return ckpti_refs_bad(r,
				      "it should hold %" PRIu64 " queued bytes and holds %" PRIu64,
				      nbytes, have);
	return 0;
}

static int check_proc(struct refs *r, int32_t pid)
{
	return ckpti_refs_proc(r, pid) ? 0
				       : ckpti_refs_bad(r, "process %" PRId32 " is missing", pid);
}

static int check_ptm(struct refs *r, const struct ckpti_view *v)
{
	uint64_t lines = 0, i;
	struct ckpti_r_obj_ptm p;
	uint32_t line[2];

	CKPTI_FIXED(v, &p);
	if (v->count != (uint64_t)p.nlines * sizeof(line) + p.nin + p.nout)
		return ckpti_refs_bad(r, "its queues do not add up");
	for (i = 0; i < p.nlines; i++) {
		memcpy(line, (const uint8_t *)v->array + i * sizeof(line), sizeof(line));
		lines += line[0];
	}
	return lines == p.nin ? 0 : ckpti_refs_bad(r, "its lines do not add up");
}

static int check_obj(struct refs *r, const struct ckpti_view *v)
{
	struct ckpti_r_obj_stdio stdio;
	struct ckpti_r_obj_memfd memfd;
	struct ckpti_r_obj_pidfd pidfd;
	struct ckpti_r_obj_proc proc;
	struct ckpti_r_obj_file file;
	struct ckpti_r_obj_pipe pipe;
	struct ckpti_r_obj_unix un;
	struct ckpti_r_obj_netlink nl;
	struct ckpti_r_obj_tcp tcp;
	struct ckpti_r_obj_udp udp;
	struct ckpti_r_obj_pts pts;
	int res;

	switch (v->type) {
	case CKPTI_R_OBJ_FILE:
		CKPTI_FIXED(v, &file);
		if (file.content != 0 && !ckpti_refs_find(r, REF_CONTENT, file.content))
			return ckpti_refs_bad(r, "content %" PRIu64 " is missing", file.content);
		return 0;
	case CKPTI_R_OBJ_STDIO:
		CKPTI_FIXED(v, &stdio);
		if (stdio.fd < 0 || stdio.fd > 2)
			return ckpti_refs_bad(r, "descriptor %" PRId32 " is none of 0, 1, 2",
					      stdio.fd);
		return 0;
	case CKPTI_R_OBJ_PIPE:
	case CKPTI_R_OBJ_FIFO:
		CKPTI_FIXED(v, &pipe);
		/* The lengths count as queued bytes here. */
		if (pipe.npackets > pipe.nbytes / sizeof(uint32_t))
			return ckpti_refs_bad(r, "lengths of its packets are missing");
		return check_queue(r, v, pipe.nbytes, 0);
	case CKPTI_R_OBJ_EPOLL:
		return check_epoll(r, v);
	case CKPTI_R_OBJ_INOTIFY:
		return check_watches(r, v);
	case CKPTI_R_OBJ_MEMFD:
		CKPTI_FIXED(v, &memfd);
		if (!ckpti_refs_find(r, REF_SHM, memfd.shm))
			return ckpti_refs_bad(r, "shared memory %" PRIu32 " is missing", memfd.shm);
		return 0;
	case CKPTI_R_OBJ_UNIX:
		CKPTI_FIXED(v, &un);
		res = check_peer(r, v->type, un.peer);
		return res < 0 ? res
			       : check_queue(r, v, un.nbytes,
					     (uint64_t)un.nmsgs * (un.senders ? 2 : 1));
	case CKPTI_R_OBJ_TCP:
		CKPTI_FIXED(v, &tcp);
		res = check_peer(r, v->type, tcp.peer);
		return res < 0 ? res : check_queue(r, v, tcp.nbytes, 0);
	case CKPTI_R_OBJ_UDP:
		CKPTI_FIXED(v, &udp);
		return check_queue(
			r, v, udp.nbytes,
			udp.nopts * (uint64_t)sizeof(struct ckpti_e_sockopt) / 4 +
				udp.ngroups * (uint64_t)sizeof(struct ckpti_e_membership) / 4 +
				udp.nmsgs * (uint64_t)sizeof(struct ckpti_e_datagram) / 4);
	case CKPTI_R_OBJ_NETLINK:
		CKPTI_FIXED(v, &nl);
		return check_queue(r, v, 0,
				   nl.nopts * (uint64_t)sizeof(struct ckpti_e_sockopt) / 4 +
					   nl.ngroups + nl.nfilter * UINT64_C(2));
	case CKPTI_R_OBJ_PIDFD:
		CKPTI_FIXED(v, &pidfd);
		return pidfd.pid == 0 ? 0 : check_proc(r, pidfd.pid);
	case CKPTI_R_OBJ_PROC:
		CKPTI_FIXED(v, &proc);
		return check_proc(r, proc.pid);
	case CKPTI_R_OBJ_PTM:
		return check_ptm(r, v);
	case CKPTI_R_OBJ_PTS:
		CKPTI_FIXED(v, &pts);
		return check_peer(r, CKPTI_R_OBJ_PTM, pts.master);
	default:
		return 0;
	}
}

/* ---- both passes -------------------------------------------------------------------------- */

static int check_record(struct refs *r, const struct ckpti_view *v)
{
	switch (v->type) {
	case CKPTI_R_SET:
		return check_set(r, v);
	case CKPTI_R_MACHINE:
		return check_machine(r, v);
	case CKPTI_R_DATAFILE:
		return check_datafile(r, v);
	case CKPTI_R_MAPFILE:
		return check_mapfile(r, v);
	case CKPTI_R_EXTENTS: /* when all address spaces are known */
		return 0;
	case CKPTI_R_SHM:
		return check_shm(r, v);
	case CKPTI_R_CONTENT:
		return 0;
	case CKPTI_R_LOCKS:
		return check_locks(r, v);
	default:
		if (ckpti_rec_is_obj(v->type))
			return check_obj(r, v);
		return ckpti_refs_check_proc_record(r, v);
	}
}

static int for_each(struct refs *r, int (*fn)(struct refs *, const struct ckpti_view *))
{
	struct ckpti_view v;
	size_t pos = 0;
	int res = 0;

	for (r->rec = 0; res == 0 && ckpti_image_next(r->img, &pos, &v); r->rec++) {
		r->type = v.type;
		res = fn(r, &v);
	}
	return res;
}

static int check_extents_only(struct refs *r, const struct ckpti_view *v)
{
	return v->type == CKPTI_R_EXTENTS ? check_extents(r, v) : 0;
}

/* SET first, and what must be there once is there once. */
static int check_shape(struct refs *r)
{
	int set = 0, machine = 0, locks = 0;
	struct ckpti_view v;
	size_t pos = 0;

	while (ckpti_image_next(r->img, &pos, &v)) {
		if (set == 0 && v.type != CKPTI_R_SET)
			return ckpti_err(r->err, -EBADMSG,
					 "the image is invalid: it does not start with its set");
		set += v.type == CKPTI_R_SET;
		machine += v.type == CKPTI_R_MACHINE;
		locks += v.type == CKPTI_R_LOCKS;
	}
	if (set != 1 || machine != 1 || locks > 1)
		return ckpti_err(r->err, -EBADMSG,
				 "the image is invalid: %d sets, %d machines, %d lists of locks",
				 set, machine, locks);
	return 0;
}

int ckpti_image_check_refs(const struct ckpti_image *img, struct ckpti_err *err)
{
	struct refs r = {.img = img, .err = err, .page = ckpti_image_header(img)->page_size};
	int res;

	res = check_shape(&r);
	if (res < 0)
		goto out;
	res = for_each(&r, collect);
	if (res < 0)
		goto out;
	res = sort_refs(&r);
	if (res < 0)
		goto out;
	res = for_each(&r, check_record);
	if (res < 0)
		goto out;
	res = ckpti_refs_check_procs(&r);
	if (res < 0)
		goto out;
	res = for_each(&r, check_extents_only);
out:
	free(r.ref);
	free(r.procs);
	return res;
}
