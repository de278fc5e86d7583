/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects of the set: checks that change nothing, then in the builder the open file descriptions,
 * shared memory and file locks, each made once and inherited by the processes that had it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/life.h"
#include "core/procfs.h"
#include "state/state_private.h"

static int oom(struct ckpti_err *err)
{
	return ckpti_err(err, -ENOMEM, "out of memory");
}

/* ---- loading what the image says into tables ---------------------------------------------- */

static int collect(struct ckpti_life *life, struct ckpti_err *err)
{
	struct ckpti_rebuild *rb = &life->rb;
	struct ckpti_view v;
	size_t pos = 0, n = life->img.nrecords;

	life->proc = calloc(n, sizeof(*life->proc));
	life->data = calloc(n, sizeof(*life->data));
	life->shm = calloc(n, sizeof(*life->shm));
	life->pin = calloc(n, sizeof(*life->pin));
	rb->desc = calloc(n, sizeof(*rb->desc));
	if (!life->proc || !life->data || !life->shm || !life->pin || !rb->desc)
		return oom(err);
	while (ckpti_image_next(&life->img, &pos, &v)) {
		struct ckpti_r_datafile df;
		struct ckpti_obj o;

		switch (v.type) {
		case CKPTI_R_SET:
			CKPTI_FIXED(&v, &life->set);
			break;
		case CKPTI_R_PROC:
			CKPTI_FIXED(&v, &life->proc[life->nproc]);
			life->nlive += life->proc[life->nproc++].state == CKPTI_PROC_LIVE;
			break;
		case CKPTI_R_DATAFILE:
			CKPTI_FIXED(&v, &df);
			life->data[life->ndata].id = df.id;
			life->data[life->ndata++].fd = -1;
			break;
		case CKPTI_R_SHM:
			CKPTI_FIXED(&v, &life->shm[life->nshm].rec);
			life->shm[life->nshm].name = ckpti_view_str(&v, 0);
			life->shm[life->nshm++].fd = -1;
			break;
		case CKPTI_R_MAPFILE:
			CKPTI_FIXED(&v, &life->pin[life->npin++].rec);
			break;
		default:
			if (!ckpti_rec_is_obj(v.type))
				break;
			CKPTI_FIXED(&v, &o);
			rb->desc[rb->ndesc].id = o.id;
			rb->desc[rb->ndesc].rec = v;
			rb->desc[rb->ndesc].kind = ckpti_fd_kind_by_type(v.type);
			if (!rb->desc[rb->ndesc].kind)
				return ckpti_err(err, -EBADMSG, "unknown object %u in the image",
						 o.id);
			rb->desc[rb->ndesc++].fd = -1;
		}
	}
	return 0;
}

/* ---- mapped files ------------------------------------------------------------------------- */

static int hash_file(int fd, uint64_t ret[2])
{
	struct ckpti_hasher *h = ckpti_hasher_new();
	uint8_t *buf = malloc(1U << 20);
	ssize_t n = -1;

	while (h && buf && (n = read(fd, buf, 1U << 20)) > 0)
		ckpti_hasher_update(h, buf, (size_t)n);
	free(buf);
	ckpti_hasher_free(h, ret);
	return n < 0 ? -EIO : 0;
}

/* Is the file at path still the one that was mapped?  By identity and time, else by content. */
static bool same_file(const char *path, const struct ckpti_r_mapfile *rec)
{
	uint64_t hash[2] = {0, 0};
	struct stat st;
	bool same;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	same = fstat(fd, &st) == 0 && (uint64_t)st.st_size == rec->size;
	if (same && (st.st_ino != rec->ino ||
		     st.st_mtim.tv_sec * 1000000000L + st.st_mtim.tv_nsec != rec->mtime_ns))
		same = (rec->hash[0] || rec->hash[1]) && hash_file(fd, hash) == 0 &&
		       hash[0] == rec->hash[0] && hash[1] == rec->hash[1];
	(void)close(fd);
	return same;
}

static int find_pins(struct ckpti_life *life, struct ckpti_err *err)
{
	struct ckpti_view v;
	size_t pos = 0, i = 0;

	while (ckpti_image_next(&life->img, &pos, &v)) {
		struct ckpti_life_pin *pin = &life->pin[i];
		char path[PATH_MAX], stored[PATH_MAX + 80];
		const char *found;

		if (v.type != CKPTI_R_MAPFILE)
			continue;
		i++;
		found = ckpti_relocate(&life->rb, ckpti_view_str(&v, 0), path);
		if (!same_file(found, &pin->rec)) {
			const char *copy = ckpti_view_str(&v, 1);

			(void)snprintf(stored, sizeof(stored), "%s/%s",
				       ckpti_store_path(life->store), copy);
			if (!*copy || access(stored, R_OK) < 0)
				return ckpti_err_obj(err, -ESTALE, 0, found,
						     "the mapped file has changed since the "
						     "checkpoint and no copy was stored");
			found = stored;
		}
		pin->path = strdup(found);
		if (!pin->path)
			return oom(err);
	}
	return 0;
}

static struct ckpti_life *life_of(struct ckpti_rebuild *rb)
{
	return (void *)((char *)rb - offsetof(struct ckpti_life, rb));
}

static bool is_aborted(struct ckpti_rebuild *rb, struct ckpti_err *err)
{
	return ckpti_tree_aborted(life_of(rb), err);
}

static int pid_now(const struct ckpti_rebuild *rb, int pid)
{
	const struct ckpti_life *life =
		(const void *)((const char *)rb - offsetof(struct ckpti_life, rb));

	for (size_t i = 0; i < life->nproc; i++)
		if (life->proc[i].pid == pid)
			return life->build->slot[i].pid;
	return 0;
}

static void note(struct ckpti_rebuild *rb, const char *text)
{
	const struct ckpti_restart_req *req = life_of(rb)->req;

	if (req->note)
		req->note(req->started_arg, text);
}

int ckpti_life_check(struct ckpti_life *life, struct ckpti_err *err)
{
	struct ckpti_rebuild *rb = &life->rb;
	struct ckpti_view v;
	size_t pos = 0;
	int r;

	rb->img = &life->img;
	rb->store = life->store;
	rb->clone = life->req->clone;
	rb->reloc = life->req->reloc;
	rb->nreloc = life->req->nreloc;
	rb->launch = life->req->launch;
	rb->aborted = is_aborted;
	rb->pid_now = pid_now;
	rb->note = note;
	r = collect(life, err);
	rb->generation = life->set.generation;
	if (r == 0)
		r = find_pins(life, err);
	for (size_t i = 0; r == 0 && i < rb->ndesc; i++)
		if (rb->desc[i].kind->check)
			r = rb->desc[i].kind->check(rb, &rb->desc[i], err);
	while (r == 0 && ckpti_image_next(&life->img, &pos, &v)) {
		struct ckpti_r_proc p;
		struct stat st;

		if (v.type != CKPTI_R_PROC)
			continue;
		CKPTI_FIXED(&v, &p);
		if (p.state == CKPTI_PROC_ZOMBIE)
			continue;
		if (!life->req->ignore_rdir && strcmp(ckpti_view_str(&v, 3), "/") != 0)
			return ckpti_err_obj(err, -ENOTSUP, p.pid, ckpti_view_str(&v, 3),
					     "a changed root directory cannot be restored");
		if (!life->req->ignore_cdir && !ckpti_tree_cwd_removed(ckpti_view_str(&v, 2)) &&
		    (stat(ckpti_view_str(&v, 2), &st) < 0 || !S_ISDIR(st.st_mode)))
			return ckpti_err_obj(err, -ESTALE, p.pid, ckpti_view_str(&v, 2),
					     "its working directory is gone");
		if (p.uid[0] != getuid() || p.gid[0] != getgid())
			return ckpti_err_obj(err, -EPERM, p.pid, ckpti_view_str(&v, 0),
					     "ran as user %u, group %u", p.uid[0], p.gid[0]);
	}
	return r;
}

/* ---- descriptors -------------------------------------------------------------------------- */

/* Three pipes, and what a kind may have open beside its description for a moment. */
#define SPARE_NUMBERS 64

/* Move fd to the first free number from *next on. */
static int move_up(int *fd, int *next, struct ckpti_err *err)
{
	int n;

	if (*fd < 0)
		return 0;
	if (*fd == *next) {
		(*next)++;
		return 0;
	}
	n = fcntl(*fd, F_DUPFD_CLOEXEC, *next);
	if (n < 0)
		return ckpti_err(err, -errno,
				 "too few descriptors to rebuild the processes (ulimit -n): %s",
				 strerror(errno));
	(void)close(*fd);
	*fd = n;
	if (n >= *next)
		*next = n + 1;
	return 0;
}

static int by_value(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* The numbers that the restored processes need, and those that we have open ourselves, sorted. */
static int taken_numbers(const struct ckpti_life *life, int **ret, size_t *ret_n)
{
	struct ckpti_view v;
	size_t pos = 0, n = 0;
	int *list = NULL, r;

	r = ckpti_procfs_numbers("/proc/self/fd", &list, &n);
	while (r == 0 && ckpti_image_next(&life->img, &pos, &v)) {
		int *bigger;

		if (v.type != CKPTI_R_FDS)
			continue;
		bigger = realloc(list, (n + v.count + 1) * sizeof(*list));
		if (!bigger) {
			r = -ENOMEM;
			break;
		}
		list = bigger;
		for (uint64_t i = 0; i < v.count; i++) {
			struct ckpti_e_fd e;

			CKPTI_ELEM(&v, i, &e);
			list[n++] = e.fd;
		}
	}
	if (r < 0) {
		free(list);
		return r;
	}
	qsort(list, n, sizeof(*list), by_value);
	*ret = list;
	*ret_n = n;
	return 0;
}

/* The first gap of `need` numbers that nobody takes.  A program may use the highest number that its
 * limit allows, so there need not be any room above.  Number or -errno. */
static int find_gap(const struct ckpti_life *life, int need)
{
	int *taken = NULL;
	size_t n = 0;
	int first = STDERR_FILENO + 1;
	int r = taken_numbers(life, &taken, &n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n && taken[i] < first + need; i++)
		if (taken[i] >= first)
			first = taken[i] + 1;
	free(taken);
	return first;
}

int ckpti_life_data_fd(const struct ckpti_life *life, uint32_t id)
{
	for (size_t i = 0; i < life->ndata; i++)
		if (life->data[i].id == id)
			return life->data[i].fd;
	return -1;
}

/* One by one: opened files must not use up the numbers that they are to have. */
static int open_data(struct ckpti_life *life, int *next, struct ckpti_err *err)
{
	struct ckpti_view v;
	size_t pos = 0, i = 0;
	int r = 0;

	while (r == 0 && ckpti_image_next(&life->img, &pos, &v)) {
		if (v.type != CKPTI_R_DATAFILE)
			continue;
		life->data[i].fd = ckpti_store_open_file(life->store, ckpti_view_str(&v, 0), err);
		if (life->data[i].fd < 0)
			return life->data[i].fd;
		r = move_up(&life->data[i++].fd, next, err);
	}
	return r;
}

/* What lives on through the exec must not be closed by it. */
static void keep_open(const struct ckpti_life *life)
{
	for (int fd = life->keep_first; fd < life->desc_first; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			(void)fcntl(fd, F_SETFD, 0);
}

static int make_pipes(struct ckpti_life *life, int *next, struct ckpti_err *err)
{
	int *const pair[] = {life->ready, life->go, life->fail};
	int r = 0;

	for (int i = 0; i < 3; i++) {
		if (pair[i] != life->go && pipe2(pair[i], O_CLOEXEC) < 0)
			return ckpti_err(err, -errno, "cannot make a pipe: %s", strerror(errno));
		for (int k = 0; r == 0 && k < 2; k++)
			r = move_up(&pair[i][k], next, err);
	}
	return r;
}

int ckpti_life_objects(struct ckpti_life *life, struct ckpti_err *err)
{
	struct ckpti_rebuild *rb = &life->rb;
	struct rlimit lim;
	int next, need, r;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &lim);
	}
	rb->shm_fd = ckpti_shm_fd;
	need = (int)(life->ndata + life->nshm) + SPARE_NUMBERS;
	for (size_t i = 0; i < rb->ndesc; i++)
		need += !ckpti_redesc_is_included(&rb->desc[i]);
	next = find_gap(life, need);
	if (next < 0)
		return oom(err);
	life->keep_first = next;
	life->desc_end = next + need;
	r = open_data(life, &next, err);
	for (size_t i = 0; r == 0 && i < life->nshm; i++) {
		r = ckpti_shm_make(life, &life->shm[i], err);
		if (r == 0)
			r = move_up(&life->shm[i].fd, &next, err);
	}
	life->keep_last = next - 1;
	if (r == 0)
		r = make_pipes(life, &next, err);
	life->desc_first = next;
	keep_open(life);
	for (size_t i = 0; r == 0 && i < rb->ndesc; i++)
		r = rb->desc[i].kind->restore(rb, &rb->desc[i], err);
	for (size_t i = 0; r == 0 && i < rb->ndesc; i++)
		if (rb->desc[i].kind->finish)
			r = rb->desc[i].kind->finish(rb, &rb->desc[i], err);
	for (size_t i = 0; r == 0 && i < rb->ndesc; i++)
		if (rb->desc[i].fd < life->desc_first || rb->desc[i].fd >= life->desc_end)
			r = move_up(&rb->desc[i].fd, &next, err);
	return r < 0 ? r : ckpti_locks_restore(rb, err);
}

int ckpti_life_settle(struct ckpti_life *life, struct ckpti_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < life->nshm; i++)
		r = ckpti_shm_settle(life, &life->shm[i], err);
	for (size_t i = 0; r == 0 && i < life->rb.ndesc; i++)
		if (life->rb.desc[i].kind->settle)
			r = life->rb.desc[i].kind->settle(&life->rb, &life->rb.desc[i], err);
	return r;
}

void ckpti_life_close_objects(struct ckpti_life *life)
{
	for (int fd = life->keep_first; fd < life->desc_first; fd++)
		if (fd != life->ready[0] && fd != life->go[1] && fd != life->fail[0])
			(void)close(fd);
	for (size_t i = 0; i < life->rb.ndesc; i++)
		if (life->rb.desc[i].fd >= 0)
			(void)close(life->rb.desc[i].fd);
}
