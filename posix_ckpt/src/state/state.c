/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Helpers that all kinds of descriptors share: choosing the row, the common head of their records,
 * paths and small file operations.
 */
#include "state/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state/state_private.h"

/* What F_SETFL can change: man 2 fcntl. */
#define SETFL_FLAGS (O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK)

#define DELETED " (deleted)"

int ckpti_desc_err(const struct ckpti_desc *d, struct ckpti_err *err, int code, const char *fmt,
		   ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return ckpti_err_obj(err, code, d->pid, d->link, "descriptor %d ('%.100s') %s", d->num,
			     d->link, text);
}

/* ---- rows --------------------------------------------------------------------------------- */

int ckpti_fd_probe(struct ckpti_desc *d, struct ckpti_err *err)
{
	const char *what;

	/* Objects that look like regular files. */
	what = S_ISREG(d->st.st_mode) ? ckpti_refused_fs(d) : NULL;
	for (size_t i = 0; !what && ckpti_fd_kinds[i]; i++) {
		int r = ckpti_fd_kinds[i]->probe(d, err);

		if (r < 0)
			return r;
		if (r > 0) {
			d->kind = ckpti_fd_kinds[i];
			return 0;
		}
	}
	return ckpti_desc_err(d, err, -ENOTSUP, "is %s, which cannot be saved",
			      what ? what : ckpti_refused_name(d));
}

const struct ckpti_fd_kind *ckpti_fd_kind_by_type(uint32_t rec_type)
{
	for (size_t i = 0; ckpti_fd_kinds[i]; i++)
		if (ckpti_fd_kinds[i]->rec_type == rec_type)
			return ckpti_fd_kinds[i];
	return NULL;
}

static int compare_id(const void *key, const void *elem)
{
	uint32_t id = *(const uint32_t *)key;
	const struct ckpti_redesc *d = elem;

	return id < d->id ? -1 : id > d->id;
}

struct ckpti_redesc *ckpti_redesc_by_id(struct ckpti_rebuild *rb, uint32_t id)
{
	if (!rb->ndesc)
		return NULL;
	return bsearch(&id, rb->desc, rb->ndesc, sizeof(rb->desc[0]), compare_id);
}

/* ---- the common head of the records ------------------------------------------------------- */

/* The name that processes of the set have for a process or thread that is `id` in our /proc: the
 * last number of NSpid, its id in the innermost namespace.  A process group goes by its leader. */
static int32_t inner_id(int id)
{
	char path[64], line[256];
	int32_t inner = id;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", id);
	f = fopen(path, "re");
	if (!f)
		return inner;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "NSpid:", 6) == 0) {
			const char *last = strrchr(line, '\t');

			if (last)
				inner = (int32_t)strtol(last, NULL, 10);
			break;
		}
	}
	(void)fclose(f);
	return inner;
}

void ckpti_obj_head(const struct ckpti_desc *d, struct ckpti_obj *ret)
{
	struct f_owner_ex owner = {0};

	memset(ret, 0, sizeof(*ret));
	ret->id = d->id;
	ret->oflags = (uint32_t)d->oflags & ~(uint32_t)O_CLOEXEC;
	ret->dev = d->st.st_dev;
	ret->ino = d->st.st_ino;
	if (d->fd < 0 || (d->oflags & O_PATH))
		return;
	if (fcntl(d->fd, F_GETOWN_EX, &owner) == 0 && owner.pid != 0) {
		ret->owner = inner_id(owner.pid);
		ret->ownertype = (int32_t)owner.type;
	}
	ret->ownersig = fcntl(d->fd, F_GETSIG);
	if (ret->ownersig < 0)
		ret->ownersig = 0;
}

int ckpti_obj_apply(int fd, const struct ckpti_obj *o)
{
	int flags = (int)o->oflags & SETFL_FLAGS;

	if (o->oflags & O_PATH)
		return 0;
	if (fcntl(fd, F_SETFL, flags) < 0) {
		/* Both only tune the cache: a file system without them, or a file that now belongs to
		 * somebody else, gives the same data. */
		flags &= ~(O_DIRECT | O_NOATIME);
		if (fcntl(fd, F_SETFL, flags) < 0)
			return -errno;
	}
	if (o->ownersig && fcntl(fd, F_SETSIG, o->ownersig) < 0)
		return -errno;
	return 0;
}

int ckpti_obj_apply_at(int fd, const struct ckpti_obj *o, uint64_t pos)
{
	if (!(o->oflags & O_PATH) && lseek(fd, (off_t)pos, SEEK_SET) < 0)
		return -errno;
	return ckpti_obj_apply(fd, o);
}

int ckpti_obj_take(struct ckpti_redesc *d, int fd, const struct ckpti_obj *o, const char *what,
		   struct ckpti_err *err)
{
	int r = ckpti_obj_apply(fd, o);

	if (r < 0) {
		(void)close(fd);
		return ckpti_err(err, r, "cannot set the flags of %s: %s", what, strerror(-r));
	}
	d->fd = fd;
	return 0;
}

int ckpti_obj_attach(struct ckpti_rebuild *rb, struct ckpti_redesc *d, int pid,
		     struct ckpti_err *err)
{
	struct f_owner_ex owner = {0};
	struct ckpti_obj o;

	(void)rb;
	CKPTI_FIXED(&d->rec, &o);
	/* Only the owner itself may set it: the id could be a stranger's while the set is not yet
	 * complete, and SIGIO ends a process that does not expect it. */
	if (!o.owner || (o.oflags & O_PATH))
		return 0;
	if (o.ownertype == F_OWNER_PGRP ? o.owner != getpgrp() : o.owner != pid)
		return 0;
	owner.type = o.ownertype;
	owner.pid = o.owner;
	if (fcntl(d->fd, F_SETOWN_EX, &owner) < 0)
		return ckpti_err(err, -errno, "cannot make process %d the owner of object %u: %s",
				 pid, d->id, strerror(errno));
	return 0;
}

/* ---- paths -------------------------------------------------------------------------------- */

bool ckpti_desc_path(const struct ckpti_desc *d, char *out)
{
	size_t n = strlen(d->link), suffix = sizeof(DELETED) - 1;
	struct stat st;

	memcpy(out, d->link, n + 1);
	if (n <= suffix || strcmp(out + n - suffix, DELETED) != 0)
		return d->st.st_nlink == 0;
	/* A file may really be called that. */
	if (stat(out, &st) == 0 && st.st_dev == d->st.st_dev && st.st_ino == d->st.st_ino)
		return false;
	out[n - suffix] = '\0';
	return true;
}

bool ckpti_path_of_process(const char *path)
{
	return strncmp(path, "/proc/", 6) == 0 && path[6] >= '0' && path[6] <= '9';
}

const char *ckpti_relocate(const struct ckpti_rebuild *rb, const char *path, char *out)
{
	const struct ckpti_relocation *best = NULL;
	size_t best_len = 0;
	int n;

	/* The longest prefix wins, so that a directory and an exception below it can both be given. */
	for (size_t i = 0; i < rb->nreloc; i++) {
		const struct ckpti_relocation *r = &rb->reloc[i];
		size_t len = strlen(r->from);

		while (len > 0 && r->from[len - 1] == '/')
			len--;
		if (strncmp(path, r->from, len) != 0 || (path[len] != '/' && path[len] != '\0'))
			continue;
		if (best && len <= best_len)
			continue;
		best = r;
		best_len = len;
	}
	if (!best)
		return path;
	n = snprintf(out, PATH_MAX, "%s%s", best->to, path + best_len);
	return n < PATH_MAX ? out : ""; /* nobody can open "": better than a file nobody named */
}

static int make_below(const char *dir, size_t len, int (*make)(char *))
{
	static const char name[] = "/.ckpt-XXXXXX";
	char path[PATH_MAX];

	if (len + sizeof(name) > sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, dir, len);
	memcpy(path + len, name, sizeof(name));
	return make(path);
}

int ckpti_make_unnamed(const struct ckpti_store *store, const char *path, int (*make)(char *))
{
	const char *slash = strrchr(path, '/'), *dir;
	int fd = slash ? make_below(path, (size_t)(slash - path), make) : -ENOENT;

	if (fd >= 0)
		return fd;
	dir = ckpti_store_path(store);
	return make_below(dir, strlen(dir), make);
}

int ckpti_make_parents(const char *path)
{
	char dir[PATH_MAX];
	size_t n = strlen(path);

	if (n >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, path, n + 1);
	for (char *p = strchr(dir + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(dir, 0777) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return 0;
}

int ckpti_desc_pos(const struct ckpti_desc *d, uint64_t *ret, struct ckpti_err *err)
{
	off_t pos = d->oflags & O_PATH ? 0 : lseek(d->fd, 0, SEEK_CUR);

	if (pos < 0)
		return ckpti_desc_err(d, err, -errno, "has no readable position: %s",
				      strerror(errno));
	*ret = (uint64_t)pos;
	return 0;
}

const char *ckpti_fdinfo_field(const char *fdinfo, const char *key)
{
	size_t n = strlen(key);

	for (const char *line = fdinfo; line && *line;) {
		if (strncmp(line, key, n) == 0 && line[n] == ':') {
			line += n + 1;
			return line + strspn(line, " \t");
		}
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	return NULL;
}

/* ---- descriptors -------------------------------------------------------------------------- */

bool ckpti_oflags_read(uint32_t oflags)
{
	return (oflags & O_ACCMODE) != O_WRONLY;
}

bool ckpti_oflags_write(uint32_t oflags)
{
	return (oflags & O_ACCMODE) != O_RDONLY;
}

int ckpti_fd_reopen(int fd, int flags)
{
	char path[32];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = open(path, flags | O_CLOEXEC | O_NOCTTY);
	return r < 0 ? -errno : r;
}

/* Copy through memory.  A short file is -EIO: the caller has seen its size. */
static int copy_buffered(int in, uint64_t from, int out, uint64_t to, uint64_t len)
{
	size_t size = 1U << 20;
	int r = 0;
	char *buf = malloc(size);

	if (!buf)
		return -ENOMEM;
	while (len > 0) {
		ssize_t n = pread(in, buf, len < size ? len : size, (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			r = n < 0 ? -errno : -EIO;
			goto out;
		}
		r = ckpti_store_write_at(out, buf, (size_t)n, to);
		if (r < 0)
			goto out;
		from += (uint64_t)n;
		to += (uint64_t)n;
		len -= (uint64_t)n;
	}
out:
	free(buf);
	return r;
}

int ckpti_fd_copy(int in, uint64_t from, int out, uint64_t to, uint64_t len)
{
	/* The kernel shares blocks where the file system can; what it will not copy (across file
	 * systems, some pseudo files) goes through memory. */
	while (len > 0) {
		off_t a = (off_t)from, b = (off_t)to;
		ssize_t n = copy_file_range(in, &a, out, &b, len, 0);

		if (n <= 0)
			return copy_buffered(in, from, out, to, len);
		from += (uint64_t)n;
		to += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}
