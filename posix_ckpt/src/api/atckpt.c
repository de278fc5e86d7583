/* SPDX-License-Identifier: BSD-3-Clause */
/* atcheckpoint() and atrestart(): two lists of functions, called by the service thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"

/* API lock. */
static struct api_handlers at_checkpoint, at_restart;

static int append(struct api_handlers *list, void (*func)(void), struct ckpti_err *err)
{
	void (**fn)(void) = reallocarray(list->fn, list->n + 1, sizeof(*fn));

	if (!fn)
		return ckpti_err(err, -ENOMEM, "no memory for a handler");
	fn[list->n++] = func;
	list->fn = fn;
	return 0;
}

static int add(struct api_handlers *list, void (*func)(void), const char *name)
{
	struct ckpti_err err = {0};
	int r;

	if (!func) {
		r = ckpti_err(&err, -EINVAL, "%s() was given a null pointer", name);
	} else {
		/* First the thread: a handler that nobody would call must not be in the list. */
		r = ckpti_service_start(&err);
		if (r == 0) {
			ckpti_api_lock();
			r = append(list, func, &err);
			ckpti_api_unlock();
		}
	}
	return r < 0 ? ckpti_api_fail(CKPT_AT_CALL, r, &err) : 0;
}

int atcheckpoint(void (*func)(void))
{
	return add(&at_checkpoint, func, "atcheckpoint");
}

int atrestart(void (*func)(void))
{
	return add(&at_restart, func, "atrestart");
}

static int copy(const struct api_handlers *list, struct api_handlers *ret)
{
	/* calloc(0) may be NULL. */
	ret->fn = calloc(list->n + 1, sizeof(*ret->fn));
	if (!ret->fn)
		return -ENOMEM;
	ret->n = list->n;
	if (list->n)
		memcpy(ret->fn, list->fn, list->n * sizeof(*ret->fn));
	return 0;
}

int ckpti_atckpt_copy(struct api_handlers *ret_checkpoint, struct api_handlers *ret_restart)
{
	int r;

	ckpti_api_lock();
	r = copy(&at_checkpoint, ret_checkpoint);
	if (r == 0) {
		r = copy(&at_restart, ret_restart);
		if (r < 0)
			free(ret_checkpoint->fn);
	}
	ckpti_api_unlock();
	return r;
}
