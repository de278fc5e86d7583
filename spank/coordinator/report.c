/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What people are told: lines on srun's stderr, the results that clients wait for, the system log, the
 * file `last`, and the user's hook.  Every text is one line, whatever others have put into it.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "spank/coordinator/coord.h"
#include "spank/coordinator/policy.h"

#define LINE_MAX_TEXT 1024
#define AFTER_MS      3600000
#define FAILED_IN_ROW 3U

/* What nodes and files say must neither end a line nor change the terminal. */
static void clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			*text = ' ';
}

static void write_line(int fd, const char *line, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, line, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nobody listens any more */
		line += n;
		len -= (size_t)n;
	}
}

static void put(int fd, const char *prefix, const char *fmt, va_list ap)
{
	char line[LINE_MAX_TEXT + PATH_MAX];
	size_t len = (size_t)snprintf(line, sizeof(line), "%s", prefix);
	int n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);

	if (n < 0)
		return;
	clean(line);
	len = strlen(line);
	line[len++] = '\n';
	/* In one piece: the tasks write there, too. */
	write_line(fd, line, len);
}

void ckpti_report_say(const struct ckpti_coord *c, bool always, const char *fmt, ...)
{
	va_list ap;

	if (!always && (c->args.quiet || c->config.quiet))
		return;
	va_start(ap, fmt);
	put(STDERR_FILENO, "", fmt, ap);
	va_end(ap);
}

void ckpti_report_status(const struct ckpti_coord *c, const char *fmt, ...)
{
	va_list ap;

	if (c->args.status_fd < 0)
		return;
	va_start(ap, fmt);
	put(c->args.status_fd, "", fmt, ap);
	va_end(ap);
}

void ckpti_report_env(const struct ckpti_coord *c, const char *name, const char *fmt, ...)
{
	char prefix[64];
	va_list ap;

	(void)snprintf(prefix, sizeof(prefix), "env %s=", name);
	if (c->args.status_fd < 0)
		return;
	va_start(ap, fmt);
	put(c->args.status_fd, prefix, fmt, ap);
	va_end(ap);
}

void ckpti_report_log(const struct ckpti_coord *c, const char *fmt, ...)
{
	char text[LINE_MAX_TEXT];
	va_list ap;

	if (c->config.log != CKPTI_LOG_SYSLOG)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clean(text);
	syslog(LOG_INFO, "job=%" PRIu32 " step=%s uid=%u %s", c->args.job, c->args.step_text,
	       (unsigned)geteuid(), text);
}

void ckpti_report_notice(struct ckpti_coord *c, const char *host, const char *text)
{
	const size_t most = sizeof(c->notices) / sizeof(c->notices[0]);

	for (size_t i = 0; i < c->nnotices; i++)
		if (strcmp(c->notices[i], text) == 0)
			return;
	/* A thousand nodes have a thousand things to say; the first ones tell most. */
	if (c->nnotices == most)
		return;
	c->notices[c->nnotices] = strdup(text);
	if (!c->notices[c->nnotices])
		return;
	c->nnotices++;
	ckpti_report_say(c, true, "checkpoint: node %s: %s", host, text);
}

/* ---- after a round ------------------------------------------------------------------------ */

static void write_last(struct ckpti_coord *c)
{
	struct ckpti_kv kv;

	ckpti_kv_init(&kv);
	ckpti_kv_setf(&kv, "code", "%d", c->last_code);
	ckpti_kv_set(&kv, "text", c->last_text);
	ckpti_kv_setf(&kv, "time", "%" PRId64, (int64_t)time(NULL));
	ckpti_kv_set_u64(&kv, "gen", c->last.generation);
	(void)ckpti_step_write_file(&c->step, "last", &kv, NULL);
	ckpti_kv_free(&kv);
}

/*
 * For `scontrol checkpoint restart` when Slurm has forgotten the job.  What lies above our directory may be
 * for all to write in, and scontrol would follow a link of somebody else's there: so it writes in ours.
 */
static void save_script(struct ckpti_coord *c)
{
	char path[PATH_MAX + 32], made[PATH_MAX + 32], job[16], scontrol[PATH_MAX], out[64];
	char *argv[] = {scontrol, (char[]){"write"}, (char[]){"batch_script"}, job, made, NULL};
	struct stat st;
	int status;

	(void)snprintf(path, sizeof(path), "%s/%" PRIu32 ".script", c->base, c->args.job);
	if (!c->job.batch || lstat(path, &st) == 0)
		return;
	(void)snprintf(made, sizeof(made), "%s/tmp-script", c->step.path);
	(void)snprintf(job, sizeof(job), "%" PRIu32, c->args.job);
	if (ckpti_slurm_real_scontrol(scontrol, NULL) < 0)
		return;
	if (ckpti_slurm_run(argv, 10000, out, sizeof(out), NULL, &status, NULL) == 0 && status == 0)
		(void)link(made, path);
	(void)unlink(made);
}

static void tell_failure(const struct ckpti_coord *c, const struct ckpti_err *err, size_t len)
{
	if (len == sizeof(*err) && err->code < 0 && err->code != -ESTALE)
		ckpti_report_say(c, true, "checkpoint: %s", err->text);
}

/* In a child of its own: there may be much to remove, and no round waits for that. */
static size_t remove_lives(void *arg, void *result)
{
	struct ckpti_coord *c = arg;
	struct ckpti_err *err = result;

	*err = (struct ckpti_err){0};
	(void)ckpti_step_prune_lives(&c->step, c->epoch, err);
	if (c->good == 1)
		save_script(c);
	return sizeof(*err);
}

static void lives_removed(struct ckpti_coord *c, const void *result, size_t len)
{
	c->removing = false;
	tell_failure(c, result, len);
}

/* In a child: the file system may be slow. */
static size_t after_round(void *arg, void *result)
{
	struct ckpti_coord *c = arg;
	struct ckpti_err *err = result;

	*err = (struct ckpti_err){0};
	write_last(c);
	if (c->last_code == 0)
		(void)ckpti_step_prune_manifests(&c->step, c->keep, c->epoch, err);
	return sizeof(*err);
}

static void after_done(struct ckpti_coord *c, const void *result, size_t len)
{
	c->pruning--;
	tell_failure(c, result, len);
	/* When one is still at it the next round sees to the rest. */
	if (c->last_code == 0 && !c->removing)
		c->removing = ckpti_child_start(c, remove_lives, c, AFTER_MS, lives_removed, NULL,
						NULL) == 0;
}

static size_t hook(void *arg, void *result)
{
	const struct ckpti_coord *c = arg;
	char job[16], code[16];

	(void)result;
	(void)snprintf(job, sizeof(job), "%" PRIu32, c->args.job);
	(void)snprintf(code, sizeof(code), "%d", c->last_code < 0 ? -c->last_code : 0);
	(void)dup2(STDERR_FILENO, STDOUT_FILENO);
	/* What we ignore is no business of a program of the user's. */
	for (int sig = 1; sig < SIGRTMIN; sig++)
		(void)signal(sig, SIG_DFL);
	(void)execl(c->config.hook, c->config.hook, job, c->args.step_text, code, c->step.path,
		    NULL);
	ckpti_report_say(c, true, "checkpoint: the hook '%s' cannot be run: %s", c->config.hook,
			 strerror(errno));
	return 0;
}

static void after(struct ckpti_coord *c)
{
	c->pruning += ckpti_child_start(c, after_round, c, AFTER_MS, after_done, NULL, NULL) == 0;
	if (c->config.hook[0])
		(void)ckpti_child_start(c, hook, c, (int)c->config.hook_timeout * 1000, NULL, NULL,
					NULL);
}

void ckpti_report_good(struct ckpti_coord *c)
{
	char size[32], stop[32], durable[32];

	(void)snprintf(c->last_text, sizeof(c->last_text),
		       "checkpoint %" PRIu64 ": %" PRIu32
		       " tasks, %s, stopped %s, durable after %s",
		       c->last.generation, c->last.ntasks, ckpti_policy_size(c->last.stored, size),
		       ckpti_policy_duration(c->last.stop_us, stop),
		       ckpti_policy_duration(c->last.durable_us, durable));
	c->last_code = 0;
	c->good++;
	c->failed_in_row = 0;
	ckpti_report_say(c, false, "%s", c->last_text);
	ckpti_report_log(c,
			 "event=checkpoint gen=%" PRIu64 " reason=%s tasks=%" PRIu32
			 " stored=%" PRIu64 " stop_us=%" PRIu64 " durable_us=%" PRIu64 " dir=%s",
			 c->last.generation, c->last.reason, c->last.ntasks, c->last.stored,
			 c->last.stop_us, c->last.durable_us, c->step.path);
	ckpti_schedule_round(c, true);
	after(c);
	ckpti_requests_round(c, 0, c->last_text);
}

void ckpti_report_failed(struct ckpti_coord *c, const struct ckpti_err *err)
{
	(void)snprintf(c->last_text, sizeof(c->last_text), "%s", err->text);
	clean(c->last_text);
	c->last_code = err->code;
	/* The step has ended, which is no failure; only who waits wants to know. */
	if (err->code == -ECANCELED || err->code == -ESRCH) {
		ckpti_requests_round(c, err->code, c->last_text);
		return;
	}
	c->failed++;
	c->failed_in_row++;
	ckpti_report_say(c, true, "checkpoint failed: %s", c->last_text);
	if (c->failed_in_row == FAILED_IN_ROW)
		ckpti_report_say(c, true,
				 c->last.generation
					 ? "%u checkpoints have failed in a row: a restart "
					   "would begin at generation %" PRIu64
					 : "%u checkpoints have failed in a row: a restart "
					   "would begin anew",
				 c->failed_in_row, c->last.generation);
	ckpti_report_log(c, "event=failed reason=%s errno=%d text=%s", c->round.reason, -err->code,
			 c->last_text);
	ckpti_schedule_round(c, false);
	after(c);
	ckpti_requests_round(c, err->code, c->last_text);
}

void ckpti_report_summary(const struct ckpti_coord *c, char *ret, size_t size)
{
	char last[96] = "", from[64] = "", age[32];

	if (c->last.generation)
		(void)snprintf(last, sizeof(last), ", last %" PRIu64 " (%s ago)",
			       c->last.generation,
			       ckpti_policy_age((int64_t)time(NULL) - c->last.ctime, age));
	if (c->restored && !c->restore_failed)
		(void)snprintf(from, sizeof(from), ", restored from %" PRIu64, c->restored);
	(void)snprintf(ret, size, "checkpoints: %u good, %u failed%s%s", c->good, c->failed, last,
		       from);
}
