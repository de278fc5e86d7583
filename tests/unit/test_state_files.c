/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regular files, directories and devices: saved, changed as a program that runs on would, restored.
 * What is asserted is read from the files and the kernel, never from the code under test.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "ckpt.h"
#include "state_fixture.h"

static int open_file(const char *path, int flags, off_t pos)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(lseek(fd, pos, SEEK_SET), pos);
	return fd;
}

static off_t position(int fd)
{
	return lseek(fd, 0, SEEK_CUR);
}

static void save_and_reload(struct t_state *t)
{
	if (t_save(t) < 0)
		fail_msg("save: %s", t->err.text);
	t_reload(t);
}

static void restore_and_settle(struct t_state *t)
{
	if (t_restore(t) < 0 || t_settle(t) < 0)
		fail_msg("restart: %s", t->err.text);
}

static void test_file_unchanged_keeps_offset_and_flags(void **state)
{
	struct t_state *t = *state;
	const char *path = t_path(t, "f");
	int fd;

	t_write(path, "0123456789");
	fd = open_file(path, O_RDWR | O_APPEND | O_NONBLOCK, 4);
	t_add(t, fd);
	t_add(t, open_file(path, O_RDONLY, 6));
	save_and_reload(t);
	assert_int_equal(position(fd), 4); /* the application's offset has not moved */
	restore_and_settle(t);
	assert_int_equal(position(t_fd(t, 0)), 4);
	assert_int_equal(position(t_fd(t, 1)), 6);
	assert_int_equal(fcntl(t_fd(t, 0), F_GETFL), fcntl(fd, F_GETFL));
	assert_int_equal(fcntl(t_fd(t, 0), F_GETFD), FD_CLOEXEC);
	/* Two opens: one offset each. */
	assert_int_equal(lseek(t_fd(t, 1), 1, SEEK_SET), 1);
	assert_int_equal(position(t_fd(t, 0)), 4);
	assert_int_equal(t_count_files(t), 4); /* ., .., f, store */
	(void)close(fd);
}

static void test_file_overwritten_is_put_back(void **state)
{
	struct t_state *t = *state;
	const char *path = t_path(t, "db");

	t_write(path, "before");
	t_add(t, open_file(path, O_RDWR, 2));
	t_add(t, open_file(path, O_RDONLY, 0));
	save_and_reload(t);
	assert_int_equal(t->cap.content_end, 4096); /* saved once for both */
	t_write(path, "AFTER and longer");
	assert_int_equal(t_restore(t), 0);
	t_expect_content(path, "AFTER and longer"); /* until the point of no return */
	assert_int_equal(t_settle(t), 0);
	t_expect_content(path, "before");
	t_expect_content(t_path(t, "db.ckpt-old.7"), "AFTER and longer");
	assert_int_equal(t_count_files(t), 5); /* kept once, not for each description */
	assert_int_equal(pwrite(t_fd(t, 0), "X", 1, 0), 1);
	t_expect_content(path, "Xefore"); /* the descriptor leads to the same file */
}

static void test_file_shrunk_is_put_back(void **state)
{
	struct t_state *t = *state;
	const char *path = t_path(t, "f");
	struct stat before, after;

	t_write(path, "long content");
	assert_int_equal(stat(path, &before), 0);
	t_add(t, open_file(path, O_WRONLY, 0));
	save_and_reload(t);
	t_write(path, "long");
	restore_and_settle(t);
	t_expect_content(path, "long content");
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_ino, before.st_ino);
	assert_int_equal(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
	assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
}

static void test_file_grown_keeps_each_tail(void **state)
{
	struct t_state *t = *state;
	const char *path = t_path(t, "log");

	t_write(path, "one\n");
	t_add(t, open_file(path, O_WRONLY | O_APPEND, 4));
	save_and_reload(t);
	t_append(path, "two\n");
	restore_and_settle(t);
	t_expect_content(path, "one\n");
	t_expect_content(t_path(t, "log.ckpt-tail.7"), "two\n");

	t_forget(t); /* and once more from the same generation */
	t_append(path, "other\n");
	restore_and_settle(t);
	t_expect_content(path, "one\n");
	t_expect_content(t_path(t, "log.ckpt-tail.7"), "two\n");
	t_expect_content(t_path(t, "log.ckpt-tail.7.1"), "other\n");
	assert_int_equal(write(t_fd(t, 0), "new\n", 4), 4);
	t_expect_content(path, "one\nnew\n");
}

static void test_file_missing_is_made_with_its_directory(void **state)
{
	struct t_state *t = *state;
	const char *path;
	struct stat st;

	assert_int_equal(mkdir(t_path(t, "sub"), 0755), 0);
	path = t_path(t, "sub/f");
	t_write(path, "content");
	assert_int_equal(chmod(path, 0440), 0);
	t_add(t, open_file(path, O_RDONLY, 3));
	assert_int_equal(chmod(path, 0640), 0);
	t_add(t, open_file(path, O_RDWR, 5));
	assert_int_equal(chmod(path, 0440), 0); /* a new O_RDWR would be refused to a plain user */
	save_and_reload(t);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(t_path(t, "sub")), 0);
	restore_and_settle(t);
	t_expect_content(path, "content");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0440);
	assert_int_equal(position(t_fd(t, 0)), 3);
	assert_int_equal(position(t_fd(t, 1)), 5);
	assert_int_equal(pwrite(t_fd(t, 1), "C", 1, 0), 1);
	t_expect_content(path, "Content");
}

static void test_file_deleted_is_shared_and_stays_nameless(void **state)
{
	struct t_state *t = *state;
	const char *path = t_path(t, "gone");
	int a, b, files;
	struct stat x, y;
	char buf[16];

	t_write(path, "deleted data");
	a = open_file(path, O_RDWR, 8);
	b = open_file(path, O_RDONLY, 1);
	assert_int_equal(unlink(path), 0);
	t->cap.copy_limit = 0; /* the limit is not for files without a name */
	t_add(t, a);
	t_add(t, b);
	save_and_reload(t);
	t_write(path, "another file took the name");
	files = t_count_files(t);
	restore_and_settle(t);
	assert_int_equal(t_count_files(t), files);
	t_expect_content(path, "another file took the name");
	assert_int_equal(fstat(t_fd(t, 0), &x), 0);
	assert_int_equal(fstat(t_fd(t, 1), &y), 0);
	assert_int_equal(x.st_ino, y.st_ino);
	assert_int_equal(x.st_nlink, 0);
	assert_int_equal(x.st_size, 12);
	assert_int_equal(position(t_fd(t, 0)), 8);
	assert_int_equal(position(t_fd(t, 1)), 1);
	assert_int_equal(pwrite(t_fd(t, 0), "D", 1, 0), 1);
	assert_int_equal(pread(t_fd(t, 1), buf, sizeof(buf), 0), 12);
	assert_memory_equal(buf, "Deleted data", 12);
	(void)close(a);
	(void)close(b);
}

static void test_file_only_read_and_changed_is_substituted(void **state)
{
	struct t_state *t = *state;
	const char *path = t_path(t, "input");
	char buf[16];

	t_write(path, "old input");
	t_add(t, open_file(path, O_RDONLY, 4));
	save_and_reload(t);
	t_write(path, "NEW");
	restore_and_settle(t);
	assert_int_equal(read(t_fd(t, 0), buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "input", 5);
	t_expect_content(path, "NEW");
	assert_int_equal(t_count_files(t), 4);
}

static void skip_on_tmpfs(struct t_state *t)
{
	struct statfs fs;

	assert_int_equal(statfs(t->dir, &fs), 0);
	if (fs.f_type == TMPFS_MAGIC) {
		print_message("the working directory is on tmpfs, where no limit applies\n");
		skip();
	}
}

static void test_file_too_large_grown_at_its_end_is_truncated(void **state)
{
	struct t_state *t = *state;
	const char *path = t_path(t, "big");

	skip_on_tmpfs(t);
	t->cap.copy_limit = 3;
	t_write(path, "large");
	t_add(t, open_file(path, O_WRONLY, 5));
	save_and_reload(t);
	t_append(path, "+more");
	restore_and_settle(t);
	t_expect_content(path, "large");
	t_expect_content(t_path(t, "big.ckpt-tail.7"), "+more");
}

static void test_file_too_large_and_changed_is_refused_unharmed(void **state)
{
	struct t_state *t = *state;
	const char *path = t_path(t, "big");

	skip_on_tmpfs(t);
	t->cap.copy_limit = 3;
	t_write(path, "large");
	t_write(t_path(t, "small"), "abc");
	t_add(t, open_file(t_path(t, "small"), O_RDWR, 0));
	t_add(t, open_file(path, O_RDWR, 0));
	save_and_reload(t);
	assert_int_equal(t_check(t), 0); /* as long as it is unchanged */
	t_forget(t);
	t_append(path, "+more");
	t_write(t_path(t, "small"), "xyz");
	assert_int_equal(t_restore(t), -ESTALE);
	assert_non_null(strstr(t->err.text, path));
	assert_non_null(strstr(t->err.text, "--relocate"));
	t_expect_content(path, "large+more");
	t_expect_content(t_path(t, "small"), "xyz");

	t_forget(t);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(t_restore(t), -ESTALE);
	assert_non_null(strstr(t->err.text, path));
}

static void test_file_holes_stay_holes(void **state)
{
	struct t_state *t = *state;
	const char *path = t_path(t, "sparse");
	const off_t size = 8 << 20, at = 3 << 20;
	char buf[4];
	struct stat st;
	int fd;

	t->cap.copy_limit = (uint64_t)size;
	fd = open_file(path, O_RDWR | O_CREAT, 0);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(pwrite(fd, "data", 4, at), 4);
	t_add(t, fd);
	save_and_reload(t);
	assert_int_equal(position(fd), 0);
	assert_true(t->cap.content_end <= 64 * 1024);
	(void)close(fd);
	assert_int_equal(unlink(path), 0);
	restore_and_settle(t);
	assert_int_equal(fstat(t_fd(t, 0), &st), 0);
	assert_int_equal(st.st_size, size);
	assert_true(st.st_blocks * 512 <= 64 * 1024);
	assert_int_equal(pread(t_fd(t, 0), buf, 4, at), 4);
	assert_memory_equal(buf, "data", 4);

	/* A hole that was filled is a change, too. */
	t_forget(t);
	fd = open_file(path, O_RDWR, 0);
	assert_int_equal(pwrite(fd, "x", 1, size - 1), 1);
	(void)close(fd);
	restore_and_settle(t);
	assert_int_equal(pread(t_fd(t, 0), buf, 1, size - 1), 1);
	assert_int_equal(buf[0], 0);
}

static void test_file_damaged_content_is_found_before_a_change(void **state)
{
	struct t_state *t = *state;
	const char *path = t_path(t, "f");
	int fd;
	char c;

	/* The damage lies behind the first difference, in a run of its own. */
	t_write(path, "content");
	fd = open_file(path, O_RDWR, 0);
	assert_int_equal(pwrite(fd, "end", 3, 1 << 18), 3);
	t_add(t, fd);
	save_and_reload(t);
	assert_int_equal(t->cap.content_end, 8192);
	assert_int_equal(pread(t->cap.content_fd, &c, 1, 4097), 1);
	c ^= 1;
	assert_int_equal(pwrite(t->cap.content_fd, &c, 1, 4097), 1);
	t_write(path, "changed");
	assert_int_equal(t_restore(t), -EBADMSG);
	t_expect_content(path, "changed");
	assert_int_equal(t_count_files(t), 4);
	(void)close(fd);
}

static void test_file_clone_needs_relocation(void **state)
{
	struct t_state *t = *state;
	struct ckpti_relocation reloc;

	t_write(t_path(t, "out"), "mine");
	assert_int_equal(mkdir(t_path(t, "two"), 0755), 0);
	t_add(t, open_file(t_path(t, "out"), O_WRONLY, 4));
	save_and_reload(t);
	t_append(t_path(t, "out"), " still");
	t->rb.clone = true;
	assert_int_equal(t_restore(t), -EEXIST);
	assert_non_null(strstr(t->err.text, "--relocate"));

	t_forget(t);
	reloc.from = t_path(t, "out");
	reloc.to = t_path(t, "two/out");
	t->rb.reloc = &reloc;
	t->rb.nreloc = 1;
	restore_and_settle(t);
	assert_int_equal(write(t_fd(t, 0), "!", 1), 1);
	t_expect_content(t_path(t, "two/out"), "mine!");
	t_expect_content(t_path(t, "out"), "mine still");
}

static void set_policy(struct t_state *t, uint32_t policy)
{
	struct ckpti_view v;

	assert_true(ckpti_image_first(&t->img, CKPTI_R_OBJ_FILE, &v));
	((struct ckpti_r_obj_file *)(uintptr_t)v.fixed)->policy = policy;
}

static void test_file_policies(void **state)
{
	struct t_state *t = *state;
	const char *path = t_path(t, "f");

	t_write(path, "saved");
	t_add(t, open_file(path, O_RDWR, 3));
	save_and_reload(t);
	t_write(path, "different");

	set_policy(t, CKPT_FILE_IGNORE);
	restore_and_settle(t);
	assert_int_equal(position(t_fd(t, 0)), 0);
	t_expect_content(path, "different");

	t_forget(t);
	set_policy(t, CKPT_FILE_APPEND);
	restore_and_settle(t);
	assert_int_equal(position(t_fd(t, 0)), 9);
	t_expect_content(path, "different");

	t_forget(t);
	set_policy(t, CKPT_FILE_SUBSTITUTE);
	restore_and_settle(t);
	assert_int_equal(pwrite(t_fd(t, 0), "S", 1, 0), 1);
	t_expect_content(path, "different");

	t_forget(t);
	set_policy(t, CKPT_FILE_REPLACE);
	restore_and_settle(t);
	assert_int_equal(position(t_fd(t, 0)), 3);
	t_expect_content(path, "saved");
}

static void test_dir_goes_on_behind_the_same_entry(void **state)
{
	struct t_state *t = *state;
	const char *path = t_path(t, "d");
	_Alignas(8) char first[512], rest[4096], again[4096];
	ssize_t n, m;
	int fd;

	assert_int_equal(mkdir(path, 0755), 0);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (int i = 0; i < 40; i++) {
		(void)snprintf(first, sizeof(first), "d/entry-%d", i);
		t_write(t_path(t, first), "");
	}
	assert_true(getdents64(fd, first, sizeof(first)) > 0);
	path = t_path(t, "d"); /* its buffer has been used again */
	t_add(t, fd);
	save_and_reload(t);
	n = getdents64(fd, rest, sizeof(rest)); /* where the application goes on */
	assert_true(n > 0);
	restore_and_settle(t);
	m = getdents64(t_fd(t, 0), again, sizeof(again));
	assert_int_equal(m, n);
	for (ssize_t i = 0; i < n;) { /* padding between entries is garbage */
		const struct dirent64 *x = (const void *)(rest + i);
		const struct dirent64 *y = (const void *)(again + i);

		assert_string_equal(x->d_name, y->d_name);
		i += x->d_reclen;
	}
	(void)close(fd);

	t_forget(t);
	assert_int_equal(rename(path, t_path(t, "moved")), 0);
	assert_int_equal(t_check(t), -ENOENT);
	assert_non_null(strstr(t->err.text, path));
}

static void test_chr_is_opened_again(void **state)
{
	struct t_state *t = *state;
	static const char *const path[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/urandom"};
	char c = 1;

	for (size_t i = 0; i < 4; i++)
		t_add(t, open(path[i], O_RDWR | O_CLOEXEC));
	save_and_reload(t);
	restore_and_settle(t);
	assert_int_equal(read(t_fd(t, 0), &c, 1), 0);
	assert_int_equal(read(t_fd(t, 1), &c, 1), 1);
	assert_int_equal(c, 0);
	assert_int_equal(write(t_fd(t, 2), &c, 1), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(read(t_fd(t, 3), &c, 1), 1);
}

static void test_probe_refuses_by_name(void **state)
{
	struct t_state *t = *state;
	char path[64];

	assert_int_equal(t_add_as(t, (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1), 9), -ENOTSUP);
	assert_non_null(strstr(t->err.text, "is a userfaultfd"));
	assert_non_null(strstr(t->err.text, "descriptor 9"));
	t_forget(t);
	(void)snprintf(path, sizeof(path), "/proc/%d/maps", getpid());
	assert_int_equal(t_add_as(t, open(path, O_RDONLY | O_CLOEXEC), 10), -ENOTSUP);
	assert_non_null(strstr(t->err.text, path));
	t_drop(t);
}

static void test_file_lease_is_refused(void **state)
{
	struct t_state *t = *state;
	int fd;

	t_write(t_path(t, "f"), "x");
	fd = open_file(t_path(t, "f"), O_RDONLY, 0);
	if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0) {
		print_message("no leases on this file system\n");
		skip();
	}
	assert_int_equal(t_add_as(t, fd, fd), -ENOTSUP);
	assert_non_null(strstr(t->err.text, "lease"));
	(void)close(fd);
}

static void test_fdinfo_field_and_relocation(void **state)
{
	static const struct ckpti_relocation reloc[] = {{"/a/", "/x"}, {"/a/b", "/y"}};
	struct ckpti_rebuild rb = {.reloc = reloc, .nreloc = 2};
	const char *path = "/ab/c";
	char buf[PATH_MAX];

	(void)state;
	assert_string_equal(ckpti_fdinfo_field("pos:\t5\nflags:\t02\n", "flags"), "02\n");
	assert_null(ckpti_fdinfo_field("xpos:\t5\n", "pos"));
	assert_null(ckpti_fdinfo_field(NULL, "pos"));
	assert_string_equal(ckpti_relocate(&rb, "/a/c", buf), "/x/c");
	assert_string_equal(ckpti_relocate(&rb, "/a", buf), "/x");
	assert_string_equal(ckpti_relocate(&rb, "/a/b/c", buf), "/y/c");
	assert_ptr_equal(ckpti_relocate(&rb, path, buf), path);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, t_state_setup, t_state_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_file_unchanged_keeps_offset_and_flags),
		T(test_file_overwritten_is_put_back),
		T(test_file_shrunk_is_put_back),
		T(test_file_grown_keeps_each_tail),
		T(test_file_missing_is_made_with_its_directory),
		T(test_file_deleted_is_shared_and_stays_nameless),
		T(test_file_only_read_and_changed_is_substituted),
		T(test_file_too_large_grown_at_its_end_is_truncated),
		T(test_file_too_large_and_changed_is_refused_unharmed),
		T(test_file_holes_stay_holes),
		T(test_file_damaged_content_is_found_before_a_change),
		T(test_file_clone_needs_relocation),
		T(test_file_policies),
		T(test_dir_goes_on_behind_the_same_entry),
		T(test_chr_is_opened_again),
		T(test_probe_refuses_by_name),
		T(test_file_lease_is_refused),
		T(test_fdinfo_field_and_relocation),
	};

	return cmocka_run_group_tests_name("state_files", tests, NULL, NULL);
}
