/* SPDX-License-Identifier: BSD-3-Clause */
/* Refused objects behind descriptors, but for sockets. */
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <mqueue.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

#include "fd.h"
#include "refused.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

static int fd;

/* An object that this kernel does not have cannot be refused either. */
static int have(long got, const char *what)
{
	if (got < 0)
		t_skip("cannot make %s: %m", what);
	return (int)got;
}

static int hidden_fd;
static char hidden[] = "/dev/shm/ckpt-test-refused-XXXXXX";

/* Nothing but the kernel knows where that is: the name has been moved, below a place nobody looks at. */
static void make_inotify(void)
{
	char path[64];

	fd = have(inotify_init1(IN_NONBLOCK), "an inotify instance");
	t_check(mkdtemp(hidden) != NULL, "mkdtemp: %m");
	(void)snprintf(path, sizeof(path), "%s/file", hidden);
	t_write_file(path, "", 0);
	t_sys(inotify_add_watch(fd, path, IN_ATTRIB));
	/* A file that has lost its name stays watched while it is open or mapped. */
	hidden_fd = t_sys(open(path, O_RDONLY));
	t_check(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, hidden_fd, 0) != MAP_FAILED, "mmap: %m");
	t_sys(close(hidden_fd));
	t_sys(unlink(path));
	t_sys(rmdir(hidden));
}

static void after_inotify(void)
{
	char buf[4096];

	t_check(read(fd, buf, sizeof(buf)) > 0, "the watch is lost");
}

/* The kernel keeps the entry as long as the pidfd is open under another number. */
static void make_closed_number(void)
{
	struct epoll_event e = {.events = EPOLLIN};
	int first = have(syscall(SYS_pidfd_open, getpid(), 0), "a pidfd");

	fd = t_sys(epoll_create1(0));
	(void)t_sys(dup(first));
	t_sys(epoll_ctl(fd, EPOLL_CTL_ADD, first, &e));
	t_sys(close(first));
}

static void make_fanotify(void)
{
	fd = have(fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY), "a fanotify group");
}

static void make_io_uring(void)
{
	struct io_uring_params p = {0};

	fd = have(syscall(SYS_io_uring_setup, 4, &p), "an io_uring");
}

static void make_userfaultfd(void)
{
	fd = have(syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY), "a userfaultfd");
}

static void make_perf(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_TASK_CLOCK,
		.exclude_kernel = 1,
	};

	fd = have(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0), "a performance counter");
}

static void after_perf(void)
{
	uint64_t count;

	t_check(read(fd, &count, sizeof(count)) == sizeof(count), "the counter is lost");
}

static void make_bpf(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};

	fd = have(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)), "a BPF map");
}

static void make_pidfd(void)
{
	fd = have(syscall(SYS_pidfd_open, 1, 0), "a pidfd");
}

static void make_namespace(void)
{
	fd = have(open("/proc/self/ns/net", O_RDONLY), "a descriptor of a namespace");
}

static void make_mqueue(void)
{
	fd = have(mq_open("/ckpt-test-refused", O_CREAT | O_RDWR, 0600, NULL), "a message queue");
	(void)mq_unlink("/ckpt-test-refused");
	t_sys(mq_send(fd, "message", 7, 1));
}

static void after_mqueue(void)
{
	char buf[8192];

	t_check(mq_receive(fd, buf, sizeof(buf), NULL) == 7, "the message is lost");
}

static void make_secret(void)
{
	fd = have(syscall(SYS_memfd_secret, 0), "secret memory");
}

static void make_hugetlb(void)
{
	fd = have(memfd_create("huge", MFD_HUGETLB), "a memfd of huge pages");
}

static void make_landlock(void)
{
	uint64_t attr[1] = {1};

	fd = have(syscall(SYS_landlock_create_ruleset, attr, sizeof(attr), 0),
		  "a Landlock ruleset");
}

static void make_fscontext(void)
{
	fd = have(syscall(SYS_fsopen, "tmpfs", 0), "a file system context");
}

static void make_block(void)
{
	fd = have(open("/dev/loop0", O_RDONLY), "an open block device");
}

static void make_device(void)
{
	fd = have(open("/dev/kmsg", O_RDONLY | O_NONBLOCK), "an open device");
}

static void make_ptmx(void)
{
	fd = have(open("/dev/ptmx", O_RDWR | O_NOCTTY), "a pseudo-terminal");
	t_sys(unlockpt(fd));
}

/* Its session is a stranger: neither our child nor of our environment.  It ends when we do. */
static void make_pty_outside(void)
{
	char *none[] = {NULL};
	int tty, ready[2];
	char byte;

	make_ptmx();
	t_sys(pipe(ready));
	if (t_sys(fork()) == 0) {
		if (t_sys(fork()) > 0)
			_exit(0);
		t_sys(setsid());
		tty = t_sys(open(ptsname(fd), O_RDWR));
		t_sys(dup2(tty, 0));
		t_sys(fcntl(ready[1], F_SETFD, FD_CLOEXEC));
		t_sys(close_range(3, (unsigned)ready[1] - 1, 0));
		t_sys(execle("/bin/sleep", "sleep", "60", NULL, none));
	}
	t_sys(close(ready[1]));
	t_check(read(ready[0], &byte, 1) == 0, "no session");
	t_sys(close(ready[0]));
	(void)wait(NULL);
}

static void make_packet_status(void)
{
	int on = 1, slave;

	make_ptmx();
	slave = t_sys(open(ptsname(fd), O_RDWR | O_NOCTTY));
	t_sys(ioctl(fd, TIOCPKT, &on));
	t_sys(tcflush(slave, TCIFLUSH));
}

static void after_packet_status(void)
{
	char status;

	t_check(read(fd, &status, 1) == 1 && status == TIOCPKT_FLUSHREAD, "the status is lost");
}

static void make_discipline(void)
{
	int other = 27 /* N_NULL */, slave;

	make_ptmx();
	slave = t_sys(open(ptsname(fd), O_RDWR | O_NOCTTY));
	have(ioctl(slave, TIOCSETD, &other), "another line discipline");
}

static void make_opath(void)
{
	char path[64];
	int end[2];

	t_sys(pipe2(end, 0));
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", end[0]);
	fd = t_sys(open(path, O_PATH));
}

static void make_lease(void)
{
	t_write_file(t_path("leased"), "x", 1);
	fd = t_sys(open(t_path("leased"), O_RDONLY));
	have(fcntl(fd, F_SETLEASE, F_RDLCK), "a lease");
}

static void after_lease(void)
{
	t_check(fcntl(fd, F_GETLEASE) == F_RDLCK, "the lease is lost");
}

static void make_proc_file(void)
{
	fd = t_sys(open("/proc/self/maps", O_RDONLY));
}

static void make_proc_dir(void)
{
	fd = t_sys(open("/proc/1", O_RDONLY | O_DIRECTORY));
}

static void make_pipe_outside(void)
{
	fd = OUTSIDE_PIPE;
	t_check(fcntl(fd, F_GETFL) == O_WRONLY, "no pipe was handed on");
}

static void after_pipe_outside(void)
{
	t_check(write(fd, "still here", 10) == 10, "the pipe is lost: %m");
}

const struct refused refused_descriptors[] = {
	{"inotify", "whose path is not to be found", make_inotify, after_inotify, 0, 4},
	{"epoll of a closed number", "which has been closed while its pidfd stayed open",
	 make_closed_number, NULL, 0, 4},
	{"fanotify", "is a fanotify group", make_fanotify, NULL, 1, 4},
	{"io_uring", "is an io_uring", make_io_uring, NULL, 0, 4},
	{"userfaultfd", "is a userfaultfd", make_userfaultfd, NULL, 0, 4},
	{"perf_event", "is a performance counter", make_perf, after_perf, 0, 4},
	{"bpf", "is a BPF object", make_bpf, NULL, 1, 4},
	{"pidfd of a stranger", "is a pidfd of a process outside the set", make_pidfd, NULL, 0, 4},
	{"namespace descriptor", "is a namespace", make_namespace, NULL, 0, 4},
	{"POSIX message queue", "is a POSIX message queue", make_mqueue, after_mqueue, 0, 4},
	{"memfd_secret", "is secret memory", make_secret, NULL, 0, 4},
	{"hugetlbfs file", "is a hugetlbfs file", make_hugetlb, NULL, 0, 4},
	{"Landlock ruleset", "is a Landlock ruleset", make_landlock, NULL, 0, 4},
	{"fsopen", "is a file system context", make_fscontext, NULL, 1, 4},
	{"block device", "is a block device", make_block, NULL, 1, 4},
	{"other device", "is a device", make_device, NULL, 1, 4},
	{"pseudo-terminal of others", "the processes of the terminal are outside the set",
	 make_pty_outside, NULL, 0, 4},
	{"pseudo-terminal, packet mode", "has a status of packet mode to be read",
	 make_packet_status, after_packet_status, 0, 1},
	{"line discipline", "has line discipline", make_discipline, NULL, 0, 4},
	{"O_PATH without a name", "was opened with O_PATH, and no name leads to it", make_opath,
	 NULL, 0, 4},
	{"file lease", "holds a lease", make_lease, after_lease, 0, 4},
	{"memory of a process in /proc", "shows the memory of a process in /proc", make_proc_file,
	 NULL, 0, 4},
	{"stranger in /proc", "belongs to a process outside the set in /proc", make_proc_dir, NULL,
	 0, 4},
	{"pipe to the outside", "the other end of the pipe is outside the set", make_pipe_outside,
	 after_pipe_outside, 0, 4},
	{NULL, NULL, NULL, NULL, 0, 0},
};
