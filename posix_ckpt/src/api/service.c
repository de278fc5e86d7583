/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The service thread: runs the program's handlers in normal context.
 *
 * The coordinator sends PREPARE to a process that has handlers; the agent counts it in prepare_seq.
 * We run the handlers and report.  Then the checkpoint comes, in which this thread takes part like any
 * other, and its end is counted in event_seq; when `restarts` has changed too, we are in a new life.
 *
 *	IDLE      a PREPARE wakes us; then PREPARED, also after a refusal
 *	PREPARED  the end of the checkpoint; or the coordinator is gone, or there is a next PREPARE, and
 *	          there was no end: tell the functions how it went; then IDLE
 *
 * What is to be called is copied at PREPARE, so that the same functions hear of the end as heard of
 * the beginning.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "api/api_private.h"
#include "wrap/signo.h"
#include "wrap/wrap.h"

/* The coordinator knows by it that a process has handlers. */
#define THREAD_NAME "ckpt-handlers"

/* A checkpoint that was given up before this process stopped has no end to be counted: look from time
 * to time whether the coordinator is still there. */
#define FIRST_LOOK_MS 50
#define LAST_LOOK_MS  1000

/* What one checkpoint is about. */
struct round {
	struct api_handlers checkpoint, restart;
	struct api_opts *hooks;
	size_t ran; /* PRECREATE functions that have said yes stand below this index */
	uint32_t event_seq;
	uint32_t restarts;
	uint64_t generation;
	uint64_t nonce; /* of the coordinator */
};

static bool started;  /* API lock */
static uint32_t seen; /* prepare_seq that has been dealt with; the service thread's */
static _Thread_local bool inside;

bool ckpti_service_inside(void)
{
	return inside;
}

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void call_all(const struct api_handlers *list)
{
	for (size_t i = 0; i < list->n; i++)
		list->fn[i]();
}

/* A handler for SIGRESTART gets a real signal; without one the default action would be death. */
static void raise_restart(void)
{
	unsigned long sa[4] = {0}; /* the kernel's struct: handler, flags, restorer, mask */
	int signo = ckpti_signo_restart();

	if (syscall(SYS_rt_sigaction, signo, NULL, sa, 8) == 0 && sa[0] != (unsigned long)SIG_DFL &&
	    sa[0] != (unsigned long)SIG_IGN)
		(void)kill(getpid(), signo);
}

static int round_begin(struct round *r)
{
	int e;

	memset(r, 0, sizeof(*r));
	r->event_seq = load(&ckpti_agent.event_seq);
	r->restarts = load(&ckpti_agent.restarts);
	r->generation = ckpt_generation();
	r->nonce = ckpti_agent.prepare_nonce;
	r->hooks = calloc(1, sizeof(*r->hooks));
	if (!r->hooks)
		return -ENOMEM;
	ckpti_args_setup_hooks(r->hooks);
	e = ckpti_atckpt_copy(&r->checkpoint, &r->restart);
	if (e < 0)
		free(r->hooks);
	return e;
}

static void round_free(struct round *r)
{
	free(r->checkpoint.fn);
	free(r->restart.fn);
	free(r->hooks);
}

/* Returns 1 when a function refused.  The plain handlers come last: what they have closed cannot be
 * opened again when somebody refuses. */
static int run_before(struct round *r)
{
	r->ran = ckpti_args_run_hooks(r->hooks, CKPT_EV_PRECREATE);
	if (r->ran < r->hooks->nhooks)
		return 1;
	call_all(&r->checkpoint);
	ckpti_wrap_foreign(ckpti_signo_checkpoint(), NULL, NULL);
	return 0;
}

static void run_after(const struct round *r)
{
	if (load(&ckpti_agent.restarts) != r->restarts) {
		call_all(&r->restart);
		raise_restart();
		(void)ckpti_args_run_hooks(r->hooks, CKPT_EV_POSTRESTART);
	} else if (ckpt_generation() != r->generation) {
		(void)ckpti_args_run_hooks(r->hooks, CKPT_EV_POSTCREATE);
	} else {
		ckpti_args_abort_hooks(r->hooks, r->ran);
	}
}

static bool is_open(const struct round *r)
{
	return load(&ckpti_agent.event_seq) == r->event_seq &&
	       load(&ckpti_agent.prepare_seq) == seen;
}

/* A coordinator ends after the end of its checkpoint was counted, so the order of questions counts. */
static void wait_for_end(const struct round *r)
{
	int ms = FIRST_LOOK_MS;

	while (is_open(r)) {
		ckpti_futex_sleep(&ckpti_agent.event_seq, r->event_seq, ms);
		if (is_open(r) && ckpti_coordinator_is_gone(r->nonce))
			return;
		if (ms < LAST_LOOK_MS)
			ms *= 2;
	}
}

static void one_round(void)
{
	struct round r;
	int veto = 1;

	if (round_begin(&r) < 0) {
		/* Without memory the handlers cannot run: no checkpoint then. */
		(void)ckpti_agent_prepared(ckpti_agent.prepare_nonce, veto);
		return;
	}
	inside = true;
	veto = run_before(&r);
	inside = false;
	(void)ckpti_agent_prepared(r.nonce, veto);
	if (!veto)
		wait_for_end(&r);
	inside = true;
	run_after(&r);
	inside = false;
	round_free(&r);
}

static void *service(void *arg)
{
	(void)arg;
	for (;;) {
		uint32_t seq = load(&ckpti_agent.prepare_seq);

		if (seq == seen) {
			ckpti_futex_sleep(&ckpti_agent.prepare_seq, seq, -1);
			continue;
		}
		/* Several requests may have come: the last one's nonce is the one to answer. */
		seen = seq;
		one_round();
	}
	return NULL;
}

/* The thread must never run a handler of the program for some signal, but take part in checkpoints. */
static int make_thread(void)
{
	uint64_t mask = ~(1ULL << (ckpti_signo_checkpoint() - 1));
	uint64_t old;
	pthread_t thread;
	int r;

	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &old, 8);
	r = pthread_create(&thread, NULL, service, NULL);
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
	if (r)
		return -r;
	(void)pthread_detach(thread);
	(void)pthread_setname_np(thread, THREAD_NAME);
	return 0;
}

static int start_locked(void)
{
	int r;

	seen = load(&ckpti_agent.prepare_seq);
	r = make_thread();
	if (r < 0)
		return r;
	started = true;
	__atomic_store_n(&ckpti_agent.handlers, 1, __ATOMIC_RELEASE);
	return 0;
}

int ckpti_service_start(struct ckpti_err *err)
{
	int r = 0;

	ckpti_api_lock();
	if (!started)
		r = start_locked();
	ckpti_api_unlock();
	return r < 0 ? ckpti_err(err, r, "cannot start the thread that runs handlers: %s",
				 strerrordesc_np(-r))
		     : 0;
}

/* Called in the child, which has one thread and nobody to race with. */
void ckpti_service_after_fork(void)
{
	if (!started)
		return;
	inside = false;
	started = false;
	/* Without the thread a PREPARE would never be answered: rather no handlers than no checkpoint. */
	if (start_locked() < 0)
		__atomic_store_n(&ckpti_agent.handlers, 0, __ATOMIC_RELEASE);
}
