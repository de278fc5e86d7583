/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pins that several statefiles share: many processes of a parallel job run the same program, and each has
 * a statefile of its own.  A directory beside them holds one more hard link to each pin.
 *
 * There is no lock.  A name appears there complete and on disk, by link(), which the first of several
 * writers wins; whoever uses it makes a link of his own first and looks at that one.  A name whose
 * file has no other link is removed by anybody at a commit; who links it at that very moment keeps the
 * file, and only the next one makes a new copy.  Content never changes under a name.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/store_private.h"

int ckpti_store_share_pins(struct ckpti_store *st, const char *path, struct ckpti_err *err)
{
	int r = ckpti_store_open_dir(path, true, CKPTI_STORE_CREATE, &st->shared, err);

	if (r < 0)
		st->shared = NULL;
	else
		st->shared->created =
			false; /* it may be empty and stays, other writers have it open */
	return r;
}

bool ckpti_store_link_shared(struct ckpti_store *st, const char *name, off_t size, bool exec)
{
	struct stat sb = {0};
	bool fits;
	int fd;

	if (!st->shared)
		return false;
	(void)unlinkat(st->dirfd, PIN_TEMP, 0);
	if (linkat(st->shared->dirfd, name, st->dirfd, PIN_TEMP, 0) < 0)
		return false;
	fd = ckpti_store_open_ours(st, PIN_TEMP, O_RDONLY, &sb, NULL);
	if (fd >= 0)
		close(fd);
	fits = fd >= 0 && sb.st_size == size && (!exec || sb.st_mode & S_IXUSR) &&
	       ckpti_names_add(&st->pins, name) == 0 &&
	       renameat(st->dirfd, PIN_TEMP, st->dirfd, name) == 0;
	/* Still there when it did not fit, or when both names were of one file already. */
	(void)unlinkat(st->dirfd, PIN_TEMP, 0);
	return fits;
}

void ckpti_store_offer_shared(struct ckpti_store *st, const char *name, off_t size, bool exec)
{
	if (!st->shared || linkat(st->dirfd, name, st->shared->dirfd, name, 0) == 0)
		return;
	/* Another one was quicker: one copy is enough. */
	if (errno == EEXIST)
		(void)ckpti_store_link_shared(st, name, size, exec);
}

static int sweep_entry(struct ckpti_store *shared, const char *name, void *arg)
{
	uint64_t number;
	struct stat sb;

	(void)arg;
	if (ckpti_store_name(name, &number) == NAME_PIN &&
	    fstatat(shared->dirfd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(sb.st_mode) &&
	    sb.st_nlink == 1)
		(void)unlinkat(shared->dirfd, name, 0);
	return 0;
}

void ckpti_store_sweep_shared(struct ckpti_store *st)
{
	if (st->shared)
		(void)ckpti_store_each(st->shared, sweep_entry, NULL, NULL);
}
