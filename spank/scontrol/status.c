/* SPDX-License-Identifier: BSD-3-Clause */
/* `scontrol checkpoint status`: for people, so what a coordinator tells is shown as it is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spank/lib/registry.h"
#include "spank/scontrol/job.h"
#include "spank/scontrol/say.h"
#include "spank/scontrol/talk.h"

void ckpti_status_print(uint32_t job, const char *step, const struct ckpti_kv *result)
{
	const char *text = ckpti_kv_get(result, "text", "");

	ckpti_say_line(stdout, "%u.%s: %s", job, step, text);
	for (size_t i = 0; i < result->n; i++) {
		if (strcmp(result->pair[i].key, "rc") != 0 &&
		    strcmp(result->pair[i].key, "text") != 0)
			ckpti_say_line(stdout, "  %s=%s", result->pair[i].key,
				       result->pair[i].value);
	}
}

struct entries {
	struct entry {
		uint32_t job;
		char step[16];
		char dir[PATH_MAX];
	} * entry;
	size_t n;
};

static int add_entry(void *arg, uint32_t job, const char *step, const struct ckpti_kv *kv)
{
	struct entries *e = arg;
	struct entry *entry = realloc(e->entry, (e->n + 1) * sizeof(*entry));

	if (!entry)
		return -ENOMEM;
	e->entry = entry;
	entry += e->n++;
	entry->job = job;
	(void)snprintf(entry->step, sizeof(entry->step), "%s", step);
	(void)snprintf(entry->dir, sizeof(entry->dir), "%s", ckpti_kv_get(kv, "dir", ""));
	return 0;
}

static int one(const struct entry *entry, unsigned max_wait)
{
	struct ckpti_request q = {.verb = CKPTI_REQ_STATUS, .max_wait = max_wait};
	char id[64], last[PATH_MAX + 512];
	struct ckpti_slurm_job job;
	struct ckpti_err err = {0};
	int r;

	(void)snprintf(id, sizeof(id), "%u.%s", entry->job, entry->step);
	if (ckpti_request_parse_id(id, &q) < 0)
		return EXIT_SUCCESS; /* no name of ours */
	r = ckpti_slurm_job(q.job, &job, &err);
	if (r < 0 && r != -ENOENT)
		return ckpti_say_err(&err);
	if (r == 0 && ckpti_job_phase(&job) == CKPTI_JOB_RUNNING)
		return ckpti_job_request(&q, &job);
	/* Its coordinator could not tidy up. */
	ckpti_talk_last_good(entry->dir, last, sizeof(last));
	ckpti_say_line(stdout, "%s: %s; %s", id, r == 0 ? job.state : "ended", last);
	return EXIT_SUCCESS;
}

int ckpti_status_all(const struct ckpti_request *q)
{
	struct ckpti_slurm_conf conf;
	struct ckpti_err err = {0};
	struct entries e = {0};
	int status = EXIT_SUCCESS;

	if (ckpti_slurm_conf(&conf, &err) < 0)
		return ckpti_say_err(&err);
	(void)ckpti_registry_each(conf.cluster, 0, add_entry, &e);
	for (size_t i = 0; i < e.n; i++) {
		if (one(&e.entry[i], q->max_wait) != EXIT_SUCCESS)
			status = EXIT_FAILURE;
	}
	if (e.n == 0)
		ckpti_say_plain("no step of yours runs with checkpoints");
	free(e.entry);
	return status;
}
