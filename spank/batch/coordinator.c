/* SPDX-License-Identifier: BSD-3-Clause */
/* The coordinator, as the plugin has it in srun (plugin/link.h). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spank/batch/batch.h"
#include "spank/lib/interval.h"
#include "spank/lib/registry.h"
#include "spank/lib/slurm.h"
#include "spank/plugin/link.h"
#include "spank/plugin/plugin.h"

#define MAX_ARGS 64

static void say(bool refused, const char *text)
{
	(void)refused;
	(void)fprintf(stderr, "cpr: checkpoint: %s\n", text);
}

static struct ckpti_link coordinator = {.say = say, .what = "program"};

/* ---- its command line --------------------------------------------------------------------- */

struct args {
	char *v[MAX_ARGS];
	size_t n;
};

static void add(struct args *a, const char *option, const char *value)
{
	if (!value || a->n + 3 >= MAX_ARGS)
		return;
	a->v[a->n++] = (char *)(uintptr_t)option;
	if (*value)
		a->v[a->n++] = (char *)(uintptr_t)value;
	a->v[a->n] = NULL;
}

static void add_interval(struct args *a, char number[24])
{
	const char *text = ckpti_batch_option(CKPTI_BATCH_INTERVAL);
	uint64_t seconds;

	if (!text || ckpti_interval_parse(text, &seconds) < 0)
		return;
	if (seconds == CKPTI_INTERVAL_NONE)
		(void)snprintf(number, 24, "none");
	else if (seconds == CKPTI_INTERVAL_AUTO)
		(void)snprintf(number, 24, "auto");
	else
		(void)snprintf(number, 24, "%" PRIu64, seconds);
	add(a, "--interval", number);
}

static void execute(const struct ckpti_batch *b)
{
	char path[PATH_MAX + 32], cwd[PATH_MAX], job[16], interval[24], **argv;
	struct args a = {.n = 0};
	size_t n = 0;

	(void)snprintf(path, sizeof(path), "%s/ckpt-coordinator", b->libexec);
	(void)snprintf(job, sizeof(job), "%" PRIu32, b->job);
	if (!getcwd(cwd, sizeof(cwd)))
		return;
	add(&a, path, "");
	add(&a, "--job", job);
	add(&a, "--step", "batch");
	add_interval(&a, interval);
	add(&a, "--dir", ckpti_batch_option(CKPTI_BATCH_DIR));
	add(&a, "--restart-dir", ckpti_batch_option(CKPTI_BATCH_RESTART_DIR));
	add(&a, "--keep", ckpti_batch_option(CKPTI_BATCH_KEEP));
	add(&a, "--include", ckpti_batch_option(CKPTI_BATCH_INCLUDE));
	add(&a, "--fresh", ckpti_batch_option(CKPTI_BATCH_FRESH) ? "" : NULL);
	add(&a, "--skip-done", ckpti_batch_option(CKPTI_BATCH_SKIP_DONE) ? "" : NULL);
	add(&a, "--cwd", cwd);
	add(&a, "--ntasks", "1");
	add(&a, "--config", b->config);
	add(&a, "--bindir", b->bindir);
	add(&a, "--status-fd", "3");
	add(&a, "--life-fd", "4");
	add(&a, "--quiet", b->quiet ? "" : NULL);
	add(&a, "--", "");
	while (b->command[n])
		n++;
	argv = calloc(a.n + n + 1, sizeof(*argv));
	if (!argv)
		return;
	memcpy(argv, a.v, a.n * sizeof(*argv));
	memcpy(argv + a.n, b->command, n * sizeof(*argv));
	(void)execv(path, argv);
	free(argv);
}

/* Descriptors in the child: nothing on 0 and 1, our stderr, status on 3, life on 4; it closes the rest. */
static void be_coordinator(const struct ckpti_batch *b, int status, int life)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0 && dup2(null, 0) >= 0 && dup2(null, 1) >= 0 &&
	    dup2(status, CKPTI_LINK_STATUS) >= 0 && dup2(life, CKPTI_LINK_LIFE) >= 0)
		execute(b);
	(void)dprintf(status,
		      "error cannot start %s/ckpt-coordinator: %s, the program runs without "
		      "checkpoints\n",
		      b->libexec, strerror(errno));
	_exit(1);
}

static int start(const struct ckpti_batch *b)
{
	int status, life, r = ckpti_link_open(&coordinator, &status, &life);

	if (r < 0)
		return r;
	coordinator.pid = fork();
	if (coordinator.pid == 0)
		be_coordinator(b, status, life);
	r = coordinator.pid < 0 ? -errno : 0;
	(void)close(status);
	(void)close(life);
	return r;
}

void ckpti_batch_clear_env(void)
{
	char name[128];

	/* Each removal moves the others. */
	for (char **e = environ; e && *e;) {
		size_t len = strcspn(*e, "=");

		if (strncmp(*e, CKPTI_PLUGIN_ENV, sizeof(CKPTI_PLUGIN_ENV) - 1) != 0 ||
		    len >= sizeof(name)) {
			e++;
			continue;
		}
		(void)snprintf(name, sizeof(name), "%.*s", (int)len, *e);
		if (unsetenv(name) < 0)
			return;
		e = environ;
	}
}

/* ---- start and end ------------------------------------------------------------------------ */

/* A job has one name, JOB.batch, for what runs in its script. */
static bool another_runs(const struct ckpti_batch *b)
{
	struct ckpti_slurm_conf conf;
	struct ckpti_kv kv;
	bool runs = false;

	ckpti_kv_init(&kv);
	if (ckpti_slurm_conf(&conf, NULL) == 0 &&
	    ckpti_registry_read(conf.cluster, b->job, "batch", &kv, NULL) == 0) {
		pid_t pid = (pid_t)ckpti_kv_get_i64(&kv, "pid", 0);

		/* What an earlier life has left may be on another node. */
		runs = ckpti_kv_get_u64(&kv, "lives", 0) == b->restarts && pid > 1 &&
		       kill(pid, 0) == 0;
	}
	ckpti_kv_free(&kv);
	return runs;
}

enum ckpti_link_answer ckpti_batch_coordinate(const struct ckpti_batch *b)
{
	enum ckpti_link_answer answer;
	int r;

	if (another_runs(b)) {
		(void)fprintf(stderr, "cpr: checkpoint: another `cpr run` of this script is being "
				      "checkpointed, this one is not; srun makes steps of both\n");
		return CKPTI_LINK_WITHOUT;
	}
	ckpti_batch_clear_env();
	r = start(b);
	if (r < 0) {
		(void)fprintf(stderr,
			      "cpr: checkpoint: cannot start %s/ckpt-coordinator: %s, "
			      "the program runs without checkpoints\n",
			      b->libexec, strerror(-r));
		return CKPTI_LINK_WITHOUT;
	}
	coordinator.may_restart = b->restarts > 0 && !ckpti_batch_option(CKPTI_BATCH_FRESH);
	answer = ckpti_link_answer(&coordinator);
	if (answer != CKPTI_LINK_READY)
		ckpti_link_give_up(&coordinator);
	return answer;
}

void ckpti_batch_coordinate_end(void)
{
	ckpti_link_end(&coordinator);
}
