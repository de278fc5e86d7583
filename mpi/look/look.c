/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An audit library for ld.so (rtld-audit(7)) that does one thing: where a program or a library looks
 * for libmpi.so.40, it finds the shim.  Whatever way led to it counts, DT_NEEDED, RPATH or dlopen();
 * programs that look for another MPI, or for none, notice nothing.
 *
 * It is loaded into every program that a prepared job starts.  Hence no libc, which would be a second
 * one in the process; and its ways through ld.so are the cheapest: no other audit function exists, so
 * calls between libraries stay direct.
 */
#include <link.h>
#include <stddef.h>
#include <stdint.h>

#define SONAME   "libmpi.so.40"
#define VARIABLE "CKPT_MPI_LIB=" /* path of the shim */

#define EXPORT __attribute__((visibility("default")))

extern void *__libc_stack_end; /* ld.so's: argc, argv, environment as the kernel has left them */

static const char *after(const char *s, const char *prefix)
{
	while (*prefix && *s == *prefix) {
		s++;
		prefix++;
	}
	return *prefix ? NULL : s;
}

static const char *base_name(const char *path)
{
	const char *base = path;

	for (; *path; path++)
		if (*path == '/')
			base = path + 1;
	return base;
}

static const char *shim(void)
{
	char **word = (char **)__libc_stack_end + 1;

	while (*word)
		word++;
	for (word++; *word; word++) {
		const char *path = after(*word, VARIABLE);

		if (path && *path)
			return path;
	}
	return NULL;
}

EXPORT unsigned int la_version(unsigned int version)
{
	return version;
}

EXPORT char *la_objsearch(const char *name, uintptr_t *cookie, unsigned int flag)
{
	const char *rest = flag == LA_SER_ORIG ? after(base_name(name), SONAME) : NULL;
	const char *path = rest && !*rest ? shim() : NULL;

	(void)cookie;
	return (char *)(uintptr_t)(path ? path : name);
}
