/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of all settings, and what is done by it.  In here only: everybody else reads fields of
 * struct ckpti_config.
 */
#ifndef CKPT_CONFIG_SCHEMA_H
#define CKPT_CONFIG_SCHEMA_H

#include <stdio.h>

#include "config/config.h"

enum ckpti_type {
	CKPTI_T_BOOL,
	CKPTI_T_WORD,    /* one of .words, its position is the value */
	CKPTI_T_NUMBER,  /* unsigned */
	CKPTI_T_SECONDS, /* uint64_t; never and auto when the flags say so */
	CKPTI_T_SIZE,    /* uint64_t */
	CKPTI_T_RESERVE,
	CKPTI_T_PORTS,
	CKPTI_T_SIGNAL,  /* unsigned; one of .words */
	CKPTI_T_PATH,    /* absolute, or "" */
	CKPTI_T_PATTERN, /* directory with %j %s %u %n %% */
	CKPTI_T_PATHS,   /* list of absolute paths */
	CKPTI_T_RULES,   /* list of GLOB=ACTION, .words are the actions */
};

enum {
	CKPTI_BY_SITE = 1 << 0,
	CKPTI_BY_USER = 1 << 1,
	CKPTI_BY_JOB = 1 << 2,
	/* What the site's file says is the most that a user may say. */
	CKPTI_CEILING = 1 << 3,
	CKPTI_HAS_NEVER = 1 << 4,
	CKPTI_HAS_AUTO = 1 << 5,
};

struct ckpti_key {
	const char *name; /* "group.name" for a key below another */
	enum ckpti_type type;
	size_t offset; /* of the field in struct ckpti_config */
	unsigned flags;
	const char *value; /* the default as the file would have it, items of a list by spaces */
	uint64_t min, max; /* of numbers, times and sizes */
	const char *words; /* by spaces */
	const char *doc;   /* one paragraph, plain text */
};

struct ckpti_section {
	const char *title;
	const struct ckpti_key *key;
	size_t n;
};
extern const struct ckpti_section ckpti_sections[];
extern const size_t ckpti_nsections;

/* All keys are numbered through the sections; NULL after the last. */
const struct ckpti_key *ckpti_schema_key(size_t number);
size_t ckpti_schema_number(const struct ckpti_key *key);
/* prefix is "" or "group."; NULL when there is none. */
const struct ckpti_key *ckpti_schema_find(const char *prefix, const char *name);
/* The first key below the group `name`; NULL when that is no group. */
const struct ckpti_key *ckpti_schema_group(const char *name);
/* The name below prefix that `name` may be a slip of the pen for, in ret[64]; false: none is
 * near. */
bool ckpti_schema_nearest(const char *prefix, const char *name, char *ret);
/* "group" of "group.name" as a length, 0 without one. */
size_t ckpti_schema_group_len(const struct ckpti_key *key);

bool ckpti_value_is_list(const struct ckpti_key *key);
/* Read text into the field; lists grow by one item.  On failure (-EINVAL, -ERANGE, -ENOMEM) the
 * field is as before and the text of err says what is wrong, without the name of the key. */
int ckpti_value_parse(const struct ckpti_key *key, const char *text, struct ckpti_config *c,
		      struct ckpti_err *err);
/* The field's numeric value for comparisons: NUMBER, SECONDS, SIZE. */
uint64_t ckpti_value_number(const struct ckpti_key *key, const struct ckpti_config *c);
/* Drop what a list, path or pattern holds. */
void ckpti_value_clear(const struct ckpti_key *key, struct ckpti_config *c);
/* As a file would have it. */
void ckpti_value_print(FILE *f, const struct ckpti_key *key, const struct ckpti_config *c);
/* A time as 90s, 5m, never, in the largest unit that it is a multiple of. */
#define CKPTI_SECONDS_SIZE 24
const char *ckpti_seconds_text(uint64_t seconds, char ret[CKPTI_SECONDS_SIZE]);

/* Defaults into a zeroed *c. */
int ckpti_config_defaults(struct ckpti_config *c, struct ckpti_err *err);
/* One value by one source: may it, is it within the site's limits, read it.  `first` is true for
 * the first item of a list, which takes the place of what was there.  Texts begin with the key's
 * name. */
int ckpti_config_assign(struct ckpti_config *c, const struct ckpti_key *key, const char *text,
			const struct ckpti_config_origin *from, bool first, struct ckpti_err *err);
/* What no single value shows; texts name the place of the value that is to blame. */
int ckpti_config_check(const struct ckpti_config *c, struct ckpti_err *err);
/* The whole text of a file; source is SITE or USER. */
int ckpti_yaml_read(struct ckpti_config *c, enum ckpti_config_source source, const char *path,
		    const char *text, size_t len, struct ckpti_err *err);

/* Generated documents: ckpt.yaml(5), a commented file for SITE or USER, a list for --help. */
void ckpti_print_man(FILE *f);
void ckpti_print_example(FILE *f, enum ckpti_config_source source);
void ckpti_print_list(FILE *f);
/* Keys with their values, as a file, and in comments where they come from: those that `by`
 * (CKPTI_BY_…) may set, 0: all. */
void ckpti_print_values(FILE *f, const struct ckpti_config *c, unsigned by);

#endif
