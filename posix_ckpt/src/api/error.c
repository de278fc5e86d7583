/* SPDX-License-Identifier: BSD-3-Clause */
/* ckpt_lasterror() and the names of target types. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "api/api_private.h"

static _Thread_local struct ckpt_error last; /* code 0: none yet */

int ckpti_api_fail(enum ckpt_error_at at, int code, const struct ckpti_err *err)
{
	struct utsname u;

	memset(&last, 0, sizeof(last));
	last.code = (int)at;
	last.err = -code;
	last.rank = -1;
	last.pid = err->pid;
	if (uname(&u) == 0)
		(void)snprintf(last.host, sizeof(last.host), "%.*s", (int)sizeof(last.host) - 1,
			       u.nodename);
	memcpy(last.object, err->object, sizeof(last.object));
	if (err->text[0])
		memcpy(last.text, err->text, sizeof(last.text));
	else
		(void)snprintf(last.text, sizeof(last.text), "%s", strerrordesc_np(-code));
	errno = -code;
	return -1;
}

int ckpt_lasterror(struct ckpt_error *ret)
{
	if (!ret) {
		errno = EINVAL;
		return -1;
	}
	if (!last.code) {
		errno = ENODATA;
		return -1;
	}
	*ret = last;
	return 0;
}

const char *ckpt_type_str(unsigned long type)
{
	switch (CKPT_REAL_TYPE(type)) {
	case P_PID:
		return "PID";
	case P_PGID:
		return "GID";
	case P_SID:
		return "SID";
	case P_ASH:
		return "ASH";
	case P_HID:
		return "HID";
	case P_SPGP:
		return "SGP";
	case P_JID:
		return "JID";
	default:
		return "unknown";
	}
}
