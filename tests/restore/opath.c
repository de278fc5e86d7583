/* SPDX-License-Identifier: BSD-3-Clause */
/* O_PATH: names of a device, a fifo, a socket and a symbolic link, and of a file that has been deleted. */
#include <stdio.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "fd.h"

static int device, fifo, sock, symlink_fd, deleted;

static int open_name(const char *path)
{
	return t_sys(open(path, O_PATH | O_NOFOLLOW));
}

static mode_t type(int fd)
{
	struct stat st;

	t_check(get_flags(fd) & O_PATH, "O_PATH of %d is lost", fd);
	t_sys(fstat(fd, &st));
	return st.st_mode & S_IFMT;
}

int main(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char path[64], target[64] = "", want[64];
	struct stat st;
	int listening, fd;

	t_start();
	device = open_name("/dev/null");
	t_sys(mkfifo(t_path("fifo"), 0600));
	fifo = open_name(t_path("fifo"));
	listening = t_sys(socket(AF_UNIX, SOCK_STREAM, 0));
	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", t_path("sock"));
	t_sys(bind(listening, (struct sockaddr *)&un, sizeof(un)));
	sock = open_name(t_path("sock"));
	(void)snprintf(want, sizeof(want), "to-%016lx", (unsigned long)t_token());
	t_sys(symlink(want, t_path("link")));
	symlink_fd = open_name(t_path("link"));
	fd = t_sys(open(t_path("gone"), O_RDWR | O_CREAT | O_EXCL, 0600));
	writes_noise(fd, 10000, t_token());
	t_sys(close(fd));
	deleted = open_name(t_path("gone"));
	t_sys(unlink(t_path("gone")));
	t_ready();

	t_sys(fstat(device, &st));
	t_check(type(device) == S_IFCHR && st.st_rdev == makedev(1, 3), "the device");
	t_check(type(fifo) == S_IFIFO, "the fifo");
	t_check(type(sock) == S_IFSOCK, "the socket");
	t_check(type(symlink_fd) == S_IFLNK, "the symbolic link");
	t_sys(readlinkat(symlink_fd, "", target, sizeof(target) - 1));
	t_check(strcmp(target, want) == 0, "it leads to '%s'", target);
	t_check(type(deleted) == S_IFREG, "the deleted file");
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", deleted);
	fd = t_sys(open(path, O_RDONLY));
	t_check(reads_noise(fd, 10000, t_token()), "its content");
	t_sys(fstat(fd, &st));
	t_check(st.st_nlink == 0, "it has a name");
	t_done();
}
