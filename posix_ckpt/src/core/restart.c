/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A restart as cpr sees it: everything that can be checked is checked before anything is started;
 * then the builder does the work in its namespaces, and cpr waits for the root, handing on signals.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/capture.h"
#include "core/hand_on.h"
#include "core/life.h"
#include "core/owner.h"
#include "core/procfs.h"
#include "core/trace.h"

static uint64_t stored_bytes(const struct ckpti_image *img)
{
	struct ckpti_r_set set = {0};
	struct ckpti_view v;

	if (ckpti_image_first(img, CKPTI_R_SET, &v))
		CKPTI_FIXED(&v, &set);
	return set.stored_bytes;
}

static int load(struct ckpti_life *life, struct ckpti_err *err)
{
	const struct ckpti_restart_req *req = life->req;
	int r = ckpti_store_open_read(req->dir, &life->store, err);

	if (r == 0)
		r = ckpti_store_load(life->store, req->generation, &life->img, err);
	if (r == 0)
		r = ckpti_machine_check(&life->img, err);
	ckpti_trace_phase("load", 0);
	if (r == 0 && req->lazy)
		r = ckpti_lazy_choose(life, err);
	if (r == 0)
		r = ckpti_store_verify(life->store, &life->img,
				       req->lazy ? ckpti_lazy_unread : NULL, life, req->progress,
				       req->progress_arg, err);
	if (r == 0)
		ckpti_trace_phase("verify", stored_bytes(&life->img));
	return r;
}

/* Root may restart a user's image, but then becomes that user first. */
static int become_owner(const struct ckpti_life *life, struct ckpti_err *err)
{
	struct ckpti_view v, groups = {0};
	struct ckpti_r_proc p;
	struct stat dir;
	int r;

	if (!ckpti_image_first(&life->img, CKPTI_R_PROC, &v))
		return ckpti_err(err, -EBADMSG, "the image has no processes");
	CKPTI_FIXED(&v, &p);
	(void)ckpti_image_find(&life->img, CKPTI_R_GROUPS, (uint32_t)p.pid, &groups);
	if (fstat(ckpti_store_dirfd(life->store), &dir) < 0)
		return ckpti_err(err, -errno, "cannot examine '%s': %s",
				 ckpti_store_path(life->store), strerror(errno));
	r = ckpti_owner_check(&dir, p.uid[0], p.gid[0], groups.array, groups.count, err);
	if (r < 0)
		return r;
	return ckpti_owner_become(p.uid[0], p.gid[0], groups.array, groups.count, err);
}

/* The number by which we know the process that the builder calls `inner`. */
static int outer_pid(int builder, int inner)
{
	int *pids = NULL;
	size_t n = 0;
	int found = 0;

	if (ckpti_procfs_numbers("/proc", &pids, &n) < 0)
		return 0;
	for (size_t i = 0; i < n && !found; i++) {
		struct ckpti_procinfo p;

		if (ckpti_procfs_read(pids[i], &p) < 0 || p.inner_pid != inner)
			continue;
		/* the number may exist in several namespaces: ours is below the builder */
		if (p.ppid == builder)
			found = pids[i];
	}
	free(pids);
	return found;
}

static int start_builder(struct ckpti_life *life, int *ret_ctl, pid_t *ret_pid,
			 struct ckpti_err *err)
{
	size_t size = sizeof(*life->build) + life->nproc * sizeof(struct ckpti_slot);
	int pair[2], r;
	pid_t pid;

	life->build = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (life->build == MAP_FAILED)
		return ckpti_err(err, -errno, "out of memory");
	if (pipe2(life->go, O_CLOEXEC) < 0)
		return ckpti_err(err, -errno, "cannot make a pipe: %s", strerror(errno));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return ckpti_err(err, -errno, "cannot make a socket: %s", strerror(errno));
	r = ckpti_ids_enter(life, err);
	if (r < 0)
		return r;
	(void)fflush(NULL);
	pid = fork();
	if (pid < 0)
		return ckpti_err(err, -errno, "cannot fork: %s", strerror(errno));
	if (pid == 0) {
		(void)close(pair[0]);
		ckpti_builder(life, pair[1]);
	}
	(void)close(pair[1]);
	(void)close(life->go[0]);
	*ret_ctl = pair[0];
	*ret_pid = pid;
	return 0;
}

/* A signal that cpr has had goes to the root.  Before there is one, a wish to end ends the restart;
 * when that does not help, the second one does. */
static void on_signal(struct ckpti_life *life, int ctl, pid_t builder, bool started,
		      const struct signalfd_siginfo *si)
{
	struct ckpti_ctl_signal down = {.signo = (int32_t)si->ssi_signo};
	struct ckpti_err why = {0};

	(void)send(ctl, &down, sizeof(down), MSG_NOSIGNAL);
	/* We stop when the root has done so, and not when it has another idea about the signal. */
	if (down.signo == SIGTSTP || down.signo == SIGCONT)
		life->to_stop = down.signo == SIGTSTP;
	if (started || (down.signo != SIGHUP && down.signo != SIGINT && down.signo != SIGQUIT &&
			down.signo != SIGTERM))
		return;
	if (ckpti_tree_aborted(life, &why))
		(void)kill(builder, SIGKILL);
	(void)ckpti_err(&why, -ECANCELED, "ended by signal %d before anything ran", down.signo);
	ckpti_tree_abort(life, &why);
}

/* In a pid namespace of their own the processes have ended with the builder, which was its init. */
static int builder_lost(struct ckpti_life *life, pid_t builder, bool started, struct ckpti_err *err)
{
	bool apart = life->ids == CKPTI_IDS_PRIVATE;
	struct ckpti_err why = {0};

	if (started && !apart)
		return ckpti_err(err, -EOWNERDEAD,
				 "the process that stays with the restored ones was killed: they "
				 "run on without it");
	/* Its end is told before theirs; our end of `go` must outlive them, or they would run for a moment. */
	if (apart)
		(void)waitpid(builder, NULL, 0);
	(void)ckpti_err(&why, -EOWNERDEAD, "the restored processes were killed");
	if (!started)
		ckpti_tree_abort(life, &why);
	if (!started && !apart)
		ckpti_tree_kill(life);
	(void)ckpti_tree_aborted(life, &why);
	*err = why;
	return why.code;
}

/* Until the root ends: signals go down, messages come up. */
static int supervise(struct ckpti_life *life, int ctl, pid_t builder, int sfd, int *ret_wstatus,
		     struct ckpti_err *err)
{
	struct pollfd pfd[2] = {{.fd = ctl, .events = POLLIN}, {.fd = sfd, .events = POLLIN}};
	bool started = false;

	for (;;) {
		struct signalfd_siginfo si;
		struct ckpti_ctl msg;
		ssize_t n;

		if (poll(pfd, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (pfd[1].revents && read(sfd, &si, sizeof(si)) == (ssize_t)sizeof(si))
			on_signal(life, ctl, builder, started, &si);
		if (!pfd[0].revents)
			continue;
		n = recv(ctl, &msg, sizeof(msg), 0);
		if (n != (ssize_t)sizeof(msg))
			return builder_lost(life, builder, started, err);
		if (msg.type == CKPTI_CTL_FAILED) {
			*err = msg.err;
			(void)waitpid(builder, NULL, 0);
			return msg.err.code ? msg.err.code : -EIO;
		}
		if (msg.type == CKPTI_CTL_STARTED) {
			started = true;
			(void)close(life->go[1]);
			life->go[1] = -1;
		}
		if (msg.type == CKPTI_CTL_STARTED && life->req->started) {
			int pid = life->ids == CKPTI_IDS_PRIVATE ? outer_pid(builder, msg.value)
								 : msg.value;

			/* It may have ended before we looked: then its own number is all there is. */
			life->req->started(life->req->started_arg, pid ? pid : msg.value,
					   life->set.generation);
		}
		if (msg.type == CKPTI_CTL_STOPPED && life->to_stop) {
			life->to_stop = false;
			(void)raise(SIGSTOP);
		}
		if (msg.type == CKPTI_CTL_ENDED) {
			*ret_wstatus = msg.value;
			return 0;
		}
	}
}

/* Two lives that write the same files ruin them: the first one must have ended. */
static int first_life_over(const struct ckpti_life *life, struct ckpti_err *err)
{
	struct ckpti_procinfo p;
	struct ckpti_view v;
	char boot[64] = "";
	FILE *f;

	if (life->req->clone || life->req->fenced ||
	    !ckpti_image_first(&life->img, CKPTI_R_MACHINE, &v))
		return 0;
	f = fopen("/proc/sys/kernel/random/boot_id", "re");
	if (f) {
		if (!fgets(boot, sizeof(boot), f))
			boot[0] = 0;
		(void)fclose(f);
	}
	boot[strcspn(boot, "\n")] = 0;
	if (strcmp(boot, ckpti_view_str(&v, 2)) != 0)
		return 0;
	for (size_t i = 0; i < life->nproc; i++) {
		const struct ckpti_r_proc *r = &life->proc[i];

		if (r->state == CKPTI_PROC_LIVE && r->host_pid &&
		    ckpti_procfs_read(r->host_pid, &p) == 0 && p.state != 'Z' &&
		    p.start_time == r->start_time)
			return ckpti_err_obj(err, -EBUSY, r->host_pid, p.comm,
					     "the checkpointed process still runs; end it, or use "
					     "--clone");
	}
	return 0;
}

/* Where this life differs from the first one in something that a program could see. */
static void tell_differences(const struct ckpti_life *life)
{
	const struct ckpti_restart_req *req = life->req;
	uint64_t newest = ckpti_store_newest(life->store);

	if (!req->note)
		return;
	if (!req->generation && life->set.generation != newest)
		req->note(req->started_arg,
			  "the newest generation is damaged: going back to the one before it");
	if (life->ids == CKPTI_IDS_PRIVATE && life->userns)
		req->note(req->started_arg,
			  "process numbers are kept in a private user namespace: supplementary "
			  "groups and other users' files show as nobody inside");
	else if (life->ids == CKPTI_IDS_PRIVATE)
		req->note(req->started_arg, "process numbers are kept in a private pid namespace");
	else if (life->ids == CKPTI_IDS_NEW)
		req->note(req->started_arg, "the process gets new numbers");
	if (!life->timens)
		req->note(req->started_arg,
			  "no time namespace here: CLOCK_MONOTONIC jumps to this machine's");
}

/* A clone leaves the file to the first life. */
static void renew_launch_file(struct ckpti_life *life)
{
	const struct ckpti_restart_req *req = life->req;
	char text[512];
	struct ckpti_view v;
	const char *path;
	int r;

	if (req->clone || !ckpti_image_first(&life->img, CKPTI_R_SET, &v))
		return;
	path = ckpti_view_str(&v, 2);
	if (!*path)
		return;
	r = ckpti_launch_file_write(path, environ, life->set.restarts + 1, life->set.generation,
				    &life->launch_file);
	if (r == 0 || !req->note)
		return;
	(void)snprintf(text, sizeof(text), "'%.300s' cannot be renewed: %s", path, strerror(-r));
	req->note(req->started_arg, text);
}

static void life_free(struct ckpti_life *life)
{
	for (size_t i = 0; i < life->npin; i++)
		free(life->pin[i].path);
	for (size_t i = 0; i < life->rb.ndesc; i++)
		free(life->rb.desc[i].priv);
	free(life->rb.desc);
	free(life->proc);
	free(life->data);
	free(life->shm);
	free(life->pin);
	free(life->lazy);
	ckpti_image_free(&life->img);
	ckpti_store_close(life->store);
	if (life->lease >= 0)
		(void)close(life->lease);
	if (life->go[1] >= 0)
		(void)close(life->go[1]);
}

/* A launcher that exports the set's identity gives it to us, too; whoever scans for its members must
 * not find us among them.  They read our initial environment, which unsetenv() leaves as it is. */
static void leave_set(void)
{
	char *id = getenv("CKPT_SET");

	if (!id)
		return;
	memset(id, '-', strlen(id));
	(void)unsetenv("CKPT_SET");
}

static int restart(const struct ckpti_restart_req *req, int *ret_wstatus, enum ckpti_ids *ret_ids,
		   struct ckpti_err *err)
{
	struct ckpti_life life = {.req = req, .lease = -1, .go = {-1, -1}};
	sigset_t mask;
	pid_t builder = 0;
	int ctl = -1, sfd = -1, r;

	r = load(&life, err);
	if (r == 0)
		r = become_owner(&life, err);
	if (r == 0)
		r = ckpti_life_check(&life, err);
	if (r == 0)
		r = first_life_over(&life, err);
	if (r == 0 && !req->clone) {
		life.lease = ckpti_store_lease(life.store, req->fenced, err);
		r = life.lease >= 0 || life.lease == -ENOLCK ? 0 : life.lease;
	}
	if (r == 0)
		r = ckpti_ids_decide(&life, err);
	ckpti_trace_phase("check", 0);
	if (r == 0)
		tell_differences(&life);
	if (r == 0 && !req->check)
		renew_launch_file(&life);
	if (r == 0 && !req->check) {
		/* For good: one that comes when the root has ended must not change how we end. */
		ckpti_hand_on_signals(&mask);
		(void)sigprocmask(SIG_BLOCK, &mask, NULL);
		sfd = signalfd(-1, &mask, SFD_CLOEXEC);
		r = start_builder(&life, &ctl, &builder, err);
		if (r == 0)
			r = supervise(&life, ctl, builder, sfd, ret_wstatus, err);
	}
	if (ctl >= 0)
		(void)close(ctl);
	if (sfd >= 0)
		(void)close(sfd);
	*ret_ids = life.ids;
	life_free(&life);
	return r;
}

int ckpti_restart(const struct ckpti_restart_req *req, int *ret_wstatus, struct ckpti_err *err)
{
	struct ckpti_restart_req apart = *req;
	struct ckpti_err first = {0};
	enum ckpti_ids ids;
	int r;

	leave_set();
	ckpti_trace_open("restart");
	r = restart(req, ret_wstatus, &ids, &first);
	apart.ids = CKPTI_IDS_PRIVATE;
	/* Between our look and the start somebody got one of the numbers: nothing has run, nothing is left. */
	if (r == -EEXIST && req->ids == CKPTI_IDS_AUTO && ids == CKPTI_IDS_HOST)
		r = restart(&apart, ret_wstatus, &ids, err);
	else if (r < 0)
		*err = first;
	ckpti_trace_close();
	return r;
}
