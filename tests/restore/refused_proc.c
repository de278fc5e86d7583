/* SPDX-License-Identifier: BSD-3-Clause */
/* Refused memory, and processes that are refused for what they are. */
#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "fd.h"
#include "refused.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

#ifndef SYS_map_shadow_stack
#define SYS_map_shadow_stack 453
#endif

static char *memory;
static pid_t child;

/* ---- memory ------------------------------------------------------------------------------- */

static char *map(int prot, int flags, int fd, off_t off)
{
	char *p = mmap(NULL, 4096, prot, flags, fd, off);

	if (p == MAP_FAILED)
		t_skip("cannot map it: %m");
	return p;
}

static void make_huge(void)
{
	void *p = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		t_skip("no huge pages here: %m");
}

static void make_sysv(void)
{
	int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);

	if (id < 0)
		t_skip("no System V shared memory: %m");
	memory = shmat(id, NULL, 0);
	(void)shmctl(id, IPC_RMID, NULL);
	t_fill(memory, 4096, t_token());
}

static void after_sysv(void)
{
	t_check(t_filled(memory, 4096, t_token()), "shared memory differs");
}

static void make_aio(void)
{
	aio_context_t ctx = 0;

	if (syscall(SYS_io_setup, 8, &ctx) < 0)
		t_skip("no asynchronous I/O: %m");
}

static void make_ring(void)
{
	struct io_uring_params p = {0};
	long fd = syscall(SYS_io_uring_setup, 4, &p);

	if (fd < 0)
		t_skip("no io_uring: %m");
	(void)map(PROT_READ, MAP_SHARED, (int)fd, IORING_OFF_SQ_RING);
	t_sys(close((int)fd));
}

static void make_secret_map(void)
{
	long fd = syscall(SYS_memfd_secret, 0);

	if (fd < 0)
		t_skip("no secret memory: %m");
	t_sys(ftruncate((int)fd, 4096));
	memory = map(PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
	t_fill(memory, 4096, t_token());
	t_sys(close((int)fd));
}

static void make_pkey(void)
{
	int key = pkey_alloc(0, 0);

	if (key < 0)
		t_skip("no memory protection keys here: %m");
	memory =
		t_sys(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	t_sys(pkey_mprotect(memory, 4096, PROT_READ | PROT_WRITE, key));
	t_fill(memory, 4096, t_token());
}

static void make_shadow_stack(void)
{
	if (syscall(SYS_map_shadow_stack, 0, 4096, 0) < 0)
		t_skip("no shadow stacks here: %m");
}

const struct refused refused_memory[] = {
	{"huge pages of a file, or shared", "hugetlbfs pages of a file, or shared", make_huge, NULL,
	 0, 4},
	{"System V shared memory", "System V shared memory", make_sysv, after_sysv, 0, 4},
	{"asynchronous I/O context", "an asynchronous I/O context (io_setup) cannot be saved",
	 make_aio, NULL, 0, 4},
	{"io_uring mapping", "a ring of an io_uring cannot be saved", make_ring, NULL, 0, 4},
	{"secret memory", "secret memory cannot be saved", make_secret_map, after_sysv, 0, 4},
	{"memory protection key", "a memory protection key cannot be saved", make_pkey, after_sysv,
	 0, 4},
	{"shadow stack", "a shadow stack cannot be saved", make_shadow_stack, NULL, 0, 4},
	{NULL, NULL, NULL, NULL, 0, 0},
};

/* ---- processes ---------------------------------------------------------------------------- */

static void fail_if(int failed)
{
	if (failed)
		_exit(errno == EPERM || errno == EINVAL || errno == ENOSPC ? 77 : 1);
}

/* A child that does something and is then there. */
static void make_child(void (*fn)(void))
{
	int ready[2], status;
	char c;

	t_sys(pipe2(ready, O_CLOEXEC));
	child = t_sys(fork());
	if (child == 0) {
		fn();
		t_sys(write(ready[1], "r", 1));
		t_sys(close(ready[0]));
		t_sys(close(ready[1]));
		for (;;)
			(void)pause();
	}
	t_sys(close(ready[1]));
	if (read(ready[0], &c, 1) != 1) {
		t_check(waitpid(child, &status, 0) == child, "waitpid: %m");
		if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
			t_skip("not allowed here");
		t_fail("the child ended with wait status %#x", status);
	}
	t_sys(close(ready[0]));
}

static void after_child(void)
{
	t_check(waitpid(child, NULL, WNOHANG) == 0, "the child has ended");
	t_sys(kill(child, SIGKILL));
	t_check(waitpid(child, NULL, 0) == child, "the child cannot be ended");
}

static void add_filter(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = {1, &allow};

	fail_if(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0);
}

static void make_seccomp(void)
{
	make_child(add_filter);
}

static void trace_parent(void)
{
	fail_if(ptrace(PTRACE_SEIZE, getppid(), NULL, NULL) < 0);
}

static void make_traced(void)
{
	(void)prctl(PR_SET_PTRACER, -1, 0, 0, 0);
	make_child(trace_parent);
}

static void change_saved_id(void)
{
	fail_if(setresuid((uid_t)-1, (uid_t)-1, 12345) < 0);
}

static void make_setuid(void)
{
	make_child(change_saved_id);
}

static void change_ids(void)
{
	fail_if(setresgid(12345, 12345, 12345) < 0 || setresuid(12345, 12345, 12345) < 0);
	(void)prctl(PR_SET_DUMPABLE, 1);
}

static void make_other_user(void)
{
	make_child(change_ids);
}

static void hide(void)
{
	fail_if(prctl(PR_SET_DUMPABLE, 0) < 0);
}

static void make_undumpable(void)
{
	if (getuid() == 0)
		t_skip("root may look at every process");
	make_child(hide);
}

static void make_stopped(void)
{
	child = t_sys(fork());
	if (child == 0)
		for (;;)
			(void)raise(SIGSTOP);
	t_check(waitpid(child, NULL, WUNTRACED) == child, "the child does not stop");
}

static void *end_main(void *arg)
{
	(void)pthread_join(*(pthread_t *)arg, NULL);
	for (;;)
		(void)pause();
	return NULL;
}

static void make_mainless(void)
{
	static pthread_t self;
	char path[64], text[512] = "";
	pthread_t t;

	child = t_sys(fork());
	if (child == 0) {
		self = pthread_self();
		(void)pthread_create(&t, NULL, end_main, &self);
		pthread_exit(NULL);
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", child);
	for (int i = 0; !strstr(text, ") Z "); i++) {
		t_check(i < 1000, "the main thread does not end");
		t_sleep_ms(2);
		text[t_read_file(path, text, sizeof(text) - 1)] = 0;
	}
}

static void change_root(void)
{
	fail_if(chroot(t_path(".")) < 0 || chdir("/") < 0);
}

static void make_chroot(void)
{
	make_child(change_root);
}

static int unshared;

static void leave(void)
{
	fail_if(unshare(unshared) < 0);
	/* A new pid or time namespace is for children only, and these are refused all the same. */
}

static void make_unshared(int flags)
{
	unshared = flags;
	make_child(leave);
}

#define UNSHARED(name, flag)                 \
	static void make_##name(void)        \
	{                                    \
		make_unshared(CLONE_##flag); \
	}
UNSHARED(userns, NEWUSER)
UNSHARED(netns, NEWNET)
UNSHARED(ipcns, NEWIPC)
UNSHARED(utsns, NEWUTS)
UNSHARED(cgroupns, NEWCGROUP)
UNSHARED(mntns, NEWNS)
UNSHARED(pidns, NEWPID)
UNSHARED(timens, NEWTIME)

/* One thread that differs, in a child. */
static int (*differ)(void);
static int differs; /* 1: done, -1: cannot */

static void *odd_thread(void *arg)
{
	(void)arg;
	__atomic_store_n(&differs, differ() == 0 ? 1 : -1, __ATOMIC_SEQ_CST);
	for (;;)
		(void)pause();
	return NULL;
}

static void start_odd_thread(void)
{
	pthread_t t;

	fail_if(pthread_create(&t, NULL, odd_thread, NULL) != 0);
	while (!__atomic_load_n(&differs, __ATOMIC_SEQ_CST))
		t_sleep_ms(1);
	if (differs < 0)
		_exit(77);
}

static int own_files(void)
{
	return unshare(CLONE_FILES);
}

static int own_fs(void)
{
	return unshare(CLONE_FS);
}

static int own_ids(void)
{
	return (int)syscall(SYS_setresuid, -1, 12345, -1);
}

static int own_filter(void)
{
	add_filter();
	return 0;
}

#define ODD_THREAD(name)                      \
	static void make_thread_##name(void)  \
	{                                     \
		differ = own_##name;          \
		make_child(start_odd_thread); \
	}
ODD_THREAD(files)
ODD_THREAD(fs)
ODD_THREAD(ids)
ODD_THREAD(filter)

static void make_sharing(void)
{
	child = (pid_t)t_sys(syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
	if (child == 0)
		for (;;)
			(void)pause();
}

const struct refused refused_processes[] = {
	{"seccomp filter", "has a seccomp filter", make_seccomp, after_child, 0, 4},
	{"seccomp filter of a thread", "has a seccomp filter", make_thread_filter, after_child, 0,
	 4},
	{"traced process", "is traced by process", make_traced, after_child, 0, 4},
	{"setuid process", "runs with changed user ids", make_setuid, after_child, 1, 4},
	{"process of another user", "belongs to another user", make_other_user, after_child, 1, 4},
	{"process that hides itself", "asked not to be dumped", make_undumpable, after_child, 0, 4},
	{"stopped process", "is stopped", make_stopped, after_child, 0, 1},
	{"main thread has ended", "its main thread has ended", make_mainless, after_child, 0, 4},
	{"changed root directory", "has changed its root directory", make_chroot, after_child, 1,
	 4},
	{"user namespace", "is in another user namespace than cpr", make_userns, after_child, 0, 4},
	{"network namespace", "is in another network namespace than cpr", make_netns, after_child,
	 1, 4},
	{"IPC namespace", "is in another IPC namespace than cpr", make_ipcns, after_child, 1, 4},
	{"host name namespace", "is in another host name namespace than cpr", make_utsns,
	 after_child, 1, 4},
	{"cgroup namespace", "is in another cgroup namespace than cpr", make_cgroupns, after_child,
	 1, 4},
	{"mount namespace", "is in another mount namespace than cpr", make_mntns, after_child, 1,
	 4},
	{"pid namespace", "is in another pid namespace than cpr", make_pidns, after_child, 1, 4},
	{"time namespace", "is in another time namespace than cpr", make_timens, after_child, 1, 4},
	{"descriptors of one thread", "has descriptors of its own", make_thread_files, after_child,
	 0, 4},
	{"working directory of one thread", "has working directory and umask of its own",
	 make_thread_fs, after_child, 0, 4},
	{"user ids of one thread", "has user ids or capabilities of its own", make_thread_ids,
	 after_child, 1, 4},
	{"descriptors shared by processes", "shares its descriptors with process", make_sharing,
	 after_child, 0, 4},
	{NULL, NULL, NULL, NULL, 0, 0},
};
