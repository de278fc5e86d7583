/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sbatch and salloc: options are checked, so that mistakes are told at once and not when the job runs, and
 * Slurm itself hands them to every srun in the job.
 *
 * A job with checkpoints that says nothing else gets two defaults of sbatch changed: the output is appended
 * to when the job is started again, and Slurm announces its end by SIGCONT to the steps, which does nothing
 * to programs that do not wait for it.  sbatch reads variables after the script and before its command line,
 * and options reach us too late, so we look for ourselves whether there are such options: a variable must
 * not beat what the script says.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spank/plugin/options.h"
#include "spank/plugin/plugin.h"

#define SIGNAL_ENV    "SBATCH_SIGNAL"
#define OPEN_MODE_ENV "SBATCH_OPEN_MODE"
#define DIRECTIVE     "#SBATCH"

/* Directives stand at the head of the script. */
#define MAX_SCRIPT 65536U

#define LEN(name) (sizeof(name) - 1)

struct found {
	bool ours, signal, open_mode, no_requeue, het;
};

static bool signal_set, open_mode_set; /* by us */
static bool no_requeue, het;

static bool is_sbatch(void)
{
	return strcmp(program_invocation_short_name, "sbatch") == 0;
}

static void look_at(const char *word, struct found *f)
{
	f->ours = f->ours || strncmp(word, "--checkpoint", LEN("--checkpoint")) == 0 ||
		  ckpti_cmdline_is(word, "--restart-dir", LEN("--resta"));
	f->signal = f->signal || ckpti_cmdline_is(word, "--signal", LEN("--si"));
	f->open_mode = f->open_mode || ckpti_cmdline_is(word, "--open-mode", LEN("--op"));
	f->no_requeue = f->no_requeue || ckpti_cmdline_is(word, "--no-requeue", LEN("--no-r"));
	f->het = f->het || strcmp(word, ":") == 0 || strcmp(word, "hetjob") == 0 ||
		 strcmp(word, "packjob") == 0;
}

/* The head of a batch script, which sbatch wants to begin with "#!"; false: it is none. */
static bool read_script(int fd, char *ret, size_t size)
{
	struct stat st;
	ssize_t n;

	/* What is no file could be read only once, and sbatch wants to. */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	n = pread(fd, ret, size - 1, 0);
	if (n < 2 || memcmp(ret, "#!", 2) != 0)
		return false;
	ret[n] = '\0';
	return true;
}

static bool read_script_file(const char *path, char *ret, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool is_script = fd >= 0 && read_script(fd, ret, size);

	if (fd >= 0)
		(void)close(fd);
	return is_script;
}

static void look_at_script(char *text, struct found *f)
{
	char *line_rest, *word_rest;

	for (char *line = strtok_r(text, "\n", &line_rest); line;
	     line = strtok_r(NULL, "\n", &line_rest)) {
		if (line[0] != '#' && line[strspn(line, " \t\r")])
			return; /* the first command ends the directives */
		if (strncmp(line, DIRECTIVE, LEN(DIRECTIVE)) != 0)
			continue;
		for (char *word = strtok_r(line + LEN(DIRECTIVE), " \t\r\"'", &word_rest); word;
		     word = strtok_r(NULL, " \t\r\"'", &word_rest)) {
			if (word[0] == '#')
				break;
			look_at(word, f);
		}
	}
}

/* Options up to the script, and those in it.  Which words are arguments of options we cannot know; a
 * script is what begins like one. */
static void look_around(struct found *f)
{
	struct ckpti_cmdline c;
	bool have_script = false, wrapped = false;
	char *script = malloc(MAX_SCRIPT);

	if (!script || ckpti_cmdline_read(&c) < 0) {
		free(script);
		return;
	}
	for (int i = 1; i < c.n && !have_script; i++) {
		have_script =
			c.word[i][0] != '-' && read_script_file(c.word[i], script, MAX_SCRIPT);
		if (have_script)
			break;
		wrapped = wrapped || ckpti_cmdline_is(c.word[i], "--wrap", LEN("--wr"));
		look_at(c.word[i], f);
	}
	ckpti_cmdline_free(&c);
	if (!have_script && !wrapped)
		have_script = read_script(STDIN_FILENO, script, MAX_SCRIPT);
	if (have_script)
		look_at_script(script, f);
	free(script);
}

/* Slurm gives numbers of jobs again, and a requeued job gets a new submit time: this tells a job for all
 * its lives.  It is no secret. */
static void make_token(void)
{
	unsigned char raw[16];
	char text[2 * sizeof(raw) + 1];

	if (getrandom(raw, sizeof(raw), GRND_NONBLOCK) != (ssize_t)sizeof(raw))
		return;
	for (size_t i = 0; i < sizeof(raw); i++)
		(void)snprintf(text + 2 * i, 3, "%02x", raw[i]);
	(void)setenv(CKPTI_PLUGIN_TOKEN, text, 1);
}

void ckpti_allocator_begin(void)
{
	struct found f = {0};

	if (!is_sbatch())
		return;
	look_around(&f);
	if (!f.ours && !getenv("SBATCH_CHECKPOINT") && !getenv("SBATCH_CHECKPOINT_DIR"))
		return;
	no_requeue = f.no_requeue || getenv("SBATCH_NO_REQUEUE");
	het = f.het;
	if (!f.signal && !getenv(SIGNAL_ENV))
		signal_set = setenv(SIGNAL_ENV, "CONT@60", 1) == 0;
	if (!f.open_mode && !getenv(OPEN_MODE_ENV))
		open_mode_set = setenv(OPEN_MODE_ENV, "append", 1) == 0;
}

void ckpti_allocator_options_done(spank_t sp)
{
	static int calls; /* one for each part of a heterogeneous job */

	/* sbatch has read them; the job must not find them in its environment. */
	if (signal_set)
		(void)unsetenv(SIGNAL_ENV);
	if (open_mode_set)
		(void)unsetenv(OPEN_MODE_ENV);

	if (is_sbatch())
		ckpti_options_from_sbatch_env();
	if (!ckpti_options_any())
		return;
	if (het || ++calls > 1) {
		slurm_error("checkpoint: heterogeneous jobs cannot be checkpointed");
		exit(ckpti_plugin_exit_error());
	}
	if (no_requeue)
		slurm_spank_log("sbatch: checkpoint: with --no-requeue "
				"the job does not come back by itself");
	make_token();
	ckpti_options_hand_on(sp);
}
