/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The statefile directory of a step:
 *
 *   BASE/<job>.<step>/              0700, owner's; <job>.<step>.<k> when that name is taken
 *       step                        kv: identity, see struct ckpti_step_id
 *       gen-<N>                     kv: manifest of generation N, appears by rename = the commit
 *       life-<epoch>/               made by mkdir = the epoch is taken
 *           task-<rank>/            statefile directory of cpr
 *           pins/                   copies of mapped files, hard links shared by the tasks
 *       rejected                    kv: generations that could not be restarted
 *       disabled                    kv: counter of `scontrol checkpoint disable`
 *       last                        kv: result of the last round, for `scontrol checkpoint error`
 *
 * Every path is opened from the directory's descriptor without following links, and owner and mode
 * are checked: a directory of somebody else's is refused (-EPERM).  Files are written under another
 * name, synced, renamed, and the directory is synced.  docs/format/step-statefile.md.
 */
#ifndef CKPT_SPANK_STEP_H
#define CKPT_SPANK_STEP_H

#include <limits.h>
#include <sys/types.h>

#include "spank/lib/kv.h"
#include "util/err.h"

/*
 * Slurm gives a job a new SubmitTime whenever it is requeued, so that alone does not say which job
 * it is. sbatch's plugin puts a random token into the environment that is kept with the job for all
 * its lives (SLURM_JOB_CKPT_TOKEN); jobs that were submitted without our plugin have none.
 */
struct ckpti_step_id {
	char cluster[64];
	uid_t uid;
	uint32_t job;  /* SLURM_JOB_ID: of this task of an array */
	uint32_t step; /* number in its first life; CKPTI_STEP_BATCH for `cpr run` in a script */
	int64_t submit_time; /* of this life of the job, seconds */
	unsigned restarts;   /* SLURM_RESTART_COUNT of this life */
	char token[33];      /* SLURM_JOB_CKPT_TOKEN, or "" */
	char key[33];        /* who it is in its job, 32 hexadecimal digits */
	uint32_t ntasks;
	uint64_t set_base; /* CKPT_SET of rank r is this + r */
	char name[128];    /* for people: job name or command */
};
#define CKPTI_STEP_BATCH 0xfffffffbU /* SLURM_BATCH_SCRIPT */

/* key = hash of name (--job-name of the step, else argv joined), cwd, ntasks and the occurrence:
 * how many steps with equal values this life of the job has started before.  ret: 33 bytes. */
void ckpti_step_key(const char *name, const char *cwd, uint32_t ntasks, unsigned occurrence,
		    char *ret);
/* Count the occurrence: an exclusive file per (job, life of the job, equal values) in
 * BASE/.steps.<uid>; numbers from 0.  In a later life of the job one whose step had the same stdio (where
 * input and output go) comes first.  id: cluster, uid, job, submit_time, token and ntasks are used. */
int ckpti_step_occurrence(const char *base, const struct ckpti_step_id *id, unsigned restart_count,
			  const char *name, const char *cwd, const char *stdio, unsigned *ret,
			  struct ckpti_err *err);

#define CKPTI_STEP_MAX_TASKS 130000U /* three pairs each in a manifest, see CKPTI_KV_MAX */

struct ckpti_step {
	int dirfd;
	char path[PATH_MAX];
	struct ckpti_step_id id;
};

/*
 * Find the directory of this identity below base: cluster, uid, job and key are equal, and
 *   the token is equal, or
 *   neither has one, and submit_time is equal or, in a later life of the job (id->restarts > 0),
 *   before that of id.
 * Of several the one with the latest submit_time.  ret->id is what the directory says.  -ENOENT:
 * none; -ENOTUNIQ: cannot be told, err names two; what else: one that may be it cannot be used.
 */
int ckpti_step_find(const char *base, const struct ckpti_step_id *id, struct ckpti_step *ret,
		    struct ckpti_err *err);
/* Make it (and base, 0700, when missing). */
int ckpti_step_make(const char *base, const struct ckpti_step_id *id, struct ckpti_step *ret,
		    struct ckpti_err *err);
/* Open by path (--restart-dir): reads the identity. */
int ckpti_step_open(const char *path, struct ckpti_step *ret, struct ckpti_err *err);
void ckpti_step_close(struct ckpti_step *st);

/* Newest epoch, 0 when none was taken (or the directory cannot be read). */
uint32_t ckpti_step_epoch(const struct ckpti_step *st);
/* Take the next one: makes life-<epoch>; -EEXIST lost against another starter. */
int ckpti_step_take_epoch(struct ckpti_step *st, uint32_t *ret_epoch, struct ckpti_err *err);
/* For agents: has a successor of `epoch` been taken?  1, 0, -errno when the directory cannot be
 * read. */
int ckpti_step_superseded(int step_dirfd, uint32_t epoch);

enum ckpti_task_state {
	CKPTI_TASK_LIVE = 1,
	CKPTI_TASK_ENDED
};
struct ckpti_manifest_task {
	enum ckpti_task_state state;
	uint64_t generation; /* of its part, in life-<epoch>/task-<rank> */
	int status;          /* ENDED: wait status */
	uint64_t stored;
	bool puts; /* has files of the whole step, which others wait for at a restart */
	char host[64];
};
struct ckpti_manifest {
	uint64_t generation;
	uint32_t epoch; /* whose life the parts are of */
	int64_t ctime;
	uint32_t ntasks;
	unsigned restarts; /* lives before this one */
	uint64_t stored, stop_us, durable_us;
	char reason[32]; /* interval, request, vacate, requeue, preemption, end */
	struct ckpti_manifest_task *task;
};
void ckpti_manifest_free(struct ckpti_manifest *m);
int ckpti_manifest_parse(struct ckpti_manifest *ret, const char *text, size_t len);
/* Commit: durable when it returns 0.  -EEXIST: the generation is there, nothing was changed;
 * -ESTALE: a successor of m->epoch has been taken. */
int ckpti_step_commit(struct ckpti_step *st, const struct ckpti_manifest *m, struct ckpti_err *err);
/* Generation numbers, ascending; returns how many (at most max are stored). */
size_t ckpti_step_list(const struct ckpti_step *st, uint64_t *ret, size_t max);
/* generation 0: the newest that is complete: manifest valid and every part there (as far as names
 * and headers tell; contents are checked by the restart).  Damaged ones are passed over:
 * *ret_skipped. */
int ckpti_step_load(const struct ckpti_step *st, uint64_t generation, struct ckpti_manifest *ret,
		    unsigned *ret_skipped, struct ckpti_err *err);
/* Mark a generation as one that failed to restart: it is not chosen again. */
int ckpti_step_reject(struct ckpti_step *st, uint64_t generation, const char *why);
/* Drop manifests beyond the newest `keep`, then lives that no manifest and no living epoch
 * needs. */
int ckpti_step_prune(struct ckpti_step *st, unsigned keep, uint32_t current_epoch,
		     struct ckpti_err *err);
/* Its two halves: the second one may take long, and does nothing that a checkpoint has to wait for. */
int ckpti_step_prune_manifests(struct ckpti_step *st, unsigned keep, uint32_t current_epoch,
			       struct ckpti_err *err);
int ckpti_step_prune_lives(struct ckpti_step *st, uint32_t current_epoch, struct ckpti_err *err);
/* Part generations of task `rank` in life `epoch` that manifests refer to: for `cpr -c --hold`.  *ret is
 * malloc()ed.  0, or -errno when one of the manifests cannot be read for now; damaged ones hold nothing. */
int ckpti_step_held(const struct ckpti_step *st, uint32_t epoch, uint32_t rank, uint64_t **ret,
		    size_t *ret_n);
/* Files life-<E>/include-<round>-<hash>: who makes one looks for the files of that pattern in that round.
 * This removes those of other rounds. */
#define CKPTI_STEP_INCLUDE "include-"
void ckpti_step_sweep_included(const struct ckpti_step *st, uint32_t epoch, uint64_t round);
/* A fresh start in a directory that has been used: nothing of before is to be restarted from any more.  What
 * belongs to it is removed later. */
int ckpti_step_forget(struct ckpti_step *st, struct ckpti_err *err);
/* Remove all of it; foreign files stay and make it fail (-ENOTEMPTY). */
int ckpti_step_remove(struct ckpti_step *st, struct ckpti_err *err);

/* Small kv files in the directory: "disabled", "last", "restarts".  -ENOENT: not there. */
int ckpti_step_read_file(const struct ckpti_step *st, const char *name, struct ckpti_kv *ret);
int ckpti_step_write_file(struct ckpti_step *st, const char *name, const struct ckpti_kv *kv,
			  struct ckpti_err *err);

#endif
