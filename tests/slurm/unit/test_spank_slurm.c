/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What scontrol says, against output that was captured from Slurm 22.05 (data/, with names that are
 * meant to mislead), and running it, with a script in its place.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "spank/lib/slurm_private.h"

/* ---- reading ------------------------------------------------------------------------------ */

static char *load(const char *name)
{
	char path[512], *text = calloc(1, 1U << 20);
	FILE *f;

	(void)snprintf(path, sizeof(path), DATA_DIR "/%s", name);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(text);
	assert_true(fread(text, 1, (1U << 20) - 1, f) > 0);
	(void)fclose(f);
	return text;
}

static int parse_job(const char *file, uint32_t want, struct ckpti_slurm_job *ret)
{
	char *text = load(file);
	int r = ckpti_slurm_parse_job(text, want, ret);

	free(text);
	return r;
}

static void test_slurm_job_with_misleading_names(void **state)
{
	struct ckpti_slurm_job job;

	(void)state;
	assert_int_equal(parse_job("job-names.txt", 10, &job), 0);
	assert_int_equal(job.job, 10);
	assert_int_equal(job.uid, 2001);
	assert_string_equal(job.user, "alice");
	assert_string_equal(job.name, "plain name=a UserId=root(0)");
	assert_string_equal(job.state, "RUNNING");
	assert_string_equal(job.reason, "None");
	assert_string_equal(job.partition, "low");
	assert_int_equal(job.submit_time, 1795514681); /* date -u -d 2026-11-24T10:04:41 +%s */
	assert_int_equal(job.start_time, 1795514681);
	assert_int_equal(job.end_time, 0);
	assert_int_equal(job.preempt_time, 0);
	assert_int_equal(job.restarts, 0);
	assert_true(job.requeue);
	assert_true(job.batch);
	assert_int_equal(job.array_job, 0);
	assert_true(job.array_task == UINT32_MAX);
	assert_int_equal(job.het_job, 0);
	assert_string_equal(job.batch_host, "n1");
	assert_string_equal(job.work_dir, "/srv/scratch/my dir=x UserId=root(0)");
	assert_string_equal(job.command,
			    "/srv/scratch/my dir=x UserId=root(0)/j b.sh arg one Reason=zzz");
	assert_int_equal(parse_job("job-names.txt", 11, &job), -ENOENT);
}

static void test_slurm_job_of_an_array_and_a_hetjob(void **state)
{
	struct ckpti_slurm_job job;

	(void)state;
	assert_int_equal(parse_job("job-array.txt", 13, &job), 0);
	assert_int_equal(job.job, 13);
	assert_int_equal(job.array_job, 9);
	assert_int_equal(job.array_task, 3);
	assert_int_equal(parse_job("job-array.txt", 9, &job), 0);
	assert_int_equal(job.array_task, 4);
	assert_int_equal(parse_job("job-het.txt", 12, &job), 0);
	assert_int_equal(job.het_job, 11);
	/* Two records and no word about which. */
	assert_int_equal(parse_job("job-het.txt", 0, &job), -EBADMSG);
}

/* A job name with a newline writes a line of its own. */
static void test_slurm_job_with_forged_lines_is_refused(void **state)
{
	static const char forged[] = "JobId=4 JobName=a\n\nJobId=4 JobName=b\n   UserId=root(0) "
				     "GroupId=root(0)\n";
	char *text = load("job-names.txt"), *all;
	struct ckpti_slurm_job job;

	(void)state;
	assert_int_equal(parse_job("job-newline.txt", 14, &job), -EBADMSG);
	/* A whole record in front of what follows the true first line. */
	all = calloc(1, 1U << 20);
	assert_non_null(all);
	(void)strcpy(all, forged);
	(void)strcat(all, strchr(text, '\n') + 1);
	assert_int_equal(ckpti_slurm_parse_job(all, 4, &job), -EBADMSG);
	free(all);
	free(text);
}

static void test_slurm_job_cut_off_anywhere_is_refused(void **state)
{
	char *text = load("job-names.txt"), *copy;
	size_t enough = (size_t)(strstr(text, " EndTime") - text);
	struct ckpti_slurm_job job;

	(void)state;
	for (size_t len = 0; len < enough; len += 7) {
		copy = strndup(text, len);
		assert_true(ckpti_slurm_parse_job(copy, 10, &job) < 0 ||
			    strstr(text, "StartTime") < text + len);
		free(copy);
	}
	free(text);
}

static void test_slurm_steps(void **state)
{
	struct ckpti_slurm_step *step;
	char *text = load("steps.txt");
	size_t n;

	(void)state;
	assert_int_equal(ckpti_slurm_parse_steps(text, "10", &step, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(step[0].step, 0);
	assert_string_equal(step[0].name, "sleep");
	assert_string_equal(step[0].srun_host, "n1");
	assert_int_equal(step[0].srun_pid, 480);
	assert_string_equal(step[0].state, "RUNNING");
	assert_int_equal(step[1].step, 1);
	assert_string_equal(step[1].name, "step = x y");
	free(step);
	free(text);
	text = load("steps-array.txt");
	assert_int_equal(ckpti_slurm_parse_steps(text, "9_3", &step, &n), 0);
	assert_int_equal(n, 1);
	assert_string_equal(step[0].name, "Name=q Network=z State=BAD");
	assert_string_equal(step[0].state, "RUNNING");
	assert_int_equal(step[0].srun_pid, 627);
	free(step);
	free(text);
	text = load("steps-array.txt");
	assert_int_equal(ckpti_slurm_parse_steps(text, "9", &step, &n), 0);
	assert_int_equal(n, 0);
	free(step);
	free(text);
}

static void test_slurm_conf(void **state)
{
	char *text = load("config.txt"), none[] = "SrunPortRange           = (null)\n";
	char elsewhere[] =
		"PlugStackConfig = /opt/stack.conf\nSLURM_CONF = /etc/slurm/slurm.conf\n";
	struct ckpti_slurm_conf conf;

	(void)state;
	ckpti_slurm_parse_conf(text, &conf);
	assert_string_equal(conf.cluster, "ckpt");
	assert_int_equal(conf.port_low, 60001);
	assert_int_equal(conf.port_high, 63000);
	assert_int_equal(conf.kill_wait, 3);
	assert_string_equal(conf.plugstack, "/etc/slurm/plugstack.conf");
	ckpti_slurm_parse_conf(elsewhere, &conf);
	assert_string_equal(conf.plugstack, "/opt/stack.conf");
	ckpti_slurm_parse_conf(none, &conf);
	assert_string_equal(conf.plugstack, "");
	assert_int_equal(conf.port_low, 0);
	assert_int_equal(conf.port_high, 0);
	free(text);
}

/* ---- running ------------------------------------------------------------------------------ */

static char root[64];

static int setup(void **state)
{
	(void)state;
	(void)snprintf(root, sizeof(root), "/tmp/ckpt-slurm-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[96];

	(void)state;
	(void)setenv("PATH", "/usr/bin:/bin", 1);
	(void)snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

static void script(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", root, dir);
	(void)mkdir(path, 0700);
	(void)snprintf(path, sizeof(path), "%s/%s/%s", root, dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	(void)fprintf(f, "#!/bin/sh\n%s\n", text);
	(void)fclose(f);
	assert_int_equal(chmod(path, 0700), 0);
}

static void set_path(const char *fmt)
{
	char path[512] = "";

	/* '@' stands for the scratch directory. */
	for (size_t n = 0; *fmt; fmt++) {
		if (*fmt == '@')
			n += (size_t)sprintf(path + n, "%s", root);
		else
			path[n++] = *fmt;
	}
	(void)setenv("PATH", path, 1);
}

static int run(const char *command, int timeout_ms, char *out, char *log, int *status,
	       struct ckpti_err *err)
{
	char text[512];
	char *argv[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, text, NULL};

	(void)snprintf(text, sizeof(text), "%s", command);
	*err = (struct ckpti_err){0};
	return ckpti_slurm_run(argv, timeout_ms, out, 16, log, status, err);
}

static void test_slurm_run_collects_output_within_its_time(void **state)
{
	struct timespec a, b;
	struct ckpti_err err;
	char out[16], log[512];
	int status;

	(void)state;
	set_path("/usr/bin:/bin");
	assert_int_equal(run("echo out; echo err >&2; exit 3", 5000, out, log, &status, &err), 0);
	assert_string_equal(out, "out\n");
	assert_string_equal(log, "err\n");
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	/* More than fits, and nobody is told of stderr. */
	assert_int_equal(run("seq 100000; seq 100000 >&2", 5000, out, NULL, &status, &err), 0);
	assert_string_equal(out, "1\n2\n3\n4\n5\n6\n7\n8");
	assert_int_equal(status, 0);
	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	assert_int_equal(run("sleep 20", 200, out, log, &status, &err), -ETIMEDOUT);
	assert_int_equal(run("exec >&- 2>&-; sleep 20", 200, out, log, &status, &err), -ETIMEDOUT);
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	assert_true(b.tv_sec - a.tv_sec < 5);
	assert_non_null(strstr(err.text, "'/bin/sh -c' has not answered"));
	assert_int_equal(waitpid(-1, &status, WNOHANG), -1); /* no child is left */
	/* No descriptor, no ignored signal is handed on. */
	(void)signal(SIGINT, SIG_IGN);
	assert_int_equal(dup2(1, 77), 77);
	assert_int_equal(run("test ! -e /proc/self/fd/77 && kill -INT $$", 5000, out, log, &status,
			     &err),
			 0);
	(void)signal(SIGINT, SIG_DFL);
	close(77);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}

static void test_slurm_real_scontrol_passes_over_ours(void **state)
{
	struct ckpti_err err = {0};
	char path[PATH_MAX], want[128];

	(void)state;
	script("libexec", "ckpt-coordinator", "");
	script("libexec/front", "scontrol", "");
	script("slurm", "scontrol", "");
	set_path("relative:@/nothing:@/libexec/front:@/slurm:/usr/bin");
	assert_int_equal(ckpti_slurm_real_scontrol(path, &err), 0);
	(void)snprintf(want, sizeof(want), "%s/slurm/scontrol", root);
	assert_string_equal(path, want);
	set_path("@/libexec/front");
	assert_int_equal(ckpti_slurm_real_scontrol(path, &err), -ENOENT);
	assert_string_equal(err.text, "Slurm's scontrol is not in PATH");
}

static void test_slurm_questions_are_put_to_scontrol(void **state)
{
	struct ckpti_slurm_job job;
	struct ckpti_slurm_step *step;
	struct ckpti_err err = {0};
	size_t n;

	(void)state;
	script("slurm", "scontrol",
	       "test \"$TZ$SLURM_TIME_FORMAT\" = UTC0standard || exit 9\n"
	       "case \"$*\" in\n"
	       "'show job 10') exec /bin/cat " DATA_DIR "/job-names.txt;;\n"
	       "'show job 9_3') exec /bin/sed -n '/^JobId=13/,$p' " DATA_DIR "/job-array.txt;;\n"
	       "'show job 9'|'show job 13') exec /bin/cat " DATA_DIR "/job-array.txt;;\n"
	       "'show step 9') exec /bin/cat " DATA_DIR "/steps-array.txt;;\n"
	       "'show step 10') echo 'Job step 10. not found'; exit 1;;\n"
	       "'requeue 10') exit 0;;\n"
	       "'requeuehold 10') echo 'Access/permission denied' >&2; exit 1;;\n"
	       "'update JobId=10 Comment=a b=c d') exit 0;;\n"
	       "esac\n"
	       "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
	set_path("@/slurm");
	(void)setenv("SLURM_TIME_FORMAT", "relative", 1);
	assert_int_equal(ckpti_slurm_job("10", &job, &err), 0);
	assert_int_equal(job.submit_time, 1795514681);
	assert_int_equal(ckpti_slurm_job("9_3", &job, &err), 0);
	assert_int_equal(job.job, 13);
	assert_int_equal(ckpti_slurm_steps(9, &step, &n, &err), 0);
	assert_int_equal(n, 1); /* of the last task alone */
	assert_int_equal(step[0].job, 9);
	assert_int_equal(step[0].srun_pid, 626);
	free(step);
	assert_int_equal(ckpti_slurm_steps(10, &step, &n, &err), 0);
	assert_int_equal(n, 0);
	assert_null(step);
	assert_int_equal(ckpti_slurm_requeue(10, false, &err), 0);
	assert_int_equal(ckpti_slurm_comment(10, "a b=c\nd", &err), 0);
	assert_int_equal(err.code, 0);
	assert_int_equal(ckpti_slurm_requeue(10, true, &err), -EIO);
	assert_string_equal(err.text, "scontrol requeuehold: Access/permission denied");
	err = (struct ckpti_err){0};
	assert_int_equal(ckpti_slurm_job("99", &job, &err), -ENOENT);
	assert_string_equal(err.text, "Slurm does not know job 99");
	assert_int_equal(ckpti_slurm_steps(99, &step, &n, NULL), -ENOENT);
	err = (struct ckpti_err){0};
	assert_int_equal(ckpti_slurm_job("10; reboot", &job, &err), -EINVAL);
	assert_string_equal(err.text, "'10; reboot' is no job id");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slurm_job_with_misleading_names),
		cmocka_unit_test(test_slurm_job_of_an_array_and_a_hetjob),
		cmocka_unit_test(test_slurm_job_with_forged_lines_is_refused),
		cmocka_unit_test(test_slurm_job_cut_off_anywhere_is_refused),
		cmocka_unit_test(test_slurm_steps),
		cmocka_unit_test(test_slurm_conf),
		cmocka_unit_test_setup_teardown(test_slurm_run_collects_output_within_its_time,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_slurm_real_scontrol_passes_over_ours, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_slurm_questions_are_put_to_scontrol, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
