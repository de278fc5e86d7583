/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every option of cpr, once: the table below feeds the parser, --help, --usage and the completion, and
 * says with which commands an option goes.
 *
 * Directories are operands rather than arguments of -c and -r, so that letters can be joined in any
 * order (`-fgc DIR`, `-cfg DIR`), as users of the old command did.
 */
#include "cmd.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "agent/protocol.h"
#include "text.h"

#define C (1U << CKPTI_VERB_CREATE)
#define R (1U << CKPTI_VERB_RESTART)
#define I (1U << CKPTI_VERB_INFO)
#define D (1U << CKPTI_VERB_REMOVE)
#define N (1U << CKPTI_VERB_RUN)
#define V (1U << CKPTI_VERB_VERIFY)
#define K (1U << CKPTI_VERB_CHECK)
#define S (1U << CKPTI_VERB_STATUS)

enum {
	KEY_KEEP = 0x100,
	KEY_TIMEOUT,
	KEY_POLICY,
	KEY_DRYRUN,
	KEY_NOINJECT,
	KEY_COPYLIMIT,
	KEY_INCREMENTAL,
	KEY_PRECOPY,
	KEY_FILEPOLICY,
	KEY_CHECK,
	KEY_CLONE,
	KEY_RELOCATE,
	KEY_GENERATION,
	KEY_IDS,
	KEY_DIR,
	KEY_JSON,
	KEY_RESULT,
	KEY_READY,
	KEY_HOLD,
	KEY_PINS,
	KEY_DRIVE,
	KEY_DRIVETIMEOUT,
	KEY_FENCED,
	KEY_LAZY,
	KEY_INCLUDE,
	KEY_LAUNCH,
	KEY_SETTLED,
	KEY_AFTER,
};

struct opt {
	const char *name;
	int key; /* below 0x100: also the letter */
	unsigned verbs;
	const char *arg;
	const char *values; /* for the completion: words, or @dir, @pid */
	const char *doc;
};

/* clang-format off */
static const struct opt opts[] = {
	{NULL, 0, 0, NULL, NULL, "With -c:"},
	{"process", 'p', C, "ID[:TYPE],...", "@pid",
	 "What to checkpoint. TYPE is HID (the process and its descendants; the default), PID, GID, SID or SGP"},
	{"force", 'f', C, NULL, NULL, "Accept a DIR that holds a checkpoint already"},
	{"continue", 'g', C, NULL, NULL, "The processes go on afterwards (the default)"},
	{"kill", 'k', C, NULL, NULL, "End the processes when the checkpoint is on disk"},
	{"upgrade", 'u', C, NULL, NULL, "Keep copies of executables and libraries"},
	{"keep", KEY_KEEP, C, "N", NULL, "Keep the N newest generations (1)"},
	{"hold", KEY_HOLD, C, "N,...", NULL, "Keep these generations besides"},
	{"pins", KEY_PINS, C, "DIR", "@dir", "Share copies of executables and libraries with other checkpoints in DIR"},
	{"timeout", KEY_TIMEOUT, C, "SECONDS", NULL, "Give up when the processes do not stand still by then (10)"},
	{"policy", KEY_POLICY, C, "wait|skip|abort", "wait skip abort",
	 "When a process cannot be stopped at once: wait until the timeout, come back later, or fail"},
	{"no-inject", KEY_NOINJECT, C, NULL, NULL,
	 "Refuse processes that were started without libckpt instead of bringing it in"},
	{"precopy", KEY_PRECOPY, C, "off|on|auto", "off on auto",
	 "Write most of the memory while the processes still run, auto: when there is much of it (off)"},
	{"dry-run", KEY_DRYRUN, C, NULL, NULL, "Say what would fail and write nothing"},
	{"incremental", KEY_INCREMENTAL, C, "auto|off", "auto off",
	 "Refer to what earlier generations hold already where that pays (auto), or store everything anew"},
	{"copy-limit", KEY_COPYLIMIT, C, "SIZE", NULL, "Save the content of open files up to SIZE (64M)"},
	{"file-policy", KEY_FILEPOLICY, C, "GLOB=ACTION", NULL,
	 "What becomes of open files at a restart: merge, ignore, append, replace, substitute or relocate"},
	{"include", KEY_INCLUDE, C, "GLOB", NULL, "Save these files although no process has them open; may be repeated"},
	{"drive", KEY_DRIVE, C, "FD", NULL, "Wait for a launcher's word at each phase, on this descriptor"},
	{"drive-timeout", KEY_DRIVETIMEOUT, C, "SECONDS", NULL, "How long to wait for it each time (60)"},
	{NULL, 0, 0, NULL, NULL, "With -r:"},
	{"job", 'j', R, NULL, NULL, "Restart as a job of the calling shell"},
	{"check", KEY_CHECK, R, NULL, NULL, "Say whether it would work and start nothing"},
	{"clone", KEY_CLONE, R, NULL, NULL, "Start a second life beside the first"},
	{"fenced", KEY_FENCED, R, NULL, NULL, "The first life is known to be over: do not look for it"},
	{"lazy", KEY_LAZY, R, NULL, NULL, "Map the memory from the checkpoint instead of reading it"},
	{"launch", KEY_LAUNCH, R, "NAME", NULL, "What is restarted under this name on this host puts included files back once"},
	{"settled", KEY_SETTLED, R, "FILE", NULL, "Make FILE when all files have been put back"},
	{"after", KEY_AFTER, R, "FILE", NULL, "Wait for FILE before the processes go on; may be repeated"},
	{"relocate", KEY_RELOCATE, R, "OLD=NEW", NULL, "Look for files below NEW instead of OLD"},
	{"ids", KEY_IDS, R, "auto|host|private|new", "auto host private new",
	 "Which process ids: the old ones on this host, the old ones in a namespace, or new ones"},
	{NULL, 0, 0, NULL, NULL, "With run:"},
	{"dir", KEY_DIR, N, "DIR", "@dir", "Where the program's own checkpoints go (CKPT_DIR)"},
	{NULL, 0, 0, NULL, NULL, "With several commands:"},
	{"generation", KEY_GENERATION, R | I | V, "N", NULL, "Generation N instead of the newest"},
	{"json", KEY_JSON, C | I | V | K | S, NULL, NULL, "Print JSON"},
	{"quiet", 'q', C | R | D | N | V | K, NULL, NULL, "Print errors only"},
	{"api-result", KEY_RESULT, C | R, "FD", NULL, NULL},
	{"api-ready", KEY_READY, R, "FD", NULL, NULL},
};
/* clang-format on */
#define NOPTS (sizeof(opts) / sizeof(opts[0]))

struct parse {
	struct ckpti_cmd_opts *o;
	bool have_verb;
	int verb_key;
	uint64_t seen; /* bit i: opts[i] was given */
};

static void version(FILE *f, struct argp_state *state)
{
	struct utsname u;

	(void)state;
	(void)fprintf(f, "cpr (posix-ckpt) %s\nimage format %d, agent protocol %d, ", CKPT_VERSION,
		      CKPTI_VERSION, CKPTI_PROTOCOL);
	(void)fprintf(f, "%s; -SLURM -MPI -ZSTD\n", uname(&u) == 0 ? u.machine : "unknown");
}

void (*argp_program_version_hook)(FILE *, struct argp_state *) = version;

/* One more element at the end of an array. */
static void *grow(struct argp_state *st, void *array, size_t n, size_t size)
{
	void *p = reallocarray(array, n + 1, size);

	if (!p)
		argp_failure(st, CKPTI_EXIT_FAILED, errno, "reading the arguments");
	return p;
}

static void parse_targets(struct argp_state *st, struct ckpti_cmd_opts *o, const char *arg)
{
	for (const char *end; *arg; arg = *end ? end + 1 : end) {
		end = strchrnul(arg, ',');
		o->target = grow(st, o->target, o->ntarget, sizeof(*o->target));
		if (ckpti_text_target(arg, (size_t)(end - arg), &o->target[o->ntarget]) < 0)
			argp_error(st, "'%.*s' is not ID[:TYPE]", (int)(end - arg), arg);
		o->ntarget++;
	}
}

static void parse_rule(struct argp_state *st, struct ckpti_cmd_opts *o, char *arg)
{
	char *eq = strrchr(arg, '='); /* a file name may hold one */
	struct ckpti_file_rule rule = {.glob = arg};

	if (!eq || eq == arg || ckpti_text_action(eq + 1, strlen(eq + 1), &rule.action) < 0)
		argp_error(st, "'%s' is not GLOB=ACTION", arg);
	else
		*eq = '\0';
	o->rules = grow(st, o->rules, o->nrules, sizeof(*o->rules));
	o->rules[o->nrules++] = rule;
}

static void parse_relocation(struct argp_state *st, struct ckpti_cmd_opts *o, char *arg)
{
	char *eq = strchr(arg, '=');

	if (!eq || arg[0] != '/' || eq[1] != '/') {
		argp_error(st, "'%s' is not OLD=NEW with absolute paths", arg);
		return;
	}
	*eq = '\0';
	o->reloc = grow(st, o->reloc, o->nreloc, sizeof(*o->reloc));
	o->reloc[o->nreloc++] = (struct ckpti_relocation){.from = arg, .to = eq + 1};
}

/* Position of arg in a list of words separated by spaces. */
static int parse_word(struct argp_state *st, const char *what, const char *arg, const char *words)
{
	size_t len = strlen(arg);
	int i = 0;

	for (const char *p = words; *p; i++) {
		const char *end = strchrnul(p, ' ');

		if (len == (size_t)(end - p) && strncmp(p, arg, len) == 0)
			return i;
		p = *end ? end + 1 : end;
	}
	argp_error(st, "%s '%s': one of %s is needed", what, arg, words);
	return 0;
}

static uint64_t parse_number(struct argp_state *st, const char *what, const char *arg, uint64_t min,
			     uint64_t max)
{
	uint64_t v = 0;

	if (ckpti_text_u64(arg, min, max, &v) < 0)
		argp_error(st, "%s '%s' is not a number from %llu", what, arg,
			   (unsigned long long)min);
	return v;
}

static void parse_hold(struct argp_state *st, struct ckpti_cmd_opts *o, char *arg)
{
	for (char *word; (word = strsep(&arg, ",")) != NULL;) {
		o->hold = grow(st, o->hold, o->nhold, sizeof(*o->hold));
		o->hold[o->nhold++] = parse_number(st, "--hold", word, 1, UINT64_MAX);
	}
}

static void parse_seconds(struct argp_state *st, const char *what, const char *arg,
			  unsigned *ret_ms)
{
	if (ckpti_text_seconds(arg, ret_ms) < 0)
		argp_error(st, "%s '%s' is not a number of seconds", what, arg);
}

static int parse_fd(struct argp_state *st, const char *what, const char *arg)
{
	int fd = (int)parse_number(st, what, arg, 0, INT32_MAX);

	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		argp_error(st, "%s %d: %s", what, fd, strerror(errno));
	return fd;
}

static void parse_value(struct argp_state *st, struct ckpti_cmd_opts *o, int key, char *arg)
{
	switch (key) {
	case 'p':
		parse_targets(st, o, arg);
		break;
	case 'f':
		o->force = true;
		break;
	case 'g':
		o->go_on = true;
		break;
	case 'k':
		o->kill = true;
		break;
	case 'u':
		o->upgrade = true;
		break;
	case 'j':
		o->job = true;
		break;
	case 'q':
		o->quiet = true;
		break;
	case KEY_JSON:
		o->json = true;
		break;
	case KEY_DRYRUN:
		o->dryrun = true;
		break;
	case KEY_CHECK:
		o->check = true;
		break;
	case KEY_CLONE:
		o->clone = true;
		break;
	case KEY_KEEP:
		o->keep = (unsigned)parse_number(st, "--keep", arg, 1, 10000);
		break;
	case KEY_TIMEOUT:
		parse_seconds(st, "--timeout", arg, &o->timeout_ms);
		break;
	case KEY_HOLD:
		parse_hold(st, o, arg);
		break;
	case KEY_PINS:
		o->pins = arg;
		break;
	case KEY_DRIVE:
		o->drive_fd = parse_fd(st, "--drive", arg);
		break;
	case KEY_DRIVETIMEOUT:
		parse_seconds(st, "--drive-timeout", arg, &o->drive_timeout_ms);
		break;
	case KEY_FENCED:
		o->fenced = true;
		break;
	case KEY_LAZY:
		o->lazy = true;
		break;
	case KEY_INCLUDE:
		if (!*arg)
			argp_error(st, "--include: the pattern is empty");
		o->include = grow(st, o->include, o->ninclude, sizeof(*o->include));
		o->include[o->ninclude++] = arg;
		break;
	case KEY_SETTLED:
		o->settled = arg;
		break;
	case KEY_AFTER:
		o->after = grow(st, o->after, o->nafter, sizeof(*o->after));
		o->after[o->nafter++] = arg;
		break;
	case KEY_LAUNCH:
		o->launch = arg;
		break;
	case KEY_POLICY:
		o->policy = (enum ckpti_policy)parse_word(st, "--policy", arg, "wait skip abort");
		break;
	case KEY_PRECOPY:
		o->precopy =
			(enum ckpti_precopy_mode)parse_word(st, "--precopy", arg, "off on auto");
		o->precopy_given = true;
		break;
	case KEY_NOINJECT:
		o->prepared_only = true;
		break;
	case KEY_INCREMENTAL:
		o->full = parse_word(st, "--incremental", arg, "auto off") == 1;
		break;
	case KEY_COPYLIMIT:
		if (ckpti_text_size(arg, &o->copy_limit) < 0)
			argp_error(st, "--copy-limit '%s' is not a size such as 64M", arg);
		break;
	case KEY_FILEPOLICY:
		parse_rule(st, o, arg);
		break;
	case KEY_RELOCATE:
		parse_relocation(st, o, arg);
		break;
	case KEY_GENERATION:
		o->generation = parse_number(st, "--generation", arg, 1, UINT64_MAX);
		break;
	case KEY_IDS:
		o->ids = (enum ckpti_ids)parse_word(st, "--ids", arg, "auto host private new");
		o->ids_given = true;
		break;
	case KEY_DIR:
		o->run_dir = arg;
		break;
	case KEY_RESULT:
		o->result_fd = parse_fd(st, "--api-result", arg);
		break;
	case KEY_READY:
		o->ready_fd = parse_fd(st, "--api-ready", arg);
		break;
	default:
		break;
	}
}

/* "-c" or "verify": the command as it is typed. */
static const char *verb_spelling(enum ckpti_verb verb, char buf[3])
{
	if (!ckpti_cmds[verb].letter)
		return ckpti_cmds[verb].name;
	(void)snprintf(buf, 3, "-%c", ckpti_cmds[verb].letter);
	return buf;
}

/* Everything has been read: does it make sense together? */
static void check_together(struct argp_state *st, const struct parse *p)
{
	const struct ckpti_cmd_opts *o = p->o;
	char letter[3];
	const char *verb;

	if (!p->have_verb) {
		argp_error(st,
			   "what is to be done? one of -c, -r, -i, -D, run, verify, check, status");
		return;
	}
	verb = verb_spelling(o->verb, letter);
	for (size_t i = 0; i < NOPTS; i++) {
		if (p->seen & (1ULL << i) && !(opts[i].verbs & (1U << o->verb)))
			argp_error(st, "--%s does not go with %s", opts[i].name, verb);
	}
	switch (o->verb) {
	case CKPTI_VERB_CREATE:
		if (o->ntarget == 0)
			argp_error(st, "%s needs -p ID[:TYPE]", verb);
		if (o->go_on && o->kill)
			argp_error(st, "-g and -k exclude each other");
		if (o->dryrun && o->drive_fd >= 0)
			argp_error(st, "--dry-run and --drive exclude each other");
		/* fall through */
	case CKPTI_VERB_RESTART:
		if (o->nargs != 1)
			argp_error(st, "%s needs one directory", verb);
		if (o->clone && o->fenced)
			argp_error(st, "--clone and --fenced exclude each other");
		if (o->check && o->lazy) /* it says whether all of it is good */
			argp_error(st, "--check and --lazy exclude each other");
		break;
	case CKPTI_VERB_INFO:
	case CKPTI_VERB_REMOVE:
	case CKPTI_VERB_VERIFY:
		if (o->nargs == 0)
			argp_error(st, "%s needs a directory", verb);
		break;
	case CKPTI_VERB_RUN:
		/* A launcher that restarts by the environment need not know the command. */
		if (o->nargs == 0 && !getenv("CKPT_RESTART"))
			argp_error(st, "%s needs a command", verb);
		break;
	case CKPTI_VERB_CHECK:
		if (o->nargs > 1)
			argp_error(st, "%s takes one process at a time", verb);
		break;
	case CKPTI_VERB_STATUS:
		if (o->nargs > 0)
			argp_error(st, "%s takes no operands", verb);
		break;
	case CKPTI_VERB_COUNT:
		break;
	}
}

static error_t parse_one(int key, char *arg, struct argp_state *st)
{
	struct parse *p = st->input;

	switch (key) {
	case ARGP_KEY_ARG:
		return ARGP_ERR_UNKNOWN; /* all of them at once, below */
	case ARGP_KEY_ARGS:
		p->o->args = st->argv + st->next;
		p->o->nargs = st->argc - st->next;
		return 0;
	case ARGP_KEY_END:
		check_together(st, p);
		return 0;
	default:
		break;
	}
	for (unsigned i = 0; i < CKPTI_VERB_COUNT; i++) {
		if (ckpti_cmds[i].letter == 0 || ckpti_cmds[i].letter != key)
			continue;
		if (p->have_verb && p->o->verb != i)
			argp_error(st, "-%c does not go with another command", key);
		p->have_verb = true;
		p->o->verb = i;
		return 0;
	}
	for (size_t i = 0; i < NOPTS; i++) {
		if (opts[i].name && opts[i].key == key) {
			p->seen |= 1ULL << i;
			parse_value(st, p->o, key, arg);
			return 0;
		}
	}
	return ARGP_ERR_UNKNOWN;
}

static void build_options(struct argp_option *ao)
{
	*ao++ = (struct argp_option){.doc = "Commands:", .group = 1};
	for (unsigned i = 0; i < CKPTI_VERB_COUNT; i++) {
		if (ckpti_cmds[i].letter)
			*ao++ = (struct argp_option){.name = ckpti_cmds[i].name,
						     .key = ckpti_cmds[i].letter,
						     .doc = ckpti_cmds[i].summary,
						     .group = 1};
		else
			*ao++ = (struct argp_option){.name = ckpti_cmds[i].name,
						     .flags = OPTION_DOC | OPTION_NO_USAGE,
						     .doc = ckpti_cmds[i].summary,
						     .group = 2};
	}
	for (size_t i = 0, group = 2; i < NOPTS; i++, ao++) {
		group += opts[i].name == NULL;
		*ao = (struct argp_option){.name = opts[i].name,
					   .key = opts[i].key,
					   .arg = opts[i].arg,
					   .flags = opts[i].doc ? 0 : OPTION_HIDDEN,
					   .doc = opts[i].doc,
					   .group = (int)group};
	}
	*ao = (struct argp_option){.name = NULL};
}

static void build_usage(char *buf, size_t size)
{
	size_t used = 0;
	char letter[3];

	for (unsigned i = 0; i < CKPTI_VERB_COUNT && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s %s", i ? "\n" : "",
					 verb_spelling(i, letter), ckpti_cmds[i].operands);
}

void ckpti_opts_parse(int argc, char **argv, struct ckpti_cmd_opts *ret)
{
	struct argp_option options[NOPTS + CKPTI_VERB_COUNT + 2];
	char usage[1024];
	struct argp argp = {.options = options,
			    .parser = parse_one,
			    .args_doc = usage,
			    .doc = "Checkpoint running programs and restart them.\v"
				   "Exit status: 0 done, 1 failed, 2 usage, 3 no such process or "
				   "checkpoint, 4 refused. -r passes on the status of the "
				   "restarted program. See cpr(1)."};
	struct parse p = {.o = ret};
	unsigned flags = 0;

	argp_err_exit_status = CKPTI_EXIT_USAGE;
	*ret = (struct ckpti_cmd_opts){
		.result_fd = CKPTI_RESULT_NONE, .ready_fd = -1, .drive_fd = -1};
	build_options(options);
	build_usage(usage, sizeof(usage));

	for (unsigned i = 0; argc > 1 && i < CKPTI_VERB_COUNT; i++) {
		if (ckpti_cmds[i].letter || strcmp(argv[1], ckpti_cmds[i].name) != 0)
			continue;
		p.have_verb = true;
		ret->verb = i;
		argv[1] = argv[0]; /* argp takes the program's name from there */
		argc--;
		argv++;
		break;
	}
	if (p.have_verb && ret->verb == CKPTI_VERB_RUN)
		flags = ARGP_IN_ORDER; /* the command's options are its own */
	else
		(void)unsetenv("POSIXLY_CORRECT"); /* `-c DIR -p ID`: options follow an operand */
	(void)argp_parse(&argp, argc, argv, flags, NULL, &p);
}

void ckpti_opts_free(struct ckpti_cmd_opts *o)
{
	free(o->target);
	free(o->rules);
	free(o->reloc);
	free(o->hold);
	free(o->include);
	free(o->after);
}

/* ---- completion --------------------------------------------------------------------------- */

/* Is `word` how option or command {name, letter} is typed?  Letters may be joined: -fgc. */
static bool spells(const char *word, const char *name, int letter)
{
	if (word[0] != '-')
		return !letter && strcmp(word, name) == 0;
	if (word[1] == '-')
		return strcmp(word + 2, name) == 0;
	return letter > 0 && letter < 0x100 && strchr(word + 1, letter) != NULL;
}

static void complete_words(const char *values)
{
	for (; *values; values++)
		(void)putchar(*values == ' ' ? '\n' : *values);
	(void)putchar('\n');
}

void ckpti_opts_complete(int nwords, char **words)
{
	static const char *const operands[CKPTI_VERB_COUNT] = {
		[CKPTI_VERB_CREATE] = "@dir",  [CKPTI_VERB_RESTART] = "@dir",
		[CKPTI_VERB_INFO] = "@dir",    [CKPTI_VERB_REMOVE] = "@dir",
		[CKPTI_VERB_RUN] = "@command", [CKPTI_VERB_VERIFY] = "@dir",
		[CKPTI_VERB_CHECK] = "@pid",
	};
	unsigned verb = CKPTI_VERB_COUNT;
	char letter[3];

	for (int w = 0; w < nwords && verb == CKPTI_VERB_COUNT; w++) {
		for (unsigned i = 0; i < CKPTI_VERB_COUNT; i++) {
			bool word = ckpti_cmds[i].letter == 0;

			if ((!word || w == 0) &&
			    spells(words[w], ckpti_cmds[i].name, ckpti_cmds[i].letter))
				verb = i;
		}
	}
	if (verb == CKPTI_VERB_COUNT) {
		for (unsigned i = 0; i < CKPTI_VERB_COUNT; i++) {
			(void)puts(verb_spelling(i, letter));
			if (ckpti_cmds[i].letter)
				(void)printf("--%s\n", ckpti_cmds[i].name);
		}
		(void)puts("--help\n--usage\n--version");
		return;
	}
	/* The shell splits --policy=wait into three words. */
	if (nwords > 1 && strcmp(words[nwords - 1], "=") == 0)
		nwords--;
	for (size_t i = 0; i < NOPTS; i++) {
		if (opts[i].arg && nwords > 0 && words[nwords - 1][0] == '-' &&
		    spells(words[nwords - 1], opts[i].name, opts[i].key)) {
			if (opts[i].values)
				complete_words(opts[i].values);
			return;
		}
	}
	for (size_t i = 0; i < NOPTS; i++) {
		if (!(opts[i].verbs & (1U << verb)) || !opts[i].doc)
			continue;
		(void)printf("--%s\n", opts[i].name);
		if (opts[i].key < 0x100)
			(void)printf("-%c\n", opts[i].key);
	}
	if (operands[verb])
		(void)puts(operands[verb]);
}
