/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files in /dev/shm, which a reboot empties: mapped shared by two processes, with a name, deleted,
 * and with a name that another file has taken since.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t.h"

#define SIZE (300 << 10)

static unsigned char *named, *deleted, *open_deleted;
static const char *name;
static int deleted_fd;

static unsigned char *map(const char *path, int *ret_fd)
{
	int fd = t_sys(open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
	unsigned char *p;

	t_sys(ftruncate(fd, SIZE));
	p = t_sys(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	if (ret_fd)
		*ret_fd = fd;
	else
		t_sys(close(fd));
	return p;
}

static void disturb(void)
{
	memset(named, 0x11, SIZE);
	memset(deleted, 0x22, SIZE);
	memset(open_deleted, 0x33, SIZE);
	(void)unlink(name);
	t_write_file(name, "stranger", 8);
}

/* Waits for a byte, then checks that it sees what the parent has written meanwhile. */
static void child(int fd)
{
	char byte;

	if (read(fd, &byte, 1) != 1)
		_exit(1);
	t_check(t_filled(named, SIZE, t_token() + 10), "named: not shared with the child");
	t_check(t_filled(deleted, SIZE, t_token() + 11), "deleted: not shared with the child");
	_exit(0);
}

int main(void)
{
	static unsigned char buf[SIZE];
	int pipes[2], status;
	struct stat st;
	pid_t pid;

	t_start();
	name = t_shm("named");
	named = map(name, NULL);
	deleted = map(t_shm("deleted"), NULL);
	t_sys(unlink(t_shm("deleted")));
	open_deleted = map(t_shm("open_deleted"), &deleted_fd);
	t_sys(unlink(t_shm("open_deleted")));
	t_sys(pipe2(pipes, O_CLOEXEC));
	pid = t_sys(fork());
	if (pid == 0)
		child(pipes[0]);
	t_fill(named, SIZE, t_token());
	t_fill(deleted, SIZE, t_token() + 1);
	t_fill(open_deleted, SIZE, t_token() + 2);
	t_on_disturb(disturb);
	t_ready();

	t_check(t_filled(named, SIZE, t_token()), "named: the content differs");
	t_check(t_filled(deleted, SIZE, t_token() + 1), "deleted: the content differs");
	t_check(t_filled(open_deleted, SIZE, t_token() + 2), "open, deleted: the content differs");
	t_check(stat(name, &st) == 0, "named: the name is gone");
	t_check(st.st_size == SIZE && (st.st_mode & 07777) == 0640, "named: size %ld, mode %o",
		(long)st.st_size, st.st_mode);
	t_fill(named, SIZE, t_token() + 10);
	t_check(t_read_file(name, buf, SIZE) == SIZE && t_filled(buf, SIZE, t_token() + 10),
		"named: the name leads to another file");
	t_check(access(t_shm("deleted"), F_OK) < 0, "deleted: the name has come back");
	t_check(fstat(deleted_fd, &st) == 0 && st.st_nlink == 0, "open, deleted: has a name");
	open_deleted[77] ^= 0xff;
	t_check(pread(deleted_fd, buf, 1, 77) == 1 && buf[0] == open_deleted[77],
		"open, deleted: descriptor and mapping are two objects");
	t_fill(deleted, SIZE, t_token() + 11);
	t_check(write(pipes[1], "x", 1) == 1, "write: %m");
	t_check(waitpid(pid, &status, 0) == pid && status == 0, "the child failed");
	t_done();
}
