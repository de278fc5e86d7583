/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The set of processes that a request names, and the muster of all of them.
 *
 * The kernel's own tables are the truth: /proc is read until every live member stands still and a
 * further scan finds nobody new.  A process that stands still creates no other, so that last scan is
 * exact.
 */
#ifndef CKPT_CORE_SET_H
#define CKPT_CORE_SET_H

#include "agent/protocol.h"
#include "core/core.h"
#include "core/procfs.h"

#define CKPTI_MAILBOX_SIZE (64UL << 20) /* sparse: only what is used takes memory */

/* The agent is memory of a program that may have been overwritten: what it says is copied, and checked
 * before it is used.  Does an array lie in the mailbox? */
static inline bool ckpti_in_mailbox(uint64_t off, uint64_t n, uint64_t size)
{
	return off <= CKPTI_MAILBOX_SIZE && n <= (CKPTI_MAILBOX_SIZE - off) / size;
}

enum ckpti_member_state {
	CKPTI_MEMBER_NEW,     /* seen, not signalled yet */
	CKPTI_MEMBER_KNOCKED, /* signalled */
	CKPTI_MEMBER_IN,      /* all its threads stand still, its agent listens */
	CKPTI_MEMBER_ZOMBIE,
};

enum ckpti_member_agent {
	CKPTI_AGENT_NONE,    /* it was started without libckpt */
	CKPTI_AGENT_LIBRARY, /* libckpt.so is loaded */
	CKPTI_AGENT_PLANTED, /* brought in by inject.c, now or in a former life */
};

enum ckpti_tracker {
	CKPTI_TRACKER_NONE = -1,
	CKPTI_TRACKER_ASKED = -2,
};

struct ckpti_member {
	struct ckpti_procinfo info;
	enum ckpti_member_state state;
	int sock; /* -1 */
	int mailbox_fd;
	int pidfd; /* while it is being killed */
	uint8_t *mailbox;
	uint64_t block, resume; /* from HELLO */
	uint64_t bare_ns; /* since when it has been seen unable to take a signal, 0: it is able */
	uint64_t knock_ns;
	uint64_t silent_ns; /* since when it has been knocked at in vain */
	unsigned asked;     /* times that a thread of it has been asked to lead */
	bool prepared;
	bool looked_around; /* its surroundings have been found usual */
	bool held;          /* said that it holds checkpoints off */
	enum ckpti_member_agent agent;
	uint64_t agent_at;  /* where the one is that was brought in */
	bool planted;       /* that was in this round */
	uint64_t def_flags; /* of its new mappings, by what the mailbox has got */
	int *shut;          /* threads that it has opened the signal in */
	int tracker;        /* userfaultfd that it has sent, or one of enum ckpti_tracker */
	size_t nshut;
};

struct ckpti_set {
	const struct ckpti_create_req *req;
	struct ckpti_member *member; /* parents before children after the muster */
	size_t n;
	int root;        /* pid of the first target's process, 0 for groups and sessions */
	uint64_t set_id; /* of `cpr run`, 0 unknown */
	uint64_t nonce;
	int listener;
	int signo;
	uint64_t first_in_ns;
};

void ckpti_set_init(struct ckpti_set *set, const struct ckpti_create_req *req);
/* Lets every member go (error = result of the round) and frees. */
void ckpti_set_done(struct ckpti_set *set, int error, uint64_t generation);

/* Find the members without touching them; -ESRCH when there are none. */
int ckpti_set_scan(struct ckpti_set *set, struct ckpti_err *err);
/* Could this process be checkpointed?  0, or -errno with the reason; -EAGAIN while an exec is in
 * progress. */
int ckpti_set_eligible(struct ckpti_set *set, struct ckpti_member *m, struct ckpti_err *err);
/* prepare.c: let processes that registered checkpoint handlers run them, in normal context, before
 * anything stops. */
int ckpti_set_prepare(struct ckpti_set *set, struct ckpti_err *err);
/* Send a request (CKPTI_SI_*) to a thread of m that has the signal open; -EAGAIN when none has. */
int ckpti_set_knock(struct ckpti_set *set, struct ckpti_member *m, int code);
/* At one that stays silent: open the signal in threads that keep it closed.  -EPERM: that is forbidden. */
int ckpti_set_knock_again(struct ckpti_set *set, struct ckpti_member *m, struct ckpti_err *err);
/* SIGCKPT with the request `code` (CKPTI_SI_*) to thread tid. */
int ckpti_set_signal(const struct ckpti_set *set, struct ckpti_member *m, int tid, int code);
/* inject.c: bring the agent into a process that was started without it, if it is not there yet, and
 * knock.  0; -EAGAIN: not at this moment; -errno. */
int ckpti_set_inject(struct ckpti_set *set, struct ckpti_member *m, struct ckpti_err *err);
/* Take out what this round has brought in; the processes run.  One where that is not possible keeps it:
 * it does no harm. */
void ckpti_set_withdraw(struct ckpti_set *set);
/* Where the agent is that was brought into process pid, 0: nowhere. */
uint64_t ckpti_inject_find(int pid, const char *maps);
/* Does any thread of m sleep?  In a process that ends none does. */
int ckpti_set_sleeps(const struct ckpti_member *m);
/* The deadline has passed: say which thread of m did not come in, and why.  Returns code. */
int ckpti_set_tell_missing(const struct ckpti_set *set, const struct ckpti_member *m, int code,
			   struct ckpti_err *err);
/* check.c: would the capture refuse anything of this process?  Looks only.  fn (may be NULL) hears of
 * each finding; the first refusal is returned. */
int ckpti_check_member(struct ckpti_set *set, struct ckpti_member *m, ckpti_finding_f fn, void *arg,
		       struct ckpti_err *err);
int ckpti_check_descriptor(const struct ckpti_member *m, int num, struct ckpti_err *err);
/* surroundings.c: refuse what cannot be saved because it is around the process: namespaces, root
 * directory, sharing, seccomp filters of threads. */
int ckpti_surroundings_check(struct ckpti_set *set, struct ckpti_member *m, struct ckpti_err *err);
/* Bring everybody in. */
int ckpti_set_muster(struct ckpti_set *set, struct ckpti_err *err);
/* Let everybody go on and tell the result; members keep their records. */
void ckpti_set_resume(struct ckpti_set *set, int error, uint64_t generation);
/* SIGKILL to every member, and wait until all have ended: a restart may follow at once. */
void ckpti_set_kill(struct ckpti_set *set);

struct ckpti_member *ckpti_set_find(struct ckpti_set *set, int pid);

/* link.c: the coordinator's side of the protocol. */
int ckpti_link_listen(struct ckpti_set *set, struct ckpti_err *err);
/* Take connections and first messages for at most timeout_ms. */
int ckpti_link_poll(struct ckpti_set *set, int timeout_ms, struct ckpti_err *err);
/* Does this member that came in still stand there?  Its agent waits for ten minutes at most. */
bool ckpti_link_waits(const struct ckpti_member *m);
/* One command, its answer.  fd >= 0 rides along.  FDS answers go to on_fds. */
struct ckpti_call {
	uint32_t type;
	uint64_t value;
	int fd;
	int (*on_fds)(void *arg, struct ckpti_member *m, const int *num, const int *fd, uint32_t n);
	void *arg;
};
int ckpti_link_send(struct ckpti_member *m, const struct ckpti_call *call, struct ckpti_err *err);
int ckpti_link_wait(struct ckpti_member *m, const struct ckpti_call *call, struct ckpti_err *err);
/* call[i] to m[i] for all i at the same time.  When one fails the answers of the others are still
 * waited for: nobody is left in the middle of a command. */
int ckpti_link_call_all(struct ckpti_member *const *m, const struct ckpti_call *call, size_t n,
			struct ckpti_err *err);

uint64_t ckpti_now_ns(void);

#endif
