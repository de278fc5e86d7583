/* SPDX-License-Identifier: BSD-3-Clause */
/* What /proc tells of a process, as seen from here: numbers are those of our own pid namespace unless
 * they are called inner. */
#ifndef CKPT_CORE_PROCFS_H
#define CKPT_CORE_PROCFS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "image/format.h"
#include "util/err.h"

struct ckpti_procinfo {
	int pid, ppid, pgid, sid;
	int inner_pid, inner_pgid, inner_sid; /* in the process' own pid namespace */
	char state;
	char comm[16];
	int nthreads;
	int tty;   /* device number of the controlling terminal, 0: none */
	int tpgid; /* the terminal's foreground group */
	uint64_t start_time;
	int exit_signal;
	int wstatus; /* of a zombie */
	int nice;
	uint64_t start_code, end_code, start_data, end_data, start_brk, start_stack;
	uint64_t arg_start, arg_end, env_start, env_end;
	uint32_t uid[4], gid[4];
	uint32_t groups[64];
	unsigned ngroups;
	int tracer;
	int seccomp;
	int no_new_privs;
	uint32_t umask;
	uint64_t sig_pending; /* of the thread itself */
	uint64_t sig_shared;  /* of the process */
	uint64_t sig_blocked, sig_ignored, sig_caught;
	uint64_t cap_inh, cap_prm, cap_eff, cap_bnd, cap_amb;
};

/* 0, -ESRCH when the process is gone. */
int ckpti_procfs_read(int pid, struct ckpti_procinfo *ret);
/* The half that costs little: numbers, state, name, start time, layout; the rest is zero. */
int ckpti_procfs_stat(int pid, struct ckpti_procinfo *ret);
/* The other half, added to what ckpti_procfs_stat() gave. */
int ckpti_procfs_status(struct ckpti_procinfo *p);

/* The whole of /proc/PID/NAME, NUL-terminated, malloc'ed; NULL with errno on failure. */
char *ckpti_procfs_slurp(int pid, const char *name, size_t *ret_len);
/* Target of the link /proc/PID/NAME into buf (PATH_MAX); length or -errno. */
ssize_t ckpti_procfs_link(int pid, const char *name, char *buf);

/* Value of an environment variable as it was at the last exec; 1 found, 0 not, -errno. */
int ckpti_procfs_environ(int pid, const char *name, char *buf, size_t size);

/* Numbers of a directory such as /proc, /proc/PID/task, /proc/PID/fd: malloc'ed array. */
int ckpti_procfs_numbers(const char *dir, int **ret, size_t *ret_n);

/* A mapping of /proc/PID/smaps. */
struct ckpti_map {
	uint64_t start, end, off, ino, dev;
	uint32_t prot;
	int shared;
	uint64_t vmflags; /* CKPTI_VF_* */
	int maywrite, hugetlb, io, shadow_stack, pkey;
	uint64_t page; /* size of its pages */
	uint64_t anon; /* bytes that are the process' own, in memory or swapped out */
	char *name;    /* "" when anonymous */
};
int ckpti_procfs_maps(int pid, struct ckpti_map **ret, size_t *ret_n);
void ckpti_procfs_maps_free(struct ckpti_map *maps, size_t n);

#endif
