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

/*
 * The file with the environment of the present launch: what programs have in memory is that of their
 * first one.  Strings NAME=value that end with a null byte, as of `env -0`; beside it, with ".sh" behind
 * its name, the same for a shell to read.  Both are the user's alone, in a directory that is.
 */
#define CKPTI_LAUNCH_FILE "CKPT_LAUNCH_FILE"

struct ckpti_launch_file {
	char path[4096]; /* "": none */
	uint64_t dev, ino;
};

/* The usual one of a set (16 hexadecimal digits): on every host the same.  0 or -errno. */
int ckpti_launch_file_name(const char *set, char *ret, size_t size);
/* Write both, in place of older ones.  restarts, generation: 0 in the first life.  0 or -errno. */
int ckpti_launch_file_write(const char *path, char *const env[], uint32_t restarts,
			    uint64_t generation, struct ckpti_launch_file *ret);
/* Both, if they are still those that were written; f may be empty. */
void ckpti_launch_file_remove(const struct ckpti_launch_file *f);
/* launch_sweep.c: those of sets that do not live any more; dirfd: of the usual directory. */
void ckpti_launch_file_sweep(int dirfd);
/* Those of a set under their usual name, whoever has written them. */
void ckpti_launch_file_remove_set(uint64_t set_id);

#endif
