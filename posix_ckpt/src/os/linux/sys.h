/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Raw system calls for freestanding code: each returns the kernel's value, -errno on failure, and
 * touches neither errno nor TLS.  Kernel structures that the libc headers of the oldest supported
 * distribution lack are declared here.
 */
#ifndef CKPT_OS_LINUX_SYS_H
#define CKPT_OS_LINUX_SYS_H

#include <asm/unistd.h>
#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/arch.h"

#define SYS6(nr, a, b, c, d, e, f, ...) \
	arch_syscall((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* sys(name, arguments …): missing arguments are 0 */
#define sys(name, ...) SYS6(__NR_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)

/* Kernel layout of a signal action (libc's differs). */
struct ckpti_ksigaction {
	uint64_t handler;
	uint64_t flags;
	uint64_t restorer;
	uint64_t mask;
};
#define CKPTI_SA_RESTORER 0x04000000UL

/*
 * What our own signals carry: the first 48 bytes of a siginfo travel unchanged through the kernel
 * when si_code is negative, so the system call that the target was in rides along.
 */
struct ckpti_siginfo {
	int32_t signo;
	int32_t err;
	int32_t code;
	int32_t pad;
	int32_t pid;
	uint32_t uid;
	uint64_t nonce;
	uint64_t sys_sp;
	int32_t sys_nr;  /* -1: was not in a system call */
	uint32_t sys_ip; /* low half of the instruction pointer */
	uint8_t rest[80];
};
_Static_assert(sizeof(struct ckpti_siginfo) == 128, "siginfo is 128 bytes");

#ifndef PAGEMAP_SCAN
struct page_region {
	uint64_t start;
	uint64_t end;
	uint64_t categories;
};

struct pm_scan_arg {
	uint64_t size;
	uint64_t flags;
	uint64_t start;
	uint64_t end;
	uint64_t walk_end;
	uint64_t vec;
	uint64_t vec_len;
	uint64_t max_pages;
	uint64_t category_inverted;
	uint64_t category_mask;
	uint64_t category_anyof_mask;
	uint64_t return_mask;
};
#define PAGEMAP_SCAN    0xc0606610UL /* _IOWR('f', 16, struct pm_scan_arg) */
#define PAGE_IS_FILE    (1 << 2)
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_SWAPPED (1 << 4)
#define PAGE_IS_PFNZERO (1 << 5)
#endif
#ifndef PAGE_IS_GUARD
#define PAGE_IS_GUARD (1 << 8)
#endif

/* Of <linux/fs.h> and <linux/userfaultfd.h> from Linux 6.7 on. */
#ifndef PM_SCAN_WP_MATCHING
#define PM_SCAN_WP_MATCHING (1 << 0)
#define PAGE_IS_WPALLOWED   (1 << 0)
#define PAGE_IS_WRITTEN     (1 << 1)
#endif
#define CKPTI_UFFD_USER_MODE_ONLY 1
#define CKPTI_UFFD_WP_UNPOPULATED (1U << 13)
#define CKPTI_UFFD_WP_ASYNC       (1U << 15)

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#define CKPTI_MEMBARRIER_REGISTRATIONS (1 << 9) /* MEMBARRIER_CMD_GET_REGISTRATIONS, Linux 6.3 */
#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#endif

static inline long ckpti_futex_wait(uint32_t *word, uint32_t val, const void *timeout)
{
	return sys(futex, word, FUTEX_WAIT, val, timeout);
}

static inline long ckpti_futex_wake(uint32_t *word, int n)
{
	return sys(futex, word, FUTEX_WAKE, n);
}

#endif
