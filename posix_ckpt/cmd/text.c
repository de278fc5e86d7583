/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parsers and formatters for what people type and read.  Nothing here depends on the locale: a file
 * or a script means the same everywhere.
 */
#include "text.h"

#include <ckpt.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct word {
	const char *name;
	unsigned long value;
};

static const struct word types[] = {
	{"PID", P_PID}, {"GID", P_PGID}, {"SID", P_SID}, {"ASH", P_ASH},
	{"HID", P_HID}, {"SGP", P_SPGP}, {"JID", P_JID}, {NULL, 0},
};

static const struct word actions[] = {
	{"MERGE", CKPT_FILE_MERGE},
	{"IGNORE", CKPT_FILE_IGNORE},
	{"APPEND", CKPT_FILE_APPEND},
	{"REPLACE", CKPT_FILE_REPLACE},
	{"SUBSTITUTE", CKPT_FILE_SUBSTITUTE},
	{"RELOCATE", CKPT_FILE_RELOCATE},
	{NULL, 0},
};

static int find_word(const struct word *w, const char *s, size_t len, unsigned long *ret)
{
	for (; w->name; w++) {
		if (strlen(w->name) == len && strncasecmp(w->name, s, len) == 0) {
			*ret = w->value;
			return 0;
		}
	}
	return -EINVAL;
}

/* Leading digits of s[0 … len); returns how many there are, 0 also when the number is too large. */
static size_t scan_digits(const char *s, size_t len, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < len && s[i] >= '0' && s[i] <= '9'; i++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v))
			return 0;
	}
	*ret = v;
	return i;
}

int ckpti_text_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	size_t len = strlen(s);
	uint64_t v;

	if (len == 0 || scan_digits(s, len, &v) != len || v < min || v > max)
		return -EINVAL;
	*ret = v;
	return 0;
}

/* Digits with at most three decimals, as thousandths; returns the number of bytes read. */
static size_t scan_milli(const char *s, uint64_t *ret)
{
	uint64_t whole, frac = 0, scale = 100;
	size_t n = scan_digits(s, strlen(s), &whole);

	if (n == 0 || whole > UINT64_MAX / 1000 - 1)
		return 0;
	if (s[n] == '.') {
		size_t first = ++n;

		for (; s[n] >= '0' && s[n] <= '9'; n++) {
			frac += (uint64_t)(s[n] - '0') * scale;
			scale /= 10;
		}
		if (n == first)
			return 0;
	}
	*ret = whole * 1000 + frac;
	return n;
}

int ckpti_text_size(const char *s, uint64_t *ret)
{
	static const char units[] = "KMGTP";
	const char *unit;
	uint64_t milli, v;
	size_t n = scan_milli(s, &milli);
	unsigned shift = 0;

	if (n == 0)
		return -EINVAL;
	s += n;
	if (*s) {
		unit = strchr(units, *s & ~0x20);
		if (!unit)
			return -EINVAL;
		shift = 10 * (unsigned)(unit - units + 1);
		s++;
		if (*s && strcasecmp(s, "iB") != 0 && strcasecmp(s, "B") != 0)
			return -EINVAL;
	}
	/* Whole numbers are exact; a fraction is cut to the byte. */
	if (__builtin_mul_overflow(milli / 1000, 1ULL << shift, &v) ||
	    __builtin_add_overflow(v, (milli % 1000 << shift) / 1000, &v))
		return -EINVAL;
	*ret = v;
	return 0;
}

int ckpti_text_seconds(const char *s, unsigned *ret_ms)
{
	uint64_t ms;
	size_t n = scan_milli(s, &ms);

	if (n == 0 || s[n] || ms == 0 || ms > INT32_MAX)
		return -EINVAL;
	*ret_ms = (unsigned)ms;
	return 0;
}

int ckpti_text_type(const char *s, size_t len, unsigned long *ret)
{
	return find_word(types, s, len, ret);
}

const char *ckpti_text_type_name(unsigned long type)
{
	for (const struct word *w = types; w->name; w++) {
		if (w->value == CKPT_REAL_TYPE(type))
			return w->name;
	}
	return "?";
}

int ckpti_text_target(const char *s, size_t len, struct ckpti_target *ret)
{
	const char *colon = memchr(s, ':', len);
	struct ckpti_target t = {.type = P_HID};
	size_t idlen = colon ? (size_t)(colon - s) : len, n;
	uint64_t id, step;

	if (colon && ckpti_text_type(colon + 1, len - idlen - 1, &t.type) < 0)
		return -EINVAL;
	n = scan_digits(s, idlen, &id);
	if (n == 0 || id == 0 || id > INT32_MAX)
		return -EINVAL;
	if (n < idlen) {
		if (t.type != P_ASH || s[n] != '.')
			return -EINVAL;
		s += n + 1;
		idlen -= n + 1;
		if (idlen == 0 || scan_digits(s, idlen, &step) != idlen || step > UINT32_MAX)
			return -EINVAL;
		id = (uint64_t)CKPT_STEPID(id, step);
	}
	t.id = (int64_t)id;
	*ret = t;
	return 0;
}

int ckpti_text_action(const char *s, size_t len, int *ret)
{
	unsigned long v;

	if (find_word(actions, s, len, &v) < 0)
		return -EINVAL;
	*ret = (int)v;
	return 0;
}

const char *ckpti_text_bytes(uint64_t n, char *buf)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)n / 1024;
	size_t u = 0;

	if (n < 1024) {
		(void)snprintf(buf, 16, "%" PRIu64 " B", n);
		return buf;
	}
	for (; v >= 1023.95 && u + 1 < sizeof(units) / sizeof(units[0]); u++)
		v /= 1024;
	(void)snprintf(buf, 16, "%.1f %s", v, units[u]);
	return buf;
}

const char *ckpti_text_time(uint64_t ns, char *buf)
{
	double s = (double)ns / 1e9;

	if (s < 0.0995)
		(void)snprintf(buf, 16, "%.1f ms", s * 1e3);
	else if (s < 9.95)
		(void)snprintf(buf, 16, "%.2f s", s);
	else if (s < 119.5)
		(void)snprintf(buf, 16, "%.0f s", s);
	else if (s < 7200)
		(void)snprintf(buf, 16, "%.0f min", s / 60);
	else if (s < 172800)
		(void)snprintf(buf, 16, "%.0f h", s / 3600);
	else
		(void)snprintf(buf, 16, "%.0f days", s / 86400);
	return buf;
}

char *ckpti_text_clean(char *s)
{
	for (unsigned char *p = (unsigned char *)s; *p; p++) {
		/* C0, DEL, and the C1 controls that some terminals take as 8-bit escapes: in UTF-8
		 * they come as 0xc2 0x80 … 0xc2 0x9f. */
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
		else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p[0] = p[1] = '?';
	}
	return s;
}
