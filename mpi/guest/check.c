/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is the guest confined?  Two independent looks: what the hook has counted, with the number of patched
 * calls that the known libcs have; and what the kernel says is mapped and open now but was not before
 * the load.
 */
#include "guest/guest_private.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/*
 * Calls of each kind that an object of a known libc has.  When a libc is refused, the message has the
 * numbers found; a row may be added when a test of confinement passes with them, and after a look at
 * what is odd (objdump -d: the calls whose number is one of ours and that patch.c cannot replace).
 * Odd here: three masks that abort(), pthread_create() and a helper of timers set for themselves.
 */
static const struct {
	const char *version;
	enum ckpti_guest_object kind;
	struct ckpti_guest_sites sites;
} known[] = {
	{"glibc 2.36", CKPTI_GUEST_LINKER, {.memory = 3, .fd = 8, .signal = 1, .exec = 1}},
	{"glibc 2.36",
	 CKPTI_GUEST_LIBC,
	 {.memory = 6, .fd = 47, .signal = 17, .exec = 3, .generic = 1, .odd = 3}},
	{"UCX 1.13", CKPTI_GUEST_UCM, {.memory = 1}},
	{"glibc 2.41", CKPTI_GUEST_LINKER, {.memory = 6, .fd = 8, .signal = 1, .exec = 1}},
	{"glibc 2.41",
	 CKPTI_GUEST_LIBC,
	 {.memory = 7, .fd = 29, .signal = 20, .exec = 3, .generic = 3, .odd = 3}},
	{"UCX 1.18", CKPTI_GUEST_UCM, {0}},
};

static const char *const object_names[] = {
	[CKPTI_GUEST_LINKER] = "ld.so", [CKPTI_GUEST_LIBC] = "libc", [CKPTI_GUEST_UCM] = "libucm"};

struct mapping {
	uintptr_t start;
	uint64_t dev, ino;
};

static struct {
	struct mapping *map;
	size_t nmaps;
	uint64_t low_fds[16]; /* below 1024 */
	bool alone;           /* the application had one thread */
} before;

/* The note that names a build, for messages. */
static void build_id(const char *path, char *ret_hex, size_t size)
{
	uint8_t head[4096];
	Elf64_Ehdr *eh = (Elf64_Ehdr *)head;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);

	if (fd >= 0)
		(void)close(fd);
	(void)snprintf(ret_hex, size, "unknown");
	if (len < (ssize_t)sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0)
		return;
	for (size_t i = 0; i + sizeof(Elf64_Nhdr) + 4 < (size_t)len; i += 4) {
		Elf64_Nhdr *note = (Elf64_Nhdr *)(head + i);
		uint8_t *id = (uint8_t *)(note + 1) + 4;

		if (note->n_type != NT_GNU_BUILD_ID || note->n_namesz != 4 ||
		    memcmp(note + 1, "GNU", 4) != 0 || id + note->n_descsz > head + len)
			continue;
		for (size_t k = 0; k < note->n_descsz && 2 * k + 3 <= size; k++)
			(void)sprintf(ret_hex + 2 * k, "%02x", id[k]);
		return;
	}
}

/* Calls found(arg, …) for each mapping outside of the arena until it returns non-zero. */
static int for_mappings(int (*found)(void *arg, const struct mapping *m, const char *line),
			void *arg)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char *line = NULL;
	size_t size = 0;
	int r = 0;

	if (!f)
		return -errno;
	while (r == 0 && getline(&line, &size, f) > 0) {
		unsigned int major, minor;
		struct mapping m;

		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%" SCNxPTR "-%*x %*s %*x %x:%x %" SCNu64, &m.start, &major,
			   &minor, &m.ino) != 4)
			continue;
		m.dev = (uint64_t)major << 32 | minor;
		if (!ckpti_guest_has_addr(m.start))
			r = found(arg, &m, line);
	}
	free(line);
	(void)fclose(f);
	return r;
}

static int remember_mapping(void *arg, const struct mapping *m, const char *line)
{
	struct mapping *more;

	(void)arg;
	(void)line;
	if (before.nmaps % 256 == 0) {
		more = realloc(before.map, (before.nmaps + 256) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		before.map = more;
	}
	before.map[before.nmaps++] = *m;
	return 0;
}

static int list_numbers(const char *path, uint64_t bits[16], unsigned int *ret_count)
{
	DIR *dir = opendir(path);
	unsigned int count = 0;
	struct dirent *e;

	if (!dir)
		return -errno;
	while ((e = readdir(dir))) {
		unsigned long n = strtoul(e->d_name, NULL, 10);

		if (e->d_name[0] == '.' || (bits && n == (unsigned long)dirfd(dir)))
			continue;
		count++;
		if (bits && n < 1024)
			bits[n / 64] |= 1ULL << n % 64;
	}
	(void)closedir(dir);
	*ret_count = count;
	return 0;
}

int ckpti_guest_check_begin(struct ckpti_err *err)
{
	unsigned int count = 0;
	int r;

	before.nmaps = 0;
	memset(before.low_fds, 0, sizeof(before.low_fds));
	r = for_mappings(remember_mapping, NULL);
	if (r == 0)
		r = list_numbers("/proc/self/task", NULL, &count);
	before.alone = count == 1;
	if (r == 0)
		r = list_numbers("/proc/self/fd", before.low_fds, &count);
	return r < 0 ? ckpti_err(err, r, "/proc/self cannot be read: %s", strerror(-r)) : 0;
}

/* A file that is mapped outside and was not.  The application's own memory grows as it likes. */
static int is_new_file(void *arg, const struct mapping *m, const char *line)
{
	struct ckpti_err *err = arg;

	if (m->ino == 0)
		return 0;
	for (size_t i = 0; i < before.nmaps; i++)
		if (before.map[i].ino == m->ino && before.map[i].dev == m->dev)
			return 0;
	return ckpti_err(err, -EXDEV, "the guest has a mapping outside of its arena: '%.150s'",
			 line);
}

/* Where the object is: the first mapping of a file of that name inside. */
static void find_object(const char *name, char *ret_path, size_t size)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char *line = NULL, *path, *base;
	size_t room = 0;

	(void)snprintf(ret_path, size, "%s", name);
	while (f && getline(&line, &room, f) > 0) {
		path = strchr(line, '/');
		base = path ? strrchr(path, '/') + 1 : NULL;
		if (!base || !ckpti_guest_has_addr(strtoul(line, NULL, 16)) ||
		    strncmp(base, name, strlen(name)) != 0 || !strchr(".-", base[strlen(name)]))
			continue;
		path[strcspn(path, "\n")] = '\0';
		(void)snprintf(ret_path, size, "%s", path);
		break;
	}
	free(line);
	if (f)
		(void)fclose(f);
}

/* path: NULL, look for it in the maps */
static int refuse(enum ckpti_guest_object kind, const char *path, struct ckpti_err *err)
{
	const struct ckpti_guest_sites *s = &ckpti_guest_stats.sites[kind];
	char found[256], id[64];

	if (!path)
		find_object(object_names[kind], found, sizeof(found));
	build_id(path ? path : found, id, sizeof(id));
	return ckpti_err(
		err, -ENOTSUP,
		"'%s' (build %s) is not known: calls found memory %u fd %u signal %u exec %u "
		"generic %u odd %u",
		path ? path : found, id, s->memory, s->fd, s->signal, s->exec, s->generic, s->odd);
}

static bool is_known(enum ckpti_guest_object kind)
{
	const struct ckpti_guest_sites *s = &ckpti_guest_stats.sites[kind];

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].kind == kind && memcmp(s, &known[i].sites, sizeof(*s)) == 0)
			return true;
	return false;
}

int guest_check_sites(enum ckpti_guest_object kind, const char *path, struct ckpti_err *err)
{
	return is_known(kind) ? 0 : refuse(kind, path, err);
}

int ckpti_guest_check_counts(struct ckpti_err *err)
{
	struct rlimit limit = {0};
	const struct ckpti_guest_stats *s = &ckpti_guest_stats;

	for (int kind = 0; kind < CKPTI_GUEST_OBJECTS; kind++) {
		if (s->objects[kind] > 1 || (s->objects[kind] == 0 && kind != CKPTI_GUEST_UCM))
			return ckpti_err(err, -EXDEV, "the guest has loaded %u %s instead of 1",
					 s->objects[kind], object_names[kind]);
		if (s->objects[kind] && !is_known(kind))
			return ckpti_err(err, -ENOTSUP, "the guest's %s is not known",
					 object_names[kind]);
	}
	if (s->outside)
		return ckpti_err(err, -EXDEV,
				 "the guest has made %" PRIu64 " mappings outside of its arena",
				 s->outside);
	if (s->fds_low) {
		(void)getrlimit(RLIMIT_NOFILE, &limit);
		return ckpti_err(err, -EXDEV,
				 "the guest has %" PRIu64 " descriptors outside of its range: the "
				 "limit of open files (ulimit -n) is %ju",
				 s->fds_low, (uintmax_t)limit.rlim_cur);
	}
	return 0;
}

int ckpti_guest_check(struct ckpti_err *err)
{
	uint64_t now[16] = {0};
	unsigned int count;
	int r = 0;

	for (int kind = 0; r == 0 && kind < CKPTI_GUEST_OBJECTS; kind++)
		if (ckpti_guest_stats.objects[kind])
			r = guest_check_sites(kind, NULL, err);
	if (r == 0)
		r = ckpti_guest_check_counts(err);
	if (r < 0)
		return r;
	/* With other threads, what is new may be theirs. */
	if (!before.alone)
		return 0;
	before.alone = false;
	r = for_mappings(is_new_file, err);
	if (r < 0)
		return r;
	r = list_numbers("/proc/self/fd", now, &count);
	if (r < 0)
		return ckpti_err(err, r, "/proc/self/fd cannot be read: %s", strerror(-r));
	for (int fd = 0; fd < 1024; fd++)
		if ((now[fd / 64] & ~before.low_fds[fd / 64]) >> fd % 64 & 1 &&
		    !ckpti_guest_has_fd(fd))
			return ckpti_err(err, -EXDEV,
					 "descriptor %d is the guest's but not in its range", fd);
	free(before.map);
	before.map = NULL;
	return 0;
}
