/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt-step VERB JOB[.STEP] …, which is also `scontrol checkpoint VERB …` (front.c).  Start
 * reading here.
 *
 * Whose job it is says slurmctld, and nothing else is asked or touched before that is known:
 * others are turned away, and root becomes the owner (owner.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "spank/lib/plugstack.h"
#include "spank/lib/slurm.h"
#include "spank/scontrol/job.h"
#include "spank/scontrol/many.h"
#include "spank/scontrol/owner.h"
#include "spank/scontrol/say.h"

#define MAX_WAIT 300U /* seconds */
#define PARALLEL 8U

/* A standard descriptor that is closed would be taken by the first connection, and messages would
 * then be written into that. */
static int fill_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* NOLINTNEXTLINE(android-cloexec-open): as any standard descriptor */
		if (open("/dev/null", O_RDWR) != fd)
			return -errno;
	}
	return 0;
}

/* Where the plugin is told that the site's file is; without a word of that, where it is by itself. */
static int load_site(struct ckpti_config *ret)
{
	char path[PATH_MAX];
	struct ckpti_slurm_conf conf;

	if (ckpti_slurm_conf(&conf, NULL) < 0 || !conf.plugstack[0] ||
	    ckpti_plugstack_argument(conf.plugstack, "spank_ckpt.so", "config", path,
				     sizeof(path)) < 0)
		(void)snprintf(path, sizeof(path), "%s", ckpti_config_site_path);
	return ckpti_config_load(path, NULL, ret, NULL);
}

/* What the command line leaves open.  The coordinator says it when the site's file is not right, and knows
 * how long it waits: its user may have a setting of his own, by which root is not bound. */
static void fill_in(struct ckpti_request *q)
{
	struct ckpti_config config;

	/* Others wait as long as the coordinator says, and for one job at a time. */
	if (geteuid() != 0 || (q->max_wait && q->parallel))
		return;
	if (load_site(&config) < 0) {
		q->max_wait = q->max_wait ? q->max_wait : MAX_WAIT;
		q->parallel = q->parallel ? q->parallel : PARALLEL;
		return;
	}
	if (!q->max_wait)
		q->max_wait = (unsigned)config.max_wait;
	if (!q->parallel)
		q->parallel = config.parallel;
	ckpti_config_free(&config);
}

static int one_job(const struct ckpti_request *q)
{
	struct ckpti_slurm_job job;
	struct ckpti_err err = {0};
	int r;

	r = ckpti_slurm_job(q->job, &job, &err);
	/* Root would have to believe a path that he is given. */
	if (r == -ENOENT && q->verb == CKPTI_REQ_RESTART && geteuid() != 0)
		return ckpti_restart_forgotten(q);
	if (r == -ENOENT)
		return ckpti_say_error(
			"ESLURM_INVALID_JOB_ID",
			q->verb == CKPTI_REQ_RESTART
				? "Slurm has forgotten the job; its owner restarts it"
				: NULL);
	if (r < 0)
		return ckpti_say_err(&err);
	if (geteuid() != 0 && geteuid() != job.uid)
		return ckpti_say_error("ESLURM_ACCESS_DENIED", NULL);
	if (job.het_job)
		return ckpti_say_error("ESLURM_NOT_SUPPORTED",
				       "heterogeneous jobs are not checkpointed");
	return geteuid() == 0 ? ckpti_owner_request(q, &job) : ckpti_job_request(q, &job);
}

int main(int argc, char **argv)
{
	struct ckpti_request q;
	int status;

	/* It obeys its environment: never with somebody else's rights. */
	if (geteuid() != getuid() || getegid() != getgid()) {
		(void)fprintf(stderr, "scontrol checkpoint: must not be installed set-user-ID or "
				      "set-group-ID\n");
		return EXIT_FAILURE;
	}
	if (fill_standard_fds() < 0)
		return EXIT_FAILURE;
	status = ckpti_request_parse(argc, argv, &q);
	if (status != 0)
		return status - 1;
	if (q.verb == CKPTI_REQ_SHOW || q.verb == CKPTI_REQ_CHECK) {
		status = ckpti_show(&q);
		return fflush(stdout) == 0 ? status : EXIT_FAILURE;
	}
	fill_in(&q);
	if (q.job[0])
		status = one_job(&q);
	else if (!q.nodes && !q.partition && !q.reservation)
		status = ckpti_status_all(&q);
	else if (geteuid() != 0)
		status = ckpti_say_error("ESLURM_ACCESS_DENIED",
					 "only root asks for the jobs of others");
	else
		status = ckpti_many_request(&q);
	if (fflush(stdout) != 0 && status == EXIT_SUCCESS)
		status = ckpti_say_error(NULL, "writing the output: %s", strerrordesc_np(errno));
	return status;
}
