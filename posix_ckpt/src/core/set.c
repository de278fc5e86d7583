/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who belongs to the set: the named processes, and for a tree everything below them.  A process that
 * lost its parent is found by the set's identity in its environment (CKPT_SET), which fork and exec
 * hand on.
 */
#include "core/set.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "ckpt.h"

#define BARE_LIMIT_NS    1000000000U /* for a new program to start its agent */
#define ENDING_LIMIT_NS  4000000000U /* for the threads of a process that ends, on a busy machine */
#define SILENCE_LIMIT_NS 1000000000U /* before a thread that keeps the signal closed is forced */
#define KNOCK_AGAIN_NS   20000000U

uint64_t ckpti_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

void ckpti_set_init(struct ckpti_set *set, const struct ckpti_create_req *req)
{
	memset(set, 0, sizeof(*set));
	set->req = req;
	set->listener = -1;
	set->signo = SIGRTMAX - 2;
}

static void member_done(struct ckpti_member *m)
{
	if (m->sock >= 0)
		(void)close(m->sock);
	if (m->mailbox)
		(void)munmap(m->mailbox, CKPTI_MAILBOX_SIZE);
	if (m->mailbox_fd >= 0)
		(void)close(m->mailbox_fd);
	if (m->pidfd >= 0)
		(void)close(m->pidfd);
	if (m->tracker >= 0)
		(void)close(m->tracker);
	m->sock = m->mailbox_fd = m->pidfd = -1;
	m->tracker = CKPTI_TRACKER_NONE;
	m->mailbox = NULL;
}

void ckpti_set_resume(struct ckpti_set *set, int error, uint64_t generation)
{
	for (size_t i = 0; i < set->n; i++) {
		struct ckpti_member *m = &set->member[i];
		struct ckpti_msg msg;

		if (m->sock < 0)
			continue;
		memset(&msg, 0, sizeof(msg));
		msg.type = CKPTI_M_RESUME;
		msg.protocol = CKPTI_PROTOCOL;
		msg.error = error;
		msg.value = generation;
		(void)send(m->sock, &msg, sizeof(msg), MSG_NOSIGNAL);
		member_done(m);
	}
}

/* A pidfd of the one that was checkpointed: somebody may have killed it meanwhile, and its number may
 * be another's by now.  -1: it is gone. */
static int kill_member(const struct ckpti_member *m)
{
	struct ckpti_procinfo p;
	int fd = (int)syscall(SYS_pidfd_open, m->info.pid, 0);

	if (fd < 0)
		return -1;
	if (ckpti_procfs_stat(m->info.pid, &p) == 0 && p.start_time == m->info.start_time) {
		(void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
		return fd;
	}
	(void)close(fd);
	return -1;
}

void ckpti_set_kill(struct ckpti_set *set)
{
	uint64_t deadline = ckpti_now_ns() + ENDING_LIMIT_NS, now;

	for (size_t i = 0; i < set->n; i++) {
		struct ckpti_member *m = &set->member[i];

		if (m->state == CKPTI_MEMBER_IN)
			m->pidfd = kill_member(m);
	}
	for (size_t i = 0; i < set->n; i++) {
		struct pollfd pfd = {.fd = set->member[i].pidfd, .events = POLLIN};

		now = ckpti_now_ns();
		if (pfd.fd >= 0 && now < deadline)
			(void)poll(&pfd, 1, (int)((deadline - now) / 1000000));
	}
}

void ckpti_set_done(struct ckpti_set *set, int error, uint64_t generation)
{
	ckpti_set_resume(set, error, generation);
	for (size_t i = 0; i < set->n; i++) {
		member_done(&set->member[i]);
		free(set->member[i].shut);
	}
	free(set->member);
	set->member = NULL;
	set->n = 0;
	if (set->listener >= 0)
		(void)close(set->listener);
	set->listener = -1;
}

struct ckpti_member *ckpti_set_find(struct ckpti_set *set, int pid)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->member[i].info.pid == pid)
			return &set->member[i];
	return NULL;
}

/* ---- one look at /proc -------------------------------------------------------------------- */

/*
 * The machine's processes, by number.  A scan happens while processes stand still, so it is cheap: of
 * processes that are not members only the one line of /proc/PID/stat is read.
 */
struct snapshot {
	struct ckpti_procinfo *p;
	size_t n;
	uint8_t *in;
};

static int by_pid(const void *a, const void *b)
{
	const int *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int take_snapshot(struct snapshot *s)
{
	int *pids = NULL;
	size_t n;
	int r = ckpti_procfs_numbers("/proc", &pids, &n);

	if (r < 0)
		return r;
	s->p = calloc(n ? n : 1, sizeof(*s->p));
	s->in = calloc(n ? n : 1, 1);
	s->n = 0;
	if (!s->p || !s->in) {
		free(pids);
		return -ENOMEM;
	}
	qsort(pids, n, sizeof(*pids), by_pid);
	for (size_t i = 0; i < n; i++)
		if (ckpti_procfs_stat(pids[i], &s->p[s->n]) == 0)
			s->n++;
	free(pids);
	return 0;
}

/* Index of the process, s->n when there is none. */
static size_t look_up(const struct snapshot *s, int pid)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (s->p[mid].pid < pid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s->n && s->p[low].pid == pid ? low : s->n;
}

static void drop_snapshot(struct snapshot *s)
{
	free(s->p);
	free(s->in);
}

static int named(const struct ckpti_target *t, const struct ckpti_procinfo *p)
{
	switch (t->type) {
	case P_PGID:
		return p->pgid == t->id;
	case P_SID:
		return p->sid == t->id;
	default:
		return p->pid == t->id;
	}
}

static int whole_tree(const struct ckpti_set *set)
{
	for (size_t i = 0; i < set->req->ntarget; i++)
		if (set->req->target[i].type == P_HID)
			return 1;
	return 0;
}

static uint64_t set_id_of(int pid)
{
	char text[32];

	if (ckpti_procfs_environ(pid, "CKPT_SET", text, sizeof(text)) != 1)
		return 0;
	return strtoull(text, NULL, 16);
}

/* Ourselves and whatever we started are never members, although ckpt_create() makes us a child. */
static int ours(const struct snapshot *s, const struct ckpti_procinfo *p)
{
	int pid = p->pid, self = getpid();

	for (size_t depth = 0; depth < s->n && pid > 1; depth++) {
		size_t i = look_up(s, pid);

		if (pid == self)
			return 1;
		if (i == s->n)
			return 0;
		pid = s->p[i].ppid;
	}
	return 0;
}

/* Everything below those that are in. */
static void mark_descendants(struct snapshot *s)
{
	int more = 1;

	while (more) {
		more = 0;
		for (size_t i = 0; i < s->n; i++) {
			size_t parent = s->in[i] ? s->n : look_up(s, s->p[i].ppid);

			if (parent < s->n && s->in[parent])
				more = s->in[i] = 1;
		}
	}
}

/*
 * Could it be a member that lost its parent?  Such a one is younger than the root, or was made beside
 * it by a restart, so that most processes need not be asked for their environment.
 */
static int may_be_orphan(const struct snapshot *s, size_t root, const struct ckpti_procinfo *p)
{
	return p->state != 'Z' && (root == s->n || p->start_time >= s->p[root].start_time ||
				   p->ppid == s->p[root].ppid);
}

/* An environment is its process' own word: one of another user's is not believed. */
static int same_user(const struct snapshot *s, size_t root, size_t i)
{
	struct ckpti_procinfo p = {.pid = s->p[i].pid},
			      r = {.pid = root < s->n ? s->p[root].pid : 0};

	return !r.pid || (ckpti_procfs_status(&p) == 0 && ckpti_procfs_status(&r) == 0 &&
			  p.uid[0] == r.uid[0]);
}

static void mark(const struct ckpti_set *set, struct snapshot *s)
{
	size_t root = look_up(s, set->root);
	int tree = whole_tree(set);

	for (size_t i = 0; i < s->n; i++)
		for (size_t t = 0; t < set->req->ntarget; t++)
			if (named(&set->req->target[t], &s->p[i]))
				s->in[i] = 1;
	/* Who belonged to a tree goes on to, wherever its parent went. */
	for (size_t k = 0; tree && k < set->n; k++) {
		const struct ckpti_procinfo *known = &set->member[k].info;
		size_t i = look_up(s, known->pid);

		if (i < s->n && s->p[i].start_time == known->start_time)
			s->in[i] = 1;
	}
	if (tree)
		mark_descendants(s);
	for (size_t i = 0; tree && set->set_id && i < s->n; i++)
		if (!s->in[i] && may_be_orphan(s, root, &s->p[i]) &&
		    set_id_of(s->p[i].pid) == set->set_id && same_user(s, root, i))
			s->in[i] = 1;
	if (tree)
		mark_descendants(s);
	for (size_t i = 0; i < s->n; i++)
		if (s->in[i] && ours(s, &s->p[i]))
			s->in[i] = 0;
	/* One that is gone by now is dropped like any other that has ended. */
	for (size_t i = 0; i < s->n; i++)
		if (s->in[i] && ckpti_procfs_status(&s->p[i]) < 0)
			s->in[i] = 0;
}

static int add_member(struct ckpti_set *set, const struct ckpti_procinfo *p)
{
	struct ckpti_member *bigger = realloc(set->member, (set->n + 1) * sizeof(*bigger));
	struct ckpti_member *m;

	if (!bigger)
		return -ENOMEM;
	set->member = bigger;
	m = &set->member[set->n++];
	memset(m, 0, sizeof(*m));
	m->info = *p;
	m->sock = m->mailbox_fd = m->pidfd = -1;
	m->tracker = CKPTI_TRACKER_NONE;
	m->state = p->state == 'Z' && p->nthreads <= 1 ? CKPTI_MEMBER_ZOMBIE : CKPTI_MEMBER_NEW;
	return 1;
}

/* A member that has ended, or whose number now belongs to another process, is dropped. */
static void drop_gone(struct ckpti_set *set, const struct snapshot *s)
{
	size_t keep = 0;

	for (size_t i = 0; i < set->n; i++) {
		struct ckpti_member *m = &set->member[i];
		size_t j = look_up(s, m->info.pid);

		if (j == s->n || !s->in[j] || s->p[j].start_time != m->info.start_time) {
			member_done(m);
			free(m->shut);
			continue;
		}
		m->info = s->p[j];
		if (s->p[j].state == 'Z' && s->p[j].nthreads <= 1) {
			member_done(m);
			m->state = CKPTI_MEMBER_ZOMBIE;
		}
		set->member[keep++] = *m;
	}
	set->n = keep;
}

/* Returns the number of members that are new, or -errno. */
static int scan(struct ckpti_set *set)
{
	struct snapshot s = {0};
	int r = take_snapshot(&s);
	int fresh = 0;

	if (r == 0) {
		mark(set, &s);
		drop_gone(set, &s);
		for (size_t i = 0; r >= 0 && i < s.n; i++) {
			if (!s.in[i] || ckpti_set_find(set, s.p[i].pid))
				continue;
			r = add_member(set, &s.p[i]);
			fresh++;
		}
	}
	drop_snapshot(&s);
	return r < 0 ? r : fresh;
}

int ckpti_set_scan(struct ckpti_set *set, struct ckpti_err *err)
{
	const struct ckpti_target *t = &set->req->target[0];
	char text[32];
	int r;

	if (t->type != P_PGID && t->type != P_SID) {
		set->root = (int)t->id;
		set->set_id = set_id_of(set->root);
		if (ckpti_procfs_environ(set->root, "CKPT_SIGNO", text, sizeof(text)) == 1 &&
		    atoi(text) >= SIGRTMIN && atoi(text) <= SIGRTMAX)
			set->signo = atoi(text);
	}
	r = scan(set);
	if (r < 0)
		return ckpti_err(err, r, "cannot read /proc: %s", strerror(-r));
	if (set->n == 0)
		return ckpti_err(err, -ESRCH, "no such process: %" PRId64, t->id);
	return 0;
}

/* ---- may it be signalled? ----------------------------------------------------------------- */

/* 0; -EACCES: its mappings may not be looked at; -ESRCH: it has none, as a process that ends. */
static int find_agent(struct ckpti_member *m, bool catches)
{
	char *text = ckpti_procfs_slurp(m->info.pid, "maps", NULL);
	int r = text && *text ? 0 : !text && errno == EACCES ? -EACCES : -ESRCH;

	m->agent = CKPTI_AGENT_NONE;
	if (text && catches && strstr(text, "/libckpt.so"))
		m->agent = CKPTI_AGENT_LIBRARY;
	else if (text && catches && (m->agent_at = ckpti_inject_find(m->info.pid, text)) != 0)
		m->agent = CKPTI_AGENT_PLANTED;
	free(text);
	return r;
}

/* Will it start an agent by itself, as all do that cpr run has started? */
static bool is_prepared(int pid)
{
	char text[4096];

	return ckpti_procfs_environ(pid, "LD_PRELOAD", text, sizeof(text)) == 1 &&
	       strstr(text, "libckpt.so");
}

/* Its end, or an exec and the start of the agent in the new program: it takes a moment. */
static int in_transit(struct ckpti_member *m, uint64_t limit_ns)
{
	uint64_t now = ckpti_now_ns();

	if (!m->bare_ns)
		m->bare_ns = now;
	return now - m->bare_ns < limit_ns;
}

static int tracer_of_ours(void)
{
	struct ckpti_procinfo self = {.pid = getpid()};

	return ckpti_procfs_status(&self) == 0 ? self.tracer : 0;
}

int ckpti_set_eligible(struct ckpti_set *set, struct ckpti_member *m, struct ckpti_err *err)
{
	const struct ckpti_procinfo *p = &m->info;
	uint64_t bit = 1ULL << (set->signo - 1);
	int pid = p->pid, r;

	if (p->uid[0] != p->uid[1] || p->uid[0] != p->uid[2])
		return ckpti_err_obj(
			err, -EPERM, pid, p->comm,
			"runs with changed user ids (setuid): it cannot be checkpointed");
	/* Neither could root restart processes of several users: it becomes the owner. */
	if ((getuid() != 0 && p->uid[0] != getuid()) || p->uid[0] != set->member[0].info.uid[0])
		return ckpti_err_obj(err, -EPERM, pid, p->comm, "belongs to another user");
	/* Where the kernel asks for the rights of a debugger it asks for equal groups, too. */
	if (getuid() != 0 && p->gid[0] != getgid())
		return ckpti_err_obj(err, -EPERM, pid, p->comm,
				     "runs with group %u and cpr with group %u, see newgrp(1)",
				     p->gid[0], getgid());
	if (p->tracer && p->tracer != getpid())
		return ckpti_err_obj(
			err, -EPERM, pid, p->comm,
			"is traced by process %d (debugger or strace): detach it first", p->tracer);
	if (pid == tracer_of_ours())
		return ckpti_err_obj(err, -EPERM, pid, p->comm, "traces cpr itself");
	if (p->state == 'Z')
		return in_transit(m, ckpti_set_sleeps(m) ? BARE_LIMIT_NS : ENDING_LIMIT_NS)
			       ? -EAGAIN
			       : ckpti_err_obj(err, -ENOTSUP, pid, p->comm,
					       "its main thread has ended while others run");
	if (p->seccomp)
		return ckpti_err_obj(err, -ENOTSUP, pid, p->comm,
				     "has a seccomp filter, which cannot be read back");
	r = find_agent(m, p->sig_caught & bit);
	if (r == -EACCES)
		return ckpti_err_obj(err, -EPERM, pid, p->comm,
				     "asked not to be dumped (PR_SET_DUMPABLE): respected");
	if (r < 0 && in_transit(m, ENDING_LIMIT_NS))
		return -EAGAIN;
	if (m->agent == CKPTI_AGENT_NONE) {
		if ((set->req->prepared_only || is_prepared(pid)) && in_transit(m, BARE_LIMIT_NS))
			return -EAGAIN;
		if (set->req->prepared_only)
			return ckpti_err_obj(err, -ENOLINK, pid, p->comm,
					     "has no libckpt (static, setuid or started without "
					     "'cpr run')");
	} else {
		m->bare_ns = 0;
	}
	return m->looked_around ? 0 : ckpti_surroundings_check(set, m, err);
}

/* ---- the muster --------------------------------------------------------------------------- */

/* Signal those that are new or silent; returns how many live members are not in, or -errno. */
static int knock_all(struct ckpti_set *set, struct ckpti_err *err)
{
	uint64_t now = ckpti_now_ns();
	int missing = 0;

	for (size_t i = 0; i < set->n; i++) {
		struct ckpti_member *m = &set->member[i];
		struct ckpti_procinfo now_it_is;
		int r;

		if (m->state == CKPTI_MEMBER_IN || m->state == CKPTI_MEMBER_ZOMBIE)
			continue;
		missing++;
		/* A vfork child, or a process between exec and its agent, did not hear the first. */
		if (m->knock_ns && now - m->knock_ns < KNOCK_AGAIN_NS)
			continue;
		/* Its number may belong to somebody else by now: the next scan drops it then. */
		if (ckpti_procfs_read(m->info.pid, &now_it_is) < 0 ||
		    now_it_is.start_time != m->info.start_time)
			continue;
		m->info = now_it_is;
		r = ckpti_set_eligible(set, m, err);
		if (r == -EAGAIN)
			continue;
		if (r < 0)
			return r;
		if (m->agent != CKPTI_AGENT_LIBRARY) {
			r = ckpti_set_inject(set, m, err);
			if (r == 0) {
				m->state = CKPTI_MEMBER_KNOCKED;
				m->knock_ns = ckpti_now_ns();
			} else if (r != -EAGAIN) {
				return r;
			}
			continue;
		}
		if (!m->silent_ns || m->held)
			m->silent_ns = now;
		if (ckpti_set_knock(set, m, CKPTI_SI_REQUEST) == 0) {
			m->state = CKPTI_MEMBER_KNOCKED;
			m->knock_ns = now;
		}
		if (now - m->silent_ns > SILENCE_LIMIT_NS) {
			m->silent_ns = now;
			r = ckpti_set_knock_again(set, m, err);
			if (r < 0)
				return r;
		}
	}
	return missing;
}

static const struct ckpti_member *first_missing(const struct ckpti_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		const struct ckpti_member *m = &set->member[i];

		if (m->state != CKPTI_MEMBER_IN && m->state != CKPTI_MEMBER_ZOMBIE)
			return m;
	}
	return NULL;
}

static int overdue(struct ckpti_set *set, const struct ckpti_member *missing, struct ckpti_err *err)
{
	int code = set->req->policy == CKPTI_POLICY_SKIP ? -EAGAIN : -ETIMEDOUT;

	return missing ? ckpti_set_tell_missing(set, missing, code, err)
		       : ckpti_err(err, code,
				   "new processes came faster than they could be stopped");
}

/* Parents in front of their children, whatever the order in which they were found. */
static void sort_members(struct ckpti_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		for (size_t j = i + 1; j < set->n; j++) {
			struct ckpti_member tmp;

			if (set->member[i].info.ppid != set->member[j].info.pid)
				continue;
			tmp = set->member[i];
			set->member[i] = set->member[j];
			set->member[j] = tmp;
			j = i; /* the new one at i may have its parent further down as well */
		}
	}
}

static size_t count_in(const struct ckpti_set *set)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++)
		n += set->member[i].state == CKPTI_MEMBER_IN;
	return n;
}

int ckpti_set_muster(struct ckpti_set *set, struct ckpti_err *err)
{
	const struct ckpti_create_req *req = set->req;
	unsigned limit_ms = req->timeout_ms ? req->timeout_ms : 10000;
	uint64_t deadline = ckpti_now_ns() + (uint64_t)limit_ms * 1000000U;
	const struct ckpti_member *late;
	size_t before;
	int missing, r;

	for (;;) {
		before = count_in(set);
		if (req->phase) {
			r = req->phase(req->phase_arg, CKPTI_PHASE_BETWEEN, NULL, err);
			if (r < 0)
				return r;
		}
		missing = knock_all(set, err);
		if (missing < 0)
			return missing;
		if (missing) {
			r = ckpti_link_poll(set, 2, err);
			if (r < 0)
				return r;
			late = first_missing(set);
			if (late && ckpti_now_ns() > deadline)
				return overdue(set, late, err);
			/* As long as they come in there is no need to look for others. */
			if (count_in(set) > before)
				continue;
		}
		/* With everybody in, a scan that finds nobody new ends the muster. */
		r = scan(set);
		if (r < 0)
			return ckpti_err(err, r, "cannot read /proc: %s", strerror(-r));
		if (set->n == 0)
			return ckpti_err(err, -ESRCH, "the processes have ended");
		if (r == 0 && missing == 0)
			break;
		if (r > 0 && ckpti_now_ns() > deadline)
			return overdue(set, NULL, err);
	}
	if (count_in(set) == 0)
		return ckpti_err(err, -ESRCH, "the processes have ended");
	sort_members(set);
	return 0;
}
