/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plant the restorer at the exec stop, before ld.so or any constructor has run: the process is the
 * recorded binary (so /proc/self/exe is right without privilege, for static programs too) with
 * nothing of its own in it yet.  ptrace does two remote calls, then lets go for good.
 */
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arch/ptrace.h"
#include "core/life.h"
#include "core/procfs.h"
#include "core/set.h"
#include "core/tracee.h"
#include "restart/plan.h"

extern const uint8_t ckpti_restorer_blob[], ckpti_restorer_blob_end[];

#define EXEC_LIMIT_S 60
#define PLAN_PAGE    4096UL
#define HOLE_FIRST   0x10000000UL /* above what programs without ASLR use for code */
#define HOLE_GUARD   (16UL << 20) /* distance to a mapping that may grow */

static uint64_t page_up(uint64_t n)
{
	return (n + PLAN_PAGE - 1) & ~(PLAN_PAGE - 1);
}

/* An exec reads the binary, perhaps from a file server that does not answer. */
static int wait_stopped(int pid, int *ret_status, struct ckpti_err *err)
{
	struct timespec step = {.tv_nsec = 100000};
	uint64_t deadline = ckpti_now_ns() + EXEC_LIMIT_S * 1000000000ULL;
	pid_t r;

	while ((r = waitpid(pid, ret_status, __WALL | WNOHANG)) == 0) {
		if (ckpti_now_ns() > deadline)
			return ckpti_err(err, -ETIMEDOUT,
					 "process %d did not execute its program within %d s", pid,
					 EXEC_LIMIT_S);
		(void)nanosleep(&step, NULL);
		if (step.tv_nsec < 5000000)
			step.tv_nsec *= 2;
	}
	if (r < 0)
		return ckpti_err(err, -errno, "process %d is lost: %s", pid, strerror(errno));
	if (!WIFSTOPPED(*ret_status))
		return ckpti_err(err, -ECHILD, "process %d ended before it was restored", pid);
	return 0;
}

static int stop_at_exec(int pid, uint32_t *go, struct ckpti_err *err)
{
	int status, r;

	/* Should we be killed, the program must not start from its beginning. */
	if (ptrace(PTRACE_SEIZE, pid, NULL,
		   PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) < 0)
		return ckpti_err(err, -errno,
				 "cannot trace process %d that is to be restored: %s (see "
				 "kernel.yama.ptrace_scope)",
				 pid, strerror(errno));
	__atomic_store_n(go, 1, __ATOMIC_SEQ_CST);
	(void)syscall(SYS_futex, go, FUTEX_WAKE, 1, NULL, NULL, 0);
	for (;;) {
		r = wait_stopped(pid, &status, err);
		if (r < 0)
			return r;
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8))
			break;
		(void)ptrace(PTRACE_CONT, pid, NULL, 0);
	}
	/* To the end of the exec call: only then are registers ours to set. */
	if (ptrace(PTRACE_SYSCALL, pid, NULL, 0) < 0)
		return ckpti_err(err, -EIO, "process %d cannot be stopped at its exec", pid);
	return wait_stopped(pid, &status, err);
}

/* Somewhere that is free in the process as it is and in the image, with room around. */
static uint64_t find_hole(const struct ckpti_plan *p, const struct ckpti_map *map, size_t nmap,
			  uint64_t size)
{
	const struct ckpti_plan_vma *vma = (const void *)((const uint8_t *)p + p->vma);
	uint64_t at = HOLE_FIRST;
	bool moved = true;

	while (moved) {
		moved = false;
		for (size_t i = 0; i < nmap + p->nvma; i++) {
			uint64_t start = i < nmap ? map[i].start : vma[i - nmap].start;
			uint64_t end = i < nmap ? map[i].end : vma[i - nmap].end;

			if (start < at + size + HOLE_GUARD && end + HOLE_GUARD > at &&
			    end < ARCH_TASK_SIZE) {
				at = (end + HOLE_GUARD + 0xffffUL) & ~0xffffUL;
				moved = true;
			}
		}
	}
	return at + size < ARCH_TASK_SIZE ? at : 0;
}

static int note_vdso(struct ckpti_plan *p, const struct ckpti_map *map, size_t nmap,
		     struct ckpti_err *err)
{
	const struct ckpti_plan_vma *vma = (const void *)((const uint8_t *)p + p->vma);
	uint64_t want = 0;

	for (size_t i = 0; i < nmap; i++) {
		if (strcmp(map[i].name, "[vdso]") != 0 && strncmp(map[i].name, "[vvar", 5) != 0)
			continue;
		if (p->nvdso == 4)
			return ckpti_err(err, -ENOEXEC, "this kernel's vdso has too many parts");
		p->vdso_now[p->nvdso][0] = map[i].start;
		p->vdso_now[p->nvdso++][1] = map[i].end - map[i].start;
	}
	for (uint64_t i = 0; i < p->nvma; i++) {
		if (vma[i].source != CKPTI_MAP_VDSO)
			continue;
		if (want == p->nvdso || vma[i].end - vma[i].start != p->vdso_now[want][1])
			return ckpti_err(
				err, -ENOEXEC,
				"this kernel's vdso is laid out differently from the image's");
		want++;
	}
	return want == p->nvdso || want == 0
		       ? 0
		       : ckpti_err(err, -ENOEXEC,
				   "this kernel's vdso has more parts than the image's");
}

static uint64_t vdso_start(const struct ckpti_map *map, size_t nmap, uint64_t *ret_len)
{
	for (size_t i = 0; i < nmap; i++) {
		if (strcmp(map[i].name, "[vdso]") == 0) {
			*ret_len = map[i].end - map[i].start;
			return map[i].start;
		}
	}
	return 0;
}

static int copy_in(int pid, uint64_t addr, const void *buf, uint64_t len)
{
	while (len) {
		struct iovec local = {.iov_base = (void *)buf, .iov_len = len};
		struct iovec remote = {.iov_base = (void *)addr, .iov_len = len};
		ssize_t n = process_vm_writev(pid, &local, 1, &remote, 1, 0);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		addr += (uint64_t)n;
		buf = (const uint8_t *)buf + n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int plant(int pid, struct ckpti_plan *p, struct ckpti_err *err)
{
	uint64_t code = page_up((uint64_t)(ckpti_restorer_blob_end - ckpti_restorer_blob));
	uint64_t stacks = page_up(p->nthread * CKPTI_PLAN_STACK + 65536);
	uint64_t park = 0, size, hole, vdso, vdso_len = 0, insn, plan_at;
	struct arch_tracee tracee = {.tid = pid, .wait = ckpti_tracee_wait};
	struct ckpti_plan_thread *t = (void *)((uint8_t *)p + p->thread);
	struct ckpti_map *map = NULL;
	size_t nmap = 0;
	long got;
	int r;

	r = ckpti_procfs_maps(pid, &map, &nmap);
	if (r < 0)
		return ckpti_err(err, r, "mappings of process %d may not be read: %s", pid,
				 strerror(-r));
	vdso = vdso_start(map, nmap, &vdso_len);
	r = note_vdso(p, map, nmap, err);
	for (uint32_t i = 0; i < p->nvdso; i++)
		park += p->vdso_now[i][1];
	/* code | plan | stacks | park */
	size = code + page_up(p->size) + stacks + park;
	hole = r < 0 ? 0 : find_hole(p, map, nmap, size);
	ckpti_procfs_maps_free(map, nmap);
	if (r < 0)
		return r;
	if (!hole || !vdso)
		return ckpti_err(err, -ENOMEM, "no room for the restorer in process %d", pid);
	insn = arch_find_syscall(pid, vdso, vdso_len);
	if (!insn)
		return ckpti_err(err, -ENOEXEC, "the vdso of process %d has no system call", pid);
	got = arch_remote_syscall(&tracee, insn, SYS_mmap, hole, size,
				  PROT_READ | PROT_WRITE | PROT_EXEC,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if ((uint64_t)got != hole)
		return ckpti_err(err, got < 0 ? (int)got : -EEXIST,
				 "cannot map the restorer into process %d", pid);
	plan_at = hole + code;
	p->blob_start = hole;
	p->blob_len = size;
	p->park = hole + size - park;
	p->task_size = ARCH_TASK_SIZE;
	p->back.blob_start = hole;
	p->back.blob_len = size;
	p->back.env = plan_at + p->env;
	for (uint64_t i = 0; i < p->nthread; i++)
		t[i].stack = plan_at + page_up(p->size) + (i + 1) * CKPTI_PLAN_STACK;
	r = copy_in(pid, hole, ckpti_restorer_blob,
		    (uint64_t)(ckpti_restorer_blob_end - ckpti_restorer_blob));
	if (r == 0)
		r = copy_in(pid, plan_at, p, p->size);
	if (r == 0)
		r = arch_enter(pid, hole, plan_at, p->park);
	return r < 0 ? ckpti_err(err, r, "cannot plant the restorer in process %d: %s", pid,
				 strerror(-r))
		     : 0;
}

int ckpti_plant(struct ckpti_life *life, size_t i, struct ckpti_err *err)
{
	struct ckpti_slot *slot = &life->build->slot[i];
	struct ckpti_plan *plan = NULL;
	int r = ckpti_plan_make(life, i, &plan, err);

	if (r == 0)
		r = stop_at_exec(slot->pid, &slot->go, err);
	if (r == 0)
		r = plant(slot->pid, plan, err);
	if (r == 0 && ptrace(PTRACE_DETACH, slot->pid, NULL, 0) < 0)
		r = ckpti_err(err, -errno, "cannot let go of process %d: %s", slot->pid,
			      strerror(errno));
	free(plan);
	return r;
}
