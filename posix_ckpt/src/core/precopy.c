/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/precopy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/agent.h"
#include "core/precopy_private.h"
#include "core/room.h"
#include "core/trace.h"

#define LEAST        (32ULL << 20) /* what is written so quickly is not worth the effort */
#define ANSWER_NS    1000000000ULL /* for the agents to send their descriptors */
#define SETTLE_NS    2000000000ULL
#define ROUNDS_NS    60000000000ULL
#define MAX_ROUNDS   8
#define SMALL        (4ULL << 20) /* is copied in the stop within a few milliseconds */
#define BUFFER_SPARE (16ULL << 20)
#define BUFFER_MAX   (1ULL << 30)

static int oom(struct ckpti_err *err)
{
	return ckpti_err(err, -ENOMEM, "out of memory");
}

void ckpti_precopy_init(struct ckpti_precopy *pc)
{
	memset(pc, 0, sizeof(*pc));
}

static void give_up(struct ckpti_precopied *p)
{
	p->good = false;
	ckpti_track_close(&p->track);
	ckpti_runs_free(&p->map);
}

void ckpti_precopy_done(struct ckpti_precopy *pc)
{
	for (size_t i = 0; i < pc->n; i++) {
		give_up(&pc->proc[i]);
		ckpti_runs_free(&pc->proc[i].late);
	}
	free(pc->proc);
	if (pc->buf)
		(void)munmap(pc->buf, pc->buf_size);
	memset(pc, 0, sizeof(*pc));
}

/* ---- while they run ----------------------------------------------------------------------- */

static struct ckpti_precopied *add_proc(struct ckpti_precopy *pc, const struct ckpti_member *m)
{
	struct ckpti_precopied *bigger = reallocarray(pc->proc, pc->n + 1, sizeof(*bigger));
	struct ckpti_precopied *p;

	if (!bigger)
		return NULL;
	pc->proc = bigger;
	p = &pc->proc[pc->n++];
	memset(p, 0, sizeof(*p));
	p->pid = m->info.pid;
	p->start_time = m->info.start_time;
	p->track.uffd = p->track.pagemap = -1;
	return p;
}

/* Ask the agents for their descriptors: of those that have one and much memory. */
static void ask_all(struct ckpti_set *set)
{
	uint64_t least = set->req->precopy == CKPTI_PRECOPY_AUTO ? LEAST : 0;
	uint64_t deadline = ckpti_now_ns() + ANSWER_NS;
	struct ckpti_err ignored = {0};
	size_t waiting = 0;

	for (size_t i = 0; i < set->n; i++) {
		struct ckpti_member *m = &set->member[i];

		m->tracker = CKPTI_TRACKER_NONE;
		if (m->state == CKPTI_MEMBER_ZOMBIE || ckpti_room_image_size(m->info.pid) < least ||
		    ckpti_track_bypassed(m->info.pid) || ckpti_set_eligible(set, m, &ignored) < 0 ||
		    m->agent != CKPTI_AGENT_LIBRARY || ckpti_set_knock(set, m, CKPTI_SI_TRACK) < 0)
			continue;
		m->tracker = CKPTI_TRACKER_ASKED;
		waiting++;
	}
	while (waiting && ckpti_now_ns() < deadline) {
		if (ckpti_link_poll(set, 10, &ignored) < 0)
			break;
		waiting = 0;
		for (size_t i = 0; i < set->n; i++)
			waiting += set->member[i].tracker == CKPTI_TRACKER_ASKED;
	}
}

/* All that could be in the middle of a write: of one process into another, too. */
static int settle(const struct ckpti_set *set)
{
	uint64_t deadline = ckpti_now_ns() + SETTLE_NS;
	int r = 0;

	for (size_t i = 0; r == 0 && i < set->n; i++)
		r = ckpti_track_settle(set->member[i].info.pid, deadline);
	return r;
}

static int start_one(struct ckpti_precopy *pc, struct ckpti_member *m, struct ckpti_store *store,
		     struct ckpti_err *err)
{
	struct ckpti_precopied *p = add_proc(pc, m);
	int r;

	if (!p) {
		(void)close(m->tracker);
		m->tracker = CKPTI_TRACKER_NONE;
		return oom(err);
	}
	p->good = ckpti_track_open(&p->track, p->pid, m->tracker) == 0;
	m->tracker = CKPTI_TRACKER_NONE;
	if (p->good)
		p->good = ckpti_track_register(&p->track) == 0;
	r = ckpti_store_datafile(store, ckpti_room_image_size(p->pid), &p->file, &p->fd, err);
	if (!p->good)
		give_up(p);
	return r;
}

/* One round: arm what has changed, then copy it.  Everything has changed in the first. */
static int copy_round(struct ckpti_precopy *pc, const struct ckpti_set *set, uint8_t *buf,
		      uint64_t deadline, uint64_t *ret_bytes, struct ckpti_err *err)
{
	struct ckpti_runs *want = calloc(pc->n + 1, sizeof(*want));
	int r = want ? 0 : oom(err);

	*ret_bytes = 0;
	for (size_t i = 0; r == 0 && i < pc->n; i++) {
		struct ckpti_precopied *p = &pc->proc[i];

		if (p->good && ckpti_track_changed(&p->track, true, &want[i]) < 0)
			give_up(p);
	}
	if (r == 0 && settle(set) < 0)
		for (size_t i = 0; i < pc->n; i++)
			give_up(&pc->proc[i]);
	for (size_t i = 0; r == 0 && i < pc->n; i++) {
		struct ckpti_precopied *p = &pc->proc[i];
		struct ckpti_runs pieces = {0}, failed = {0}, kept = {0};

		if (!p->good)
			continue;
		if (ckpti_track_bypassed(p->pid)) {
			give_up(p);
			continue;
		}
		r = ckpti_runs_place(&p->map, &want[i], &p->end, &pieces);
		if (r == 0)
			r = ckpti_precopy_copy(p->pid, p->fd, &pieces, buf, deadline, &failed);
		if (r == 0 && failed.n)
			r = ckpti_runs_split(&p->map, &failed, NULL, &kept);
		if (r < 0)
			r = ckpti_err_obj(err, r, p->pid, "", "its memory cannot be copied: %s",
					  strerror(-r));
		if (r == 0 && failed.n) {
			ckpti_runs_free(&p->map);
			p->map = kept;
		}
		*ret_bytes += ckpti_runs_bytes(&pieces);
		ckpti_runs_free(&pieces);
		ckpti_runs_free(&failed);
	}
	for (size_t i = 0; want && i < pc->n; i++)
		ckpti_runs_free(&want[i]);
	free(want);
	return r;
}

static uint64_t changed(struct ckpti_precopy *pc)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < pc->n; i++) {
		struct ckpti_runs now = {0};

		if (pc->proc[i].good && ckpti_track_changed(&pc->proc[i].track, false, &now) == 0)
			bytes += ckpti_runs_bytes(&now);
		ckpti_runs_free(&now);
	}
	return bytes;
}

static int rounds(struct ckpti_precopy *pc, struct ckpti_set *set, uint64_t *ret_left,
		  struct ckpti_err *err)
{
	uint64_t deadline = ckpti_now_ns() + ROUNDS_NS, before = UINT64_MAX, bytes, left = 0;
	uint8_t *buf = malloc(CKPTI_PRECOPY_CHUNK);
	int r = buf ? 0 : oom(err);

	for (int i = 0; r == 0 && i < MAX_ROUNDS; i++) {
		r = copy_round(pc, set, buf, deadline, &bytes, err);
		ckpti_trace_phase("precopy", bytes);
		left = changed(pc);
		/* Another one pays as long as less is left each time. */
		if (left <= SMALL || left > before / 4 * 3 || ckpti_now_ns() > deadline)
			break;
		before = left;
		if (r == 0 && set->req->phase)
			r = set->req->phase(set->req->phase_arg, CKPTI_PHASE_BETWEEN, NULL, err);
	}
	free(buf);
	*ret_left = left;
	return r;
}

/* Room for what will be left in the stop, as much as memory allows; touched beforehand. */
static void make_buffer(struct ckpti_precopy *pc, uint64_t left)
{
	uint64_t size = left + left / 2 + BUFFER_SPARE, limit, room;
	long avail = sysconf(_SC_AVPHYS_PAGES);
	void *buf;

	room = ckpti_room_left(getpid(), &limit) / 4;
	for (size_t i = 0; i < pc->n; i++) {
		uint64_t r = ckpti_room_left(pc->proc[i].pid, &limit) / 4;

		room = r < room ? r : room;
	}
	if (avail > 0 && (uint64_t)avail * 4096 / 4 < room)
		room = (uint64_t)avail * 4096 / 4;
	size = size < BUFFER_MAX ? size : BUFFER_MAX;
	size = (size < room ? size : room) & ~(CKPTI_PRECOPY_CHUNK - 1);
	if (!size)
		return;
	buf = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buf == MAP_FAILED)
		return;
	(void)madvise(buf, size, MADV_HUGEPAGE);
	(void)madvise(buf, size, MADV_POPULATE_WRITE);
	pc->buf = buf;
	pc->buf_size = size;
}

int ckpti_precopy_run(struct ckpti_precopy *pc, struct ckpti_set *set, struct ckpti_store *store,
		      struct ckpti_err *err)
{
	uint64_t left = 0;
	int r = 0;

	if (ckpti_track_probe() < 0)
		return 0;
	ask_all(set);
	for (size_t i = 0; i < set->n; i++)
		if (set->member[i].tracker >= 0 && r == 0)
			r = start_one(pc, &set->member[i], store, err);
	if (r == 0 && pc->n)
		r = rounds(pc, set, &left, err);
	if (r == 0 && pc->n)
		make_buffer(pc, left);
	return r;
}
