/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the restorer is to do in one process, laid out by core/plan.c from a checked image.  It is not
 * a file format: plan and restorer are always of the same build.  Offsets are from the start of the
 * plan, arrays follow the struct.
 */
#ifndef CKPT_RESTART_PLAN_H
#define CKPT_RESTART_PLAN_H

#include <stdint.h>

#include "agent/resume.h"
#include "image/format.h"

enum ckpti_map_source {
	CKPTI_MAP_ANON = 1,
	CKPTI_MAP_FD,   /* fd */
	CKPTI_MAP_PATH, /* path: offset of a string in the plan */
	CKPTI_MAP_VDSO, /* comes from the park, in order */
};

struct ckpti_plan_vma {
	uint64_t start, end, off;
	uint64_t vmflags; /* CKPTI_VF_* */
	uint32_t prot;
	uint32_t source; /* enum ckpti_map_source */
	uint32_t shared;
	uint32_t load; /* extents lie in it: writable while they are read */
	int32_t fd;
	int32_t oflags; /* to open path with */
	uint64_t path;
	uint32_t huge; /* logarithm of the page size of hugetlbfs, 0: usual pages */
	uint32_t pad;
};

struct ckpti_plan_extent {
	uint64_t addr, len, off;
	int32_t fd;
	uint32_t map; /* not read: mapped from the file */
};

struct ckpti_plan_thread {
	struct ckpti_e_thread t;
	struct ckpti_resume_thread back;
	uint64_t stack; /* top of a small stack inside the blob */
	uint64_t pad;
};

struct ckpti_plan_lock {
	int32_t fd;
	int32_t type;
	uint64_t start, len;
};

#define CKPTI_PLAN_STACK 8192U /* bytes of stack for each thread while it is restored */

struct ckpti_plan {
	uint64_t size;                 /* of the plan with its arrays */
	uint64_t blob_start, blob_len; /* everything that is ours in the process */
	uint64_t task_size;            /* end of the user's address space */
	uint64_t park;                 /* room for the vdso group, inside the blob's reservation */
	uint64_t vdso_now[4][2];       /* present places of vvar …: start, length */
	uint32_t nvdso;
	uint32_t new_ids; /* task numbers may differ: correct libc's copy */
	uint64_t vma, nvma;
	uint64_t extent, nextent;
	uint64_t guard, nguard;     /* struct ckpti_e_range */
	uint64_t thread, nthread;   /* [0] is the main thread */
	uint64_t sigaction;         /* struct ckpti_e_sigaction[64] */
	uint64_t pending, npending; /* struct ckpti_plan_pending */
	uint64_t itimer;            /* struct ckpti_e_itimer[3] */
	uint64_t timer, ntimer;     /* struct ckpti_e_timer */
	uint64_t lock, nlock;
	uint64_t cloexec, ncloexec; /* int32_t */
	uint64_t auxv, nauxv;
	struct ckpti_r_mm mm;
	uint64_t env;    /* for back.env */
	uint64_t resume; /* entry in the agent */
	struct ckpti_resume back;
	int32_t pid;
	int32_t err_fd;                /* failures are told here: struct ckpti_plan_error */
	int32_t keep_first, keep_last; /* our descriptors, closed when memory is back */
	uint32_t dumpable, subreaper, thp_disable;
	int32_t pdeathsig;
	uint64_t cap_inh, cap_prm, cap_eff;
	/* filled in by the restorer */
	uint32_t restored; /* threads that have restored themselves; futex word */
	uint32_t release;  /* futex word */
};

struct ckpti_plan_pending {
	int32_t tid; /* 0: of the process */
	uint32_t pad;
	uint8_t info[128];
};

struct ckpti_plan_error {
	int32_t pid;
	int32_t error;
	uint64_t addr;
	char what[48];
};

#endif
