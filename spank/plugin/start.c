/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the coordinator is told about the step, as its command line.  --interval, --dir and --name are left
 * out when the user said nothing: then the configuration, or the command, decides.
 */
#include "spank/plugin/start.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spank/lib/interval.h"
#include "spank/plugin/options.h"

struct list {
	char **v;
	size_t n, room;
	int error;
};

__attribute__((format(printf, 2, 3))) static void add(struct list *l, const char *fmt, ...)
{
	char *text = NULL, **bigger;
	va_list ap;
	int r;

	if (l->n + 1 >= l->room) {
		bigger = realloc(l->v, (l->room + 64) * sizeof(*l->v));
		if (!bigger) {
			l->error = -ENOMEM;
			return;
		}
		l->v = bigger;
		l->room += 64;
	}
	va_start(ap, fmt);
	r = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (r < 0) {
		l->error = -ENOMEM;
		return;
	}
	l->v[l->n++] = text;
	l->v[l->n] = NULL;
}

static void add_pair(struct list *l, const char *option, const char *value)
{
	if (value) {
		add(l, "%s", option);
		add(l, "%s", value);
	}
}

static void add_interval(struct list *l)
{
	const char *text = ckpti_options_get(CKPTI_OPT_INTERVAL);
	uint64_t seconds;

	if (!text || ckpti_interval_parse(text, &seconds) < 0)
		return;
	add(l, "--interval");
	if (seconds == CKPTI_INTERVAL_NONE)
		add(l, "none");
	else if (seconds == CKPTI_INTERVAL_AUTO)
		add(l, "auto");
	else
		add(l, "%" PRIu64, seconds);
}

static void add_includes(struct list *l)
{
	const char *p = ckpti_options_get(CKPTI_OPT_INCLUDE);

	while (p && *p) {
		size_t len = strcspn(p, ":");

		if (len > 0) {
			add(l, "--include");
			add(l, "%.*s", (int)len, p);
		}
		p += len + (p[len] == ':');
	}
}

/* -Q alone or among other letters without arguments. */
static bool is_quiet(const char *word)
{
	if (ckpti_cmdline_is(word, "--quiet", sizeof("--qui") - 1))
		return true;
	return word[0] == '-' && strspn(word + 1, "HlOQsuvX") == strlen(word + 1) &&
	       strchr(word, 'Q');
}

/* What SPANK does not tell: a name that was given to this very step (SLURM_JOB_NAME is that of the job when
 * there is none), and whether srun should be quiet.  The last nargs words are the program of the step. */
static void add_from_cmdline(struct list *l, int nargs)
{
	const char *name = NULL;
	struct ckpti_cmdline c;
	bool quiet = false;

	if (ckpti_cmdline_read(&c) < 0)
		return;
	for (int i = 1; i < c.n - nargs; i++) {
		const char *word = c.word[i];
		bool is_long = ckpti_cmdline_is(word, "--job-name", sizeof("--job-n") - 1);

		if (is_long && strchr(word, '='))
			name = strchr(word, '=') + 1;
		else if ((is_long || strcmp(word, "-J") == 0) && i + 1 < c.n - nargs)
			name = c.word[++i];
		else if (strncmp(word, "-J", 2) == 0 && word[2])
			name = word + 2;
		else
			quiet = quiet || is_quiet(word);
	}
	add_pair(l, "--name", name);
	if (quiet)
		add(l, "--quiet");
	ckpti_cmdline_free(&c);
}

static void add_command(struct list *l, int argc, char **argv)
{
	add(l, "--");
	for (int i = 0; argv && i < argc; i++)
		add(l, "%s", argv[i]);
}

int ckpti_start_argv(spank_t sp, const struct ckpti_plugin_conf *conf, const char *path,
		     char ***ret)
{
	uint32_t job = 0, step = 0, ntasks = 0;
	struct list l = {0};
	char cwd[PATH_MAX], **argv = NULL;
	int argc = 0;

	*ret = NULL;
	if (spank_get_item(sp, S_JOB_ID, &job) != ESPANK_SUCCESS ||
	    spank_get_item(sp, S_JOB_STEPID, &step) != ESPANK_SUCCESS ||
	    spank_get_item(sp, S_JOB_TOTAL_TASK_COUNT, &ntasks) != ESPANK_SUCCESS ||
	    spank_get_item(sp, S_JOB_ARGV, &argc, &argv) != ESPANK_SUCCESS)
		return -ENOTSUP;
	if (!getcwd(cwd, sizeof(cwd)))
		return -errno;
	add(&l, "%s", path);
	add(&l, "--job");
	add(&l, "%" PRIu32, job);
	add(&l, "--step");
	add(&l, "%" PRIu32, step);
	add_interval(&l);
	add_pair(&l, "--dir", ckpti_options_get(CKPTI_OPT_DIR));
	add_pair(&l, "--restart-dir", ckpti_options_get(CKPTI_OPT_RESTART_DIR));
	add_pair(&l, "--keep", ckpti_options_get(CKPTI_OPT_KEEP));
	if (ckpti_options_get(CKPTI_OPT_FRESH))
		add(&l, "--fresh");
	add_includes(&l);
	if (ckpti_options_get(CKPTI_OPT_SKIP_DONE))
		add(&l, "--skip-done");
	add_pair(&l, "--cwd", cwd);
	add(&l, "--ntasks");
	add(&l, "%" PRIu32, ntasks);
	add_pair(&l, "--config", conf->config);
	add_pair(&l, "--bindir", conf->bindir);
	add(&l, "--status-fd");
	add(&l, "3");
	add(&l, "--life-fd");
	add(&l, "4");
	add_from_cmdline(&l, argc);
	add_command(&l, argc, argv);
	*ret = l.v;
	return l.error;
}

void ckpti_start_free(char **argv)
{
	for (char **a = argv; a && *a; a++)
		free(*a);
	free(argv);
}
