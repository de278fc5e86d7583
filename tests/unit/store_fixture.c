/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "image_sample.h"

#define BIG_SIZE (3U << 20) /* more than one chunk */

int scratch_setup(void **state)
{
	struct scratch *s = calloc(1, sizeof(*s));
	const char *tmp = getenv("TMPDIR");

	if (!s)
		return -1;
	(void)snprintf(s->root, sizeof(s->root), "%s/ckpt-store-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(s->root))
		return -1;
	(void)snprintf(s->dir, sizeof(s->dir), "%.4000s/state", s->root);
	*state = s;
	return 0;
}

static void remove_tree(const char *path)
{
	char sub[PATH_MAX];
	struct dirent *de;
	DIR *d = opendir(path);

	while (d && (de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		(void)snprintf(sub, sizeof(sub), "%.3800s/%.255s", path, de->d_name);
		if (unlink(sub) < 0)
			remove_tree(sub);
	}
	if (d)
		(void)closedir(d);
	(void)rmdir(path);
}

int scratch_teardown(void **state)
{
	struct scratch *s = *state;

	remove_tree(s->root);
	free(s);
	return 0;
}

const char *in_dir(const struct scratch *s, const char *name)
{
	static char buf[2][PATH_MAX];
	static unsigned turn;
	char *p = buf[turn++ % 2];

	(void)snprintf(p, PATH_MAX, "%.3800s/%.255s", s->dir, name);
	return p;
}

static uint8_t byte_of(unsigned seed, uint32_t file, size_t at)
{
	return (uint8_t)(seed * 37 + file * 11 + at / 4096 * 7 + at % 251);
}

/* A data file of `size` bytes. */
static int write_data(struct ckpti_store *st, unsigned seed, uint32_t want_id, size_t size,
		      struct ckpti_err *err)
{
	uint8_t *buf = malloc(size);
	uint32_t id = 0;
	size_t i;
	ssize_t n;
	int fd, r;

	assert_non_null(buf);
	for (i = 0; i < size; i++)
		buf[i] = byte_of(seed, want_id, i);
	r = ckpti_store_datafile(st, size, &id, &fd, err);
	if (r == 0) {
		assert_int_equal(id, want_id);
		n = pwrite(fd, buf, size, 0);
		if (n < 0)
			r = ckpti_err(err, -errno, "pwrite");
		else if ((size_t)n < size)
			r = ckpti_err(err, -ENOSPC, "short pwrite");
	}
	if (r == 0)
		r = ckpti_store_datafile_done(st, id, size, err);
	free(buf);
	return r;
}

int begin_generation(const char *dir, unsigned flags, unsigned seed, int pin,
		     struct ckpti_store **ret, struct ckpti_image *img, struct ckpti_err *err)
{
	struct ckpti_r_extents x = {.owner_kind = CKPTI_OWN_CONTENT, .owner = 2};
	struct ckpti_e_extent e = {.len = BIG_SIZE, .datafile = 2};
	struct ckpti_r_content c = {.id = 2, .size = BIG_SIZE};
	struct ckpti_store *st = NULL;
	uint64_t hash[2] = {0, 0};
	struct stat sb = {0};
	char name[64] = "";
	int fd, r;

	ckpti_image_init(img);
	r = ckpti_store_open_write(dir, flags, &st, err);
	if (r == 0)
		r = write_data(st, seed, 1, SAMPLE_DATA_SIZE, err);
	if (r == 0)
		r = write_data(st, seed, 2, BIG_SIZE, err);
	if (r == 0) {
		fd = open("/bin/true", O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &sb), 0);
		r = ckpti_store_pin(st, fd, pin, hash, name, err);
		(void)close(fd);
	}
	if (r == 0) {
		sample_fill(img, 0, name, hash, (uint64_t)sb.st_size);
		assert_int_equal(ckpti_image_add(img, CKPTI_R_CONTENT, &c, sizeof(c), NULL, 0, NULL,
						 0, 0),
				 0);
		assert_int_equal(ckpti_image_add(img, CKPTI_R_EXTENTS, &x, sizeof(x), NULL, 0, &e,
						 sizeof(e), 1),
				 0);
		r = ckpti_store_hash(st, img, NULL, NULL, err);
	}
	if (r < 0) {
		ckpti_image_free(img);
		ckpti_store_close(st);
		return r;
	}
	*ret = st;
	return 0;
}

int commit_generation(struct ckpti_store *st, struct ckpti_image *img, unsigned keep,
		      struct ckpti_err *err)
{
	struct ckpti_header h = {.page_size = 4096, .uid = (uint32_t)geteuid()};
	int r = ckpti_store_commit(st, img, &h, keep, err);

	ckpti_image_free(img);
	ckpti_store_close(st);
	return r;
}

int write_generation(const char *dir, unsigned flags, unsigned seed, unsigned keep, int pin,
		     struct ckpti_err *err)
{
	struct ckpti_store *st = NULL;
	struct ckpti_image img;
	int r;

	memset(err, 0, sizeof(*err));
	r = begin_generation(dir, flags, seed, pin, &st, &img, err);
	return r < 0 ? r : commit_generation(st, &img, keep, err);
}

static int check_data(struct ckpti_store *st, const struct ckpti_image *img, unsigned seed,
		      uint32_t id, struct ckpti_err *err)
{
	struct ckpti_r_datafile d;
	struct ckpti_view v;
	uint8_t *buf;
	int fd, r = 0;
	size_t i;

	assert_int_equal(ckpti_image_find(img, CKPTI_R_DATAFILE, id, &v), 1);
	CKPTI_FIXED(&v, &d);
	fd = ckpti_store_open_file(st, ckpti_view_str(&v, 0), err);
	if (fd < 0)
		return fd;
	buf = malloc(d.size);
	assert_non_null(buf);
	assert_int_equal(pread(fd, buf, d.size, 0), (ssize_t)d.size);
	for (i = 0; i < d.size && r == 0; i++) {
		if (buf[i] != byte_of(seed, id, i))
			r = ckpti_err(err, -EILSEQ, "data file %u byte %zu", id, i);
	}
	free(buf);
	(void)close(fd);
	return r;
}

int check_loaded(struct ckpti_store *st, const struct ckpti_image *img, unsigned seed,
		 struct ckpti_err *err)
{
	int r = ckpti_store_verify(st, img, NULL, NULL, NULL, NULL, err);

	if (r == 0)
		r = check_data(st, img, seed, 1, err);
	if (r == 0)
		r = check_data(st, img, seed, 2, err);
	return r;
}

int check_generation(const char *dir, uint64_t gen, unsigned seed, struct ckpti_err *err)
{
	struct ckpti_store *st = NULL;
	struct ckpti_image img;
	int r;

	memset(err, 0, sizeof(*err));
	ckpti_image_init(&img);
	r = ckpti_store_open_read(dir, &st, err);
	if (r == 0)
		r = ckpti_store_load(st, gen, &img, err);
	if (r == 0)
		r = check_loaded(st, &img, seed, err);
	ckpti_image_free(&img);
	ckpti_store_close(st);
	return r;
}

unsigned count_files(const struct scratch *s, const char *prefix)
{
	struct dirent *de;
	DIR *d = opendir(s->dir);
	unsigned n = 0;

	while (d && (de = readdir(d)) != NULL)
		n += de->d_name[0] != '.' && strncmp(de->d_name, prefix, strlen(prefix)) == 0;
	if (d)
		(void)closedir(d);
	return n;
}

void flip_byte(const char *path, long at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t b;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 0x10;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	(void)close(fd);
}
