/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A checkpoint from request to commit: find the set, run its handlers, muster, capture, let it go on,
 * make the image durable.  Until the commit the previous generation is the last good one, and on any
 * failure everybody goes on as if nothing had happened.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ckpt.h"
#include "core/capture.h"
#include "core/cpus.h"
#include "core/life.h"
#include "core/owner.h"
#include "core/precopy.h"
#include "core/registry.h"
#include "core/supervisor.h"
#include "core/trace.h"
#include "state/include.h"

#define COPY_LIMIT_DEFAULT (64ULL << 20)
#define SPARE_MEMORY       (8ULL << 20)

static uint64_t copy_limit(const struct ckpti_create_req *req)
{
	return req->copy_limit ? req->copy_limit : COPY_LIMIT_DEFAULT;
}

void ckpti_snap_init(struct ckpti_snap *s, struct ckpti_set *set, struct ckpti_store *store)
{
	memset(s, 0, sizeof(*s));
	s->set = set;
	s->store = store;
	ckpti_image_init(&s->img);
	s->cap.img = &s->img;
	s->cap.store = store;
	s->cap.content_fd = -1;
	s->cap.copy_limit = copy_limit(set->req);
	s->cap.rules = set->req->rules;
	s->cap.nrules = set->req->nrules;
	s->locks = ckpti_locks_new();
}

void ckpti_snap_done(struct ckpti_snap *s)
{
	ckpti_snap_close_descriptors(s);
	free(s->cap.desc);
	free(s->fdref);
	ckpti_locks_free(s->locks);
	for (size_t i = 0; i < s->npin; i++) {
		free(s->pin[i].path);
		if (s->pin[i].fd >= 0)
			(void)close(s->pin[i].fd);
	}
	free(s->pin);
	for (size_t i = 0; i < s->nshm; i++) {
		free(s->shm[i].name);
		free(s->shm[i].covered);
		if (s->shm[i].owned_fd)
			(void)close(s->shm[i].fd);
	}
	free(s->shm);
	ckpti_image_free(&s->img);
}

/* One checkpoint of a set at a time: the name of an abstract socket is the lock, and it cannot be
 * left behind.  fd or -errno. */
static int lock_set(const struct ckpti_set *set, struct ckpti_err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int n;

	if (fd < 0)
		return ckpti_err(err, -errno, "cannot make a socket: %s", strerror(errno));
	n = snprintf(sa.sun_path + 1, sizeof(sa.sun_path) - 1,
		     "posix-ckpt/set/%u/%016" PRIx64 "/%d", getuid(), set->set_id,
		     set->set_id ? 0 : set->member[0].info.pid);
	if (bind(fd, (struct sockaddr *)&sa,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) < 0) {
		int r = -errno;

		(void)close(fd);
		return r == -EADDRINUSE
			       ? ckpti_err(err, -EBUSY,
					   "another checkpoint of these processes is under way")
			       : ckpti_err(err, r, "cannot lock the set: %s", strerror(-r));
	}
	return fd;
}

static int add_set_record(struct ckpti_snap *s, struct ckpti_err *err)
{
	struct ckpti_set *set = s->set;
	const struct ckpti_target *t = &set->req->target[0];
	struct ckpti_member *root = set->root ? ckpti_set_find(set, set->root) : NULL;
	struct ckpti_r_set rec = {
		.set_id = set->set_id,
		.generation = ckpti_store_generation(s->store),
		.request_type = t->type,
		.request_id = t->id,
		.nprocs = (uint32_t)set->n,
	};
	char host[256] = "", launch[PATH_MAX] = "";
	const char *strs[3] = {host, NULL, launch};
	int r;

	if (!root)
		root = &set->member[0];
	rec.root_pid = (uint32_t)root->info.inner_pid;
	ckpti_cpus_of_launch(root->info.pid, rec.launch_cpus);
	(void)gethostname(host, sizeof(host) - 1);
	strs[1] = root->info.comm;
	if (ckpti_procfs_environ(root->info.pid, CKPTI_LAUNCH_FILE, launch, sizeof(launch)) != 1)
		launch[0] = 0;
	r = ckpti_image_add(&s->img, CKPTI_R_SET, &rec, sizeof(rec), strs, 3, NULL, 0, 0);
	return r < 0 ? ckpti_err(err, r, "out of memory") : 0;
}

/* The record stands first; what is known only at the end is put into it in place. */
static struct ckpti_r_set *set_record(struct ckpti_snap *s)
{
	struct ckpti_view v;

	if (!ckpti_image_first(&s->img, CKPTI_R_SET, &v))
		return NULL;
	return (struct ckpti_r_set *)(s->img.buf + ((const uint8_t *)v.fixed - s->img.buf));
}

/* Read when all timers have been looked at: a restart, which sets the clocks to these, must not let a
 * timer expire before its time. */
static void stamp_clocks(struct ckpti_snap *s)
{
	struct ckpti_r_set *rec = set_record(s);
	struct ckpti_member *root = s->set->root ? ckpti_set_find(s->set, s->set->root) : NULL;
	struct timespec ts;

	if (!rec)
		return;
	if (!root)
		root = &s->set->member[0];
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	rec->ctime_ns = rec->realtime_ns = ts.tv_sec * 1000000000L + ts.tv_nsec;
	rec->monotonic_ns = ckpti_clock_of(root->info.pid, CLOCK_MONOTONIC);
	rec->boottime_ns = ckpti_clock_of(root->info.pid, CLOCK_BOOTTIME);
}

static void complete_set_record(struct ckpti_snap *s, uint64_t stop_ns)
{
	struct ckpti_r_set *rec = set_record(s);

	if (!rec)
		return;
	rec->nthreads = s->nthreads;
	rec->restarts = s->restarts;
	rec->mem_bytes = s->mem_bytes;
	rec->stored_bytes = s->stored_bytes;
	rec->stop_ns = stop_ns;
	rec->eintr_hidden = s->eintr_hidden;
	rec->eintr_lost = s->eintr_lost;
}

/* Content of files and of shared memory with a descriptor: one data file for the set. */
static int open_content(struct ckpti_snap *s, struct ckpti_err *err)
{
	return ckpti_store_datafile(s->store, 0, &s->cap.content_file, &s->cap.content_fd, err);
}

static bool has_ended(const struct ckpti_member *m)
{
	struct ckpti_procinfo p;
	char exe[PATH_MAX];
	ssize_t r;

	if (ckpti_procfs_read(m->info.pid, &p) < 0 || p.start_time != m->info.start_time ||
	    p.state == 'Z' || p.state == 'X')
		return true;
	/* No memory any more: on its way out. */
	r = ckpti_procfs_link(m->info.pid, "exe", exe);
	return r == -ENOENT || r == -ESRCH;
}

/* A process that is killed meanwhile makes this or that fail; what the user is told is that. */
static int explain(const struct ckpti_set *set, int r, struct ckpti_err *err)
{
	for (size_t i = 0; i < set->n; i++) {
		const struct ckpti_member *m = &set->member[i];

		if (m->state != CKPTI_MEMBER_IN || !has_ended(m))
			continue;
		if (err)
			err->code = 0;
		return ckpti_err_obj(err, -EOWNERDEAD, m->info.pid, m->info.comm,
				     "ended during the checkpoint");
	}
	return r;
}

/* Whoever made us wait may have done so for longer than an agent does.  One that was killed meanwhile is
 * in the image as it was before. */
static int all_stand_still(const struct ckpti_set *set, struct ckpti_err *err)
{
	for (size_t i = 0; i < set->n; i++) {
		const struct ckpti_member *m = &set->member[i];

		if (m->state == CKPTI_MEMBER_IN && !ckpti_link_waits(m) && !has_ended(m))
			return ckpti_err_obj(err, -ETIMEDOUT, m->info.pid, m->info.comm,
					     "has waited too long and went on");
	}
	return 0;
}

/* ---- files that nobody has open ----------------------------------------------------------- */

static struct ckpti_include what_to_include(const struct ckpti_set *set)
{
	const struct ckpti_create_req *req = set->req;

	return (struct ckpti_include){
		.glob = req->include,
		.n = req->ninclude,
		.copy_limit = copy_limit(req),
		.note = req->note,
		.note_arg = req->note_arg,
	};
}

static int directory_of_root(const struct ckpti_set *set, char ret[PATH_MAX], struct ckpti_err *err)
{
	int pid = set->root ? set->root : set->member[0].info.pid;
	int r = (int)ckpti_procfs_link(pid, "cwd", ret);

	return r < 0 ? ckpti_err(err, r, "the working directory of process %d cannot be read: %s",
				 pid, strerror(-r))
		     : 0;
}

/* Before anybody stops: is a file among them that cannot be saved, and how much is it? */
static int look_at_included(const struct ckpti_set *set, uint64_t *ret_bytes, struct ckpti_err *err)
{
	struct ckpti_include in = what_to_include(set);
	char cwd[PATH_MAX];
	int r;

	*ret_bytes = 0;
	if (!in.n)
		return 0;
	in.note = NULL; /* told when they are saved */
	r = directory_of_root(set, cwd, err);
	return r < 0 ? r : ckpti_include_add_sizes(&in, cwd, ret_bytes, err);
}

static int snap_included(struct ckpti_snap *s, struct ckpti_err *err)
{
	const struct ckpti_include in = what_to_include(s->set);
	char cwd[PATH_MAX];
	int r;

	if (!in.n)
		return 0;
	r = directory_of_root(s->set, cwd, err);
	return r < 0 ? r : ckpti_include_save(&s->cap, &in, cwd, err);
}

/* Everything between first in and last out. */
static int capture(struct ckpti_snap *s, struct ckpti_err *err)
{
	int r = add_set_record(s, err);

	if (r == 0)
		r = ckpti_machine_record(&s->img, err);
	if (r == 0)
		r = ckpti_snap_descriptors(s, err);
	ckpti_trace_phase("descriptors", 0);
	if (r == 0)
		r = ckpti_snap_memory(s, err);
	if (r == 0)
		r = ckpti_snap_objects(s, err);
	if (r == 0)
		r = snap_included(s, err);
	stamp_clocks(s);
	if (r == 0)
		r = ckpti_store_datafile_done(s->store, s->cap.content_file, s->cap.content_end,
					      err);
	ckpti_snap_close_descriptors(s);
	ckpti_trace_phase("objects", s->cap.content_end);
	return r < 0 ? explain(s->set, r, err) : 0;
}

static int ask(const struct ckpti_set *set, enum ckpti_phase phase,
	       const struct ckpti_create_result *so_far, struct ckpti_err *err)
{
	const struct ckpti_create_req *req = set->req;

	return req->phase ? req->phase(req->phase_arg, phase, so_far, err) : 0;
}

/* Hashes for the restart; and what an earlier generation holds is not stored again. */
static int hash(struct ckpti_snap *s, struct ckpti_err *err)
{
	const struct ckpti_create_req *req = s->set->req;
	struct ckpti_reused got;
	int r;

	/* In memory there must be room for what changes, at most a half, beside what the stop wrote. */
	if (req->full || ckpti_budget_left(s->set, s->store) < s->stored_bytes / 2 + SPARE_MEMORY)
		return ckpti_store_hash(s->store, &s->img, req->progress, req->progress_arg, err);
	r = ckpti_store_reuse(s->store, &s->img, req->progress, req->progress_arg, &got, err);
	if (r == 0 && got.reused) {
		s->stored_bytes = got.stored;
		s->reused_bytes = got.reused;
	}
	return r;
}

static int commit(struct ckpti_snap *s, uint64_t stop_ns, struct ckpti_err *err)
{
	const struct ckpti_create_req *req = s->set->req;
	struct timespec ts;
	struct ckpti_header hdr = {
		.generation = ckpti_store_generation(s->store),
		.page_size = (uint32_t)sysconf(_SC_PAGESIZE),
		.uid = s->set->member[0].info.uid[0],
	};
	int r;

	r = ckpti_precopy_flush(s->pre, err);
	ckpti_trace_phase("flush", s->pre->buf_used);
	if (r < 0)
		return r;
	s->stored_bytes += s->cap.content_end;
	r = ckpti_snap_pins(s, req->upgrade, err);
	ckpti_trace_phase("pins", 0);
	if (r == 0)
		r = hash(s, err);
	ckpti_trace_phase("hash", s->stored_bytes);
	complete_set_record(s, stop_ns);
	if (r == 0)
		r = ask(s->set, CKPTI_PHASE_BETWEEN, NULL, err);
	if (r == 0 && req->kill)
		r = all_stand_still(s->set, err);
	if (r < 0)
		return r;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	hdr.ctime_ns = ts.tv_sec * 1000000000L + ts.tv_nsec;
	r = ckpti_store_commit(s->store, &s->img, &hdr, req->keep ? req->keep : 1, err);
	ckpti_trace_phase("commit", s->stored_bytes);
	return r;
}

static void raise_limit(enum __rlimit_resource which)
{
	struct rlimit lim;

	if (getrlimit(which, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		(void)setrlimit(which, &lim);
	}
}

/* Of processes with thousands of descriptors we hold one duplicate of each description.  Our caller's
 * limit on the size of its files is not meant for the image; what goes beyond the hard limit is an
 * error and no reason to die. */
static void raise_limits(void)
{
	raise_limit(RLIMIT_NOFILE);
	raise_limit(RLIMIT_FSIZE);
	(void)signal(SIGXFSZ, SIG_IGN);
}

/* A dry run asks the same questions as the muster, of processes that run on. */
static int dry_run(struct ckpti_set *set, struct ckpti_create_result *ret, struct ckpti_err *err)
{
	uint64_t included;
	int look = look_at_included(set, &included, err);

	if (look < 0)
		return look;
	for (size_t i = 0; i < set->n; i++) {
		struct ckpti_member *m = &set->member[i];
		int r = m->state == CKPTI_MEMBER_ZOMBIE
				? 0
				: ckpti_check_member(set, m, NULL, NULL, err);

		if (r < 0)
			return r;
		ret->nprocs++;
		ret->nthreads += (uint32_t)m->info.nthreads;
	}
	return 0;
}

static void block_terminal_stops(int how)
{
	sigset_t mask;

	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGTSTP);
	(void)sigaddset(&mask, SIGTTIN);
	(void)sigaddset(&mask, SIGTTOU);
	(void)sigprocmask(how, &mask, NULL);
}

/* Ends with everybody standing still and captured, or with an error. */
static int stop_and_capture(struct ckpti_snap *s, const struct ckpti_create_result *so_far,
			    struct ckpti_err *err)
{
	struct ckpti_set *set = s->set;
	uint64_t included;
	int r = look_at_included(set, &included, err);

	if (r == 0)
		r = ckpti_budget_check(set, s->store, included, err);
	if (r == 0)
		r = open_content(s, err);
	if (r == 0)
		r = ckpti_link_listen(set, err);
	if (r == 0 && set->req->precopy != CKPTI_PRECOPY_OFF)
		r = ckpti_precopy_run(s->pre, set, s->store, err);
	if (r == 0)
		r = ckpti_set_prepare(set, err);
	ckpti_trace_phase("prepare", 0);
	if (r == 0)
		r = ask(set, CKPTI_PHASE_PREPARED, so_far, err);
	/* From here to the resume we must not be stopped by a terminal: everybody waits for us. */
	block_terminal_stops(SIG_BLOCK);
	if (r == 0)
		r = ckpti_set_muster(set, err);
	ckpti_trace_phase("muster", 0);
	if (r == 0)
		r = capture(s, err);
	if (r == 0)
		r = ask(set, CKPTI_PHASE_CAPTURED, so_far, err);
	return r < 0 ? r : all_stand_still(set, err);
}

static void fill_result(const struct ckpti_snap *s, uint64_t start, uint64_t stop_ns,
			struct ckpti_create_result *ret)
{
	ret->generation = ckpti_store_generation(s->store);
	ret->nprocs = (uint32_t)s->set->n;
	ret->nthreads = s->nthreads;
	ret->mem_bytes = s->mem_bytes;
	ret->stored_bytes = s->stored_bytes;
	ret->reused_bytes = s->reused_bytes;
	ret->stop_ns = stop_ns;
	ret->durable_ns = ckpti_now_ns() - start;
	ret->eintr_hidden = s->eintr_hidden;
	ret->eintr_lost = s->eintr_lost;
}

/* The image is safe: the targets of -k end, unless they are wanted after all. */
static int end_targets(struct ckpti_set *set, const struct ckpti_create_result *res,
		       struct ckpti_err *err)
{
	int r = ask(set, CKPTI_PHASE_COMMITTED, res, err);

	if (r == 0)
		ckpti_set_kill(set);
	else
		ckpti_set_resume(set, 0, res->generation);
	return r;
}

static int checkpoint(struct ckpti_set *set, struct ckpti_store *store,
		      struct ckpti_create_result *ret, struct ckpti_err *err)
{
	const struct ckpti_create_req *req = set->req;
	uint64_t start = ckpti_now_ns(), stop_ns;
	struct ckpti_precopy pre;
	struct ckpti_snap s;
	int r;

	ckpti_snap_init(&s, set, store);
	ckpti_precopy_init(&pre);
	s.pre = &pre;
	r = stop_and_capture(&s, ret, err);
	/* The targets of -k stand still until the image is safe: nothing that they do is lost. */
	if (r < 0 || !req->kill)
		ckpti_set_resume(set, r, r < 0 ? 0 : ckpti_store_generation(store));
	block_terminal_stops(SIG_UNBLOCK);
	stop_ns = set->first_in_ns ? ckpti_now_ns() - set->first_in_ns : 0;
	ckpti_trace_phase("resume", 0);
	if (r == 0)
		r = commit(&s, stop_ns, err);
	if (r == 0) {
		fill_result(&s, start, stop_ns, ret);
		ckpti_registry_note(set->set_id, ckpti_store_path(store), ret->generation);
		if (req->kill)
			r = end_targets(set, ret, err);
	}
	if (r < 0 || !req->kill)
		ckpti_set_withdraw(set);
	ckpti_precopy_done(&pre);
	ckpti_snap_done(&s);
	return r;
}

static int become_owner(const struct ckpti_set *set, struct ckpti_err *err)
{
	const struct ckpti_procinfo *p = &set->member[0].info;

	return ckpti_owner_become(p->uid[0], p->gid[0], p->groups, p->ngroups, err);
}

/* The targets, with the tree in the place of a cpr -r that looks after it. */
static struct ckpti_target *real_targets(const struct ckpti_create_req *req)
{
	struct ckpti_target *t = calloc(req->ntarget, sizeof(*t));

	for (size_t i = 0; t && i < req->ntarget; i++) {
		t[i] = req->target[i];
		if (t[i].type != P_PGID && t[i].type != P_SID && t[i].id <= INT32_MAX)
			t[i].id = ckpti_supervisor_root((int)t[i].id);
	}
	return t;
}

/* Everything with the set locked and the directory open. */
static int create_in(struct ckpti_set *set, struct ckpti_create_result *ret, struct ckpti_err *err)
{
	const struct ckpti_create_req *req = set->req;
	struct ckpti_store *store = NULL;
	int lock = lock_set(set, err);
	int r = lock;

	if (r >= 0)
		r = ckpti_store_open_write(
			req->dir, CKPTI_STORE_CREATE | (req->force ? CKPTI_STORE_FORCE : 0), &store,
			err);
	if (r == 0 && req->pins)
		r = ckpti_store_share_pins(store, req->pins, err);
	if (r == 0) {
		ckpti_store_hold(store, req->hold, req->nhold);
		r = checkpoint(set, store, ret, err);
	}
	ckpti_set_done(set, r, 0);
	ckpti_store_close(store);
	if (lock >= 0)
		(void)close(lock);
	return r;
}

int ckpti_create(const struct ckpti_create_req *asked, struct ckpti_create_result *ret,
		 struct ckpti_err *err)
{
	struct ckpti_create_req req = *asked;
	struct ckpti_target *targets;
	struct ckpti_set set;
	int r;

	memset(ret, 0, sizeof(*ret));
	raise_limits();
	ckpti_trace_open("create");
	req.target = targets = real_targets(asked);
	if (!targets)
		return ckpti_err(err, -ENOMEM, "out of memory");
	ckpti_set_init(&set, &req);
	r = ckpti_set_scan(&set, err);
	ckpti_trace_phase("scan", 0);
	/* The statefile and everything that a user can choose is touched as the user. */
	if (r == 0)
		r = become_owner(&set, err);
	if (r == 0 && !req.dryrun)
		r = create_in(&set, ret, err);
	else if (r == 0)
		r = dry_run(&set, ret, err);
	ckpti_set_done(&set, r, 0);
	free(targets);
	ckpti_trace_close();
	return r;
}
