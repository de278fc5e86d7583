/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/track.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "core/set.h"
#include "os/linux/sys.h"

/* The kernel holds the lock of the address space for each step, and the program may want it. */
#define STEP     (16UL << 20)
#define NREGIONS 1024

int ckpti_track_open(struct ckpti_tracked *t, int pid, int uffd)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = CKPTI_UFFD_WP_ASYNC | CKPTI_UFFD_WP_UNPOPULATED,
	};
	char path[64];

	memset(t, 0, sizeof(*t));
	t->pid = pid;
	t->uffd = uffd;
	t->pagemap = -1;
	if (ioctl(uffd, UFFDIO_API, &api) < 0)
		return errno == EINVAL ? -ENOSYS : -errno;
	(void)snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	t->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	return t->pagemap < 0 ? -errno : 0;
}

/* Unprotected step by step first: the close does it in one go, with the address space locked. */
void ckpti_track_close(struct ckpti_tracked *t)
{
	for (size_t i = 0; t->uffd >= 0 && i < t->area.n; i++) {
		uint64_t end = t->area.v[i].addr + t->area.v[i].len;

		for (uint64_t at = t->area.v[i].addr; at < end; at += STEP) {
			struct uffdio_writeprotect wp = {
				.range = {.start = at, .len = end - at < STEP ? end - at : STEP},
			};

			/* Of a mapping that has changed meanwhile; the close does the rest. */
			if (ioctl(t->uffd, UFFDIO_WRITEPROTECT, &wp) < 0 && errno != EAGAIN)
				break;
		}
	}
	if (t->uffd >= 0)
		(void)close(t->uffd);
	if (t->pagemap >= 0)
		(void)close(t->pagemap);
	ckpti_runs_free(&t->area);
	t->uffd = t->pagemap = -1;
}

static bool trackable(const struct ckpti_map *map)
{
	return !map->shared && !map->dev && !map->ino && !map->hugetlb && !map->io && map->anon &&
	       map->name[0] != '/' && strncmp(map->name, "[v", 2) != 0;
}

int ckpti_track_register(struct ckpti_tracked *t)
{
	struct ckpti_map *map = NULL;
	size_t n = 0;
	int r = ckpti_procfs_maps(t->pid, &map, &n);

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct uffdio_register reg = {
			.range = {.start = map[i].start, .len = map[i].end - map[i].start},
			.mode = UFFDIO_REGISTER_MODE_WP,
		};

		/* What cannot be registered, or is gone, is seen as changed. */
		if (trackable(&map[i]) && ioctl(t->uffd, UFFDIO_REGISTER, &reg) == 0)
			r = ckpti_runs_add(&t->area, map[i].start, map[i].end - map[i].start,
					   map[i].start);
	}
	ckpti_procfs_maps_free(map, n);
	return r;
}

/* Regions of [start, end) by a; how many, or -errno; *ret_next: where to go on. */
static long scan(int pagemap, struct pm_scan_arg *a, struct page_region *region, uint64_t *ret_next)
{
	long n;

	a->size = sizeof(*a);
	a->vec = (uint64_t)(uintptr_t)region;
	a->vec_len = NREGIONS;
	n = ioctl(pagemap, PAGEMAP_SCAN, a);
	if (n < 0)
		return -errno;
	*ret_next = a->walk_end;
	/* The walk may end before regions that were reported already. */
	if (n > 0 && region[n - 1].end > *ret_next)
		*ret_next = region[n - 1].end;
	return n;
}

static int changed_in(struct ckpti_tracked *t, uint64_t start, uint64_t end, bool arm,
		      struct ckpti_runs *ret)
{
	struct page_region region[NREGIONS];
	uint64_t guard = PAGE_IS_GUARD;
	int r = 0;

	while (r == 0 && start < end) {
		struct pm_scan_arg a = {
			.flags = arm ? PM_SCAN_WP_MATCHING : 0,
			.start = start,
			.end = end - start < STEP ? end : start + STEP,
			.category_inverted = PAGE_IS_PFNZERO | guard,
			.category_mask =
				PAGE_IS_PFNZERO | guard | PAGE_IS_WRITTEN | PAGE_IS_WPALLOWED,
			.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		};
		uint64_t next;
		long n = scan(t->pagemap, &a, region, &next);

		if (n == -EINVAL && guard) {
			guard = 0; /* a kernel from before guard regions */
			continue;
		}
		if (n < 0)
			return (int)n;
		for (long i = 0; r == 0 && i < n; i++)
			r = ckpti_runs_add(ret, region[i].start, region[i].end - region[i].start,
					   region[i].start);
		if (next <= start)
			break;
		start = next;
	}
	return r;
}

int ckpti_track_changed(struct ckpti_tracked *t, bool arm, struct ckpti_runs *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < t->area.n; i++)
		r = changed_in(t, t->area.v[i].addr, t->area.v[i].addr + t->area.v[i].len, arm,
			       ret);
	return r;
}

int ckpti_track_view(int pagemap, uint64_t start, uint64_t end, struct ckpti_track_view *v)
{
	struct page_region region[NREGIONS];
	uint64_t guard = PAGE_IS_GUARD;
	int r = 0;

	while (r == 0 && start < end) {
		struct pm_scan_arg a = {
			.start = start,
			.end = end,
			.category_inverted = PAGE_IS_PFNZERO,
			.category_mask = PAGE_IS_PFNZERO,
			.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | guard,
			.return_mask = PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN | guard,
		};
		uint64_t next;
		long n = scan(pagemap, &a, region, &next);

		if (n == -EINVAL && guard) {
			guard = 0;
			continue;
		}
		if (n < 0)
			return (int)n;
		for (long i = 0; r == 0 && i < n; i++) {
			uint64_t is = region[i].categories;
			struct ckpti_runs *to =
				is & guard                                            ? &v->guard
				: (is & PAGE_IS_WPALLOWED) && !(is & PAGE_IS_WRITTEN) ? &v->same
										      : &v->changed;

			r = ckpti_runs_add(to, region[i].start, region[i].end - region[i].start,
					   region[i].start);
		}
		if (next <= start)
			break;
		start = next;
	}
	return r;
}

/* ---- writes behind the page table ----------------------------------------------------------- */

/* Of what can be opened as a device only terminals and those of memory (null, zero, random) are known
 * to leave the program's pages alone. */
static bool harmless_device(dev_t dev)
{
	unsigned m = major(dev);

	return m == 1 || m == 4 || m == 5 || (m >= 136 && m <= 143);
}

static bool opens_bypass(int pid, int fd)
{
	char name[64], path[PATH_MAX], *text, *flags;
	struct stat st;
	bool direct;

	(void)snprintf(name, sizeof(name), "/proc/%d/fd/%d", pid, fd);
	if (stat(name, &st) == 0 && S_ISCHR(st.st_mode) && !harmless_device(st.st_rdev))
		return true;
	(void)snprintf(name, sizeof(name), "fd/%d", fd);
	if (ckpti_procfs_link(pid, name, path) > 0 && strstr(path, "io_uring"))
		return true;
	(void)snprintf(name, sizeof(name), "fdinfo/%d", fd);
	text = ckpti_procfs_slurp(pid, name, NULL);
	flags = text ? strstr(text, "flags:") : NULL;
	direct = flags && (strtoul(flags + 6, NULL, 8) & O_DIRECT);
	free(text);
	return direct;
}

bool ckpti_track_bypassed(int pid)
{
	char dir[64];
	int *fd = NULL;
	size_t n = 0;
	char *maps;
	bool found;

	(void)snprintf(dir, sizeof(dir), "/proc/%d/fd", pid);
	found = ckpti_procfs_numbers(dir, &fd, &n) < 0;
	for (size_t i = 0; !found && i < n; i++)
		found = opens_bypass(pid, fd[i]);
	free(fd);
	if (found)
		return true;
	maps = ckpti_procfs_slurp(pid, "maps", NULL);
	found = !maps || strstr(maps, "/[aio]");
	free(maps);
	return found;
}

#define ENOUGH_NS 10000000U /* of a processor's time: several times what one such write takes */
#define NAP_NS    1000000

/* Time that the thread has run, 0 when that is not known. */
static uint64_t ran_ns(int tid)
{
	char *text = ckpti_procfs_slurp(tid, "schedstat", NULL);
	uint64_t ns = text ? strtoull(text, NULL, 10) : 0;

	free(text);
	return ns;
}

/* Sleeps in a call that is no such write, or in none (-1: it is stopped, or has ended)? */
static bool rests(int tid)
{
	char *text = ckpti_procfs_slurp(tid, "syscall", NULL);
	bool rest;
	long nr;

	/* It has ended. */
	if (!text)
		return errno == ENOENT || errno == ESRCH;
	nr = atol(text);
	rest = strncmp(text, "running", 7) != 0 && nr != __NR_process_vm_writev &&
	       nr != __NR_ptrace;
	free(text);
	return rest;
}

int ckpti_track_settle(int pid, uint64_t deadline_ns)
{
	const struct timespec nap = {.tv_nsec = NAP_NS};
	char dir[64];
	uint64_t *ran;
	int *tid = NULL;
	size_t n = 0, left;

	(void)snprintf(dir, sizeof(dir), "/proc/%d/task", pid);
	if (ckpti_procfs_numbers(dir, &tid, &n) < 0)
		return 0;
	ran = calloc(n + 1, sizeof(*ran));
	if (!ran) {
		free(tid);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		ran[i] = ran_ns(tid[i]);
	for (left = n; left;) {
		size_t still = 0;

		for (size_t i = 0; i < left; i++) {
			if (rests(tid[i]) || ran_ns(tid[i]) >= ran[i] + ENOUGH_NS)
				continue;
			tid[still] = tid[i];
			ran[still++] = ran[i];
		}
		left = still;
		if (left && ckpti_now_ns() > deadline_ns)
			break;
		if (left)
			(void)nanosleep(&nap, NULL);
	}
	free(ran);
	free(tid);
	return left ? -ETIMEDOUT : 0;
}

int ckpti_track_probe(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = CKPTI_UFFD_WP_ASYNC | CKPTI_UFFD_WP_UNPOPULATED,
	};
	struct pm_scan_arg a = {.size = sizeof(a)};
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int fd = (int)syscall(__NR_userfaultfd, O_CLOEXEC | CKPTI_UFFD_USER_MODE_ONLY);
	int r = 0;

	if (fd < 0 || pagemap < 0 || ioctl(fd, UFFDIO_API, &api) < 0 ||
	    ioctl(pagemap, PAGEMAP_SCAN, &a) < 0)
		r = -errno;
	if (fd >= 0)
		(void)close(fd);
	if (pagemap >= 0)
		(void)close(pagemap);
	return r;
}
