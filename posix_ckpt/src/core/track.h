/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which pages of a process change while it runs: asynchronous write protection by a userfaultfd, which
 * its agent has sent, and PAGEMAP_SCAN.  All of it is done from outside; when the descriptor is closed,
 * also because we end, nothing of it is left in the process.
 *
 * Only anonymous private memory is tracked, and only pages that are there are armed: what is new since
 * then counts as written, and so does what was mapped, moved or put in place of an armed mapping.
 */
#ifndef CKPT_CORE_TRACK_H
#define CKPT_CORE_TRACK_H

#include <stdbool.h>

#include "core/procfs.h"
#include "core/runs.h"

struct ckpti_tracked {
	int pid;
	int uffd;
	int pagemap;
	struct ckpti_runs area; /* what is registered */
};

/* The descriptor becomes ours.  -ENOSYS where the kernel lacks something. */
int ckpti_track_open(struct ckpti_tracked *t, int pid, int uffd);
/* Let the process do without; in small steps, for it may run. */
void ckpti_track_close(struct ckpti_tracked *t);
/* Register all memory that can be tracked. */
int ckpti_track_register(struct ckpti_tracked *t);
/* Pages that are there and not armed; with arm they are. */
int ckpti_track_changed(struct ckpti_tracked *t, bool arm, struct ckpti_runs *ret);

/* What is where in [start, end) of a process that stands still. */
struct ckpti_track_view {
	struct ckpti_runs same;    /* armed, and not written since */
	struct ckpti_runs changed; /* all else that has content of its own */
	struct ckpti_runs guard;
};
int ckpti_track_view(int pagemap, uint64_t start, uint64_t end, struct ckpti_track_view *v);

/* Does the process have means by which the kernel or a device writes to its memory behind the page
 * table: O_DIRECT, asynchronous I/O, devices? */
bool ckpti_track_bypassed(int pid);
/*
 * A write that goes past the page table may have looked at a page just before it was armed and come
 * just after (process_vm_writev, ptrace).  Wait until no thread of the process can be in the middle of
 * one.  -ETIMEDOUT after deadline_ns.
 */
int ckpti_track_settle(int pid, uint64_t deadline_ns);

/* Can this kernel do it?  0 or -errno. */
int ckpti_track_probe(void);

#endif
