/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The coordinator of a step: what its files share.
 *
 * One process with one loop, beside srun and as its user.  It owns the step's directory for one life: it
 * alone writes manifests, and it is the only one who decides that a generation exists.  The tasks never
 * depend on it: when it is gone they run on, and when it is in doubt it gives a round up, never the step.
 * What may take long (asking Slurm, removing old generations, the user's hook) is done by children.
 */
#ifndef CKPT_SPANK_COORD_H
#define CKPT_SPANK_COORD_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "config/config.h"
#include "spank/lib/auth.h"
#include "spank/lib/slurm.h"
#include "spank/lib/step.h"
#include "spank/lib/wire.h"
#include "util/clock.h"
#include "util/err.h"

#define CKPTI_REASON_DONE "done" /* of a manifest: not a checkpoint, all tasks have ended well */

#define CKPTI_COORD_BLOCK 64 /* exit status, after the line `block` */

struct ckpti_coord;

/* ---- args.c ------------------------------------------------------------------------------- */

struct ckpti_coord_args {
	uint32_t job, step;
	const char *step_text; /* "0", "batch" */
	bool interval_given;
	uint64_t interval; /* seconds, CKPTI_CONFIG_NEVER, _AUTO */
	const char *dir, *restart_dir, *name, *stdio, *cwd, *config, *bindir, *include;
	unsigned keep; /* 0: not given */
	bool fresh, skip_done, own_output, quiet;
	uint32_t ntasks;
	int status_fd, life_fd;
	char **command;
};
/* Ends the program with a message when they make no sense. */
void ckpti_coord_args_parse(int argc, char **argv, struct ckpti_coord_args *ret);

/* ---- child.c: things that take long ------------------------------------------------------- */

#define CKPTI_CHILD_MAX 24576 /* bytes that a child can hand back */

/* In the child: fill in result (CKPTI_CHILD_MAX bytes), return how many. */
typedef size_t ckpti_child_fn(void *arg, void *result);
/* In the coordinator: len 0 when the child failed or was killed. */
typedef void ckpti_child_done(struct ckpti_coord *c, const void *result, size_t len);

struct ckpti_child {
	struct ckpti_child *next;
	pid_t pid;
	int fd; /* -1: it has answered, or never will */
	int64_t deadline_ms;
	bool keep;              /* it lives on when it has answered */
	bool over;              /* its answer is complete */
	bool dead;              /* it was killed, and is yet to end */
	ckpti_child_done *done; /* NULL: nobody wants to know */
	size_t len;
	char result[CKPTI_CHILD_MAX];
};

/* The child sees *arg as it is now.  When it has not ended after timeout_ms it is killed. */
int ckpti_child_start(struct ckpti_coord *c, ckpti_child_fn *fn, void *arg, int timeout_ms,
		      ckpti_child_done *done, struct ckpti_child **ret, struct ckpti_err *err);
/* One that, when it has answered, keeps what it has until it is dropped, or we end. */
int ckpti_child_keep(struct ckpti_coord *c, ckpti_child_fn *fn, void *arg, int timeout_ms,
		     ckpti_child_done *done, struct ckpti_child **ret, struct ckpti_err *err);
/* It is ended without a word. */
void ckpti_child_drop(struct ckpti_child *child);
/* A child that goes on when we have ended: nobody waits for it. */
int ckpti_child_leave(ckpti_child_fn *fn, void *arg, struct ckpti_err *err);
/* Something can be read from it. */
void ckpti_child_event(struct ckpti_coord *c, struct ckpti_child *child);
/* Those that have ended or are late: calls done. */
void ckpti_child_tick(struct ckpti_coord *c);
/* Wait for all, at most so long; then they are killed, but for those that `leave` says to leave alone. */
void ckpti_child_end(struct ckpti_coord *c, int timeout_ms, bool leave);

/* ---- agents.c: connections ---------------------------------------------------------------- */

enum ckpti_conn_role {
	CKPTI_CONN_NEW, /* not known who it is */
	CKPTI_CONN_NODE,
	CKPTI_CONN_CLIENT
};

/* What a client waits for. */
enum ckpti_conn_wait {
	CKPTI_WAITS_NOT,
	CKPTI_WAITS_ROUND,
	CKPTI_WAITS_ABLE,  /* whether the site allows checkpoints */
	CKPTI_WAITS_COUNT, /* that `disabled` is written */
};

struct ckpti_conn {
	struct ckpti_conn *next;
	struct ckpti_wire *wire;
	struct ckpti_auth_server auth;
	enum ckpti_conn_role role;
	int64_t since_ms;
	unsigned node;
	enum ckpti_conn_wait waits;
	bool writing; /* room to write is waited for */
	bool closed;  /* to be freed when nobody looks at it */
};

/* How far a node is in the round. */
enum ckpti_node_at {
	CKPTI_AT_OUT, /* takes no part: its tasks have ended */
	CKPTI_AT_BEGUN,
	CKPTI_AT_PREPARED,
	CKPTI_AT_CAPTURED,
	CKPTI_AT_DURABLE
};

struct ckpti_cnode {
	struct ckpti_conn *conn; /* NULL: not connected */
	char host[64];           /* "": has never been */
	unsigned tasks, live, ended;
	bool gone;        /* its agent has ended: the connection was closed by its host */
	bool told_to_end; /* Slurm has sent SIGTERM to the step there */
	int64_t heard_ms; /* last frame, or end of the connection */
	enum ckpti_node_at at;
	uint64_t need; /* bytes that it says it will write */
	bool started, restored;
};

/* What is known of a task. */
struct ckpti_crank {
	bool ended;
	bool made_to_end; /* after its node had been told to end */
	int status;
	char host[64];
	/* In the round. */
	uint64_t gen, stored, stop_us;
	bool puts;
};

/* The connection is good for more when it returns 0. */
void ckpti_agents_accept(struct ckpti_coord *c);
/* Something has come on connections, as c->conns_fd says: serves them. */
void ckpti_agents_events(struct ckpti_coord *c);
/* Heartbeats, strangers that say nothing; frees closed connections. */
void ckpti_agents_tick(struct ckpti_coord *c);
/* We were stopped for so long: the silence was ours. */
void ckpti_agents_forgive(struct ckpti_coord *c, int64_t ms);
void ckpti_conn_send(struct ckpti_coord *c, struct ckpti_conn *conn, unsigned type,
		     const struct ckpti_kv *kv);
/* To all nodes that are connected. */
void ckpti_agents_send(struct ckpti_coord *c, unsigned type, const struct ckpti_kv *kv);
/* Why no round can begin: -errno and a text; 0: it can. */
int ckpti_agents_ready(const struct ckpti_coord *c, struct ckpti_err *err);
/* Have all tasks ended, as far as anybody has told? */
bool ckpti_agents_over(const struct ckpti_coord *c);
const char *ckpti_node_name(const struct ckpti_coord *c, unsigned node);

/* ---- round.c ------------------------------------------------------------------------------ */

enum ckpti_phase {
	CKPTI_IDLE,
	CKPTI_WAITING, /* for the moment to try, or try again */
	CKPTI_PREPARING,
	CKPTI_CAPTURING,
	CKPTI_WRITING,
	CKPTI_COMMITTING, /* every part is durable; a child writes the manifest */
	CKPTI_ENDING      /* committed, the tasks are being ended: no other round will be */
};

struct ckpti_cround {
	enum ckpti_phase phase;
	uint64_t number;    /* of the attempt */
	const char *reason; /* interval, request … as in the manifest */
	bool kill, requeue; /* end the tasks; and put the job back into the queue */
	int64_t asked_ms;   /* when it was wanted */
	int64_t began_ms;   /* this attempt */
	int64_t phase_ms;   /* deadline of the phase */
	int64_t end_ms;     /* of all attempts: MaxWait; 0 none */
	int64_t retry_ms;   /* WAITING: until then */
	int64_t give_up_ms; /* no attempt after this */
	unsigned attempts;
	time_t time;                             /* when it was wanted, for people */
	unsigned nodes_at[CKPTI_AT_DURABLE + 1]; /* how many there are at each step */
	int64_t silence_ms;                      /* when silence was looked for last */
	char image_dir[PATH_MAX];                /* where who asked thinks it goes, "" */
};

/* Begin one.  max_wait_ms 0: as long as the configuration says.  -EALREADY: one is under way. */
int ckpti_round_ask(struct ckpti_coord *c, const char *reason, bool kill, bool requeue,
		    int64_t max_wait_ms, struct ckpti_err *err);
bool ckpti_round_busy(const struct ckpti_coord *c);
/* Before it has begun: the site has switched checkpoints off, or it is wanted in another directory. */
void ckpti_round_refuse(struct ckpti_coord *c, bool disabled);
/* A frame of a node. */
void ckpti_round_frame(struct ckpti_coord *c, unsigned node, unsigned type,
		       const struct ckpti_kv *kv);
/* The node's connection was lost or is another one now. */
void ckpti_round_lost(struct ckpti_coord *c, unsigned node, const char *what);
void ckpti_round_tick(struct ckpti_coord *c);
void ckpti_round_forgive(struct ckpti_coord *c, int64_t ms);
/* Give up, because we end. */
void ckpti_round_stop(struct ckpti_coord *c, const char *why);
/* When ckpti_round_tick() must be called again, INT64_MAX when not. */
int64_t ckpti_round_next(const struct ckpti_coord *c);

/* ---- parts.c: from what nodes report to a manifest ---------------------------------------- */

/* Before the first report of an attempt. */
void ckpti_parts_clear(struct ckpti_coord *c);
/* task.<rank>.*, ended.<rank> of a DURABLE, TASKS or HELLO. */
void ckpti_parts_take(struct ckpti_coord *c, unsigned node, const struct ckpti_kv *kv);
/* A generation that says that all tasks have ended well: nothing has to be run again. */
/* 0, or -ECANCELED: Slurm is ending the step, and some tasks have ended for that.  A generation in which these
 * count as ended would be the end of the step for all lives to come. */
int ckpti_parts_unharmed(const struct ckpti_coord *c, struct ckpti_err *err);
int ckpti_parts_commit_done(struct ckpti_coord *c, struct ckpti_err *err);
/* Is every task there?  Then commit it as generation `gen`; ret without the tasks. */
int ckpti_parts_commit(struct ckpti_coord *c, uint64_t gen, struct ckpti_manifest *ret,
		       struct ckpti_err *err);

/* ---- gate.c: what must be asked before a round begins ---------------------------------------- */

struct ckpti_gate {
	enum {
		CKPTI_GATE_CLOSED,
		CKPTI_GATE_ASKED,
		CKPTI_GATE_OPEN
	} state;
	struct ckpti_child *child; /* which has our turn */
	bool told, told_disabled;
};
/* 0: begin; 1: later, the round is tried again or refused when there is an answer; -errno. */
int ckpti_gate_pass(struct ckpti_coord *c, struct ckpti_err *err);
void ckpti_gate_close(struct ckpti_coord *c);
/* Is the kill switch on?  Reads the site's file: for children. */
bool ckpti_gate_disabled(const struct ckpti_coord *c);

/* ---- schedule.c --------------------------------------------------------------------------- */

struct ckpti_schedule {
	int64_t due_ms;   /* next periodic round; INT64_MAX never */
	uint64_t cost_us; /* of a round of this life, 0: none yet */
	int64_t poll_ms;  /* when Slurm is asked next */
	int64_t asked_ms; /* when it was asked last */
	bool asking;
	int64_t end_done; /* end time of the job for which a last round was begun */
	unsigned end_tries;
	bool preempted;   /* a round was begun for it */
	int64_t retry_ms; /* of the last round */
};

void ckpti_schedule_start(struct ckpti_coord *c);
void ckpti_schedule_tick(struct ckpti_coord *c);
int64_t ckpti_schedule_next(const struct ckpti_coord *c);
/* Ask Slurm what it knows of the job: c->schedule.asking until it has answered. */
void ckpti_schedule_ask(struct ckpti_coord *c);
/* A round is over. */
void ckpti_schedule_round(struct ckpti_coord *c, bool good);
/* A signal from Slurm or the user reached a node. */
void ckpti_schedule_signal(struct ckpti_coord *c, int sig);

/* ---- requests.c --------------------------------------------------------------------------- */

void ckpti_requests_frame(struct ckpti_coord *c, struct ckpti_conn *conn,
			  const struct ckpti_kv *kv);
/* Tell the clients that wait how the round goes, and went. */
void ckpti_requests_progress(struct ckpti_coord *c, const char *text);
void ckpti_requests_round(struct ckpti_coord *c, int code, const char *text);
/* As above, when it was not begun. */
void ckpti_requests_refused(struct ckpti_coord *c, bool disabled);
/* What earlier lives have left: before the loop. */
void ckpti_requests_load(struct ckpti_coord *c);

/* ---- report.c ----------------------------------------------------------------------------- */

/* A line on srun's stderr; `always`: with --quiet, too. */
void ckpti_report_say(const struct ckpti_coord *c, bool always, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A line to the plugin.  Newlines in it become blanks. */
void ckpti_report_status(const struct ckpti_coord *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void ckpti_report_env(const struct ckpti_coord *c, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The end of a round: the user, the clients, the log, `last`, the hook. */
void ckpti_report_good(struct ckpti_coord *c);
void ckpti_report_failed(struct ckpti_coord *c, const struct ckpti_err *err);
/* A notice of a node; each text once. */
void ckpti_report_notice(struct ckpti_coord *c, const char *host, const char *text);
/* "checkpoints: 12 good, 1 failed, last 12 (3 min ago), restored from 7" */
void ckpti_report_summary(const struct ckpti_coord *c, char *ret, size_t size);
void ckpti_report_log(const struct ckpti_coord *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- start.c, restore.c ------------------------------------------------------------------- */

/* From the command line to a directory with an epoch and the generation to restart from.  0: go on;
 * 1: srun must not start (refused); -errno: it runs without us.  The text is in err. */
int ckpti_start(struct ckpti_coord *c, struct ckpti_err *err);
/* The directory of this step (made when it is new), and whether to restart from it. */
int ckpti_restore_find(struct ckpti_coord *c, bool *ret_restore, struct ckpti_err *err);
/* Somebody has just said: restart from there. */
bool ckpti_restore_by_hand(const struct ckpti_coord *c);
/* A node says that the generation cannot be restored. */
void ckpti_restore_failed(struct ckpti_coord *c, unsigned node, const char *text);
/* Which generation: fills in c->restored and writes down that it was tried.  As ckpti_start(). */
int ckpti_restore_choose(struct ckpti_coord *c, struct ckpti_err *err);

/* ---- fence.c, watch.c: lives of a step do not overlap ------------------------------------- */

/* Sets c->tasks_ms: from then on no task of the life before ours can run any more.  When it returns that
 * life commits nothing any more.  -ECANCELED: srun has gone meanwhile. */
int ckpti_fence_wait(struct ckpti_coord *c, struct ckpti_err *err);
/* -EBUSY: a life of the step gives signs of being there.  For who asks for a restart by hand, and has not
 * Slurm's word that the life before is over. */
int ckpti_fence_check_idle(const struct ckpti_coord *c, struct ckpti_err *err);
/* All tasks of this life have ended: the next one need not wait.  well: all with exit code 0. */
void ckpti_fence_over(struct ckpti_coord *c, bool well);
/* Did the newest life so far? */
bool ckpti_fence_ended_well(const struct ckpti_coord *c);

/* What the watch, a child, and the coordinator tell each other: shared memory. */
struct ckpti_cwatch {
	uint32_t alive;      /* coordinator: there are agents, the sign of life is kept fresh */
	uint32_t superseded; /* watch: the next life has begun */
	uint32_t known;      /* the following are valid */
	uint64_t free_bytes, total_bytes;
};
/* Looks at the directory every second: that may hang as long as the file system does. */
int ckpti_watch_start(struct ckpti_coord *c, struct ckpti_err *err);
/* Is it still there? */
void ckpti_watch_tick(struct ckpti_coord *c);
/* Is there room for `need` bytes?  -ENOSPC. */
int ckpti_watch_room(const struct ckpti_coord *c, uint64_t need, struct ckpti_err *err);

/* ---- expire.c ----------------------------------------------------------------------------- */

/* Remove what is left of jobs that ended long ago, in a child. */
void ckpti_expire_start(struct ckpti_coord *c);

/* ---- finish.c ----------------------------------------------------------------------------- */

enum ckpti_job_action {
	CKPTI_JOB_LEAVE,
	CKPTI_JOB_REQUEUE,
	CKPTI_JOB_HOLD /* back into the queue, until somebody releases it */
};
/* The tasks have ended, or are being ended, and the step goes on in another life: keep srun from
 * returning, and put the job back. */
void ckpti_finish_vacated(struct ckpti_coord *c, enum ckpti_job_action action, const char *text);
/* The end; returns the exit status.  `orderly`: srun says that it ends. */
int ckpti_finish(struct ckpti_coord *c, bool orderly);

/* ---- main.c ------------------------------------------------------------------------------- */

/* Serve connections and children for so long, or until `until` says so. */
void ckpti_loop_for(struct ckpti_coord *c, int timeout_ms,
		    bool (*until)(const struct ckpti_coord *c));

struct ckpti_coord {
	struct ckpti_coord_args args;
	struct ckpti_config config;
	struct ckpti_slurm_job job;
	struct ckpti_slurm_conf slurm;
	struct ckpti_step step;
	char base[PATH_MAX]; /* where directories of steps are made */
	uint32_t epoch;
	unsigned lives;    /* of the job, before this one */
	uint64_t interval; /* seconds, or NEVER, AUTO */
	unsigned keep;
	char host[64];
	unsigned port;

	/* Restored from; generation 0: a fresh start. */
	uint64_t restored;
	bool restored_told, restore_failed;
	bool rejecting; /* a child writes down that it cannot be restored */
	char restore_why[448];

	int64_t tasks_ms; /* not before this may tasks of this life run */

	int listen_fd, signal_fd;
	int conns_fd; /* epoll of all connections: there may be one for each of 10,000 nodes */
	struct ckpti_conn *conns;
	size_t nconns, nstrangers, nclosed;
	struct ckpti_cnode *node;
	unsigned
		nrestored; /* nodes from the first on that have started what they were to restore */
	unsigned nnodes;   /* 0 until the first agent has said how many there are */
	struct ckpti_crank *rank;

	struct ckpti_cround round;
	struct ckpti_schedule schedule;
	struct ckpti_child *children;
	unsigned pruning; /* children that remove old manifests */
	bool removing;    /* a child removes what belonged to them */
	struct ckpti_gate gate;

	/* Results. */
	uint64_t next_gen;
	unsigned good, failed, failed_in_row;
	struct ckpti_manifest
		last;        /* of the newest good one of this life or before; task is NULL */
	char last_text[512]; /* of the last round, good or bad; "" none */
	int last_code;
	char before_text[512]; /* the same of the life before */
	int before_code;
	/* How often the user has said that he wants no checkpoints; what a child writes of it; what is in the file. */
	uint64_t disabled, disabled_writing, disabled_written;
	bool counting, looking; /* a child writes it; a child looks at the kill switch */
	char *notices[32];
	size_t nnotices;

	struct ckpti_cwatch *watch;
	pid_t watch_pid;  /* 0: it has ended */
	int64_t watch_ms; /* when it was started */
	int life_dirfd;
	bool vacated, superseded;
	bool done; /* the step had ended well before: the generation restored from says no more */
	enum ckpti_job_action job_action;
	int life;        /* 1: srun runs, 0: it ends in order, -1: it has gone */
	bool terminated; /* SIGTERM */
};

#endif
