/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt_restart(): cpr becomes a child of the caller, rebuilds the tree below itself, says so, and stays
 * until the root process has ended.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "api/argv.h"
#include "api/helper.h"

#define RESTART_FLAGS (CKPT_RESTART_INTERACTIVE | CKPT_NEWIDS)
/* Of other calls: cpr_flags is one variable for all. */
#define OTHER_FLAGS                                                                         \
	(CKPT_NQE | CKPT_CHECKPOINT_CONT | CKPT_CHECKPOINT_KILL | CKPT_CHECKPOINT_UPGRADE | \
	 CKPT_FORCE | CKPT_ASYNC | CKPT_JOIN | CKPT_DRYRUN)

static int check(const char *path, const struct api_opts *o, struct ckpti_err *err)
{
	const unsigned long unknown = o->flags & ~(RESTART_FLAGS | OTHER_FLAGS);

	if (!path)
		return ckpti_err(err, -EINVAL, "no directory was given");
	if (!path[0])
		return ckpti_err(err, -ENOENT, "the name of the directory is empty");
	if (strlen(path) >= PATH_MAX)
		return ckpti_err(err, -ENAMETOOLONG, "the name of the directory is too long");
	if (unknown)
		return ckpti_err(err, -EINVAL, "unknown flags 0x%lx", unknown);
	return 0;
}

static int build_argv(struct api_argv *a, const char *path, const struct api_opts *o,
		      struct ckpti_err *err)
{
	ckpti_argv_add(a, "cpr");
	ckpti_argv_add(a, "--api-result");
	ckpti_argv_add(a, "%d", CKPTI_RESULT_FD);
	ckpti_argv_add(a, "--api-ready");
	ckpti_argv_add(a, "%d", CKPTI_READY_FD);
	ckpti_argv_add(a, "-r");
	if (o->flags & CKPT_RESTART_INTERACTIVE)
		ckpti_argv_add(a, "-j");
	if (o->flags & CKPT_NEWIDS) {
		ckpti_argv_add(a, "--ids");
		ckpti_argv_add(a, "new");
	}
	for (size_t i = 0; i < o->nrelocs; i++) {
		ckpti_argv_add(a, "--relocate");
		ckpti_argv_add(a, "%s=%s", o->relocs[i].from, o->relocs[i].to);
	}
	ckpti_argv_add(a, "--");
	ckpti_argv_add(a, "%s", path);
	if (a->error)
		return ckpti_err(err, a->error, "the command line of cpr: %s",
				 strerrordesc_np(-a->error));
	return 0;
}

/* Returns 0 with *ret_root, or -errno. */
static int run(char *const argv[], int64_t *ret_root, enum ckpt_error_at *ret_at,
	       struct ckpti_err *err)
{
	struct ckpti_helper helper;
	struct ckpti_result res;
	int r;

	*ret_at = CKPT_AT_START;
	r = ckpti_helper_start(&helper, CKPTI_HELPER_RESTART, argv, err);
	if (r < 0)
		return r;
	(void)ckpti_helper_wait(&helper, -1);
	r = ckpti_helper_finish(&helper, &res, err);
	*ret_at = r == -EIO && strcmp(err->object, "cpr") == 0 ? CKPT_AT_START : CKPT_AT_WORK;
	if (r < 0)
		return r;
	if (r > 0)
		return ckpti_err(err, -ERESTART, "the caller itself was restarted meanwhile");
	if (res.root_pid <= 0)
		return ckpti_err_obj(err, -EIO, 0, "cpr", "cpr did not say what it has restarted");
	*ret_root = res.root_pid;
	return 0;
}

ckpt_id_t ckpt_restart(const char *path, struct ckpt_args *args[], size_t nargs)
{
	enum ckpt_error_at at = CKPT_AT_CALL;
	struct ckpti_err err = {0};
	struct api_argv argv = {.n = 0};
	struct api_opts *opts = NULL;
	int64_t root = 0;
	int r;

	if (ckpti_service_inside()) {
		r = ckpti_err(&err, -EDEADLK, "ckpt_restart() was called from a handler");
		goto out;
	}
	r = ckpti_args_read(args, nargs, API_RESTART, &opts, &err);
	if (r < 0)
		goto out;
	r = check(path, opts, &err);
	if (r < 0)
		goto out;
	r = build_argv(&argv, path, opts, &err);
	if (r < 0)
		goto out;
	if (ckpti_args_run_hooks(opts, CKPT_EV_PRERESTART) < opts->nhooks) {
		at = CKPT_AT_FUNCTION;
		r = ckpti_err(&err, -ECANCELED, "a CKPT_PRERESTART function refused");
		goto out;
	}
	r = run(argv.v, &root, &at, &err);
	if (r == 0)
		(void)ckpti_args_run_hooks(opts, CKPT_EV_POSTRESTART);
out:
	ckpti_argv_free(&argv);
	free(opts);
	return r < 0 ? ckpti_api_fail(at, r, &err) : root;
}
