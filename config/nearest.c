/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which key was meant: the one at the smallest edit distance, where a letter left out, put in,
 * changed, or two neighbours exchanged count one each.
 */
#include <string.h>

#include "config/schema.h"

#define NAME_SIZE 64

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Both are shorter than NAME_SIZE. */
static unsigned distance(const char *a, size_t alen, const char *b, size_t blen)
{
	unsigned row[3][NAME_SIZE]; /* of the last three prefixes of a */
	unsigned *above2 = row[0], *above = row[1], *here = row[2], *spare;

	for (unsigned j = 0; j <= blen; j++)
		above[j] = j;
	for (unsigned i = 1; i <= alen; i++) {
		here[0] = i;
		for (size_t j = 1; j <= blen; j++) {
			here[j] = min3(above[j] + 1, here[j - 1] + 1,
				       above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    above2[j - 2] + 1 < here[j])
				here[j] = above2[j - 2] + 1;
		}
		spare = above2;
		above2 = above;
		above = here;
		here = spare;
	}
	return above[blen];
}

bool ckpti_schema_nearest(const char *prefix, const char *name, char *ret)
{
	const struct ckpti_key *key;
	size_t plen = strlen(prefix), nlen = strlen(name), len;
	unsigned best, d;
	bool found = false;

	if (nlen >= NAME_SIZE)
		return false;
	/* Farther away it is no slip any more. */
	best = (unsigned)nlen / 3 + 2;
	for (size_t i = 0; (key = ckpti_schema_key(i)); i++) {
		if (strncmp(key->name, prefix, plen) != 0)
			continue;
		/* Of "group.name" at the top only the group can be meant. */
		len = strcspn(key->name + plen, ".");
		d = distance(name, nlen, key->name + plen, len);
		if (d < best) {
			best = d;
			memcpy(ret, key->name + plen, len);
			ret[len] = '\0';
			found = true;
		}
	}
	return found;
}
