/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory: park the vdso, drop everything that exec mapped, map what the image says at its old
 * addresses, read the extents, set protections.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <sys/mman.h>

#include "restart/restorer.h"

/* Linux 6.10; not in the headers of Debian 12. */
#ifndef __NR_mseal
#define __NR_mseal 462
#endif

#define IS_ERROR(r) ((unsigned long)(r) > -4096UL)

static void move_mapping(const struct ckpti_plan *p, uint64_t from, uint64_t to, uint64_t len)
{
	long r = sys(mremap, from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to);

	if (IS_ERROR(r))
		restorer_die(p, "cannot move the vdso", from, r);
}

static void drop_old(const struct ckpti_plan *p)
{
	uint64_t at = p->park;
	uint64_t end = p->blob_start + p->blob_len;
	long r;

	for (uint32_t i = 0; i < p->nvdso; i++) {
		move_mapping(p, p->vdso_now[i][0], at, p->vdso_now[i][1]);
		at += p->vdso_now[i][1];
	}
	r = sys(munmap, 0, p->blob_start);
	if (r == 0)
		r = sys(munmap, end, p->task_size - end);
	if (r < 0)
		restorer_die(p, "cannot clear the address space", 0, r);
}

static void map_one(const struct ckpti_plan *p, const struct ckpti_plan_vma *v)
{
	uint64_t len = v->end - v->start;
	int prot = (int)v->prot | (v->load ? PROT_READ | PROT_WRITE : 0);
	int flags = MAP_FIXED | (v->shared ? MAP_SHARED : MAP_PRIVATE);
	long fd = v->fd, r;

	if (v->source == CKPTI_MAP_ANON) {
		flags |= MAP_ANONYMOUS;
		fd = -1;
	}
	if (v->huge)
		flags |= MAP_HUGETLB | (int)(v->huge << MAP_HUGE_SHIFT);
	if (v->vmflags & CKPTI_VF_NORESERVE)
		flags |= MAP_NORESERVE;
	if (v->vmflags & CKPTI_VF_GROWSDOWN)
		flags |= MAP_GROWSDOWN;
	if (v->source == CKPTI_MAP_PATH) {
		const char *path = (const char *)p + v->path;

		fd = sys(openat, AT_FDCWD, path, v->oflags | O_CLOEXEC);
		if (fd < 0)
			restorer_die(p, "cannot open a mapped file", v->start, fd);
	}
	r = sys(mmap, v->start, len, prot, flags, fd, v->off);
	if (v->source == CKPTI_MAP_PATH)
		(void)sys(close, fd);
	if (IS_ERROR(r) || (uint64_t)r != v->start)
		restorer_die(p,
			     v->huge ? "too few free huge pages (vm.nr_hugepages)"
				     : "cannot map memory",
			     v->start, IS_ERROR(r) ? r : -EEXIST);
}

static void advise(const struct ckpti_plan_vma *v)
{
	static const struct {
		uint32_t flag;
		int advice;
	} advice[] = {
		{CKPTI_VF_DONTFORK, MADV_DONTFORK},   {CKPTI_VF_DONTDUMP, MADV_DONTDUMP},
		{CKPTI_VF_HUGEPAGE, MADV_HUGEPAGE},   {CKPTI_VF_NOHUGEPAGE, MADV_NOHUGEPAGE},
		{CKPTI_VF_MERGEABLE, MADV_MERGEABLE}, {CKPTI_VF_WIPEONFORK, MADV_WIPEONFORK},
		{CKPTI_VF_SEQ, MADV_SEQUENTIAL},      {CKPTI_VF_RAND, MADV_RANDOM},
	};

	for (unsigned i = 0; i < sizeof(advice) / sizeof(*advice); i++)
		if (v->vmflags & advice[i].flag)
			(void)sys(madvise, v->start, v->end - v->start, advice[i].advice);
}

/* Whoever checkpoints it again knows such memory by its file. */
static void map_extent(const struct ckpti_plan *p, const struct ckpti_plan_extent *e)
{
	long r = sys(mmap, e->addr, e->len, PROT_READ | PROT_WRITE,
		     MAP_FIXED | MAP_PRIVATE | MAP_NORESERVE, e->fd, e->off);

	if (IS_ERROR(r))
		restorer_die(p, "cannot map memory from the image", e->addr, r);
}

static void load(const struct ckpti_plan *p, const struct ckpti_plan_extent *e)
{
	if (e->map) {
		map_extent(p, e);
		return;
	}
	for (uint64_t done = 0; done < e->len;) {
		long r = sys(pread64, e->fd, e->addr + done, e->len - done, e->off + done);

		if (r == -EINTR)
			continue;
		if (r <= 0)
			restorer_die(p, "cannot read memory from the image", e->addr + done,
				     r < 0 ? r : -EIO);
		done += (uint64_t)r;
	}
}

static void set_labels(const struct ckpti_plan *p)
{
	struct {
		uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
		uint64_t arg_start, arg_end, env_start, env_end;
		uint64_t auxv;
		uint32_t auxv_size;
		int32_t exe_fd;
	} map;
	long r;

	map.start_code = p->mm.start_code;
	map.end_code = p->mm.end_code;
	map.start_data = p->mm.start_data;
	map.end_data = p->mm.end_data;
	map.start_brk = p->mm.start_brk;
	map.brk = p->mm.brk;
	map.start_stack = p->mm.start_stack;
	map.arg_start = p->mm.arg_start;
	map.arg_end = p->mm.arg_end;
	map.env_start = p->mm.env_start;
	map.env_end = p->mm.env_end;
	map.auxv = (uint64_t)PLAN_ARRAY(p, auxv);
	map.auxv_size = (uint32_t)(p->nauxv * sizeof(uint64_t));
	map.exe_fd = -1;
	r = sys(prctl, 35 /* PR_SET_MM */, 14 /* PR_SET_MM_MAP */, &map, sizeof(map), 0);
	if (r < 0)
		restorer_die(p, "cannot set brk and arguments", p->mm.start_brk, r);
}

void restorer_memory(struct ckpti_plan *p)
{
	const struct ckpti_plan_vma *vma = PLAN_ARRAY(p, vma);
	const struct ckpti_plan_extent *extent = PLAN_ARRAY(p, extent);
	const struct ckpti_e_range *guard = PLAN_ARRAY(p, guard);
	uint64_t parked = p->park;
	long r;

	drop_old(p);
	for (uint64_t i = 0; i < p->nvma; i++)
		if (vma[i].source != CKPTI_MAP_VDSO) {
			map_one(p, &vma[i]);
			/* Huge pages are given when memory is first touched, by what follows. */
			if (vma[i].vmflags & CKPTI_VF_HUGEPAGE)
				(void)sys(madvise, vma[i].start, vma[i].end - vma[i].start,
					  MADV_HUGEPAGE);
		}
	for (uint64_t i = 0; i < p->nextent; i++)
		load(p, &extent[i]);
	for (uint64_t i = 0; i < p->nguard; i++)
		(void)sys(madvise, guard[i].start, guard[i].end - guard[i].start,
			  MADV_GUARD_INSTALL);
	for (uint64_t i = 0; i < p->nvma; i++) {
		const struct ckpti_plan_vma *v = &vma[i];
		uint64_t len = v->end - v->start;

		if (v->source == CKPTI_MAP_VDSO) {
			move_mapping(p, parked, v->start, len);
			parked += len;
			continue;
		}
		if (v->load) {
			r = sys(mprotect, v->start, len, v->prot);
			if (r < 0)
				restorer_die(p, "cannot protect memory", v->start, r);
		}
		advise(v);
		if (v->vmflags & CKPTI_VF_LOCKED) {
			r = sys(mlock2, v->start, len, MLOCK_ONFAULT);
			if (r < 0)
				restorer_die(p, "cannot lock memory (ulimit -l)", v->start, r);
			/* Fails, when it has been done, where pages cannot be touched: guards. */
			if (!(v->vmflags & CKPTI_VF_LOCKONFAULT))
				(void)sys(mlock2, v->start, len, 0);
		}
	}
	set_labels(p);
	if (p->mm.def_flags & CKPTI_VF_LOCKED) {
		r = sys(mlockall,
			MCL_FUTURE | (p->mm.def_flags & CKPTI_VF_LOCKONFAULT ? MCL_ONFAULT : 0));
		if (r < 0)
			restorer_die(p, "cannot lock future memory (ulimit -l)", 0, r);
	}
	/* Nothing can be done to these any more.  A kernel without it never had any. */
	for (uint64_t i = 0; i < p->nvma; i++)
		if (vma[i].vmflags & CKPTI_VF_SEALED)
			(void)sys(mseal, vma[i].start, vma[i].end - vma[i].start, 0);
}
