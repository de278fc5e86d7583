/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What Slurm calls, and nothing else: each callback goes to the file of its context.  See plugin.h.
 *
 * Slurm 22.05 calls some of them twice; all may be.
 */
#include <slurm/spank.h>

#include "spank/plugin/options.h"
#include "spank/plugin/plugin.h"

SPANK_PLUGIN(spank_ckpt, 1)

int slurm_spank_init(spank_t sp, int argc, char *argv[])
{
	spank_context_t context = spank_context();

	(void)argc;
	(void)argv;
	if (context == S_CTX_ALLOCATOR)
		ckpti_allocator_begin();
	/* In slurmstepd, too: it complains about options that it does not know. */
	if (context == S_CTX_LOCAL || context == S_CTX_ALLOCATOR || context == S_CTX_REMOTE)
		ckpti_options_register(sp);
	return 0;
}

int slurm_spank_init_post_opt(spank_t sp, int argc, char *argv[])
{
	spank_context_t context = spank_context();

	(void)argc;
	(void)argv;
	if (context == S_CTX_LOCAL)
		ckpti_srun_options_done();
	else if (context == S_CTX_ALLOCATOR)
		ckpti_allocator_options_done(sp);
	else if (context == S_CTX_REMOTE)
		ckpti_step_begin(sp);
	return 0;
}

int slurm_spank_local_user_init(spank_t sp, int argc, char *argv[])
{
	struct ckpti_plugin_conf conf;

	ckpti_plugin_conf(argc, argv, &conf);
	ckpti_srun_start(sp, &conf);
	return 0;
}

int slurm_spank_task_init(spank_t sp, int argc, char *argv[])
{
	struct ckpti_plugin_conf conf;

	ckpti_plugin_conf(argc, argv, &conf);
	ckpti_task_begin(sp, &conf);
	return 0;
}

int slurm_spank_task_exit(spank_t sp, int argc, char *argv[])
{
	(void)argc;
	(void)argv;
	ckpti_step_task_exit(sp);
	return 0;
}

int slurm_spank_exit(spank_t sp, int argc, char *argv[])
{
	(void)sp;
	(void)argc;
	(void)argv;
	if (spank_context() == S_CTX_LOCAL)
		ckpti_srun_exit();
	return 0;
}
