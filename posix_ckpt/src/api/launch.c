/* SPDX-License-Identifier: BSD-3-Clause */
/* The environment of the present launch; the program's own stays that of its first one. */
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "ckpt.h"

const char *ckpt_launch_environment(void)
{
	return ckpti_agent.launch_env;
}

const char *ckpt_launch_getenv(const char *name)
{
	const char *e = ckpti_agent.launch_env;
	size_t len = name ? strlen(name) : 0;

	if (!len)
		return NULL;
	if (!e)
		return getenv(name);
	for (; *e; e += strlen(e) + 1)
		if (strncmp(e, name, len) == 0 && e[len] == '=')
			return e + len + 1;
	return NULL;
}
