/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt_create() and ckpt_self(): check, start cpr, wait, report.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "api/argv.h"
#include "api/request.h"
#include "store/store.h"

#define CREATE_FLAGS                                                                          \
	(CKPT_CHECKPOINT_CONT | CKPT_CHECKPOINT_KILL | CKPT_CHECKPOINT_UPGRADE | CKPT_FORCE | \
	 CKPT_ASYNC | CKPT_JOIN | CKPT_DRYRUN)
/* Of other calls: cpr_flags is one variable for all. */
#define OTHER_FLAGS (CKPT_NQE | CKPT_RESTART_INTERACTIVE | CKPT_NEWIDS)

#define JOIN_STEP_MS    20
#define JOIN_DEFAULT_MS 60000

/* ---- checks ------------------------------------------------------------------------------- */

static int check_path(const char *path, struct ckpti_err *err)
{
	if (!path)
		return ckpti_err(err, -EINVAL, "no directory was given");
	if (!path[0])
		return ckpti_err(err, -ENOENT, "the name of the directory is empty");
	if (strlen(path) >= PATH_MAX)
		return ckpti_err(err, -ENAMETOOLONG, "the name of the directory is too long");
	return 0;
}

static int check_flags(const struct api_opts *o, struct ckpti_err *err)
{
	const unsigned long unknown = o->flags & ~(CREATE_FLAGS | OTHER_FLAGS);

	if (unknown)
		return ckpti_err(err, -EINVAL, "unknown flags 0x%lx", unknown);
	if ((o->flags & CKPT_CHECKPOINT_KILL) && (o->flags & CKPT_CHECKPOINT_CONT))
		return ckpti_err(
			err, -EINVAL,
			"CKPT_CHECKPOINT_KILL and CKPT_CHECKPOINT_CONT exclude each other");
	if (!(o->flags & CKPT_ASYNC) != !o->handle)
		return ckpti_err(err, -EINVAL, "CKPT_ASYNC and CKPT_HANDLE need each other");
	if ((o->flags & CKPT_ASYNC) && (o->flags & CKPT_JOIN))
		return ckpti_err(err, -EINVAL, "CKPT_JOIN does not go with CKPT_ASYNC");
	return 0;
}

static int check_caller(const struct request *q, struct ckpti_err *err)
{
	if (ckpti_hold_depth() > (q->opts->lock == 0) && ckpti_targets_have_self(&q->targets))
		return ckpti_err(err, -EDEADLK,
				 "this thread holds checkpoints off and asks for one of itself");
	return 0;
}

/* ---- the command line --------------------------------------------------------------------- */

static void add_targets(struct api_argv *a, const struct api_targets *t)
{
	char list[(API_LIST_MAX + 1) * 32] = "";
	size_t len = 0;

	for (size_t i = 0; i < t->n; i++) {
		uint32_t high = (uint32_t)(t->id[i] >> 32), low = (uint32_t)t->id[i];

		/* Only of a step, whose id is a pair. */
		if (high)
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%u.%u:%s",
						i ? "," : "", high, low, ckpt_type_str(t->type));
		else
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%u:%s",
						i ? "," : "", low, ckpt_type_str(t->type));
	}
	ckpti_argv_add(a, "-p");
	ckpti_argv_add(a, "%s", list);
}

static const char *action_name(enum ckpt_file_action action)
{
	static const char *const names[] = {"MERGE",   "IGNORE",     "APPEND",
					    "REPLACE", "SUBSTITUTE", "RELOCATE"};

	return names[action - CKPT_FILE_MERGE];
}

static int build_argv(struct api_argv *a, const struct request *q, struct ckpti_err *err)
{
	const struct api_opts *o = q->opts;

	ckpti_argv_add(a, "cpr");
	ckpti_argv_add(a, "--api-result");
	ckpti_argv_add(a, "%d", CKPTI_RESULT_FD);
	ckpti_argv_add(a, "-c");
	add_targets(a, &q->targets);
	if (o->flags & CKPT_FORCE)
		ckpti_argv_add(a, "-f");
	if (o->flags & CKPT_CHECKPOINT_KILL)
		ckpti_argv_add(a, "-k");
	if (o->flags & CKPT_CHECKPOINT_UPGRADE)
		ckpti_argv_add(a, "-u");
	if (o->flags & CKPT_DRYRUN)
		ckpti_argv_add(a, "--dry-run");
	if (o->timeout_ms) {
		ckpti_argv_add(a, "--timeout");
		ckpti_argv_add(a, "%u.%03u", o->timeout_ms / 1000, o->timeout_ms % 1000);
	}
	for (size_t i = 0; i < o->npolicies; i++) {
		ckpti_argv_add(a, "--file-policy");
		ckpti_argv_add(a, "%s=%s", o->policies[i].glob, action_name(o->policies[i].action));
	}
	ckpti_argv_add(a, "--");
	ckpti_argv_add(a, "%s", q->path);
	if (a->error)
		return ckpti_err(err, a->error, "the command line of cpr: %s",
				 strerrordesc_np(-a->error));
	return 0;
}

/* ---- a request from start to end ---------------------------------------------------------- */

/* The newest complete generation in the directory, 0 when there is none. */
static uint64_t newest_generation(const char *path)
{
	struct ckpti_store *st = NULL;
	uint64_t newest;

	if (ckpti_store_open_read(path, &st, NULL) < 0)
		return 0;
	newest = ckpti_store_newest(st);
	ckpti_store_close(st);
	return newest;
}

/* On failure *ret_at says who failed; hooks that were called have been told. */
static int start(struct request *q, enum ckpt_error_at *ret_at, struct ckpti_err *err)
{
	struct api_argv argv = {.n = 0};
	size_t ran;
	int r;

	*ret_at = CKPT_AT_FUNCTION;
	q->helper =
		(struct ckpti_helper){.result_fd = -1, .wait_fd = -1, .restarts = ckpt_restarts()};
	ran = ckpti_args_run_hooks(q->opts, CKPT_EV_PRECREATE);
	if (ran < q->opts->nhooks) {
		r = ckpti_err(err, -ECANCELED, "a CKPT_PRECREATE function refused");
		goto out;
	}
	*ret_at = CKPT_AT_CALL;
	if (q->opts->lock == 0 && ckpt_release() < 0) {
		r = ckpti_err(err, -errno, "CKPT_LOCK 0 without a hold in this thread");
		goto out;
	}
	r = build_argv(&argv, q, err);
	if (r < 0)
		goto out;
	if (q->opts->flags & CKPT_JOIN)
		q->newest = newest_generation(q->path);
	*ret_at = CKPT_AT_START;
	r = ckpti_helper_start(&q->helper, CKPTI_HELPER_CREATE, argv.v, err);
out:
	if (r < 0)
		ckpti_args_abort_hooks(q->opts, ran);
	ckpti_argv_free(&argv);
	return r;
}

/*
 * Somebody else's checkpoint is under way.  It counts for us when it ends as a new generation in our
 * directory; -EBUSY when it does not within the time.
 */
static int join(const struct request *q, struct ckpti_err *err)
{
	unsigned left = q->opts->timeout_ms ? q->opts->timeout_ms : JOIN_DEFAULT_MS;
	uint32_t seq;

	for (;;) {
		seq = __atomic_load_n(&ckpti_agent.event_seq, __ATOMIC_ACQUIRE);
		if (ckpti_helper_is_gone(&q->helper))
			return REQUEST_RESUMED;
		if (newest_generation(q->path) > q->newest) {
			*err = (struct ckpti_err){0};
			return REQUEST_WENT_ON;
		}
		if (left < JOIN_STEP_MS)
			return -EBUSY;
		/* An end of a checkpoint of this process wakes us; its commit comes later. */
		ckpti_futex_sleep(&ckpti_agent.event_seq, seq, JOIN_STEP_MS);
		left -= JOIN_STEP_MS;
	}
}

int ckpti_request_complete(struct request *q, enum ckpt_error_at *ret_at, struct ckpti_err *err)
{
	struct ckpti_result res;
	int r = ckpti_helper_finish(&q->helper, &res, err);

	*ret_at = r == -EIO && strcmp(err->object, "cpr") == 0 ? CKPT_AT_START : CKPT_AT_WORK;
	if (r == -EBUSY && (q->opts->flags & CKPT_JOIN))
		r = join(q, err);
	if (r == REQUEST_RESUMED) {
		(void)ckpti_args_run_hooks(q->opts, CKPT_EV_POSTRESTART);
	} else if (r == REQUEST_WENT_ON && !(q->opts->flags & CKPT_DRYRUN)) {
		if (q->opts->signo)
			ckpti_targets_signal(&q->targets, q->opts->signo);
		(void)ckpti_args_run_hooks(q->opts, CKPT_EV_POSTCREATE);
	} else {
		ckpti_args_abort_hooks(q->opts, q->opts->nhooks);
	}
	if (q->opts->lock == 1)
		(void)ckpt_hold();
	return r;
}

void ckpti_request_free(struct request *q)
{
	if (!q)
		return;
	free(q->opts);
	free(q);
}

/* ---- public ------------------------------------------------------------------------------- */

static int check(struct request *q, ckpt_id_t id, unsigned long type, struct ckpti_err *err)
{
	int r = check_path(q->path, err);

	if (r == 0)
		r = check_flags(q->opts, err);
	if (r == 0)
		r = ckpti_targets_read(id, type, q->opts, &q->targets, err);
	if (r == 0)
		r = check_caller(q, err);
	return r;
}

/* Start it and leave it in the table; it is freed on failure. */
static int run_async(struct request *q, enum ckpt_error_at *ret_at, struct ckpti_err *err)
{
	ckpt_handle_t *ret_handle = q->opts->handle;
	int r = ckpti_async_add(q, err);

	if (r < 0) {
		ckpti_request_free(q);
		return r;
	}
	*ret_handle = q->handle;
	r = start(q, ret_at, err);
	if (r < 0) {
		ckpti_async_remove(q);
		return r;
	}
	ckpti_async_publish(q);
	return 0;
}

static int run(struct request *q, enum ckpt_error_at *ret_at, struct ckpti_err *err)
{
	int r;

	if (q->opts->flags & CKPT_ASYNC)
		return run_async(q, ret_at, err);
	r = start(q, ret_at, err);
	if (r == 0) {
		(void)ckpti_helper_wait(&q->helper, -1);
		r = ckpti_request_complete(q, ret_at, err);
	}
	ckpti_request_free(q);
	return r;
}

/* REQUEST_WENT_ON, REQUEST_RESUMED, or -1 with errno set. */
static int create(const char *path, ckpt_id_t id, unsigned long type, struct ckpt_args *args[],
		  size_t nargs)
{
	enum ckpt_error_at at = CKPT_AT_CALL;
	struct ckpti_err err = {0};
	struct request *q = NULL;
	int r;

	if (ckpti_service_inside()) {
		r = ckpti_err(&err, -EDEADLK, "a checkpoint was asked for in a handler");
		goto out;
	}
	q = calloc(1, sizeof(*q));
	if (!q) {
		r = ckpti_err(&err, -ENOMEM, "no memory for a request");
		goto out;
	}
	q->path = path;
	r = ckpti_args_read(args, nargs, API_CREATE, &q->opts, &err);
	if (r == 0)
		r = check(q, id, type, &err);
	if (r == 0)
		r = run(q, &at, &err);
	else
		ckpti_request_free(q);
out:
	return r < 0 ? ckpti_api_fail(at, r, &err) : r;
}

int ckpt_create(const char *path, ckpt_id_t id, unsigned long type, struct ckpt_args *args[],
		size_t nargs)
{
	return create(path, id, type, args, nargs) < 0 ? -1 : 0;
}

int ckpt_self(unsigned long flags)
{
	/* A program that saves itself again and again means the same directory each time. */
	unsigned long all = flags | CKPT_FORCE;
	struct ckpt_args arg = {.ckpt_type = CKPT_FLAGS, .ckpt_data = &all};
	struct ckpt_args *args[] = {&arg};
	struct ckpti_err err = {0};
	char dir[PATH_MAX] = "";
	int r;

	/* In a handler the directory does not matter: create() says why. */
	r = ckpti_service_inside() ? 0 : ckpti_args_directory(dir, &err);
	if (r < 0)
		return ckpti_api_fail(CKPT_AT_CALL, r, &err);
	return create(dir, CKPT_SELF, P_HID, args, 1);
}
