/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of the coordinator. */
#ifndef CKPT_SPANK_START_H
#define CKPT_SPANK_START_H

#include "spank/plugin/plugin.h"

/* *ret: for ckpti_start_free(), also when it fails.  0 or -errno. */
int ckpti_start_argv(spank_t sp, const struct ckpti_plugin_conf *conf, const char *path,
		     char ***ret);
void ckpti_start_free(char **argv);

#endif
