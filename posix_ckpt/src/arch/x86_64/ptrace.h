/* SPDX-License-Identifier: BSD-3-Clause */
/* x86-64: see arch/ptrace.h for the contract of each name. */
#ifndef CKPT_ARCH_X86_64_PTRACE_H
#define CKPT_ARCH_X86_64_PTRACE_H

#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#define ARCH_TASK_SIZE 0x7ffffffff000UL

static inline int arch_get_regs(int pid, struct user_regs_struct *regs)
{
	struct iovec iov = {.iov_base = regs, .iov_len = sizeof(*regs)};

	return ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &iov) < 0 ? -errno : 0;
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

static inline long arch_remote_syscall(int pid, uint64_t code, uint64_t len, long nr, uint64_t a,
				       uint64_t b, uint64_t c, uint64_t d, int64_t e, uint64_t f)
{
	uint64_t insn = arch_find_syscall(pid, code, len);
	struct user_regs_struct old, regs;
	int status, r;

	r = insn ? arch_get_regs(pid, &old) : -ENOEXEC;
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
	r = arch_set_regs(pid, &regs);
	if (r < 0)
		return r;
	if (ptrace(PTRACE_SINGLESTEP, pid, NULL, 0) < 0 || waitpid(pid, &status, __WALL) < 0)
		return -errno;
	if (!WIFSTOPPED(status))
		return -ECHILD;
	r = arch_get_regs(pid, &regs);
	if (r < 0)
		return r;
	r = arch_set_regs(pid, &old);
	return r < 0 ? r : (long)regs.rax;
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
