/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the files of this folder.  Everything up to the line "hosted" is freestanding: it runs on the
 * guest's FS base.  These functions return as system calls do: -errno.
 */
#ifndef CKPT_MPI_GUEST_PRIVATE_H
#define CKPT_MPI_GUEST_PRIVATE_H

#include "guest/guest.h"

#include <sys/syscall.h>

#include "arch/arch.h"

#define PAGE          4096UL
#define PAGE_UP(x)    (((uintptr_t)(x) + PAGE - 1) & ~(PAGE - 1))
#define PAGE_DOWN(x)  ((uintptr_t)(x) & ~(PAGE - 1))
#define IS_ERROR(ret) ((unsigned long)(ret) >= -4095UL)

/* The arena's parts, as offsets. */
#define STUBS_OFFSET 0x10000UL
#define STUBS_SIZE   0x10000UL
#define PORT_OFFSET  0x30000UL
#define PORT_SIZE    0x10000UL
#define STACK_OFFSET (16UL << 20)
#define STACK_SIZE   (1UL << 20)
#define CODE_OFFSET  (64UL << 20)
#define DATA_OFFSET  (2UL << 30)

#define raw(nr, a, b, c, d, e, f) \
	arch_syscall((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* A lock that survives a fork: the child takes it over from a thread that it does not have. */
struct guest_lock {
	int owner; /* process; 0: free */
};
void guest_lock(struct guest_lock *lock);
void guest_unlock(struct guest_lock *lock);

/* Process that has loaded the guest.  A child of the guest's fork is another. */
extern int guest_pid;
static inline bool guest_is_child(void)
{
	return raw(SYS_getpid, 0, 0, 0, 0, 0, 0) != guest_pid;
}

/* arena.c */
void guest_arena_reset(void);
uintptr_t guest_arena_place(size_t size, bool code); /* 0: no room; to be mapped by the caller */
long guest_mmap(uintptr_t addr, size_t len, int prot, int flags, int fd, long off);
long guest_munmap(uintptr_t addr, size_t len);
long guest_mremap(uintptr_t addr, size_t old, size_t want, int flags, uintptr_t to);
long guest_brk(uintptr_t addr);
long guest_shmat(int id, uintptr_t addr, int flags);
long guest_shmdt(uintptr_t addr);

/* fd.c */
void guest_fd_reset(unsigned int limit);
bool guest_fd_makes(long nr); /* does the call make or end descriptors? */
long guest_fd_call(long nr, long *arg);
void guest_fd_before_exec(void);

/* patch.c */
void guest_patch_reset(void);
/* Patch the code of one object, which is mapped at [addr, addr + len); prot is what it has. */
int guest_patch(uint8_t *addr, size_t len, int prot, struct ckpti_guest_sites *ret_sites);
/* CKPTI_GUEST_OBJECTS: one that has no calls of its own. */
enum ckpti_guest_object guest_patch_kind(int fd);

/* hook.c: arg is rdi rsi rdx r10 r8 r9 */
long ckpti_guest_hook(long *arg, long nr);
extern uint64_t guest_app_mask; /* signal mask that the application's thread had before the load */

/* cross.S */
void ckpti_guest_hook_entry(void);
void ckpti_guest_signal_entry(void);
void ckpti_guest_start(uintptr_t entry, uintptr_t sp, struct ckpti_guest_port *port);
void ckpti_guest_arrived(struct ckpti_guest_port *port);

/* cross.c */
/* Of the thread whose guest TCB is at fs; NULL: one of the guest's own, or it is not up yet. */
struct ckpti_guest_thread *guest_thread_of(uint64_t fs);

/* handler.c */
extern uintptr_t guest_signal_back; /* behind the libc's call: for cross.S */
struct guest_sigaction {
	uintptr_t handler, flags, restorer;
	uint64_t mask;
};
long ckpti_guest_app_sigaction(int sig, const struct guest_sigaction *act,
			       struct guest_sigaction *old, size_t size);

/* ---- hosted ---------------------------------------------------------------------------------- */

/* env.c: an environment for the guest, in one malloc'ed block; NULL: no memory */
char **guest_env_new(char *const *env, const char *own_dir);

/* check.c */
int guest_check_sites(enum ckpti_guest_object kind, const char *path, struct ckpti_err *err);

/* thread.c */
extern int guest_loader_tid; /* 0: nobody */
int guest_thread_first(struct ckpti_guest_port *port, struct ckpti_err *err);
void guest_thread_forget(void);
void guest_thread_lost(void);

#endif
