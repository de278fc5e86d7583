/* SPDX-License-Identifier: BSD-3-Clause */
#include "state_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "state/kinds.h"

#define DATAFILE "data-00000001"

/* ---- the store's part --------------------------------------------------------------------- */

struct ckpti_store {
	const char *path;
};

static struct ckpti_store store;

const char *ckpti_store_path(const struct ckpti_store *st)
{
	return st->path;
}

int ckpti_store_open_file(struct ckpti_store *st, const char *name, struct ckpti_err *err)
{
	char path[PATH_MAX];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", st->path, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? ckpti_err(err, -errno, "cannot open '%s'", path) : fd;
}

/* ---- files -------------------------------------------------------------------------------- */

const char *t_path(struct t_state *t, const char *name)
{
	static char buf[8][PATH_MAX];
	static unsigned next;
	char *p = buf[next++ % 8];

	(void)snprintf(p, PATH_MAX, "%s/%s", t->dir, name);
	return p;
}

static void put(const char *path, int flags, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
}

void t_write(const char *path, const char *text)
{
	put(path, O_TRUNC, text);
}

void t_append(const char *path, const char *text)
{
	put(path, O_APPEND, text);
}

void t_expect_content(const char *path, const char *text)
{
	char buf[4096];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail_msg("'%s' cannot be opened: %s", path, strerror(errno));
	n = read(fd, buf, sizeof(buf) - 1);
	assert_true(n >= 0);
	buf[n] = '\0';
	(void)close(fd);
	assert_string_equal(buf, text);
}

bool t_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

int t_count_files(struct t_state *t)
{
	DIR *dir = opendir(t->dir);
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static void remove_tree(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		char sub[PATH_MAX];

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name) >= (int)sizeof(sub))
			continue;
		if (unlink(sub) < 0 && errno == EISDIR)
			remove_tree(sub);
	}
	if (dir)
		(void)closedir(dir);
	(void)rmdir(path);
}

/* ---- saving ------------------------------------------------------------------------------- */

static uint32_t lookup(const struct ckpti_capture *cap, int pid, int num)
{
	for (size_t i = 0; i < cap->ndesc; i++)
		if (cap->desc[i].pid == pid && cap->desc[i].num == num)
			return cap->desc[i].id;
	return 0;
}

int t_state_setup(void **state)
{
	struct t_state *t = calloc(1, sizeof(*t));
	struct ckpti_r_machine machine = {.page_size = CKPTI_PAGE};
	/* A process without memory or threads; locks refer to it. */
	struct ckpti_r_proc proc = {.pid = getpid(), .state = CKPTI_PROC_ZOMBIE};
	const char *strs[5] = {"", "", "", "", ""};
	struct ckpti_r_set set = {0};
	char *cwd = getcwd(NULL, 0);

	assert_non_null(t);
	assert_non_null(cwd);
	/* Not /tmp: on tmpfs the limit for saved content does not apply. */
	(void)snprintf(t->dir, sizeof(t->dir), "%s/state-XXXXXX", cwd);
	free(cwd);
	assert_non_null(mkdtemp(t->dir));
	assert_int_equal(mkdir(t_path(t, "store"), 0700), 0);
	store.path = strdup(t_path(t, "store"));

	ckpti_image_init(&t->saved);
	assert_int_equal(
		ckpti_image_add(&t->saved, CKPTI_R_SET, &set, sizeof(set), strs, 2, NULL, 0, 0), 0);
	assert_int_equal(ckpti_image_add(&t->saved, CKPTI_R_MACHINE, &machine, sizeof(machine),
					 strs, 3, NULL, 0, 0),
			 0);
	assert_int_equal(ckpti_image_add(&t->saved, CKPTI_R_PROC, &proc, sizeof(proc), strs, 5,
					 NULL, 0, 0),
			 0);
	t->cap.img = &t->saved;
	t->cap.store = &store;
	t->cap.desc = t->desc;
	t->cap.copy_limit = 1U << 20;
	t->cap.content_file = 1;
	t->cap.content_fd =
		open(t_path(t, "store/" DATAFILE), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(t->cap.content_fd >= 0);
	t->cap.lookup = lookup;
	t->locks = ckpti_locks_new();
	assert_non_null(t->locks);
	*state = t;
	return 0;
}

/* Oracles read fdinfo and the link themselves where it matters; here they are the input. */
int t_add_as(struct t_state *t, int fd, int num)
{
	struct ckpti_desc *d = &t->desc[t->cap.ndesc];
	char path[64];
	ssize_t n;
	FILE *f;

	assert_true(t->cap.ndesc < T_MAX);
	memset(d, 0, sizeof(*d));
	d->id = (uint32_t)t->cap.ndesc + 1;
	d->pid = d->image_pid = getpid();
	d->num = num;
	d->oflags = fcntl(fd, F_GETFL);
	assert_int_equal(fstat(fd, &d->st), 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, d->link, sizeof(d->link) - 1);
	assert_true(n > 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	assert_non_null(f);
	d->fdinfo = calloc(1, 4096);
	assert_non_null(d->fdinfo);
	assert_true(fread(d->fdinfo, 1, 4095, f) > 0);
	(void)fclose(f);
	d->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	assert_true(d->fd >= 0);
	t->cap.ndesc++;
	return ckpti_fd_probe(d, &t->err);
}

int t_add(struct t_state *t, int fd)
{
	int r = t_add_as(t, fd, fd);

	if (r < 0)
		fail_msg("probe: %s", t->err.text);
	return 0;
}

void t_drop(struct t_state *t)
{
	for (size_t i = 0; i < t->cap.ndesc; i++) {
		if (t->desc[i].fd >= 0)
			(void)close(t->desc[i].fd);
		free(t->desc[i].fdinfo);
		free(t->desc[i].priv);
	}
	t->cap.ndesc = 0;
}

/* The hashes that the store fills in. */
static void fill_hashes(struct t_state *t)
{
	struct ckpti_view v;
	size_t pos = 0;

	while (ckpti_image_next(&t->saved, &pos, &v)) {
		if (v.type != CKPTI_R_EXTENTS)
			continue;
		for (uint64_t i = 0; i < v.count; i++) {
			struct ckpti_e_extent *e = (struct ckpti_e_extent *)(uintptr_t)v.array + i;
			uint8_t *buf = malloc(e->len);

			assert_non_null(buf);
			assert_int_equal(pread(t->cap.content_fd, buf, e->len, (off_t)e->off),
					 e->len);
			e->hash = ckpti_hash64(buf, e->len);
			free(buf);
		}
	}
}

int t_save(struct t_state *t)
{
	struct ckpti_r_datafile file = {.id = 1};
	const char *str[1] = {DATAFILE};

	for (size_t i = 0; i < t->cap.ndesc; i++) {
		struct ckpti_desc *d = &t->desc[i];
		int r = d->kind->save(&t->cap, d, &t->err);

		if (r == 0)
			r = ckpti_locks_save(t->locks, d->image_pid, d->num, d->id, d->fdinfo,
					     &t->err);
		if (r < 0)
			return r;
	}
	assert_int_equal(ckpti_locks_record(t->locks, &t->saved), 0);
	file.size = t->cap.content_end;
	assert_int_equal(ftruncate(t->cap.content_fd, (off_t)file.size), 0);
	assert_int_equal(ckpti_image_add(&t->saved, CKPTI_R_DATAFILE, &file, sizeof(file), str, 1,
					 NULL, 0, 0),
			 0);
	fill_hashes(t);
	return 0;
}

/* ---- restoring ---------------------------------------------------------------------------- */

/* Shared memory as the core would rebuild it: its content only. */
static int shm_fd(struct ckpti_rebuild *rb, uint32_t shm)
{
	static int fd = -1;
	static uint32_t made;
	struct ckpti_r_shm rec;
	struct ckpti_view v;
	size_t pos = 0;

	if (fd >= 0 && made == shm)
		return fd;
	if (!ckpti_image_find(rb->img, CKPTI_R_SHM, shm, &v))
		return -ENOENT;
	CKPTI_FIXED(&v, &rec);
	fd = memfd_create(ckpti_view_str(&v, 0), MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)rec.size), 0);
	while (ckpti_image_next(rb->img, &pos, &v)) {
		struct ckpti_r_extents x;

		CKPTI_FIXED(&v, &x);
		for (uint64_t i = 0; v.type == CKPTI_R_EXTENTS && i < v.count; i++) {
			struct ckpti_e_extent e;
			char *buf;
			int in;

			if (x.owner_kind != CKPTI_OWN_SHM || x.owner != shm)
				continue;
			CKPTI_ELEM(&v, i, &e);
			buf = malloc(e.len);
			in = ckpti_store_open_file(rb->store, DATAFILE, NULL);
			assert_int_equal(pread(in, buf, e.len, (off_t)e.off), e.len);
			assert_int_equal(pwrite(fd, buf, e.len, (off_t)e.addr), e.len);
			(void)close(in);
			free(buf);
		}
	}
	made = shm;
	return fd;
}

void t_reload(struct t_state *t)
{
	struct ckpti_header hdr = {.generation = T_GENERATION, .page_size = CKPTI_PAGE};
	struct ckpti_view v;
	uint8_t *buf;
	size_t pos = 0;

	ckpti_image_seal(&t->saved, &hdr);
	buf = malloc(t->saved.len);
	assert_non_null(buf);
	memcpy(buf, t->saved.buf, t->saved.len);
	if (ckpti_image_parse(&t->img, buf, t->saved.len, &t->err) < 0)
		fail_msg("parse: %s", t->err.text);
	t->rb.img = &t->img;
	t->rb.store = &store;
	t->rb.desc = t->redesc;
	t->rb.generation = T_GENERATION;
	t->rb.shm_fd = shm_fd;
	while (ckpti_image_next(&t->img, &pos, &v)) {
		struct ckpti_redesc *d = &t->redesc[t->rb.ndesc];
		struct ckpti_obj o;

		if (!ckpti_rec_is_obj(v.type))
			continue;
		CKPTI_FIXED(&v, &o);
		d->id = o.id;
		d->rec = v;
		d->kind = ckpti_fd_kind_by_type(v.type);
		assert_non_null(d->kind);
		d->fd = -1;
		t->rb.ndesc++;
	}
	/* The originals are gone in the next life. */
	for (size_t i = 0; i < t->cap.ndesc; i++) {
		(void)close(t->desc[i].fd);
		t->desc[i].fd = -1;
	}
}

typedef int (*step_f)(struct ckpti_rebuild *, struct ckpti_redesc *, struct ckpti_err *);

static int step(struct t_state *t, size_t offset)
{
	for (size_t i = 0; i < t->rb.ndesc; i++) {
		step_f fn;
		int r;

		memcpy(&fn, (const char *)t->redesc[i].kind + offset, sizeof(fn));
		r = fn ? fn(&t->rb, &t->redesc[i], &t->err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int t_check(struct t_state *t)
{
	return step(t, offsetof(struct ckpti_fd_kind, check));
}

int t_restore(struct t_state *t)
{
	int r = t_check(t);

	if (r == 0)
		r = step(t, offsetof(struct ckpti_fd_kind, restore));
	if (r == 0)
		r = step(t, offsetof(struct ckpti_fd_kind, finish));
	return r == 0 ? ckpti_locks_restore(&t->rb, &t->err) : r;
}

int t_settle(struct t_state *t)
{
	return step(t, offsetof(struct ckpti_fd_kind, settle));
}

void t_forget(struct t_state *t)
{
	for (size_t i = 0; i < t->rb.ndesc; i++) {
		if (t->redesc[i].fd >= 0)
			(void)close(t->redesc[i].fd);
		t->redesc[i].fd = -1;
		free(t->redesc[i].priv);
		t->redesc[i].priv = NULL;
	}
	memset(&t->err, 0, sizeof(t->err));
}

int t_fd(struct t_state *t, unsigned n)
{
	const struct ckpti_redesc *d = ckpti_redesc_by_id(&t->rb, n + 1);

	assert_non_null(d);
	assert_true(d->fd >= 0);
	return d->fd;
}

int t_state_teardown(void **state)
{
	struct t_state *t = *state;

	t_forget(t);
	t_drop(t);
	(void)close(t->cap.content_fd);
	ckpti_locks_free(t->locks);
	ckpti_image_free(&t->saved);
	ckpti_image_free(&t->img);
	remove_tree(t->dir);
	free((void *)(uintptr_t)store.path);
	free(t);
	return 0;
}
