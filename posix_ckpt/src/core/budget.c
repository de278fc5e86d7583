/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is there memory for a statefile, before anybody stops?  On a disk a write that does not fit fails and
 * the round with it; in a file system that is memory it is charged to the memory cgroup of the very
 * processes that write it, and the kernel answers by killing them.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sys/statfs.h>

#include "core/capture.h"
#include "core/room.h"

#define RESERVE (8ULL << 20) /* kernel memory and the coordinator's own */

uint64_t ckpti_budget_left(const struct ckpti_set *set, const struct ckpti_store *store)
{
	uint64_t room, limit, least = CKPTI_ROOM_NO_LIMIT;
	struct statfs fs;

	if (fstatfs(ckpti_store_dirfd(store), &fs) < 0 ||
	    (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC))
		return least;
	for (size_t i = 0; i < set->n; i++) {
		room = ckpti_room_left(set->member[i].info.pid, &limit);
		least = room < least ? room : least;
	}
	return least;
}

int ckpti_budget_check(struct ckpti_set *set, struct ckpti_store *store, uint64_t more,
		       struct ckpti_err *err)
{
	uint64_t need = RESERVE + more, least = ckpti_budget_left(set, store);

	for (size_t i = 0; i < set->n; i++)
		need += ckpti_room_image_size(set->member[i].info.pid);
	if (least >= need)
		return 0;
	return ckpti_err(err, -ENOSPC,
			 "'%s' is in memory, and up to %" PRIu64
			 " MiB more would exceed the memory "
			 "limit of the processes (%" PRIu64 " MiB left); use a directory on a disk",
			 ckpti_store_path(store), need >> 20, least >> 20);
}
