/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Before a maintenance: many jobs, N at once, so that the file system has to take no more than
 * that.  Which jobs these are is asked once, at the beginning.
 */
#include "spank/scontrol/many.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "spank/scontrol/owner.h"
#include "spank/scontrol/say.h"

#define SQUEUE_MS   60000
#define OUTPUT_SIZE (4U << 20)

/* A line for each job; malloc()ed. */
static int select_jobs(const struct ckpti_request *q, char **ret)
{
	const char *option = q->nodes       ? "--nodelist"
			     : q->partition ? "--partition"
					    : "--reservation";
	const char *value = q->nodes ? q->nodes : q->partition ? q->partition : q->reservation;
	char *which = NULL, *output = malloc(OUTPUT_SIZE), errors[512] = "";
	int r, status = 0, result = EXIT_FAILURE;
	struct ckpti_err err = {0};

	if (!output || asprintf(&which, "%s=%s", option, value) < 0) {
		free(output);
		return ckpti_say_error(NULL, "no memory");
	}
	char *const argv[] = {(char *)(uintptr_t) "squeue",
			      (char *)(uintptr_t) "--noheader",
			      (char *)(uintptr_t) "--all",
			      (char *)(uintptr_t) "--states=RUNNING",
			      (char *)(uintptr_t) "--format=%A",
			      which,
			      NULL};
	r = ckpti_slurm_run(argv, SQUEUE_MS, output, OUTPUT_SIZE, errors, &status, &err);
	errors[strcspn(errors, "\n")] = '\0';
	if (r < 0)
		(void)ckpti_say_err(&err);
	else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		(void)ckpti_say_error(NULL, "squeue: %s", errors);
	else if (strlen(output) == OUTPUT_SIZE - 1)
		(void)ckpti_say_error(NULL, "too many jobs in %s", which);
	else
		result = EXIT_SUCCESS;
	free(which);
	if (result != EXIT_SUCCESS) {
		free(output);
		output = NULL;
	}
	*ret = output;
	return result;
}

int ckpti_many_request(const struct ckpti_request *q)
{
	struct ckpti_owner_pool *pool;
	struct ckpti_slurm_job job;
	unsigned failed = 0, n = 0;
	struct ckpti_err err;
	char *list = NULL, *save = NULL;

	if (select_jobs(q, &list) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	pool = ckpti_owner_pool_new(q->parallel, true);
	if (!pool) {
		free(list);
		return ckpti_say_error(NULL, "no memory");
	}
	for (char *id = strtok_r(list, " \n", &save); id; id = strtok_r(NULL, " \n", &save)) {
		err = (struct ckpti_err){0};
		n++;
		if (ckpti_slurm_job(id, &job, &err) == 0) {
			ckpti_owner_pool_add(pool, q, &job);
		} else {
			ckpti_say_plain("job %s: %s", id, err.text);
			failed++;
		}
	}
	free(list);
	failed += ckpti_owner_pool_end(pool);
	if (!ckpti_say_quiet)
		ckpti_say_line(stdout, "%s: %u jobs, %u done, %u failed",
			       ckpti_request_verb(q->verb), n, n - failed, failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
