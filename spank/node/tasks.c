/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tasks of this node, as the page tells of them.  The page is read only here.  slurmstepd writes how a
 * task has ended when it has waited for it; that it has ended we see at once, by its pidfd.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "spank/node/node.h"

#define START_LIMIT_MS 10000U /* for all tasks to have got as far as task_init */

int ckpti_tasks_init(struct ckpti_node *n, int page_fd, struct ckpti_err *err)
{
	struct ckpti_page *page;
	struct stat st;

	if (fstat(page_fd, &st) < 0)
		return ckpti_err(err, -errno, "descriptor %d is not the page of a step: %s",
				 page_fd, strerror(errno));
	if ((size_t)st.st_size < sizeof(*page))
		return ckpti_err(err, -EBADMSG, "the page of the step is too short");
	page = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
	if (page == MAP_FAILED)
		return ckpti_err(err, -errno, "cannot map the page of the step: %s",
				 strerror(errno));
	if (page->magic != CKPTI_PAGE_MAGIC || page->nslots == 0 ||
	    page->nslots > ((size_t)st.st_size - sizeof(*page)) / sizeof(page->slot[0]))
		return ckpti_err(err, -EBADMSG, "the page of the step is damaged");
	n->page = page;
	n->ntasks = page->nslots;
	n->task = calloc(n->ntasks, sizeof(*n->task));
	if (!n->task)
		return ckpti_err(err, -ENOMEM, "no memory for %zu tasks", n->ntasks);
	for (size_t i = 0; i < n->ntasks; i++)
		n->task[i].pidfd = -1;
	return 0;
}

bool ckpti_task_live(const struct ckpti_task *t)
{
	return (t->state == CKPTI_SLOT_FRESH || t->state == CKPTI_SLOT_RESTORED ||
		t->state == CKPTI_SLOT_LEFT_OUT) &&
	       !t->gone;
}

static bool has_started(const struct ckpti_node *n)
{
	for (size_t i = 0; i < n->ntasks; i++)
		if (n->task[i].state == CKPTI_SLOT_EMPTY)
			return ckpti_node_now_ms() - n->start_ms > START_LIMIT_MS + n->wait_ms;
	return true;
}

bool ckpti_task_is_coming(const struct ckpti_node *n, const struct ckpti_task *t)
{
	return t->state == CKPTI_SLOT_EMPTY && n->stepd >= 0;
}

bool ckpti_tasks_over(const struct ckpti_node *n)
{
	if (!n->all_started)
		return false;
	for (size_t i = 0; i < n->ntasks; i++) {
		const struct ckpti_task *t = &n->task[i];

		if (t->state != CKPTI_SLOT_ENDED &&
		    (n->stepd >= 0 || (t->state != CKPTI_SLOT_EMPTY && !t->gone)))
			return false;
	}
	return true;
}

static void close_pidfd(struct ckpti_task *t)
{
	if (t->pidfd >= 0)
		(void)close(t->pidfd);
	t->pidfd = -1;
}

static void read_slot(const struct ckpti_node *n, size_t i)
{
	const struct ckpti_slot *slot = &n->page->slot[i];
	struct ckpti_task *t = &n->task[i];
	uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);

	if (state == (uint32_t)t->state || state > CKPTI_SLOT_ENDED)
		return;
	if (t->state == CKPTI_SLOT_EMPTY) {
		t->since_ms = ckpti_node_now_ms();
		/* It may have ended before we looked; one that had ended before has no pid. */
		if (n->restored && slot->pid > 0)
			t->restore = CKPTI_RESTORE_BEGUN;
	}
	t->state = (enum ckpti_slot_state)state;
	t->rank = slot->rank;
	t->pid = slot->pid;
	if (t->state == CKPTI_SLOT_ENDED) {
		t->status = slot->status;
		t->gone = true;
		close_pidfd(t);
		return;
	}
	if (t->pidfd >= 0 || t->gone)
		return;
	t->pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	t->gone = t->pidfd < 0 && errno == ESRCH;
}

static void look_whether_gone(struct ckpti_task *t)
{
	struct pollfd pfd = {.fd = t->pidfd, .events = POLLIN};

	if (t->pidfd < 0 || poll(&pfd, 1, 0) <= 0)
		return;
	t->gone = true;
	close_pidfd(t);
}

static void count(const struct ckpti_node *n, unsigned *ret_live, unsigned *ret_ended)
{
	*ret_live = *ret_ended = 0;
	for (size_t i = 0; i < n->ntasks; i++) {
		*ret_live += ckpti_task_live(&n->task[i]) || ckpti_task_is_coming(n, &n->task[i]);
		*ret_ended += n->task[i].state == CKPTI_SLOT_ENDED;
	}
}

void ckpti_tasks_ended(const struct ckpti_node *n, struct ckpti_kv *kv)
{
	for (size_t i = 0; i < n->ntasks; i++) {
		char key[32];

		if (n->task[i].state != CKPTI_SLOT_ENDED)
			continue;
		(void)snprintf(key, sizeof(key), "ended.%u", n->task[i].rank);
		ckpti_kv_setf(kv, key, "%d", n->task[i].status);
	}
}

static void add_ranks(const struct ckpti_node *n, struct ckpti_kv *kv)
{
	size_t size = n->ntasks * 11 + 1, len = 0;
	char *text = malloc(size);

	if (!text) {
		kv->error = -ENOMEM;
		return;
	}
	text[0] = 0;
	for (size_t i = 0; i < n->ntasks; i++)
		if (n->task[i].state != CKPTI_SLOT_EMPTY)
			len += (size_t)snprintf(text + len, size - len, "%s%u", len ? "," : "",
						n->task[i].rank);
	ckpti_kv_set(kv, "ranks", text);
	free(text);
}

void ckpti_tasks_describe(const struct ckpti_node *n, struct ckpti_kv *kv)
{
	unsigned live, ended;

	count(n, &live, &ended);
	ckpti_kv_set_u64(kv, "tasks", n->ntasks);
	add_ranks(n, kv);
	ckpti_kv_set_u64(kv, "live", live);
	ckpti_kv_set_u64(kv, "ended", ended);
	ckpti_tasks_ended(n, kv);
}

static void tell(struct ckpti_node *n)
{
	unsigned live, ended;
	struct ckpti_kv kv;

	count(n, &live, &ended);
	if (!n->uplink.wire || (live == n->told_live && ended == n->told_ended))
		return;
	n->told_live = live;
	n->told_ended = ended;
	ckpti_kv_init(&kv);
	ckpti_tasks_describe(n, &kv);
	ckpti_uplink_send(n, CKPTI_W_TASKS, &kv);
	ckpti_kv_free(&kv);
}

void ckpti_tasks_tick(struct ckpti_node *n)
{
	for (size_t i = 0; i < n->ntasks; i++) {
		struct ckpti_task *t = &n->task[i];

		if (t->state == CKPTI_SLOT_ENDED)
			continue;
		read_slot(n, i);
		look_whether_gone(t);
		if (t->state == CKPTI_SLOT_LEFT_OUT && !t->told && !n->restored) {
			const char *reason = n->page->slot[i].reason;

			t->told = true;
			ckpti_uplink_notice(
				n,
				"task %u runs without checkpoints, so the step cannot be "
				"checkpointed: %.*s",
				t->rank, (int)strnlen(reason, sizeof(n->page->slot[i].reason)),
				reason);
		}
	}
	n->all_started = n->all_started || has_started(n);
	tell(n);
}
