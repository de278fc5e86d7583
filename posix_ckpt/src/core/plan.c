/* SPDX-License-Identifier: BSD-3-Clause */
/* The restorer's orders for one process: records of a checked image become one flat block. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cpus.h"
#include "core/life.h"
#include "restart/plan.h"

/* A block that grows; offsets stay valid. */
struct block {
	uint8_t *buf;
	uint64_t len, cap;
	int failed;
};

static uint64_t append(struct block *b, const void *data, uint64_t len)
{
	uint64_t off = (b->len + 15) & ~15ULL;

	if (off + len > b->cap) {
		uint64_t cap = (off + len) * 2;
		uint8_t *bigger = realloc(b->buf, cap);

		if (!bigger) {
			b->failed = 1;
			return 0;
		}
		b->buf = bigger;
		b->cap = cap;
	}
	memset(b->buf + b->len, 0, off - b->len);
	if (data)
		memcpy(b->buf + off, data, len);
	else
		memset(b->buf + off, 0, len);
	b->len = off + len;
	return off;
}

static const char *pin_path(const struct ckpti_life *life, uint32_t id)
{
	for (size_t i = 0; i < life->npin; i++)
		if (life->pin[i].rec.id == id)
			return life->pin[i].path;
	return "";
}

/* By its inode the agent knows what is mapped from fd.  False: it cannot remember more files. */
static bool note_lazy(struct ckpti_resume *back, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	for (uint32_t i = 0; i < back->nlazy; i++)
		if (back->lazy[i] == st.st_ino)
			return true;
	if (back->nlazy == CKPTI_RESUME_LAZY)
		return false;
	back->lazy[back->nlazy++] = st.st_ino;
	return true;
}

/* Extents of the process.  Their size is a multiple of the block's alignment: no gaps. */
_Static_assert(sizeof(struct ckpti_plan_extent) % 16 == 0, "extents are appended one by one");
static uint64_t add_extents(struct ckpti_life *life, int pid, struct block *b, struct ckpti_plan *p)
{
	uint64_t first = (b->len + 15) & ~15ULL;
	struct ckpti_view v;
	size_t pos = 0;

	while (ckpti_image_next(&life->img, &pos, &v)) {
		struct ckpti_r_extents head;

		if (v.type != CKPTI_R_EXTENTS)
			continue;
		CKPTI_FIXED(&v, &head);
		if (head.owner_kind != CKPTI_OWN_PROC || head.owner != (uint32_t)pid)
			continue;
		for (uint64_t i = 0; i < v.count; i++) {
			struct ckpti_e_extent e;
			uint64_t at, next;

			CKPTI_ELEM(&v, i, &e);
			for (at = e.addr; at < e.addr + e.len; at = next, p->nextent++) {
				struct ckpti_plan_extent pe = {.addr = at};
				bool map;

				next = ckpti_lazy_piece(life, pid, &e, at, &map);
				pe.len = next - at;
				pe.off = e.off + (at - e.addr);
				pe.fd = ckpti_life_data_fd(life, e.datafile);
				pe.map = map && note_lazy(&p->back, pe.fd);
				(void)append(b, &pe, sizeof(pe));
			}
		}
	}
	return first;
}

static bool loaded(const struct block *b, uint64_t extents, uint64_t n, uint64_t start,
		   uint64_t end)
{
	const struct ckpti_plan_extent *e = (const void *)(b->buf + extents);

	for (uint64_t i = 0; i < n; i++)
		if (e[i].addr < end && e[i].addr + e[i].len > start)
			return true;
	return false;
}

static void source_of(struct ckpti_life *life, const struct ckpti_e_vma *v,
		      struct ckpti_plan_vma *pv, struct block *b)
{
	const char *path;

	pv->fd = -1;
	switch (v->kind) {
	case CKPTI_VMA_VDSO:
		pv->source = CKPTI_MAP_VDSO;
		break;
	case CKPTI_VMA_FILE:
	case CKPTI_VMA_FILESHARED:
		path = pin_path(life, v->obj);
		pv->source = CKPTI_MAP_PATH;
		pv->shared = v->kind == CKPTI_VMA_FILESHARED;
		pv->oflags =
			pv->shared && ((v->prot & PROT_WRITE) || (v->vmflags & CKPTI_VF_MAYWRITE))
				? O_RDWR
				: O_RDONLY;
		pv->path = append(b, path, strlen(path) + 1);
		break;
	case CKPTI_VMA_SHM:
	case CKPTI_VMA_SHMPRIV:
		pv->source = CKPTI_MAP_FD;
		pv->shared = v->kind == CKPTI_VMA_SHM;
		pv->fd = ckpti_shm_fd(&life->rb, v->obj);
		break;
	default:
		pv->source = CKPTI_MAP_ANON;
	}
}

static void add_vmas(struct ckpti_life *life, int pid, struct block *b, struct ckpti_plan *p)
{
	struct ckpti_plan_vma *out;
	struct ckpti_view v;

	if (!ckpti_image_find(&life->img, CKPTI_R_VMAS, (uint32_t)pid, &v))
		return;
	out = calloc(v.count ? v.count : 1, sizeof(*out));
	if (!out) {
		b->failed = 1;
		return;
	}
	for (uint64_t i = 0; i < v.count; i++) {
		struct ckpti_e_vma e;

		CKPTI_ELEM(&v, i, &e);
		out[i].start = e.start;
		out[i].end = e.end;
		out[i].off = e.off;
		out[i].vmflags = e.vmflags;
		out[i].huge = e.huge;
		out[i].prot = e.prot;
		source_of(life, &e, &out[i], b);
		out[i].load = out[i].source != CKPTI_MAP_VDSO && !out[i].shared &&
			      loaded(b, p->extent, p->nextent, e.start, e.end);
	}
	p->nvma = v.count;
	p->vma = append(b, out, v.count * sizeof(*out));
	free(out);
}

static void add_threads(struct ckpti_life *life, const struct ckpti_r_proc *rp, struct block *b,
			struct ckpti_plan *p)
{
	struct ckpti_plan_thread *out, tmp;
	uint64_t cpus[CKPTI_LAUNCH_WORDS];
	struct ckpti_view v;

	if (!ckpti_image_find(&life->img, CKPTI_R_THREADS, (uint32_t)rp->pid, &v))
		return;
	out = calloc(v.count ? v.count : 1, sizeof(*out));
	if (!out) {
		b->failed = 1;
		return;
	}
	ckpti_cpus_now(cpus);
	for (uint64_t i = 0; i < v.count; i++) {
		CKPTI_ELEM(&v, i, &out[i].t);
		ckpti_cpus_follow(life->set.launch_cpus, cpus, out[i].t.affinity);
		out[i].back.uc = out[i].t.uc;
		out[i].back.tid = out[i].t.tid;
		out[i].back.leader = out[i].t.tid == (int32_t)rp->leader_tid;
		if (out[i].t.tid == rp->pid && i) { /* the main thread comes first */
			tmp = out[0];
			out[0] = out[i];
			out[i] = tmp;
		}
	}
	p->nthread = v.count;
	p->thread = append(b, out, v.count * sizeof(*out));
	free(out);
}

static uint64_t add_array(struct ckpti_life *life, uint32_t type, int pid, struct block *b,
			  size_t elem, uint64_t at_least, uint64_t *ret_n)
{
	struct ckpti_view v = {0};
	uint64_t off, n;

	(void)ckpti_image_find(&life->img, type, (uint32_t)pid, &v);
	n = v.count > at_least ? v.count : at_least;
	off = append(b, NULL, n * elem);
	for (uint64_t i = 0; i < v.count && !b->failed; i++)
		ckpti_view_elem(&v, i, b->buf + off + i * elem, elem);
	if (ret_n)
		*ret_n = v.count;
	return off;
}

static void add_pending(struct ckpti_life *life, int pid, struct block *b, struct ckpti_plan *p)
{
	struct ckpti_plan_pending *list = NULL;
	struct ckpti_view v;
	size_t pos = 0;

	while (ckpti_image_next(&life->img, &pos, &v)) {
		struct ckpti_plan_pending *bigger;
		struct ckpti_e_siginfo info;
		struct ckpti_pid_head head;

		if (v.type != CKPTI_R_PENDING)
			continue;
		CKPTI_FIXED(&v, &head);
		if (head.pid != pid || !v.count)
			continue;
		bigger = realloc(list, (p->npending + v.count) * sizeof(*list));
		if (!bigger) {
			b->failed = 1;
			break;
		}
		list = bigger;
		for (uint64_t i = 0; i < v.count; i++) {
			struct ckpti_plan_pending *q = &list[p->npending++];

			CKPTI_ELEM(&v, i, &info);
			q->tid = head.tid;
			q->pad = 0;
			memcpy(q->info, info.raw, sizeof(q->info));
		}
	}
	p->pending = append(b, list, p->npending * sizeof(*list));
	free(list);
}

static void add_descriptors(struct ckpti_life *life, int pid, struct block *b, struct ckpti_plan *p)
{
	struct ckpti_plan_lock *lock = NULL;
	int32_t *list = NULL;
	struct ckpti_view v;

	if (ckpti_image_find(&life->img, CKPTI_R_FDS, (uint32_t)pid, &v)) {
		list = calloc(v.count ? v.count : 1, sizeof(*list));
		for (uint64_t i = 0; list && i < v.count; i++) {
			struct ckpti_e_fd e;

			CKPTI_ELEM(&v, i, &e);
			if (e.flags & FD_CLOEXEC)
				list[p->ncloexec++] = e.fd;
		}
		b->failed |= !list;
	}
	p->cloexec = append(b, list, p->ncloexec * sizeof(*list));
	free(list);
	if (ckpti_image_first(&life->img, CKPTI_R_LOCKS, &v)) {
		lock = calloc(v.count ? v.count : 1, sizeof(*lock));
		for (uint64_t i = 0; lock && i < v.count; i++) {
			struct ckpti_e_lock e;

			CKPTI_ELEM(&v, i, &e);
			if (e.kind != CKPTI_LOCK_POSIX || e.pid != pid)
				continue;
			lock[p->nlock].fd = e.fd;
			lock[p->nlock].type = e.type;
			lock[p->nlock].start = e.start;
			lock[p->nlock++].len = e.len;
		}
		b->failed |= !lock;
	}
	p->lock = append(b, lock, p->nlock * sizeof(*lock));
	free(lock);
}

/* Of the present launch, which a plug-in may have to know. */
static void add_env(struct block *b, struct ckpti_plan *p)
{
	size_t len = 1;
	char *text, *to;

	for (char **e = environ; *e; e++)
		len += strlen(*e) + 1;
	text = to = malloc(len);
	if (!text) {
		b->failed = 1;
		return;
	}
	for (char **e = environ; *e; e++)
		to = stpcpy(to, *e) + 1;
	*to = 0;
	p->env = append(b, text, len);
	p->back.env_len = len;
	free(text);
}

int ckpti_plan_make(struct ckpti_life *life, size_t i, struct ckpti_plan **ret,
		    struct ckpti_err *err)
{
	const struct ckpti_r_proc *rp = &life->proc[i];
	struct ckpti_plan p = {0};
	struct ckpti_view v;
	struct block b = {0};

	(void)append(&b, &p, sizeof(p));
	p.extent = add_extents(life, rp->pid, &b, &p);
	add_vmas(life, rp->pid, &b, &p);
	add_threads(life, rp, &b, &p);
	p.guard = add_array(life, CKPTI_R_GUARDS, rp->pid, &b, sizeof(struct ckpti_e_range), 0,
			    &p.nguard);
	p.sigaction = add_array(life, CKPTI_R_SIGACTIONS, rp->pid, &b,
				sizeof(struct ckpti_e_sigaction), 64, NULL);
	p.itimer = add_array(life, CKPTI_R_ITIMERS, rp->pid, &b, sizeof(struct ckpti_e_itimer), 3,
			     NULL);
	p.timer = add_array(life, CKPTI_R_TIMERS, rp->pid, &b, sizeof(struct ckpti_e_timer), 0,
			    &p.ntimer);
	add_pending(life, rp->pid, &b, &p);
	add_descriptors(life, rp->pid, &b, &p);
	if (ckpti_image_find(&life->img, CKPTI_R_MM, (uint32_t)rp->pid, &v))
		CKPTI_FIXED(&v, &p.mm);
	p.auxv = add_array(life, CKPTI_R_MM, rp->pid, &b, 8, 0, &p.nauxv);
	add_env(&b, &p);
	p.pid = rp->pid;
	p.resume = rp->agent_resume;
	p.new_ids = life->ids == CKPTI_IDS_NEW;
	p.back.version = CKPTI_RESUME_VERSION;
	p.back.nthreads = (uint32_t)p.nthread;
	p.back.ready_fd = life->ready[1];
	p.back.go_fd = life->go[0];
	p.back.generation = life->set.generation;
	p.err_fd = life->fail[1];
	p.keep_first = life->keep_first;
	p.keep_last = life->keep_last;
	p.dumpable = rp->dumpable;
	p.subreaper = rp->subreaper;
	p.thp_disable = rp->thp_disable;
	p.pdeathsig = rp->pdeathsig;
	p.cap_inh = rp->cap_inh;
	p.cap_prm = rp->cap_prm;
	p.cap_eff = rp->cap_eff;
	if (b.failed || !p.nthread) {
		free(b.buf);
		return ckpti_err(err, -ENOMEM, "out of memory");
	}
	p.size = (b.len + 15) & ~15ULL;
	memcpy(b.buf, &p, sizeof(p));
	*ret = (struct ckpti_plan *)b.buf;
	return 0;
}
