/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small JSON writer.  The caller opens and closes objects and arrays in the right order; commas and
 * escapes are done here.  `key` is NULL inside an array and at the top.
 */
#ifndef CKPT_CMD_JSON_H
#define CKPT_CMD_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct ckpti_json {
	FILE *f;
	bool comma; /* the next value needs one in front of it */
};

void ckpti_json_open(struct ckpti_json *j, const char *key, char bracket); /* '{' or '[' */
void ckpti_json_close(struct ckpti_json *j, char bracket);                 /* '}' or ']' */
void ckpti_json_str(struct ckpti_json *j, const char *key, const char *s);
void ckpti_json_u64(struct ckpti_json *j, const char *key, uint64_t v);
void ckpti_json_i64(struct ckpti_json *j, const char *key, int64_t v);
void ckpti_json_bool(struct ckpti_json *j, const char *key, bool v);
/* Identities of 64 bits as 16 hex digits: many readers of JSON hold numbers as doubles. */
void ckpti_json_hex(struct ckpti_json *j, const char *key, uint64_t v);
/* Ends the output with a newline; -EIO when some of it could not be written. */
int ckpti_json_end(struct ckpti_json *j);

#endif
