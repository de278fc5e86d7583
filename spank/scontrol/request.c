/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arguments, by the rules and with the texts of the old `scontrol checkpoint`:
 * abbreviations, upper and lower case, at most two arguments after the id.  Unlike there,
 * whatever is wrong gives exit status 1.
 */
#include "spank/scontrol/request.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "spank/lib/step.h"
#include "spank/scontrol/options.h"
#include "spank/scontrol/say.h"

#define MAX_ARGS     2 /* after the id; `kill` is not counted */
#define MAX_PARALLEL 1000U

/* The order decides what "re" means. */
static const struct {
	const char *name;
	size_t min; /* letters */
	enum ckpti_verb verb;
} verbs[] = {
	{"able", 1, CKPTI_REQ_ABLE},       {"disable", 1, CKPTI_REQ_DISABLE},
	{"enable", 2, CKPTI_REQ_ENABLE},   {"create", 2, CKPTI_REQ_CREATE},
	{"requeue", 2, CKPTI_REQ_REQUEUE}, {"vacate", 2, CKPTI_REQ_VACATE},
	{"restart", 3, CKPTI_REQ_RESTART}, {"error", 2, CKPTI_REQ_ERROR},
	{"status", 1, CKPTI_REQ_STATUS},   {"show", 2, CKPTI_REQ_SHOW},
	{"check", 2, CKPTI_REQ_CHECK},
};

const char *ckpti_request_verb(enum ckpti_verb verb)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (verbs[i].verb == verb)
			return verbs[i].name;
	}
	return "";
}

static int parse_verb(const char *text, enum ckpti_verb *ret)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (len >= verbs[i].min && strncasecmp(text, verbs[i].name, len) == 0) {
			*ret = verbs[i].verb;
			return 0;
		}
	}
	return -EINVAL;
}

/* Digits only; -EINVAL. */
static int parse_number(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return *end || errno || *ret > max ? -EINVAL : 0;
}

/* "123" or "123_4". */
static bool is_job(const char *text)
{
	static const char digits[] = "0123456789";
	size_t n = strspn(text, digits);

	if (n > 0 && text[n] == '_' && text[n + 1])
		n += 1 + strspn(text + n + 1, digits);
	return n > 0 && text[n] == '\0';
}

int ckpti_request_parse_id(const char *text, struct ckpti_request *ret)
{
	const char *dot = strchrnul(text, '.');
	size_t len = (size_t)(dot - text);
	uint64_t value;

	if (len >= sizeof(ret->job))
		return -EINVAL;
	memcpy(ret->job, text, len);
	ret->job[len] = '\0';
	ret->has_step = *dot == '.';
	if (ret->has_step && strcmp(dot + 1, "batch") == 0) {
		ret->step = CKPTI_STEP_BATCH;
	} else if (ret->has_step) {
		/* The numbers above are batch, extern and the like. */
		if (parse_number(dot + 1, CKPTI_STEP_BATCH - 1, &value) < 0)
			return -EINVAL;
		ret->step = (uint32_t)value;
	}
	return is_job(ret->job) ? 0 : -EINVAL;
}

static int absolute(const char *path, char ret[PATH_MAX])
{
	char here[PATH_MAX] = "";
	int n;

	if (!*path)
		return -EINVAL;
	if (*path != '/' && !getcwd(here, sizeof(here)))
		return -errno;
	n = snprintf(ret, PATH_MAX, "%s%s%s", here, *path == '/' ? "" : "/", path);
	return n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static bool is_kill(const char *arg)
{
	return strcasecmp(arg, "kill") == 0;
}

/* One of the arguments after the id. */
static int parse_arg(const char *arg, struct ckpti_request *q)
{
	size_t len = strlen(arg);
	uint64_t value;

	if (strncasecmp(arg, "MaxWait=", 8) == 0 && q->verb != CKPTI_REQ_RESTART) {
		if (parse_number(arg + 8, 1000000, &value) < 0 || value == 0)
			return -EINVAL;
		q->max_wait = (unsigned)value;
		return 0;
	}
	if (strncasecmp(arg, "ImageDir=", 9) == 0)
		return absolute(arg + 9, q->image_dir);
	if (q->verb == CKPTI_REQ_RESTART && len >= 5 &&
	    strncasecmp(arg, "StickToNodes", len) == 0) {
		q->stick = true;
		return 0;
	}
	if (is_kill(arg) && (q->verb == CKPTI_REQ_CREATE || q->verb == CKPTI_REQ_VACATE)) {
		q->verb = CKPTI_REQ_VACATE;
		return 0;
	}
	return -EINVAL;
}

static int usage(void)
{
	(void)printf(
		"usage: scontrol checkpoint VERB JOB[.STEP] [MaxWait=SECONDS] [ImageDir=DIR]\n"
		"       scontrol checkpoint restart JOB [ImageDir=DIR] [StickToNodes]\n"
		"       scontrol checkpoint status [JOB[.STEP]]\n"
		"       scontrol checkpoint vacate|requeue|status --nodes=LIST|--partition=NAME|"
		"--reservation=NAME\n"
		"                [--parallel=N] [MaxWait=SECONDS]\n"
		"       scontrol checkpoint show|check DIR|JOB[.STEP]\n"
		"       ckpt-step VERB ...\n"
		"VERB: able create vacate requeue restart disable enable error status\n");
	return EXIT_SUCCESS + 1;
}

#define FAILED (EXIT_FAILURE + 1)

/* Options stand anywhere, as with scontrol; q is filled, argv is sorted.  0, or as the caller. */
static int parse_options(int argc, char **argv, struct ckpti_request *q)
{
	enum {
		NODES = 256,
		PARTITION,
		RESERVATION,
		PARALLEL
	};
	static const struct option longs[] = {CKPTI_SCONTROL_LONG_OPTIONS,
					      {"nodes", required_argument, NULL, NODES},
					      {"partition", required_argument, NULL, PARTITION},
					      {"reservation", required_argument, NULL, RESERVATION},
					      {"parallel", required_argument, NULL, PARALLEL},
					      {0}};
	uint64_t value;
	int c;

	while ((c = getopt_long(argc, argv, CKPTI_SCONTROL_OPTIONS, longs, NULL)) != -1) {
		switch (c) {
		case NODES:
			q->nodes = optarg;
			break;
		case PARTITION:
			q->partition = optarg;
			break;
		case RESERVATION:
			q->reservation = optarg;
			break;
		case PARALLEL:
			if (parse_number(optarg, MAX_PARALLEL, &value) < 0 || value == 0) {
				ckpti_say_plain("--parallel=%s: a number from 1 to %u is needed",
						optarg, MAX_PARALLEL);
				return FAILED;
			}
			q->parallel = (unsigned)value;
			break;
		case 'Q':
			ckpti_say_quiet = true;
			break;
		case 'M':
		case 'u':
			ckpti_say_plain("checkpoint works on the jobs of this cluster, by their "
					"owner or root: no option -%c",
					c);
			return FAILED;
		case 'V':
			(void)printf("posix-ckpt %s\n", CKPT_VERSION);
			return EXIT_SUCCESS + 1;
		case 'h':
			return usage();
		case '?':
			return FAILED;
		default:
			break;
		}
	}
	return 0;
}

static int check_selection(const struct ckpti_request *q)
{
	int n = !!q->nodes + !!q->partition + !!q->reservation;

	if (n > 1)
		ckpti_say_plain("--nodes, --partition and --reservation: only one of them");
	else if (n && q->verb != CKPTI_REQ_VACATE && q->verb != CKPTI_REQ_REQUEUE &&
		 q->verb != CKPTI_REQ_STATUS)
		ckpti_say_plain("many jobs at once: only for vacate, requeue and status");
	else if (n && q->image_dir[0])
		ckpti_say_plain("ImageDir= is for one job");
	else if (!n && q->parallel)
		ckpti_say_plain("--parallel needs one of --nodes, --partition and --reservation");
	else
		return 0;
	return FAILED;
}

/* The one argument of show and check: a directory, or what may be a job when there is none. */
static int parse_place(int n, char **argv, struct ckpti_request *q)
{
	if (n != 2) {
		ckpti_say_plain("too %s arguments for keyword:checkpoint", n < 2 ? "few" : "many");
		return FAILED;
	}
	if (absolute(argv[1], q->image_dir) < 0) {
		ckpti_say_plain("Invalid input: %s", argv[1]);
		return FAILED;
	}
	if (ckpti_request_parse_id(argv[1], q) < 0)
		q->job[0] = '\0';
	return 0;
}

int ckpti_request_parse(int argc, char **argv, struct ckpti_request *ret)
{
	bool many, idless;
	int n, args, r;

	*ret = (struct ckpti_request){0};
	if (argc > 0)
		argv[0] = (char *)(uintptr_t) "scontrol"; /* getopt() prints it */
	r = parse_options(argc, argv, ret);
	if (r)
		return r;
	argv += optind;
	n = argc - optind;
	many = ret->nodes || ret->partition || ret->reservation;
	if (n > 0 && parse_verb(argv[0], &ret->verb) < 0 && (n > 1 || many)) {
		ckpti_say_plain("Invalid checkpoint operation: %s", argv[0]);
		return FAILED;
	}
	if (n > 0 && !many && (ret->verb == CKPTI_REQ_SHOW || ret->verb == CKPTI_REQ_CHECK))
		return parse_place(n, argv, ret);
	idless = many || (n == 1 && ret->verb == CKPTI_REQ_STATUS);
	args = idless ? 1 : 2; /* index of the first argument after the id */
	if (n < args) {
		ckpti_say_plain("too few arguments for keyword:checkpoint");
		return FAILED;
	}
	if (!idless && strchr(argv[1], '+')) {
		(void)ckpti_say_error("ESLURM_NOT_SUPPORTED",
				      "heterogeneous jobs are not checkpointed");
		return FAILED;
	}
	if (!idless && ckpti_request_parse_id(argv[1], ret) < 0) {
		ckpti_say_plain("Invalid job step name");
		return FAILED;
	}
	for (int i = args, counted = 0; i < n; i++) {
		counted += !is_kill(argv[i]);
		if (counted > MAX_ARGS) {
			ckpti_say_plain("too many arguments for keyword:checkpoint");
			return FAILED;
		}
	}
	for (int i = args; i < n; i++) {
		if (parse_arg(argv[i], ret) < 0) {
			ckpti_say_plain("Invalid input: %s", argv[i]);
			ckpti_say_plain("Request aborted");
			return FAILED;
		}
	}
	return check_selection(ret);
}
