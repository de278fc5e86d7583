/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading what scontrol says.  Its form with one group of fields per line is used: there a value
 * with spaces is always the last of its line, so that names like "a UserId=root(0)" mean nothing.
 * Names may even hold newlines, with which a user could write whole lines: a record in which a line
 * of interest comes twice is refused, because the uid of the job is relied on.
 */
#include "spank/lib/slurm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "spank/lib/slurm_private.h"

#define TIMEOUT_MS 20000 /* slurmctld may be busy; its own time limits are of this size */
#define MAX_OUTPUT (4U << 20)

/* ---- lines and fields --------------------------------------------------------------------- */

/* The next line of *p, without the spaces before it; NULL at the end.  Changes the text. */
static char *next_line(char **p, bool *ret_indented)
{
	char *line = *p, *end;

	if (!*line)
		return NULL;
	end = strchrnul(line, '\n');
	*p = *end ? end + 1 : end;
	*end = '\0';
	*ret_indented = *line == ' ';
	return line + strspn(line, " ");
}

static bool begins(const char *line, const char *key)
{
	return strncmp(line, key, strlen(key)) == 0;
}

/* The value of " key=" or of a line that begins with it; up to the next space, or all when
 * `rest`. */
static bool field(const char *line, const char *key, bool rest, char *ret, size_t size)
{
	size_t len = strlen(key), n;
	const char *p = line;

	while (p && (strncmp(p, key, len) != 0 || p[len] != '=')) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	if (!p)
		return false;
	p += len + 1;
	n = rest ? strlen(p) : strcspn(p, " ");
	(void)snprintf(ret, size, "%.*s", (int)n, p);
	if (strcmp(ret, "(null)") == 0 || strcmp(ret, "N/A") == 0)
		ret[0] = '\0';
	return true;
}

static uint64_t number_field(const char *line, const char *key, uint64_t def)
{
	char text[32];
	char *end;
	uint64_t n;

	if (!field(line, key, false, text, sizeof(text)) || *text < '0' || *text > '9')
		return def;
	n = strtoull(text, &end, 10);
	return *end ? def : n;
}

/* 2026-11-24T09:52:03 in UTC; Unknown, None and the like are 0. */
static int64_t time_field(const char *line, const char *key)
{
	struct tm tm = {0};
	char text[64];
	const char *end;

	if (!field(line, key, false, text, sizeof(text)))
		return 0;
	end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	return end && *end == '\0' ? (int64_t)timegm(&tm) : 0;
}

/* ---- a job -------------------------------------------------------------------------------- */

/* "alice(2001)" */
static bool user_field(const char *line, struct ckpti_slurm_job *job)
{
	char text[128], *open, *end;
	unsigned long uid;

	if (!field(line, "UserId", false, text, sizeof(text)))
		return false;
	open = strrchr(text, '(');
	if (!open || open[1] < '0' || open[1] > '9')
		return false;
	errno = 0;
	uid = strtoul(open + 1, &end, 10);
	if (errno != 0 || uid >= UINT32_MAX || strcmp(end, ")") != 0)
		return false;
	job->uid = (uid_t)uid;
	*open = '\0';
	(void)snprintf(job->user, sizeof(job->user), "%.63s", text);
	return true;
}

static void first_line(char *line, struct ckpti_slurm_job *job)
{
	char *name = strstr(line, " JobName=");

	if (name) {
		(void)field(name + 1, "JobName", true, job->name, sizeof(job->name));
		*name = '\0';
	}
	job->job = (uint32_t)number_field(line, "JobId", 0);
	job->array_job = (uint32_t)number_field(line, "ArrayJobId", 0);
	job->array_task = (uint32_t)number_field(line, "ArrayTaskId", UINT32_MAX);
	job->het_job = (uint32_t)number_field(line, "HetJobId", 0);
}

/* Lines by their first keys.  Each must come at most once in a record, those of NEED_MASK exactly
 * once. */
static const char *const job_lines[] = {
	"UserId=",      "JobState=",  "Requeue=",   "SubmitTime=",
	"StartTime=",   "Partition=", "BatchHost=", "PreemptEligibleTime=",
	"PreemptTime=", "Command=",   "WorkDir="};
#define NEED_MASK 0x1fU

static bool job_line(unsigned which, const char *line, struct ckpti_slurm_job *job)
{
	switch (which) {
	case 0:
		return user_field(line, job);
	case 1:
		(void)field(line, "JobState", false, job->state, sizeof(job->state));
		(void)field(line, "Reason", false, job->reason, sizeof(job->reason));
		break;
	case 2:
		job->requeue = number_field(line, "Requeue", 0) != 0;
		job->restarts = (unsigned)number_field(line, "Restarts", 0);
		job->batch = number_field(line, "BatchFlag", 0) != 0;
		break;
	case 3:
		job->submit_time = time_field(line, "SubmitTime");
		break;
	case 4:
		job->start_time = time_field(line, "StartTime");
		job->end_time = time_field(line, "EndTime");
		break;
	case 5:
		(void)field(line, "Partition", false, job->partition, sizeof(job->partition));
		break;
	case 6:
		(void)field(line, "BatchHost", false, job->batch_host, sizeof(job->batch_host));
		break;
	case 7:
	case 8:
		job->preempt_time = time_field(line, "PreemptTime");
		break;
	case 9:
		(void)field(line, "Command", true, job->command, sizeof(job->command));
		break;
	default:
		(void)field(line, "WorkDir", true, job->work_dir, sizeof(job->work_dir));
		break;
	}
	return true;
}

/* The record that begins with `first`; *p moves to the next one. */
static int job_record(char *first, char **p, struct ckpti_slurm_job *job)
{
	unsigned seen = 0;
	bool indented, good = true;
	char *line;

	*job = (struct ckpti_slurm_job){.array_task = UINT32_MAX};
	first_line(first, job);
	while (**p && !begins(*p, "JobId=")) {
		line = next_line(p, &indented);
		for (unsigned i = 0; i < sizeof(job_lines) / sizeof(job_lines[0]); i++) {
			if (!indented || !begins(line, job_lines[i]))
				continue;
			good = good && !(seen & (1U << i)) && job_line(i, line, job);
			seen |= 1U << i;
		}
	}
	return good && (seen & NEED_MASK) == NEED_MASK ? 0 : -EBADMSG;
}

int ckpti_slurm_parse_job(char *text, uint32_t want, struct ckpti_slurm_job *ret)
{
	struct ckpti_slurm_job job;
	bool indented, found = false;
	char *line;
	int r;

	while ((line = next_line(&text, &indented)) != NULL) {
		if (indented || !begins(line, "JobId="))
			continue;
		r = job_record(line, &text, &job);
		if (want != 0 && job.job != want)
			continue;
		/* Two of the job that was asked for: one of them is not Slurm's. */
		if (r < 0 || found)
			return -EBADMSG;
		*ret = job;
		found = true;
	}
	return found ? 0 : -ENOENT;
}

/* job: for the message, when it is about one.  -ENODATA: no such step, err is not filled. */
static int run_scontrol(char *const argv[], const char *job, char **ret, struct ckpti_err *err)
{
	char *text = malloc(MAX_OUTPUT), log[512] = "";
	int status = 0, r;

	if (!text)
		return ckpti_err(err, -ENOMEM, "no memory");
	r = ckpti_slurm_run(argv, TIMEOUT_MS, text, MAX_OUTPUT, log, &status, err);
	if (r == 0 && status != 0 && strstr(text, " not found")) {
		/* A job that is over, or has not begun, has no steps: scontrol takes that for an
		 * error. */
		r = -ENODATA;
	} else if (r == 0 && status != 0) {
		log[strcspn(log, "\n")] = '\0';
		/* The only error that is not one of the moment. */
		r = job && strstr(log, "Invalid job id") ? -ENOENT : -EIO;
		if (r == -ENOENT)
			(void)ckpti_err(err, r, "Slurm does not know job %s", job);
		(void)ckpti_err(err, r, "scontrol %s: %s", argv[1],
				log[0]                                            ? log
				: WIFEXITED(status) && WEXITSTATUS(status) == 127 ? "cannot be run"
										  : "failed");
	}
	if (r < 0 || !ret)
		free(text);
	else
		*ret = text;
	return r;
}

/* "123" or "123_4" */
static bool is_job_text(const char *text)
{
	size_t n = strspn(text, "0123456789");

	if (n == 0 || n > 10)
		return false;
	if (text[n] != '_')
		return text[n] == '\0';
	text += n + 1;
	n = strspn(text, "0123456789");
	return n > 0 && n <= 10 && text[n] == '\0';
}

int ckpti_slurm_job(const char *text, struct ckpti_slurm_job *ret, struct ckpti_err *err)
{
	char copy[32];
	char *argv[] = {(char[]){"scontrol"}, (char[]){"show"}, (char[]){"job"}, copy, NULL},
	     *output;
	uint32_t want = 0;
	int r;

	if (!is_job_text(text))
		return ckpti_err(err, -EINVAL, "'%s' is no job id", text);
	(void)snprintf(copy, sizeof(copy), "%s", text);
	if (!strchr(text, '_'))
		want = (uint32_t)strtoul(text, NULL, 10);
	r = run_scontrol(argv, text, &output, err);
	if (r == -ENODATA)
		r = ckpti_err(err, -ENOENT, "Slurm does not know job %s", text);
	if (r < 0)
		return r;
	r = ckpti_slurm_parse_job(output, want, ret);
	free(output);
	if (r == -ENOENT)
		return ckpti_err(err, r, "Slurm does not know job %s", text);
	if (r < 0)
		return ckpti_err(err, r, "cannot understand what scontrol says of job %s", text);
	return 0;
}

/* ---- steps -------------------------------------------------------------------------------- */

/* "StepId=1.0 UserId=…", for a task of an array "StepId=9_3.0 …": false for those of other jobs,
 * and for batch, extern and interactive ones. */
static bool step_line(const char *line, const char *job, struct ckpti_slurm_step *step)
{
	char id[64], *dot, *end;

	*step = (struct ckpti_slurm_step){0};
	if (!field(line, "StepId", false, id, sizeof(id)))
		return false;
	dot = strchr(id, '.');
	if (!dot || dot[1] < '0' || dot[1] > '9')
		return false;
	*dot = '\0';
	step->step = (uint32_t)strtoul(dot + 1, &end, 10);
	return strcmp(id, job) == 0 && *end == '\0';
}

static void step_detail(const char *line, struct ckpti_slurm_step *step)
{
	char host[96], *colon, *cut, *network = NULL;
	const char *name;

	if (begins(line, "State=")) {
		(void)field(line, "State", false, step->state, sizeof(step->state));
	} else if (begins(line, "Nodes=")) {
		/* Name=… Network=…: the name is not the last here. */
		name = strstr(line, " Name=");
		if (name)
			(void)field(name + 1, "Name", true, step->name, sizeof(step->name));
		for (cut = step->name; (cut = strstr(cut, " Network=")) != NULL; cut++)
			network = cut;
		if (network)
			*network = '\0';
	} else if (begins(line, "SrunHost:Pid=")) {
		(void)field(line, "SrunHost:Pid", false, host, sizeof(host));
		colon = strrchr(host, ':');
		if (!colon || begins(host, "(null)"))
			return;
		*colon = '\0';
		(void)snprintf(step->srun_host, sizeof(step->srun_host), "%.63s", host);
		step->srun_pid = (int)strtol(colon + 1, NULL, 10);
	}
}

int ckpti_slurm_parse_steps(char *text, const char *job, struct ckpti_slurm_step **ret,
			    size_t *ret_n)
{
	struct ckpti_slurm_step *all = NULL, *more, step;
	bool indented, inside = false;
	size_t n = 0;
	char *line;

	while ((line = next_line(&text, &indented)) != NULL) {
		if (indented) {
			if (inside)
				step_detail(line, &all[n - 1]);
			continue;
		}
		inside = step_line(line, job, &step);
		if (!inside)
			continue;
		more = reallocarray(all, n + 1, sizeof(*more));
		if (!more) {
			free(all);
			return -ENOMEM;
		}
		all = more;
		all[n++] = step;
	}
	*ret = all;
	*ret_n = n;
	return 0;
}

int ckpti_slurm_steps(uint32_t job, struct ckpti_slurm_step **ret, size_t *ret_n,
		      struct ckpti_err *err)
{
	char number[16], as_array[32];
	char *argv[] = {(char[]){"scontrol"}, (char[]){"show"}, (char[]){"step"}, number, NULL},
	     *text;
	struct ckpti_slurm_job info;
	const char *name = number;
	int r;

	*ret = NULL;
	*ret_n = 0;
	(void)snprintf(number, sizeof(number), "%" PRIu32, job);
	r = run_scontrol(argv, number, &text, err);
	if (r < 0)
		return r == -ENODATA ? 0 : r;
	/* Steps of a task of an array go by the name of the array; the last task has the number of
	 * it, under which all of them are shown. */
	if (strstr(text, "StepId=") && strchr(text, '_')) {
		r = ckpti_slurm_job(number, &info, err);
		if (r == 0 && info.array_job != 0 && info.array_task != UINT32_MAX) {
			(void)snprintf(as_array, sizeof(as_array), "%" PRIu32 "_%" PRIu32,
				       info.array_job, info.array_task);
			name = as_array;
		}
	}
	if (r == 0)
		r = ckpti_slurm_parse_steps(text, name, ret, ret_n);
	free(text);
	if (r < 0)
		return ckpti_err(err, r, "no memory");
	for (size_t i = 0; i < *ret_n; i++)
		(*ret)[i].job = job;
	return 0;
}

/* ---- configuration ------------------------------------------------------------------------ */

/* "Name    = value": the value, or NULL. */
static const char *conf_value(const char *line, const char *name)
{
	size_t len = strlen(name);

	if (strncmp(line, name, len) != 0 || line[len + strspn(line + len, " ")] != '=')
		return NULL;
	line = strchr(line, '=') + 1;
	return line + strspn(line, " ");
}

void ckpti_slurm_parse_conf(char *text, struct ckpti_slurm_conf *ret)
{
	const char *value, *slash;
	bool indented;
	char *line;

	*ret = (struct ckpti_slurm_conf){0};
	while ((line = next_line(&text, &indented)) != NULL) {
		value = conf_value(line, "ClusterName");
		if (value)
			(void)snprintf(ret->cluster, sizeof(ret->cluster), "%s", value);
		value = conf_value(line, "PlugStackConfig");
		if (value && *value == '/')
			(void)snprintf(ret->plugstack, sizeof(ret->plugstack), "%s", value);
		/* Without a word of it, it is beside slurm.conf. */
		value = conf_value(line, "SLURM_CONF");
		slash = value && !ret->plugstack[0] ? strrchr(value, '/') : NULL;
		if (slash)
			(void)snprintf(ret->plugstack, sizeof(ret->plugstack),
				       "%.*s/plugstack.conf", (int)(slash - value), value);
		value = conf_value(line, "KillWait");
		if (value)
			ret->kill_wait = (unsigned)strtoul(value, NULL, 10);
		value = conf_value(line, "SrunPortRange");
		if (value && sscanf(value, "%u-%u", &ret->port_low, &ret->port_high) != 2)
			ret->port_low = ret->port_high = 0;
	}
}

int ckpti_slurm_conf(struct ckpti_slurm_conf *ret, struct ckpti_err *err)
{
	char *argv[] = {(char[]){"scontrol"}, (char[]){"show"}, (char[]){"config"}, NULL}, *text;
	int r = run_scontrol(argv, NULL, &text, err);

	if (r < 0)
		return r;
	ckpti_slurm_parse_conf(text, ret);
	free(text);
	if (!ret->cluster[0])
		return ckpti_err(err, -EBADMSG, "scontrol does not tell the name of the cluster");
	return 0;
}

/* ---- changing something ------------------------------------------------------------------- */

int ckpti_slurm_requeue(uint32_t job, bool hold, struct ckpti_err *err)
{
	char number[16];
	char verb[] = "requeue", verb_hold[] = "requeuehold";
	char *argv[] = {(char[]){"scontrol"}, hold ? verb_hold : verb, number, NULL};

	(void)snprintf(number, sizeof(number), "%" PRIu32, job);
	return run_scontrol(argv, number, NULL, err);
}

int ckpti_slurm_comment(uint32_t job, const char *text, struct ckpti_err *err)
{
	char which[32], comment[1024];
	char *argv[] = {(char[]){"scontrol"}, (char[]){"update"}, which, comment, NULL};

	(void)snprintf(which, sizeof(which), "JobId=%" PRIu32, job);
	(void)snprintf(comment, sizeof(comment), "Comment=%s", text);
	/* A comment is one line. */
	for (char *p = comment; *p; p++) {
		if (*p == '\n')
			*p = ' ';
	}
	return run_scontrol(argv, which + strlen("JobId="), NULL, err);
}
