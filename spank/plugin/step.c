/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slurmstepd.  This is all of ours that runs as root: it makes a page of memory and writes into it how tasks
 * ended.  No path is touched, and of what a user has written one number is read, which can do no more than
 * end a short wait.
 *
 * Agent and tasks, who are the user, have the same page.  slurmstepd does not map it: a user who cuts it
 * short would end slurmstepd by SIGBUS.  pwrite() to a sealed memfd can do no worse than fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "spank/lib/page.h"
#include "spank/plugin/plugin.h"

/* Above are SLURM_BATCH_SCRIPT, SLURM_EXTERN_CONT, SLURM_INTERACTIVE_STEP and those to come. */
#define LAST_ORDINARY_STEP 0xfffffff0U

#define MAX_SLOTS 65536U

#define AGENT_LIMIT_MS 500

static int page_fd = -1;
static uint32_t page_slots;

int ckpti_step_page_fd(void)
{
	return page_fd;
}

bool ckpti_step_is_ordinary(spank_t sp)
{
	uint32_t step;

	return spank_get_item(sp, S_JOB_STEPID, &step) == ESPANK_SUCCESS &&
	       step <= LAST_ORDINARY_STEP;
}

static int make_page(uint32_t nslots)
{
	struct ckpti_page head = {.magic = CKPTI_PAGE_MAGIC, .nslots = nslots};
	off_t size = (off_t)(sizeof(head) + nslots * sizeof(struct ckpti_slot));
	int fd = memfd_create("ckpt-step", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ||
	    pwrite(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head)) {
		r = errno ? -errno : -EIO;
		(void)close(fd);
		return r;
	}
	return fd;
}

void ckpti_step_begin(spank_t sp)
{
	char port[16];
	uint32_t n;

	if (page_fd >= 0 || !ckpti_step_is_ordinary(sp) ||
	    spank_getenv(sp, CKPTI_PLUGIN_ENV "PORT", port, sizeof(port)) != ESPANK_SUCCESS ||
	    !port[0] || spank_get_item(sp, S_JOB_LOCAL_TASK_COUNT, &n) != ESPANK_SUCCESS ||
	    n == 0 || n > MAX_SLOTS)
		return;
	page_fd = make_page(n);
	if (page_fd >= 0)
		page_slots = n;
	else
		slurm_error("spank_ckpt: no memory for the state of the tasks: error %d, "
			    "they run without checkpoints",
			    -page_fd);
}

/* slurmstepd kills what is left of the step when the last task has ended.  The agent must have told the
 * coordinator of that by then, or nobody would know that the step had ended well. */
static void wait_for_agent(void)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	uint32_t agent;

	for (int ms = 0; ms < AGENT_LIMIT_MS; ms++) {
		if (pread(page_fd, &agent, sizeof(agent), offsetof(struct ckpti_page, agent)) !=
			    (ssize_t)sizeof(agent) ||
		    agent != CKPTI_AGENT_STARTED)
			return;
		(void)nanosleep(&pause, NULL);
	}
}

void ckpti_step_task_exit(spank_t sp)
{
	static uint32_t ended;
	uint32_t state = CKPTI_SLOT_ENDED;
	int id, status;
	off_t at;

	if (page_fd < 0 || spank_get_item(sp, S_TASK_ID, &id) != ESPANK_SUCCESS || id < 0 ||
	    (uint32_t)id >= page_slots ||
	    spank_get_item(sp, S_TASK_EXIT_STATUS, &status) != ESPANK_SUCCESS)
		return;
	at = (off_t)(offsetof(struct ckpti_page, slot) + (size_t)id * sizeof(struct ckpti_slot));
	/* The state last: whoever sees it finds the status. */
	if (pwrite(page_fd, &status, sizeof(status),
		   at + (off_t)offsetof(struct ckpti_slot, status)) < 0 ||
	    pwrite(page_fd, &state, sizeof(state), at + (off_t)offsetof(struct ckpti_slot, state)) <
		    0)
		slurm_debug("spank_ckpt: cannot note the end of task %d: %m", id);
	else if (++ended == page_slots)
		wait_for_agent();
}
