/* SPDX-License-Identifier: BSD-3-Clause */
/* Decisions that need nothing but numbers: no clock, no files, no Slurm. */
#ifndef CKPT_SPANK_POLICY_H
#define CKPT_SPANK_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The interval with a random part of it added or taken away, in milliseconds.  random: any number. */
int64_t ckpti_policy_jitter_ms(uint64_t seconds, unsigned percent, uint32_t random);

/* What a checkpoint costs the program: it stands still, and then runs more slowly until all is written. */
uint64_t ckpti_policy_cost(uint64_t stop_us, uint64_t durable_us);
/* Seconds between checkpoints when the user leaves it to us.  cost_us, nodes: 0 when not known yet; node_mtbf:
 * seconds from one failure of a node to the next. */
uint64_t ckpti_policy_auto_interval(uint64_t cost_us, uint64_t node_mtbf, unsigned nodes,
				    uint64_t min_interval);

/* Seconds before the end of the job at which its last checkpoint begins. */
uint64_t ckpti_policy_margin(uint64_t end_margin, uint64_t last_durable_us, int64_t job_s);

enum ckpti_end_action {
	CKPTI_END_NOTHING,
	CKPTI_END_SAVE,    /* a checkpoint, and the tasks go on */
	CKPTI_END_VACATE,  /* save and end: Slurm puts the job back by itself */
	CKPTI_END_REQUEUE, /* save and end, and put the job back */
};
struct ckpti_end_facts {
	bool running;          /* for Slurm */
	bool requeue;          /* the job may be put back */
	bool preempted;        /* it is being preempted */
	bool chain;            /* the user wants the job to go on in another one */
	int64_t now, end_time; /* end_time 0: unknown or never */
	uint64_t margin;
};
enum ckpti_end_action ckpti_policy_end(const struct ckpti_end_facts *f);

/*
 * Restarts without progress.  `gen` is the newest generation, `older` the one before it (0: none); the
 * record says which one was tried last and how often.
 */
struct ckpti_restarts {
	uint64_t gen;
	unsigned count; /* restarts from it without a newer one */
	bool back;      /* the one after it has been given up for lack of progress */
};
enum ckpti_restart_action {
	CKPTI_RESTART_USE,  /* gen; *r says what to write down */
	CKPTI_RESTART_BACK, /* give gen up and use older */
	CKPTI_RESTART_HOLD, /* no more */
};
enum ckpti_restart_action ckpti_policy_restart(struct ckpti_restarts *r, uint64_t gen,
					       uint64_t older, unsigned max);

/*
 * How many milliseconds a restart must wait.  All times are those of one clock, in milliseconds: the
 * last sign of life, when our epoch was taken, and now.
 */
int64_t ckpti_policy_fence_ms(int64_t alive, int64_t taken, int64_t now, uint64_t fence_s);

/* "812 MiB", "38 ms", "3 min": for people.  ret: 32 bytes. */
const char *ckpti_policy_size(uint64_t bytes, char *ret);
const char *ckpti_policy_duration(uint64_t us, char *ret);
const char *ckpti_policy_age(int64_t seconds, char *ret);

#endif
