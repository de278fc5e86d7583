/* SPDX-License-Identifier: BSD-3-Clause */
/* The UNICOS calls, in terms of the others. */
#include <errno.h>
#include <unistd.h>

#include <chkpnt.h>

#include "api/api_private.h"

static int read_category(int category, unsigned long *ret_type, struct ckpti_err *err)
{
	switch (category) {
	case C_PROC:
		*ret_type = P_PID;
		return 0;
	case C_PGRP:
		*ret_type = P_PGID;
		return 0;
	case C_SESS:
		*ret_type = P_SID;
		return 0;
	case C_JOB:
		*ret_type = P_JID;
		return 0;
	default:
		return ckpti_err(err, -EINVAL, "unknown category %d", category);
	}
}

int chkpnt(int category, int id, const char *path, int flags)
{
	unsigned long create_flags = flags & CHKPNT_KILL ? CKPT_CHECKPOINT_KILL : 0;
	struct ckpt_args arg = {.ckpt_type = CKPT_FLAGS, .ckpt_data = &create_flags};
	struct ckpt_args *args[] = {&arg};
	struct ckpti_err err = {0};
	unsigned long type = 0;
	int r = read_category(category, &type, &err);

	if (r == 0 && flags & ~CHKPNT_KILL)
		r = ckpti_err(&err, -EINVAL, "unknown flags 0x%x", (unsigned)flags);
	if (r < 0)
		return ckpti_api_fail(CKPT_AT_CALL, r, &err);
	return ckpt_create(path, id, type, args, 1);
}

/* What the image was made of; P_PID when that cannot be told. */
static unsigned long image_type(const char *path)
{
	struct ckpt_stat *list = NULL;
	unsigned long type = P_PID;

	if (ckpt_stat(path, &list) == 0 && list)
		type = list->cs_type;
	ckpt_stat_free(list);
	return type;
}

int restart(const char *path, int flags)
{
	unsigned long restart_flags = 0;
	struct ckpt_args arg = {.ckpt_type = CKPT_FLAGS, .ckpt_data = &restart_flags};
	struct ckpt_args *args[] = {&arg};
	struct ckpti_err err = {0};
	unsigned long type;
	pid_t root, id = 0;

	if (flags) {
		(void)ckpti_err(&err, -EINVAL, "unknown flags 0x%x", (unsigned)flags);
		return ckpti_api_fail(CKPT_AT_CALL, err.code, &err);
	}
	root = (pid_t)ckpt_restart(path, args, 1);
	if (root < 0)
		return -1;
	type = image_type(path);
	if (type == P_SID)
		id = getsid(root);
	else if (type == P_PGID)
		id = getpgid(root);
	/* 0: it lies outside this process' pid namespace, so only the root has a number here. */
	return id > 0 ? id : root;
}
