/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Removing a statefile directory: our files by their names and nothing else, generations first, so
 * that an interrupted removal never leaves a generation without its data.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/store_private.h"

struct removal {
	bool ours;   /* a lock file or a generation was seen */
	bool others; /* second pass: generations are gone */
	char foreign[NAME_SIZE];
	struct ckpti_err *err;
};

static int look(struct ckpti_store *st, const char *name, void *arg)
{
	struct removal *rm = arg;
	enum store_name kind;
	uint64_t number;

	(void)st;
	kind = ckpti_store_name(name, &number);
	if (kind == NAME_LOCK || kind == NAME_GEN)
		rm->ours = true;
	if (kind == NAME_FOREIGN)
		(void)snprintf(rm->foreign, sizeof(rm->foreign), "%s", name);
	return 0;
}

static int remove_entry(struct ckpti_store *st, const char *name, void *arg)
{
	struct removal *rm = arg;
	enum store_name kind;
	uint64_t number;

	kind = ckpti_store_name(name, &number);
	/* The lock goes last: until then no other writer may come in. */
	if (kind == NAME_FOREIGN || kind == NAME_LOCK || (kind == NAME_GEN) == rm->others)
		return 0;
	if (unlinkat(st->dirfd, name, 0) < 0 && errno != ENOENT)
		return ckpti_store_fail(st, rm->err, -errno, "remove", name);
	return 0;
}

int ckpti_store_remove(const char *path, struct ckpti_err *err)
{
	struct removal rm = {.err = err};
	struct ckpti_store *st = NULL;
	int r;

	r = ckpti_store_open_dir(path, true, 0, &st, err);
	if (r < 0 || !st)
		return r;
	r = ckpti_store_each(st, look, &rm, err);
	if (r < 0)
		goto out;
	if (!rm.ours) {
		r = ckpti_err(err, -ENODATA, "'%s' is not a statefile directory", st->path);
		goto out;
	}
	r = ckpti_store_lock_writer(st, err);
	if (r < 0)
		goto out;
	/* A restart that is loading gets what it has chosen. */
	r = ckpti_store_lock_list(st, true);
	if (r < 0) {
		r = ckpti_err(err, r, "'%s' is being read by a restart", st->path);
		goto out;
	}
	r = ckpti_store_each(st, remove_entry, &rm, err);
	if (r < 0)
		goto out;
	(void)fsync(st->dirfd);
	rm.others = true;
	r = ckpti_store_each(st, remove_entry, &rm, err);
	if (r < 0)
		goto out;
	if (unlinkat(st->dirfd, LOCK_FILE, 0) < 0 && errno != ENOENT) {
		r = ckpti_store_fail(st, err, -errno, "remove", LOCK_FILE);
		goto out;
	}
	if (rm.foreign[0])
		r = ckpti_err(err, -ENOTEMPTY, "'%s' is left: it holds other files ('%s')",
			      st->path, rm.foreign);
	else if (unlinkat(st->parentfd, st->base, AT_REMOVEDIR) < 0)
		r = ckpti_err(err, -errno, "cannot remove the directory '%s': %s", st->path,
			      strerrordesc_np(errno));
out:
	ckpti_store_close(st);
	return r;
}
