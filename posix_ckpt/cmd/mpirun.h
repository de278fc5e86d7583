/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program of several ranks below mpirun, on one host, see docs/design/0008-mpirun.md.
 *
 * mpirun itself is never in an image.  `cpr run` becomes it, and tells it to start each rank through
 * another `cpr run`, so that each is a set of its own.  `cpr -c` of mpirun checkpoints all ranks at one
 * moment, and `cpr -r` becomes a new mpirun, with the same arguments, whose ranks restart:
 *
 *   DIR/lock              held by who writes
 *   DIR/mpirun-00000003   command line, environment, and the generation of each rank; appears by rename
 *   DIR/rank-0, ...       statefile of a rank
 *
 * Variables between the two `cpr run`:
 *   CKPT_MPIRUN           number of the mpirun process, which is so found again
 *   CKPT_RESTART          DIR: the ranks restart
 *   CKPT_RESTART_OPTIONS  with these options of `cpr -r`, one in a line
 *   CKPT_RESTART_READY    a file in which each rank clears its byte when it runs
 */
#ifndef CKPT_CMD_MPIRUN_H
#define CKPT_CMD_MPIRUN_H

#include "cmd.h"

#define CKPTI_MPIRUN_LAUNCHER "CKPT_MPIRUN"
#define CKPTI_MPIRUN_OPTIONS  "CKPT_RESTART_OPTIONS"
#define CKPTI_MPIRUN_READY    "CKPT_RESTART_READY"
/* Of Open MPI: the rank of a process in its environment, how many there are, and how many on this host. */
#define CKPTI_MPIRUN_RANK  "OMPI_COMM_WORLD_RANK"
#define CKPTI_MPIRUN_SIZE  "OMPI_COMM_WORLD_SIZE"
#define CKPTI_MPIRUN_LOCAL "OMPI_COMM_WORLD_LOCAL_SIZE"
#define CKPTI_MPIRUN_MAX   65536

struct ckpti_mpirun_record {
	uint64_t generation;
	char *cwd;
	char **args, **env; /* end with NULL */
	uint64_t *rank;     /* generation of each in its own statefile */
	size_t nranks;
};

/* ---- mpirun.c ----------------------------------------------------------------------------- */

/* `cpr run` of this command: prepares the environment when it is mpirun. */
int ckpti_mpirun_prepare(const char *command, struct ckpti_err *err);
/* The rank that `cpr run` has been started as; -1: as none. */
int ckpti_mpirun_own_rank(void);
/* Is this target an mpirun that `cpr run` has become? */
bool ckpti_mpirun_is_target(const struct ckpti_target *t);
/* What it has started, by rank; all of them, or it fails. */
int ckpti_mpirun_ranks(int mpirun, int **ret, size_t *ret_n, struct ckpti_err *err);

/* ---- mpirun_create.c ---------------------------------------------------------------------- */

/* cpr -c of it. */
int ckpti_mpirun_create(const struct ckpti_cmd_opts *o, bool kill, ckpti_phase_f phase,
			void *phase_arg, struct ckpti_create_result *ret, struct ckpti_err *err);

/* ---- mpirun_restart.c --------------------------------------------------------------------- */

/* cpr -r of its directory.  Returns only when it could not be done; else it is mpirun now. */
int ckpti_mpirun_restart(const struct ckpti_cmd_opts *o);
/* `cpr run` that such an mpirun has started as this rank. */
int ckpti_mpirun_restart_rank(const struct ckpti_cmd_opts *o, const char *dir, int rank);

/* ---- mpirun_record.c ---------------------------------------------------------------------- */

bool ckpti_mpirun_is_dir(const char *dir);
/* Is it ours, and can nobody else write to it? */
int ckpti_mpirun_check_dir(const char *dir, struct ckpti_err *err);
/* The numbers of DIR's generations, ascending. */
int ckpti_mpirun_list(const char *dir, uint64_t **ret, size_t *ret_n, struct ckpti_err *err);
/* 0: the newest that is not damaged.  Only of a directory that nobody else can write to. */
int ckpti_mpirun_load(const char *dir, uint64_t generation, struct ckpti_mpirun_record *ret,
		      struct ckpti_err *err);
int ckpti_mpirun_save(const char *dir, const struct ckpti_mpirun_record *rec,
		      struct ckpti_err *err);
int ckpti_mpirun_drop(const char *dir, uint64_t generation);
void ckpti_mpirun_record_free(struct ckpti_mpirun_record *rec);
/* DIR/rank-N, malloc'ed. */
char *ckpti_mpirun_rank_dir(const char *dir, size_t rank);
/* -D of it: statefiles and records. */
int ckpti_mpirun_remove(const char *dir, struct ckpti_err *err);

#endif
