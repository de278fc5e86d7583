/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Values by type: from text into a field of struct ckpti_config and back.  Nothing here depends on
 * the locale.  What print writes, parse reads.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/schema.h"

/* As many bytes of a wrong value as a message repeats. */
#define QUOTE "'%.60s'"

static void *field(const struct ckpti_key *key, struct ckpti_config *c)
{
	return (char *)c + key->offset;
}

static const void *field_const(const struct ckpti_key *key, const struct ckpti_config *c)
{
	return (const char *)c + key->offset;
}

bool ckpti_value_is_list(const struct ckpti_key *key)
{
	return key->type == CKPTI_T_PATHS || key->type == CKPTI_T_RULES;
}

/* ---- words ---------------------------------------------------------------------------------- */

/* Position of s in a list of words by spaces. */
static int find_word(const char *words, const char *s, unsigned *ret)
{
	size_t len = strlen(s), n;
	unsigned i = 0;

	for (const char *p = words; *p; p += n + (p[n] == ' '), i++) {
		n = strcspn(p, " ");
		if (n == len && strncasecmp(p, s, n) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

static void print_word(FILE *f, const char *words, unsigned number)
{
	for (; number > 0; number--)
		words += strcspn(words, " ") + 1;
	(void)fprintf(f, "%.*s", (int)strcspn(words, " "), words);
}

static int parse_bool(const char *text, bool *ret, struct ckpti_err *err)
{
	unsigned n;

	if (find_word("no yes false true off on", text, &n) < 0)
		return ckpti_err(err, -EINVAL, QUOTE " is neither yes nor no", text);
	*ret = n & 1;
	return 0;
}

static int parse_word(const struct ckpti_key *key, const char *text, unsigned *ret,
		      struct ckpti_err *err)
{
	if (find_word(key->words, text, ret) < 0)
		return ckpti_err(err, -EINVAL, QUOTE " is none of: %s", text, key->words);
	return 0;
}

/* In the order of the words of the row, which begin with none. */
static const unsigned signals[] = {0, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGURG, SIGWINCH};

static int parse_signal(const struct ckpti_key *key, const char *text, unsigned *ret,
			struct ckpti_err *err)
{
	unsigned n;
	int r;

	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	r = parse_word(key, text, &n, err);
	if (r == 0)
		*ret = signals[n];
	return r;
}

/* ---- numbers -------------------------------------------------------------------------------- */

/* Leading digits; NULL without any or when the number is too large, else what follows. */
static const char *scan(const char *s, uint64_t *ret)
{
	uint64_t v = 0;
	const char *p = s;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return NULL;
	}
	*ret = v;
	return p == s ? NULL : p;
}

static int parse_number(const struct ckpti_key *key, const char *text, unsigned *ret,
			struct ckpti_err *err)
{
	uint64_t v;
	const char *end = scan(text, &v);

	if (!end || *end || v < key->min || v > key->max)
		return ckpti_err(err, -EINVAL,
				 QUOTE " is not a number from %" PRIu64 " to %" PRIu64, text,
				 key->min, key->max);
	*ret = (unsigned)v;
	return 0;
}

static int parse_seconds(const struct ckpti_key *key, const char *text, uint64_t *ret,
			 struct ckpti_err *err)
{
	char min[CKPTI_SECONDS_SIZE], max[CKPTI_SECONDS_SIZE];
	bool never = key->flags & CKPTI_HAS_NEVER;
	uint64_t v, n;
	const char *end = scan(text, &n);

	if (ckpti_config_seconds(text, &v) < 0)
		return ckpti_err(err, -EINVAL, QUOTE " is not a time such as 30s, 5m or 1:30:00%s",
				 text, never ? ", or never" : "");
	/* Slurm's --checkpoint=0 was: no checkpoints. */
	if (v == 0 && never)
		v = CKPTI_CONFIG_NEVER;
	if ((v != CKPTI_CONFIG_NEVER || !never) &&
	    (v != CKPTI_CONFIG_AUTO || !(key->flags & CKPTI_HAS_AUTO)) &&
	    (v < key->min || v > key->max))
		return ckpti_err(err, -ERANGE, QUOTE " is not a time from %s to %s%s", text,
				 ckpti_seconds_text(key->min, min),
				 ckpti_seconds_text(key->max, max),
				 end && !*end ? " (a plain number is minutes)" : "");
	*ret = v;
	return 0;
}

/* 10, 10K, 10M, 10G, 10T: powers of 1024. */
static int scan_size(const char *text, uint64_t *ret)
{
	static const char letters[] = "KMGT";
	uint64_t v;
	const char *end = scan(text, &v), *letter;

	if (!end)
		return -EINVAL;
	if (*end) {
		letter = strchr(letters, *end & ~0x20);
		if (!letter || !*letter || end[1])
			return -EINVAL;
		if (__builtin_mul_overflow(v, 1ULL << 10 * (letter - letters + 1), &v))
			return -EINVAL;
	}
	*ret = v;
	return 0;
}

static int parse_size(const struct ckpti_key *key, const char *text, uint64_t *ret,
		      struct ckpti_err *err)
{
	uint64_t v;

	if (scan_size(text, &v) < 0 || v < key->min || v > key->max)
		return ckpti_err(err, -EINVAL, QUOTE " is not a size such as 512K, 64M or 2G",
				 text);
	*ret = v;
	return 0;
}

static int parse_reserve(const char *text, struct ckpti_config_reserve *ret, struct ckpti_err *err)
{
	struct ckpti_config_reserve v = {0};
	uint64_t percent;
	const char *end = scan(text, &percent);

	if (end && strcmp(end, "%") == 0 && percent < 100)
		v.percent = (unsigned)percent;
	else if (scan_size(text, &v.bytes) < 0)
		return ckpti_err(err, -EINVAL,
				 QUOTE " is neither a size such as 2G nor 0%% to 99%%", text);
	*ret = v;
	return 0;
}

static void print_size(FILE *f, uint64_t bytes)
{
	static const char *const letter[] = {"", "K", "M", "G", "T"};
	size_t i = 0;

	for (; bytes && bytes % 1024 == 0 && i < 4; i++)
		bytes /= 1024;
	(void)fprintf(f, "%" PRIu64 "%s", bytes, letter[i]);
}

static int parse_ports(const char *text, struct ckpti_config_ports *ret, struct ckpti_err *err)
{
	uint64_t low, high;
	const char *end;

	if (strcasecmp(text, "slurm") == 0) {
		*ret = (struct ckpti_config_ports){0};
		return 0;
	}
	end = scan(text, &low);
	if (end && *end == '-')
		end = scan(end + 1, &high);
	else
		high = low;
	if (!end || *end || low < 1 || low > high || high > 65535)
		return ckpti_err(err, -EINVAL, QUOTE " is no range of ports such as 60001-60100",
				 text);
	*ret = (struct ckpti_config_ports){.low = (unsigned)low, .high = (unsigned)high};
	return 0;
}

/* ---- text ----------------------------------------------------------------------------------- */

static int check_path(const char *text, struct ckpti_err *err)
{
	if (text[0] != '/')
		return ckpti_err(err, -EINVAL, QUOTE " is not an absolute path", text);
	if (strlen(text) >= PATH_MAX)
		return ckpti_err(err, -ENAMETOOLONG, QUOTE "...: the path is too long", text);
	return 0;
}

static int check_pattern(const char *text, struct ckpti_err *err)
{
	if (!*text)
		return ckpti_err(err, -EINVAL, "an empty directory");
	if (strlen(text) >= PATH_MAX)
		return ckpti_err(err, -ENAMETOOLONG, QUOTE "...: the path is too long", text);
	for (const char *p = text; (p = strchr(p, '%')); p += 2) {
		if (!p[1] || !strchr("jsun%", p[1]))
			return ckpti_err(err, -EINVAL,
					 "'%.2s' in " QUOTE " is none of: %%j %%s %%u %%n %%%%", p,
					 text);
	}
	return 0;
}

static int check_rule(const struct ckpti_key *key, const char *text, struct ckpti_err *err)
{
	const char *eq = strrchr(text, '='); /* a file name may hold one */
	unsigned n;

	if (!eq || eq == text)
		return ckpti_err(err, -EINVAL, QUOTE " is not GLOB=ACTION", text);
	if (find_word(key->words, eq + 1, &n) < 0)
		return ckpti_err(err, -EINVAL, QUOTE " is none of: %s", eq + 1, key->words);
	return 0;
}

static int check_text(const struct ckpti_key *key, const char *text, struct ckpti_err *err)
{
	if (key->type == CKPTI_T_PATHS || (key->type == CKPTI_T_PATH && *text))
		return check_path(text, err);
	if (key->type == CKPTI_T_PATTERN)
		return check_pattern(text, err);
	if (key->type == CKPTI_T_RULES)
		return check_rule(key, text, err);
	return 0;
}

static int parse_text(const struct ckpti_key *key, const char *text, struct ckpti_config *c,
		      struct ckpti_err *err)
{
	struct ckpti_config_list *list;
	char *copy, **grown, **string;
	int r = check_text(key, text, err);

	if (r < 0)
		return r;
	copy = strdup(text);
	if (!copy)
		return ckpti_err(err, -ENOMEM, "out of memory");
	if (!ckpti_value_is_list(key)) {
		string = field(key, c);
		free(*string);
		*string = copy;
		return 0;
	}
	list = field(key, c);
	grown = reallocarray(list->item, list->n + 1, sizeof(*list->item));
	if (!grown) {
		free(copy);
		return ckpti_err(err, -ENOMEM, "out of memory");
	}
	list->item = grown;
	list->item[list->n++] = copy;
	return 0;
}

void ckpti_value_clear(const struct ckpti_key *key, struct ckpti_config *c)
{
	struct ckpti_config_list *list;
	char **string;

	if (ckpti_value_is_list(key)) {
		list = field(key, c);
		for (size_t i = 0; i < list->n; i++)
			free(list->item[i]);
		free(list->item);
		*list = (struct ckpti_config_list){0};
	} else if (key->type == CKPTI_T_PATH || key->type == CKPTI_T_PATTERN) {
		string = field(key, c);
		free(*string);
		*string = NULL;
	}
}

/* A scalar of YAML: in quotes when it could be taken for something else. */
static void print_text(FILE *f, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "/._-+=%*";

	if (*text && !strchr("-+=%*", *text) && strspn(text, plain) == strlen(text)) {
		(void)fputs(text, f);
		return;
	}
	(void)fputc('"', f);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			(void)fputc('\\', f);
		(void)fputc(*text, f);
	}
	(void)fputc('"', f);
}

static void print_list(FILE *f, const struct ckpti_config_list *list)
{
	(void)fputc('[', f);
	for (size_t i = 0; i < list->n; i++) {
		(void)fputs(i ? ", " : "", f);
		print_text(f, list->item[i]);
	}
	(void)fputc(']', f);
}

/* ---- all of them ---------------------------------------------------------------------------- */

int ckpti_value_parse(const struct ckpti_key *key, const char *text, struct ckpti_config *c,
		      struct ckpti_err *err)
{
	switch (key->type) {
	case CKPTI_T_BOOL:
		return parse_bool(text, field(key, c), err);
	case CKPTI_T_WORD:
		return parse_word(key, text, field(key, c), err);
	case CKPTI_T_SIGNAL:
		return parse_signal(key, text, field(key, c), err);
	case CKPTI_T_NUMBER:
		return parse_number(key, text, field(key, c), err);
	case CKPTI_T_SECONDS:
		return parse_seconds(key, text, field(key, c), err);
	case CKPTI_T_SIZE:
		return parse_size(key, text, field(key, c), err);
	case CKPTI_T_RESERVE:
		return parse_reserve(text, field(key, c), err);
	case CKPTI_T_PORTS:
		return parse_ports(text, field(key, c), err);
	case CKPTI_T_PATH:
	case CKPTI_T_PATTERN:
	case CKPTI_T_PATHS:
	case CKPTI_T_RULES:
		return parse_text(key, text, c, err);
	}
	return -EINVAL;
}

uint64_t ckpti_value_number(const struct ckpti_key *key, const struct ckpti_config *c)
{
	if (key->type == CKPTI_T_NUMBER)
		return *(const unsigned *)field_const(key, c);
	return *(const uint64_t *)field_const(key, c);
}

void ckpti_value_print(FILE *f, const struct ckpti_key *key, const struct ckpti_config *c)
{
	const void *p = field_const(key, c);
	const struct ckpti_config_reserve *reserve = p;
	const struct ckpti_config_ports *ports = p;
	char buf[CKPTI_SECONDS_SIZE];
	unsigned n = 0;

	switch (key->type) {
	case CKPTI_T_BOOL:
		(void)fputs(*(const bool *)p ? "yes" : "no", f);
		break;
	case CKPTI_T_WORD:
		print_word(f, key->words, *(const unsigned *)p);
		break;
	case CKPTI_T_SIGNAL:
		while (signals[n] != *(const unsigned *)p)
			n++;
		print_word(f, key->words, n);
		break;
	case CKPTI_T_NUMBER:
		(void)fprintf(f, "%u", *(const unsigned *)p);
		break;
	case CKPTI_T_SECONDS:
		(void)fputs(ckpti_seconds_text(*(const uint64_t *)p, buf), f);
		break;
	case CKPTI_T_SIZE:
		print_size(f, *(const uint64_t *)p);
		break;
	case CKPTI_T_RESERVE:
		if (reserve->percent)
			(void)fprintf(f, "%u%%", reserve->percent);
		else
			print_size(f, reserve->bytes);
		break;
	case CKPTI_T_PORTS:
		if (ports->low)
			(void)fprintf(f, "%u-%u", ports->low, ports->high);
		else
			(void)fputs("slurm", f);
		break;
	case CKPTI_T_PATH:
	case CKPTI_T_PATTERN:
		print_text(f, *(char *const *)p);
		break;
	case CKPTI_T_PATHS:
	case CKPTI_T_RULES:
		print_list(f, p);
		break;
	}
}
