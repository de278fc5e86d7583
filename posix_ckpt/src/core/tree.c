/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tree of processes is forked as it was: each process makes its children, with their old numbers,
 * before or after it becomes a session leader, whichever gives them their session.  Groups are joined
 * when all exist.  Then each takes its descriptors, directory and limits, and waits to be let into its
 * exec.  Leaders of sessions and groups that had ended are played by helpers that end as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/life.h"
#include "core/procfs.h"

#define BUILD_LIMIT_S 60

enum {
	BARRIER_CREATED,
	BARRIER_LEADERS,
	BARRIER_JOINED,
	BARRIER_BUILDER
};

static long futex(uint32_t *word, int op, uint32_t val, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op, val, timeout, NULL, 0);
}

void ckpti_tree_abort(struct ckpti_life *life, const struct ckpti_err *err)
{
	struct ckpti_shared_build *b = life->build;

	if (__atomic_exchange_n(&b->err_lock, 1, __ATOMIC_SEQ_CST) == 0) {
		b->err = *err;
		__atomic_store_n(&b->abort, 1, __ATOMIC_SEQ_CST);
	}
	for (int i = 0; i < 4; i++)
		(void)futex(&b->count[i], FUTEX_WAKE, INT32_MAX, NULL);
}

bool ckpti_tree_aborted(const struct ckpti_life *life, struct ckpti_err *err)
{
	if (!__atomic_load_n(&life->build->abort, __ATOMIC_SEQ_CST))
		return false;
	*err = life->build->err;
	return true;
}

void ckpti_tree_kill(struct ckpti_life *life)
{
	for (size_t i = 0; i < life->nproc; i++)
		if (life->build->slot[i].pid > 0)
			(void)kill(life->build->slot[i].pid, SIGKILL);
}

/* The first failure counts; everybody gives up. */
static _Noreturn void fail(struct ckpti_life *life, const struct ckpti_err *err)
{
	ckpti_tree_abort(life, err);
	_exit(1);
}

/* Wait until `want` processes have come; -ECANCELED when one failed, -ETIMEDOUT. */
static int wait_count(struct ckpti_shared_build *b, uint32_t *word, uint32_t want)
{
	struct timespec step = {.tv_nsec = 100000000};
	uint32_t n;

	for (int i = 0; i < BUILD_LIMIT_S * 10;) {
		n = __atomic_load_n(word, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&b->abort, __ATOMIC_SEQ_CST))
			return -ECANCELED;
		if (n >= want)
			return 0;
		if (futex(word, FUTEX_WAIT, n, &step) < 0 && errno == ETIMEDOUT)
			i++;
	}
	return -ETIMEDOUT;
}

static void barrier(struct ckpti_life *life, int which)
{
	struct ckpti_shared_build *b = life->build;

	__atomic_add_fetch(&b->count[which], 1, __ATOMIC_SEQ_CST);
	(void)futex(&b->count[which], FUTEX_WAKE, INT32_MAX, NULL);
	if (wait_count(b, &b->count[which], (uint32_t)life->nproc) < 0)
		_exit(1);
}

/* ---- making processes --------------------------------------------------------------------- */

static void run_process(struct ckpti_life *life, size_t i, int sid) __attribute__((noreturn));

/* fork() with a chosen number (0: any).  Raw, so that nothing of libc's runs twice. */
static pid_t spawn(struct ckpti_life *life, int number, int exit_signal)
{
	pid_t tid = number;
	struct clone_args args = {.exit_signal = (uint64_t)exit_signal};

	if (number && life->ids != CKPTI_IDS_NEW) {
		args.set_tid = (uint64_t)&tid;
		args.set_tid_size = 1;
	}
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static void make_child(struct ckpti_life *life, size_t i, int sid)
{
	struct ckpti_err err = {0};
	pid_t pid = spawn(life, life->proc[i].pid, life->proc[i].exit_signal);

	if (pid == 0)
		run_process(life, i, sid);
	if (pid > 0)
		return;
	(void)ckpti_err(&err, -errno, "cannot create process %d: %s%s", life->proc[i].pid,
			strerror(errno),
			errno == EEXIST ? " (its number has just been taken)" : "");
	fail(life, &err);
}

/* Children of process i that are born in session `sid`; later ones follow after setsid().  Those of
 * other sessions were adopted. */
static void make_children(struct ckpti_life *life, size_t i, int sid, bool after_setsid)
{
	const struct ckpti_r_proc *p = &life->proc[i];
	bool leads = p->sid == p->pid;

	for (size_t k = 0; k < life->nproc; k++) {
		const struct ckpti_r_proc *c = &life->proc[k];
		bool belongs_after = c->sid == p->sid || c->sid == c->pid;

		if (c->ppid != p->pid || c->pid == p->pid ||
		    (leads && belongs_after != after_setsid))
			continue;
		if (c->sid == sid || c->sid == c->pid)
			make_child(life, k, sid);
	}
}

static const struct ckpti_r_proc *member(const struct ckpti_life *life, int pid)
{
	for (size_t i = 0; i < life->nproc; i++)
		if (life->proc[i].pid == pid)
			return &life->proc[i];
	return NULL;
}

bool ckpti_tree_leaderless(const struct ckpti_life *life, int id)
{
	const struct ckpti_r_proc *root = member(life, (int)life->set.root_pid);

	return id > 0 && !member(life, id) && !(root && (id == root->pgid || id == root->sid));
}

/*
 * A process that is in another session than its parent, and does not lead it, was born elsewhere: the
 * parent, a subreaper or from outside the set, got it when its first one ended.
 */
static bool adopted(const struct ckpti_life *life, const struct ckpti_r_proc *c)
{
	const struct ckpti_r_proc *p = c->ppid ? member(life, c->ppid) : NULL;

	if (c->sid == c->pid || c->pid == (int)life->set.root_pid)
		return false;
	if (!p)
		return member(life, c->sid) || ckpti_tree_leaderless(life, c->sid);
	if (c->sid == p->sid)
		return false;
	/* A session leader has children from before its setsid(). */
	return p->sid != p->pid || member(life, c->sid) || ckpti_tree_leaderless(life, c->sid);
}

/*
 * The adopted processes of session `sid` are made by a helper that ends: then the kernel gives them
 * away as it did.  The helper leads the session itself if its leader has ended; otherwise the leader
 * calls this.
 */
static int make_adopted(struct ckpti_life *life, int sid, bool leaderless)
{
	bool any = false;
	pid_t pid;

	for (size_t k = 0; k < life->nproc; k++)
		any |= life->proc[k].sid == sid && adopted(life, &life->proc[k]);
	if (!any)
		return 0;
	pid = spawn(life, leaderless ? sid : 0, SIGCHLD);
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		if (leaderless)
			(void)setsid();
		for (size_t k = 0; k < life->nproc; k++)
			if (life->proc[k].sid == sid && adopted(life, &life->proc[k]))
				make_child(life, k, sid);
		_exit(0);
	}
	(void)waitpid(pid, NULL, 0);
	return 0;
}

/* Sessions without a leader whose processes have come to `parent` (0: to the builder). */
static int make_leaderless(struct ckpti_life *life, int parent, struct ckpti_err *err)
{
	for (size_t i = 0; i < life->nproc; i++) {
		int sid = life->proc[i].sid;
		bool done = false;
		int r;

		if (life->proc[i].ppid != parent || !adopted(life, &life->proc[i]) ||
		    member(life, sid))
			continue;
		for (size_t k = 0; k < i; k++)
			done |= life->proc[k].sid == sid && adopted(life, &life->proc[k]);
		r = done ? 0 : make_adopted(life, sid, true);
		if (r < 0)
			return ckpti_err(err, r, "cannot create a leader for session %d: %s", sid,
					 strerror(-r));
	}
	return 0;
}

/* ---- process groups ----------------------------------------------------------------------- */

static bool first_of_group(const struct ckpti_life *life, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (life->proc[k].pgid == life->proc[i].pgid)
			return false;
	return true;
}

/* A group whose leader has ended (or was outside the set) needs one for a moment. */
static pid_t play_leader(struct ckpti_life *life, int pgid)
{
	pid_t pid = spawn(life, pgid, SIGCHLD);

	if (pid == 0) {
		(void)setpgid(0, 0);
		(void)wait_count(life->build, &life->build->count[BARRIER_JOINED],
				 (uint32_t)life->nproc);
		_exit(0);
	}
	if (pid > 0)
		(void)setpgid(pid, pid);
	return pid;
}

static void join_groups(struct ckpti_life *life, size_t i)
{
	const struct ckpti_r_proc *p = &life->proc[i];
	pid_t helper = -1;

	barrier(life, BARRIER_CREATED);
	if (p->pgid == p->pid && p->sid != p->pid)
		(void)setpgid(0, 0);
	else if (p->pgid > 0 && !member(life, p->pgid) && first_of_group(life, i) &&
		 (life->ids == CKPTI_IDS_PRIVATE || ckpti_tree_leaderless(life, p->pgid)))
		helper = play_leader(life, p->pgid);
	barrier(life, BARRIER_LEADERS);
	/* The group that the root was born into may not exist any more: stay in the builder's. */
	if (p->pgid > 0 && p->pgid != p->pid)
		(void)setpgid(0, p->pgid);
	barrier(life, BARRIER_JOINED);
	/* SIGTTOU is blocked. */
	if (p->tty && p->tty_fg)
		(void)ckpti_pty_foreground(&life->rb, p->tty);
	if (helper > 0)
		(void)waitpid(helper, NULL, 0);
}

/* ---- what an ordinary process can restore of itself --------------------------------------- */

static _Noreturn void end_as(const struct ckpti_r_proc *p)
{
	struct rlimit none = {0, 0};
	sigset_t all;

	(void)prctl(PR_SET_PDEATHSIG, 0);
	if (WIFEXITED(p->wstatus))
		_exit(WEXITSTATUS(p->wstatus));
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)signal(WTERMSIG(p->wstatus), SIG_DFL);
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_UNBLOCK, &all, NULL);
	(void)kill(getpid(), WTERMSIG(p->wstatus));
	_exit(1);
}

static int close_between(int first, int last)
{
	if (first > last)
		return 0;
	return syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0) < 0 ? -errno : 0;
}

/* The same, but for what is still needed. */
static void close_strangers(const struct ckpti_life *life, int first, int last)
{
	int end = last < life->keep_first ? last : life->keep_first - 1;

	(void)close_between(first, end);
	(void)close_between(first > life->desc_end ? first : life->desc_end, last);
}

static int by_number(const void *a, const void *b)
{
	return ((const struct ckpti_e_fd *)a)->fd - ((const struct ckpti_e_fd *)b)->fd;
}

static int place_one(struct ckpti_life *life, struct ckpti_redesc *d, int num,
		     struct ckpti_err *err)
{
	int fd, r = 0;

	if (!d || d->fd < 0)
		return -EBADF;
	fd = d->kind->place ? d->kind->place(&life->rb, d, err) : d->fd;
	if (fd < 0)
		return fd;
	/* dup2() clears close-on-exec; what was opened under its number just now may have it. */
	if (fd == num ? fcntl(num, F_SETFD, 0) < 0 : dup2(fd, num) < 0)
		r = -errno;
	if (fd != d->fd && fd != num)
		(void)close(fd);
	return r;
}

static int place_descriptors(struct ckpti_life *life, const struct ckpti_r_proc *p,
			     struct ckpti_err *err)
{
	struct ckpti_redesc *d;
	struct ckpti_e_fd *e;
	struct ckpti_view v;
	uint64_t n = 0;
	int next = 0, r = 0;

	if (ckpti_image_find(&life->img, CKPTI_R_FDS, (uint32_t)p->pid, &v))
		n = v.count;
	e = calloc(n ? n : 1, sizeof(*e));
	if (!e)
		return ckpti_err(err, -ENOMEM, "out of memory");
	for (uint64_t i = 0; i < n; i++)
		CKPTI_ELEM(&v, i, &e[i]);
	qsort(e, n, sizeof(*e), by_number);
	for (uint64_t i = 0; r == 0 && i < n; i++) {
		d = ckpti_redesc_by_id(&life->rb, e[i].obj);
		close_strangers(life, next, e[i].fd - 1);
		next = e[i].fd + 1;
		r = place_one(life, d, e[i].fd, err);
		if (r < 0 && !err->code)
			(void)ckpti_err_obj(err, r, p->pid, "", "cannot place descriptor %d: %s",
					    e[i].fd, strerror(-r));
	}
	close_strangers(life, next, INT32_MAX);
	for (size_t i = 0; r == 0 && i < life->rb.ndesc; i++) {
		d = &life->rb.desc[i];
		if (d->kind->attach)
			r = d->kind->attach(&life->rb, d, p->pid, err);
	}
	(void)close_between(life->desc_first, life->desc_end - 1);
	(void)close(life->go[1]);
	(void)close(life->ready[0]);
	(void)close(life->fail[0]);
	free(e);
	return r;
}

static void set_limit(pid_t pid, enum __rlimit_resource what, const struct ckpti_e_rlimit *e)
{
	struct rlimit now, want = {.rlim_cur = e->cur, .rlim_max = e->max};

	if (prlimit(pid, what, &want, NULL) == 0)
		return;
	/* A hard limit that this machine does not grant: as much as it does. */
	if (prlimit(pid, what, NULL, &now) < 0)
		return;
	want.rlim_max = now.rlim_max;
	if (want.rlim_cur > want.rlim_max)
		want.rlim_cur = want.rlim_max;
	(void)prlimit(pid, what, &want, NULL);
}

/* Limits that may leave no room for what a restart needs in addition are set when all stand restored. */
static void set_limits(const struct ckpti_life *life, const struct ckpti_r_proc *p, pid_t pid,
		       bool late)
{
	struct ckpti_view v;

	if (!ckpti_image_find(&life->img, CKPTI_R_RLIMITS, (uint32_t)p->pid, &v))
		return;
	for (uint64_t i = 0; i < v.count && i < RLIM_NLIMITS; i++) {
		struct ckpti_e_rlimit e;

		CKPTI_ELEM(&v, i, &e);
		if (late == (i == RLIMIT_NOFILE || i == RLIMIT_AS))
			set_limit(pid, (enum __rlimit_resource)i, &e);
	}
}

void ckpti_tree_limits(struct ckpti_life *life)
{
	for (size_t i = 0; i < life->nproc; i++)
		if (life->proc[i].state == CKPTI_PROC_LIVE)
			set_limits(life, &life->proc[i], life->build->slot[i].pid, true);
}

/* Choosing thread numbers needs this right in the restorer, that is beyond the exec; the restorer
 * gives it up before the program's first instruction. */
static void keep_right_over_exec(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	int word = CAP_CHECKPOINT_RESTORE / 32;
	uint32_t bit = 1U << (CAP_CHECKPOINT_RESTORE % 32);

	if (syscall(SYS_capget, &head, data) < 0 || !(data[word].permitted & bit))
		return;
	data[word].inheritable |= bit;
	if (syscall(SYS_capset, &head, data) == 0)
		(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHECKPOINT_RESTORE, 0, 0);
}

static void set_oom_score(int score)
{
	FILE *f = fopen("/proc/self/oom_score_adj", "we");

	if (!f)
		return;
	(void)fprintf(f, "%d", score);
	(void)fclose(f);
}

static const char *exe_path(const struct ckpti_life *life, const struct ckpti_r_proc *p,
			    const struct ckpti_view *v)
{
	for (size_t i = 0; i < life->npin; i++)
		if (life->pin[i].rec.id == p->exe_mapfile)
			return life->pin[i].path;
	return ckpti_view_str(v, 1);
}

bool ckpti_tree_cwd_removed(const char *cwd)
{
	static const char mark[] = " (deleted)";
	size_t n = strlen(cwd), k = sizeof(mark) - 1;
	struct stat st;

	/* A directory may really be called that. */
	return n > k && strcmp(cwd + n - k, mark) == 0 && stat(cwd, &st) < 0;
}

static int enter_cwd(const struct ckpti_life *life, const char *cwd)
{
	int fd, r;

	if (!ckpti_tree_cwd_removed(cwd))
		return chdir(cwd) < 0 ? -errno : 0;
	fd = ckpti_dir_make_removed(life->store, cwd);
	if (fd < 0)
		return fd;
	r = fchdir(fd) < 0 ? -errno : 0;
	(void)close(fd);
	return r;
}

static _Noreturn void become(struct ckpti_life *life, size_t i)
{
	const struct ckpti_r_proc *p = &life->proc[i];
	struct ckpti_slot *slot = &life->build->slot[i];
	struct ckpti_err err = {0};
	char *argv[] = {(char *)"cpr-restore", NULL};
	char *envp[] = {NULL};
	const char *exe, *cwd;
	struct ckpti_view v;
	int r;

	if (!ckpti_image_find(&life->img, CKPTI_R_PROC, (uint32_t)p->pid, &v))
		_exit(1);
	exe = exe_path(life, p, &v);
	cwd = ckpti_view_str(&v, 2);
	set_oom_score(p->oom_score_adj);
	r = life->req->ignore_cdir ? 0 : enter_cwd(life, cwd);
	if (r < 0) {
		(void)ckpti_err_obj(&err, r, p->pid, cwd, "its working directory: %s",
				    strerror(-r));
		fail(life, &err);
	}
	(void)umask(p->umask);
	r = place_descriptors(life, p, &err);
	if (r < 0)
		fail(life, &err);
	set_limits(life, p, 0, false);
	keep_right_over_exec();
	if (p->no_new_privs)
		(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)personality(p->personality);
	__atomic_store_n(&slot->at_exec, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&life->build->count[BARRIER_BUILDER], 1, __ATOMIC_SEQ_CST);
	(void)futex(&life->build->count[BARRIER_BUILDER], FUTEX_WAKE, INT32_MAX, NULL);
	if (wait_count(life->build, &slot->go, 1) < 0)
		_exit(1);
	(void)execve(exe, argv, envp);
	(void)ckpti_err_obj(&err, -errno, p->pid, exe, "cannot execute its binary: %s",
			    strerror(errno));
	fail(life, &err);
}

static void run_process(struct ckpti_life *life, size_t i, int sid)
{
	const struct ckpti_r_proc *p = &life->proc[i];
	struct ckpti_err err = {0};
	int r;

	life->build->slot[i].pid = (int)syscall(SYS_getpid);
	if (p->subreaper)
		(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (p->sid == p->pid) {
		make_children(life, i, sid, false);
		if (setsid() < 0) {
			(void)ckpti_err(&err, -errno, "process %d cannot lead its session: %s",
					p->pid, strerror(errno));
			fail(life, &err);
		}
		sid = p->pid;
		/* Before there are children: they inherit it. */
		r = p->tty ? ckpti_pty_take_control(&life->rb, p->tty) : 0;
		if (r < 0) {
			(void)ckpti_err(&err, r, "process %d cannot have its terminal: %s", p->pid,
					strerror(-r));
			fail(life, &err);
		}
	}
	make_children(life, i, sid, true);
	if ((sid == p->pid && make_adopted(life, sid, false) < 0) ||
	    make_leaderless(life, p->pid, &err) < 0) {
		(void)ckpti_err(&err, -EAGAIN, "cannot create the processes of session %d", sid);
		fail(life, &err);
	}
	join_groups(life, i);
	if (life->ids != CKPTI_IDS_NEW && member(life, p->ppid) && getppid() != p->ppid) {
		(void)ckpti_err(&err, -ENOTSUP,
				"process %d of session %d cannot be made a child of process %d",
				p->pid, p->sid, p->ppid);
		fail(life, &err);
	}
	if (p->state == CKPTI_PROC_ZOMBIE)
		end_as(p);
	become(life, i);
}

/* ---- the builder's own children ----------------------------------------------------------- */

/* Those that had ended have ended again, so that their parents' SIGCHLD is over and forgotten. */
static int await_zombies(const struct ckpti_life *life, struct ckpti_err *err)
{
	struct timespec step = {.tv_nsec = 1000000};

	for (size_t i = 0; i < life->nproc; i++) {
		struct ckpti_procinfo info = {.state = 'R'};
		int n = 0;

		if (life->proc[i].state != CKPTI_PROC_ZOMBIE || !life->proc[i].ppid)
			continue;
		while (ckpti_procfs_read(life->build->slot[i].pid, &info) == 0 &&
		       info.state != 'Z' && n++ < BUILD_LIMIT_S * 1000)
			(void)nanosleep(&step, NULL);
		if (info.state != 'Z')
			return ckpti_err(err, -ECHILD, "process %d, which had ended, is lost",
					 life->proc[i].pid);
	}
	return 0;
}

int ckpti_tree_build(struct ckpti_life *life, struct ckpti_err *err)
{
	const struct ckpti_r_proc *root = member(life, (int)life->set.root_pid);
	/* The root's session, if it leads none, is that of whoever restarts. */
	int outer_sid = root ? root->sid : 0;
	int r;

	for (size_t i = 0; i < life->nproc; i++) {
		const struct ckpti_r_proc *p = &life->proc[i];

		if (p->ppid == 0 && !adopted(life, p))
			make_child(life, i, p->sid == p->pid ? outer_sid : p->sid);
	}
	r = make_leaderless(life, 0, err);
	if (r < 0)
		return r;
	r = wait_count(life->build, &life->build->count[BARRIER_BUILDER], life->nlive);
	if (r == -ECANCELED)
		return ckpti_tree_aborted(life, err) && err->code ? err->code : r;
	return r < 0 ? ckpti_err(err, r, "the processes were not created within %d s",
				 BUILD_LIMIT_S)
		     : await_zombies(life, err);
}
