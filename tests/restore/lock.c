/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File locks: flock(2), POSIX, open file description (OFD), shared and exclusive, ranges, on a file
 * that is also mapped.  A process that knows nothing of ours tries to lock.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>

#include "fd.h"

static int flocked, flocked_sh, posix, ofd, mapped, helds_fd;
static pid_t holder, owner;

static struct flock lock_of(short type, off_t start, off_t len)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
}

static void lock_range(int fd, int cmd, short type, off_t start, off_t len)
{
	struct flock fl = lock_of(type, start, len);

	t_sys(fcntl(fd, cmd, &fl));
}

static void disturb(void)
{
	t_sys(flock(flocked, LOCK_UN));
	t_sys(flock(flocked_sh, LOCK_EX));
	lock_range(posix, F_SETLK, F_UNLCK, 0, 0);
	lock_range(ofd, F_OFD_SETLK, F_UNLCK, 0, 0);
	lock_range(mapped, F_SETLK, F_UNLCK, 0, 0);
}

/* Who prevents such a POSIX lock: a pid, 0 nobody, -1 an OFD lock. */
static pid_t blocker(const char *name, short type, off_t start, off_t len)
{
	struct flock fl = lock_of(type, start, len);
	int fd = t_sys(open(t_path(name), O_RDWR));

	t_sys(fcntl(fd, F_GETLK, &fl));
	t_sys(close(fd));
	return fl.l_type == F_UNLCK ? 0 : fl.l_pid;
}

static int flock_fails(const char *name, int op)
{
	int fd = t_sys(open(t_path(name), O_RDWR)), r = flock(fd, op | LOCK_NB);

	t_check(r == 0 || errno == EWOULDBLOCK, "flock: %m");
	t_sys(close(fd));
	return r < 0;
}

static void as_stranger(void)
{
	/* What the owner's fork inherited is not ours to use. */
	(void)close_range(3, ~0U, 0);
	t_check(flock_fails("flock", LOCK_SH) && flock_fails("flock", LOCK_EX),
		"an exclusive flock is lost");
	t_check(!flock_fails("shared", LOCK_SH) && flock_fails("shared", LOCK_EX),
		"a shared flock is lost, or has become exclusive");
	t_check(blocker("posix", F_RDLCK, 10, 5) == owner, "an exclusive POSIX lock: %d",
		blocker("posix", F_RDLCK, 10, 5));
	t_check(blocker("posix", F_WRLCK, 0, 10) == 0 && blocker("posix", F_WRLCK, 15, 5) == 0,
		"the lock is larger than it was");
	t_check(blocker("posix", F_RDLCK, 100, 1) == 0 &&
			blocker("posix", F_WRLCK, 100, 1) == owner,
		"a shared POSIX lock");
	t_check(blocker("posix", F_WRLCK, 1LL << 40, 1) == owner, "a lock to the end of the file");
	t_check(blocker("posix", F_WRLCK, 200, 10) == holder, "the child's POSIX lock: %d",
		blocker("posix", F_WRLCK, 200, 10));
	t_check(blocker("ofd", F_WRLCK, 0, 1) == -1 && blocker("ofd", F_RDLCK, 0, 1) == 0,
		"a shared OFD lock");
	t_check(blocker("ofd", F_RDLCK, 5, 1) == -1, "an exclusive OFD lock");
	t_check(blocker("mapped", F_RDLCK, 1000, 1) == owner, "the lock of a mapped file");
}

static void in_child(void)
{
	t_sys(close(helds_fd));
}

int main(void)
{
	int pfd[2];
	char *map, c;
	pid_t stranger;

	t_start();
	owner = getpid();
	flocked = t_sys(open(t_path("flock"), O_RDWR | O_CREAT, 0600));
	t_sys(flock(flocked, LOCK_EX));
	flocked_sh = t_sys(open(t_path("shared"), O_RDONLY | O_CREAT, 0600));
	t_sys(flock(flocked_sh, LOCK_SH));
	posix = t_sys(open(t_path("posix"), O_RDWR | O_CREAT, 0600));
	lock_range(posix, F_SETLK, F_WRLCK, 10, 5);
	lock_range(posix, F_SETLK, F_RDLCK, 100, 1);
	lock_range(posix, F_SETLK, F_WRLCK, 1000, 0);
	ofd = t_sys(open(t_path("ofd"), O_RDWR | O_CREAT, 0600));
	lock_range(ofd, F_OFD_SETLK, F_RDLCK, 0, 1);
	lock_range(ofd, F_OFD_SETLK, F_WRLCK, 5, 1);
	mapped = t_sys(open(t_path("mapped"), O_RDWR | O_CREAT, 0600));
	t_sys(ftruncate(mapped, 8192));
	map = t_sys(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0));
	t_fill(map, 8192, t_token());
	lock_range(mapped, F_SETLK, F_WRLCK, 1000, 10);

	/* Another process with a lock on the same file and a descriptor of its own. */
	t_sys(pipe2(pfd, 0));
	holder = t_sys(fork());
	if (holder == 0) {
		helds_fd = t_sys(open(t_path("posix"), O_RDWR));
		lock_range(helds_fd, F_SETLK, F_WRLCK, 200, 10);
		t_sys(write(pfd[1], "l", 1));
		for (int i = 0; access(t_path("checked"), F_OK) < 0; i++) {
			t_check(i < 6000, "nobody has checked");
			t_sleep_ms(20);
		}
		in_child();
		_exit(0);
	}
	t_check(read(pfd[0], &c, 1) == 1, "the child did not lock");
	t_on_disturb(disturb);
	t_ready();

	stranger = child_now(as_stranger);
	child_must_pass(stranger);
	t_write_file(t_path("checked"), "", 0);
	child_must_pass(holder);
	t_check(t_filled(map, 8192, t_token()), "the mapped file differs");
	/* A flock belongs to the description: unlocking a duplicate frees it. */
	t_sys(flock(dup(flocked), LOCK_UN));
	t_check(!flock_fails("flock", LOCK_EX), "the flock is not of our description");
	lock_range(dup(ofd), F_OFD_SETLK, F_UNLCK, 0, 0);
	t_check(blocker("ofd", F_WRLCK, 0, 0) == 0, "the OFD lock is not of our description");
	t_done();
}
