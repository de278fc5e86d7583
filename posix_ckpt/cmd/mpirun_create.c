/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All ranks of an mpirun at one moment.  Each is checkpointed by a child, into a statefile of its own,
 * and the children are held at their barriers (core/drive.h) until all have come there.  Who drives us in
 * turn, a batch system, is asked at the same barriers.
 *
 * The generation counts when the file that names those of all ranks is there.  Until then the ranks keep
 * the ones of the generation before, whatever their own newest is.
 *
 * No wait here has a limit of its own: a child gives up when its processes do not stand still in time, and
 * when it is not answered, and its end is noticed at once.
 */
#include <ckpt.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/owner.h"
#include "core/procfs.h"
#include "core/set.h"
#include "mpirun.h"

#define LOOK_MS      50    /* between two looks at who drives us */
#define SLACK_MS     10000 /* our own answer takes as long as his */
#define END_LIMIT_MS 10000 /* for an mpirun whose ranks have been ended */

enum stage {
	STARTED,
	PREPARED,
	CAPTURED,
	COMMITTED,
	ENDED
};

struct rank {
	int pid; /* what mpirun has started */
	pid_t cpr;
	int drive, result;
	enum stage stage;
	char line[64];
	size_t n;
	struct ckpti_result told;
};

struct job {
	const struct ckpti_cmd_opts *o;
	bool kill;
	int mpirun;
	struct rank *rank;
	size_t n;
	ckpti_phase_f phase;
	void *phase_arg;
	struct ckpti_create_result *res;
};

/* ---- a child: the checkpoint of one rank -------------------------------------------------- */

__attribute__((noreturn)) static void be_cpr(const struct job *j, size_t number, int drive,
					     char *dir, uint64_t *hold, size_t nhold)
{
	const struct rank *rank = &j->rank[number];
	struct ckpti_target target = {.type = P_HID, .id = rank->pid};
	unsigned limit = j->o->drive_timeout_ms ? j->o->drive_timeout_ms : 60000;
	struct ckpti_cmd_opts o = *j->o;
	char *pins = NULL;

	/* Whose other ends these are must see it when we are the last to have them. */
	for (size_t i = 0; i <= number; i++)
		if (j->rank[i].drive >= 0)
			(void)close(j->rank[i].drive);
	if (j->o->drive_fd >= 0)
		(void)close(j->o->drive_fd);
	o.args = &dir;
	o.nargs = 1;
	o.target = &target;
	o.ntarget = 1;
	o.force = true;
	o.kill = j->kill;
	o.go_on = !j->kill;
	o.keep = 1;
	o.hold = hold;
	o.nhold = nhold;
	if (!o.pins && asprintf(&pins, "%s/pins", j->o->args[0]) > 0)
		o.pins = pins; /* all have the same libraries */
	o.drive_fd = drive;
	o.drive_timeout_ms = limit + SLACK_MS;
	o.result_fd = rank->result;
	o.json = false;
	_exit(ckpti_cmd_create(&o));
}

static int start_rank(struct job *j, size_t number, uint64_t *hold, size_t nhold,
		      struct ckpti_err *err)
{
	char *dir = ckpti_mpirun_rank_dir(j->o->args[0], number);
	struct rank *rank = &j->rank[number];
	int pair[2] = {-1, -1}, r = 0;

	rank->result = memfd_create("ckpt-result", MFD_CLOEXEC);
	if (!dir || rank->result < 0 ||
	    (!j->o->dryrun && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0))
		r = ckpti_err(err, -errno, "no descriptors for rank %zu: %s", number,
			      strerror(errno));
	rank->drive = pair[0];
	if (r == 0) {
		rank->cpr = fork();
		if (rank->cpr == 0)
			be_cpr(j, number, pair[1], dir, hold, nhold);
		if (rank->cpr < 0)
			r = ckpti_err(err, -errno, "no process for rank %zu: %s", number,
				      strerror(errno));
	}
	if (rank->cpr <= 0)
		rank->stage = ENDED;
	if (pair[1] >= 0)
		(void)close(pair[1]);
	free(dir);
	return r;
}

/* ---- the barriers ------------------------------------------------------------------------- */

static void answer(struct job *j, const char *line)
{
	for (size_t i = 0; j->rank && i < j->n; i++)
		if (j->rank[i].drive >= 0 && j->rank[i].stage != ENDED)
			(void)send(j->rank[i].drive, line, strlen(line), MSG_NOSIGNAL);
}

/* Its end, and what it told. */
static int reap(struct job *j, size_t number, struct ckpti_err *err)
{
	struct rank *rank = &j->rank[number];
	struct ckpti_result *told = &rank->told;
	int status = 0;

	while (waitpid(rank->cpr, &status, 0) < 0 && errno == EINTR)
		;
	rank->stage = ENDED;
	if (pread(rank->result, told, sizeof(*told), 0) != sizeof(*told) ||
	    told->magic != CKPTI_RESULT_MAGIC)
		return ckpti_err(err, -EIO,
				 "rank %zu: its cpr ended with status %d and told nothing", number,
				 WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	if (told->error < 0 || status != 0)
		return ckpti_err_obj(err, told->error < 0 ? told->error : -EIO, told->pid, "",
				     "rank %zu: %.300s", number, told->text);
	return 0;
}

static void hear(struct rank *rank, const char *line)
{
	if (strcmp(line, "prepared") == 0)
		rank->stage = PREPARED;
	else if (strcmp(line, "captured") == 0)
		rank->stage = CAPTURED;
	else if (strncmp(line, "committed ", 10) == 0)
		rank->stage = COMMITTED;
}

/* What a child says; it has ended when it cannot say any more. */
static int listen_to(struct job *j, size_t number, struct ckpti_err *err)
{
	struct rank *rank = &j->rank[number];
	ssize_t n = read(rank->drive, rank->line + rank->n, sizeof(rank->line) - 1 - rank->n);
	char *end;

	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0)
		return reap(j, number, err);
	rank->n += (size_t)n;
	rank->line[rank->n] = '\0';
	end = strchr(rank->line, '\n'); /* it says nothing more before it is answered */
	if (end) {
		*end = '\0';
		hear(rank, rank->line);
		rank->n = 0;
	}
	return 0;
}

/* Until all have come to a stage.  The first that cannot is the failure. */
static int wait_for(struct job *j, enum stage stage, struct ckpti_err *err)
{
	struct pollfd *pfd = calloc(j->n, sizeof(*pfd));
	bool missing = true;
	int r = pfd ? 0 : ckpti_err(err, -ENOMEM, "no memory for a poll of the ranks");

	while (r == 0 && missing) {
		missing = false;
		for (size_t i = 0; i < j->n; i++) {
			bool due = j->rank[i].stage < stage;

			pfd[i] = (struct pollfd){.fd = due ? j->rank[i].drive : -1,
						 .events = POLLIN};
			missing |= due;
		}
		if (missing && poll(pfd, j->n, j->phase ? LOOK_MS : -1) < 0 && errno != EINTR)
			r = ckpti_err(err, -errno, "poll: %s", strerror(errno));
		for (size_t i = 0; missing && r == 0 && i < j->n; i++) {
			if (pfd[i].fd < 0 || !pfd[i].revents)
				continue;
			r = listen_to(j, i, err);
			if (r == 0 && j->rank[i].stage == ENDED && stage < ENDED)
				r = ckpti_err(err, -EIO, "rank %zu: its cpr has ended early", i);
		}
		if (r == 0 && missing && j->phase)
			r = j->phase(j->phase_arg, CKPTI_PHASE_BETWEEN, j->res, err);
	}
	free(pfd);
	return r;
}

static int barrier(struct job *j, enum stage stage, enum ckpti_phase phase, struct ckpti_err *err)
{
	int r = wait_for(j, stage, err);

	return r == 0 && j->phase ? j->phase(j->phase_arg, phase, j->res, err) : r;
}

static void give_up(struct job *j, const struct ckpti_err *err)
{
	char line[256];

	(void)snprintf(line, sizeof(line), "abort %.200s\n", err->text);
	answer(j, line);
	for (size_t i = 0; j->rank && i < j->n; i++)
		if (j->rank[i].cpr > 0 && j->rank[i].stage != ENDED)
			(void)reap(j, i, NULL);
}

/* ---- the generation of the whole ---------------------------------------------------------- */

static void add_results(struct job *j)
{
	for (size_t i = 0; i < j->n; i++) {
		const struct ckpti_result *t = &j->rank[i].told;

		j->res->nprocs += t->nprocs;
		j->res->nthreads += t->nthreads;
		j->res->mem_bytes += t->mem_bytes;
		j->res->stored_bytes += t->stored_bytes;
		j->res->reused_bytes += t->reused_bytes;
		if (t->stop_ns > j->res->stop_ns)
			j->res->stop_ns = t->stop_ns;
	}
}

/* NUL-separated words, as in /proc/PID/cmdline. */
static char **words_of(int pid, const char *name)
{
	size_t len = 0, n = 0;
	char *text = ckpti_procfs_slurp(pid, name, &len), **ret;

	ret = calloc(len + 1, sizeof(*ret));
	for (const char *p = text; ret && text && p < text + len; p += strlen(p) + 1) {
		ret[n] = strdup(p);
		if (ret[n])
			n++;
	}
	free(text);
	return ret;
}

static int describe(struct job *j, struct ckpti_mpirun_record *rec, struct ckpti_err *err)
{
	rec->cwd = calloc(1, PATH_MAX);
	rec->args = words_of(j->mpirun, "cmdline");
	rec->env = words_of(j->mpirun, "environ");
	rec->rank = calloc(j->n, sizeof(*rec->rank));
	rec->nranks = j->n;
	if (!rec->cwd || !rec->args || !rec->env || !rec->rank)
		return ckpti_err(err, -ENOMEM, "no memory for the description of mpirun");
	if (!rec->args[0] || ckpti_procfs_link(j->mpirun, "cwd", rec->cwd) < 0)
		return ckpti_err(err, -ESRCH, "mpirun (pid %d) has ended", j->mpirun);
	return 0;
}

static int commit(struct job *j, struct ckpti_mpirun_record *rec, struct ckpti_err *err)
{
	for (size_t i = 0; i < j->n; i++) {
		/* With -k it has told before its end. */
		(void)!pread(j->rank[i].result, &j->rank[i].told, sizeof(j->rank[i].told), 0);
		rec->rank[i] = j->rank[i].told.generation;
	}
	add_results(j);
	j->res->generation = rec->generation;
	return ckpti_mpirun_save(j->o->args[0], rec, err);
}

static bool is_held(const struct ckpti_cmd_opts *o, uint64_t generation)
{
	for (size_t i = 0; i < o->nhold; i++)
		if (o->hold[i] == generation)
			return true;
	return false;
}

/* What this leaves of the ranks' generations goes at the next checkpoint. */
static void drop_old(const struct ckpti_cmd_opts *o)
{
	size_t keep = o->keep ? o->keep : 1, n = 0;
	uint64_t *gens = NULL;

	(void)ckpti_mpirun_list(o->args[0], &gens, &n, NULL);
	for (size_t i = 0; i + keep < n; i++)
		if (!is_held(o, gens[i]))
			(void)ckpti_mpirun_drop(o->args[0], gens[i]);
	free(gens);
}

static int drive(struct job *j, struct ckpti_mpirun_record *rec, struct ckpti_err *err)
{
	int r = barrier(j, PREPARED, CKPTI_PHASE_PREPARED, err);

	if (r < 0)
		return r;
	answer(j, "go\n");
	r = barrier(j, CAPTURED, CKPTI_PHASE_CAPTURED, err);
	if (r < 0)
		return r;
	answer(j, "go\n");
	r = wait_for(j, j->kill ? COMMITTED : ENDED, err);
	if (r == 0)
		r = commit(j, rec, err);
	if (r < 0 || !j->kill)
		return r;
	if (j->phase)
		r = j->phase(j->phase_arg, CKPTI_PHASE_COMMITTED, j->res, err);
	if (r < 0)
		return r;
	answer(j, "go\n");
	return wait_for(j, ENDED, err);
}

/* With its ranks mpirun ends by itself, and tidies up. */
static void wait_for_mpirun(int pid)
{
	uint64_t limit = ckpti_now_ns() + END_LIMIT_MS * 1000000ULL;
	struct ckpti_procinfo p;

	while (ckpti_procfs_stat(pid, &p) == 0 && p.state != 'Z' && ckpti_now_ns() < limit)
		(void)poll(NULL, 0, 20);
}

/* ---- the directory ------------------------------------------------------------------------ */

static bool belongs_here(const char *name)
{
	static const char *const ours[] = {"mpirun-", "rank-", "pins", "lock", "new", "."};

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strncmp(name, ours[i], strlen(ours[i])) == 0)
			return true;
	return false;
}

static int check_dir(const char *dir, struct ckpti_err *err)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int r = 0;

	if (!d)
		return ckpti_err(err, -errno, "'%s': %s", dir, strerror(errno));
	while (r == 0 && (e = readdir(d)))
		if (!belongs_here(e->d_name))
			r = ckpti_err(err, -EEXIST,
				      "'%s' holds '%s', which is of no checkpoint of an mpirun",
				      dir, e->d_name);
	(void)closedir(d);
	return r;
}

/* Returns the descriptor that holds the lock. */
static int open_dir(const struct ckpti_cmd_opts *o, uint64_t *ret_next, struct ckpti_err *err)
{
	const char *dir = o->args[0];
	uint64_t *gens = NULL;
	char *path = NULL;
	int fd = -1, r;
	size_t n = 0;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return ckpti_err(err, -errno, "'%s': %s", dir, strerror(errno));
	r = ckpti_mpirun_check_dir(dir, err);
	if (r == 0)
		r = check_dir(dir, err);
	if (r == 0)
		r = ckpti_mpirun_list(dir, &gens, &n, err);
	if (r == 0 && n && !o->force)
		r = ckpti_err(err, -EEXIST, "'%s' holds a checkpoint already; -f adds the next one",
			      dir);
	if (r == 0 && asprintf(&path, "%s/lock", dir) < 0)
		r = -ENOMEM;
	if (r == 0) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			r = ckpti_err(err, -errno, "'%s': %s", path, strerror(errno));
		else if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			r = ckpti_err(err, -EBUSY, "'%s': another checkpoint is being written",
				      dir);
	}
	*ret_next = n ? gens[n - 1] + 1 : 1;
	if (r < 0 && fd >= 0)
		(void)close(fd);
	free(path);
	free(gens);
	return r < 0 ? r : fd;
}

/* The generations of one rank that a generation of the whole refers to: without all of them its cpr would
 * remove what is needed. */
static int held_of(const char *dir, size_t rank, uint64_t **ret, size_t *ret_n,
		   struct ckpti_err *err)
{
	struct ckpti_mpirun_record rec;
	uint64_t *gens = NULL;
	size_t n = 0, found = 0;
	int r = ckpti_mpirun_list(dir, &gens, &n, err);

	*ret = calloc(n + 1, sizeof(**ret));
	if (r == 0 && !*ret)
		r = ckpti_err(err, -ENOMEM, "no memory for the generations of rank %zu", rank);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct ckpti_err why = {.code = 0};

		r = ckpti_mpirun_load(dir, gens[i], &rec, &why);
		if (r == 0 && rank < rec.nranks)
			(*ret)[found++] = rec.rank[rank];
		if (r == 0)
			ckpti_mpirun_record_free(&rec);
		else if (r == -EBADMSG)
			r = 0; /* nobody can restart it */
		else
			*err = why;
	}
	*ret_n = found;
	free(gens);
	return r;
}

static int start_all(struct job *j, struct ckpti_err *err)
{
	int r = 0;

	(void)fflush(NULL);
	for (size_t i = 0; r == 0 && i < j->n; i++) {
		uint64_t *hold = NULL;
		size_t n = 0;

		if (!j->o->dryrun)
			r = held_of(j->o->args[0], i, &hold, &n, err);
		if (r == 0)
			r = start_rank(j, i, hold, n, err);
		free(hold);
	}
	return r;
}

/* Root works in the user's directory with no more rights than that user has. */
static int become_owner(const struct job *j, struct ckpti_err *err)
{
	struct ckpti_procinfo p;

	if (ckpti_procfs_read(j->mpirun, &p) < 0)
		return ckpti_err(err, -ESRCH, "mpirun (pid %d) has ended", j->mpirun);
	return ckpti_owner_become(p.uid[0], p.gid[0], p.groups, p.ngroups, err);
}

static int make_ranks(struct job *j, struct ckpti_err *err)
{
	int *pids = NULL, r = ckpti_mpirun_ranks(j->mpirun, &pids, &j->n, err);

	if (r < 0)
		return r;
	j->rank = calloc(j->n, sizeof(*j->rank));
	for (size_t i = 0; j->rank && i < j->n; i++)
		j->rank[i] = (struct rank){.pid = pids[i], .drive = -1, .result = -1};
	free(pids);
	return j->rank ? 0 : ckpti_err(err, -ENOMEM, "no memory for %zu ranks", j->n);
}

int ckpti_mpirun_create(const struct ckpti_cmd_opts *o, bool kill, ckpti_phase_f phase,
			void *phase_arg, struct ckpti_create_result *ret, struct ckpti_err *err)
{
	struct job j = {.o = o,
			.kill = kill,
			.mpirun = (int)o->target[0].id,
			.phase = phase,
			.phase_arg = phase_arg,
			.res = ret};
	struct ckpti_mpirun_record rec = {.generation = 0};
	uint64_t begun = ckpti_now_ns();
	int lock = -1, r;

	if (o->ntarget != 1)
		return ckpti_err(err, -ENOTSUP, "an mpirun is checkpointed alone");
	r = become_owner(&j, err);
	if (r == 0)
		r = make_ranks(&j, err);
	if (r == 0)
		r = describe(&j, &rec, err);
	if (r == 0 && !o->dryrun)
		r = lock = open_dir(o, &rec.generation, err);
	if (r >= 0)
		r = start_all(&j, err);
	if (r == 0 && !o->dryrun)
		r = drive(&j, &rec, err);
	for (size_t i = 0; r == 0 && o->dryrun && i < j.n; i++)
		r = reap(&j, i, err);
	if (r == 0 && o->dryrun)
		add_results(&j);
	if (r < 0)
		give_up(&j, err);
	else if (!o->dryrun)
		drop_old(o);
	if (r == 0 && kill && !o->dryrun)
		wait_for_mpirun(j.mpirun);
	ret->durable_ns = ckpti_now_ns() - begun;
	if (lock >= 0)
		(void)close(lock);
	free(j.rank);
	ckpti_mpirun_record_free(&rec);
	return r;
}
