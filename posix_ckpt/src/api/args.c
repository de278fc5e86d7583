/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The argument vector of ckpt_setup(), ckpt_create() and ckpt_restart(): one table says which types
 * there are, in which calls they may stand, and how each is read.  The defaults of ckpt_setup() are
 * options of the same kind that live as long as the process; lists only grow, so a copy may point
 * into them.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"

#define TIMEOUT_MAX_S (INT_MAX / 1000 - 1)

unsigned long cpr_flags;

/* Under the API lock. */
static struct api_opts defaults = {.lock = -1};
static char default_dir[PATH_MAX];

static int full(struct ckpti_err *err, const char *what)
{
	return ckpti_err(err, -ENOSPC, "more than %d arguments of type %s", API_LIST_MAX, what);
}

static int read_hook(struct api_opts *o, enum ckpt_event event, const void *data,
		     struct ckpti_err *err)
{
	const struct ckpt_fn *fn = data;

	if (!fn->fn)
		return ckpti_err(err, -EINVAL, "an argument names no function to call");
	if (o->nhooks == API_LIST_MAX)
		return full(err, "CKPT_PRE… and CKPT_POST…");
	o->hooks[o->nhooks++] = (struct api_hook){.event = event, .fn = *fn};
	return 0;
}

static int read_id(struct api_opts *o, const void *data, struct ckpti_err *err)
{
	if (o->nids == API_LIST_MAX)
		return full(err, "CKPT_ID");
	o->ids[o->nids++] = *(const ckpt_id_t *)data;
	return 0;
}

static int read_lock(struct api_opts *o, const void *data, struct ckpti_err *err)
{
	int v = *(const int *)data;

	if (v != 0 && v != 1)
		return ckpti_err(err, -EINVAL, "CKPT_LOCK %d is neither 0 nor 1", v);
	o->lock = v;
	return 0;
}

static int read_signal(struct api_opts *o, const void *data, struct ckpti_err *err)
{
	int v = *(const int *)data;

	if (v < 0 || v > SIGRTMAX)
		return ckpti_err(err, -EINVAL, "CKPT_SIGNAL %d is not a signal", v);
	o->signo = v;
	return 0;
}

static int read_flags(struct api_opts *o, const void *data, struct ckpti_err *err)
{
	(void)err;
	o->flags = *(const unsigned long *)data;
	o->have_flags = true;
	return 0;
}

static int read_timeout(struct api_opts *o, const void *data, struct ckpti_err *err)
{
	const struct timespec *ts = data;

	if (ts->tv_sec < 0 || ts->tv_sec > TIMEOUT_MAX_S || ts->tv_nsec < 0 ||
	    ts->tv_nsec > 999999999 || (ts->tv_sec == 0 && ts->tv_nsec == 0))
		return ckpti_err(err, -EINVAL, "CKPT_TIMEOUT is not a time from 1 ns to %d s",
				 TIMEOUT_MAX_S);
	/* Rounded up: never 0, which would mean the default. */
	o->timeout_ms = (unsigned)(ts->tv_sec * 1000 + (ts->tv_nsec + 999999) / 1000000);
	o->have_timeout = true;
	return 0;
}

static int read_exclude(const void *data, struct ckpti_err *err)
{
	const struct ckpt_range *r = data;

	return ckpti_exclude_add(r->addr, r->len, err);
}

static int read_policy(struct api_opts *o, const void *data, struct ckpti_err *err)
{
	const struct ckpt_file_policy *p = data;

	if (!p->glob || !p->glob[0] || strchr(p->glob, '='))
		return ckpti_err(err, -EINVAL, "CKPT_FILEPOLICY '%s' is no pattern",
				 p->glob ? p->glob : "");
	if (p->action < CKPT_FILE_MERGE || p->action > CKPT_FILE_RELOCATE)
		return ckpti_err(err, -EINVAL, "CKPT_FILEPOLICY '%s': unknown action %d", p->glob,
				 (int)p->action);
	if (o->npolicies == API_LIST_MAX)
		return full(err, "CKPT_FILEPOLICY");
	o->policies[o->npolicies++] = *p;
	return 0;
}

static int read_relocation(struct api_opts *o, const void *data, struct ckpti_err *err)
{
	const struct ckpt_relocate *r = data;

	if (!r->from || r->from[0] != '/' || strchr(r->from, '=') || !r->to || r->to[0] != '/')
		return ckpti_err(
			err, -EINVAL,
			"CKPT_RELOCATE '%s' to '%s': absolute paths without '=' are needed",
			r->from ? r->from : "", r->to ? r->to : "");
	if (o->nrelocs == API_LIST_MAX)
		return full(err, "CKPT_RELOCATE");
	o->relocs[o->nrelocs++] = *r;
	return 0;
}

static int set_directory(const char *dir, struct ckpti_err *err)
{
	size_t len = strlen(dir);

	if (len == 0 || len >= sizeof(default_dir))
		return ckpti_err(err, len ? -ENAMETOOLONG : -EINVAL, "CKPT_DIRECTORY is %s",
				 len ? "too long" : "empty");
	memcpy(default_dir, dir, len + 1);
	return 0;
}

/* clang-format off */
static const struct {
	unsigned long type;
	unsigned calls; /* enum api_call, or'ed */
} known[] = {
	{CKPT_ID, API_CREATE},
	{CKPT_LOCK, API_SETUP | API_CREATE},
	{CKPT_SIGNAL, API_SETUP | API_CREATE},
	{CKPT_POSTRESTART, API_SETUP | API_CREATE | API_RESTART},
	{CKPT_PRERESTART, API_SETUP | API_RESTART},
	{CKPT_POSTCREATE, API_SETUP | API_CREATE},
	{CKPT_PRECREATE, API_SETUP | API_CREATE},
	{CKPT_FLAGS, API_SETUP | API_CREATE | API_RESTART},
	{CKPT_TIMEOUT, API_SETUP | API_CREATE},
	{CKPT_EXCLUDE, API_SETUP | API_CREATE},
	{CKPT_FILEPOLICY, API_SETUP | API_CREATE},
	{CKPT_RELOCATE, API_SETUP | API_RESTART},
	{CKPT_HANDLE, API_CREATE},
	{CKPT_DIRECTORY, API_SETUP},
};
/* clang-format on */

static int check_arg(const struct ckpt_args *a, size_t i, enum api_call call, struct ckpti_err *err)
{
	if (!a)
		return ckpti_err(err, -EINVAL, "argument %zu is a null pointer", i);
	for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
		if (known[k].type != a->ckpt_type)
			continue;
		if (!(known[k].calls & (unsigned)call))
			return ckpti_err(err, -EINVAL,
					 "argument %zu: type 0x%lx has no meaning in this call", i,
					 a->ckpt_type);
		if (!a->ckpt_data)
			return ckpti_err(err, -EINVAL, "argument %zu of type 0x%lx has no data", i,
					 a->ckpt_type);
		return 0;
	}
	return ckpti_err(err, -EINVAL, "argument %zu: unknown type 0x%lx", i, a->ckpt_type);
}

static int read_arg(struct api_opts *o, const struct ckpt_args *a, struct ckpti_err *err)
{
	switch (a->ckpt_type) {
	case CKPT_ID:
		return read_id(o, a->ckpt_data, err);
	case CKPT_LOCK:
		return read_lock(o, a->ckpt_data, err);
	case CKPT_SIGNAL:
		return read_signal(o, a->ckpt_data, err);
	case CKPT_POSTRESTART:
		return read_hook(o, CKPT_EV_POSTRESTART, a->ckpt_data, err);
	case CKPT_PRERESTART:
		return read_hook(o, CKPT_EV_PRERESTART, a->ckpt_data, err);
	case CKPT_POSTCREATE:
		return read_hook(o, CKPT_EV_POSTCREATE, a->ckpt_data, err);
	case CKPT_PRECREATE:
		return read_hook(o, CKPT_EV_PRECREATE, a->ckpt_data, err);
	case CKPT_FLAGS:
		return read_flags(o, a->ckpt_data, err);
	case CKPT_TIMEOUT:
		return read_timeout(o, a->ckpt_data, err);
	case CKPT_EXCLUDE:
		return read_exclude(a->ckpt_data, err);
	case CKPT_FILEPOLICY:
		return read_policy(o, a->ckpt_data, err);
	case CKPT_RELOCATE:
		return read_relocation(o, a->ckpt_data, err);
	case CKPT_HANDLE:
		o->handle = a->ckpt_data;
		return 0;
	default: /* CKPT_DIRECTORY: check_arg() has seen to all others */
		return set_directory(a->ckpt_data, err);
	}
}

static int check_vector(struct ckpt_args *args[], size_t nargs, struct ckpti_err *err)
{
	if (nargs && !args)
		return ckpti_err(err, -EINVAL, "%zu arguments, but no vector", nargs);
	return 0;
}

/* What the call did not say comes from ckpt_setup(); of lists the call's own elements stand first. */
static void add_defaults(struct api_opts *o, enum api_call call)
{
	ckpti_api_lock();
	if (!o->have_flags) {
		o->flags = defaults.have_flags ? defaults.flags : cpr_flags;
		o->have_flags = true;
	}
	if (!o->have_timeout)
		o->timeout_ms = defaults.timeout_ms;
	if (!o->signo && call == API_CREATE)
		o->signo = defaults.signo;
	for (size_t i = 0; i < defaults.npolicies && o->npolicies < API_LIST_MAX; i++)
		o->policies[o->npolicies++] = defaults.policies[i];
	for (size_t i = 0; i < defaults.nrelocs && o->nrelocs < API_LIST_MAX; i++)
		o->relocs[o->nrelocs++] = defaults.relocs[i];
	for (size_t i = 0; i < defaults.nhooks && o->nhooks < API_LIST_MAX; i++) {
		/* The others belong to checkpoints of this process: the service thread runs them. */
		if (call == API_RESTART && defaults.hooks[i].event == CKPT_EV_PRERESTART)
			o->hooks[o->nhooks++] = defaults.hooks[i];
	}
	ckpti_api_unlock();
}

int ckpti_args_read(struct ckpt_args *args[], size_t nargs, enum api_call call,
		    struct api_opts **ret, struct ckpti_err *err)
{
	struct api_opts *o;
	int r = check_vector(args, nargs, err);

	if (r < 0)
		return r;
	o = calloc(1, sizeof(*o));
	if (!o)
		return ckpti_err(err, -ENOMEM, "no memory for the arguments");
	o->lock = -1;
	/* All are looked at before the first one, which may be CKPT_EXCLUDE, has an effect. */
	for (size_t i = 0; i < nargs && r == 0; i++)
		r = check_arg(args[i], i, call, err);
	for (size_t i = 0; i < nargs && r == 0; i++)
		r = read_arg(o, args[i], err);
	if (r < 0) {
		free(o);
		return r;
	}
	add_defaults(o, call);
	*ret = o;
	return 0;
}

size_t ckpti_args_run_hooks(const struct api_opts *opts, enum ckpt_event event)
{
	for (size_t i = 0; i < opts->nhooks; i++) {
		const struct api_hook *h = &opts->hooks[i];
		int refused;

		if (h->event != event)
			continue;
		refused = h->fn.fn(event, h->fn.arg);
		if (refused && (event == CKPT_EV_PRECREATE || event == CKPT_EV_PRERESTART))
			return i;
	}
	return opts->nhooks;
}

void ckpti_args_abort_hooks(const struct api_opts *opts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct api_hook *h = &opts->hooks[i];

		if (h->event == CKPT_EV_PRECREATE)
			(void)h->fn.fn(CKPT_EV_ABORTED, h->fn.arg);
	}
}

void ckpti_args_setup_hooks(struct api_opts *ret)
{
	ckpti_api_lock();
	ret->nhooks = defaults.nhooks;
	memcpy(ret->hooks, defaults.hooks, sizeof(ret->hooks));
	ckpti_api_unlock();
}

int ckpti_args_directory(char *ret, struct ckpti_err *err)
{
	const char *env = getenv("CKPT_DIR");
	int len;

	ckpti_api_lock();
	len = snprintf(ret, PATH_MAX, "%s", default_dir[0] || !env ? default_dir : env);
	ckpti_api_unlock();
	if (len >= PATH_MAX)
		return ckpti_err(err, -ENAMETOOLONG, "CKPT_DIR is too long");
	if (len == 0)
		return ckpti_err(
			err, -ENOENT,
			"no directory for checkpoints: neither CKPT_DIRECTORY nor CKPT_DIR is set");
	return 0;
}

/* The caller's strings may go away after the call: the defaults keep copies. */
static int copy_strings(struct api_opts *o, size_t npolicies, size_t nrelocs, struct ckpti_err *err)
{
	char *from, *to;

	if (o->npolicies > npolicies) {
		from = strdup(o->policies[npolicies].glob);
		if (!from) {
			o->npolicies = npolicies;
			return ckpti_err(err, -ENOMEM, "no memory for a pattern");
		}
		o->policies[npolicies].glob = from;
	}
	if (o->nrelocs > nrelocs) {
		from = strdup(o->relocs[nrelocs].from);
		to = strdup(o->relocs[nrelocs].to);
		if (!from || !to) {
			free(from);
			free(to);
			o->nrelocs = nrelocs;
			return ckpti_err(err, -ENOMEM, "no memory for a path");
		}
		o->relocs[nrelocs].from = from;
		o->relocs[nrelocs].to = to;
	}
	return 0;
}

static int setup_arg(const struct ckpt_args *a, struct ckpti_err *err)
{
	size_t npolicies, nrelocs, nhooks;
	int r;

	if (a->ckpt_type == CKPT_EXCLUDE)
		return read_exclude(a->ckpt_data, err);
	ckpti_api_lock();
	npolicies = defaults.npolicies;
	nrelocs = defaults.nrelocs;
	nhooks = defaults.nhooks;
	r = read_arg(&defaults, a, err);
	if (r == 0)
		r = copy_strings(&defaults, npolicies, nrelocs, err);
	nhooks = defaults.nhooks - nhooks;
	ckpti_api_unlock();
	if (r < 0)
		return r;
	if (a->ckpt_type == CKPT_LOCK) {
		r = *(const int *)a->ckpt_data ? ckpt_hold() : ckpt_release();
		return r < 0 ? ckpti_err(err, -errno, "CKPT_LOCK %d is not possible here",
					 *(const int *)a->ckpt_data)
			     : 0;
	}
	return nhooks ? ckpti_service_start(err) : 0;
}

int ckpt_setup(struct ckpt_args *args[], size_t nargs)
{
	struct ckpti_err err = {0};
	int r = check_vector(args, nargs, &err);

	for (size_t i = 0; i < nargs && r == 0; i++) {
		r = check_arg(args[i], i, API_SETUP, &err);
		if (r == 0)
			r = setup_arg(args[i], &err);
	}
	return r < 0 ? ckpti_api_fail(CKPT_AT_CALL, r, &err) : 0;
}
