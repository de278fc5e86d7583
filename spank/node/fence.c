/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeping two lives of a step apart.  A successor waits `fence` seconds from the last sign of life of
 * this one.  When the step's directory has not been readable for nearly as long, nobody here can know
 * whether there is a successor: the tasks are stopped, and go on when it can be read again and there is
 * none.  When there is one they are killed.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "spank/node/node.h"

#define MARGIN_MS       3000 /* before the successor's clock runs out */
#define MAX_SWEEPS      50   /* over processes that fork while they are being signalled */
#define SWEEP_WAIT_NS   2000000L
#define WATCH_PAUSE_MS  1000
#define TELL_STOPPED_MS 2000

/* Those that we stopped: what the user or Slurm had stopped before stays so. */
static struct ckpti_proc *halted;
static size_t nhalted;

uint64_t ckpti_fence_limit_ms(const struct ckpti_node *n)
{
	uint64_t fence = (uint64_t)n->fence_s * 1000;
	uint64_t margin = fence / 4 < MARGIN_MS ? fence / 4 : MARGIN_MS;

	return fence - margin;
}

static bool is_dying(const struct ckpti_proc *p)
{
	return p->state == 'Z' || p->state == 'X';
}

void ckpti_fence_kill(const struct ckpti_node *n)
{
	for (int sweep = 0; sweep < MAX_SWEEPS; sweep++) {
		struct ckpti_proc *p = NULL;
		size_t np = 0, left = 0;

		if (ckpti_procs_find(n, &p, &np) < 0)
			return;
		for (size_t i = 0; i < np; i++)
			left += !is_dying(&p[i]) && ckpti_procs_signal(&p[i], SIGKILL) == 0;
		free(p);
		if (!left)
			return;
		(void)nanosleep(&(struct timespec){.tv_nsec = SWEEP_WAIT_NS}, NULL);
	}
}

static bool remember(const struct ckpti_proc *p)
{
	struct ckpti_proc *bigger = realloc(halted, (nhalted + 1) * sizeof(*halted));

	if (!bigger)
		return false;
	halted = bigger;
	halted[nhalted++] = *p;
	return true;
}

static void stop_tasks(struct ckpti_node *n)
{
	for (int sweep = 0; sweep < MAX_SWEEPS; sweep++) {
		struct ckpti_proc *p = NULL;
		size_t np = 0, running = 0;

		if (ckpti_procs_find(n, &p, &np) < 0)
			return;
		for (size_t i = 0; i < np; i++) {
			bool ours = false;

			if (p[i].state == 'T' || is_dying(&p[i]))
				continue;
			running++;
			for (size_t k = 0; k < nhalted && !ours; k++)
				ours = halted[k].pid == p[i].pid &&
				       halted[k].start_time == p[i].start_time;
			if ((ours || remember(&p[i])))
				(void)ckpti_procs_signal(&p[i], SIGSTOP);
		}
		free(p);
		if (!running)
			return;
		(void)nanosleep(&(struct timespec){.tv_nsec = SWEEP_WAIT_NS}, NULL);
	}
}

static void continue_tasks(void)
{
	for (size_t i = 0; i < nhalted; i++)
		(void)ckpti_procs_signal(&halted[i], SIGCONT);
	free(halted);
	halted = NULL;
	nhalted = 0;
}

/* How long ago it was certain that there is no successor. */
static uint64_t uncertain_ms(const struct ckpti_node *n)
{
	uint64_t read = __atomic_load_n(&n->watch->last_read_ms, __ATOMIC_ACQUIRE);
	uint64_t now = ckpti_node_now_ms();

	return now > read ? now - read : 0;
}

int ckpti_fence_slack_ms(const struct ckpti_node *n)
{
	uint64_t gone = uncertain_ms(n), limit = ckpti_fence_limit_ms(n);

	if (!n->fence_s || n->stopped)
		return 1000;
	return limit > gone ? (int)(limit - gone < 60000 ? limit - gone : 60000) : 0;
}

/* Somebody may have killed it: without it nothing would be noticed any more. */
static void restart_watch(struct ckpti_node *n)
{
	if (n->watch_pid > 0 || ckpti_node_now_ms() - n->watch_ms < WATCH_PAUSE_MS)
		return;
	(void)ckpti_watch_start(n, NULL);
}

void ckpti_fence_tick(struct ckpti_node *n)
{
	bool superseded = __atomic_load_n(&n->watch->superseded, __ATOMIC_ACQUIRE);

	restart_watch(n);
	__atomic_store_n(&n->watch->connected, n->uplink.wire != NULL, __ATOMIC_RELEASE);
	if (!n->fence_s || superseded)
		return;
	if (!n->stopped && uncertain_ms(n) >= ckpti_fence_limit_ms(n)) {
		n->stopped = true;
		n->stopped_ms = ckpti_node_now_ms();
		n->told_stopped = false;
		ckpti_round_give_up(n, "the step's directory cannot be read");
		stop_tasks(n);
	} else if (n->stopped && uncertain_ms(n) < ckpti_fence_limit_ms(n)) {
		n->stopped = false;
		continue_tasks();
		if (n->told_stopped)
			ckpti_uplink_notice(n, "'%s' can be read again on %s: its tasks go on",
					    n->stepdir, n->host);
	}
	/* After a suspended step has been resumed it is a matter of the next look. */
	if (n->stopped && !n->told_stopped &&
	    ckpti_node_now_ms() - n->stopped_ms >= TELL_STOPPED_MS) {
		n->told_stopped = true;
		ckpti_uplink_notice(n,
				    "'%s' cannot be read on %s: its tasks are stopped until it can "
				    "be, or a new life of the step begins",
				    n->stepdir, n->host);
	}
}
