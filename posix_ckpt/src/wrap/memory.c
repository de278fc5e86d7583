/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that a lazy restart has mapped from the image is a private mapping of a file.  Two calls tell
 * it from anonymous memory, which the program takes it for: madvise() would bring the image's content
 * back where zeros are due, and mremap() would show what follows in the file.
 */
#include "wrap/wrap_private.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "agent/agent.h"

#define LINE 4200 /* of /proc/self/maps, path included */

struct mapping {
	uintptr_t start, end;
	int prot;
};

/* Lines of /proc/self/maps, without malloc(): that may be our caller. */
struct lines {
	int fd;
	size_t len, used;
	char buf[LINE + 1];
};

static bool next_line(struct lines *l, char **ret)
{
	char *end;

	for (;;) {
		end = memchr(l->buf + l->used, '\n', l->len - l->used);
		if (end) {
			*end = '\0';
			*ret = l->buf + l->used;
			l->used = (size_t)(end - l->buf) + 1;
			return true;
		}
		memmove(l->buf, l->buf + l->used, l->len - l->used);
		l->len -= l->used;
		l->used = 0;
		if (l->len == LINE)
			return false;

		ssize_t n = read(l->fd, l->buf + l->len, LINE - l->len);

		if (n <= 0)
			return false;
		l->len += (size_t)n;
	}
}

static bool from_image(uint64_t ino)
{
	for (uint32_t i = 0; i < ckpti_agent.nlazy; i++)
		if (ckpti_agent.lazy[i] == ino)
			return true;
	return false;
}

/* start-end rwxp offset dev inode path */
static bool parse(char *line, struct mapping *ret)
{
	char *p = line, *flags;

	ret->start = strtoul(p, &p, 16);
	ret->end = strtoul(p + 1, &p, 16);
	flags = p + 1;
	ret->prot = (flags[0] == 'r' ? PROT_READ : 0) | (flags[1] == 'w' ? PROT_WRITE : 0) |
		    (flags[2] == 'x' ? PROT_EXEC : 0);
	p = flags + 5;
	(void)strtoul(p, &p, 16);
	p = strchr(p + 1, ' ');
	return p && flags[3] == 'p' && from_image(strtoull(p, &p, 10)) && strstr(p, "/data-");
}

/* Calls fn for each part of [start, end) that is mapped from the image; how many, or -1. */
static int each(uintptr_t start, uintptr_t end, int (*fn)(const struct mapping *m))
{
	int saved = errno, n = 0;
	struct lines l = {.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
	struct mapping m;
	char *line;

	while (l.fd >= 0 && n >= 0 && next_line(&l, &line)) {
		if (!parse(line, &m) || m.start >= end || m.end <= start)
			continue;
		m.start = m.start < start ? start : m.start;
		m.end = m.end > end ? end : m.end;
		n = fn(&m) < 0 ? -1 : n + 1;
	}
	if (l.fd >= 0)
		(void)syscall(SYS_close, l.fd);
	if (n >= 0)
		errno = saved;
	return n;
}

static bool any_lazy(void)
{
	return __builtin_expect(__atomic_load_n(&ckpti_agent.nlazy, __ATOMIC_RELAXED) != 0, 0);
}

/* What the program says it does not need any more becomes what it takes it for. */
static int make_anonymous(const struct mapping *m)
{
	void *p = mmap((void *)m->start, m->end - m->start, m->prot,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? -1 : 0;
}

CKPTI_EXPORT int madvise(void *addr, size_t len, int advice)
{
	uintptr_t page = (uintptr_t)addr, end = (page + len + 4095) & ~(uintptr_t)4095;

	if (any_lazy() && (advice == MADV_DONTNEED || advice == MADV_FREE) && page % 4096 == 0 &&
	    end > page && each(page, end, make_anonymous) < 0)
		return -1;
	return REAL(madvise)(addr, len, advice);
}

/* As the kernel would, but by copying. */
static void *move(void *old, size_t old_len, size_t len, int flags, void *to)
{
	int fixed = flags & MREMAP_FIXED ? MAP_FIXED : 0;
	char *p;

	if (!(flags & MREMAP_MAYMOVE)) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	p = mmap(fixed ? to : NULL, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
	if (p == MAP_FAILED)
		return p;
	memcpy(p, old, old_len < len ? old_len : len);
	(void)munmap(old, old_len);
	return p;
}

static int is_plain(const struct mapping *m)
{
	return m->prot == (PROT_READ | PROT_WRITE) ? 0 : -1;
}

CKPTI_EXPORT void *mremap(void *old, size_t old_len, size_t len, int flags, ...)
{
	uintptr_t from = (uintptr_t)old;
	void *to = NULL;
	va_list ap;

	if (flags & MREMAP_FIXED) {
		va_start(ap, flags);
		to = va_arg(ap, void *);
		va_end(ap);
	}
	if (any_lazy() && old_len && (len > old_len || flags & MREMAP_FIXED) &&
	    from + old_len > from && each(from, from + old_len, is_plain) > 0)
		return move(old, old_len, len, flags, to);
	return REAL(mremap)(old, old_len, len, flags, to);
}
