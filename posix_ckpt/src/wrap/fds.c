/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors of a plug-in (ckpt_hooks.h), such as MPI's connections, are nothing that the program knows
 * of.  Programs that close all that is open, or put a file on a number of their choice, do not mean them:
 * for close() and its like they are not there, dup2() onto one fails with EBUSY, as it does on one that is
 * being opened.
 *
 * The plug-in closes them by system calls.
 */
#include "wrap/wrap_private.h"

#include <linux/close_range.h>

#include "agent/agent.h"
#include "ckpt_hooks.h"

#define MAX_FDS 65536U /* a plug-in has none above */

static bool is_foreign(unsigned int fd)
{
	for (uint32_t i = 0; i < ckpti_agent.nhooks; i++) {
		const struct ckpt_hooks *h = ckpti_agent.hooks[i];

		if (h && h->foreign_fd && h->foreign_fd(h->arg, (int)fd))
			return true;
	}
	return false;
}

static bool any_plugin(void)
{
	return __atomic_load_n(&ckpti_agent.nhooks, __ATOMIC_ACQUIRE) != 0;
}

CKPTI_EXPORT int close(int fd)
{
	if (any_plugin() && fd >= 0 && is_foreign((unsigned int)fd)) {
		errno = EBADF;
		return -1;
	}
	return REAL(close)(fd);
}

CKPTI_EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	int r = 0;

	/* They are closed at an exec anyway. */
	if (!any_plugin() || first > last || flags & CLOSE_RANGE_CLOEXEC)
		return REAL(close_range)(first, last, flags);
	for (unsigned int fd = first; r == 0 && fd < MAX_FDS && fd <= last; fd++) {
		if (!is_foreign(fd))
			continue;
		if (fd > first)
			r = REAL(close_range)(first, fd - 1, flags);
		first = fd + 1;
	}
	return r == 0 && first <= last ? REAL(close_range)(first, last, flags) : r;
}

CKPTI_EXPORT void closefrom(int low)
{
	if (!any_plugin()) {
		REAL(closefrom)(low);
		return;
	}
	low = low < 0 ? 0 : low;
	for (unsigned int fd = (unsigned int)low; fd < MAX_FDS; fd++) {
		if (!is_foreign(fd))
			continue;
		if ((int)fd > low)
			(void)REAL(close_range)((unsigned int)low, fd - 1, 0);
		low = (int)fd + 1;
	}
	REAL(closefrom)(low);
}

CKPTI_EXPORT int dup2(int from, int to)
{
	if (any_plugin() && to >= 0 && from != to && is_foreign((unsigned int)to)) {
		errno = EBUSY;
		return -1;
	}
	return REAL(dup2)(from, to);
}

CKPTI_EXPORT int dup3(int from, int to, int flags)
{
	if (any_plugin() && to >= 0 && is_foreign((unsigned int)to)) {
		errno = EBUSY;
		return -1;
	}
	return REAL(dup3)(from, to, flags);
}
