/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest: a program of its own, with its own ld.so, libc and the real MPI library, inside the
 * process of the application.  It is loaded into the arena, a part of the address space that nothing
 * else uses, and called by switching the FS base, which is where a thread finds its TCB.
 *
 * Words: "application" is everything that the kernel started (the program, its libraries, our shim);
 * "guest" is everything in the arena.  A thread is "inside" while its FS base is a guest's TCB.
 *
 * Invariants
 *  - The guest has no mapping outside the arena, no descriptor below the range (ckpti_guest_fd_*), and
 *    no signal handler.  Its system calls that could break this are patched (patch.c) and go through
 *    ckpti_guest_hook(); an object whose calls are not all known is refused.
 *  - Guest threads block every signal for ever.
 *  - A thread of the application that calls MPI borrows the TCB of a guest thread that is parked in the
 *    kernel meanwhile, so everything that libc keeps per thread is right on both sides.
 *  - Handlers of the application run on the application's FS base, wherever the signal comes.
 *  - Nothing of the guest is ever in an image: at a restart a fresh one is loaded.
 *
 * What may be called when, and on whose FS base:
 *  - ckpti_guest_load, _attach, _detach, _check: application's FS base, not in a signal handler.
 *  - ckpti_guest_enter/leave: a pair, in one function that is compiled without a stack protector and
 *    touches no thread-local variable in between (it would be the guest's).
 *  - ckpti_guest_hook and what it calls: the guest's FS base, any thread, signals open.  Hence raw
 *    system calls only: no libc, no TLS, no vector registers.
 *  - the predicates (ckpti_guest_has_*): anywhere, also in a signal handler.
 */
#ifndef CKPT_MPI_GUEST_H
#define CKPT_MPI_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/*
 * The arena.  Here no mapping of the kernel's choice ever lies, and no shadow memory of ASan or TSan.
 * It is not reserved (that would count against ulimit -v); each mapping is made with
 * MAP_FIXED_NOREPLACE.  Stubs and code come first: a jump reaches 2 GiB.
 */
#define CKPTI_GUEST_BASE 0x200000000000UL
#define CKPTI_GUEST_SIZE (1UL << 40)

/* A thread of the application that has called MPI. */
struct ckpti_guest_thread {
	uint64_t guest_fs; /* of the TCB that it borrows */
	uint64_t app_fs;   /* its own */
	int depth;         /* calls that may enter and have not come back */
	int colls;         /* collective calls that it is in: shim/coll.h */
	int tid;
	void *parked;                    /* the guest's name for the owner of the TCB; NULL: main */
	struct ckpti_guest_thread *next; /* of all; under the lock of thread.c */
};

/* Filled in by both sides while the guest starts; it lies in the arena. */
struct ckpti_guest_port {
	/* By the application. */
	void (*arrived)(struct ckpti_guest_port *port); /* called last by the guest's main() */
	void (*leave)(int status);                      /* the guest has called exit() */
	const char *const *names;                       /* functions to look up … */
	void **table; /* … and where to put them; NULL: missing */
	size_t count;
	/* By the guest.  All of it is called inside. */
	uint64_t main_fs, service_fs; /* TCBs of its first thread and of one that serves threads */
	int64_t thread_offset;        /* from a TCB to its struct ckpti_guest_thread pointer */
	int (*thread_new)(uint64_t *ret_fs, void **ret_parked);
	void (*thread_end)(void *parked);
	void (*flush)(void); /* its stdio */
	/* Where the application was when it let the guest start. */
	uint64_t app_fs, app_sp;
};

/* Objects with system calls of their own. */
enum ckpti_guest_object {
	CKPTI_GUEST_LINKER,
	CKPTI_GUEST_LIBC,
	CKPTI_GUEST_UCM, /* UCX's, which moves the break by itself */
	CKPTI_GUEST_OBJECTS
};

/* What was patched in one kind of object, and what was seen. */
struct ckpti_guest_sites {
	unsigned int memory, fd, signal, exec, generic; /* patched, by what they do */
	unsigned int odd; /* that do one of these things but cannot be patched */
};

struct ckpti_guest_stats {
	struct ckpti_guest_sites sites[CKPTI_GUEST_OBJECTS];
	unsigned int objects[CKPTI_GUEST_OBJECTS]; /* loaded, of each kind */
	uint64_t mappings, outside;  /* made through the hook; of them outside the arena */
	uint64_t fds_moved, fds_low; /* into the range; that stayed below */
	uint64_t handlers_refused;
};

extern struct ckpti_guest_port *ckpti_guest_port; /* NULL: none */
extern struct ckpti_guest_stats ckpti_guest_stats;
/* The processor and the kernel let us write FS base. */
extern bool ckpti_guest_fsgsbase __attribute__((visibility("hidden")));

/* Of this thread; NULL: it has not called MPI yet. */
extern __thread struct ckpti_guest_thread *ckpti_guest_self
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

/*
 * Load the guest program and look up count functions.  The calling thread gets the TCB of the guest's
 * first thread; in a new life who has had it gets it, and the others get one each.  env: of the new launch, NULL for the present environment; own_dir: where the shim
 * lies, which the guest's linker must not search.  The caller has blocked all signals
 * (ckpti_guest_signals_block) and keeps them blocked until MPI is up, so that the guest's threads are
 * born with a full mask.
 */
int ckpti_guest_load(const char *program, char *const *env, const char *own_dir,
		     const char *const *names, void **table, size_t count, struct ckpti_err *err);

/* Give this thread a TCB in the guest; at its end it gives it back by itself. */
int ckpti_guest_attach(struct ckpti_err *err);

/*
 * To the guest this thread is now `whom`, which stands outside and stays there; NULL: both are themselves
 * again.  Transports that are to be used by one thread look who it is.  If a new life begins meanwhile,
 * `whom` is in the end the thread that has started MPI in it.
 */
void ckpti_guest_stand_in(const struct ckpti_guest_thread *whom);

/* Forget the guest, in a forked child: its mappings and descriptors go, its threads never came. */
void ckpti_guest_drop(void);

/*
 * In a new life: the guest is not there any more.  The threads that had called it stay what they are,
 * and have TCBs again after the next load.  Also in a signal handler, while all other threads stand.
 */
void ckpti_guest_lost(void);

/* All signals, also those that libc would leave open. */
uint64_t ckpti_guest_signals_block(void);
void ckpti_guest_signals_restore(uint64_t old);

/*
 * From now on handlers of the application run on its FS base.  Patches the application's own
 * rt_sigaction(), so it covers every way to set a handler, and takes over those that are set.
 */
int ckpti_guest_signals_guard(struct ckpti_err *err);

/*
 * Is the guest confined?  Sites as known for this libc, no mapping outside, no low descriptor.
 * -EXDEV and the first thing that is not.
 */
int ckpti_guest_check(struct ckpti_err *err);
/*
 * Remember what is mapped and open, for the next check.  In between only the guest acts; that is so
 * during the load, which calls it, and during MPI_Init, if the application has one thread.
 */
int ckpti_guest_check_begin(struct ckpti_err *err);
/* Only what the hook has counted; also in a signal handler. */
int ckpti_guest_check_counts(struct ckpti_err *err);

bool ckpti_guest_has_addr(uintptr_t addr);
bool ckpti_guest_has_range(uintptr_t start, uintptr_t end);
bool ckpti_guest_has_fd(int fd);
/* A descriptor of ours that must not be in an image: it is treated as the guest's.  The new number. */
int ckpti_guest_fd_take(int fd);
void ckpti_guest_fd_close(int fd);
bool ckpti_guest_has_task(int tid);
/* A thread that is inside, -1 if it is not known which; 0: none.  Sure only while all threads stand. */
int ckpti_guest_inside(void);
/* Collective calls that threads are in. */
int ckpti_guest_colls(void);

/* ---- crossing ------------------------------------------------------------------------------- */

/* cross.c: by a system call, where the instructions are missing */
uint64_t ckpti_fs_get_slow(void) __attribute__((cold, visibility("hidden")));
void ckpti_fs_set_slow(uint64_t fs) __attribute__((cold, visibility("hidden")));

static inline uint64_t ckpti_fs_get(void)
{
	uint64_t fs;

	if (__builtin_expect(!ckpti_guest_fsgsbase, 0))
		return ckpti_fs_get_slow();
	__asm__ volatile("rdfsbase %0" : "=r"(fs) : : "memory");
	return fs;
}

static inline void ckpti_fs_set(uint64_t fs)
{
	if (__builtin_expect(!ckpti_guest_fsgsbase, 0))
		ckpti_fs_set_slow(fs);
	else
		__asm__ volatile("wrfsbase %0" : : "r"(fs) : "memory");
}

/* thread: the caller's ckpti_guest_self, read before; its depth is not 0. */
static inline void ckpti_guest_enter(struct ckpti_guest_thread *thread)
{
	ckpti_fs_set(thread->guest_fs);
}

static inline void ckpti_guest_leave(struct ckpti_guest_thread *thread)
{
	ckpti_fs_set(thread->app_fs);
}

#endif
