/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A restart in progress.  Three processes take part:
 *
 *   cpr -r        loads and checks the image, decides about ids, makes the builder, then waits for the
 *                 root's end and hands signals on (restart.c)
 *   the builder   pid 1 of a private pid namespace, or a subreaper: recreates objects, forks the tree,
 *                 plants the restorer in each process, then lives on as their init (builder.c)
 *   the processes forked by the builder and by each other (tree.c), ordinary code until they exec the
 *                 recorded binary; at the exec stop the builder plants the restorer (plant.c, plan.c)
 */
#ifndef CKPT_CORE_LIFE_H
#define CKPT_CORE_LIFE_H

#include <sys/types.h>

#include "core/core.h"
#include "image/image.h"
#include "util/launch.h"

/* Where a process of the tree stands while it is being built; in memory that all share. */
struct ckpti_slot {
	int32_t pid;      /* as the builder sees it */
	uint32_t at_exec; /* futex word: 1 when it waits for its tracer */
	uint32_t go;      /* futex word: 1 = exec now */
};

struct ckpti_shared_build {
	uint32_t abort;    /* somebody failed: all give up */
	uint32_t count[4]; /* barriers; futex words */
	uint32_t err_lock;
	struct ckpti_err err; /* of the first that failed */
	struct ckpti_slot slot[];
};

struct ckpti_life_file { /* a data file or a rebuilt shared object */
	uint32_t id;
	int fd;
};

struct ckpti_life_shm {
	struct ckpti_r_shm rec;
	const char *name;
	int fd;
	bool existed; /* a file that was there: its content is put back when there is no way back */
};

struct ckpti_life_pin {
	struct ckpti_r_mapfile rec;
	char *path; /* the file that has the recorded content */
};

/* Memory of a process that may be mapped, see lazy.c. */
struct ckpti_lazy_range {
	int pid;
	uint64_t start, end;
};

struct ckpti_life {
	const struct ckpti_restart_req *req;
	struct ckpti_store *store;
	int lease; /* held by the builder as long as the processes live; < 0: none */
	struct ckpti_image img;
	struct ckpti_r_set set;
	struct ckpti_launch_file launch_file;
	struct ckpti_rebuild rb;
	struct ckpti_r_proc *proc; /* parents before children */
	size_t nproc;
	uint32_t nlive;
	enum ckpti_ids ids; /* decided */
	bool userns;        /* the private namespace needs a user namespace */
	bool timens;
	struct ckpti_life_file *data;
	size_t ndata;
	struct ckpti_life_shm *shm;
	size_t nshm;
	struct ckpti_life_pin *pin;
	size_t npin;
	struct ckpti_lazy_range *lazy; /* by process and address */
	size_t nlazy;
	uint64_t lazy_min; /* bytes */
	struct ckpti_shared_build *build;
	int ready[2], go[2],
		fail[2]; /* pipes; cpr holds the end of `go` that lets the processes run as
				       * well, until it knows that they may: killing the builder does
				       * not start anything */
	bool to_stop;    /* cpr has had SIGTSTP, and the root has not stopped yet */
	int keep_first,
		keep_last; /* data and shared memory: live on through the exec, then closed */
	int desc_first, desc_end; /* recreated descriptions lie here, behind the pipes */
};

/* rebuild.c: objects of the set, in the builder. */
int ckpti_life_check(struct ckpti_life *life, struct ckpti_err *err); /* changes nothing */
int ckpti_life_objects(struct ckpti_life *life, struct ckpti_err *err);
/* Descriptor of a data file of the image, -1 when there is none of that id. */
int ckpti_life_data_fd(const struct ckpti_life *life, uint32_t id);
int ckpti_life_settle(struct ckpti_life *life, struct ckpti_err *err);
/* meet.c: say that this is done, and wait for others whom the launcher has named. */
int ckpti_life_meet(struct ckpti_life *life, struct ckpti_err *err);
void ckpti_life_close_objects(struct ckpti_life *life);

/* rebuild_shm.c: one object of shared memory. */
int ckpti_shm_make(struct ckpti_life *life, struct ckpti_life_shm *s, struct ckpti_err *err);
int ckpti_shm_settle(struct ckpti_life *life, struct ckpti_life_shm *s, struct ckpti_err *err);
int ckpti_shm_fd(struct ckpti_rebuild *rb, uint32_t id);

/* tree.c: fork the processes; returns in the builder when all stand before their exec. */
int ckpti_tree_build(struct ckpti_life *life, struct ckpti_err *err);
/* Nothing is to come of it: everybody gives up, and this is why, unless somebody failed before. */
void ckpti_tree_abort(struct ckpti_life *life, const struct ckpti_err *err);
bool ckpti_tree_aborted(const struct ckpti_life *life, struct ckpti_err *err);
/* What of their limits had to wait until they stand restored. */
void ckpti_tree_limits(struct ckpti_life *life);
/* Had the working directory been removed, by what /proc says of it? */
bool ckpti_tree_cwd_removed(const char *cwd);
/* SIGKILL to all that have been made. */
void ckpti_tree_kill(struct ckpti_life *life);
/* A group or session of the set whose leader has ended; not the one that the root was born into. */
bool ckpti_tree_leaderless(const struct ckpti_life *life, int id);

/* plan.c: the restorer's orders for process `i`; malloc'ed, *ret_size bytes.  Addresses that depend on
 * where it is planted are filled in by ckpti_plant(). */
struct ckpti_plan;
int ckpti_plan_make(struct ckpti_life *life, size_t i, struct ckpti_plan **ret,
		    struct ckpti_err *err);

/* lazy.c: what a lazy restart maps. */
int ckpti_lazy_choose(struct ckpti_life *life, struct ckpti_err *err);
/* The end of the piece of e that begins at addr; is it mapped or read? */
uint64_t ckpti_lazy_piece(const struct ckpti_life *life, int pid, const struct ckpti_e_extent *e,
			  uint64_t addr, bool *ret_map);
/* Is some of the extent mapped, so that nobody reads it now?  A ckpti_store_skip_f; arg: the life. */
bool ckpti_lazy_unread(const void *arg, uint32_t owner_kind, uint32_t owner,
		       const struct ckpti_e_extent *e);

/* plant.c: let slot i exec, stop it there, put the restorer in, let it run. */
int ckpti_plant(struct ckpti_life *life, size_t i, struct ckpti_err *err);

/* builder.c: never returns; ctl is the socket to cpr. */
_Noreturn void ckpti_builder(struct ckpti_life *life, int ctl);

/* What the builder tells cpr over ctl. */
enum ckpti_ctl_type {
	CKPTI_CTL_FAILED = 1,
	CKPTI_CTL_STARTED,
	CKPTI_CTL_STOPPED, /* the root, by SIGTSTP */
	CKPTI_CTL_ENDED
};
struct ckpti_ctl {
	uint32_t type;
	int32_t value; /* STARTED: root's pid in the builder's namespace, ENDED: wait status */
	struct ckpti_err err;
};

/* And what cpr tells the builder: a signal that it has had. */
struct ckpti_ctl_signal {
	int32_t signo;
};

/* ids.c */
int ckpti_ids_decide(struct ckpti_life *life, struct ckpti_err *err);
/* Enter the namespaces that were decided on; the next child is in them. */
int ckpti_ids_enter(struct ckpti_life *life, struct ckpti_err *err);
/* In that child: what only works from inside. */
int ckpti_ids_inside(struct ckpti_life *life, struct ckpti_err *err);
/* The clock as processes of pid's time namespace see it. */
int64_t ckpti_clock_of(int pid, int clock);
/* Tried in a child: 1 when unshare(flags) is allowed. */
int ckpti_ids_can_unshare(int flags);

#endif
