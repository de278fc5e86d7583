/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files without a name: two opens of one stay one file, their content comes from the image, no name
 * appears, and another file that has since taken the name is left alone.
 */
#include "fd.h"

#define SIZE 70000

static int first, second, unnamed, shm;

static void disturb(void)
{
	t_sys(ftruncate(first, 0));
	t_sys(pwrite(unnamed, "??????", 6, 0));
	t_write_file(t_path("gone"), "another", 7);
	t_sys(ftruncate(shm, 1));
}

int main(void)
{
	struct stat a, b;
	char c;

	t_start();
	first = t_sys(open(t_path("gone"), O_RDWR | O_CREAT, 0600));
	second = t_sys(open(t_path("gone"), O_RDONLY));
	t_sys(unlink(t_path("gone")));
	writes_noise(first, SIZE, t_token());
	/* With a hole. */
	t_sys(pwrite(first, "end", 3, 1 << 20));
	t_sys(lseek(second, 4000, SEEK_SET));
	unnamed = open(t_path("."), O_RDWR | O_TMPFILE, 0600);
	if (unnamed < 0) { /* not every file system has it */
		unnamed = t_sys(open(t_path("tmp"), O_RDWR | O_CREAT, 0600));
		t_sys(unlink(t_path("tmp")));
	}
	writes_noise(unnamed, 100, t_token() + 1);
	shm = t_sys(open(t_shm("gone"), O_RDWR | O_CREAT, 0600));
	t_sys(unlink(t_shm("gone")));
	writes_noise(shm, 100, t_token() + 2);
	t_on_disturb(disturb);
	t_ready();

	t_sys(fstat(first, &a));
	t_sys(fstat(second, &b));
	t_check(a.st_nlink == 0 && a.st_ino == b.st_ino, "links %lu, inodes %lu and %lu",
		(unsigned long)a.st_nlink, (unsigned long)a.st_ino, (unsigned long)b.st_ino);
	t_check(a.st_size == (1 << 20) + 3, "size %ld", (long)a.st_size);
	t_check(a.st_blocks < 1500, "the hole has been filled: %ld blocks", (long)a.st_blocks);
	t_check(lseek(first, 0, SEEK_CUR) == SIZE && lseek(second, 0, SEEK_CUR) == 4000,
		"offsets %ld and %ld", (long)lseek(first, 0, SEEK_CUR),
		(long)lseek(second, 0, SEEK_CUR));
	t_sys(lseek(first, 0, SEEK_SET));
	t_check(reads_noise(first, SIZE, t_token()), "the content differs");
	t_check(read(first, &c, 1) == 1 && c == 0, "behind the data is no hole");
	t_sys(pwrite(first, "Z", 1, 4000));
	t_check(read(second, &c, 1) == 1 && c == 'Z', "the two opens are not of one file");
	t_sys(fstat(unnamed, &a));
	t_check(a.st_nlink == 0 && lseek(unnamed, 0, SEEK_CUR) == 100, "the unnamed file");
	t_sys(lseek(unnamed, 0, SEEK_SET));
	t_check(reads_noise(unnamed, 100, t_token() + 1), "the unnamed file's content");
	t_sys(lseek(shm, 0, SEEK_SET));
	t_check(reads_noise(shm, 100, t_token() + 2), "the content of the file on tmpfs");
	t_check(size_of(t_path("gone")) == -1 || size_of(t_path("gone")) == 7,
		"a file that took the name was changed");
	t_done();
}
