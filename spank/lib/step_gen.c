/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Generations of a step: commit, choice of one to restart from, and what they need.
 *
 * A manifest appears with its final name when it is complete and on disk, and is never changed
 * after that.  That a part is there is judged by its file in the task's directory: name, owner,
 * size and the hash of its header.  The rest is checked where it is read, by the restart.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/format.h"
#include "spank/lib/fs.h"
#include "spank/lib/step_private.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- commit ------------------------------------------------------------------------------- */

static void gen_name(uint64_t generation, char ret[32])
{
	(void)snprintf(ret, 32, GEN_PREFIX "%" PRIu64, generation);
}

/* The number may have been that of a generation that was removed since. */
static int forget_rejection(struct ckpti_step *st, uint64_t generation)
{
	struct ckpti_kv old, new;
	char key[32];
	int r;

	gen_name(generation, key);
	r = ckpti_fs_read_kv(st->dirfd, REJECTED_FILE, &old);
	if (r < 0 || !ckpti_kv_get(&old, key, NULL)) {
		ckpti_kv_free(&old);
		return r == -ENOENT || r == -EBADMSG ? 0 : r;
	}
	ckpti_kv_init(&new);
	for (size_t i = 0; i < old.n; i++) {
		if (strcmp(old.pair[i].key, key) != 0)
			ckpti_kv_set(&new, old.pair[i].key, old.pair[i].value);
	}
	r = ckpti_fs_write_kv(st->dirfd, REJECTED_FILE, &new, true);
	ckpti_kv_free(&new);
	ckpti_kv_free(&old);
	return r;
}

struct life {
	int dirfd; /* of the step */
	uint32_t epoch;
};

/* A life that is over must not add anything its successor does not know of. */
static int check_life(const void *arg)
{
	const struct life *l = arg;
	int r = ckpti_step_superseded(l->dirfd, l->epoch);

	return r > 0 ? -ESTALE : r;
}

int ckpti_step_commit(struct ckpti_step *st, const struct ckpti_manifest *m, struct ckpti_err *err)
{
	const struct life life = {.dirfd = st->dirfd, .epoch = m->epoch};
	char *text = NULL, name[32];
	size_t len;
	int r;

	gen_name(m->generation, name);
	r = check_life(&life);
	if (r == 0)
		r = forget_rejection(st, m->generation);
	if (r == 0)
		r = ckpti_manifest_write(m, &text, &len);
	if (r == 0)
		r = ckpti_fs_write_if(st->dirfd, name, text, len, false, check_life, &life);
	free(text);
	if (r == -ESTALE)
		return ckpti_err(err, r, "'%s' has been restarted elsewhere", st->path);
	return r < 0 ? ckpti_step_fail(st, err, r, "write", name) : 0;
}

/* ---- reading ------------------------------------------------------------------------------ */

size_t ckpti_step_list(const struct ckpti_step *st, uint64_t *ret, size_t max)
{
	uint64_t *gen;
	size_t n;

	if (ckpti_step_numbers(st->dirfd, GEN_PREFIX, &gen, &n) < 0)
		return 0;
	if (max > 0)
		memcpy(ret, gen, (n < max ? n : max) * sizeof(*gen));
	free(gen);
	return n;
}

int ckpti_step_read_manifest(const struct ckpti_step *st, uint64_t generation,
			     struct ckpti_manifest *ret)
{
	char *text, name[32];
	size_t len;
	int r;

	gen_name(generation, name);
	r = ckpti_fs_read(st->dirfd, name, MAX_MANIFEST, &text, &len);
	if (r < 0)
		return r;
	r = ckpti_manifest_parse(ret, text, len);
	free(text);
	if (r == 0 && (ret->generation != generation || ret->ntasks != st->id.ntasks)) {
		ckpti_manifest_free(ret);
		r = -EBADMSG;
	}
	return r;
}

/* Is generation `gen` in this statefile directory of cpr, as far as its header tells? */
static int check_part(int taskfd, uint64_t gen)
{
	struct ckpti_header h;
	uint64_t hash;
	char name[32];
	off_t size;
	ssize_t n;
	int fd;

	(void)snprintf(name, sizeof(name), "gen-%08" PRIu64, gen);
	fd = ckpti_fs_open_file(taskfd, name, &size);
	if (fd == -ENOENT) {
		/* Of an mpirun: the statefiles of its ranks are named in there, cpr looks at them. */
		(void)snprintf(name, sizeof(name), "mpirun-%08" PRIu64, gen);
		fd = ckpti_fs_open_file(taskfd, name, &size);
		if (fd >= 0) {
			close(fd);
			return 0;
		}
	}
	if (fd < 0)
		return fd;
	n = read(fd, &h, sizeof(h));
	close(fd);
	if (n != (ssize_t)sizeof(h) || memcmp(h.magic, CKPTI_MAGIC, sizeof(h.magic)) != 0)
		return -EBADMSG;
	/* Of a later release: nothing more can be said here, cpr will tell. */
	if (h.version != CKPTI_VERSION || h.header_size != sizeof(h))
		return 0;
	hash = h.header_hash;
	h.header_hash = 0;
	if (XXH3_64bits(&h, sizeof(h)) != hash || h.total_size != (uint64_t)size ||
	    h.generation != gen)
		return -EBADMSG;
	return 0;
}

/* *ret_name: of the directory that the error is about. */
static int check_parts(const struct ckpti_step *st, const struct ckpti_manifest *m,
		       char ret_name[64])
{
	char task[32];
	int lifefd, taskfd, r = 0;

	(void)snprintf(ret_name, 64, LIFE_PREFIX "%" PRIu32, m->epoch);
	lifefd = ckpti_fs_open_dir(st->dirfd, ret_name);
	if (lifefd < 0)
		return lifefd;
	for (uint32_t i = 0; r == 0 && i < m->ntasks; i++) {
		if (m->task[i].state != CKPTI_TASK_LIVE)
			continue;
		(void)snprintf(task, sizeof(task), TASK_PREFIX "%" PRIu32, i);
		taskfd = ckpti_fs_open_dir(lifefd, task);
		r = taskfd < 0 ? taskfd : check_part(taskfd, m->task[i].generation);
		if (taskfd >= 0)
			close(taskfd);
		if (r < 0)
			(void)snprintf(ret_name, 64, LIFE_PREFIX "%" PRIu32 "/%s", m->epoch, task);
	}
	close(lifefd);
	return r;
}

bool ckpti_step_rejected(const struct ckpti_kv *rejected, uint64_t generation)
{
	char key[32];

	gen_name(generation, key);
	return ckpti_kv_get(rejected, key, NULL) != NULL;
}

static int load_one(const struct ckpti_step *st, uint64_t generation, struct ckpti_manifest *ret,
		    struct ckpti_err *err)
{
	char name[64];
	int r;

	gen_name(generation, name);
	r = ckpti_step_read_manifest(st, generation, ret);
	if (r < 0)
		return ckpti_step_fail(st, err, r, "use", name);
	r = check_parts(st, ret, name);
	if (r < 0) {
		(void)ckpti_err(err, r, "generation %" PRIu64 " in '%s' is not complete: '%s': %s",
				generation, st->path, name,
				r == -EBADMSG ? "damaged" : strerrordesc_np(-r));
		ckpti_manifest_free(ret);
	}
	return r;
}

/* Only what is broken is passed over.  A generation that is good but not for us (newer format,
 * another owner, an I/O error) must not be replaced by an older one behind the user's back. */
static bool damaged(int r)
{
	return r == -EBADMSG || r == -ENOENT || r == -EFBIG || r == -ENODATA;
}

int ckpti_step_load(const struct ckpti_step *st, uint64_t generation, struct ckpti_manifest *ret,
		    unsigned *ret_skipped, struct ckpti_err *err)
{
	struct ckpti_err first = {0}, again;
	struct ckpti_kv rejected;
	uint64_t *gen;
	size_t n;
	int r;

	*ret = (struct ckpti_manifest){0};
	*ret_skipped = 0;
	if (generation != 0)
		return load_one(st, generation, ret, err);
	r = ckpti_step_numbers(st->dirfd, GEN_PREFIX, &gen, &n);
	if (r < 0)
		return ckpti_step_fail(st, err, r, "list", ".");
	(void)ckpti_fs_read_kv(st->dirfd, REJECTED_FILE, &rejected);
	r = -ENODATA;
	while (damaged(r) && n > 0) {
		again = (struct ckpti_err){0};
		if (ckpti_step_rejected(&rejected, gen[--n]))
			r = ckpti_err(&again, -ENODATA,
				      "generation %" PRIu64
				      " in '%s' could not be restarted before",
				      gen[n], st->path);
		else
			r = load_one(st, gen[n], ret, &again);
		/* The cause to tell is that of the newest. */
		if (r < 0 && (*ret_skipped)++ == 0)
			first = again;
	}
	if (r < 0 && err && !err->code) {
		if (first.code)
			*err = first;
		else
			r = ckpti_err(err, -ENODATA, "'%s' holds no complete checkpoint", st->path);
	}
	ckpti_kv_free(&rejected);
	free(gen);
	return r;
}

int ckpti_step_reject(struct ckpti_step *st, uint64_t generation, const char *why)
{
	struct ckpti_kv rejected;
	char key[32];
	int r;

	r = ckpti_fs_read_kv(st->dirfd, REJECTED_FILE, &rejected);
	/* A damaged list says nothing; the new one is at least right for this generation. */
	if (r < 0 && r != -ENOENT && r != -EBADMSG)
		return r;
	gen_name(generation, key);
	ckpti_kv_set(&rejected, key, why);
	r = ckpti_fs_write_kv(st->dirfd, REJECTED_FILE, &rejected, true);
	ckpti_kv_free(&rejected);
	return r;
}

int ckpti_step_held(const struct ckpti_step *st, uint32_t epoch, uint32_t rank, uint64_t **ret,
		    size_t *ret_n)
{
	struct ckpti_manifest m;
	size_t n = 0, held = 0;
	uint64_t *gen;
	int r;

	*ret = NULL;
	*ret_n = 0;
	r = ckpti_step_numbers(st->dirfd, GEN_PREFIX, &gen, &n);
	if (r < 0)
		return r;
	/* What is held takes the places of what has been read. */
	for (size_t i = 0; i < n; i++) {
		r = ckpti_step_read_manifest(st, gen[i], &m);
		if (damaged(r))
			continue;
		if (r < 0) {
			free(gen);
			return r;
		}
		if (m.epoch == epoch && rank < m.ntasks && m.task[rank].state == CKPTI_TASK_LIVE)
			gen[held++] = m.task[rank].generation;
		ckpti_manifest_free(&m);
	}
	*ret = gen;
	*ret_n = held;
	return 0;
}

/* ---- small files -------------------------------------------------------------------------- */

int ckpti_step_read_file(const struct ckpti_step *st, const char *name, struct ckpti_kv *ret)
{
	return ckpti_fs_read_kv(st->dirfd, name, ret);
}

int ckpti_step_write_file(struct ckpti_step *st, const char *name, const struct ckpti_kv *kv,
			  struct ckpti_err *err)
{
	int r = ckpti_fs_write_kv(st->dirfd, name, kv, true);

	return r < 0 ? ckpti_step_fail(st, err, r, "write", name) : 0;
}
