/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which Open MPI the guest gets: the one that the program would have found without us, by its RPATH, by
 * LD_LIBRARY_PATH, by its RUNPATH, in this order (ld.so(8)).  The guest looks by itself where
 * LD_LIBRARY_PATH and ld.so's defaults lead to; what comes from the program is put in front of it.
 *
 * The object that counts is the first one that names libmpi.so.40 among its needs.  Of those that have
 * loaded it only the program itself is asked, whose RPATH holds for all.
 */
#include "shim/restart.h"
#include "shim/shim.h"

#include <elf.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARY "libmpi.so.40"
#define PATH    "LD_LIBRARY_PATH="

/* What an object says about its libraries. */
struct object {
	char origin[PATH_MAX];
	const char *rpath, *runpath;
	const char *needed; /* its entry that names the library */
};

static void directory_of(const char *name, char *ret, size_t size)
{
	ssize_t n;
	char *slash;

	(void)snprintf(ret, size, "%s", name);
	if (!*name) {
		n = readlink("/proc/self/exe", ret, size - 1);
		ret[n > 0 ? n : 0] = '\0';
	}
	slash = strrchr(ret, '/');
	if (slash)
		*slash = '\0';
}

static void read_object(const struct link_map *map, struct object *ret)
{
	const char *strings = NULL, *name, *base;

	memset(ret, 0, sizeof(*ret));
	directory_of(map->l_name, ret->origin, sizeof(ret->origin));
	for (const ElfW(Dyn) *d = map->l_ld; d && d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_STRTAB)
			strings = (const char *)d->d_un.d_ptr; /* relocated by ld.so */
	/* That of the vdso is not. */
	if ((uintptr_t)strings < map->l_addr)
		return;
	for (const ElfW(Dyn) *d = map->l_ld; strings && d->d_tag != DT_NULL; d++) {
		name = strings + d->d_un.d_val;
		if (d->d_tag == DT_RPATH)
			ret->rpath = name;
		else if (d->d_tag == DT_RUNPATH)
			ret->runpath = name;
		else if (d->d_tag == DT_NEEDED) {
			base = strrchr(name, '/');
			if (strcmp(base ? base + 1 : name, LIBRARY) == 0)
				ret->needed = name;
		}
	}
	/* As ld.so has it. */
	if (ret->runpath)
		ret->rpath = NULL;
}

/* One entry of a search path, with its tokens filled in. */
static bool expand(const char *from, size_t len, const char *origin, char *ret, size_t size)
{
	static const char *const tokens[] = {"$ORIGIN", "${ORIGIN}"};
	size_t n = 0;

	while (len) {
		size_t skip = 0;

		for (size_t i = 0; i < 2 && !skip; i++)
			if (strncmp(from, tokens[i], strlen(tokens[i])) == 0)
				skip = strlen(tokens[i]);
		if (skip) {
			n += (size_t)snprintf(ret + n, size - n, "%s", origin);
		} else {
			skip = 1;
			ret[n++] = *from;
		}
		if (n + 1 >= size || skip > len)
			return false;
		from += skip;
		len -= skip;
	}
	ret[n] = '\0';
	return n > 0;
}

/* Is the library there, and not ours? */
static bool has_library(const char *dir, const char *own)
{
	char path[2 * PATH_MAX];
	struct stat there, ours;

	(void)snprintf(path, sizeof(path), "%s/" LIBRARY, dir);
	if (stat(path, &there) < 0)
		return false;
	(void)snprintf(path, sizeof(path), "%s/" LIBRARY, own);
	return stat(path, &ours) < 0 || there.st_dev != ours.st_dev || there.st_ino != ours.st_ino;
}

static bool search(const char *list, const char *origin, const char *own, char *ret, size_t size)
{
	while (list && *list) {
		size_t n = strcspn(list, ":;");

		if (expand(list, n, origin, ret, size) && has_library(ret, own))
			return true;
		list += n + (list[n] != '\0');
	}
	return false;
}

static const char *library_path(char *const *env)
{
	for (; *env; env++)
		if (strncmp(*env, PATH, strlen(PATH)) == 0)
			return *env + strlen(PATH);
	return "";
}

/* The directory that the program leads to; false: the guest finds it by itself. */
static bool find(char *const *env, const char *own, char *ret, size_t size)
{
	struct object program, needing = {.needed = NULL};
	const struct link_map *map = _r_debug.r_map;

	if (!map)
		return false;
	read_object(map, &program);
	for (; map && !needing.needed; map = map->l_next)
		read_object(map, &needing);
	if (!needing.needed)
		return false;
	if (strchr(needing.needed, '/')) {
		directory_of(needing.needed, ret, size);
		return has_library(ret, own);
	}
	if (search(needing.rpath, needing.origin, own, ret, size))
		return true;
	if (!needing.runpath && search(program.rpath, program.origin, own, ret, size))
		return true;
	return !search(library_path(env), "", own, ret, size) &&
	       search(needing.runpath, needing.origin, own, ret, size);
}

/* The first word is the one that was made here, or NULL. */
char **ckpti_mpi_choose(char *const *env, const char *own)
{
	const char *old = library_path(env);
	char dir[PATH_MAX], *line = NULL, **ret;
	size_t n = 0, k = 1;

	while (env[n])
		n++;
	ret = calloc(n + 3, sizeof(*ret));
	if (!ret)
		return NULL;
	if (find(env, own, dir, sizeof(dir)) &&
	    asprintf(&line, PATH "%s%s%s", dir, *old ? ":" : "", old) < 0) {
		free(ret);
		return NULL;
	}
	ret[0] = line;
	if (line)
		ret[k++] = line;
	for (size_t i = 0; i < n; i++)
		if (!line || strncmp(env[i], PATH, strlen(PATH)) != 0)
			ret[k++] = env[i];
	return ret + 1;
}

void ckpti_mpi_choose_free(char **env)
{
	if (!env)
		return;
	free(env[-1]);
	free(env - 1);
}
