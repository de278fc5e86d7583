/* SPDX-License-Identifier: BSD-3-Clause */
/* x86-64: see arch/ptrace.h for the contract of each name. */
#ifndef CKPT_ARCH_X86_64_PTRACE_H
#define CKPT_ARCH_X86_64_PTRACE_H

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#define ERESTART_RESTARTBLOCK 516 /* the kernel's own */
#define ARCH_TASK_SIZE        0x7ffffffff000UL

static inline int arch_get_regs(int pid, struct user_regs_struct *regs)
{
	struct iovec iov = {.iov_base = regs, .iov_len = sizeof(*regs)};

	if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &iov) < 0)
		return -errno;
	return iov.iov_len == sizeof(*regs) ? 0 : -ENOEXEC; /* a 32-bit program */
}

static inline int arch_set_regs(int pid, struct user_regs_struct *regs)
{
	struct iovec iov = {.iov_base = regs, .iov_len = sizeof(*regs)};

	return ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &iov) < 0 ? -errno : 0;
}

static inline uint64_t arch_find_syscall(int pid, uint64_t code, uint64_t len)
{
	static uint8_t text[65536];
	struct iovec local = {.iov_base = text, .iov_len = sizeof(text)};
	struct iovec remote = {.iov_base = (void *)code, .iov_len = len};
	ssize_t n;

	if (len > sizeof(text))
		remote.iov_len = sizeof(text);
	n = process_vm_readv(pid, &local, 1, &remote, 1, 0);
	for (ssize_t i = 0; i + 1 < n; i++)
		if (text[i] == 0x0f && text[i + 1] == 0x05)
			return code + (uint64_t)i;
	return 0;
}

/* To the next border of a system call. */
static inline int arch_to_syscall(struct arch_tracee *t)
{
	int status, r;

	do {
		if (ptrace(PTRACE_SYSCALL, t->tid, NULL, 0) < 0)
			return -errno;
		r = t->wait(t->tid, &status);
		if (r < 0)
			return r;
		if (WSTOPSIG(status) == SIGSTOP && status >> 16 == 0)
			t->late = SIGSTOP;
	} while (WSTOPSIG(status) != (SIGTRAP | 0x80));
	return 0;
}

static inline long arch_remote_syscall(struct arch_tracee *t, uint64_t insn, long nr, uint64_t a,
				       uint64_t b, uint64_t c, uint64_t d, int64_t e, uint64_t f)
{
	struct user_regs_struct old, regs;
	int r;

	r = arch_get_regs(t->tid, &old);
	if (r < 0)
		return r;
	regs = old;
	regs.orig_rax = (uint64_t)-1;
	regs.rip = insn;
	regs.rax = (uint64_t)nr;
	regs.rdi = a;
	regs.rsi = b;
	regs.rdx = c;
	regs.r10 = d;
	regs.r8 = (uint64_t)e;
	regs.r9 = f;
	r = arch_set_regs(t->tid, &regs);
	if (r == 0)
		r = arch_to_syscall(t);
	if (r == 0)
		r = arch_to_syscall(t);
	if (r == 0)
		r = arch_get_regs(t->tid, &regs);
	if (r < 0)
		return r;
	r = arch_set_regs(t->tid, &old);
	return r < 0 ? r : (long)regs.rax;
}

static inline long arch_remote_call(struct arch_tracee *t, uint64_t ip, uint64_t stack,
				    uint64_t done)
{
	struct user_regs_struct old, regs;
	int r;

	r = arch_get_regs(t->tid, &old);
	if (r < 0)
		return r;
	regs = old;
	regs.orig_rax = (uint64_t)-1;
	regs.rip = ip;
	regs.rsp = (stack & ~15UL) - 8; /* as a call instruction leaves it */
	regs.rbp = 0;
	regs.eflags &= ~0x500UL; /* direction and trap flags */
	r = arch_set_regs(t->tid, &regs);
	/* Both borders of every call look alike; the last one is seen at its first. */
	while (r == 0) {
		r = arch_to_syscall(t);
		if (r == 0)
			r = arch_get_regs(t->tid, &regs);
		if (r == 0 && regs.orig_rax == done)
			break;
	}
	if (r == 0)
		r = arch_to_syscall(t);
	if (r < 0)
		return r;
	r = arch_set_regs(t->tid, &old);
	return r < 0 ? r : (long)regs.rdi;
}

/*
 * A call that only we have interrupted is repeated.  Some end with EINTR whoever wakes them.  Others the
 * kernel would go on with by restart_syscall, which says no more which call it is: the next checkpoint
 * could not repeat it.
 */
static inline int arch_repeat_call(int pid)
{
	struct user_regs_struct regs;
	int r = arch_get_regs(pid, &regs);

	if (r < 0 || (long)regs.orig_rax < 0 ||
	    ((long)regs.rax != -EINTR && (long)regs.rax != -ERESTART_RESTARTBLOCK))
		return r;
	regs.rax = regs.orig_rax;
	regs.orig_rax = (uint64_t)-1;
	regs.rip -= 2;
	return arch_set_regs(pid, &regs);
}

static inline int arch_position(int pid, uint64_t *ret_ip, uint64_t *ret_sp)
{
	struct user_regs_struct regs;
	int r = arch_get_regs(pid, &regs);

	if (r == 0) {
		*ret_ip = regs.rip;
		*ret_sp = regs.rsp;
	}
	return r;
}

static inline int arch_thread_pointer(int pid, uint64_t *ret)
{
	struct user_regs_struct regs;
	int r = arch_get_regs(pid, &regs);

	if (r == 0)
		*ret = regs.fs_base;
	return r;
}

static inline int arch_enter(int pid, uint64_t ip, uint64_t arg, uint64_t stack)
{
	struct user_regs_struct regs;
	int r = arch_get_regs(pid, &regs);

	if (r < 0)
		return r;
	regs.orig_rax = (uint64_t)-1;
	regs.rax = 0;
	regs.rip = ip;
	regs.rdi = arg;
	regs.rsp = stack & ~15UL;
	regs.rbp = 0;
	regs.eflags &= ~0x500UL; /* direction and trap flags */
	return arch_set_regs(pid, &regs);
}

#endif
