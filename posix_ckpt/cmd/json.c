/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON as of RFC 8259.  File names and arguments are arbitrary bytes, JSON is UTF-8: bytes that are
 * not become U+FFFD, so that the output can always be parsed.
 */
#include "json.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Length of the well-formed UTF-8 sequence (Unicode 15, table 3-7) at p, 0 when there is none. */
static size_t utf8_len(const unsigned char *p)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (p[0] == 0xe0)
		lo = 0xa0; /* not the shortest form */
	else if (p[0] == 0xed)
		hi = 0x9f; /* surrogates */
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f; /* above U+10FFFF */
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return n;
}

static void put_string(FILE *f, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	(void)putc('"', f);
	while (*p) {
		size_t n = utf8_len(p);

		if (n == 0) {
			(void)fputs("\\ufffd", f);
			n = 1;
		} else if (*p == '"' || *p == '\\') {
			(void)fprintf(f, "\\%c", *p);
		} else if (*p < 0x20 || *p == 0x7f) {
			(void)fprintf(f, "\\u%04x", *p);
		} else {
			(void)fwrite(p, 1, n, f);
		}
		p += n;
	}
	(void)putc('"', f);
}

static void start(struct ckpti_json *j, const char *key)
{
	if (j->comma)
		(void)putc(',', j->f);
	if (key) {
		put_string(j->f, key);
		(void)putc(':', j->f);
	}
	j->comma = true;
}

void ckpti_json_open(struct ckpti_json *j, const char *key, char bracket)
{
	start(j, key);
	(void)putc(bracket, j->f);
	j->comma = false;
}

void ckpti_json_close(struct ckpti_json *j, char bracket)
{
	(void)putc(bracket, j->f);
	j->comma = true;
}

void ckpti_json_str(struct ckpti_json *j, const char *key, const char *s)
{
	start(j, key);
	put_string(j->f, s);
}

void ckpti_json_u64(struct ckpti_json *j, const char *key, uint64_t v)
{
	start(j, key);
	(void)fprintf(j->f, "%" PRIu64, v);
}

void ckpti_json_i64(struct ckpti_json *j, const char *key, int64_t v)
{
	start(j, key);
	(void)fprintf(j->f, "%" PRId64, v);
}

void ckpti_json_bool(struct ckpti_json *j, const char *key, bool v)
{
	start(j, key);
	(void)fputs(v ? "true" : "false", j->f);
}

void ckpti_json_hex(struct ckpti_json *j, const char *key, uint64_t v)
{
	start(j, key);
	(void)fprintf(j->f, "\"%016" PRIx64 "\"", v);
}

int ckpti_json_end(struct ckpti_json *j)
{
	j->comma = false;
	(void)putc('\n', j->f);
	return ferror(j->f) ? -EIO : 0;
}
