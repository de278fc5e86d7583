/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Places for the guest's mappings.  used[] holds what is taken, sorted, neighbours joined; nothing is
 * reserved in the kernel.  A place that turns out to be taken by somebody else is marked so and the
 * next one is tried, hence nobody's mapping is ever replaced.
 *
 * Freestanding: see guest.h.
 */
#include "guest/guest_private.h"

#include <errno.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#define MAX_EXTENTS 8192
#define HUGE        (2UL << 20)
#define BRK_SIZE    (1UL << 30)
#define ARENA_END   (CKPTI_GUEST_BASE + CKPTI_GUEST_SIZE)

static struct extent {
	uintptr_t start, end;
} used[MAX_EXTENTS];
static unsigned int nused;
static struct guest_lock lock;
static uintptr_t brk_start, brk_now;

void guest_lock(struct guest_lock *l)
{
	int self = (int)raw(SYS_getpid, 0, 0, 0, 0, 0, 0), other;

	for (;;) {
		other = 0;
		if (__atomic_compare_exchange_n(&l->owner, &other, self, 0, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return;
		/* Held by a thread of the process that has forked this one: it will never let go. */
		if (other != self &&
		    __atomic_compare_exchange_n(&l->owner, &other, self, 0, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return;
		(void)raw(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
	}
}

void guest_unlock(struct guest_lock *l)
{
	__atomic_store_n(&l->owner, 0, __ATOMIC_RELEASE);
}

bool ckpti_guest_has_addr(uintptr_t addr)
{
	return addr - CKPTI_GUEST_BASE < CKPTI_GUEST_SIZE;
}

bool ckpti_guest_has_range(uintptr_t start, uintptr_t end)
{
	return start >= CKPTI_GUEST_BASE && end <= ARENA_END && start < end;
}

static void take_slot(unsigned int i)
{
	for (unsigned int k = i; k + 1 < nused; k++)
		used[k] = used[k + 1];
	nused--;
}

static int make_slot(unsigned int i, uintptr_t start, uintptr_t end)
{
	if (nused == MAX_EXTENTS)
		return -ENOMEM;
	for (unsigned int k = nused; k > i; k--)
		used[k] = used[k - 1];
	used[i].start = start;
	used[i].end = end;
	nused++;
	return 0;
}

static int forget(uintptr_t start, uintptr_t end)
{
	for (unsigned int i = 0; i < nused; i++) {
		struct extent *x = &used[i];
		uintptr_t tail = x->end;

		if (x->end <= start || x->start >= end)
			continue;
		if (x->start < start && tail > end) {
			x->end = start;
			return make_slot(i + 1, end, tail);
		}
		if (x->start < start)
			x->end = start;
		else if (tail > end)
			x->start = end;
		else
			take_slot(i--);
	}
	return 0;
}

static int remember(uintptr_t start, uintptr_t end)
{
	unsigned int i = 0;
	int r = forget(start, end);

	if (r < 0)
		return r;
	while (i < nused && used[i].start < start)
		i++;
	if (i > 0 && used[i - 1].end == start) {
		used[i - 1].end = end;
		if (i < nused && used[i].start == end) {
			used[i - 1].end = used[i].end;
			take_slot(i);
		}
		return 0;
	}
	if (i < nused && used[i].start == end) {
		used[i].start = start;
		return 0;
	}
	return make_slot(i, start, end);
}

static uintptr_t find(uintptr_t low, uintptr_t high, size_t len, uintptr_t align)
{
	uintptr_t at = (low + align - 1) & ~(align - 1);

	for (unsigned int i = 0; i < nused; i++) {
		if (used[i].end <= at)
			continue;
		if (used[i].start >= at + len)
			break;
		at = (used[i].end + align - 1) & ~(align - 1);
	}
	return at + len <= high && at + len > at ? at : 0;
}

static uintptr_t place(size_t len, bool code, uintptr_t align)
{
	uintptr_t low = CKPTI_GUEST_BASE + (code ? CODE_OFFSET : DATA_OFFSET);
	uintptr_t high = code ? CKPTI_GUEST_BASE + DATA_OFFSET : ARENA_END;
	uintptr_t at;

	guest_lock(&lock);
	at = find(low, high, len, align);
	if (at && remember(at, at + len) < 0)
		at = 0;
	guest_unlock(&lock);
	return at;
}

uintptr_t guest_arena_place(size_t size, bool code)
{
	return place(PAGE_UP(size), code, PAGE);
}

static void release(uintptr_t start, uintptr_t end)
{
	guest_lock(&lock);
	(void)forget(start, end);
	guest_unlock(&lock);
}

void guest_arena_reset(void)
{
	lock.owner = 0;
	nused = 0;
	brk_start = brk_now = 0;
	/* The parts that have a place of their own. */
	(void)remember(CKPTI_GUEST_BASE, CKPTI_GUEST_BASE + CODE_OFFSET);
}

/* Code must be patched before anybody runs it, hence here. */
static long patch_code(long at, size_t len, int prot, int fd)
{
	enum ckpti_guest_object kind;

	if (!(prot & PROT_EXEC) || fd < 0)
		return at;
	kind = guest_patch_kind(fd);
	if (kind == CKPTI_GUEST_OBJECTS)
		return at;
	ckpti_guest_stats.objects[kind]++;
	/* What was not patched is missing in the counts, and the check after the load refuses. */
	(void)guest_patch((uint8_t *)at, len, prot, &ckpti_guest_stats.sites[kind]);
	return at;
}

/* Code that is mapped beyond the end of its file cannot be read. */
static size_t readable(int fd, size_t len, long off)
{
	struct {
		uint64_t dev, ino, nlink;
		uint32_t mode, uid, gid, pad;
		uint64_t rdev;
		int64_t size;
		uint8_t rest[128];
	} st; /* struct stat of the kernel */

	if (raw(SYS_fstat, fd, &st, 0, 0, 0, 0) < 0 || off >= st.size)
		return 0;
	return (size_t)(st.size - off) < len ? (size_t)(st.size - off) : len;
}

static long map_fixed(uintptr_t addr, size_t len, int prot, int flags, int fd, long off)
{
	long r;

	if (!ckpti_guest_has_range(addr, addr + len))
		ckpti_guest_stats.outside++;
	r = raw(SYS_mmap, addr, len, prot, flags, fd, off);
	if (IS_ERROR(r))
		return r;
	guest_lock(&lock);
	(void)remember(addr, addr + PAGE_UP(len));
	guest_unlock(&lock);
	return (flags & MAP_ANONYMOUS) ? r : patch_code(r, readable(fd, len, off), prot, fd);
}

long guest_mmap(uintptr_t addr, size_t len, int prot, int flags, int fd, long off)
{
	size_t size = PAGE_UP(len);
	uintptr_t at, align = PAGE;
	bool file = !(flags & MAP_ANONYMOUS);
	long r;

	ckpti_guest_stats.mappings++;
	if (!size)
		return -EINVAL;
	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
		return map_fixed(addr, len, prot, flags, fd, off);
	if ((flags & MAP_HUGETLB) || (!file && size >= 2 * HUGE))
		align = HUGE;
	if (flags & MAP_HUGETLB)
		size = (size + HUGE - 1) & ~(HUGE - 1);
	do {
		/* A private mapping of a file is a library, more often than not. */
		at = place(size, file && (flags & MAP_PRIVATE), align);
		if (!at)
			return -ENOMEM;
		r = raw(SYS_mmap, at, len, prot, flags | MAP_FIXED_NOREPLACE, fd, off);
	} while (r == -EEXIST); /* somebody else's: it stays marked as used */
	if (IS_ERROR(r)) {
		release(at, at + size);
		return r;
	}
	return file ? patch_code(r, readable(fd, len, off), prot, fd) : r;
}

long guest_munmap(uintptr_t addr, size_t len)
{
	long r = raw(SYS_munmap, addr, len, 0, 0, 0, 0);

	if (r == 0)
		release(addr, addr + PAGE_UP(len));
	return r;
}

long guest_mremap(uintptr_t addr, size_t old, size_t want, int flags, uintptr_t to)
{
	size_t was = PAGE_UP(old), size = PAGE_UP(want);
	uintptr_t at;
	long r;

	if (flags & MREMAP_FIXED) {
		if (!ckpti_guest_has_range(to, to + size))
			ckpti_guest_stats.outside++;
		r = raw(SYS_mremap, addr, old, want, flags, to, 0);
		if (IS_ERROR(r))
			return r;
		release(addr, addr + was);
		guest_lock(&lock);
		(void)remember(to, to + size);
		guest_unlock(&lock);
		return r;
	}
	if (size <= was) {
		r = raw(SYS_mremap, addr, old, want, flags, 0, 0);
		if (!IS_ERROR(r) && size < was)
			release(addr + size, addr + was);
		return r;
	}
	if (!(flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	at = place(size, false, size >= 2 * HUGE ? HUGE : PAGE);
	if (!at)
		return -ENOMEM;
	r = raw(SYS_mremap, addr, old, want, flags | MREMAP_MAYMOVE | MREMAP_FIXED, at, 0);
	if (IS_ERROR(r))
		release(at, at + size);
	else
		release(addr, addr + was);
	return r;
}

/* The process has one break, and it is the application's.  The guest gets its own. */
long guest_brk(uintptr_t addr)
{
	uintptr_t from, to;
	long r = 0;

	if (!brk_start) {
		brk_start = place(BRK_SIZE, false, PAGE);
		brk_now = brk_start;
	}
	if (addr < brk_start || addr > brk_start + BRK_SIZE)
		return (long)brk_now;
	from = PAGE_UP(brk_now);
	to = PAGE_UP(addr);
	if (to > from)
		r = raw(SYS_mmap, from, to - from, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	else if (to < from)
		r = raw(SYS_munmap, to, from - to, 0, 0, 0, 0);
	if (!IS_ERROR(r))
		brk_now = addr;
	return (long)brk_now;
}

long guest_shmat(int id, uintptr_t addr, int flags)
{
	struct shmid_ds ds;
	uintptr_t at;
	size_t size;
	long r;

	r = raw(SYS_shmctl, id, IPC_STAT, &ds, 0, 0, 0);
	if (r < 0)
		return r;
	size = PAGE_UP(ds.shm_segsz);
	if (addr) {
		if (!ckpti_guest_has_range(addr, addr + size))
			ckpti_guest_stats.outside++;
		return raw(SYS_shmat, id, addr, flags, 0, 0, 0);
	}
	do {
		at = place(size, false, PAGE);
		if (!at)
			return -ENOMEM;
		/* Without SHM_REMAP a place that is taken is refused, with EINVAL. */
		r = raw(SYS_shmat, id, at, flags, 0, 0, 0);
	} while (r == -EINVAL && raw(SYS_madvise, at, PAGE, MADV_NORMAL, 0, 0, 0) == 0);
	if (IS_ERROR(r))
		release(at, at + size);
	return r;
}

/* The segment's size is not known any more: its place is not used again. */
long guest_shmdt(uintptr_t addr)
{
	return raw(SYS_shmdt, addr, 0, 0, 0, 0, 0);
}
