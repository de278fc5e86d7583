/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names inside a statefile directory.  A file is ours only if its name has exactly the form that we
 * give it: everything else is left alone.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store_private.h"

#define GEN_DIGITS 8 /* at least; decimal */

void ckpti_store_gen_name(uint64_t gen, char *ret)
{
	(void)snprintf(ret, NAME_SIZE, "gen-%08" PRIu64, gen);
}

void ckpti_store_data_name(uint32_t number, char *ret)
{
	(void)snprintf(ret, NAME_SIZE, "data-%08" PRIx32, number);
}

void ckpti_store_pin_name(const uint64_t hash[2], char *ret)
{
	(void)snprintf(ret, NAME_SIZE, "pin-%016" PRIx64 "%016" PRIx64, hash[1], hash[0]);
}

static bool digits(const char *s, const char *set, size_t min, size_t max)
{
	size_t n = strspn(s, set);

	return s[n] == '\0' && n >= min && n <= max;
}

enum store_name ckpti_store_name(const char *name, uint64_t *ret_number)
{
	static const char dec[] = "0123456789", hex[] = "0123456789abcdef";

	if (strcmp(name, LOCK_FILE) == 0)
		return NAME_LOCK;
	if (strcmp(name, HASHES_FILE) == 0)
		return NAME_HASHES;
	if (strcmp(name, HASHES_TEMP) == 0 || strcmp(name, GEN_TEMP) == 0 ||
	    strcmp(name, PIN_TEMP) == 0)
		return NAME_TEMP;
	if (strncmp(name, "gen-", 4) == 0 && digits(name + 4, dec, GEN_DIGITS, 18)) {
		*ret_number = strtoull(name + 4, NULL, 10);
		/* Number 0 and longer forms of a short number are not ours. */
		if (*ret_number > 0 && (name[4] != '0' || strlen(name) == 4 + GEN_DIGITS))
			return NAME_GEN;
	}
	if (strncmp(name, "data-", 5) == 0 && digits(name + 5, hex, 8, 8)) {
		*ret_number = strtoull(name + 5, NULL, 16);
		return NAME_DATA;
	}
	if (strncmp(name, "pin-", 4) == 0 && digits(name + 4, hex, 32, 32))
		return NAME_PIN;
	return NAME_FOREIGN;
}

int ckpti_names_add(struct names *l, const char *name)
{
	size_t cap, len = strlen(name);
	void *v;

	if (len >= NAME_SIZE)
		return -ENAMETOOLONG;
	if (l->n == l->cap) {
		cap = l->cap ? 2 * l->cap : 16;
		v = reallocarray(l->v, cap, sizeof(l->v[0]));
		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	memcpy(l->v[l->n++], name, len + 1);
	return 0;
}

bool ckpti_names_has(const struct names *l, const char *name)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (strcmp(l->v[i], name) == 0)
			return true;
	}
	return false;
}

void ckpti_names_free(struct names *l)
{
	free(l->v);
	*l = (struct names){0};
}

bool ckpti_store_is_data(const char *path, bool beside)
{
	const char *base = strrchr(path, '/');
	char lock[PATH_MAX + 64];
	uint64_t number;

	if (!base || ckpti_store_name(base + 1, &number) != NAME_DATA)
		return false;
	(void)snprintf(lock, sizeof(lock), "%.*s/%s", (int)(base - path), path, LOCK_FILE);
	return !beside || access(lock, F_OK) == 0;
}
