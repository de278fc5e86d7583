/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a restart does about a regular file that may have changed since the checkpoint.  The rule: the
 * program finds what it left, or the restart is refused with the file's name before anything is
 * changed.  Never silently stale.
 *
 *   unchanged                           open it
 *   missing, content saved              make it anew
 *   changed, content saved, written     put the content back at the settle
 *   changed, content saved, only read   give the program a private copy, leave the file alone
 *   grown, written at its end only      cut the tail off at the settle
 *   anything else                       -ESTALE
 *
 * A policy of the user beats the table: MERGE, IGNORE and APPEND open the file as it is, SUBSTITUTE
 * gives a private copy, REPLACE puts the content back also when it was only read.
 *
 * "Written" is a matter of the file, not of the description: all that refer to one inode follow the
 * same plan.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ckpt.h"
#include "state/file_private.h"

#define NSEC 1000000000LL

bool ckpti_file_pseudo(const char *path)
{
	return strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0;
}

static int stale(const struct ckpti_file *f, struct ckpti_err *err, const char *what)
{
	return ckpti_err_obj(err, -ESTALE, 0, f->path,
			     "'%.200s' %s since the checkpoint, and its content was not saved; put "
			     "the file back (%" PRIu64 " bytes) or restart with --relocate",
			     f->path, what, f->rec.size);
}

/* How the set uses the inode of f: is it written, and if so only at its end? */
static void usage(const struct ckpti_rebuild *rb, const struct ckpti_file *f, bool *ret_written,
		  bool *ret_at_end)
{
	*ret_written = false;
	*ret_at_end = true;
	for (size_t i = 0; i < rb->ndesc; i++) {
		struct ckpti_r_obj_file o;

		if (rb->desc[i].rec.type != CKPTI_R_OBJ_FILE)
			continue;
		CKPTI_FIXED(&rb->desc[i].rec, &o);
		if (o.gone || o.o.dev != f->rec.o.dev || o.o.ino != f->rec.o.ino ||
		    !ckpti_oflags_write(o.o.oflags))
			continue;
		*ret_written = true;
		if (!(o.o.oflags & O_APPEND) &&
		    ((o.o.oflags & O_ACCMODE) != O_WRONLY || o.pos != o.size))
			*ret_at_end = false;
	}
}

/* Does the file still begin with the saved content?  1, 0 or -errno. */
static int compare(struct ckpti_rebuild *rb, const struct ckpti_file *f, struct ckpti_err *err)
{
	int fd, r;

	fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return ckpti_err_obj(err, -errno, 0, f->path, "cannot read '%.200s': %s", f->path,
				     strerror(errno));
	r = ckpti_content_equal(rb, (uint32_t)f->rec.content, fd, err);
	(void)close(fd);
	return r;
}

/* Everything the settle will do must be possible. */
static int plan_fit(struct ckpti_file *f, struct ckpti_err *err)
{
	if (faccessat(AT_FDCWD, f->path, R_OK | W_OK, AT_EACCESS) < 0)
		return ckpti_err_obj(
			err, -errno, 0, f->path,
			"'%.200s' changed since the checkpoint and cannot be put back: %s", f->path,
			strerror(errno));
	f->plan = CKPTI_FILE_FIT;
	return 0;
}

/* The file is there and its content was saved. */
static int plan_saved(struct ckpti_rebuild *rb, struct ckpti_file *f, const struct stat *st,
		      bool written, struct ckpti_err *err)
{
	int r = compare(rb, f, err);

	if (r < 0)
		return r;
	f->plan = CKPTI_FILE_OPEN;
	if (r == 1 && (uint64_t)st->st_size == f->rec.size)
		return 0;
	if (written || f->rec.policy == CKPT_FILE_REPLACE)
		return plan_fit(f, err);
	/* A file that others only add to is still the file the program was reading. */
	if (r == 0)
		f->plan = CKPTI_FILE_UNNAMED;
	return 0;
}

/* The file is there, but was too large to be saved: size, time and inode must tell. */
static int plan_unsaved(struct ckpti_file *f, const struct stat *st, bool written, bool at_end,
			struct ckpti_err *err)
{
	int64_t mtime = (int64_t)st->st_mtim.tv_sec * NSEC + st->st_mtim.tv_nsec;

	if ((uint64_t)st->st_size == f->rec.size && mtime == f->rec.mtime_ns) {
		f->plan = CKPTI_FILE_OPEN;
		return 0;
	}
	/* Another inode under the same name is a log that was rotated, not one that has grown. */
	if (written && at_end && (uint64_t)st->st_size >= f->rec.size &&
	    (f->relocated || st->st_ino == f->rec.o.ino))
		return plan_fit(f, err);
	return stale(f, err, "has changed");
}

static int plan_named(struct ckpti_rebuild *rb, struct ckpti_file *f, struct ckpti_err *err)
{
	bool written, at_end;
	struct stat st;

	usage(rb, f, &written, &at_end);
	if (rb->clone && !f->rec.included && ckpti_oflags_write(f->rec.o.oflags) && !f->relocated &&
	    f->rec.policy != CKPT_FILE_SUBSTITUTE)
		return ckpti_err_obj(
			err, -EEXIST, 0, f->path,
			"'%.200s' is open for writing: a clone needs a file of its own; "
			"restart with --relocate",
			f->path);
	if (stat(f->path, &st) < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			return ckpti_err_obj(err, -errno, 0, f->path, "cannot find '%.200s': %s",
					     f->path, strerror(errno));
		if (!f->rec.content)
			return stale(f, err, "has disappeared");
		f->plan = CKPTI_FILE_MAKE;
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return ckpti_err_obj(err, -ESTALE, 0, f->path,
				     "'%.200s' is no regular file any more", f->path);

	f->plan = CKPTI_FILE_OPEN;
	if (f->rec.included && rb->clone && !f->relocated)
		return 0;
	if (ckpti_file_pseudo(f->path) || (f->rec.o.oflags & O_PATH))
		return 0;
	if (f->rec.policy == CKPT_FILE_MERGE || f->rec.policy == CKPT_FILE_IGNORE ||
	    f->rec.policy == CKPT_FILE_APPEND)
		return 0;
	if (f->rec.policy == CKPT_FILE_SUBSTITUTE && f->rec.included)
		return 0;
	if (f->rec.policy == CKPT_FILE_SUBSTITUTE) {
		f->plan = CKPTI_FILE_UNNAMED;
		return f->rec.content ? 0
				      : ckpti_err_obj(err, -ENOTSUP, 0, f->path,
						      "'%.200s' is to be substituted, but its "
						      "content was not saved",
						      f->path);
	}
	if (f->rec.content)
		return plan_saved(rb, f, &st, written, err);
	return plan_unsaved(f, &st, written, at_end, err);
}

int ckpti_file_get(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_file **ret,
		   struct ckpti_err *err)
{
	const char *saved = ckpti_view_str(&d->rec, 0), *path;
	char buf[PATH_MAX];
	struct ckpti_file *f;
	int r = 0;

	if (d->priv) {
		*ret = d->priv;
		return 0;
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		return ckpti_err(err, -ENOMEM, "no memory");
	CKPTI_FIXED(&d->rec, &f->rec);
	path = ckpti_relocate(rb, saved, buf);
	if (strlen(path) >= sizeof(f->path)) {
		r = ckpti_err(err, -ENAMETOOLONG, "the path of object %u is too long", d->id);
		goto out;
	}
	memcpy(f->path, path, strlen(path) + 1);
	f->relocated = path != saved;
	if (!f->rec.gone) {
		r = plan_named(rb, f, err);
	} else if (f->rec.content) {
		f->plan = CKPTI_FILE_UNNAMED;
	} else {
		r = ckpti_err_obj(err, -EBADMSG, 0, f->path,
				  "'%.200s' was deleted, but the image lacks its content", f->path);
	}
	if (r < 0)
		goto out;
	d->priv = f;
	*ret = f;
	f = NULL;
out:
	free(f);
	return r;
}
