/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files and directories in /proc of the process itself and of its child: they tell of the processes as
 * they are now, and what had been read is not read again.
 */
#include <dirent.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "fd.h"

static int status, stat_child, stat_thread, tasks, mounts, ep, by_name;

/* The field "Name:" of a status file from its start on; 0 when it is not there. */
static int field(int fd, const char *name)
{
	char text[8192], *line;
	ssize_t n = t_sys(pread(fd, text, sizeof(text) - 1, 0));

	text[n] = 0;
	line = strstr(text, name);
	return line ? atoi(line + strlen(name)) : 0;
}

/* The child's own view of what it has inherited. */
static void in_child(void)
{
	t_check(field(status, "\nPid:\t") == getppid(), "the parent's status");
}

int main(void)
{
	struct epoll_event e = {.events = EPOLLPRI | EPOLLERR};
	char path[64], buf[16];
	struct dirent *entry;
	int found = 0;
	pid_t pid;
	DIR *dir;

	t_start();
	status = t_sys(open("/proc/self/status", O_RDONLY | O_CLOEXEC));
	t_check(read(status, buf, 5) == 5 && memcmp(buf, "Name:", 5) == 0, "set-up");
	stat_thread = t_sys(open("/proc/thread-self/stat", O_RDONLY));
	tasks = t_sys(open("/proc/self/task", O_RDONLY | O_DIRECTORY));
	by_name = t_sys(open("/proc/self", O_PATH | O_DIRECTORY));
	mounts = t_sys(open("/proc/self/mountinfo", O_RDONLY));
	ep = t_sys(epoll_create1(0));
	e.data.u64 = t_token();
	t_sys(epoll_ctl(ep, EPOLL_CTL_ADD, mounts, &e));
	pid = child_after_go(in_child);
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	stat_child = t_sys(open(path, O_RDONLY));
	t_ready();

	t_check(lseek(status, 0, SEEK_CUR) == 5, "its position is lost");
	t_check(fcntl(status, F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	t_check(field(status, "\nPid:\t") == getpid() && field(status, "\nPPid:\t") == getppid(),
		"it tells of process %d, child of %d", field(status, "\nPid:\t"),
		field(status, "\nPPid:\t"));
	dir = fdopendir(tasks);
	while ((entry = readdir(dir)))
		found |= atoi(entry->d_name) == getpid();
	t_check(found, "our own thread is missing");
	t_check(faccessat(by_name, "status", F_OK, 0) == 0, "the directory");
	t_check(get_flags(by_name) & O_PATH, "O_PATH is lost");
	t_check(field(stat_child, "") == pid, "it is of %d, not of the child",
		field(stat_child, ""));
	t_check(field(stat_thread, "") == getpid(), "it is of %d, not of our thread",
		field(stat_thread, ""));
	t_check(read(mounts, buf, sizeof(buf)) == sizeof(buf), "the mounts");
	t_check(epoll_ctl(ep, EPOLL_CTL_DEL, mounts, NULL) == 0, "the mounts are not watched");
	child_must_pass(pid);
	t_done();
}
