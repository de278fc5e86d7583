/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the plugin share.  Each context of SPANK has a file: srun.c (srun), allocator.c (sbatch,
 * salloc), step.c (slurmstepd, root) and task.c (a task before its exec, user).  Nobody asked for checkpoints:
 * options are registered and nothing else is done.
 *
 * The plugin never makes a job fail that would run without us.  Callbacks return 0 whatever happens: Slurm
 * 25.05 and later take everything else for a failure of the job or of the node.
 */
#ifndef CKPT_SPANK_PLUGIN_H
#define CKPT_SPANK_PLUGIN_H

#include <slurm/spank.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* ---- conf.c: arguments of the line in plugstack.conf ------------------------------------------ */

struct ckpti_plugin_conf {
	const char *libexec; /* ckpt-coordinator, ckpt-node-agent */
	const char *bindir;  /* cpr */
	const char *libdir;  /* libckpt.so.0 */
	const char *mpidir;  /* the shim of the MPI side; it may be missing */
	const char *config;  /* YAML file of the site */
	const char *unknown; /* an argument that is none */
	bool always;         /* steps whose users did not ask are prepared, too */
};
void ckpti_plugin_conf(int argc, char *argv[], struct ckpti_plugin_conf *ret);

/* Status of srun and sbatch for errors of their own. */
int ckpti_plugin_exit_error(void);

/* ---- srun.c ----------------------------------------------------------------------------------- */

/* Prefix of everything that the coordinator tells the tasks by the environment. */
#define CKPTI_PLUGIN_ENV "SLURM_CKPT_"

/* Made by sbatch for all lives of a job; not one of those above, which each srun begins anew. */
#define CKPTI_PLUGIN_TOKEN "SLURM_JOB_CKPT_TOKEN"

/* Set by srun when the step must not run: its tasks end before they become the program. */
#define CKPTI_PLUGIN_REFUSED CKPTI_PLUGIN_ENV "REFUSED"

/* Heterogeneous steps are refused here, before there is an allocation. */
void ckpti_srun_options_done(void);
void ckpti_srun_start(spank_t sp, const struct ckpti_plugin_conf *conf);
void ckpti_srun_exit(void);

/* ---- vacated.c -------------------------------------------------------------------------------- */

/* Before srun changes what signals do. */
void ckpti_vacated_note(void);
/* line: "SECONDS CODE TEXT".  Wait to be ended by Slurm, then end. */
void ckpti_vacated_block(const char *line) __attribute__((noreturn));

/* ---- allocator.c ------------------------------------------------------------------------------ */

/* Before sbatch reads its environment. */
void ckpti_allocator_begin(void);
void ckpti_allocator_options_done(spank_t sp);

/* ---- cmdline.c: our own command line ---------------------------------------------------------- */

struct ckpti_cmdline {
	char *text; /* the words, NUL after each */
	char **word;
	int n;
};
/* Of this process; 0 or -errno. */
int ckpti_cmdline_read(struct ckpti_cmdline *ret);
void ckpti_cmdline_free(struct ckpti_cmdline *c);
/* Is word the long option `name` ("--signal"), whole or cut down to no less than min letters? */
bool ckpti_cmdline_is(const char *word, const char *name, size_t min);

/* ---- step.c ----------------------------------------------------------------------------------- */

void ckpti_step_begin(spank_t sp);
void ckpti_step_task_exit(spank_t sp);
/* Of the page (page.h), inherited by the tasks; -1: this step is not prepared. */
int ckpti_step_page_fd(void);
/* A step of srun: not the batch script, not an external one, not an interactive one. */
bool ckpti_step_is_ordinary(spank_t sp);

/* ---- batch.c ---------------------------------------------------------------------------------- */

/* What `cpr run` executes instead of its command, see cpr(1). */
#define CKPTI_PLUGIN_LAUNCHER "CKPT_LAUNCHER"

/* A batch script, in its process; nothing for all others. */
void ckpti_batch_begin(spank_t sp, const struct ckpti_plugin_conf *conf);

/* ---- preload.c -------------------------------------------------------------------------------- */

#define CKPTI_PLUGIN_LIBRARY "libckpt.so.0"
/* Why lib, a path, cannot be preloaded; NULL: it can. */
const char *ckpti_preload_obstacle(const char *lib);

/* ---- task.c, restore.c ------------------------------------------------------------------------ */

/* May not return: the task is restored, or has ended already. */
void ckpti_task_begin(spank_t sp, const struct ckpti_plugin_conf *conf);

struct ckpti_slot;
struct ckpti_restore {
	const struct ckpti_plugin_conf *conf;
	const char *manifest; /* SLURM_CKPT_RESTORE */
	const char *pids;     /* SLURM_CKPT_PIDS */
	uint32_t epoch;       /* of this life */
	uint32_t rank;
	const struct ckpti_page *page;
	struct ckpti_slot *slot; /* in it */
};
/* Become what the rank was in a generation.  Never returns. */
void ckpti_restore_become(spank_t sp, const struct ckpti_restore *re) __attribute__((noreturn));
/* Fill in the slot of this task; the state is written last. */
void ckpti_task_set_slot(struct ckpti_slot *slot, uint32_t rank, uint32_t state,
			 const char *reason);

#endif
