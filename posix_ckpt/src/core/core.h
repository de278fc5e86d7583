/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What cpr and the library ask of the core.  All functions return 0 or -errno and fill *err.
 */
#ifndef CKPT_CORE_CORE_H
#define CKPT_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "state/state.h"
#include "store/store.h"
#include "util/err.h"

struct ckpti_target {
	unsigned long type; /* P_PID, P_PGID, P_SID, P_HID, P_SPGP of ckpt.h */
	int64_t id;         /* as the caller sees it in /proc */
};

enum ckpti_policy {
	CKPTI_POLICY_WAIT,  /* a task does not come in: wait until the deadline, then give up */
	CKPTI_POLICY_SKIP,  /* give up at once with -EAGAIN: the caller will try later */
	CKPTI_POLICY_ABORT, /* the same with -ETIMEDOUT */
};

/* Writing memory while the processes still run. */
enum ckpti_precopy_mode {
	CKPTI_PRECOPY_OFF,
	CKPTI_PRECOPY_ON,
	CKPTI_PRECOPY_AUTO, /* of processes where it pays */
};

struct ckpti_create_result;

/* Where a checkpoint stands. */
enum ckpti_phase {
	CKPTI_PHASE_PREPARED,  /* handlers have run, nobody has stopped */
	CKPTI_PHASE_CAPTURED,  /* everybody stands still and is in the image */
	CKPTI_PHASE_COMMITTED, /* the image is durable; only when the targets are then to be ended */
	CKPTI_PHASE_BETWEEN, /* between two of these, often: is it still wanted?  Without waiting */
};

/* 0: go on.  -errno, and *err filled in: give up.  Everybody goes on; what is committed stays. */
typedef int (*ckpti_phase_f)(void *arg, enum ckpti_phase phase,
			     const struct ckpti_create_result *so_far, struct ckpti_err *err);

struct ckpti_create_req {
	const char *dir;
	const struct ckpti_target *target;
	size_t ntarget;
	bool force;           /* -f */
	bool kill;            /* -k: end the targets after the commit */
	bool upgrade;         /* -u: keep copies of executables and libraries */
	bool full;            /* share no data with earlier generations */
	bool prepared_only;   /* leave processes alone that were started without libckpt */
	bool dryrun;          /* stop, capture nothing, say what would fail */
	unsigned keep;        /* generations to keep, 0: 1 */
	const uint64_t *hold; /* generations to keep besides */
	size_t nhold;
	const char *pins; /* a directory that shares copies of mapped files with others, or NULL */
	enum ckpti_precopy_mode precopy;
	unsigned timeout_ms; /* muster deadline, 0: 10 s */
	enum ckpti_policy policy;
	uint64_t copy_limit; /* 0: default, 64 MiB */
	ckpti_progress_f progress;
	void *progress_arg;
	ckpti_phase_f phase; /* may be NULL */
	void *phase_arg;
	const struct ckpti_file_rule *rules; /* what becomes of open files at a restart */
	size_t nrules;
	const char *const *include; /* globs of files to be saved that nobody has open */
	size_t ninclude;
	/* What the user should know and what is no error, a line each; may be NULL. */
	void (*note)(void *arg, const char *text);
	void *note_arg;
};

struct ckpti_create_result {
	uint64_t generation;
	uint32_t nprocs, nthreads;
	uint64_t mem_bytes;
	uint64_t stored_bytes; /* by this generation */
	uint64_t reused_bytes; /* that earlier ones have stored */
	uint64_t stop_ns;      /* application stood still */
	uint64_t durable_ns;   /* request to commit */
	uint32_t eintr_hidden, eintr_lost;
};

int ckpti_create(const struct ckpti_create_req *req, struct ckpti_create_result *ret,
		 struct ckpti_err *err);

enum ckpti_ids {
	CKPTI_IDS_AUTO, /* host ids where allowed and free, else a private pid namespace */
	CKPTI_IDS_HOST,
	CKPTI_IDS_PRIVATE,
	CKPTI_IDS_NEW, /* new ids: refused where they cannot work */
};

struct ckpti_restart_req {
	const char *dir;
	uint64_t generation; /* 0: newest */
	enum ckpti_ids ids;
	bool check;  /* say whether it would work, start nothing */
	bool clone;  /* a second life beside the first */
	bool fenced; /* the caller vouches that the first life is over: it is not looked for */
	bool job;    /* -j: as a job of the calling shell, in a process group of its own */
	bool lazy;   /* map the memory instead of reading it */
	bool quiet;
	const struct ckpti_relocation *reloc;
	size_t nreloc;
	const char *launch;       /* what is restarted together on this host; NULL: this alone */
	const char *settled;      /* a file to make when files have been put back; NULL: none */
	const char *const *after; /* and those of others to wait for, before the processes go on */
	size_t nafter;
	ckpti_progress_f progress;
	void *progress_arg;
	/* Called once when the tree runs, with the root's pid as the caller sees it. */
	void (*started)(void *arg, int root_pid, uint64_t generation);
	void *started_arg;
	/* What the user must know about this restart, a line each: before anything is started. */
	void (*note)(void *arg, const char *text);
	/* Every process starts in the caller's working (root) directory instead of its own. */
	bool ignore_cdir, ignore_rdir;
};

/* Returns when the root process has ended; *ret_wstatus is its status as wait() reports it. */
int ckpti_restart(const struct ckpti_restart_req *req, int *ret_wstatus, struct ckpti_err *err);

/* `cpr check`: each finding is one call.  ok: 1 works, 0 does not, -1 works with a limit. */
typedef void (*ckpti_finding_f)(void *arg, int ok, const char *what, const char *detail);
int ckpti_check_host(ckpti_finding_f fn, void *arg);
int ckpti_check_pid(int pid, ckpti_finding_f fn, void *arg, struct ckpti_err *err);

/* `cpr status`: every set of this user that runs here. */
struct ckpti_running {
	uint64_t set_id;
	int root_pid;
	unsigned nprocs, nthreads;
	uint64_t last_generation; /* 0: none yet */
	int64_t last_ctime_ns;
	char last_dir[PATH_MAX];
	char comm[16];
};
typedef void (*ckpti_running_f)(void *arg, const struct ckpti_running *r);
int ckpti_status(ckpti_running_f fn, void *arg, struct ckpti_err *err);

#endif
