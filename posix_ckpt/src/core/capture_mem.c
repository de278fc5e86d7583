/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory: classify every mapping of every process, save what the image must hold.  Private pages are
 * written by the process itself; an object of shared memory is saved once for the set, through a
 * descriptor or its path where there is one, otherwise through one of its mappings.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/capture.h"
#include "core/trace.h"
#include "state/state_private.h"

#define DELETED " (deleted)"

/* One member while its mappings are looked at. */
struct plan {
	struct ckpti_snap *s;
	struct ckpti_member *m;
	const struct ckpti_state *st;
	struct ckpti_e_vma *vma;
	size_t nvma;
	struct ckpti_job *job; /* what it is to write */
};

static int oom(struct ckpti_err *err)
{
	return ckpti_err(err, -ENOMEM, "out of memory");
}

static int refuse(const struct ckpti_member *m, const struct ckpti_map *map, struct ckpti_err *err,
		  const char *why)
{
	return ckpti_err_obj(err, -ENOTSUP, m->info.pid, m->info.comm,
			     "mapping at 0x%" PRIx64 " (%s): %s", map->start, map->name, why);
}

/* The kernel gives every process one; a restart moves it to its old place. */
static bool is_vdso(const struct ckpti_map *map)
{
	return strcmp(map->name, "[vdso]") == 0 || strncmp(map->name, "[vvar", 5) == 0;
}

/* By the start of the name that the kernel gives them. */
static const struct {
	const char *name;
	const char *why;
} special[] = {
	{"/SYSV", "System V shared memory is not supported yet"},
	{"/[aio]", "an asynchronous I/O context (io_setup) cannot be saved"},
	{"anon_inode:[io_uring]", "a ring of an io_uring cannot be saved"},
	{"anon_inode:[perf_event]", "the buffer of a performance counter cannot be saved"},
	{"/secretmem", "secret memory cannot be saved"},
};

/* MAP_ANONYMOUS | MAP_PRIVATE | MAP_HUGETLB: the file is one that nobody else can have. */
static bool is_anonymous_huge(const struct ckpti_map *map)
{
	static const char name[] = "/anon_hugepage";

	return map->hugetlb && !map->shared && strncmp(map->name, name, sizeof(name) - 1) == 0;
}

int ckpti_map_refusal(const struct ckpti_member *m, const struct ckpti_map *map,
		      struct ckpti_err *err)
{
	if (is_vdso(map))
		return 0;
	if (map->hugetlb && !is_anonymous_huge(map))
		return refuse(m, map, err, "hugetlbfs pages of a file, or shared, cannot be saved");
	for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
		if (strncmp(map->name, special[i].name, strlen(special[i].name)) == 0)
			return refuse(m, map, err, special[i].why);
	if (map->shadow_stack)
		return refuse(m, map, err, "a shadow stack cannot be saved");
	/* The kernel gives memory that may only be executed a key by itself, also after a restart. */
	if (map->pkey && map->prot != PROT_EXEC)
		return refuse(m, map, err, "a memory protection key cannot be saved");
	if (map->io)
		return refuse(m, map, err, "device memory cannot be saved");
	if (map->shared && (map->name[0] != '/' || strncmp(map->name, "/[", 2) == 0))
		return refuse(m, map, err, "this kind of mapping cannot be saved");
	return 0;
}

/* ---- mapped files ------------------------------------------------------------------------- */

static int ends_deleted(const char *name)
{
	size_t n = strlen(name), k = strlen(DELETED);

	return n > k && strcmp(name + n - k, DELETED) == 0;
}

/* The file behind a mapping: by its path, by the executable's link (which reaches it when it has been
 * deleted or replaced), or, with the right to, by the mapping itself.  fd or -1. */
static int open_mapped(const struct plan *p, const struct ckpti_map *map, struct stat *st)
{
	char path[3][PATH_MAX + 32];

	(void)snprintf(path[0], sizeof(path[0]), "/proc/%d/root%s", p->m->info.pid, map->name);
	(void)snprintf(path[1], sizeof(path[1]), "/proc/%d/exe", p->m->info.pid);
	(void)snprintf(path[2], sizeof(path[2]), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64,
		       p->m->info.pid, map->start, map->end);
	for (int i = 0; i < 3; i++) {
		int fd = open(path[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

		if (fd < 0)
			continue;
		if (fstat(fd, st) == 0 && st->st_ino == map->ino)
			return fd;
		(void)close(fd);
	}
	return -1;
}

static bool is_exe(const struct plan *p, const struct stat *st)
{
	struct stat exe;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", p->m->info.pid);
	return stat(path, &exe) == 0 && exe.st_ino == st->st_ino && exe.st_dev == st->st_dev;
}

static int pin_file(struct plan *p, const struct ckpti_map *map, uint32_t *ret_id,
		    struct ckpti_err *err)
{
	struct ckpti_snap *s = p->s;
	struct ckpti_pinned *bigger, *pin;
	struct stat st;
	int fd;

	for (size_t i = 0; i < s->npin; i++) {
		if (s->pin[i].dev == map->dev && s->pin[i].ino == map->ino) {
			*ret_id = s->pin[i].id;
			return 0;
		}
	}
	fd = open_mapped(p, map, &st);
	*ret_id = 0;
	if (fd < 0)
		return 0; /* replaced on disk: the mapping is saved in full */
	if (!S_ISREG(st.st_mode)) {
		(void)close(fd);
		return refuse(p->m, map, err, "device memory cannot be saved");
	}
	bigger = realloc(s->pin, (s->npin + 1) * sizeof(*bigger));
	if (!bigger) {
		(void)close(fd);
		return oom(err);
	}
	s->pin = bigger;
	pin = &s->pin[s->npin];
	memset(pin, 0, sizeof(*pin));
	pin->id = (uint32_t)++s->npin;
	pin->dev = map->dev;
	pin->ino = map->ino;
	pin->st = st;
	pin->fd = fd;
	pin->exe = is_exe(p, &st);
	pin->path = strdup(map->name);
	*ret_id = pin->id;
	return pin->path ? 0 : oom(err);
}

/* ---- shared memory ------------------------------------------------------------------------ */

static int descriptor_of(const struct ckpti_snap *s, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < s->cap.ndesc; i++) {
		const struct ckpti_desc *d = &s->cap.desc[i];

		if (d->st.st_dev == dev && d->st.st_ino == ino && S_ISREG(d->st.st_mode) &&
		    (d->oflags & O_ACCMODE) != O_WRONLY && !(d->oflags & O_PATH))
			return d->fd;
	}
	return -1;
}

static int shm_kind(const struct ckpti_map *map)
{
	if (strncmp(map->name, "/memfd:", 7) == 0)
		return CKPTI_SHM_MEMFD;
	if (strncmp(map->name, "/dev/zero", 9) == 0)
		return CKPTI_SHM_ANON;
	return ends_deleted(map->name) ? CKPTI_SHM_DELETED : CKPTI_SHM_FILE;
}

static void shm_name(const struct ckpti_map *map, int kind, char *out)
{
	(void)snprintf(out, PATH_MAX, "%s", kind == CKPTI_SHM_MEMFD ? map->name + 7 : map->name);
	if (ends_deleted(out))
		out[strlen(out) - strlen(DELETED)] = 0;
}

static int new_shared(struct plan *p, const struct ckpti_map *map, struct ckpti_shared **ret,
		      struct ckpti_err *err)
{
	struct ckpti_snap *s = p->s;
	struct ckpti_shared *bigger, *o;
	char name[PATH_MAX];
	struct stat st;
	int seals;

	for (size_t i = 0; i < s->nshm; i++) {
		if (s->shm[i].rec.dev == map->dev && s->shm[i].rec.ino == map->ino) {
			*ret = &s->shm[i];
			return 0;
		}
	}
	bigger = realloc(s->shm, (s->nshm + 1) * sizeof(*bigger));
	if (!bigger)
		return oom(err);
	s->shm = bigger;
	o = &s->shm[s->nshm];
	memset(o, 0, sizeof(*o));
	o->rec.kind = (uint32_t)shm_kind(map);
	shm_name(map, (int)o->rec.kind, name);
	o->rec.id = (uint32_t)++s->nshm;
	o->rec.dev = map->dev;
	o->rec.ino = map->ino;
	o->name = strdup(name);
	if (!o->name)
		return oom(err);
	o->fd = descriptor_of(s, map->dev, map->ino);
	if (o->fd < 0 && o->rec.kind == CKPTI_SHM_FILE) {
		o->fd = open_mapped(p, map, &st);
		o->owned_fd = o->fd >= 0;
	}
	if (o->fd >= 0 && fstat(o->fd, &st) == 0) {
		o->rec.size = (uint64_t)st.st_size;
		o->rec.mode = st.st_mode & 07777;
		o->rec.uid = st.st_uid;
		o->rec.gid = st.st_gid;
		o->rec.mtime_ns = st.st_mtim.tv_sec * 1000000000L + st.st_mtim.tv_nsec;
		seals = fcntl(o->fd, F_GET_SEALS);
		if (seals > 0)
			o->rec.seals = (uint32_t)seals;
	}
	*ret = o;
	return 0;
}

/* Mark [start, end) of the object as saved; 1 when it was wholly so before. */
static int cover(struct ckpti_shared *o, uint64_t start, uint64_t end)
{
	struct ckpti_e_range *bigger;

	for (size_t i = 0; i < o->ncovered; i++)
		if (o->covered[i].start <= start && o->covered[i].end >= end)
			return 1;
	bigger = realloc(o->covered, (o->ncovered + 1) * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	o->covered = bigger;
	o->covered[o->ncovered].start = start;
	o->covered[o->ncovered++].end = end;
	return 0;
}

/* ---- the plan ----------------------------------------------------------------------------- */

static int want_private(struct plan *p, const struct ckpti_map *map, uint32_t scan,
			struct ckpti_err *err)
{
	struct ckpti_write_range *r;
	uint64_t at = map->start;

	p->job->bytes += scan == CKPTI_SCAN_ALL ? map->end - map->start : map->anon;
	/* Ranges that the program excluded stay mapped and come back as zeros. */
	while (at < map->end) {
		const struct ckpti_e_range *ex = (const void *)(p->m->mailbox + p->st->exclude);
		uint64_t end = map->end, next;

		next = end;
		for (uint64_t i = 0; i < p->st->nexclude; i++) {
			if (ex[i].start <= at && ex[i].end > at) {
				end = at;
				next = ex[i].end < map->end ? ex[i].end : map->end;
				break;
			}
			if (ex[i].start > at && ex[i].start < end)
				end = next = ex[i].start;
		}
		if (end > at) {
			r = realloc(p->job->priv, (p->job->npriv + 1) * sizeof(*r));
			if (!r)
				return oom(err);
			p->job->priv = r;
			r = &p->job->priv[p->job->npriv++];
			memset(r, 0, sizeof(*r));
			r->start = at;
			r->end = end;
			r->scan = scan;
			r->prot = map->prot;
		}
		at = next;
	}
	return 0;
}

static int is_memory_object(const struct ckpti_map *map)
{
	return strncmp(map->name, "/memfd:", 7) == 0 ||
	       (strncmp(map->name, "/dev/zero", 9) == 0 && ends_deleted(map->name));
}

/* Is what is not in memory nowhere?  Not so when some of it has been swapped out. */
static bool in_memory_only(const struct plan *p, const struct ckpti_map *map)
{
	char path[64];
	struct statfs fs;
	struct stat st;

	if (map->anon)
		return false;
	if (is_memory_object(map))
		return true;
	(void)snprintf(path, sizeof(path), "/proc/%d/root/dev/shm", p->m->info.pid);
	return stat(path, &st) == 0 && st.st_dev == map->dev && statfs(path, &fs) == 0 &&
	       fs.f_type == TMPFS_MAGIC;
}

static int want_shared(struct plan *p, const struct ckpti_map *map, struct ckpti_shared *o,
		       struct ckpti_err *err)
{
	uint64_t len = map->end - map->start;
	struct ckpti_write_range *r;
	uint32_t *id;
	int c;

	if (o->fd >= 0)
		return 0; /* saved as a whole through the descriptor */
	if (o->rec.size < map->off + len)
		o->rec.size = map->off + len;
	c = cover(o, map->off, map->off + len);
	if (c != 0)
		return c < 0 ? oom(err) : 0;
	r = realloc(p->job->shared, (p->job->nshared + 1) * sizeof(*r));
	if (!r)
		return oom(err);
	p->job->shared = r;
	id = realloc(p->job->shared_id, (p->job->nshared + 1) * sizeof(*id));
	if (!id)
		return oom(err);
	p->job->shared_id = id;
	r = &p->job->shared[p->job->nshared];
	memset(r, 0, sizeof(*r));
	r->start = map->start;
	r->end = map->end;
	r->scan = in_memory_only(p, map) ? CKPTI_SCAN_RESIDENT : CKPTI_SCAN_NONZERO;
	r->prot = map->prot;
	r->bias = map->off - map->start;
	p->job->bytes += len;
	p->job->shared_id[p->job->nshared++] = o->rec.id;
	return 0;
}

/* Is the file in memory only, so that the image must hold its content? */
static int on_tmpfs(const struct plan *p, const struct ckpti_map *map)
{
	char path[PATH_MAX + 32];
	struct statfs fs;

	(void)snprintf(path, sizeof(path), "/proc/%d/root%s", p->m->info.pid, map->name);
	return statfs(path, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static int classify_shared(struct plan *p, const struct ckpti_map *map, struct ckpti_e_vma *v,
			   struct ckpti_err *err)
{
	struct ckpti_shared *o;
	struct stat st;
	int fd, r, small = 0;

	if (!is_memory_object(map) && !ends_deleted(map->name) && !on_tmpfs(p, map)) {
		fd = open_mapped(p, map, &st);
		if (fd >= 0) {
			small = map->maywrite && (uint64_t)st.st_size <= p->s->cap.copy_limit;
			/* Time must tell whether it changes from now on: only a write to a clean
			 * page moves it. */
			if (map->maywrite && !small)
				(void)fsync(fd);
			(void)close(fd);
		}
		if (fd >= 0 && !S_ISREG(st.st_mode))
			return refuse(p->m, map, err, "device memory cannot be saved");
		if (!small) {
			v->kind = CKPTI_VMA_FILESHARED;
			v->vmflags |= map->maywrite ? CKPTI_VF_MAYWRITE : 0;
			r = pin_file(p, map, &v->obj, err);
			if (r < 0 || v->obj)
				return r;
			return refuse(p->m, map, err, "the mapped file has been replaced on disk");
		}
	}
	r = new_shared(p, map, &o, err);
	if (r < 0)
		return r;
	v->kind = CKPTI_VMA_SHM;
	v->obj = o->rec.id;
	return want_shared(p, map, o, err);
}

/* For anonymous memory that a lazy restart has mapped from a data file: how to look at it; else 0. */
static uint32_t scan_of_image(const struct plan *p, const struct ckpti_map *map)
{
	char path[PATH_MAX + 32];
	bool gone = ends_deleted(map->name);

	(void)snprintf(path, sizeof(path), "/proc/%d/root%s", p->m->info.pid, map->name);
	if (gone)
		path[strlen(path) - strlen(DELETED)] = 0;
	if (!ckpti_store_is_data(path, !gone))
		return 0;
	return gone ? CKPTI_SCAN_NONZERO : CKPTI_SCAN_ALL;
}

static int classify_private(struct plan *p, const struct ckpti_map *map, struct ckpti_e_vma *v,
			    struct ckpti_err *err)
{
	struct ckpti_shared *o;
	uint32_t scan;
	int r;

	if (is_anonymous_huge(map)) {
		v->kind = CKPTI_VMA_ANON;
		v->off = 0;
		v->huge = (uint32_t)__builtin_ctzll(map->page | 1ULL << 63);
		return want_private(p, map, CKPTI_SCAN_ANON, err);
	}
	if (map->name[0] != '/' || strcmp(map->name, "/dev/zero") == 0) {
		v->kind = CKPTI_VMA_ANON;
		v->off = 0;
		if (strcmp(map->name, "[stack]") == 0)
			v->vmflags |= CKPTI_VF_STACK;
		return want_private(
			p, map, map->dev || map->ino ? CKPTI_SCAN_PRIVATE : CKPTI_SCAN_ANON, err);
	}
	if (is_memory_object(map) && descriptor_of(p->s, map->dev, map->ino) >= 0) {
		r = new_shared(p, map, &o, err);
		if (r < 0)
			return r;
		v->kind = CKPTI_VMA_SHMPRIV;
		v->obj = o->rec.id;
		return want_private(p, map, CKPTI_SCAN_PRIVATE, err);
	}
	scan = scan_of_image(p, map);
	if (scan) {
		v->kind = CKPTI_VMA_ANON;
		v->off = 0;
		return want_private(p, map, scan, err);
	}
	if (!is_memory_object(map)) {
		v->kind = CKPTI_VMA_FILE;
		r = pin_file(p, map, &v->obj, err);
		if (r < 0)
			return r;
		if (v->obj)
			return want_private(p, map, CKPTI_SCAN_PRIVATE, err);
	}
	/* The file is gone or replaced: what the process sees of it is all there is. */
	v->kind = CKPTI_VMA_ANON;
	v->obj = 0;
	v->off = 0;
	return want_private(p, map, CKPTI_SCAN_NONZERO, err);
}

static int left_out(const struct plan *p, const struct ckpti_map *map)
{
	const struct ckpti_e_range *f = (const void *)(p->m->mailbox + p->st->foreign_maps);

	if (strcmp(map->name, "[vsyscall]") == 0)
		return 1;
	if (map->start >= p->st->mailbox_start && map->end <= p->st->mailbox_end)
		return 1;
	for (uint64_t i = 0; i < p->st->nforeign_maps; i++)
		if (f[i].start == map->start && f[i].end == map->end)
			return 1;
	return 0;
}

static int classify(struct plan *p, const struct ckpti_map *map, struct ckpti_err *err)
{
	struct ckpti_e_vma *v;
	int r;

	if (left_out(p, map))
		return 0;
	v = realloc(p->vma, (p->nvma + 1) * sizeof(*v));
	if (!v)
		return oom(err);
	p->vma = v;
	v = &p->vma[p->nvma++];
	memset(v, 0, sizeof(*v));
	v->start = map->start;
	v->end = map->end;
	v->off = map->off;
	v->prot = map->prot;
	v->vmflags = map->vmflags;
	if (is_vdso(map)) {
		v->kind = CKPTI_VMA_VDSO;
		return 0;
	}
	r = ckpti_map_refusal(p->m, map, err);
	if (r < 0)
		return r;
	return map->shared ? classify_shared(p, map, v, err) : classify_private(p, map, v, err);
}

/* ---- one process after the other, then all together ---------------------------------------- */

static int snap_member(struct ckpti_snap *s, struct ckpti_job *job, struct ckpti_err *err)
{
	struct ckpti_member *m = job->m;
	struct ckpti_state st;
	struct plan p = {.s = s, .m = m, .st = &st, .job = job};
	struct ckpti_pid_head head = {.pid = m->info.inner_pid};
	struct ckpti_map *map = NULL;
	size_t n = 0;
	int r;

	r = ckpti_snap_state(m, &st, err);
	if (r < 0)
		return r;
	r = ckpti_procfs_maps(m->info.pid, &map, &n);
	if (r < 0)
		return ckpti_err_obj(err, r, m->info.pid, m->info.comm,
				     "its mappings may not be read: %s", strerror(-r));
	/* The kernel does not tell who has called mlockall(MCL_FUTURE); the mailbox is new. */
	m->def_flags = 0;
	for (size_t i = 0; i < n; i++)
		if (map[i].start == st.mailbox_start)
			m->def_flags = map[i].vmflags & (CKPTI_VF_LOCKED | CKPTI_VF_LOCKONFAULT);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = classify(&p, &map[i], err);
	if (r == 0)
		r = ckpti_image_add(&s->img, CKPTI_R_VMAS, &head, sizeof(head), NULL, 0, p.vma,
				    sizeof(*p.vma), p.nvma);
	if (r == 0)
		r = ckpti_snap_process(s, m, &st, err);
	ckpti_procfs_maps_free(map, n);
	free(p.vma);
	return r;
}

static int add_shared(struct ckpti_snap *s, struct ckpti_err *err)
{
	for (size_t i = 0; i < s->nshm; i++) {
		struct ckpti_shared *o = &s->shm[i];
		const char *name = o->name;
		int r = ckpti_image_add(&s->img, CKPTI_R_SHM, &o->rec, sizeof(o->rec), &name, 1,
					NULL, 0, 0);

		if (r < 0)
			return oom(err);
		if (o->fd < 0)
			continue;
		r = ckpti_extents_save(&s->cap, o->fd, o->rec.size, CKPTI_OWN_SHM, o->rec.id, err);
		if (r < 0)
			return r;
		s->mem_bytes += o->rec.size;
		if (o->owned_fd)
			(void)close(o->fd);
		o->fd = -1;
		o->owned_fd = false;
	}
	return 0;
}

static void jobs_free(struct ckpti_job *job, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(job[i].priv);
		free(job[i].shared);
		free(job[i].shared_id);
	}
	free(job);
}

/* Ask all for their state, while there is something to do for each processor. */
static int ask_states(struct ckpti_set *set, struct ckpti_job *ret_job, size_t *ret_n,
		      struct ckpti_err *err)
{
	struct ckpti_member **m = calloc(set->n + 1, sizeof(*m));
	struct ckpti_call *call = calloc(set->n + 1, sizeof(*call));
	size_t n = 0;
	int r = m && call ? 0 : oom(err);

	for (size_t i = 0; r == 0 && i < set->n; i++) {
		if (set->member[i].state != CKPTI_MEMBER_IN)
			continue;
		call[n] = (struct ckpti_call){.type = CKPTI_M_STATE, .fd = -1};
		ret_job[n].m = m[n] = &set->member[i];
		n++;
	}
	if (r == 0)
		r = ckpti_link_call_all(m, call, n, err);
	*ret_n = n;
	free(m);
	free(call);
	return r;
}

int ckpti_snap_memory(struct ckpti_snap *s, struct ckpti_err *err)
{
	struct ckpti_job *job = calloc(s->set->n + 1, sizeof(*job));
	size_t n = 0, next = 0;
	int r = job ? ask_states(s->set, job, &n, err) : oom(err);

	for (size_t i = 0; r == 0 && i < s->set->n; i++)
		r = s->set->member[i].state == CKPTI_MEMBER_IN
			    ? snap_member(s, &job[next++], err)
			    : ckpti_snap_process(s, &s->set->member[i], NULL, err);
	ckpti_trace_phase("memory", 0);
	if (r == 0)
		r = ckpti_snap_write(s, job, n, err);
	ckpti_trace_phase("write", s->stored_bytes);
	jobs_free(job, n);
	return r < 0 ? r : add_shared(s, err);
}

int ckpti_snap_pins(struct ckpti_snap *s, bool all, struct ckpti_err *err)
{
	for (size_t i = 0; i < s->npin; i++) {
		struct ckpti_pinned *pin = &s->pin[i];
		struct ckpti_r_mapfile rec = {
			.id = pin->id,
			.flags = pin->exe ? CKPTI_MF_EXE : 0,
			.dev = pin->st.st_dev,
			.ino = pin->st.st_ino,
			.size = (uint64_t)pin->st.st_size,
			.mtime_ns = pin->st.st_mtim.tv_sec * 1000000000L + pin->st.st_mtim.tv_nsec,
			.mode = pin->st.st_mode & 07777,
		};
		char name[64] = "";
		const char *strs[2] = {pin->path, name};
		int r = 0;

		/* A data set that is mapped is known by identity and time: reading it takes too long,
		 * unless the user wants everything kept. */
		if (rec.size <= s->cap.copy_limit || pin->exe || all)
			r = ckpti_store_pin(s->store, pin->fd, 1, rec.hash, name, err);
		if (r < 0)
			return r;
		r = ckpti_image_add(&s->img, CKPTI_R_MAPFILE, &rec, sizeof(rec), strs, 2, NULL, 0,
				    0);
		if (r < 0)
			return oom(err);
	}
	return 0;
}
