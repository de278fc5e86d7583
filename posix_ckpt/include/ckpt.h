/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt.h - checkpoint and restart of processes: the whole contract of libckpt.
 *
 * The names of section 4 and the two at...() calls are those of the POSIX 1003.1m draft as IRIX had
 * them, so that old callers compile again; numeric values are ours, and so is everything that those
 * systems left open.  Each description ends with a line
 *
 *     Safety: ...  Since: first version.  Source: IRIX | POSIX draft | UNICOS | ours
 *
 * MT-Safe: may be called by several threads at once.  AS-Safe: may be called in a signal handler.
 * Nothing here may be called in the child of vfork().
 *
 * Common to all calls: failure is -1 with errno set; errno values are Linux' own.  A thread finds the
 * detail of its last failure with ckpt_lasterror().  Pointers given to a call stay the caller's and
 * need not outlive the call unless it is said.  The library never prints, and never ends the process.
 *
 * In C89 mode define _POSIX_C_SOURCE as 200809L, or P_PID and P_PGID are not declared.
 */
#ifndef CKPT_H
#define CKPT_H 1

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/wait.h> /* P_PID and P_PGID are enumerators of idtype_t */
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

struct timespec; /* not declared by <time.h> in C89 mode */

#ifndef CKPT_API
#define CKPT_API __attribute__((visibility("default")))
#endif

#define CKPT_API_VERSION 1

/* ---- 1. What is checkpointed ------------------------------------------------------------------ */

typedef int64_t ckpt_id_t; /* pid, process group, session, packed job step: 64 bits as on IRIX */

/*
 * Values of `type`.  P_PID (1) and P_PGID (2) come from <sys/wait.h>; ours start at 0x103 to avoid it.
 * P_PID, P_PGID, P_SID, P_ASH: IRIX.  P_HID, P_SPGP, P_JID: names after the kinds that cpr(1) knew.
 */
#ifndef P_SID
#define P_SID 0x103 /* a session */
#endif
#ifndef P_ASH
#define P_ASH 0x104 /* array session: one job step on all its nodes */
#endif
#ifndef P_HID
#define P_HID 0x105 /* a process and all its descendants */
#endif
#ifndef P_SPGP
#define P_SPGP 0x106 /* share group: the threads of a process, the same as P_PID */
#endif
#ifndef P_JID
#define P_JID 0x107 /* a batch job, every step of it */
#endif

#define CKPT_TYPE_MASK    0xffffUL
#define CKPT_REAL_TYPE(t) (CKPT_TYPE_MASK & (unsigned long)(t))

/* The id that goes with P_ASH. */
#define CKPT_STEPID(job, step) ((ckpt_id_t)(((uint64_t)(uint32_t)(job) << 32) | (uint32_t)(step)))

/* As id: the caller's own process, group, session, step or job. */
#define CKPT_SELF ((ckpt_id_t)0)

/* ---- 2. Options ------------------------------------------------------------------------------- */

/*
 * Options of calls that give no CKPT_FLAGS argument.  Read once at the start of a call: set it
 * before threads are started, or use CKPT_FLAGS.  Bits that no call knows give EINVAL.
 * Safety: not MT-Safe to change.  Since: 0.1.  Source: IRIX.
 */
CKPT_API extern unsigned long cpr_flags;

/* Names of IRIX; what they do here. */
#define CKPT_CHECKPOINT_CONT 0x0001UL /* create: the targets go on (the default here) */
#define CKPT_CHECKPOINT_KILL 0x0002UL /* create: SIGKILL for the targets after the commit */
#define CKPT_NQE             0x0010UL /* the caller is a batch system; changes nothing */
/* Ours.  Bits that are not listed are reserved. */
#define CKPT_CHECKPOINT_UPGRADE  0x0008UL     /* create: keep copies of executable and libraries */
#define CKPT_RESTART_INTERACTIVE 0x0100UL     /* restart: as a job of the calling shell */
#define CKPT_FORCE               0x00010000UL /* create: path may hold an older checkpoint */
#define CKPT_ASYNC               0x00020000UL /* create: return at once; needs CKPT_HANDLE */
#define CKPT_JOIN                0x00080000UL /* create: take part in one that is under way */
#define CKPT_DRYRUN              0x00100000UL /* create: say what would fail, stop nothing */
#define CKPT_NEWIDS              0x00200000UL /* restart: process ids need not be the old ones */

/* ---- 3. The argument vector ------------------------------------------------------------------- */

/*
 * One argument.  ckpt_data points to what the comment of its type says; it is read during the call
 * only, except that functions and their `arg` must stay valid as long as they may be called.
 * A type that the call does not know gives EINVAL: a program can find out what it may use.
 */
struct ckpt_args {
	unsigned long ckpt_type;
	void *ckpt_data;
};

/*
 * Types, what ckpt_data points to, and the calls that take them (s setup, c create, r restart).
 * The first six are names of the POSIX draft, which IRIX declared and ignored: the meaning is ours.
 * The others are ours; 0x106 is reserved.
 *
 * ID           ckpt_id_t                c    one more target, of the type given in the call
 * LOCK         int                      sc   1: ckpt_hold() at the end; 0: ckpt_release() first
 * SIGNAL       int                      sc   signal sent to each target after the commit
 * POSTRESTART  struct ckpt_fn           scr  called in the new life; of restart: when the tree runs
 * PRERESTART   struct ckpt_fn           sr   called before ckpt_restart() starts anything
 * POSTCREATE   struct ckpt_fn           sc   called when the image was taken and the process goes on
 * PRECREATE    struct ckpt_fn           sc   called before the stop; may refuse
 * FLAGS        unsigned long            scr  used in place of cpr_flags
 * TIMEOUT      struct timespec          sc   time for all tasks to stop; default 10 s
 * EXCLUDE      struct ckpt_range        sc   as ckpt_exclude()
 * FILEPOLICY   struct ckpt_file_policy  sc   what a restart makes of an open file
 * RELOCATE     struct ckpt_relocate     sr   paths that have changed
 * HANDLE       ckpt_handle_t            c    filled in by the call, with CKPT_ASYNC
 * DIRECTORY    char[]                   s    where ckpt_self() writes
 */
#define CKPT_ID          1UL
#define CKPT_LOCK        2UL
#define CKPT_SIGNAL      3UL
#define CKPT_POSTRESTART 4UL
#define CKPT_PRERESTART  5UL
#define CKPT_POSTCREATE  6UL
#define CKPT_PRECREATE   0x100UL
#define CKPT_FLAGS       0x101UL
#define CKPT_TIMEOUT     0x102UL
#define CKPT_EXCLUDE     0x103UL
#define CKPT_FILEPOLICY  0x104UL
#define CKPT_RELOCATE    0x105UL
#define CKPT_HANDLE      0x107UL
#define CKPT_DIRECTORY   0x108UL

enum ckpt_event {
	CKPT_EV_PRECREATE = 1,
	CKPT_EV_POSTCREATE,
	CKPT_EV_PRERESTART,
	CKPT_EV_POSTRESTART,
	CKPT_EV_ABORTED /* to PRECREATE functions: there was no checkpoint after all */
};

/*
 * Functions given to ckpt_create() or ckpt_restart() run in the calling thread, in the order of the
 * arguments.  Those given to ckpt_setup() run at every checkpoint of this process, whoever asked for
 * it, on the thread of the library (see atcheckpoint()).  PRECREATE and PRERESTART refuse with a
 * non-zero result: the call fails with ECANCELED, and PRECREATE functions that had said yes are
 * called with CKPT_EV_ABORTED.  The result of other events is ignored.
 */
struct ckpt_fn {
	int (*fn)(enum ckpt_event event, void *arg);
	void *arg;
};

struct ckpt_range {
	void *addr;
	size_t len; /* bytes */
};

/* What a restart makes of an open file: the actions of the attribute file of IRIX. */
enum ckpt_file_action {
	CKPT_FILE_MERGE = 1,  /* open it again, seek to the old offset */
	CKPT_FILE_IGNORE,     /* open it again as the program first did */
	CKPT_FILE_APPEND,     /* open it again, seek to its end */
	CKPT_FILE_REPLACE,    /* the saved copy is put back over the file */
	CKPT_FILE_SUBSTITUTE, /* the saved copy is opened without a name, the file is left alone */
	CKPT_FILE_RELOCATE    /* ours: open it under the name that CKPT_RELOCATE gives */
};

/* The first rule whose glob (fnmatch(3)) matches the path of a file counts; rules of the call come
 * before those of ckpt_setup(). */
struct ckpt_file_policy {
	const char *glob; /* without '=' */
	enum ckpt_file_action action;
};

/* Paths that start with `from` start with `to` after the restart. */
struct ckpt_relocate {
	const char *from; /* without '=' */
	const char *to;
};

typedef uint64_t ckpt_handle_t; /* a request under way; 0 is never one */

/* ---- 4. The five calls ------------------------------------------------------------------------ */

/*
 * Set defaults for later calls of this process, and functions for all its checkpoints.  Lists grow,
 * single values are replaced.  Strings are copied.  ckpt_setup(0, 0) does nothing.
 * Arguments are carried out one by one: those before a bad one have been.
 * Errors: EINVAL bad argument, or not one for this call; ENOSPC too many in a list (64), or ranges;
 * EPERM CKPT_LOCK 0 without a hold; EDEADLK called from a handler with CKPT_LOCK; EAGAIN, ENOMEM.
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: POSIX draft; on IRIX it did nothing.
 */
CKPT_API int ckpt_setup(struct ckpt_args *args[], size_t nargs);

/*
 * Take a checkpoint of the processes that `type` and `id` name and write it to the directory `path`,
 * which is made if need be (mode 0700).  The image counts when it is complete: an older one in the
 * same directory stays valid until then.  The targets go on, unless CKPT_CHECKPOINT_KILL.
 *
 * The work is done by the program cpr, started for the call in a session of its own and not a child
 * of the caller: no SIGCHLD, nothing for wait().  A process that is a child subreaper (prctl(2))
 * does get it as an orphan when it ends.
 *
 * Returns 0 when the image is committed, or with CKPT_ASYNC when cpr was started.  When the caller
 * is a target, the call returns 0 in both lives, as on IRIX: see ckpt_restarts() and ckpt_self().
 *
 * Errors (text and object: ckpt_lasterror()):
 *   EINVAL     bad argument, type or flag       ENOTSUP    P_ASH, P_JID without a batch system; an
 *   ESRCH      no such target                              object that cannot be checkpointed
 *   EPERM      not the owner; setuid or traced  ENOLINK    a target does not have our library
 *   EEXIST     path holds one, no CKPT_FORCE    EBUSY      a checkpoint is under way
 *   EAGAIN     held off, try again              ETIMEDOUT  a task did not stop in time
 *   ECANCELED  refused by a function            EDEADLK    called from a handler, or of oneself
 *   ENOSPC, EDQUOT  no space                               between ckpt_hold() and ckpt_release()
 *   ENOPKG     the program cpr was not found    EIO        cpr died
 *   EREMOTEIO  the job of P_ASH or P_JID could not be checkpointed
 * and those of open(2), mkdir(2), write(2).  After a failure the targets go on unharmed.
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: IRIX; POSIX draft.
 */
CKPT_API int ckpt_create(const char *path, ckpt_id_t id, unsigned long type,
			 struct ckpt_args *args[], size_t nargs);

/*
 * Start again what lies in `path`.  A child process of the caller (the program cpr) stays as long as
 * the restarted root process and ends with its status: wait(2) reports it.  The caller's own user,
 * working directory and descriptors are untouched; its descriptors 0, 1 and 2 are given to processes
 * that had theirs from outside.
 *
 * Returns the process id of the restarted root process, > 0, when all processes run.
 * Errors: ENOENT no such directory; ENODATA no complete checkpoint in it; EPERM owner or mode of the
 * directory; EBADMSG damaged; EPROTONOSUPPORT written by a newer version; ENOEXEC this processor or
 * kernel lacks something; ESTALE a file changed or is gone; EADDRINUSE ids in use; ECANCELED refused
 * by a function; ERESTART the caller itself was restarted meanwhile; EBUSY, EINVAL, EDEADLK, ENOPKG,
 * EIO as above.  Nothing runs after a failure.
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: IRIX; POSIX draft.
 */
CKPT_API ckpt_id_t ckpt_restart(const char *path, struct ckpt_args *args[], size_t nargs);

struct ckpt_stat; /* below */

/*
 * Describe the newest checkpoint in `path`: a list with one element for each process, parents before
 * children.  Memory contents are not read.  *sp is for the caller to free with ckpt_stat_free(); it
 * is NULL after a failure.
 * Errors: EINVAL, ENOMEM, and ENOENT ENODATA EPERM EBADMSG EPROTONOSUPPORT of ckpt_restart().
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: IRIX; the fields of the struct are ours.
 */
CKPT_API int ckpt_stat(const char *path, struct ckpt_stat **sp);

/* Free a list of ckpt_stat().  NULL is allowed; errno is kept.
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: ours. */
CKPT_API void ckpt_stat_free(struct ckpt_stat *sp);

/*
 * Remove the checkpoints in `path`, and the directory.  Only files of ours are removed.
 * Errors: EINVAL; ENOENT; EPERM not the owner; EBUSY in use; ENOTEMPTY there were other files, which
 * are left; ENODATA not a statefile directory.
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: IRIX; POSIX draft.
 */
CKPT_API int ckpt_remove(const char *path);

#define CKPT_CS_ZOMBIE 1U /* cs_flags: had ended, waited for by nobody */

struct ckpt_stat {
	struct ckpt_stat *cs_next;
	uint32_t cs_revision; /* version of the image format */
	uint32_t cs_flags;    /* CKPT_CS_* */
	ckpt_id_t cs_id;      /* what the request named: id and type */
	unsigned long cs_type;
	pid_t cs_pid, cs_ppid, cs_pgrp, cs_sid; /* cs_ppid 0: the parent is not in the image */
	uid_t cs_uid;
	gid_t cs_gid;
	uint32_t cs_jobid, cs_stepid; /* batch identity, 0 when none */
	int32_t cs_rank, cs_nodeid;   /* -1 when not a parallel task */
	char cs_host[64];             /* where it was taken */
	char cs_comm[16];
	char cs_psargs[80]; /* start of the command line */
	char cs_cdir[256];  /* working directory; cut with "..." in front when longer */
	uint32_t cs_nfiles, cs_nthreads;
	uint64_t cs_bytes;  /* size of its mapped memory */
	uint64_t cs_stored; /* bytes of it that lie in the image */
	int64_t cs_ctime;   /* seconds since the epoch */
	uint64_t cs_generation;
};

/* ---- 5. Handlers and signals ------------------------------------------------------------------ */

#define CKPT_ATMAX_COMPAT 32 /* as many as IRIX took; there is no limit here */

/*
 * Have func called before each checkpoint, or after each restart, of this process.  Both kinds are
 * called in the order of registration (atrestart() too: IRIX says so; pthread_atfork() is the other
 * way round).  They run on a thread of the library that the first registration starts, in normal
 * context while the other threads run: malloc, stdio and sockets are allowed.  ckpt_create(),
 * ckpt_self(), ckpt_restart(), ckpt_hold() and ckpt_release() in them give EDEADLK; longjmp() or
 * exit() out of them is undefined.  Registrations are kept over fork() and dropped by exec.
 * When a checkpoint is given up after they ran, nobody tells them: use a CKPT_PRECREATE function of
 * ckpt_setup() when something must be opened again.
 * IRIX declares them in <stdlib.h> and takes 32.
 * Errors: EINVAL func is NULL; ENOMEM; EAGAIN no thread could be started.
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: IRIX.
 */
CKPT_API int atcheckpoint(void (*func)(void));
CKPT_API int atrestart(void (*func)(void));

/*
 * The signals that carry checkpoints.  A handler that the program sets for SIGCKPT is called once
 * before each checkpoint, that for SIGRESTART once after each restart; with no handler nothing
 * happens.  The numbers are SIGRTMAX-2 and SIGRTMAX-3 unless the environment variable
 * CKPT_SIGNO=n[,m] says otherwise; 32 and 33 belong to the C library.  The macros are expressions:
 * they cannot be case labels or size an array.
 * Safety: MT-Safe, AS-Safe.  Since: 0.1.  Source: IRIX has the names as constants.
 */
CKPT_API int ckpt_signo_checkpoint(void);
CKPT_API int ckpt_signo_restart(void);
#define SIGCKPT    (ckpt_signo_checkpoint())
#define SIGRESTART (ckpt_signo_restart())

/* ---- 6. For programs that cooperate ----------------------------------------------------------- */

/*
 * No checkpoint starts between ckpt_hold() and ckpt_release(); one that is asked for is put off.
 * Holds nest; each thread gives back its own, and a thread that ends gives back what it has.
 * Errors: EPERM release without hold; EDEADLK called from a handler; EAGAIN, ENOMEM first use.
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: ours.
 */
CKPT_API int ckpt_hold(void);
CKPT_API int ckpt_release(void);

/* Number of the newest checkpoint of this process, 0 before the first.
 * Safety: MT-Safe, AS-Safe.  Since: 0.1.  Source: ours. */
CKPT_API uint64_t ckpt_generation(void);

/* How many times this process has been restarted.
 * Safety: MT-Safe, AS-Safe.  Since: 0.1.  Source: ours. */
CKPT_API unsigned ckpt_restarts(void);

/*
 * The environment that the program cpr had when it restarted this process: strings "NAME=value", each
 * ended by a null byte; after the last one there is an empty one.  What a batch system or an MPI says of
 * the present launch is in it (SLURM_*, PMIX_*); the program's own environment stays that of the first
 * life.  NULL before the first restart.  Valid until the next one.  A file has the same for other
 * processes of the set, from the first life on: see the variable CKPT_LAUNCH_FILE in ckpt(7).
 * Safety: MT-Safe, AS-Safe, also in after_restart of ckpt_hooks.h.  Since: 0.1.  Source: ours.
 */
CKPT_API const char *ckpt_launch_environment(void);

/* As getenv(), of the present launch: the environment above, or before the first restart the
 * program's own.  NULL when there is no such variable.
 * Safety: as getenv(); after a restart MT-Safe, AS-Safe.  Since: 0.1.  Source: ours. */
CKPT_API const char *ckpt_launch_getenv(const char *name);

/*
 * Checkpoint the caller and its descendants (P_HID) into the directory of CKPT_DIRECTORY, or else of
 * the environment variable CKPT_DIR; an older checkpoint there is replaced.  flags: those of
 * section 2 except CKPT_ASYNC.  Returns 0 when the caller goes on, 1 in the restarted process.
 * Errors: ENOENT no directory is set; EINVAL CKPT_ASYNC; those of ckpt_create().
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: ours, after setjmp().
 */
CKPT_API int ckpt_self(unsigned long flags);

/* *flag becomes 1 when somebody waits for a checkpoint that ckpt_hold() puts off, else 0.
 * Errors: EINVAL flag is NULL.  Safety: MT-Safe, AS-Safe unless it fails.  Since: 0.1.
 * Source: ours. */
CKPT_API int ckpt_need(int *flag);

/*
 * The end of a request with CKPT_ASYNC.  ckpt_test() does not wait; ckpt_wait() waits, at most the
 * relative time `timeout` (NULL: for ever).  Either gives the handle back when the request has
 * ended, and then returns what ckpt_create() would have returned, 0 or -1 with its errno.  *done
 * becomes 1 when the request has ended, else 0.  At most two requests of a process are under way.
 * Errors: EINVAL not a handle, bad timeout; EINPROGRESS ckpt_wait(): not ended in time; ERESTART the
 * process was restarted since: the request belongs to its former life, the handle is gone.
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: ours.
 */
CKPT_API int ckpt_test(ckpt_handle_t handle, int *done);
CKPT_API int ckpt_wait(ckpt_handle_t handle, const struct timespec *timeout);

/*
 * Leave the contents of memory out of the image, or take them in again.  Only whole pages inside
 * [addr, addr + len) are left out; all pages that ckpt_include() touches are taken in.  After a
 * restart excluded pages of private memory read as zero.  The range stays excluded when it is
 * unmapped: include it again first.
 * Errors: EINVAL the range wraps around; ENOSPC more than 64 separate ranges.
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: ours.
 */
CKPT_API int ckpt_exclude(void *addr, size_t len);
CKPT_API int ckpt_include(void *addr, size_t len);

/* "PID", "GID", "SID", "ASH", "HID", "SGP", "JID" as cpr(1) writes it, "unknown" for other values.
 * The text is static.  Safety: MT-Safe, AS-Safe.  Since: 0.1.  Source: IRIX (name), ours. */
CKPT_API const char *ckpt_type_str(unsigned long type);

/* ---- 7. Errors -------------------------------------------------------------------------------- */

enum ckpt_error_at {
	CKPT_AT_CALL = 1, /* arguments, or the state of the caller */
	CKPT_AT_START,    /* the program cpr could not be started, or died */
	CKPT_AT_WORK,     /* the checkpoint, the restart, the statefile */
	CKPT_AT_FUNCTION  /* a function given by the program refused */
};

struct ckpt_error {
	int code;         /* enum ckpt_error_at */
	int err;          /* the errno of the call */
	int32_t rank;     /* parallel task concerned, -1 when none */
	pid_t pid;        /* process concerned, 0 when none */
	char host[64];    /* where it happened */
	char object[128]; /* file, descriptor, mapping; may be empty */
	char text[384];   /* one line for people, no newline */
};

/*
 * Copy the detail of the last failure of a call of this library in this thread to *ret.  Calls that
 * succeed leave it alone.
 * Errors: EINVAL ret is NULL; ENODATA no call of this thread has failed.
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: ours.
 */
CKPT_API int ckpt_lasterror(struct ckpt_error *ret);

/* "There was no checkpoint or restart": refused or given up.  Our alias; yours wins. */
#ifndef ECKPT
#define ECKPT ECANCELED
#endif

#ifdef __cplusplus
}
#endif
#endif
