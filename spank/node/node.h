/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The node agent: what its files share.
 *
 * One process with one loop.  It never touches the shared file system itself, which may hang: the watch
 * (watch.c), a child, looks at the step's directory, and cpr, a child for each task, writes.  It never
 * waits for the coordinator while a round is under way.  Whatever happens to it, the tasks run on, but
 * for two cases: their life is over, or nobody can tell whether it is (fence.c).
 */
#ifndef CKPT_SPANK_NODE_H
#define CKPT_SPANK_NODE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "spank/lib/page.h"
#include "spank/lib/wire.h"
#include "util/err.h"

#define CKPTI_NODE_PATTERN (2 * PATH_MAX)
#define CKPTI_NODE_NOTE    "cpr: note: " /* begins a line of cpr that is no error */
#define CKPTI_NODE_PUTS    "files of the step"

#define CKPTI_NODE_KEPT 64 /* generations of a part that are remembered as committed */

struct ckpti_part;

enum ckpti_restore {
	CKPTI_RESTORE_NONE, /* started afresh */
	CKPTI_RESTORE_BEGUN,
	CKPTI_RESTORE_RUNS,
	CKPTI_RESTORE_FAILED,
	CKPTI_RESTORE_TOLD, /* failed, and the coordinator knows */
};

/* A task of this node. */
struct ckpti_task {
	enum ckpti_slot_state state; /* as its slot said last */
	unsigned rank;
	int pid, status;
	int pidfd;         /* becomes readable when it ends; -1 unknown or not needed any more */
	bool gone;         /* ended; its slot will say how */
	bool told;         /* the user has been told why it cannot be checkpointed */
	uint64_t since_ms; /* when it was seen first */
	unsigned looks;    /* times that its programs have been looked at */
	enum ckpti_restore restore;
	struct ckpti_part *part;
	uint64_t kept[CKPTI_NODE_KEPT]; /* newest last */
	size_t nkept;
	uint64_t
		unsure; /* told the coordinator of this one, and lost it before the answer; 0 none */
};

/* What the watch and the agent tell each other: shared memory. */
struct ckpti_watch {
	uint32_t
		connected; /* agent: there is a coordinator; the directory is looked at less often */
	uint32_t superseded;   /* watch: the next life has begun */
	uint64_t last_read_ms; /* when the directory was read last */
	uint32_t known;        /* the following are valid */
	uint32_t in_memory;    /* the directory's file system is memory */
	uint64_t free_bytes;   /* and has so much room for the user */
};

enum ckpti_round_phase {
	CKPTI_ROUND_IDLE,
	CKPTI_ROUND_WAITING,   /* for what is left of the one before */
	CKPTI_ROUND_PREPARING, /* handlers of the tasks run */
	CKPTI_ROUND_PREPARED,
	CKPTI_ROUND_MUSTERING,
	CKPTI_ROUND_CAPTURED, /* everything stands still */
	CKPTI_ROUND_WRITING,
	CKPTI_ROUND_DURABLE, /* but for the manifest */
};

struct ckpti_round {
	enum ckpti_round_phase phase;
	uint64_t number;
	bool kill;
	unsigned keep, writers;
	uint64_t need;          /* bytes, as the budget says */
	char include[PATH_MAX]; /* patterns of files to be saved as well, with commas between */
	unsigned muster_ms;     /* for the tasks to come in */
	unsigned drive_ms;      /* how long cpr waits for us at most */
};

struct ckpti_uplink {
	struct ckpti_wire *wire; /* NULL: not connected */
	uint64_t next_ms;        /* not tried before this */
	unsigned backoff_ms;
	uint64_t heard_ms, pinged_ms;
	unsigned heartbeat_ms, silence_ms;
	char *notice[16]; /* for the user, when there is a coordinator again */
	size_t nnotices;
	bool told_started; /* over this connection */
};

struct ckpti_node {
	/* Who we are. */
	uint32_t job, step, epoch;
	unsigned index, nnodes, ntasks_step;
	uint64_t set_base;
	char host[64], server[256];
	char stepdir[PATH_MAX], life[PATH_MAX]; /* absolute */
	const char *bindir;
	unsigned port, fence_s;
	uint32_t wait_ms; /* the tasks do, before they begin: for the life before to be over */
	struct ckpti_config config;

	struct ckpti_page *page;
	struct ckpti_task *task;
	size_t ntasks;
	bool all_started, restored;
	bool stopped, told_stopped; /* tasks were stopped: fence.c */
	unsigned told_live;         /* what the coordinator knows */
	unsigned told_ended;
	int stepd;       /* pidfd of slurmstepd, -1 gone or not known */
	bool left_alone; /* it has gone */
	int sigfd;

	int watch_pid; /* 0: it has ended */
	struct ckpti_watch *watch;
	uint64_t watch_ms; /* when it was started */
	uint64_t start_ms, stopped_ms;
	uint64_t noted[64]; /* hashes of what the user has been told of his files */
	size_t nnoted;
	struct ckpti_round round;
	struct ckpti_uplink uplink;
};

/* Since boot, sleep of the machine included. */
uint64_t ckpti_node_now_ms(void);

/* ---- tasks.c ------------------------------------------------------------------------------ */

int ckpti_tasks_init(struct ckpti_node *n, int page_fd, struct ckpti_err *err);
/* Read the slots; tell the coordinator what has changed. */
void ckpti_tasks_tick(struct ckpti_node *n);
bool ckpti_task_live(const struct ckpti_task *t);
/* It has not begun, and slurmstepd is there: it will, or its slot will say that it has ended. */
bool ckpti_task_is_coming(const struct ckpti_node *n, const struct ckpti_task *t);
/* All have ended, or have gone without slurmstepd being there to say how. */
bool ckpti_tasks_over(const struct ckpti_node *n);
/* tasks, ranks, live, ended, ended.<rank> for HELLO and TASKS. */
void ckpti_tasks_describe(const struct ckpti_node *n, struct ckpti_kv *kv);
/* Put ended.<rank>=status of all that have ended into kv. */
void ckpti_tasks_ended(const struct ckpti_node *n, struct ckpti_kv *kv);

/* ---- eligible.c --------------------------------------------------------------------------- */

/* Name programs without libckpt, before the first round fails over them. */
void ckpti_eligible_tick(struct ckpti_node *n);

/* ---- restored.c --------------------------------------------------------------------------- */

/* Look how far restarts are; tell of those that failed. */
void ckpti_restored_tick(struct ckpti_node *n);
/* Does every program run that is to be restored? */
bool ckpti_restored_all(const struct ckpti_node *n);

/* ---- procs.c ------------------------------------------------------------------------------ */

struct ckpti_proc {
	int pid, ppid;
	uint64_t start_time;
	char state; /* as in /proc/PID/stat */
	int task;   /* index */
	char comm[16];
};
/* All processes of the tasks: descendants, and those that have lost their parents.  *ret is malloc()ed. */
int ckpti_procs_find(const struct ckpti_node *n, struct ckpti_proc **ret, size_t *ret_n);
/* Send a signal to the process that was found, and to no later one with its number. */
int ckpti_procs_signal(const struct ckpti_proc *p, int sig);

/* ---- uplink.c ------------------------------------------------------------------------------- */

void ckpti_uplink_init(struct ckpti_node *n);
/* Connect when it is time to, send heartbeats, notice silence. */
void ckpti_uplink_tick(struct ckpti_node *n);
/* Read and write what can be. */
void ckpti_uplink_event(struct ckpti_node *n, bool readable, bool writable);
/* We were stopped for a while: the silence was ours. */
void ckpti_uplink_forgive(struct ckpti_node *n, uint64_t ms);
/* Nothing happens when there is no connection. */
void ckpti_uplink_send(struct ckpti_node *n, unsigned type, struct ckpti_kv *kv);
/* A line for the user, now or later. */
void ckpti_uplink_notice(struct ckpti_node *n, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* All is over: send what is queued, for at most so long, and close. */
void ckpti_uplink_end(struct ckpti_node *n, int timeout_ms);

/* ---- part.c: one cpr, for one task ---------------------------------------------------------- */

enum ckpti_part_state {
	CKPTI_PART_STARTED,
	CKPTI_PART_PREPARED,
	CKPTI_PART_MUSTERING,
	CKPTI_PART_CAPTURED,
	CKPTI_PART_WRITING,
	CKPTI_PART_COMMITTED, /* with kill: on disk, and its processes stand still */
	CKPTI_PART_ENDING,    /* with kill: they are being ended */
	CKPTI_PART_DONE,
	CKPTI_PART_UNCLEAR, /* cpr failed; the task has perhaps ended, its slot will tell */
	CKPTI_PART_ENDED,   /* its task has ended before it could be captured */
	CKPTI_PART_FAILED,
};

struct ckpti_part {
	enum ckpti_part_state state;
	int cpr;            /* its process, 0: reaped */
	int drive;          /* our end of the socket, -1 */
	int result, errors; /* memory files: struct ckpti_result, stderr */
	bool aborted;
	uint64_t kill_ms;    /* SIGKILL for cpr when it is still there then; 0 never */
	uint64_t unclear_ms; /* UNCLEAR until then */
	char line[512];
	size_t nline;
	/* Results. */
	int error, pid; /* -errno */
	char object[128], text[512];
	uint64_t gen, stored, stop_us, durable_us;
	unsigned procs, threads;
	uint64_t start_ms;
};

int ckpti_part_start(struct ckpti_node *n, struct ckpti_task *t, struct ckpti_err *err);
void ckpti_part_free(struct ckpti_task *t);
void ckpti_part_go(struct ckpti_part *p);
/* Whatever it does, it must end, and its processes go on. */
void ckpti_part_abort(struct ckpti_part *p, const char *why);
/* Read lines from cpr.  True: something has changed. */
bool ckpti_part_read(struct ckpti_task *t);
/* cpr has ended. */
void ckpti_part_reaped(struct ckpti_task *t, int status);

/* ---- round.c ------------------------------------------------------------------------------ */

void ckpti_round_frame(struct ckpti_node *n, unsigned type, const struct ckpti_kv *kv);
/* Something about a part may have changed, or time has passed. */
void ckpti_round_advance(struct ckpti_node *n);
void ckpti_round_reaped(struct ckpti_node *n, int pid, int status);
/* Give up, and the coordinator is told to try again: the others of the step wait for us. */
void ckpti_round_give_up(struct ckpti_node *n, const char *why);
/* Give up without a word. */
void ckpti_round_abort(struct ckpti_node *n, const char *why);
void ckpti_round_lost(struct ckpti_node *n);

/* ---- budget.c ----------------------------------------------------------------------------- */

/* Is there room, and nothing that only this node has?  *ret_need: bytes that the images may take. */
int ckpti_budget_check_node(const struct ckpti_node *n, uint64_t *ret_need, struct ckpti_err *err);

/* Does the path lead to what only this node has? */
bool ckpti_node_is_local(const struct ckpti_node *n, const char *path);

/* ---- include.c: files that nobody has open --------------------------------------------------- */

/* Before a round: can those of the node-local paths be saved?  Adds their size to *need. */
int ckpti_include_check_node(const struct ckpti_node *n, uint64_t *need, struct ckpti_err *err);
/* In the child that becomes cpr: the patterns for this task.  NULL: no memory. */
char **ckpti_include_of_task(const struct ckpti_node *n, const struct ckpti_task *t);
/* Hand on what cpr has said about files.  True: it has files that belong to the whole step. */
bool ckpti_include_tell(struct ckpti_node *n, const struct ckpti_part *p);

/* ---- fence.c, watch.c --------------------------------------------------------------------- */

int ckpti_watch_start(struct ckpti_node *n, struct ckpti_err *err);
void ckpti_fence_tick(struct ckpti_node *n);
/* The tasks are stopped when nobody knows more for so long. */
uint64_t ckpti_fence_limit_ms(const struct ckpti_node *n);
/* How long the loop may be held up. */
int ckpti_fence_slack_ms(const struct ckpti_node *n);
/* SIGKILL for all processes of the tasks. */
void ckpti_fence_kill(const struct ckpti_node *n);

#endif
