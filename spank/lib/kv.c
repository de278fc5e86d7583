/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * "key=value\n" text.  Pairs stay in the order in which they were set, so that files read well;
 * beside them lies a hash table of their numbers, because a message may carry many thousand pairs
 * and may come from somebody who is not yet known.  The hash has a random seed for the same reason.
 */
#include "spank/lib/kv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

void ckpti_kv_init(struct ckpti_kv *kv)
{
	*kv = (struct ckpti_kv){0};
}

void ckpti_kv_free(struct ckpti_kv *kv)
{
	for (size_t i = 0; i < kv->n; i++) {
		free(kv->pair[i].key);
		free(kv->pair[i].value);
	}
	free(kv->pair);
	free(kv->slot);
	*kv = (struct ckpti_kv){0};
}

/* ---- the table: number of the pair + 1, 0 is free; a power of two, at most half full ------ */

static uint64_t hash(const char *key, size_t len)
{
	static uint64_t seed;

	/* Without random numbers the place of the program in memory must do. */
	if (seed == 0 && getrandom(&seed, sizeof(seed), GRND_NONBLOCK) < 0)
		seed = (uint64_t)(uintptr_t)&seed;
	return XXH3_64bits_withSeed(key, len, seed);
}

/* Slot of this key, or the free one where it belongs. */
static uint32_t *find_slot(const struct ckpti_kv *kv, const char *key, size_t len)
{
	size_t i = hash(key, len) & (kv->nslots - 1);

	while (kv->slot[i]) {
		const char *have = kv->pair[kv->slot[i] - 1].key;

		if (strncmp(have, key, len) == 0 && have[len] == '\0')
			break;
		i = (i + 1) & (kv->nslots - 1);
	}
	return &kv->slot[i];
}

static struct ckpti_kv_pair *find(const struct ckpti_kv *kv, const char *key, size_t len)
{
	uint32_t *slot = kv->nslots ? find_slot(kv, key, len) : NULL;

	return slot && *slot ? &kv->pair[*slot - 1] : NULL;
}

static int grow(struct ckpti_kv *kv)
{
	size_t cap = kv->nslots ? kv->nslots : 16;
	struct ckpti_kv_pair *pair;
	uint32_t *slot;

	pair = reallocarray(kv->pair, cap, sizeof(*pair));
	if (!pair)
		return -ENOMEM;
	kv->pair = pair;
	slot = calloc(2 * cap, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	free(kv->slot);
	kv->slot = slot;
	kv->nslots = 2 * cap;
	for (size_t i = 0; i < kv->n; i++)
		*find_slot(kv, kv->pair[i].key, strlen(kv->pair[i].key)) = (uint32_t)i + 1;
	return 0;
}

/* Takes over value. */
static int add(struct ckpti_kv *kv, const char *key, size_t len, char *value)
{
	char *copy;
	int r = 0;

	if (kv->n >= CKPTI_KV_MAX)
		r = -EBADMSG;
	else if (kv->n >= kv->nslots / 2)
		r = grow(kv);
	copy = r == 0 ? strndup(key, len) : NULL;
	if (!copy) {
		free(value);
		return r < 0 ? r : -ENOMEM;
	}
	*find_slot(kv, key, len) = (uint32_t)kv->n + 1;
	kv->pair[kv->n++] = (struct ckpti_kv_pair){.key = copy, .value = value};
	return 0;
}

/* ---- setting ------------------------------------------------------------------------------ */

/* Length of the key at the beginning of text. */
static size_t key_length(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len &&
	       ((text[n] >= 'a' && text[n] <= 'z') || (text[n] >= '0' && text[n] <= '9') ||
		text[n] == '_' || text[n] == '.' || text[n] == '-'))
		n++;
	return n;
}

/* Takes over value, which may be NULL: no memory. */
static void set(struct ckpti_kv *kv, const char *key, char *value)
{
	struct ckpti_kv_pair *have;
	size_t len = strlen(key);
	int r = 0;

	if (!value) {
		r = -ENOMEM;
	} else if (len == 0 || key_length(key, len) != len) {
		free(value);
		r = -EINVAL;
	} else {
		have = find(kv, key, len);
		if (have) {
			free(have->value);
			have->value = value;
		} else {
			r = add(kv, key, len, value);
		}
	}
	if (r < 0 && kv->error == 0)
		kv->error = r;
}

void ckpti_kv_set(struct ckpti_kv *kv, const char *key, const char *value)
{
	set(kv, key, strdup(value));
}

void ckpti_kv_setf(struct ckpti_kv *kv, const char *key, const char *fmt, ...)
{
	char *value = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&value, fmt, ap) < 0)
		value = NULL;
	va_end(ap);
	set(kv, key, value);
}

void ckpti_kv_set_u64(struct ckpti_kv *kv, const char *key, uint64_t value)
{
	ckpti_kv_setf(kv, key, "%" PRIu64, value);
}

/* ---- getting ------------------------------------------------------------------------------ */

const char *ckpti_kv_get(const struct ckpti_kv *kv, const char *key, const char *def)
{
	const struct ckpti_kv_pair *have = find(kv, key, strlen(key));

	return have ? have->value : def;
}

/* strtoull() takes "-1", " 1" and "1x", which are no numbers here. */
static bool digits_only(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

uint64_t ckpti_kv_get_u64(const struct ckpti_kv *kv, const char *key, uint64_t def)
{
	const char *text = ckpti_kv_get(kv, key, "");
	unsigned long long n;

	if (!digits_only(text))
		return def;
	errno = 0;
	n = strtoull(text, NULL, 10);
	return errno == 0 ? n : def;
}

int64_t ckpti_kv_get_i64(const struct ckpti_kv *kv, const char *key, int64_t def)
{
	const char *text = ckpti_kv_get(kv, key, "");
	long long n;

	if (!digits_only(text + (*text == '-')))
		return def;
	errno = 0;
	n = strtoll(text, NULL, 10);
	return errno == 0 ? n : def;
}

/* ---- as text ------------------------------------------------------------------------------ */

static char *put_value(char *p, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n' || *value == '\\')
			*p++ = '\\';
		*p = *value;
		if (*p == '\n')
			*p = 'n';
		p++;
	}
	return p;
}

int ckpti_kv_write(const struct ckpti_kv *kv, char **ret, size_t *ret_len)
{
	size_t size = 1;
	char *text, *p;

	if (kv->error)
		return kv->error;
	/* As if every character had to be escaped. */
	for (size_t i = 0; i < kv->n; i++)
		size += strlen(kv->pair[i].key) + 2 * strlen(kv->pair[i].value) + 2;
	text = malloc(size);
	if (!text)
		return -ENOMEM;
	p = text;
	for (size_t i = 0; i < kv->n; i++) {
		p = stpcpy(p, kv->pair[i].key);
		*p++ = '=';
		p = put_value(p, kv->pair[i].value);
		*p++ = '\n';
	}
	*p = '\0';
	*ret = text;
	*ret_len = (size_t)(p - text);
	return 0;
}

/* The value of `len` escaped bytes; NULL with *ret_r set. */
static char *get_value(const char *text, size_t len, int *ret_r)
{
	char *value, *p;

	*ret_r = memchr(text, '\0', len) ? -EBADMSG : 0;
	if (*ret_r < 0)
		return NULL;
	value = malloc(len + 1);
	*ret_r = value ? 0 : -ENOMEM;
	p = value;
	for (size_t i = 0; value && i < len; i++) {
		if (text[i] != '\\') {
			*p++ = text[i];
			continue;
		}
		i++;
		if (i == len || (text[i] != 'n' && text[i] != '\\')) {
			*ret_r = -EBADMSG;
			free(value);
			return NULL;
		}
		*p++ = text[i] == 'n' ? '\n' : '\\';
	}
	if (value)
		*p = '\0';
	return value;
}

static int parse_line(struct ckpti_kv *kv, const char *line, size_t len)
{
	size_t keylen = key_length(line, len);
	char *value;
	int r;

	if (keylen == 0 || keylen == len || line[keylen] != '=' || find(kv, line, keylen))
		return -EBADMSG;
	value = get_value(line + keylen + 1, len - keylen - 1, &r);
	return value ? add(kv, line, keylen, value) : r;
}

int ckpti_kv_parse(struct ckpti_kv *kv, const char *text, size_t len)
{
	const char *end;
	int r;

	while (len > 0) {
		/* A text that was cut off has no newline at its end. */
		end = memchr(text, '\n', len);
		if (!end)
			return -EBADMSG;
		r = parse_line(kv, text, (size_t)(end - text));
		if (r < 0)
			return r;
		len -= (size_t)(end - text) + 1;
		text = end + 1;
	}
	return 0;
}
