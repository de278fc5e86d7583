/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors of shared memory: memfds, and files on tmpfs that are also mapped.  The object itself is
 * a SHM record; the core has added those of everything that is mapped before descriptors are saved.
 * A memfd that nobody maps gets its record here.  At a restart the core rebuilds the objects and each
 * description is a new open of one.
 *
 * file.c hands files over to .save of this row when their inode has a SHM record.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/state_private.h"

#define PREFIX "/memfd:"
#define NSEC   1000000000LL

/* SHM ids of objects that are not mapped; the core counts its own from 1. */
#define OWN_IDS 0x40000000U

/* linux/memfd.h of Debian 12 does not have it yet. */
#define SEAL_EXEC  0x0020
#define MFD_NOEXEC 0x0008U
#define HUGE_SHIFT 26

static int memfd_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	(void)err;
	return S_ISREG(d->st.st_mode) && strncmp(d->link, PREFIX, sizeof(PREFIX) - 1) == 0;
}

uint32_t ckpti_shm_of(const struct ckpti_capture *cap, uint64_t dev, uint64_t ino)
{
	struct ckpti_view v;
	size_t pos = 0;

	while (ckpti_image_next(cap->img, &pos, &v)) {
		struct ckpti_r_shm shm;

		if (v.type != CKPTI_R_SHM)
			continue;
		CKPTI_FIXED(&v, &shm);
		if (shm.dev == dev && shm.ino == ino)
			return shm.id;
	}
	return 0;
}

static uint32_t creation_flags(int fd, uint32_t seals)
{
	uint32_t flags = 0;
	struct statfs fs;

	/* Without MFD_ALLOW_SEALING the kernel sets just F_SEAL_SEAL. */
	if (seals != F_SEAL_SEAL)
		flags |= MFD_ALLOW_SEALING;
	if (seals & SEAL_EXEC)
		flags |= MFD_NOEXEC;
	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
		flags |= MFD_HUGETLB | (uint32_t)__builtin_ctzl((unsigned long)fs.f_bsize)
					       << HUGE_SHIFT;
	return flags;
}

/* The record and content of a memfd that is mapped nowhere. */
static int save_object(struct ckpti_capture *cap, const struct ckpti_desc *d, uint32_t *ret_id,
		       struct ckpti_err *err)
{
	struct ckpti_r_shm rec = {.id = OWN_IDS + d->id, .kind = CKPTI_SHM_MEMFD};
	const char *str[1];
	char path[PATH_MAX];
	struct stat st;
	int seals, r;

	if (fstat(d->fd, &st) < 0)
		return -errno;
	seals = fcntl(d->fd, F_GET_SEALS);
	if (seals < 0)
		return -errno;
	(void)ckpti_desc_path(d, path);
	str[0] = path + sizeof(PREFIX) - 1;
	rec.dev = st.st_dev;
	rec.ino = st.st_ino;
	rec.size = (uint64_t)st.st_size;
	rec.mode = st.st_mode & 07777;
	rec.seals = (uint32_t)seals;
	rec.memfd_flags = creation_flags(d->fd, rec.seals);
	rec.uid = st.st_uid;
	rec.gid = st.st_gid;
	rec.mtime_ns = (int64_t)st.st_mtim.tv_sec * NSEC + st.st_mtim.tv_nsec;
	r = ckpti_image_add(cap->img, CKPTI_R_SHM, &rec, sizeof(rec), str, 1, NULL, 0, 0);
	if (r == 0)
		r = ckpti_extents_save(cap, d->fd, rec.size, CKPTI_OWN_SHM, rec.id, err);
	if (r == 0)
		*ret_id = rec.id;
	return r;
}

static int memfd_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_memfd rec = {0};
	int r;

	r = ckpti_desc_pos(d, &rec.pos, err);
	if (r < 0)
		return r;
	d->kind = &ckpti_kind_memfd;
	ckpti_obj_head(d, &rec.o);
	rec.shm = ckpti_shm_of(cap, d->st.st_dev, d->st.st_ino);
	if (!rec.shm)
		r = save_object(cap, d, &rec.shm, err);
	if (r == 0)
		r = ckpti_image_add(cap->img, CKPTI_R_OBJ_MEMFD, &rec, sizeof(rec), NULL, 0, NULL,
				    0, 0);
	return r < 0 ? ckpti_desc_err(d, err, r, "cannot be saved: %s", strerror(-r)) : 0;
}

static int memfd_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_memfd rec;
	int fd, r;

	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	fd = rb->shm_fd(rb, rec.shm);
	if (fd < 0)
		return ckpti_err(err, fd, "shared memory %u was not rebuilt: %s", rec.shm,
				 strerror(-fd));
	fd = ckpti_fd_reopen(fd, (int)rec.o.oflags & (O_ACCMODE | O_PATH));
	if (fd < 0)
		return ckpti_err(err, fd, "cannot open shared memory %u: %s", rec.shm,
				 strerror(-fd));
	r = ckpti_obj_apply_at(fd, &rec.o, rec.pos);
	if (r < 0) {
		(void)close(fd);
		return ckpti_err(err, r, "cannot set up shared memory %u: %s", rec.shm,
				 strerror(-r));
	}
	d->fd = fd;
	return 0;
}

const struct ckpti_fd_kind ckpti_kind_memfd = {
	.name = "memfd",
	.rec_type = CKPTI_R_OBJ_MEMFD,
	.probe = memfd_probe,
	.save = memfd_save,
	.restore = memfd_restore,
	.attach = ckpti_obj_attach,
};
