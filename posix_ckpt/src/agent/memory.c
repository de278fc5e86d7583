/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory: find the pages that are the process' own and write them, page-aligned, to the data file that
 * the coordinator passed.  Which ranges, and how each is to be looked at, is the coordinator's plan;
 * the answer is a list of extents.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "agent/agent_private.h"
#include "agent/mem.h"

#define PAGE     4096UL
#define NREGIONS 1024
#define NIOV     256
#define BOUNCE   (64UL << 10)

/* One write in progress; pages are gathered into iov[] and leave in one call. */
static struct {
	int fd;
	uint64_t off; /* where the next gathered byte goes */
	uint64_t iov_bytes;
	uint32_t niov;
	struct iovec iov[NIOV];
	struct ckpti_e_extent *extent; /* in the mailbox */
	uint64_t nextents, max_extents;
	struct ckpti_e_range *guard; /* behind the extents */
	uint64_t nguards, max_guards;
	uint64_t fault; /* address at which a write failed */
} w;
static struct page_region region[NREGIONS];
static uint8_t bounce[BOUNCE];
static uint8_t resident[4096]; /* answer of mincore(), by page */

static int flush(void)
{
	struct iovec *iov = w.iov;
	uint32_t n = w.niov;
	uint64_t off = w.off - w.iov_bytes;

	w.niov = 0;
	w.iov_bytes = 0;
	while (n) {
		long r = sys(pwritev, w.fd, iov, n, off, 0);

		if (r == -EINTR)
			continue;
		if (r <= 0) {
			w.fault = (uint64_t)iov->iov_base;
			return r < 0 ? (int)r : -EIO;
		}
		off += (uint64_t)r;
		while (n && (uint64_t)r >= iov->iov_len) {
			r -= (long)iov->iov_len;
			iov++;
			n--;
		}
		if (n) {
			iov->iov_base = (uint8_t *)iov->iov_base + r;
			iov->iov_len -= (uint64_t)r;
		}
	}
	return 0;
}

/* Record [start, end) of memory as the next bytes of the data file. */
static int extend(uint64_t addr, uint64_t len)
{
	struct ckpti_e_extent *e = w.nextents ? &w.extent[w.nextents - 1] : NULL;

	if (e && e->addr + e->len == addr && e->off + e->len == w.off) {
		e->len += len;
	} else {
		if (w.nextents == w.max_extents)
			return -ENOBUFS;
		e = &w.extent[w.nextents++];
		memset(e, 0, sizeof(*e));
		e->addr = addr;
		e->len = len;
		e->off = w.off;
	}
	w.off += len;
	return 0;
}

static int put(uint64_t start, uint64_t end, uint64_t bias)
{
	int r = extend(start + bias, end - start);

	if (r < 0)
		return r;
	w.iov[w.niov].iov_base = (void *)start;
	w.iov[w.niov].iov_len = end - start;
	w.niov++;
	w.iov_bytes += end - start;
	return w.niov == NIOV || w.iov_bytes >= (8UL << 20) ? flush() : 0;
}

/* Kernels without the scan call: the page map, bit 63 present, 62 swapped, 61 file or shared. */
static int scan_pagemap(int pagemap, const struct ckpti_write_range *range)
{
	uint64_t *entry = (uint64_t *)bounce;
	uint64_t chunk = BOUNCE / sizeof(*entry);

	for (uint64_t addr = range->start; addr < range->end;) {
		uint64_t n = (range->end - addr) / PAGE;
		long r = sys(pread64, pagemap, entry, (n < chunk ? n : chunk) * 8, addr / PAGE * 8);

		if (r <= 0)
			return r < 0 ? (int)r : -EIO;
		for (long i = 0; i < r / 8; i++, addr += PAGE) {
			int err;

			if (!(entry[i] >> 62) || (entry[i] >> 61 & 1))
				continue;
			err = put(addr, addr + PAGE, range->bias);
			if (err < 0)
				return err;
		}
	}
	return 0;
}

/* Pages of [start, end) that are the process' own and not of the kinds in `skip`, and those of the kind
 * `also`: which ones tells region[].categories.  Fills region[]; how many, or -errno. */
static long scan(int pagemap, uint64_t start, uint64_t end, uint64_t skip, uint64_t also,
		 uint64_t *walk_end)
{
	struct pm_scan_arg a;
	long n;

	memset(&a, 0, sizeof(a));
	a.size = sizeof(a);
	a.start = start;
	a.end = end;
	a.vec = (uint64_t)region;
	a.vec_len = NREGIONS;
	a.category_inverted = skip;
	a.category_mask = skip;
	a.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | also;
	a.return_mask = also;
	n = sys(ioctl, pagemap, PAGEMAP_SCAN, &a);
	*walk_end = a.walk_end;
	/* The walk may end before regions that were reported already. */
	if (n > 0 && region[n - 1].end > *walk_end)
		*walk_end = region[n - 1].end;
	return n;
}

/* Guard regions have no content: they are listed beside the extents. */
static int note_guard(uint64_t start, uint64_t end)
{
	if (w.nguards == w.max_guards)
		return -ENOBUFS;
	w.guard[w.nguards].start = start;
	w.guard[w.nguards++].end = end;
	return 0;
}

static int scan_private(int pagemap, const struct ckpti_write_range *range)
{
	/* To tell pages of a file the kernel looks at every page: six times the work. */
	uint64_t skip = PAGE_IS_PFNZERO | (range->scan == CKPTI_SCAN_ANON ? 0 : PAGE_IS_FILE);
	uint64_t guard = PAGE_IS_GUARD;

	for (uint64_t at = range->start; at < range->end;) {
		uint64_t next;
		long n = scan(pagemap, at, range->end, skip, guard, &next);

		if (n == -EINVAL && guard) {
			guard = 0; /* a kernel from before guard regions */
			continue;
		}
		if (n == -ENOTTY)
			return scan_pagemap(pagemap, range);
		if (n < 0)
			return (int)n;
		for (long i = 0; i < n; i++) {
			int r = region[i].categories & guard
					? note_guard(region[i].start, region[i].end)
					: put(region[i].start, region[i].end, range->bias);

			if (r < 0)
				return r;
		}
		if (next <= at)
			break;
		at = next;
	}
	return 0;
}

static int all_zero(const uint8_t *p)
{
	const uint64_t *q = (const uint64_t *)p;

	for (unsigned long i = 0; i < PAGE / sizeof(*q); i++)
		if (q[i])
			return 0;
	return 1;
}

/* Shared memory: our page table says nothing of its content.  Read it through the kernel, which
 * answers EFAULT beyond the object's end where a plain load would be killed by SIGBUS. */
static int put_nonzero(uint64_t start, uint64_t end, uint64_t bias)
{
	for (uint64_t at = start; at < end;) {
		uint64_t len = end - at < BOUNCE ? end - at : BOUNCE;
		struct iovec local = {.iov_base = bounce, .iov_len = len};
		struct iovec remote = {.iov_base = (void *)at, .iov_len = len};
		long got = sys(process_vm_readv, ckpti_agent.pid, &local, 1, &remote, 1, 0);
		int r;

		if (got < 0 && got != -EFAULT)
			return (int)got;
		if (got < (long)PAGE)
			got = 0;
		for (long o = 0; o < got; o += (long)PAGE) {
			if (all_zero(bounce + o))
				continue;
			r = put((uint64_t)(bounce + o), (uint64_t)(bounce + o) + PAGE,
				at + (uint64_t)o + bias - (uint64_t)(bounce + o));
			if (r < 0)
				return r;
		}
		r = flush();
		if (r < 0)
			return r;
		at += got ? (uint64_t)got : PAGE;
	}
	return 0;
}

/* Reading a page that was never touched would make the kernel provide one: of a large, sparse object
 * only the pages that are there are looked at. */
static int scan_resident(const struct ckpti_write_range *range)
{
	for (uint64_t at = range->start; at < range->end;) {
		uint64_t n = (range->end - at) / PAGE, i = 0;

		n = n < sizeof(resident) ? n : sizeof(resident);
		if (sys(mincore, at, n * PAGE, resident) < 0)
			memset(resident, 1, n);
		while (i < n) {
			uint64_t first = i;
			int r;

			while (i < n && (resident[i] & 1) == (resident[first] & 1))
				i++;
			if (!(resident[first] & 1))
				continue;
			r = put_nonzero(at + first * PAGE, at + i * PAGE, range->bias);
			if (r < 0)
				return r;
		}
		at += n * PAGE;
	}
	return 0;
}

static int write_range(int pagemap, const struct ckpti_write_range *range)
{
	int hidden = !(range->prot & PROT_READ);
	int r;

	if (hidden)
		(void)sys(mprotect, range->start, range->end - range->start,
			  range->prot | PROT_READ);
	switch (range->scan) {
	case CKPTI_SCAN_PRIVATE:
	case CKPTI_SCAN_ANON:
		r = scan_private(pagemap, range);
		break;
	case CKPTI_SCAN_NONZERO:
		r = put_nonzero(range->start, range->end, range->bias);
		break;
	case CKPTI_SCAN_RESIDENT:
		r = scan_resident(range);
		break;
	default:
		r = put(range->start, range->end, range->bias);
	}
	if (r == 0)
		r = flush();
	if (hidden)
		(void)sys(mprotect, range->start, range->end - range->start, range->prot);
	return r;
}

/*
 * The write was too large for the program's RLIMIT_FSIZE, and the kernel has sent the signal that goes
 * with it, which would end the program.  The program's own ones have been taken out of the queues.
 */
static void forget_file_size_signal(void)
{
	uint64_t mask = 1ULL << (SIGXFSZ - 1);
	struct {
		int64_t sec, nsec;
	} zero = {0, 0};

	while (sys(rt_sigtimedwait, &mask, 0, &zero, 8) > 0)
		;
}

int agent_cmd_write(int fd, uint64_t off, struct ckpti_msg *answer)
{
	struct ckpti_write *head = (struct ckpti_write *)agent_state.mailbox;
	struct ckpti_write_range *range;
	uint64_t room;
	struct rlimit limit;
	long pagemap;
	int r = 0;

	if (!head || fd < 0)
		return -EPROTO;
	pagemap = sys(openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		return (int)pagemap;
	range = (struct ckpti_write_range *)(agent_state.mailbox + head->ranges);
	head->extents = head->ranges + head->nranges * sizeof(*range);
	room = (agent_state.mailbox_size - head->extents) / 2;
	w.fd = fd;
	w.off = off;
	w.iov_bytes = 0;
	w.niov = 0;
	w.extent = (struct ckpti_e_extent *)(agent_state.mailbox + head->extents);
	w.nextents = 0;
	w.max_extents = room / sizeof(*w.extent);
	w.fault = 0;
	head->guards = head->extents + w.max_extents * sizeof(*w.extent);
	w.guard = (struct ckpti_e_range *)(agent_state.mailbox + head->guards);
	w.nguards = 0;
	w.max_guards = room / sizeof(*w.guard);
	agent_limit_lift(RLIMIT_FSIZE, &limit);
	for (uint64_t i = 0; r == 0 && i < head->nranges; i++)
		r = write_range((int)pagemap, &range[i]);
	agent_limit_restore(RLIMIT_FSIZE, &limit);
	if (r == -EFBIG)
		forget_file_size_signal();
	(void)sys(close, pagemap);
	head->nextents = w.nextents;
	head->nguards = w.nguards;
	head->end_off = w.off;
	answer->addr = w.fault;
	return r;
}
