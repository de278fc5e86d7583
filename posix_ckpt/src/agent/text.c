/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text of /proc without libc, and the memory functions that the compiler may call on its own.
 */
#include "agent/text.h"

#include <errno.h>
#include <fcntl.h>

#include "agent/mem.h"
#include "os/linux/sys.h"

void *memset(void *dst, int c, size_t n)
{
	arch_fill(dst, c, n);
	return dst;
}

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	arch_copy(dst, src, n);
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *p = a;
	const unsigned char *q = b;

	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

size_t agent_strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

long agent_slurp(const char *path, char *buf, size_t size)
{
	long fd = sys(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	long n;

	if (fd < 0)
		return fd;
	do {
		n = sys(read, fd, buf + len, size - 1 - len);
		if (n > 0)
			len += (size_t)n;
	} while ((n > 0 && len < size - 1) || n == -EINTR);
	(void)sys(close, fd);
	buf[len] = 0;
	if (n < 0)
		return n;
	return len == size - 1 ? -E2BIG : (long)len;
}

struct field_scan {
	const char *key;
	size_t matched; /* of the key, in this line */
	int other;      /* the line is another one */
	char *value;
	size_t len, size;
};

/* One more character of a file: 1 when the value is complete. */
static int field_next(struct field_scan *s, char c)
{
	if (!s->other && !s->key[s->matched]) {
		if (c == '\n' || s->len + 1 == s->size)
			return 1;
		if (s->len || (c != ' ' && c != '\t'))
			s->value[s->len++] = c;
	} else if (c == '\n') {
		s->other = 0;
		s->matched = 0;
	} else if (!s->other && c == s->key[s->matched]) {
		s->matched++;
	} else {
		s->other = 1;
	}
	return 0;
}

int agent_file_field(const char *path, const char *key, char *value, size_t size)
{
	struct field_scan s = {.key = key, .value = value, .size = size};
	long fd = sys(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	char buf[128];
	int done = 0;
	long n;

	if (fd < 0)
		return (int)fd;
	while (!done && (n = sys(read, fd, buf, sizeof(buf))) > 0)
		for (long i = 0; i < n && !done; i++)
			done = field_next(&s, buf[i]);
	(void)sys(close, fd);
	value[s.len] = 0;
	return done ? 0 : n < 0 ? (int)n : -ENODATA;
}

char *agent_path(char *buf, const char *a, long n, const char *b)
{
	char digits[24];
	char *p = buf;
	int k = 0;

	while (*a)
		*p++ = *a++;
	do {
		digits[k++] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	while (k)
		*p++ = digits[--k];
	while (*b)
		*p++ = *b++;
	*p = 0;
	return buf;
}

const char *agent_field(const char *text, const char *key)
{
	size_t n = agent_strlen(key);

	while (*text) {
		if (memcmp(text, key, n) == 0)
			return text + n;
		while (*text && *text != '\n')
			text++;
		if (*text)
			text++;
	}
	return NULL;
}

uint64_t agent_hex(const char **s)
{
	uint64_t v = 0;

	for (;; (*s)++) {
		char c = **s;

		if (c >= '0' && c <= '9')
			v = v * 16 + (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v * 16 + (uint64_t)(c - 'a' + 10);
		else
			return v;
	}
}

int64_t agent_dec(const char **s)
{
	int64_t v = 0;
	int neg = 0;

	while (**s == ' ' || **s == '\t')
		(*s)++;
	if (**s == '-') {
		neg = 1;
		(*s)++;
	}
	for (; **s >= '0' && **s <= '9'; (*s)++)
		v = v * 10 + (**s - '0');
	return neg ? -v : v;
}

struct dirent64 {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

int agent_for_numbers(const char *dir, int (*fn)(void *arg, int dirfd, int n), void *arg)
{
	_Alignas(8) char buf[4096];
	long fd = sys(openat, AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long len;
	int r = 0;

	if (fd < 0)
		return (int)fd;
	while (r == 0 && (len = sys(getdents64, fd, buf, sizeof(buf))) > 0) {
		for (long o = 0; r == 0 && o < len;) {
			struct dirent64 *d = (struct dirent64 *)(buf + o);
			const char *name = d->name;

			o += d->reclen;
			if (*name >= '0' && *name <= '9')
				r = fn(arg, (int)fd, (int)agent_dec(&name));
		}
	}
	if (r == 0 && len < 0)
		r = (int)len;
	(void)sys(close, fd);
	return r;
}
