/* SPDX-License-Identifier: BSD-3-Clause */
/* x86-64: see arch/arch.h for the contract of each name. */
#ifndef CKPT_ARCH_X86_64_ARCH_H
#define CKPT_ARCH_X86_64_ARCH_H

#include <asm/prctl.h>
#include <asm/unistd.h>
#include <elf.h>
#include <stdint.h>
#include <ucontext.h>

#define ARCH_ELF_MACHINE EM_X86_64

static inline long arch_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline uint64_t arch_uc_ip(const ucontext_t *uc)
{
	return (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
}

static inline uint64_t arch_uc_sp(const ucontext_t *uc)
{
	return (uint64_t)uc->uc_mcontext.gregs[REG_RSP];
}

static inline long arch_uc_ret(const ucontext_t *uc)
{
	return (long)uc->uc_mcontext.gregs[REG_RAX];
}

/* The kernel leaves rcx = rip and r11 = rflags behind a syscall instruction; together with the two
 * opcode bytes in front of rip this tells a call that has just returned from a stale rax. */
static inline int arch_uc_at_syscall(const ucontext_t *uc)
{
	const uint8_t *ip = (const uint8_t *)arch_uc_ip(uc);

	return (uint64_t)uc->uc_mcontext.gregs[REG_RCX] == arch_uc_ip(uc) && ip[-2] == 0x0f &&
	       ip[-1] == 0x05;
}

/* The kernel has set the frame to repeat call nr, which was seen to return to this address. */
static inline int arch_uc_repeats(const ucontext_t *uc, long nr, uint32_t ip_low)
{
	return arch_uc_ret(uc) == nr && (uint32_t)arch_uc_ip(uc) + 2 == ip_low;
}

static inline long arch_uc_arg2(const ucontext_t *uc)
{
	return (long)uc->uc_mcontext.gregs[REG_RSI];
}

static inline void arch_uc_rewind(ucontext_t *uc, long nr)
{
	uc->uc_mcontext.gregs[REG_RAX] = nr;
	uc->uc_mcontext.gregs[REG_RIP] -= 2;
}

/* Undo that: the call has returned `ret`. */
static inline void arch_uc_forward(ucontext_t *uc, long ret)
{
	uc->uc_mcontext.gregs[REG_RAX] = ret;
	uc->uc_mcontext.gregs[REG_RIP] += 2;
}

/* libc's stubs load the number right before the call: mov $nr,%eax; syscall.  The page in front of one
 * that begins with the call need not exist. */
static inline long arch_uc_decode_nr(const ucontext_t *uc)
{
	const uint8_t *ip = (const uint8_t *)arch_uc_ip(uc);
	uint32_t nr;

	if ((arch_uc_ip(uc) & 4095) < 7 || ip[-7] != 0xb8)
		return -1;
	nr = (uint32_t)ip[-6] | (uint32_t)ip[-5] << 8 | (uint32_t)ip[-4] << 16 |
	     (uint32_t)ip[-3] << 24;
	return nr < 1024 ? (long)nr : -1;
}

static inline void arch_thread_bases(uint64_t *fs, uint64_t *gs)
{
	(void)arch_syscall(__NR_arch_prctl, ARCH_GET_FS, (long)fs, 0, 0, 0, 0);
	(void)arch_syscall(__NR_arch_prctl, ARCH_GET_GS, (long)gs, 0, 0, 0, 0);
}

static inline void arch_set_thread_bases(uint64_t fs, uint64_t gs)
{
	(void)arch_syscall(__NR_arch_prctl, ARCH_SET_FS, (long)fs, 0, 0, 0, 0);
	(void)arch_syscall(__NR_arch_prctl, ARCH_SET_GS, (long)gs, 0, 0, 0, 0);
}

static inline void arch_call_on_stack(void (*fn)(void *), void *arg, void *top)
{
	__asm__ volatile("mov %%rsp, %%rbx\n\t"
			 "mov %[top], %%rsp\n\t"
			 "and $-16, %%rsp\n\t"
			 "call *%[fn]\n\t"
			 "mov %%rbx, %%rsp"
			 : "+D"(arg)
			 : [top] "r"(top), [fn] "r"(fn)
			 : "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory",
			   "cc");
}

/* Enter fn(a, b) on another stack for good. */
static inline _Noreturn void arch_jump_on_stack(uint64_t fn, long a, long b, uint64_t top)
{
	__asm__ volatile("mov %[top], %%rsp\n\t"
			 "and $-16, %%rsp\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "call *%[fn]\n\t"
			 "hlt"
			 :
			 : "D"(a), "S"(b), [top] "r"(top), [fn] "r"(fn)
			 : "memory");
	__builtin_unreachable();
}

static inline _Noreturn void arch_leave(uint64_t uc)
{
	__asm__ volatile("mov %0, %%rsp\n\t"
			 "mov %1, %%eax\n\t"
			 "syscall"
			 :
			 : "r"(uc), "i"(__NR_rt_sigreturn)
			 : "memory");
	__builtin_unreachable();
}

/*
 * clone3 whose child starts with fn(arg) on the stack given in the arguments; the child never
 * returns.  fn and arg travel in registers that the system call keeps.
 */
static inline long arch_clone3(void *args, unsigned long size, void (*fn)(long), long arg)
{
	long ret;
	register long r12 __asm__("r12") = (long)fn;
	register long r13 __asm__("r13") = arg;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r13, %%rdi\n\t"
			 "call *%%r12\n\t"
			 "hlt\n"
			 "1:"
			 : "=a"(ret)
			 : "a"(__NR_clone3), "D"(args), "S"(size), "r"(r12), "r"(r13)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline void arch_fill(void *dst, int c, unsigned long n)
{
	__asm__ volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(c) : "memory");
}

static inline void arch_copy(void *dst, const void *src, unsigned long n)
{
	__asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}

/* Body of a signal restorer: the kernel wants its address in the action. */
#define ARCH_SIGRETURN_CODE "mov $15, %eax\n\tsyscall\n\t"

#endif
