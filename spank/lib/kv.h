/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * "key=value\n" text, the form of every message payload, manifest and registry file of the Slurm
 * side.  Keys are [a-z0-9_.-]+, unique, and may stand in any order; values are any bytes but NUL
 * (text is UTF-8, paths are what they are), in which newline and backslash are written \n and \\.
 * Readers ignore keys that they do not know, so that old and new programs understand each other.
 */
#ifndef CKPT_SPANK_KV_H
#define CKPT_SPANK_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ckpti_kv_pair {
	char *key, *value;
};

struct ckpti_kv {
	struct ckpti_kv_pair *pair;
	size_t n;
	int error;      /* first -errno of the set functions: checked once, when it is written */
	uint32_t *slot; /* private: to find a key, see kv.c */
	size_t nslots;
};

void ckpti_kv_init(struct ckpti_kv *kv);
void ckpti_kv_free(struct ckpti_kv *kv);

/* Replaces an older value.  Failures are kept in kv->error. */
void ckpti_kv_set(struct ckpti_kv *kv, const char *key, const char *value);
void ckpti_kv_setf(struct ckpti_kv *kv, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void ckpti_kv_set_u64(struct ckpti_kv *kv, const char *key, uint64_t value);

/* The value, or def when there is none (or it is not a number that fits). */
const char *ckpti_kv_get(const struct ckpti_kv *kv, const char *key, const char *def);
uint64_t ckpti_kv_get_u64(const struct ckpti_kv *kv, const char *key, uint64_t def);
int64_t ckpti_kv_get_i64(const struct ckpti_kv *kv, const char *key, int64_t def);

/* The whole as text: malloc()ed, NUL-terminated; *ret_len without the NUL.  0 or -errno. */
int ckpti_kv_write(const struct ckpti_kv *kv, char **ret, size_t *ret_len);
/* -EBADMSG: not of this form, a key twice, more than CKPTI_KV_MAX pairs.  Adds to kv. */
int ckpti_kv_parse(struct ckpti_kv *kv, const char *text, size_t len);

#define CKPTI_KV_MAX 400000U

#endif
