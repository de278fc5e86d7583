/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `scontrol checkpoint restart`.  A job that Slurm still knows is requeued, or let go when it
 * is held: its steps find their generations by themselves.  One that it has forgotten is
 * submitted again from the script that the coordinator has saved beside the generations; that
 * is a new job with a new number.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spank/lib/fs.h"
#include "spank/lib/registry.h"
#include "spank/lib/step.h"
#include "spank/scontrol/job.h"
#include "spank/scontrol/say.h"

#define COMMAND_MS 30000
#define NODES_SIZE 65536

#define WORD(text) ((char *)(uintptr_t)(text))

/* Runs a command of Slurm's; output to ret.  EXIT_SUCCESS, or it has been said. */
static int run(char *const argv[], char *ret, size_t size)
{
	char errors[512] = "";
	struct ckpti_err err = {0};
	int r, status;

	r = ckpti_slurm_run(argv, COMMAND_MS, ret, size, errors, &status, &err);
	if (r < 0)
		return ckpti_say_err(&err);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		errors[strcspn(errors, "\n")] = '\0';
		return ckpti_say_error(NULL, "%s: %s", argv[0],
				       errors[0] ? errors : "it failed and said nothing");
	}
	ret[strcspn(ret, "\n")] = '\0';
	return EXIT_SUCCESS;
}

/* ---- StickToNodes ------------------------------------------------------------------------- */

struct nodes {
	char *list;
	size_t size;
};

static int add_hosts(void *arg, uint32_t job, const char *step, const struct ckpti_kv *kv)
{
	struct nodes *nodes = arg;
	struct ckpti_manifest m;
	struct ckpti_step st;
	size_t used = 0;
	unsigned skipped;
	int n;

	(void)job;
	(void)step;
	if (ckpti_step_open(ckpti_kv_get(kv, "dir", ""), &st, NULL) < 0)
		return 0;
	if (ckpti_step_load(&st, 0, &m, &skipped, NULL) == 0) {
		/* Slurm takes a node that is named twice for one. */
		for (uint32_t i = 0; i < m.ntasks && m.task; i++) {
			n = snprintf(nodes->list + used, nodes->size - used, "%s%s",
				     used ? "," : "", m.task[i].host);
			if (n < 0 || (size_t)n >= nodes->size - used)
				break;
			used += (size_t)n;
		}
		ckpti_manifest_free(&m);
	}
	ckpti_step_close(&st);
	return used > 0;
}

/* Where the job ran: Slurm's record until it is requeued, later the newest generation. */
static int find_nodes(const struct ckpti_slurm_job *job, char *ret, size_t size)
{
	char number[16];
	char *const argv[] = {WORD("squeue"),
			      WORD("--noheader"),
			      WORD("--states=all"),
			      WORD("-o"),
			      WORD("%N"),
			      WORD("-j"),
			      number,
			      NULL};
	struct nodes nodes = {ret, size};
	struct ckpti_slurm_conf conf;
	struct ckpti_err err = {0};

	(void)snprintf(number, sizeof(number), "%u", job->job);
	if (run(argv, ret, size) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	if (*ret)
		return EXIT_SUCCESS;
	if (ckpti_slurm_conf(&conf, &err) < 0)
		return ckpti_say_err(&err);
	(void)ckpti_registry_each(conf.cluster, job->job, add_hosts, &nodes);
	if (*ret)
		return EXIT_SUCCESS;
	return ckpti_say_error(NULL,
			       "StickToNodes: it is not known where job %u ran; "
			       "`scontrol update JobId=%u ReqNodeList=…` sets the nodes",
			       job->job, job->job);
}

static int set_nodes(const struct ckpti_slurm_job *job, const char *nodes)
{
	char number[32], list[NODES_SIZE + 16], output[256];
	char *const argv[] = {WORD("scontrol"), WORD("update"), number, list, NULL};

	(void)snprintf(number, sizeof(number), "JobId=%u", job->job);
	(void)snprintf(list, sizeof(list), "ReqNodeList=%s", nodes);
	return run(argv, output, sizeof(output));
}

/* ---- a job that Slurm knows --------------------------------------------------------------- */

static int release(const struct ckpti_slurm_job *job)
{
	char number[16], output[256];
	char *const argv[] = {WORD("scontrol"), WORD("release"), number, NULL};

	(void)snprintf(number, sizeof(number), "%u", job->job);
	return run(argv, output, sizeof(output));
}

static int requeue(const struct ckpti_slurm_job *job, bool hold)
{
	struct ckpti_err err = {0};

	return ckpti_slurm_requeue(job->job, hold, &err) < 0 ? ckpti_say_err(&err) : EXIT_SUCCESS;
}

static bool is_held(const struct ckpti_slurm_job *job)
{
	return strcmp(job->state, "REQUEUE_HOLD") == 0 || strcmp(job->state, "SPECIAL_EXIT") == 0 ||
	       strncasecmp(job->reason, "JobHeld", 7) == 0 ||
	       strncasecmp(job->reason, "job_requeued_in_held_state", 26) == 0;
}

int ckpti_restart_known(const struct ckpti_request *q, const struct ckpti_slurm_job *job)
{
	enum ckpti_job_phase phase = ckpti_job_phase(job);
	char nodes[NODES_SIZE] = "";
	int status = EXIT_SUCCESS;
	bool held = is_held(job);

	if (phase != CKPTI_JOB_PENDING && phase != CKPTI_JOB_DONE)
		return ckpti_say_error("ESLURM_JOB_NOT_FINISHED",
				       q->has_step ? "a step of a running job is restarted by "
						     "`srun --restart-dir=DIR` in it"
						   : NULL);
	if (!job->batch)
		return ckpti_say_error("ESLURM_NOT_SUPPORTED",
				       "job %u is no batch job; `srun --restart-dir=DIR` "
				       "restarts its steps",
				       job->job);
	if (q->image_dir[0])
		return ckpti_say_error("ESLURM_NOT_SUPPORTED",
				       "job %u restarts from its own directory; for another one "
				       "`sbatch --restart-dir=%s`",
				       job->job, q->image_dir);
	if (phase == CKPTI_JOB_PENDING && !held && !q->stick)
		return ckpti_say_error("ESLURM_JOB_NOT_FINISHED",
				       "job %u is pending and restarts by itself", job->job);
	if (q->stick)
		status = find_nodes(job, nodes, sizeof(nodes));
	/* Held until the nodes are set: it could start before. */
	if (status == EXIT_SUCCESS && phase == CKPTI_JOB_DONE) {
		held = q->stick;
		status = requeue(job, held);
	}
	if (status == EXIT_SUCCESS && q->stick)
		status = set_nodes(job, nodes);
	if (held && (status == EXIT_SUCCESS || phase == CKPTI_JOB_DONE) &&
	    release(job) != EXIT_SUCCESS)
		status = EXIT_FAILURE;
	return status;
}

/* ---- a job that it has forgotten ---------------------------------------------------------- */

struct script {
	const char *job;
	char dir[PATH_MAX];
	int fd; /* -1: not found */
};

/* Is the script in dir, or in the directory above it?  It stays open: what was looked at is what is submitted. */
static bool find_script(struct script *s, const char *dir)
{
	char name[64], *slash;
	off_t size;
	int dirfd;

	(void)snprintf(name, sizeof(name), "%s.script", s->job);
	(void)snprintf(s->dir, sizeof(s->dir), "%s", dir);
	for (int up = 0; up < 2 && s->dir[0]; up++) {
		dirfd = ckpti_fs_open_path(s->dir, false);
		if (dirfd >= 0) {
			s->fd = ckpti_fs_open_file(dirfd, name, &size);
			close(dirfd);
			if (s->fd >= 0)
				return true;
		}
		slash = strrchr(s->dir, '/');
		if (slash)
			*slash = '\0';
	}
	return false;
}

static int try_entry(void *arg, uint32_t job, const char *step, const struct ckpti_kv *kv)
{
	(void)job;
	(void)step;
	return find_script(arg, ckpti_kv_get(kv, "dir", ""));
}

int ckpti_restart_forgotten(const struct ckpti_request *q)
{
	char dir[PATH_MAX + 32];
	char *const argv[] = {WORD("sbatch"), dir, NULL};
	struct script script = {.job = q->job, .fd = -1};
	struct ckpti_slurm_conf conf;
	struct ckpti_err err = {0};

	if (q->image_dir[0])
		(void)find_script(&script, q->image_dir);
	else if (ckpti_slurm_conf(&conf, &err) < 0)
		return ckpti_say_err(&err);
	else
		(void)ckpti_registry_each(conf.cluster, (uint32_t)strtoul(q->job, NULL, 10),
					  try_entry, &script);
	if (script.fd < 0)
		return ckpti_say_error(
			"ESLURM_INVALID_JOB_ID",
			"Slurm has forgotten job %s, and there is no %s.script in %s; "
			"`srun --restart-dir=DIR` restarts a step",
			q->job, q->job,
			q->image_dir[0] ? q->image_dir : "a known directory (ImageDir=DIR)");
	(void)snprintf(dir, sizeof(dir), "--restart-dir=%s", script.dir);
	/* sbatch reads it from its standard input, and a name could lead elsewhere by now. */
	if (dup2(script.fd, STDIN_FILENO) < 0)
		return ckpti_say_error(NULL, "cannot hand over the script: %s",
				       strerrordesc_np(errno));
	/* In our place: with the user's own environment, which goes into the job. */
	(void)fflush(NULL);
	(void)execvp(argv[0], argv);
	return ckpti_say_error(NULL, "cannot execute sbatch: %s", strerrordesc_np(errno));
}
