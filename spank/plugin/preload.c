/* SPDX-License-Identifier: BSD-3-Clause */
/* Can our library be preloaded into a program on this node? */
#include <string.h>
#include <unistd.h>

#include "spank/plugin/plugin.h"

const char *ckpti_preload_obstacle(const char *lib)
{
	/* ld.so splits LD_PRELOAD there. */
	if (strpbrk(lib, " :"))
		return "a path with a space or colon cannot be preloaded";
	/* ld.so would complain at each exec. */
	if (access(lib, R_OK) < 0)
		return CKPTI_PLUGIN_LIBRARY " is not on this node";
	return NULL;
}
