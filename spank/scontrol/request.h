/* SPDX-License-Identifier: BSD-3-Clause */
/* What the command line of ckpt-step, or of `scontrol checkpoint`, asks for. */
#ifndef CKPT_SCONTROL_REQUEST_H
#define CKPT_SCONTROL_REQUEST_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum ckpti_verb {
	CKPTI_REQ_ABLE,
	CKPTI_REQ_CREATE,
	CKPTI_REQ_VACATE,
	CKPTI_REQ_REQUEUE,
	CKPTI_REQ_RESTART,
	CKPTI_REQ_DISABLE,
	CKPTI_REQ_ENABLE,
	CKPTI_REQ_ERROR,
	CKPTI_REQ_STATUS,
	CKPTI_REQ_SHOW, /* of a directory, or of where a job has its own */
	CKPTI_REQ_CHECK,
};

struct ckpti_request {
	enum ckpti_verb verb;
	char job[32]; /* 123 or 123_4; empty: all of the caller's, or those that are selected */
	bool has_step;
	uint32_t step;            /* CKPTI_STEP_BATCH for "batch" */
	unsigned max_wait;        /* seconds; 0: as the coordinator says */
	char image_dir[PATH_MAX]; /* absolute, or empty */
	bool stick;               /* StickToNodes */

	/* Selections of root's, NULL: none. */
	const char *nodes, *partition, *reservation;
	unsigned parallel; /* 0: not given */
};

/* As the protocol and people call it. */
const char *ckpti_request_verb(enum ckpti_verb verb);

/* 0; or the exit status of the program plus one, when everything has been said. */
int ckpti_request_parse(int argc, char **argv, struct ckpti_request *ret);
/* "123", "123_4", either with ".STEP" or ".batch"; -EINVAL. */
int ckpti_request_parse_id(const char *text, struct ckpti_request *ret);

#endif
