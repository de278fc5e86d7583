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

/* -Q alone or among other letters without arguments. */
static bool is_quiet(const char *word)
{
	if (ckpti_cmdline_is(word, "--quiet", sizeof("--qui") - 1))
		return true;
	return word[0] == '-' && strspn(word + 1, "HlOQsuvX") == strlen(word + 1) &&
	       strchr(word, 'Q');
}

/* ---- the command line of srun ------------------------------------------------------------- */

/* An option with a value that SPANK does not tell. */
struct asked {
	const char *name; /* "--output" */
	size_t min;       /* letters that make it unique among those of srun */
	char letter;      /* 0: none */
	const char *value;
};

/* Does word begin the option?  Its value may be the next one: then that is passed over. */
static bool is_option(struct asked *o, const char *word, const char *next, int *i)
{
	bool is_long = ckpti_cmdline_is(word, o->name, o->min);
	bool is_short = !is_long && o->letter && word[0] == '-' && word[1] == o->letter;

	if (is_long && strchr(word, '=')) {
		o->value = strchr(word, '=') + 1;
	} else if (is_short && word[2]) {
		o->value = word + 2;
	} else if ((is_long || is_short) && next) {
		o->value = next;
		++*i;
	}
	return is_long || is_short;
}

static const char *or_env(const struct asked *o, const char *name)
{
	return o->value ? o->value : getenv(name);
}

/* Is it a file that srun writes, and goes on writing when the step comes back? */
static bool is_own_file(const char *output, const char *mode)
{
	return output && *output && strcmp(output, "all") != 0 && strcmp(output, "none") != 0 &&
	       output[strspn(output, "0123456789")] && mode && mode[0] == 'a';
}

/* Equal steps that run at the same time can be told apart by it. */
static void add_stdio(struct list *l, const char *const value[3])
{
	char name[32], path[3][PATH_MAX];

	for (int i = 0; i < 3; i++) {
		ssize_t n;

		(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", i);
		n = readlink(name, path[i], sizeof(path[i]) - 1);
		path[i][n > 0 ? n : 0] = '\0';
		/* Terminals and pipes have another name each time. */
		if (path[i][0] != '/' || strncmp(path[i], "/dev/", 5) == 0)
			path[i][0] = '\0';
	}
	add(l, "--stdio");
	add(l, "%s %s %s %s %s %s", value[0] ? value[0] : "", value[1] ? value[1] : "",
	    value[2] ? value[2] : "", path[0], path[1], path[2]);
}

/* What SPANK does not tell: a name that was given to this very step (SLURM_JOB_NAME is that of the job when
 * there is none), where input and output go, and whether srun should be quiet.  The last nargs words are the
 * program of the step. */
static void add_from_cmdline(struct list *l, int nargs)
{
	enum {
		NAME,
		INPUT,
		OUTPUT,
		ERRORS,
		MODE,
		N
	};
	struct asked o[N] = {
		[NAME] = {"--job-name", sizeof("--job-n") - 1, 'J', NULL},
		[INPUT] = {"--input", sizeof("--in") - 1, 'i', NULL},
		[OUTPUT] = {"--output", sizeof("--ou") - 1, 'o', NULL},
		[ERRORS] = {"--error", sizeof("--er") - 1, 'e', NULL},
		[MODE] = {"--open-mode", sizeof("--op") - 1, 0, NULL},
	};
	struct ckpti_cmdline c;
	const char *output;
	bool quiet = false;

	if (ckpti_cmdline_read(&c) < 0)
		return;
	for (int i = 1; i < c.n - nargs; i++) {
		const char *word = c.word[i], *next = i + 1 < c.n - nargs ? c.word[i + 1] : NULL;
		int k = 0;

		while (k < N && !is_option(&o[k], word, next, &i))
			k++;
		quiet = quiet || (k == N && is_quiet(word));
	}
	add_pair(l, "--name", o[NAME].value);
	output = or_env(&o[OUTPUT], "SLURM_STDOUTMODE");
	add_stdio(l, (const char *[]){or_env(&o[INPUT], "SLURM_STDINMODE"), output,
				      or_env(&o[ERRORS], "SLURM_STDERRMODE")});
	if (is_own_file(output, or_env(&o[MODE], "SLURM_OPEN_MODE")))
		add(l, "--own-output");
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
	add_pair(&l, "--include", ckpti_options_get(CKPTI_OPT_INCLUDE));
	if (ckpti_options_get(CKPTI_OPT_FRESH))
		add(&l, "--fresh");
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
