/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `ckpt-step show DIR` and `ckpt-step check DIR|JOB`: what a directory of a step holds, and whether it would
 * be restarted.  Nothing is asked of a coordinator and nothing is changed.  Where DIR holds directories of
 * steps, each of them is meant.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "spank/lib/fs.h"
#include "spank/lib/registry.h"
#include "spank/lib/slurm.h"
#include "spank/lib/step.h"
#include "spank/scontrol/job.h"
#include "spank/scontrol/say.h"

#define CHECK_MS 600000 /* of one task: all of its memory is read */

typedef int step_fn(struct ckpti_step *st);

/* ---- show --------------------------------------------------------------------------------- */

static const char *time_text(int64_t t, char ret[32])
{
	time_t when = (time_t)t;
	struct tm tm;

	if (!localtime_r(&when, &tm) || !strftime(ret, 32, "%Y-%m-%d %H:%M:%S", &tm))
		(void)snprintf(ret, 32, "?");
	return ret;
}

static void step_name(const struct ckpti_step *st, char ret[40])
{
	if (st->id.step == CKPTI_STEP_BATCH)
		(void)snprintf(ret, 40, "%" PRIu32 ".batch", st->id.job);
	else
		(void)snprintf(ret, 40, "%" PRIu32 ".%" PRIu32, st->id.job, st->id.step);
}

static bool is_rejected(const struct ckpti_step *st, uint64_t gen)
{
	struct ckpti_kv kv;
	char key[32];
	bool found;

	(void)snprintf(key, sizeof(key), "gen-%" PRIu64, gen);
	if (ckpti_step_read_file(st, "rejected", &kv) < 0)
		return false;
	found = ckpti_kv_get(&kv, key, NULL) != NULL;
	ckpti_kv_free(&kv);
	return found;
}

/* The hosts of the tasks, each once as long as equal ones are neighbours. */
static void host_list(const struct ckpti_manifest *m, char *ret, size_t size)
{
	const char *before = "";
	size_t used = 0;

	ret[0] = '\0';
	for (uint32_t i = 0; i < m->ntasks; i++) {
		const char *host = m->task[i].host;
		int n;

		if (strcmp(host, before) == 0)
			continue;
		n = snprintf(ret + used, size - used, "%s%s", used ? "," : "", host);
		if (n < 0 || (size_t)n >= size - used) {
			(void)snprintf(ret + size - 4, 4, "...");
			return;
		}
		used += (size_t)n;
		before = host;
	}
}

static void show_generation(const struct ckpti_step *st, uint64_t gen)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_manifest m;
	char when[32], hosts[128];
	unsigned skipped;
	uint32_t live = 0;

	if (ckpti_step_load(st, gen, &m, &skipped, &err) < 0) {
		ckpti_say_line(stdout, "%10" PRIu64 "  %s", gen, err.text);
		return;
	}
	for (uint32_t i = 0; i < m.ntasks; i++)
		live += m.task[i].state == CKPTI_TASK_LIVE;
	host_list(&m, hosts, sizeof(hosts));
	ckpti_say_line(stdout,
		       "%10" PRIu64 "  %s  %-10s %4" PRIu32 "  %6" PRIu32 " %7" PRIu64 " MiB  %s%s",
		       gen, time_text(m.ctime, when), m.reason, m.epoch, live, m.stored >> 20,
		       hosts, is_rejected(st, gen) ? "  (could not be restarted)" : "");
	ckpti_manifest_free(&m);
}

static int show(struct ckpti_step *st)
{
	size_t n = ckpti_step_list(st, NULL, 0);
	uint64_t *gen = calloc(n + 1, sizeof(*gen));
	uint32_t epoch = ckpti_step_epoch(st);
	char name[40], path[40];
	struct ckpti_kv kv;

	if (!gen)
		return ckpti_say_error(NULL, "no memory");
	n = ckpti_step_list(st, gen, n);
	step_name(st, name);
	ckpti_say_line(stdout, "%s: step %s of cluster %s, %" PRIu32 " tasks: %s", st->path, name,
		       st->id.cluster, st->id.ntasks, st->id.name);
	(void)snprintf(path, sizeof(path), "life-%" PRIu32 "/over", epoch);
	ckpti_say_line(stdout, "life %" PRIu32 "%s", epoch,
		       faccessat(st->dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0
			       ? ": all tasks have ended"
			       : "");
	if (ckpti_step_read_file(st, "last", &kv) == 0) {
		ckpti_say_line(stdout, "last: %s", ckpti_kv_get(&kv, "text", ""));
		ckpti_kv_free(&kv);
	}
	ckpti_say_line(stdout, "%10s  %-19s  %-10s %4s  %6s %11s  %s", "GENERATION", "TIME",
		       "REASON", "LIFE", "TASKS", "STORED", "HOSTS");
	for (size_t i = 0; i < n; i++)
		show_generation(st, gen[i]);
	free(gen);
	return EXIT_SUCCESS;
}

/* ---- check -------------------------------------------------------------------------------- */

/* Beside us in a build; when installed we are in libexec/ckpt, wherever the tree was moved to. */
static void find_cpr(char ret[PATH_MAX])
{
	static const char *const places[] = {"/cpr", "/../../bin/cpr"};
	char here[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", here, sizeof(here) - 1);
	char *slash;

	here[n > 0 ? n : 0] = '\0';
	slash = strrchr(here, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (snprintf(ret, PATH_MAX, "%s%s", here, places[i]) < PATH_MAX &&
		    access(ret, X_OK) == 0)
			return;
	}
	(void)snprintf(ret, PATH_MAX, "%s", CKPT_BINDIR "/cpr");
}

/* Would this host restart the task?  EXIT_SUCCESS, or it has been said. */
static int check_task(const struct ckpti_step *st, const struct ckpti_manifest *m, uint32_t rank)
{
	char cpr[PATH_MAX], dir[PATH_MAX + 64], gen[24], output[256], errors[512] = "";
	char *const argv[] = {cpr,
			      (char *)(uintptr_t) "-r",
			      (char *)(uintptr_t) "--check",
			      (char *)(uintptr_t) "-q",
			      (char *)(uintptr_t) "--fenced",
			      (char *)(uintptr_t) "--generation",
			      gen,
			      dir,
			      NULL};
	struct ckpti_err err = {.code = 0};
	int r, status;

	find_cpr(cpr);
	(void)snprintf(gen, sizeof(gen), "%" PRIu64, m->task[rank].generation);
	(void)snprintf(dir, sizeof(dir), "%s/life-%" PRIu32 "/task-%" PRIu32, st->path, m->epoch,
		       rank);
	r = ckpti_slurm_run(argv, CHECK_MS, output, sizeof(output), errors, &status, &err);
	if (r < 0)
		return ckpti_say_err(&err);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return EXIT_SUCCESS;
	errors[strcspn(errors, "\n")] = '\0';
	ckpti_say_plain("%s: task %" PRIu32 ": %s", st->path, rank,
			errors[0] ? errors : "cpr has failed");
	return EXIT_FAILURE;
}

/* The newest one that may be used, as the coordinator chooses it; 0: none. */
static uint64_t choose(const struct ckpti_step *st, struct ckpti_manifest *ret)
{
	size_t n = ckpti_step_list(st, NULL, 0);
	uint64_t *gen = calloc(n + 1, sizeof(*gen)), found = 0;
	unsigned skipped;

	n = gen ? ckpti_step_list(st, gen, n) : 0;
	while (!found && n-- > 0) {
		struct ckpti_err err = {.code = 0};

		if (is_rejected(st, gen[n]))
			ckpti_say_plain("%s: generation %" PRIu64 " could not be restarted before",
					st->path, gen[n]);
		else if (ckpti_step_load(st, gen[n], ret, &skipped, &err) == 0)
			found = gen[n];
		else
			ckpti_say_plain("%s: %s", st->path, err.text);
	}
	free(gen);
	return found;
}

static int check(struct ckpti_step *st)
{
	uint64_t gen;
	int status = EXIT_SUCCESS;
	struct ckpti_manifest m;
	char when[32];

	gen = choose(st, &m);
	if (!gen) {
		ckpti_say_plain("%s: no generation to restart from", st->path);
		return EXIT_FAILURE;
	}
	for (uint32_t i = 0; i < m.ntasks; i++)
		if (m.task[i].state == CKPTI_TASK_LIVE && check_task(st, &m, i) != EXIT_SUCCESS)
			status = EXIT_FAILURE;
	ckpti_say_line(stdout, "%s: generation %" PRIu64 " of %s %s", st->path, gen,
		       time_text(m.ctime, when),
		       status == EXIT_SUCCESS ? "would be restarted" : "cannot be restarted here");
	ckpti_manifest_free(&m);
	return status;
}

/* ---- which -------------------------------------------------------------------------------- */

static int one(const char *path, step_fn *fn)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_step st;
	int status;

	if (ckpti_step_open(path, &st, &err) < 0) {
		ckpti_say_plain("%s", err.text);
		return EXIT_FAILURE;
	}
	status = fn(&st);
	ckpti_step_close(&st);
	return status;
}

static bool is_step(const char *path)
{
	char file[PATH_MAX + 8];

	(void)snprintf(file, sizeof(file), "%s/step", path);
	return access(file, F_OK) == 0;
}

/* A directory of steps: all that are the caller's. */
static int all_in(const char *path, step_fn *fn)
{
	int fd = ckpti_fs_open_path(path, false), status = EXIT_SUCCESS;
	char **names = NULL, each[PATH_MAX + NAME_MAX + 2];
	struct stat sb;
	size_t n = 0, found = 0;

	if (fd < 0 || ckpti_fs_names(fd, &names, &n) < 0) {
		ckpti_say_plain("%s: %s", path, strerrordesc_np(fd < 0 ? -fd : EIO));
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(each, sizeof(each), "%s/%s", path, names[i]);
		if (names[i][0] < '0' || names[i][0] > '9' || !is_step(each) ||
		    stat(each, &sb) < 0 || sb.st_uid != geteuid())
			continue;
		found++;
		if (one(each, fn) != EXIT_SUCCESS)
			status = EXIT_FAILURE;
	}
	ckpti_fs_free_names(names, n);
	(void)close(fd);
	if (found > 0)
		return status;
	ckpti_say_plain("%s: no checkpoint of a step of yours", path);
	return EXIT_FAILURE;
}

struct of_job {
	const struct ckpti_request *q;
	step_fn *fn;
	size_t found;
	int status;
};

static int try_entry(void *arg, uint32_t job, const char *step, const struct ckpti_kv *kv)
{
	struct of_job *o = arg;
	struct ckpti_request entry;
	char id[64];

	(void)snprintf(id, sizeof(id), "%" PRIu32 ".%s", job, step);
	if (ckpti_request_parse_id(id, &entry) < 0 || (o->q->has_step && o->q->step != entry.step))
		return 0;
	o->found++;
	if (one(ckpti_kv_get(kv, "dir", ""), o->fn) != EXIT_SUCCESS)
		o->status = EXIT_FAILURE;
	return 0;
}

static int of_job(const struct ckpti_request *q, step_fn *fn)
{
	struct of_job o = {.q = q, .fn = fn, .status = EXIT_SUCCESS};
	struct ckpti_slurm_job job;
	struct ckpti_slurm_conf conf;
	struct ckpti_err err = {.code = 0};
	uint32_t number = (uint32_t)strtoul(q->job, NULL, 10);

	/* Tasks of arrays have numbers of their own. */
	if (ckpti_slurm_job(q->job, &job, NULL) == 0)
		number = job.job;
	if (ckpti_slurm_conf(&conf, &err) < 0)
		return ckpti_say_err(&err);
	(void)ckpti_registry_each(conf.cluster, number, try_entry, &o);
	if (o.found > 0)
		return o.status;
	return ckpti_say_error(NULL,
			       "it is not known where checkpoints of job %s are: name the "
			       "directory in place of the job",
			       q->job);
}

int ckpti_show(const struct ckpti_request *q)
{
	step_fn *fn = q->verb == CKPTI_REQ_SHOW ? show : check;
	struct stat sb;

	/* What is a directory is meant as one. */
	if (q->job[0] && stat(q->image_dir, &sb) < 0)
		return of_job(q, fn);
	return is_step(q->image_dir) ? one(q->image_dir, fn) : all_in(q->image_dir, fn);
}
