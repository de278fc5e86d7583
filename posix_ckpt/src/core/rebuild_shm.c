/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects of shared memory: made once in the builder, inherited by the processes that map them.  A
 * file that is still there keeps its content until the point of no return; what it holds then and is
 * not what the image says is kept beside it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/life.h"
#include "state/state_private.h"

#define CHUNK (256U << 10)

static int failed(struct ckpti_err *err, const struct ckpti_life_shm *s, const char *what, int r)
{
	return ckpti_err_obj(err, r, 0, s->name, "%s: %s", what, strerror(-r));
}

/* Write the saved content to fd, an empty object of the right size. */
static int fill(const struct ckpti_life *life, const struct ckpti_life_shm *s, int fd,
		struct ckpti_err *err)
{
	struct ckpti_view v;
	size_t pos = 0;

	while (ckpti_image_next(&life->img, &pos, &v)) {
		struct ckpti_r_extents head;

		if (v.type != CKPTI_R_EXTENTS)
			continue;
		CKPTI_FIXED(&v, &head);
		if (head.owner_kind != CKPTI_OWN_SHM || head.owner != s->rec.id)
			continue;
		for (uint64_t i = 0; i < v.count; i++) {
			struct ckpti_e_extent e;
			int r;

			CKPTI_ELEM(&v, i, &e);
			if (e.addr >= s->rec.size)
				continue;
			if (e.len > s->rec.size - e.addr)
				e.len = s->rec.size - e.addr;
			r = ckpti_fd_copy(ckpti_life_data_fd(life, e.datafile), e.off, fd, e.addr,
					  e.len);
			if (r < 0)
				return failed(err, s, "cannot restore shared memory", r);
		}
	}
	return 0;
}

static int new_memory(const struct ckpti_life_shm *s)
{
	const char *name = s->rec.kind == CKPTI_SHM_MEMFD ? s->name : "shared";
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	return fd < 0 ? -errno : fd;
}

/* fd of the file; sets s->existed.  -errno. */
static int open_file(struct ckpti_life *life, struct ckpti_life_shm *s)
{
	char path[PATH_MAX];
	const char *name = ckpti_relocate(&life->rb, s->name, path);
	int fd = open(name, O_RDWR | O_CLOEXEC);

	if (fd < 0 && (errno == EACCES || errno == EROFS))
		fd = open(name, O_RDONLY | O_CLOEXEC); /* mapped for reading only */
	s->existed = fd >= 0;
	if (fd < 0 && errno == ENOENT && ckpti_make_parents(name) == 0)
		fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

int ckpti_shm_make(struct ckpti_life *life, struct ckpti_life_shm *s, struct ckpti_err *err)
{
	bool file = s->rec.kind == CKPTI_SHM_FILE && !life->rb.clone;

	s->fd = file ? open_file(life, s) : new_memory(s);
	if (s->fd < 0)
		return failed(err, s, "cannot make shared memory", s->fd);
	if (s->existed)
		return 0;
	if (s->rec.mode)
		(void)fchmod(s->fd, s->rec.mode);
	if (ftruncate(s->fd, (off_t)s->rec.size) < 0)
		return failed(err, s, "cannot make shared memory", -errno);
	return fill(life, s, s->fd, err);
}

/* 1 equal, 0 not, -errno. */
static int same_content(int a, int b, uint64_t size)
{
	uint8_t *buf = malloc(2UL * CHUNK);
	int r = buf ? 1 : -ENOMEM;

	for (uint64_t off = 0; r == 1 && off < size;) {
		ssize_t n = pread(a, buf, CHUNK, (off_t)off);
		ssize_t m = pread(b, buf + CHUNK, CHUNK, (off_t)off);

		if (n < 0 || m < 0)
			r = -errno;
		else if (n == 0 || n != m || memcmp(buf, buf + CHUNK, (size_t)n) != 0)
			r = 0;
		off += (uint64_t)(n > 0 ? n : 0);
	}
	free(buf);
	return r;
}

/* A file that was there gets its content back; the inode stays, for it is mapped already. */
static int put_back(struct ckpti_life *life, struct ckpti_life_shm *s, struct ckpti_err *err)
{
	struct stat st;
	int want, r;

	want = memfd_create("content", MFD_CLOEXEC);
	if (want < 0 || ftruncate(want, (off_t)s->rec.size) < 0 || fstat(s->fd, &st) < 0) {
		r = failed(err, s, "cannot restore its content", -errno);
		goto out;
	}
	r = fill(life, s, want, err);
	if (r == 0)
		r = (uint64_t)st.st_size == s->rec.size ? same_content(want, s->fd, s->rec.size)
							: 0;
	if (r != 0) {
		if (r < 0)
			(void)failed(err, s, "cannot restore its content", r);
		r = r < 0 ? r : 0;
		goto out;
	}
	/* What lies in /dev/shm dies with the machine anyway; anything else may be the user's data. */
	if (strncmp(s->name, "/dev/shm/", 9) != 0)
		r = ckpti_file_keep(&life->rb, s->name, s->fd, &st, err);
	if (r == 0)
		r = ckpti_fd_copy(want, 0, s->fd, 0, s->rec.size);
	if (r == 0 && ftruncate(s->fd, (off_t)s->rec.size) < 0)
		r = -errno;
	if (r < 0)
		(void)failed(err, s, "cannot restore its content", r);
out:
	if (want >= 0)
		(void)close(want);
	return r;
}

int ckpti_shm_settle(struct ckpti_life *life, struct ckpti_life_shm *s, struct ckpti_err *err)
{
	if (!s->existed) {
		if (s->rec.seals)
			(void)fcntl(s->fd, F_ADD_SEALS, s->rec.seals);
		return 0;
	}
	if (s->rec.mode)
		(void)fchmod(s->fd, s->rec.mode);
	return (fcntl(s->fd, F_GETFL) & O_ACCMODE) == O_RDWR ? put_back(life, s, err) : 0;
}

int ckpti_shm_fd(struct ckpti_rebuild *rb, uint32_t id)
{
	struct ckpti_life *life = (void *)((char *)rb - offsetof(struct ckpti_life, rb));

	for (size_t i = 0; i < life->nshm; i++)
		if (life->shm[i].rec.id == id)
			return life->shm[i].fd;
	return -ENOENT;
}
