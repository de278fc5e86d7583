/* SPDX-License-Identifier: BSD-3-Clause */
/* What slurmstepd and its first task do for other steps: the page, and the node agent. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "spank/batch/batch.h"
#include "spank/lib/step.h"

#define AGENT_PAGE_FD  3
#define AGENT_LIMIT_MS 1000

int ckpti_batch_make_page(struct ckpti_batch *b, struct ckpti_err *err)
{
	size_t size = sizeof(struct ckpti_page) + sizeof(struct ckpti_slot);

	b->page_fd = memfd_create("ckpt-step", MFD_CLOEXEC);
	if (b->page_fd < 0 || ftruncate(b->page_fd, (off_t)size) < 0)
		return ckpti_err(err, -errno, "no memory for the state of the program: %s",
				 strerror(errno));
	b->page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, b->page_fd, 0);
	if (b->page == MAP_FAILED)
		return ckpti_err(err, -errno, "no memory for the state of the program: %s",
				 strerror(errno));
	b->page->magic = CKPTI_PAGE_MAGIC;
	b->page->nslots = 1;
	return 0;
}

/* What the coordinator has said is there already. */
static int set_environment(void)
{
	char step[16];
	const char *const pairs[][2] = {{"SLURM_STEP_ID", step},
					{"SLURM_NODEID", "0"},
					{"SLURM_STEP_NUM_NODES", "1"},
					{"SLURM_STEP_NUM_TASKS", "1"},
					/* Not by name: the agent must not wait for a resolver. */
					{"SLURM_SRUN_COMM_HOST", "127.0.0.1"}};
	int r = 0;

	(void)snprintf(step, sizeof(step), "%u", CKPTI_STEP_BATCH);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		r |= setenv(pairs[i][0], pairs[i][1], 1);
	return r ? -ENOMEM : 0;
}

static void be_agent(const struct ckpti_batch *b)
{
	char path[PATH_MAX + 32];
	char *argv[] = {path,
			(char *)(uintptr_t) "--bindir",
			(char *)(uintptr_t)b->bindir,
			(char *)(uintptr_t) "--libdir",
			(char *)(uintptr_t)b->libdir,
			NULL};
	int page = fcntl(b->page_fd, F_DUPFD_CLOEXEC, 10);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)snprintf(path, sizeof(path), "%s/ckpt-node-agent", b->libexec);
	(void)setsid();
	if (page >= 0 && null >= 0 && dup2(null, 0) >= 0 && dup2(null, 1) >= 0 &&
	    dup2(page, AGENT_PAGE_FD) >= 0 && set_environment() == 0) {
		(void)close_range(AGENT_PAGE_FD + 1, ~0U, 0);
		(void)execv(path, argv);
	}
	(void)fprintf(stderr,
		      "cpr: run: cannot start %s: %s, the program runs without checkpoints\n", path,
		      strerror(errno));
	__atomic_store_n(&b->page->agent, CKPTI_AGENT_OVER, __ATOMIC_RELEASE);
	_exit(CKPTI_AGENT_OVER);
}

void ckpti_batch_start_agent(const struct ckpti_batch *b)
{
	sigset_t none;
	pid_t pid;

	b->page->agent = CKPTI_AGENT_STARTED;
	pid = fork();
	if (pid == 0) {
		(void)sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		be_agent(b);
	}
	if (pid < 0)
		b->page->agent = CKPTI_AGENT_OVER;
}

void ckpti_batch_ended(const struct ckpti_batch *b, int status)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	b->page->slot[0].status = status;
	__atomic_store_n(&b->page->slot[0].state, CKPTI_SLOT_ENDED, __ATOMIC_RELEASE);
	for (int ms = 0; ms < AGENT_LIMIT_MS; ms++) {
		if (__atomic_load_n(&b->page->agent, __ATOMIC_ACQUIRE) != CKPTI_AGENT_STARTED)
			return;
		(void)nanosleep(&pause, NULL);
	}
}
