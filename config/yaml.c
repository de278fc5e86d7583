/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The text of a settings file, event by event, so that every message has its line and column.  Of
 * YAML only this much is accepted: one document, a mapping whose values are scalars, lists of
 * scalars, or (for a group of keys) one more mapping.  No anchors, aliases or tags: nothing means
 * anything but what is written there.  Scalars have no type of their own; the row of the table
 * gives it.
 */
#include <errno.h>
#include <string.h>
#include <yaml.h>

#include "config/schema.h"

struct reader {
	yaml_parser_t parser;
	yaml_event_t ev; /* the last one read; empty after a failure */
	struct ckpti_config *c;
	enum ckpti_config_source source;
	const char *path;
	uint64_t seen, groups; /* keys, and groups by their first key: bit numbers of the table */
	struct ckpti_err *err;
};

_Static_assert(CKPTI_CONFIG_MAX_KEYS <= 64, "a bit for each key");

#define POS(r) (r)->path, (r)->ev.start_mark.line + 1, (r)->ev.start_mark.column + 1

static int parser_failed(const struct reader *r)
{
	const yaml_parser_t *p = &r->parser;

	if (p->error == YAML_MEMORY_ERROR)
		return ckpti_err(r->err, -ENOMEM, "%s: out of memory", r->path);
	if (p->error == YAML_READER_ERROR)
		return ckpti_err(r->err, -EINVAL, "%s:%zu:%zu: %s", r->path, p->mark.line + 1,
				 p->mark.column + 1, p->problem);
	return ckpti_err(r->err, -EINVAL, "%s:%zu:%zu: %s%s%s", r->path, p->problem_mark.line + 1,
			 p->problem_mark.column + 1, p->problem, p->context ? " " : "",
			 p->context ? p->context : "");
}

/* Anchor or tag of an event, NULL when it has none. */
static const char *decoration(const yaml_event_t *ev)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	if (ev->type == YAML_SCALAR_EVENT) {
		anchor = ev->data.scalar.anchor;
		tag = ev->data.scalar.tag;
	} else if (ev->type == YAML_SEQUENCE_START_EVENT) {
		anchor = ev->data.sequence_start.anchor;
		tag = ev->data.sequence_start.tag;
	} else if (ev->type == YAML_MAPPING_START_EVENT) {
		anchor = ev->data.mapping_start.anchor;
		tag = ev->data.mapping_start.tag;
	} else if (ev->type == YAML_ALIAS_EVENT) {
		return "aliases";
	}
	if (anchor)
		return "anchors";
	return tag ? "tags" : NULL;
}

/* A value or key must fit on one line of a message: also those in quotes with escapes. */
static bool is_printable(const yaml_event_t *ev)
{
	for (size_t i = 0; i < ev->data.scalar.length; i++) {
		if (ev->data.scalar.value[i] < ' ' || ev->data.scalar.value[i] == 0x7f)
			return false;
	}
	return true;
}

static int next(struct reader *r)
{
	yaml_event_delete(&r->ev);
	if (!yaml_parser_parse(&r->parser, &r->ev)) {
		memset(&r->ev, 0, sizeof(r->ev));
		return parser_failed(r);
	}
	if (decoration(&r->ev))
		return ckpti_err(r->err, -EINVAL, "%s:%zu:%zu: %s are not allowed", POS(r),
				 decoration(&r->ev));
	if (r->ev.type == YAML_SCALAR_EVENT && !is_printable(&r->ev))
		return ckpti_err(r->err, -EINVAL,
				 "%s:%zu:%zu: a line break, tab or other control character",
				 POS(r));
	return 0;
}

static const char *scalar(const struct reader *r)
{
	return (const char *)r->ev.data.scalar.value;
}

/* `key:` with nothing behind it, or ~ */
static bool is_missing(const struct reader *r)
{
	return r->ev.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (r->ev.data.scalar.length == 0 || strcmp(scalar(r), "~") == 0);
}

static int assign(struct reader *r, const struct ckpti_key *key, bool first)
{
	struct ckpti_config_origin from = {.source = r->source,
					   .line = (unsigned)r->ev.start_mark.line + 1,
					   .column = (unsigned)r->ev.start_mark.column + 1};
	struct ckpti_err err = {.code = 0};
	int e;

	if (is_missing(r))
		return ckpti_err(r->err, -EINVAL, "%s:%zu:%zu: %s: the value is missing", POS(r),
				 key->name);
	e = ckpti_config_assign(r->c, key, scalar(r), &from, first, &err);
	return e < 0 ? ckpti_err(r->err, e, "%s:%zu:%zu: %s", POS(r), err.text) : 0;
}

/* The list that starts with the current event; an empty one also takes the place of the default. */
static int read_list(struct reader *r, const struct ckpti_key *key)
{
	struct ckpti_config_origin from = {.source = r->source,
					   .line = (unsigned)r->ev.start_mark.line + 1,
					   .column = (unsigned)r->ev.start_mark.column + 1};
	struct ckpti_err err = {.code = 0};
	int e;

	if (r->ev.type != YAML_SEQUENCE_START_EVENT)
		return ckpti_err(r->err, -EINVAL,
				 "%s:%zu:%zu: %s: a list is needed, such as [a, b]", POS(r),
				 key->name);
	e = ckpti_config_assign(r->c, key, NULL, &from, true, &err);
	if (e < 0)
		return ckpti_err(r->err, e, "%s:%zu:%zu: %s", POS(r), err.text);
	while ((e = next(r)) == 0 && r->ev.type != YAML_SEQUENCE_END_EVENT) {
		if (r->ev.type != YAML_SCALAR_EVENT)
			return ckpti_err(r->err, -EINVAL, "%s:%zu:%zu: %s: a list within the list",
					 POS(r), key->name);
		e = assign(r, key, false);
		if (e < 0)
			return e;
	}
	return e;
}

static int unknown_key(struct reader *r, const char *prefix, const char *name)
{
	char nearest[64];

	if (ckpti_schema_nearest(prefix, name, nearest))
		return ckpti_err(r->err, -EINVAL,
				 "%s:%zu:%zu: unknown key '%.60s', did you mean '%s'?", POS(r),
				 name, nearest);
	return ckpti_err(r->err, -EINVAL, "%s:%zu:%zu: unknown key '%.60s'", POS(r), name);
}

static int duplicate(struct reader *r, uint64_t *seen, const struct ckpti_key *key)
{
	uint64_t bit = 1ULL << ckpti_schema_number(key);

	if (*seen & bit)
		return ckpti_err(r->err, -EINVAL, "%s:%zu:%zu: '%s' is there a second time", POS(r),
				 scalar(r));
	*seen |= bit;
	return 0;
}

static int read_mapping(struct reader *r, const struct ckpti_key *group);

/* One key with its value; the key is the current event.  group: the first row of the group that we
 * are in, or NULL. */
static int read_pair(struct reader *r, const struct ckpti_key *group)
{
	char prefix[64] = "";
	const struct ckpti_key *key, *inner;
	int e;

	if (r->ev.type != YAML_SCALAR_EVENT)
		return ckpti_err(r->err, -EINVAL, "%s:%zu:%zu: the name of a key is needed here",
				 POS(r));
	if (group)
		memcpy(prefix, group->name, ckpti_schema_group_len(group) + 1);
	key = ckpti_schema_find(prefix, scalar(r));
	inner = group ? NULL : ckpti_schema_group(scalar(r));
	if (!key && !inner)
		return unknown_key(r, prefix, scalar(r));
	e = key ? duplicate(r, &r->seen, key) : duplicate(r, &r->groups, inner);
	if (e < 0)
		return e;
	e = next(r);
	if (e < 0)
		return e;
	if (!key) {
		if (r->ev.type != YAML_MAPPING_START_EVENT)
			return ckpti_err(r->err, -EINVAL,
					 "%s:%zu:%zu: %.*s: has keys of its own, such as '%s'",
					 POS(r), (int)ckpti_schema_group_len(inner), inner->name,
					 inner->name + ckpti_schema_group_len(inner) + 1);
		return read_mapping(r, inner);
	}
	if (ckpti_value_is_list(key))
		return read_list(r, key);
	if (r->ev.type != YAML_SCALAR_EVENT)
		return ckpti_err(r->err, -EINVAL, "%s:%zu:%zu: %s: one value is needed", POS(r),
				 key->name);
	return assign(r, key, true);
}

/* At most one deep: a group has no groups. */
static int read_mapping(struct reader *r, const struct ckpti_key *group)
{
	int e;

	while ((e = next(r)) == 0 && r->ev.type != YAML_MAPPING_END_EVENT) {
		e = read_pair(r, group);
		if (e < 0)
			return e;
	}
	return e;
}

/* What is in the document, whose start is the current event. */
static int read_document(struct reader *r)
{
	int e = next(r);

	if (e < 0)
		return e;
	if (r->ev.type == YAML_MAPPING_START_EVENT)
		e = read_mapping(r, NULL);
	else if (r->ev.type != YAML_SCALAR_EVENT || !is_missing(r))
		return ckpti_err(r->err, -EINVAL, "%s:%zu:%zu: lines 'key: value' are needed",
				 POS(r));
	return e < 0 ? e : next(r); /* the end of the document */
}

static int read_stream(struct reader *r)
{
	int e = next(r); /* the start of the stream */

	if (e == 0)
		e = next(r);
	if (e < 0 || r->ev.type == YAML_STREAM_END_EVENT)
		return e; /* nothing but comments */
	e = read_document(r);
	if (e == 0)
		e = next(r);
	if (e == 0 && r->ev.type != YAML_STREAM_END_EVENT)
		return ckpti_err(r->err, -EINVAL, "%s:%zu:%zu: a second document", POS(r));
	return e;
}

int ckpti_yaml_read(struct ckpti_config *c, enum ckpti_config_source source, const char *path,
		    const char *text, size_t len, struct ckpti_err *err)
{
	struct reader r = {.c = c, .source = source, .path = path, .err = err};
	int e;

	if (!yaml_parser_initialize(&r.parser))
		return ckpti_err(err, -ENOMEM, "%s: out of memory", path);
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	e = read_stream(&r);
	yaml_event_delete(&r.ev);
	yaml_parser_delete(&r.parser);
	return e;
}
