/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One request for a checkpoint, from the checked arguments to its end.  Whoever collects it may be the
 * process in its new life, restarted from the very image that the request made: then nothing but
 * memory is left of it.
 */
#ifndef CKPT_API_REQUEST_H
#define CKPT_API_REQUEST_H

#include "api/api_private.h"
#include "api/helper.h"
#include "api/target.h"

struct request {
	struct ckpti_helper helper;
	struct api_targets targets;
	struct api_opts *opts;
	const char *path;     /* the caller's: valid during its call only */
	uint64_t newest;      /* CKPT_JOIN: generation in the directory before the call */
	ckpt_handle_t handle; /* of an asynchronous one, else 0 */
	bool busy;            /* asynchronous: a thread starts or collects it; API lock */
};

/* What became of a request; negative: -errno. */
enum {
	REQUEST_WENT_ON = 0,
	REQUEST_RESUMED = 1
};

/* cpr has ended: read its result, run the hooks. */
int ckpti_request_complete(struct request *q, enum ckpt_error_at *ret_at, struct ckpti_err *err);
void ckpti_request_free(struct request *q);

/* async.c: the table of requests that nobody waits for.  -EBUSY: full. */
int ckpti_async_add(struct request *q, struct ckpti_err *err);
/* The request has been started: its handle may be used. */
void ckpti_async_publish(struct request *q);
void ckpti_async_remove(struct request *q);

#endif
