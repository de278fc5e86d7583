/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The attribute file: a scanner that knows line and column, a parser with one token of look-ahead, and
 * the choice of what holds for a request.
 */
#include "attr.h"

#include <ckpt.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

#define MAX_FILE (1U << 20) /* a larger one was not written by hand */

enum token {
	TOK_END,
	TOK_WORD,
	TOK_STRING,
	TOK_PUNCT,
	TOK_BAD
};

struct scanner {
	const char *name;
	const char *p, *end;
	const char *line_start;
	unsigned line;
	struct ckpti_err *err;
	/* the token in hand */
	enum token tok;
	const char *start; /* a string's starts behind the quote */
	size_t len;
	unsigned tok_line, tok_col;
};

static int fail(const struct scanner *s, const char *what)
{
	return ckpti_err(s->err, -EINVAL, "%s:%u:%u: %s", s->name, s->tok_line, s->tok_col, what);
}

static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '*' || c == '.' || c == '-' || c == '_';
}

static void skip_blanks(struct scanner *s)
{
	bool comment = false;

	for (; s->p < s->end; s->p++) {
		if (*s->p == '\n') {
			comment = false;
			s->line++;
			s->line_start = s->p + 1;
		} else if (*s->p == '#') {
			comment = true;
		} else if (!comment && *s->p != ' ' && *s->p != '\t' && *s->p != '\r') {
			break;
		}
	}
}

/* The string ends at a quote that has no backslash in front of it. */
static void scan_string(struct scanner *s)
{
	s->start = ++s->p;
	for (; s->p < s->end && *s->p != '\n' && *s->p != '\0'; s->p++) {
		if (*s->p == '"' && s->p[-1] != '\\') {
			s->len = (size_t)(s->p - s->start);
			s->p++;
			s->tok = TOK_STRING;
			return;
		}
	}
	s->tok = TOK_BAD;
}

static void next(struct scanner *s)
{
	skip_blanks(s);
	s->start = s->p;
	s->len = 0;
	s->tok_line = s->line;
	s->tok_col = (unsigned)(s->p - s->line_start) + 1;
	if (s->p == s->end) {
		s->tok = TOK_END;
	} else if (*s->p == '"') {
		scan_string(s);
	} else if (is_word_char(*s->p)) {
		while (s->p < s->end && is_word_char(*s->p))
			s->p++;
		s->len = (size_t)(s->p - s->start);
		s->tok = TOK_WORD;
	} else if (*s->p == '{' || *s->p == '}' || *s->p == ':' || *s->p == ';') {
		s->p++;
		s->len = 1;
		s->tok = TOK_PUNCT;
	} else {
		s->tok = TOK_BAD;
	}
}

static bool at_word(const struct scanner *s, const char *word)
{
	return s->tok == TOK_WORD && s->len == strlen(word) &&
	       strncasecmp(s->start, word, s->len) == 0;
}

static bool at_punct(const struct scanner *s, char c)
{
	return s->tok == TOK_PUNCT && *s->start == c;
}

static int expect_punct(struct scanner *s, char c)
{
	char what[] = "'?' expected";

	what[1] = c;
	if (!at_punct(s, c))
		return fail(s, what);
	next(s);
	return 0;
}

/* The policies without an instance, and what each may say. */
static const struct {
	const char *name;
	const char *expected;
	struct {
		const char *name;
		enum ckpti_attr_action action;
	} actions[3];
} policies[CKPTI_ATTR_COUNT] = {
	[CKPTI_ATTR_WILL] = {"WILL",
			     "EXIT, CONT or KILL expected",
			     {{"EXIT", CKPTI_ATTR_EXIT},
			      {"CONT", CKPTI_ATTR_CONT},
			      {"KILL", CKPTI_ATTR_KILL}}},
	[CKPTI_ATTR_CDIR] = {"CDIR",
			     "REPLACE or IGNORE expected",
			     {{"REPLACE", CKPTI_ATTR_REPLACE}, {"IGNORE", CKPTI_ATTR_IGNORE}}},
	[CKPTI_ATTR_RDIR] = {"RDIR",
			     "REPLACE or IGNORE expected",
			     {{"REPLACE", CKPTI_ATTR_REPLACE}, {"IGNORE", CKPTI_ATTR_IGNORE}}},
	[CKPTI_ATTR_FORK] = {"FORK",
			     "ORIGINAL or ANY expected",
			     {{"ORIGINAL", CKPTI_ATTR_ORIGINAL}, {"ANY", CKPTI_ATTR_ANY}}},
};

/* A copy of the string in hand: \" stands for a quote, any other backslash belongs to the pattern. */
static char *take_string(const struct scanner *s)
{
	char *copy = malloc(s->len + 1), *out = copy;

	if (!copy)
		return NULL;
	for (size_t i = 0; i < s->len; i++) {
		if (s->start[i] == '\\' && i + 1 < s->len && s->start[i + 1] == '"')
			continue;
		*out++ = s->start[i];
	}
	*out = '\0';
	return copy;
}

static int parse_file_rule(struct scanner *s, struct ckpti_attr_block *b)
{
	struct ckpti_file_rule *rules;
	char *glob;
	int r;

	if (s->tok != TOK_STRING || s->len == 0)
		return fail(s, "file name in quotes expected");
	rules = reallocarray(b->rules, b->nrules + 1, sizeof(*rules));
	if (!rules)
		return ckpti_err(s->err, -ENOMEM, "%s: out of memory", s->name);
	b->rules = rules;
	glob = take_string(s);
	if (!glob)
		return ckpti_err(s->err, -ENOMEM, "%s: out of memory", s->name);
	b->rules[b->nrules++] = (struct ckpti_file_rule){.glob = glob};
	next(s);
	r = expect_punct(s, ':');
	if (r < 0)
		return r;
	if (s->tok != TOK_WORD ||
	    ckpti_text_action(s->start, s->len, &b->rules[b->nrules - 1].action) < 0)
		return fail(s, "MERGE, IGNORE, APPEND, REPLACE, SUBSTITUTE or RELOCATE expected");
	next(s);
	return 0;
}

static int parse_entry(struct scanner *s, struct ckpti_attr_block *b)
{
	bool file = at_word(s, "FILE");
	size_t p = 0;
	int r;

	while (!file && p < CKPTI_ATTR_COUNT && !at_word(s, policies[p].name))
		p++;
	if (p == CKPTI_ATTR_COUNT)
		return fail(s, "FILE, WILL, CDIR, RDIR, FORK or '}' expected");
	if (!file && b->action[p] != CKPTI_ATTR_UNSET)
		return fail(s, "this policy was set above");
	next(s);
	r = expect_punct(s, ':');
	if (r < 0)
		return r;
	if (file) {
		r = parse_file_rule(s, b);
		if (r < 0)
			return r;
	} else {
		for (size_t i = 0; i < 3 && policies[p].actions[i].name; i++) {
			if (at_word(s, policies[p].actions[i].name))
				b->action[p] = policies[p].actions[i].action;
		}
		if (b->action[p] == CKPTI_ATTR_UNSET)
			return fail(s, policies[p].expected);
		next(s);
	}
	if (at_punct(s, ';'))
		next(s);
	return 0;
}

static int parse_target(struct scanner *s, struct ckpti_attr_block *b)
{
	struct ckpti_target t;
	unsigned long type = P_HID;
	char text[64];

	b->any_type = at_word(s, "*");
	if (!b->any_type && (s->tok != TOK_WORD || ckpti_text_type(s->start, s->len, &type) < 0))
		return fail(s, "PID, GID, SID, ASH, HID, SGP, JID or * expected");
	next(s);
	b->target.type = type;
	b->any_id = at_word(s, "*");
	if (!b->any_id) {
		(void)snprintf(text, sizeof(text), "%.*s:%s", s->len < 32 ? (int)s->len : 0,
			       s->start, ckpti_text_type_name(type));
		if (s->tok != TOK_WORD || ckpti_text_target(text, strlen(text), &t) < 0)
			return fail(s, "number or * expected");
		b->target.id = t.id;
	}
	next(s);
	return 0;
}

static int parse_block(struct scanner *s, struct ckpti_attr_block *b)
{
	int r;

	if (!at_word(s, "CKPT"))
		return fail(s, "CKPT expected");
	next(s);
	r = parse_target(s, b);
	if (r == 0)
		r = expect_punct(s, '{');
	while (r == 0 && !at_punct(s, '}'))
		r = parse_entry(s, b);
	if (r == 0)
		next(s);
	return r;
}

int ckpti_attr_parse(const char *name, const char *buf, size_t len, struct ckpti_attr *ret,
		     struct ckpti_err *err)
{
	struct scanner s = {
		.name = name, .p = buf, .end = buf + len, .line_start = buf, .line = 1, .err = err};
	struct ckpti_attr_block *blocks;
	int r = 0;

	*ret = (struct ckpti_attr){.nblocks = 0};
	for (next(&s); r == 0 && s.tok != TOK_END;) {
		blocks = reallocarray(ret->blocks, ret->nblocks + 1, sizeof(*blocks));
		if (!blocks) {
			r = ckpti_err(err, -ENOMEM, "%s: out of memory", name);
			break;
		}
		ret->blocks = blocks;
		blocks[ret->nblocks] = (struct ckpti_attr_block){.nrules = 0};
		r = parse_block(&s, &blocks[ret->nblocks++]);
	}
	if (r < 0)
		ckpti_attr_free(ret);
	return r;
}

void ckpti_attr_free(struct ckpti_attr *attr)
{
	for (size_t i = 0; i < attr->nblocks; i++) {
		for (size_t k = 0; k < attr->blocks[i].nrules; k++)
			free((void *)(uintptr_t)attr->blocks[i].rules[k].glob);
		free(attr->blocks[i].rules);
	}
	free(attr->blocks);
	*attr = (struct ckpti_attr){.nblocks = 0};
}

static int read_all(int fd, const char *path, char **ret, size_t *ret_len, struct ckpti_err *err)
{
	char *buf = malloc(MAX_FILE + 1);
	size_t len = 0;
	ssize_t n;

	if (!buf)
		return ckpti_err(err, -ENOMEM, "%s: out of memory", path);
	while ((n = read(fd, buf + len, MAX_FILE + 1 - len)) > 0)
		len += (size_t)n;
	if (n < 0 || len > MAX_FILE) {
		int r = n < 0 ? -errno : -EFBIG;

		free(buf);
		return ckpti_err(err, r, "%s: %s", path, strerror(-r));
	}
	*ret = buf;
	*ret_len = len;
	return 0;
}

int ckpti_attr_load(struct ckpti_attr *ret, struct ckpti_err *err)
{
	const char *named = getenv("CPR_FILE"), *home = getenv("HOME");
	char path[PATH_MAX], *buf = NULL;
	size_t len = 0;
	int fd, r;

	*ret = (struct ckpti_attr){.nblocks = 0};
	if (named && *named)
		(void)snprintf(path, sizeof(path), "%s", named);
	else if (home && *home)
		(void)snprintf(path, sizeof(path), "%s/.cpr", home);
	else
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		if (errno == ENOENT && !(named && *named))
			return 0;
		/* Not -ENOENT: that would be taken for a checkpoint that does not exist. */
		return ckpti_err(err, -EINVAL, "attribute file %s: %s", path, strerror(errno));
	}
	r = read_all(fd, path, &buf, &len, err);
	(void)close(fd);
	if (r == 0)
		r = ckpti_attr_parse(path, buf, len, ret, err);
	free(buf);
	return r;
}

/* PID, HID and SGP name the same thing, a process: what was asked for with one of them fits a block
 * written with another. */
static unsigned long fold_type(unsigned long type)
{
	type = CKPT_REAL_TYPE(type);
	return type == P_HID || type == P_SPGP ? (unsigned long)P_PID : type;
}

static bool block_fits(const struct ckpti_attr_block *b, const struct ckpti_target *target,
		       size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if ((b->any_type || fold_type(b->target.type) == fold_type(target[i].type)) &&
		    (b->any_id || b->target.id == target[i].id))
			return true;
	}
	return false;
}

int ckpti_attr_select(const struct ckpti_attr *attr, const struct ckpti_target *target,
		      size_t ntarget, struct ckpti_attr_choice *ret)
{
	struct ckpti_attr_choice c = {.nrules = 0};

	for (size_t i = 0; i < attr->nblocks; i++) {
		const struct ckpti_attr_block *b = &attr->blocks[i];
		struct ckpti_file_rule *rules;

		if (!block_fits(b, target, ntarget))
			continue;
		for (size_t p = 0; p < CKPTI_ATTR_COUNT; p++) {
			if (c.action[p] == CKPTI_ATTR_UNSET)
				c.action[p] = b->action[p];
		}
		if (b->nrules == 0)
			continue;
		rules = reallocarray(c.rules, c.nrules + b->nrules, sizeof(*rules));
		if (!rules) {
			free(c.rules);
			return -ENOMEM;
		}
		memcpy(rules + c.nrules, b->rules, b->nrules * sizeof(*rules));
		c.rules = rules;
		c.nrules += b->nrules;
	}
	*ret = c;
	return 0;
}
