/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The statefile directory in ordinary life: generations, sharing and recycling of files, locks,
 * damage, permissions, removal.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "store_fixture.h"

#define NEW   CKPTI_STORE_CREATE
#define AGAIN (CKPTI_STORE_CREATE | CKPTI_STORE_FORCE)

#define NOBODY 65534

static void ok(int r, const struct ckpti_err *err)
{
	if (r != 0)
		print_error("%d: %s\n", r, err->text);
	assert_int_equal(r, 0);
}

static void refused(int r, int want, const struct ckpti_err *err, const char *text)
{
	assert_int_equal(r, want);
	assert_int_equal(err->code, want);
	if (!strstr(err->text, text))
		print_error("\"%s\" is not about \"%s\"\n", err->text, text);
	assert_non_null(strstr(err->text, text));
	assert_null(strchr(err->text, '\n'));
}

static mode_t mode_of(const char *path)
{
	struct stat sb;

	assert_int_equal(lstat(path, &sb), 0);
	return sb.st_mode & 07777;
}

static ino_t inode_of(const char *path)
{
	struct stat sb;

	return stat(path, &sb) == 0 ? sb.st_ino : 0;
}

/* ---- generations -------------------------------------------------------------------------- */

static void test_store_round_trip(void **state)
{
	struct scratch *s = *state;
	struct ckpti_err err;

	ok(write_generation(s->dir, NEW, 1, 1, 1, &err), &err);
	ok(check_generation(s->dir, 0, 1, &err), &err);
	assert_int_equal(mode_of(s->dir), 0700);
	assert_int_equal(mode_of(in_dir(s, "gen-00000001")), 0600);
	assert_int_equal(mode_of(in_dir(s, "data-00000001")), 0600);
	assert_int_equal(count_files(s, "pin-"), 1);
	assert_int_equal(count_files(s, "gen.tmp"), 0);
	/* The oracle can fail: other content is noticed. */
	assert_int_equal(check_generation(s->dir, 0, 2, &err), -EILSEQ);
}

static void test_store_existing_checkpoint_needs_force(void **state)
{
	struct scratch *s = *state;
	struct ckpti_err err;

	ok(write_generation(s->dir, NEW, 1, 1, 0, &err), &err);
	refused(write_generation(s->dir, NEW, 2, 1, 0, &err), -EEXIST, &err, "already");
	ok(check_generation(s->dir, 0, 1, &err), &err);
	ok(write_generation(s->dir, AGAIN, 2, 1, 0, &err), &err);
	ok(check_generation(s->dir, 2, 2, &err), &err);
	assert_int_equal(count_files(s, "gen-"), 1);
}

static void test_store_missing_and_empty(void **state)
{
	struct scratch *s = *state;
	struct ckpti_store *st;
	struct ckpti_err err = {0};

	refused(ckpti_store_open_read(s->dir, &st, &err), -ENOENT, &err, s->dir);
	memset(&err, 0, sizeof(err));
	refused(ckpti_store_open_write(s->dir, 0, &st, &err), -ENOENT, &err, s->dir);
	memset(&err, 0, sizeof(err));
	assert_int_equal(mkdir(s->dir, 0700), 0);
	refused(ckpti_store_open_read(s->dir, &st, &err), -ENODATA, &err, s->dir);
}

static void test_store_given_up_write_leaves_nothing(void **state)
{
	struct scratch *s = *state;
	struct ckpti_store *st;
	struct ckpti_image img;
	struct ckpti_err err = {0};

	ok(begin_generation(s->dir, NEW, 1, 1, &st, &img, &err), &err);
	ckpti_image_free(&img);
	ckpti_store_close(st);
	assert_int_equal(access(s->dir, F_OK), -1);

	ok(write_generation(s->dir, NEW, 1, 1, 0, &err), &err);
	ok(begin_generation(s->dir, AGAIN, 2, 1, &st, &img, &err), &err);
	ckpti_image_free(&img);
	ckpti_store_close(st);
	assert_int_equal(count_files(s, "data-"), 2);
	assert_int_equal(count_files(s, "pin-"), 0);
	ok(check_generation(s->dir, 0, 1, &err), &err);
}

static void test_store_keeps_as_many_as_asked(void **state)
{
	struct scratch *s = *state;
	struct ckpti_store *st = NULL;
	struct ckpti_err err;
	uint64_t gens[8];
	unsigned i;

	for (i = 1; i <= 5; i++)
		ok(write_generation(s->dir, AGAIN, i, 2, 1, &err), &err);
	ok(ckpti_store_open_read(s->dir, &st, &err), &err);
	assert_int_equal(ckpti_store_list(st, gens, 8), 2);
	assert_int_equal(gens[0], 4);
	assert_int_equal(gens[1], 5);
	assert_int_equal(ckpti_store_newest(st), 5);
	ckpti_store_close(st);
	ok(check_generation(s->dir, 4, 4, &err), &err);
	ok(check_generation(s->dir, 5, 5, &err), &err);
	refused(check_generation(s->dir, 3, 3, &err), -ENODATA, &err, "generation 3");
	/* Two generations of two files, and as many spare ones as a generation has. */
	assert_int_equal(count_files(s, "data-"), 6);
	assert_int_equal(count_files(s, "pin-"), 1);
}

/* ---- recycling and locks ------------------------------------------------------------------ */

static void test_store_spare_files_are_recycled(void **state)
{
	struct scratch *s = *state;
	struct ckpti_err err;
	ino_t one, two;

	ok(write_generation(s->dir, NEW, 1, 1, 0, &err), &err);
	one = inode_of(in_dir(s, "data-00000001"));
	two = inode_of(in_dir(s, "data-00000002"));
	ok(write_generation(s->dir, AGAIN, 2, 1, 0, &err), &err);
	/* Not yet: while generation 2 was written, 1 was the last good one. */
	assert_int_equal(count_files(s, "data-"), 4);
	ok(write_generation(s->dir, AGAIN, 3, 1, 0, &err), &err);
	assert_int_equal(count_files(s, "data-"), 4);
	ok(check_generation(s->dir, 3, 3, &err), &err);
	assert_int_equal(inode_of(in_dir(s, "data-00000001")), one);
	assert_int_equal(inode_of(in_dir(s, "data-00000002")), two);
	assert_int_equal(count_files(s, "data-00000005"), 0);
}

static void test_store_reader_pins_its_files(void **state)
{
	struct scratch *s = *state;
	struct ckpti_store *reader = NULL;
	struct ckpti_image img;
	struct ckpti_err err;
	unsigned i;

	ok(write_generation(s->dir, NEW, 1, 1, 1, &err), &err);
	ckpti_image_init(&img);
	ok(ckpti_store_open_read(s->dir, &reader, &err), &err);
	ok(ckpti_store_load(reader, 0, &img, &err), &err);
	/* Writers come and go; what the reader has is not touched. */
	for (i = 2; i <= 5; i++)
		ok(write_generation(s->dir, AGAIN, i, 1, 0, &err), &err);
	memset(&err, 0, sizeof(err));
	ok(check_loaded(reader, &img, 1, &err), &err);
	ckpti_image_free(&img);
	ckpti_store_close(reader);
	ok(check_generation(s->dir, 5, 5, &err), &err);
}

static void test_store_lock_lives_in_a_descriptor(void **state)
{
	struct scratch *s = *state;
	struct ckpti_store *reader = NULL;
	struct ckpti_image img;
	struct ckpti_err err;
	uint8_t before, after;
	int fd;

	/* As a lazy restart does it: the store is closed, a descriptor stays. */
	ok(write_generation(s->dir, NEW, 1, 1, 0, &err), &err);
	ckpti_image_init(&img);
	ok(ckpti_store_open_read(s->dir, &reader, &err), &err);
	ok(ckpti_store_load(reader, 0, &img, &err), &err);
	fd = ckpti_store_open_file(reader, "data-00000002", &err);
	assert_true(fd >= 0);
	ckpti_image_free(&img);
	ckpti_store_close(reader);
	assert_int_equal(pread(fd, &before, 1, 5000), 1);
	ok(write_generation(s->dir, AGAIN, 2, 1, 0, &err), &err);
	ok(write_generation(s->dir, AGAIN, 3, 1, 0, &err), &err);
	assert_int_equal(pread(fd, &after, 1, 5000), 1);
	assert_int_equal(before, after);
	(void)close(fd);
}

static void test_store_hard_links_are_not_recycled(void **state)
{
	struct scratch *s = *state;
	struct ckpti_err err;
	char copy[PATH_MAX];
	uint8_t b, c;
	int fd;

	ok(write_generation(s->dir, NEW, 1, 1, 0, &err), &err);
	(void)snprintf(copy, sizeof(copy), "%.4000s/backup", s->root);
	assert_int_equal(link(in_dir(s, "data-00000002"), copy), 0);
	fd = open(copy, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, 0), 1);
	ok(write_generation(s->dir, AGAIN, 2, 1, 0, &err), &err);
	ok(write_generation(s->dir, AGAIN, 3, 1, 0, &err), &err);
	assert_int_equal(pread(fd, &c, 1, 0), 1);
	assert_int_equal(b, c);
	(void)close(fd);
}

static void test_store_one_writer_at_a_time(void **state)
{
	struct scratch *s = *state;
	struct ckpti_store *st, *second;
	struct ckpti_image img;
	struct ckpti_err err = {0};

	ok(write_generation(s->dir, NEW, 1, 1, 0, &err), &err);
	ok(begin_generation(s->dir, AGAIN, 2, 0, &st, &img, &err), &err);
	refused(ckpti_store_open_write(s->dir, AGAIN, &second, &err), -EBUSY, &err, "in use");
	memset(&err, 0, sizeof(err));
	refused(ckpti_store_remove(s->dir, &err), -EBUSY, &err, "in use");
	/* A restart is not in the way, nor has it to wait. */
	ok(check_generation(s->dir, 0, 1, &err), &err);
	ok(commit_generation(st, &img, 1, &err), &err);
	ok(check_generation(s->dir, 0, 2, &err), &err);
}

/* ---- damage ------------------------------------------------------------------------------- */

static void test_store_damage_is_found(void **state)
{
	struct scratch *s = *state;
	struct ckpti_err err;
	char name[300];
	FILE *ls;

	ok(write_generation(s->dir, NEW, 1, 1, 1, &err), &err);
	flip_byte(in_dir(s, "data-00000002"), 2500000);
	refused(check_generation(s->dir, 0, 1, &err), -EBADMSG, &err, "data-00000002");
	flip_byte(in_dir(s, "data-00000002"), 2500000);
	flip_byte(in_dir(s, "gen-00000001"), 1000);
	refused(check_generation(s->dir, 0, 1, &err), -EBADMSG, &err, "hash");
	assert_non_null(strstr(err.object, "gen-00000001"));
	flip_byte(in_dir(s, "gen-00000001"), 1000);

	(void)snprintf(name, sizeof(name), "cd '%.200s' && echo pin-*", s->dir);
	ls = popen(name, "re");
	assert_non_null(ls);
	assert_int_equal(fscanf(ls, "%63s", name), 1);
	(void)pclose(ls);
	flip_byte(in_dir(s, name), 100);
	refused(check_generation(s->dir, 0, 1, &err), -EBADMSG, &err, name);
	flip_byte(in_dir(s, name), 100);
	ok(check_generation(s->dir, 0, 1, &err), &err);

	assert_int_equal(truncate(in_dir(s, "data-00000001"), 16383), 0);
	refused(check_generation(s->dir, 0, 1, &err), -EBADMSG, &err, "data-00000001");
	assert_int_equal(unlink(in_dir(s, "data-00000001")), 0);
	refused(check_generation(s->dir, 0, 1, &err), -EBADMSG, &err, "data-00000001");
}

static void test_store_falls_back_to_last_good(void **state)
{
	struct scratch *s = *state;
	struct ckpti_err err;

	ok(write_generation(s->dir, AGAIN, 1, 3, 0, &err), &err);
	ok(write_generation(s->dir, AGAIN, 2, 3, 0, &err), &err);
	ok(write_generation(s->dir, AGAIN, 3, 3, 0, &err), &err);
	flip_byte(in_dir(s, "gen-00000003"), 500);
	ok(check_generation(s->dir, 0, 2, &err), &err);
	refused(check_generation(s->dir, 3, 3, &err), -EBADMSG, &err, "damaged");
	assert_int_equal(unlink(in_dir(s, "data-00000003")), 0);
	ok(check_generation(s->dir, 0, 1, &err), &err);
	/* The damaged one does not count among those to keep, and no good one is lost to it. */
	ok(write_generation(s->dir, AGAIN, 4, 2, 0, &err), &err);
	ok(check_generation(s->dir, 0, 4, &err), &err);
	assert_int_equal(access(in_dir(s, "gen-00000003"), F_OK), -1);
}

/* A generation of a later release: not read, not replaced by an older one, and no file is removed
 * that it may need. */
static void test_store_newer_format_is_left_alone(void **state)
{
	struct scratch *s = *state;
	struct ckpti_header h;
	struct ckpti_err err;
	int fd;

	ok(write_generation(s->dir, AGAIN, 1, 2, 0, &err), &err);
	ok(write_generation(s->dir, AGAIN, 2, 2, 0, &err), &err);
	fd = open(in_dir(s, "gen-00000002"), O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &h, sizeof(h), 0), sizeof(h));
	h.version = 2;
	h.header_hash = 0;
	h.header_hash = ckpti_hash64(&h, sizeof(h));
	assert_int_equal(pwrite(fd, &h, sizeof(h), 0), sizeof(h));
	(void)close(fd);
	refused(check_generation(s->dir, 0, 1, &err), -EPROTONOSUPPORT, &err, "version 2");
	ok(write_generation(s->dir, AGAIN, 3, 2, 0, &err), &err);
	ok(check_generation(s->dir, 3, 3, &err), &err);
	assert_int_equal(access(in_dir(s, "data-00000003"), F_OK), 0);
	assert_int_equal(access(in_dir(s, "data-00000004"), F_OK), 0);
}

static int cancel(void *arg, const char *phase, uint64_t done, uint64_t total)
{
	unsigned *calls = arg;

	assert_non_null(phase);
	assert_true(done <= total);
	return ++*calls == 2;
}

static void test_store_verify_can_be_cancelled(void **state)
{
	struct scratch *s = *state;
	struct ckpti_store *st = NULL;
	struct ckpti_image img;
	struct ckpti_err err;
	unsigned calls = 0;

	ok(write_generation(s->dir, NEW, 1, 1, 0, &err), &err);
	ckpti_image_init(&img);
	ok(ckpti_store_open_read(s->dir, &st, &err), &err);
	ok(ckpti_store_load(st, 0, &img, &err), &err);
	assert_int_equal(ckpti_store_verify(st, &img, NULL, NULL, cancel, &calls, &err),
			 -ECANCELED);
	assert_int_equal(calls, 2);
	ckpti_image_free(&img);
	ckpti_store_close(st);
}

/* ---- hash cache --------------------------------------------------------------------------- */

static int pin_hash(const char *dir, uint64_t ret[2])
{
	struct ckpti_store *st = NULL;
	struct ckpti_err err = {0};
	char name[64];
	int fd, r;

	ok(ckpti_store_open_write(dir, AGAIN, &st, &err), &err);
	fd = open("/bin/true", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	r = ckpti_store_pin(st, fd, 0, ret, name, &err);
	assert_string_equal(name, "");
	(void)close(fd);
	ckpti_store_close(st);
	return r;
}

static void test_store_hash_cache(void **state)
{
	struct scratch *s = *state;
	uint64_t first[2], again[2], forged[2] = {0x1234, 0x5678};
	char text[512], body[400];
	struct ckpti_err err;
	struct stat sb;
	FILE *f;

	ok(write_generation(s->dir, NEW, 1, 1, 0, &err), &err);
	assert_int_equal(pin_hash(s->dir, first), 0);
	assert_int_equal(access(in_dir(s, "hashes"), R_OK), 0);
	/* Whatever is wrong with it, it is ignored. */
	flip_byte(in_dir(s, "hashes"), 30);
	assert_int_equal(pin_hash(s->dir, again), 0);
	assert_memory_equal(first, again, sizeof(first));
	assert_int_equal(truncate(in_dir(s, "hashes"), 10), 0);
	assert_int_equal(pin_hash(s->dir, again), 0);
	assert_memory_equal(first, again, sizeof(first));

	/* A whole one is believed: the file is not read again. */
	assert_int_equal(stat("/bin/true", &sb), 0);
	(void)snprintf(body, sizeof(body),
		       "ckpt-hashes 1\n%llu %llu %llu %lld%09ld %lld%09ld %016llx %016llx\n",
		       (unsigned long long)sb.st_dev, (unsigned long long)sb.st_ino,
		       (unsigned long long)sb.st_size, (long long)sb.st_mtim.tv_sec,
		       sb.st_mtim.tv_nsec, (long long)sb.st_ctim.tv_sec, sb.st_ctim.tv_nsec,
		       (unsigned long long)forged[0], (unsigned long long)forged[1]);
	(void)snprintf(text, sizeof(text), "%send %016llx\n", body,
		       (unsigned long long)ckpti_hash64(body, strlen(body)));
	f = fopen(in_dir(s, "hashes"), "we");
	assert_non_null(f);
	(void)fputs(text, f);
	(void)fclose(f);
	assert_int_equal(pin_hash(s->dir, again), 0);
	assert_memory_equal(forged, again, sizeof(forged));
}

/* ---- who may use it ----------------------------------------------------------------------- */

static void test_store_open_to_others_is_refused(void **state)
{
	struct scratch *s = *state;
	struct ckpti_err err;

	ok(write_generation(s->dir, NEW, 1, 1, 0, &err), &err);
	assert_int_equal(chmod(s->dir, 0720), 0);
	refused(check_generation(s->dir, 0, 1, &err), -EPERM, &err, "written by others");
	refused(write_generation(s->dir, AGAIN, 2, 1, 0, &err), -EPERM, &err, "written by others");
	assert_int_equal(chmod(s->dir, 0702), 0);
	refused(check_generation(s->dir, 0, 1, &err), -EPERM, &err, "written by others");
	assert_int_equal(chmod(s->dir, 0700), 0);
	assert_int_equal(chmod(in_dir(s, "data-00000001"), 0666), 0);
	refused(check_generation(s->dir, 0, 1, &err), -EPERM, &err, "data-00000001");
	assert_int_equal(chmod(in_dir(s, "data-00000001"), 0600), 0);
	ok(check_generation(s->dir, 0, 1, &err), &err);
}

static void test_store_links_are_refused(void **state)
{
	struct scratch *s = *state;
	char link[PATH_MAX], slash[PATH_MAX];
	struct ckpti_err err;

	ok(write_generation(s->dir, NEW, 1, 1, 0, &err), &err);
	(void)snprintf(link, sizeof(link), "%.4000s/link", s->root);
	(void)snprintf(slash, sizeof(slash), "%.4000s/link/", s->root);
	assert_int_equal(symlink(s->dir, link), 0);
	refused(check_generation(link, 0, 1, &err), -EPERM, &err, "link");
	refused(check_generation(slash, 0, 1, &err), -EPERM, &err, "link");
	refused(write_generation(link, AGAIN, 1, 1, 0, &err), -EPERM, &err, "link");
	assert_int_equal(ckpti_store_remove(link, NULL), -EPERM);

	/* A link or a FIFO in the place of a data file. */
	assert_int_equal(unlink(in_dir(s, "data-00000001")), 0);
	assert_int_equal(symlink("/etc/passwd", in_dir(s, "data-00000001")), 0);
	refused(check_generation(s->dir, 1, 1, &err), -EPERM, &err, "is a link");
	assert_int_equal(unlink(in_dir(s, "data-00000001")), 0);
	assert_int_equal(mkfifo(in_dir(s, "data-00000001"), 0600), 0);
	refused(check_generation(s->dir, 1, 1, &err), -EPERM, &err, "regular file");
}

static void test_store_access_list_is_refused(void **state)
{
	/* user::rwx, user:65533:rwx, group::---, mask::r-x, other::---: mode bits say 0750. */
	static const uint8_t acl[] = {2,   0,   0,   0,   1,   0,   7,   0,   255, 255, 255,
				      255, 2,   0,   7,   0,   253, 255, 0,   0,   4,   0,
				      0,   0,   255, 255, 255, 255, 16,  0,   5,   0,   255,
				      255, 255, 255, 32,  0,   0,   0,   255, 255, 255, 255};
	struct scratch *s = *state;
	struct ckpti_err err;

	ok(write_generation(s->dir, NEW, 1, 1, 0, &err), &err);
	if (setxattr(s->dir, "system.posix_acl_access", acl, sizeof(acl), 0) < 0) {
		print_message("no access lists here: %s\n", strerror(errno));
		skip();
	}
	refused(check_generation(s->dir, 0, 1, &err), -EPERM, &err, "access list");
	refused(write_generation(s->dir, AGAIN, 2, 1, 0, &err), -EPERM, &err, "access list");
}

static void test_store_owner_is_checked(void **state)
{
	struct scratch *s = *state;
	struct ckpti_err err;
	int r;

	if (geteuid() != 0) {
		print_message("needs root\n");
		skip();
	}
	assert_int_equal(chmod(s->root, 0755), 0);
	ok(write_generation(s->dir, NEW, 1, 1, 0, &err), &err);
	assert_int_equal(chmod(s->dir, 0755), 0);
	assert_int_equal(seteuid(NOBODY), 0);
	r = check_generation(s->dir, 0, 1, &err);
	assert_int_equal(seteuid(0), 0);
	refused(r, -EPERM, &err, "belongs to user 0");

	/* Root reads a user's directory, and neither writes nor removes it. */
	assert_int_equal(chown(s->dir, NOBODY, (gid_t)-1), 0);
	assert_int_equal(chown(in_dir(s, "gen-00000001"), NOBODY, (gid_t)-1), 0);
	assert_int_equal(chown(in_dir(s, "data-00000001"), NOBODY, (gid_t)-1), 0);
	refused(check_generation(s->dir, 0, 1, &err), -EPERM, &err, "another owner");
	assert_int_equal(chown(in_dir(s, "data-00000002"), NOBODY, (gid_t)-1), 0);
	ok(check_generation(s->dir, 0, 1, &err), &err);
	refused(write_generation(s->dir, AGAIN, 2, 1, 0, &err), -EPERM, &err, "belongs to user");
	memset(&err, 0, sizeof(err));
	refused(ckpti_store_remove(s->dir, &err), -EPERM, &err, "belongs to user");
	ok(check_generation(s->dir, 0, 1, &err), &err);
}

static void test_store_other_peoples_directory(void **state)
{
	struct scratch *s = *state;
	struct ckpti_err err;
	int fd;

	assert_int_equal(mkdir(s->dir, 0755), 0);
	fd = open(in_dir(s, "thesis.tex"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	(void)close(fd);
	refused(write_generation(s->dir, AGAIN, 1, 1, 0, &err), -ENOTEMPTY, &err, "thesis.tex");
	assert_int_equal(count_files(s, ""), 1);
	memset(&err, 0, sizeof(err));
	refused(ckpti_store_remove(s->dir, &err), -ENODATA, &err, "not a statefile");
	assert_int_equal(count_files(s, ""), 1);
	assert_int_equal(unlink(in_dir(s, "thesis.tex")), 0);
	ok(write_generation(s->dir, NEW, 1, 1, 0, &err), &err);
}

static void test_store_remove(void **state)
{
	struct scratch *s = *state;
	struct ckpti_err err;
	int fd;

	ok(write_generation(s->dir, NEW, 1, 1, 1, &err), &err);
	ok(ckpti_store_remove(s->dir, &err), &err);
	assert_int_equal(access(s->dir, F_OK), -1);
	refused(ckpti_store_remove(s->dir, &err), -ENOENT, &err, s->dir);

	ok(write_generation(s->dir, NEW, 1, 1, 1, &err), &err);
	fd = open(in_dir(s, "data-notes"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	(void)close(fd);
	refused(ckpti_store_remove(s->dir, &err), -ENOTEMPTY, &err, "data-notes");
	assert_int_equal(count_files(s, ""), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_store_round_trip),
		TEST(test_store_existing_checkpoint_needs_force),
		TEST(test_store_missing_and_empty),
		TEST(test_store_given_up_write_leaves_nothing),
		TEST(test_store_keeps_as_many_as_asked),
		TEST(test_store_spare_files_are_recycled),
		TEST(test_store_reader_pins_its_files),
		TEST(test_store_lock_lives_in_a_descriptor),
		TEST(test_store_hard_links_are_not_recycled),
		TEST(test_store_one_writer_at_a_time),
		TEST(test_store_damage_is_found),
		TEST(test_store_falls_back_to_last_good),
		TEST(test_store_newer_format_is_left_alone),
		TEST(test_store_verify_can_be_cancelled),
		TEST(test_store_hash_cache),
		TEST(test_store_open_to_others_is_refused),
		TEST(test_store_links_are_refused),
		TEST(test_store_access_list_is_refused),
		TEST(test_store_owner_is_checked),
		TEST(test_store_other_peoples_directory),
		TEST(test_store_remove),
	};

	(void)umask(022);
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
