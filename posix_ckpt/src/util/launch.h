/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a launcher (cpr run, the Slurm plugin) tells about the launch of a program by its environment.
 */
#ifndef CKPT_UTIL_LAUNCH_H
#define CKPT_UTIL_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

/* The processors that the launch had, as a list: "0-3,8".  What a process itself may use tells less: it
 * may have been bound to some of them since. */
#define CKPTI_LAUNCH_CPUS  "CKPT_CPUS"
#define CKPTI_LAUNCH_WORDS 16 /* the first 1024 processors */

/* Those of the calling process; 0, -ENOSPC when the list is longer than size. */
int ckpti_launch_cpus_format(char *buf, size_t size);
/* 0, or -EINVAL; ret is untouched then. */
int ckpti_launch_cpus_parse(const char *text, uint64_t ret[CKPTI_LAUNCH_WORDS]);

#endif
