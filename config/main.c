/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt-config: check files of settings, show the settings in force, print what is generated from
 * the table.  Exit status: 0, 1 a file has an error, 2 wrong usage.
 */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/schema.h"

enum {
	EXIT_ERROR = 1,
	EXIT_USAGE = 2
};

enum action {
	ACT_NONE,
	ACT_CHECK = 'c',
	ACT_SHOW = 's',
	ACT_EXAMPLE = 'e',
	ACT_MAN = 'm'
};
enum {
	KEY_SITE = 0x100,
	KEY_USER,
	KEY_AS
};

struct opts {
	enum action action;
	enum ckpti_config_source example, as;
	const char *site, *user; /* NULL: the usual ones */
	char **file;
	int nfiles;
};

static const struct argp_option options[] = {
	{"check", ACT_CHECK, NULL, 0, "Say what is wrong with each FILE, or nothing", 0},
	{"show", ACT_SHOW, NULL, 0, "Print the settings in force and where each comes from", 0},
	{"example", ACT_EXAMPLE, "site|user", 0, "Print a commented file with all keys", 0},
	{"man", ACT_MAN, NULL, 0, "Print the source of the man page ckpt.yaml(5)", 0},
	{NULL, 0, NULL, 0, "Which files:", 0},
	{"as", KEY_AS, "site|user", 0, "Whose file each FILE of --check is (site)", 0},
	{"site", KEY_SITE, "FILE", 0, "The site's file", 0},
	{"user", KEY_USER, "FILE", 0, "The user's file (~/.config/ckpt.yaml)", 0},
	{0},
};

static enum ckpti_config_source parse_source(struct argp_state *st, const char *arg)
{
	if (strcmp(arg, "site") != 0 && strcmp(arg, "user") != 0)
		argp_error(st, "'%s': one of site, user is needed", arg);
	return strcmp(arg, "user") == 0 ? CKPTI_CONFIG_USER : CKPTI_CONFIG_SITE;
}

static error_t parse_option(int key, char *arg, struct argp_state *st)
{
	struct opts *o = st->input;

	switch (key) {
	case ACT_CHECK:
	case ACT_SHOW:
	case ACT_EXAMPLE:
	case ACT_MAN:
		if (o->action && o->action != (enum action)key)
			argp_error(st, "one of --check, --show, --example, --man at a time");
		o->action = (enum action)key;
		if (key == ACT_EXAMPLE)
			o->example = parse_source(st, arg);
		break;
	case KEY_SITE:
		o->site = arg;
		break;
	case KEY_USER:
		o->user = arg;
		break;
	case KEY_AS:
		o->as = parse_source(st, arg);
		break;
	case ARGP_KEY_ARGS:
		o->file = st->argv + st->next;
		o->nfiles = st->argc - st->next;
		break;
	case ARGP_KEY_END:
		if (!o->action)
			argp_error(st,
				   "what is to be done? one of --check, --show, --example, --man");
		if (o->action == ACT_CHECK && o->nfiles == 0)
			argp_error(st, "--check needs a FILE");
		if (o->action != ACT_CHECK && o->nfiles > 0)
			argp_error(st, "operand '%s': only --check takes files", o->file[0]);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* Text of --help behind the options: the keys, and where the site's file is. */
static char *help_filter(int key, const char *text, void *input)
{
	char *buf = NULL;
	size_t size;
	FILE *f;

	(void)input;
	if (key != ARGP_KEY_HELP_POST_DOC)
		return (char *)(uintptr_t)text;
	f = open_memstream(&buf, &size);
	if (!f)
		return NULL;
	(void)fprintf(f, "The site's file is %s.\nKeys, who can set them, and values:\n",
		      ckpti_config_site_path);
	ckpti_print_list(f);
	(void)fprintf(f, "They are described in ckpt.yaml(5).");
	if (fclose(f) != 0) {
		free(buf);
		return NULL;
	}
	return buf; /* freed by argp */
}

static void report(const struct ckpti_err *err)
{
	(void)fprintf(stderr, "ckpt-config: %s\n", err->text);
}

/* A file that is named must be there, unlike those that are looked for. */
static int need(const char *path)
{
	struct ckpti_err err = {.code = 0};

	if (!path || access(path, F_OK) == 0)
		return 0;
	(void)ckpti_err(&err, -errno, "%s: %s", path, strerror(errno));
	report(&err);
	return EXIT_ERROR;
}

static int load(const char *site, const char *user, struct ckpti_config *c)
{
	struct ckpti_err err = {.code = 0};

	if (ckpti_config_load(site, user, c, &err) == 0)
		return 0;
	report(&err);
	return EXIT_ERROR;
}

static const char *site_path(const struct opts *o)
{
	return o->site ? o->site : ckpti_config_site_path;
}

static int check(const struct opts *o)
{
	int status = 0, r;

	if (need(o->site))
		return EXIT_ERROR;
	for (int i = 0; i < o->nfiles; i++) {
		struct ckpti_config c = {0};
		const char *file = o->file[i];
		bool site = o->as == CKPTI_CONFIG_SITE;

		r = need(file);
		if (r == 0)
			r = load(site ? file : site_path(o), site ? NULL : file, &c);
		if (r)
			status = r;
		ckpti_config_free(&c);
	}
	return status;
}

static int show(const struct opts *o)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_config c = {0};
	char path[PATH_MAX];
	int r;

	if (need(o->site) || need(o->user))
		return EXIT_ERROR;
	if (!o->user && ckpti_config_user_path(path, sizeof(path), &err) < 0) {
		report(&err);
		return EXIT_ERROR;
	}
	r = load(site_path(o), o->user ? o->user : path, &c);
	if (r == 0)
		ckpti_print_values(stdout, &c, 0);
	ckpti_config_free(&c);
	return r;
}

static void version(FILE *f, struct argp_state *st)
{
	(void)st;
	(void)fprintf(f, "ckpt-config (posix-ckpt) %s\n", CKPT_VERSION);
}

void (*argp_program_version_hook)(FILE *, struct argp_state *) = version;

int main(int argc, char **argv)
{
	/* The mark in the doc makes argp ask the filter for what follows the options. */
	const struct argp argp = {.options = options,
				  .parser = parse_option,
				  .args_doc = "[FILE...]",
				  .doc = "Settings of checkpoints under Slurm.\v ",
				  .help_filter = help_filter};
	struct opts o = {.as = CKPTI_CONFIG_SITE};
	int status = 0, r;

	argp_err_exit_status = EXIT_USAGE;
	(void)argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (o.action == ACT_CHECK)
		status = check(&o);
	else if (o.action == ACT_SHOW)
		status = show(&o);
	else if (o.action == ACT_EXAMPLE)
		ckpti_print_example(stdout, o.example);
	else
		ckpti_print_man(stdout);
	/* A full disk or a closed pipe at the very end must not look like success. */
	r = ferror(stdout) ? EIO : 0;
	if (fclose(stdout) != 0)
		r = errno;
	if (r) {
		(void)fprintf(stderr, "ckpt-config: writing the output: %s\n", strerror(r));
		status = EXIT_ERROR;
	}
	return status;
}
