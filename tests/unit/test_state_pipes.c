/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pipes, FIFOs, standard descriptors, memfds and file locks: saved without a trace, restored.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "state/pty_private.h"
#include "state_fixture.h"

static void save_and_reload(struct t_state *t)
{
	if (t_save(t) < 0)
		fail_msg("save: %s", t->err.text);
	t_reload(t);
}

static void restore(struct t_state *t)
{
	if (t_restore(t) < 0)
		fail_msg("restore: %s", t->err.text);
}

static int queued(int fd)
{
	int n = -1;

	assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
	return n;
}

static void expect_read(int fd, const void *want, size_t len)
{
	char *buf = malloc(len + 1);

	assert_non_null(buf);
	assert_int_equal(read(fd, buf, len + 1), len);
	assert_memory_equal(buf, want, len);
	free(buf);
}

static void test_pipe_keeps_queue_capacity_and_flags(void **state)
{
	struct t_state *t = *state;
	const size_t len = 100000;
	char *data = malloc(len);
	int p[2], second;

	assert_non_null(data);
	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * 7 + i / 251);
	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(fcntl(p[0], F_SETPIPE_SZ, 131072), 131072);
	assert_int_equal(fcntl(p[0], F_SETFL, 0), 0); /* only the writer is non-blocking */
	/* In pieces that leave gaps in the pipe's pages. */
	for (size_t done = 0; done < len; done += 5000)
		assert_int_equal(write(p[1], data + done, 5000), 5000);
	second = open("/dev/null", O_RDONLY | O_CLOEXEC);
	t_add(t, p[1]);
	t_add(t, second);
	t_add(t, p[0]);
	save_and_reload(t);
	assert_int_equal(queued(p[0]), len);
	expect_read(p[0], data, len); /* the application's queue has everything, in order */
	(void)close(p[0]);
	(void)close(p[1]);

	restore(t);
	assert_int_equal(fcntl(t_fd(t, 0), F_GETPIPE_SZ), 131072);
	assert_int_equal(fcntl(t_fd(t, 0), F_GETFL), O_WRONLY | O_NONBLOCK);
	assert_int_equal(fcntl(t_fd(t, 2), F_GETFL), O_RDONLY);
	assert_int_equal(queued(t_fd(t, 2)), len);
	assert_int_equal(write(t_fd(t, 0), "end", 3), 3);
	{
		char *again = malloc(len);

		assert_int_equal(read(t_fd(t, 2), again, len), len);
		assert_memory_equal(again, data, len);
		free(again);
	}
	expect_read(t_fd(t, 2), "end", 3);
	(void)close(second);
	free(data);
}

static void test_pipe_descriptions_stay_apart(void **state)
{
	struct t_state *t = *state;
	char path[64];
	int p[2], again;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", p[0]);
	again = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(again >= 0);
	assert_int_equal(write(p[1], "once", 4), 4);
	t_add(t, p[0]);
	t_add(t, again);
	t_add(t, p[1]);
	save_and_reload(t);
	restore(t);
	assert_int_equal(fcntl(t_fd(t, 0), F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fcntl(t_fd(t, 1), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	expect_read(t_fd(t, 1), "once", 4); /* the queue is there once */
	assert_int_equal(queued(t_fd(t, 0)), 0);
	(void)close(p[0]);
	(void)close(p[1]);
	(void)close(again);
}

static void test_pipe_keeps_packets(void **state)
{
	struct t_state *t = *state;
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC | O_DIRECT), 0);
	assert_int_equal(write(p[1], "first", 5), 5);
	assert_int_equal(write(p[1], "2", 1), 1);
	t_add(t, p[0]);
	t_add(t, p[1]);
	save_and_reload(t);
	restore(t);
	expect_read(t_fd(t, 0), "first", 5);
	expect_read(t_fd(t, 0), "2", 1);
	assert_int_equal(fcntl(t_fd(t, 1), F_GETFL) & O_DIRECT, O_DIRECT);
	(void)close(p[0]);
	(void)close(p[1]);
}

static void test_pipe_with_a_closed_end(void **state)
{
	struct t_state *t = *state;
	struct pollfd poll_fd;
	int p[2], q[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(pipe2(q, O_CLOEXEC), 0);
	assert_int_equal(write(p[1], "last", 4), 4);
	(void)close(p[1]);
	(void)close(q[0]);
	t_add(t, p[0]);
	t_add(t, q[1]);
	save_and_reload(t);
	restore(t);
	expect_read(t_fd(t, 0), "last", 4);
	expect_read(t_fd(t, 0), "", 0); /* end of file, not a wait */
	poll_fd = (struct pollfd){.fd = t_fd(t, 1)};
	assert_int_equal(poll(&poll_fd, 1, 0), 1);
	assert_true(poll_fd.revents & POLLERR);
	(void)close(p[0]);
	(void)close(q[1]);
}

static void test_pipe_that_leads_outside(void **state)
{
	struct t_state *t = *state;
	struct stat st, want;
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(t_add_as(t, p[1], 5), 0);
	assert_int_equal(t_save(t), -ENOTSUP);
	assert_non_null(strstr(t->err.text, "outside the set"));
	assert_non_null(strstr(t->err.text, "descriptor 5"));

	/* On descriptor 1 it is what the program was started with. */
	memset(&t->err, 0, sizeof(t->err));
	t->desc[0].num = STDOUT_FILENO;
	assert_int_equal(fstat(STDOUT_FILENO, &want), 0);
	save_and_reload(t);
	assert_int_equal(t->redesc[0].rec.type, CKPTI_R_OBJ_STDIO);
	restore(t);
	assert_int_equal(fstat(t_fd(t, 0), &st), 0);
	assert_int_equal(st.st_ino, want.st_ino);
	assert_int_equal(st.st_rdev, want.st_rdev);
	(void)close(p[0]);
	(void)close(p[1]);
}

static void test_tty_under_a_higher_number_is_the_terminal(void **state)
{
	struct t_state *t = *state;
	struct ckpti_r_obj_stdio rec;
	int master, slave, again;
	char name[64];

	if (openpty(&master, &slave, name, NULL, NULL) < 0) {
		print_message("no pseudo terminals\n");
		skip();
	}
	again = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(again >= 0);
	assert_int_equal(t_add_as(t, slave, STDERR_FILENO), 0);
	assert_int_equal(t_add_as(t, again, 255), 0);
	save_and_reload(t);
	CKPTI_FIXED(&t->redesc[1].rec, &rec);
	assert_int_equal(t->redesc[1].rec.type, CKPTI_R_OBJ_STDIO);
	assert_int_equal(rec.fd, STDERR_FILENO);
	(void)close(master);
	(void)close(slave);
	(void)close(again);
}

static void test_tty_with_its_master_is_inside(void **state)
{
	struct t_state *t = *state;
	int master, slave;

	if (openpty(&master, &slave, NULL, NULL, NULL) < 0) {
		print_message("no pseudo terminals\n");
		skip();
	}
	assert_int_equal(t_add_as(t, slave, STDERR_FILENO), 0);
	assert_int_equal(t_add_as(t, master, 7), 0);
	save_and_reload(t);
	assert_int_equal(t->redesc[0].rec.type, CKPTI_R_OBJ_PTS);
	assert_int_equal(t->redesc[1].rec.type, CKPTI_R_OBJ_PTM);
	(void)close(master);
	(void)close(slave);
}

/* On the directory of the test. */
static void mount_devpts(struct t_state *t)
{
	const char *options = "newinstance,ptmxmode=0666";

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("devpts", t->dir, "devpts", 0, options) < 0) {
		print_message("no devpts of our own: %s\n", strerror(errno));
		skip();
	}
}

static int open_ptmx(struct t_state *t, int want)
{
	int number = -1, fd = open(t_path(t, "ptmx"), O_RDWR | O_NOCTTY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, TIOCGPTN, &number), 0);
	assert_int_equal(number, want);
	return fd;
}

static char noted[128];

static void take_note(struct ckpti_rebuild *rb, const char *text)
{
	(void)rb;
	(void)snprintf(noted, sizeof(noted), "%s", text);
}

static void test_tty_has_its_number_again(void **state)
{
	struct t_state *t = *state;
	int lower[3], number, fd;

	mount_devpts(t);
	for (int i = 0; i < 2; i++)
		lower[i] = open_ptmx(t, i);
	fd = open_ptmx(t, 2);
	t_add(t, fd);
	save_and_reload(t);
	t_drop(t);
	(void)close(fd);
	t->rb.note = take_note;
	(void)close(lower[0]);
	noted[0] = 0;
	restore(t);
	assert_int_equal(ioctl(t_fd(t, 0), TIOCGPTN, &number), 0);
	assert_int_equal(number, 2);
	assert_string_equal(noted, "");
	/* Those that stood for the lower ones are gone. */
	lower[0] = open_ptmx(t, 0);
	t_forget(t);
	/* Somebody else has it. */
	lower[2] = open_ptmx(t, 2);
	restore(t);
	assert_int_equal(ioctl(t_fd(t, 0), TIOCGPTN, &number), 0);
	assert_int_equal(number, 3);
	assert_string_equal(noted, "/dev/pts/2 is taken: that terminal is /dev/pts/3 now");
	t_forget(t);
	for (int i = 0; i < 3; i++)
		(void)close(lower[i]);
	assert_int_equal(umount2(t->dir, MNT_DETACH), 0);
}

/* Each devpts counts from 0, as in a container that has the user's terminal as standard input. */
static void test_tty_with_the_number_of_another_is_outside(void **state)
{
	int inner, outer[64], n = 0, number = -1, want;
	struct t_state *t = *state;
	char path[64];

	mount_devpts(t);
	/* Until an inner one has the number of the outer one. */
	outer[n] = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(outer[n] >= 0);
	assert_int_equal(ioctl(outer[n++], TIOCGPTN, &want), 0);
	do {
		assert_true(n < 64);
		inner = outer[n++] = open(t_path(t, "ptmx"), O_RDWR | O_NOCTTY | O_CLOEXEC);
		assert_true(inner >= 0);
		assert_int_equal(ioctl(inner, TIOCGPTN, &number), 0);
	} while (number < want);
	assert_int_equal(number, want);
	assert_int_equal(unlockpt(outer[0]), 0);
	assert_int_equal(unlockpt(inner), 0);
	(void)snprintf(path, sizeof(path), "/dev/pts/%d", want);
	assert_int_equal(t_add_as(t, open(path, O_RDWR | O_NOCTTY | O_CLOEXEC), 0), 0);
	(void)snprintf(path, sizeof(path), "%d", want);
	t_add(t, open(t_path(t, path), O_RDWR | O_NOCTTY | O_CLOEXEC));
	t_add(t, inner);
	assert_false(ckpti_pty_inside(&t->cap, &t->desc[0]));
	assert_true(ckpti_pty_inside(&t->cap, &t->desc[1]));
	t_drop(t);
	for (int i = 0; i < n; i++)
		if (outer[i] != inner)
			(void)close(outer[i]);
	assert_int_equal(umount2(t->dir, MNT_DETACH), 0);
}

static bool may_write(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, 100) > 0 && (p.revents & POLLOUT);
}

static void test_tty_stays_stopped_where_nothing_can_be_taken(void **state)
{
	struct ckpti_r_obj_ptm rec = {0};
	struct ckpti_pty_queue q = {0};
	int master, slave, unreadable;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	assert_int_equal(write(master, "a line\n\023", 8), 8);
	for (int i = 0; i < 100 && may_write(slave); i++)
		(void)usleep(10000);
	assert_false(may_write(slave));
	unreadable = ckpti_pty_open_slave(master, O_WRONLY | O_NONBLOCK);
	assert_true(unreadable >= 0);
	assert_int_equal(ckpti_pty_get_settings(master, &rec), 0);
	assert_int_equal(ckpti_pty_take(master, unreadable, &rec, &q), -EBADF);
	assert_int_equal(ckpti_pty_put(master, unreadable, &rec, &q), 0);
	assert_false(may_write(slave));
	expect_read(slave, "a line\n", 7);
	ckpti_pty_queue_free(&q);
	(void)close(unreadable);
	(void)close(slave);
	(void)close(master);
}

static void test_fifo_is_made_again_with_its_data(void **state)
{
	struct t_state *t = *state;
	const char *path = t_path(t, "fifo");
	struct stat st;
	int r, w;

	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(chmod(path, 0620), 0);
	r = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	w = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(r >= 0 && w >= 0);
	assert_int_equal(write(w, "through", 7), 7);
	t_add(t, r);
	t_add(t, w);
	save_and_reload(t);
	expect_read(r, "through", 7);
	(void)close(r);
	(void)close(w);
	assert_int_equal(unlink(path), 0);
	restore(t);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0620);
	assert_int_equal(fcntl(t_fd(t, 0), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(fcntl(t_fd(t, 1), F_GETFL) & O_NONBLOCK, 0);
	expect_read(t_fd(t, 0), "through", 7);
	assert_int_equal(write(t_fd(t, 1), "more", 4), 4);
	expect_read(t_fd(t, 0), "more", 4);

	t_forget(t);
	t->rb.clone = true;
	assert_int_equal(t_check(t), -EEXIST);
	assert_non_null(strstr(t->err.text, path));
}

static void test_memfd_keeps_content_offset_and_sharing(void **state)
{
	struct t_state *t = *state;
	struct ckpti_r_shm shm;
	struct ckpti_view v;
	char path[64], buf[8];
	struct stat a, b;
	int fd, again;

	fd = memfd_create("scratch", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(pwrite(fd, "memory", 6, 300000), 6);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(lseek(fd, 300003, SEEK_SET), 300003);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY | O_CLOEXEC);
	t_add(t, fd);
	t_add(t, again);
	save_and_reload(t);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 300003);
	assert_true(t->cap.content_end <= 8192); /* holes are not stored */
	(void)close(fd);
	(void)close(again);

	assert_true(ckpti_image_first(&t->img, CKPTI_R_SHM, &v));
	CKPTI_FIXED(&v, &shm);
	assert_string_equal(ckpti_view_str(&v, 0), "scratch");
	assert_int_equal(shm.kind, CKPTI_SHM_MEMFD);
	assert_int_equal(shm.size, 1 << 20);
	assert_int_equal(shm.seals, F_SEAL_SHRINK);
	assert_int_equal(shm.memfd_flags, MFD_ALLOW_SEALING);

	restore(t);
	assert_int_equal(read(t_fd(t, 0), buf, 3), 3);
	assert_memory_equal(buf, "ory", 3);
	assert_int_equal(lseek(t_fd(t, 1), 0, SEEK_CUR), 0);
	assert_int_equal(fcntl(t_fd(t, 1), F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fstat(t_fd(t, 0), &a), 0);
	assert_int_equal(fstat(t_fd(t, 1), &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
}

/* Can another description lock the file? */
static bool lockable(const char *path, short type, off_t start, off_t len)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	int fd = open(path, O_RDWR | O_CLOEXEC), r;

	assert_true(fd >= 0);
	r = fcntl(fd, F_OFD_SETLK, &fl);
	(void)close(fd);
	return r == 0;
}

static bool flockable(const char *path, int how)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), r;

	assert_true(fd >= 0);
	r = flock(fd, how | LOCK_NB);
	(void)close(fd);
	return r == 0;
}

static void test_locks_of_descriptions_come_back(void **state)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 5};
	struct t_state *t = *state;
	const char *path = t_path(t, "f");
	struct ckpti_e_lock lock;
	struct ckpti_view v;
	int fd, other, posix;

	t_write(path, "locked");
	fd = open(path, O_RDWR | O_CLOEXEC);
	other = open(path, O_RDWR | O_CLOEXEC);
	t_write(t_path(t, "g"), "");
	posix = open(t_path(t, "g"), O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_SH), 0);
	assert_int_equal(fcntl(other, F_OFD_SETLK, &fl), 0);
	fl.l_type = F_RDLCK;
	fl.l_start = 3;
	fl.l_len = 0;
	assert_int_equal(fcntl(posix, F_SETLK, &fl), 0);
	t_add(t, fd);
	t_add(t, other);
	t_add(t, posix);
	save_and_reload(t);
	(void)close(fd);
	(void)close(other);
	(void)close(posix);

	assert_true(ckpti_image_first(&t->img, CKPTI_R_LOCKS, &v));
	assert_int_equal(v.count, 3);
	CKPTI_ELEM(&v, 2, &lock);
	assert_int_equal(lock.kind, CKPTI_LOCK_POSIX);
	assert_int_equal(lock.type, F_RDLCK);
	assert_int_equal(lock.pid, getpid());
	assert_int_equal(lock.fd, posix);
	assert_int_equal(lock.start, 3);
	assert_int_equal(lock.len, 0);

	assert_true(lockable(path, F_WRLCK, 0, 0));
	restore(t);
	assert_true(flockable(path, LOCK_SH));
	assert_false(flockable(path, LOCK_EX));
	assert_false(lockable(path, F_RDLCK, 14, 1));
	assert_true(lockable(path, F_WRLCK, 15, 0));
	assert_true(lockable(path, F_WRLCK, 0, 10));

	/* Somebody else has it now. */
	t_forget(t);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(t_restore(t), -EWOULDBLOCK);
	assert_non_null(strstr(t->err.text, path));
	(void)close(fd);
}

static void test_locks_are_parsed_as_the_kernel_prints_them(void **state)
{
	/* Two descriptors of two processes for one description. */
	static const char text[] = "pos:\t0\n"
				   "lock:\t1: FLOCK  ADVISORY  WRITE 77 fe:00:12 0 EOF\n"
				   "lock:\t2: POSIX  ADVISORY  WRITE 77 fe:00:12 100 199\n"
				   "mnt_id:\t3\n";
	struct ckpti_locks *l = ckpti_locks_new();
	struct ckpti_err err = {0};
	struct ckpti_e_lock lock;
	struct ckpti_image img;
	struct ckpti_view v;

	(void)state;
	ckpti_image_init(&img);
	assert_non_null(l);
	assert_int_equal(ckpti_locks_save(l, 77, 4, 1, text, &err), 0);
	assert_int_equal(ckpti_locks_save(l, 77, 5, 1, text, &err), 0); /* dup() */
	assert_int_equal(ckpti_locks_save(l, 78, 4, 1,
					  "lock:\t1: FLOCK  ADVISORY  WRITE 77 fe:00:12 0 EOF\n",
					  &err),
			 0); /* fork() */
	assert_int_equal(ckpti_locks_record(l, &img), 0);
	assert_true(ckpti_image_first(&img, CKPTI_R_LOCKS, &v));
	assert_int_equal(v.count, 2);
	CKPTI_ELEM(&v, 1, &lock);
	assert_int_equal(lock.kind, CKPTI_LOCK_POSIX);
	assert_int_equal(lock.type, F_WRLCK);
	assert_int_equal(lock.start, 100);
	assert_int_equal(lock.len, 100);
	assert_int_equal(ckpti_locks_save(l, 77, 6, 2,
					  "lock:\t1: LEASE  ACTIVE    READ 77 fe:00:12 0 EOF\n",
					  &err),
			 -ENOTSUP);
	assert_non_null(strstr(err.text, "LEASE"));
	ckpti_image_free(&img);
	ckpti_locks_free(l);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, t_state_setup, t_state_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_pipe_keeps_queue_capacity_and_flags),
		T(test_pipe_descriptions_stay_apart),
		T(test_pipe_keeps_packets),
		T(test_pipe_with_a_closed_end),
		T(test_pipe_that_leads_outside),
		T(test_tty_under_a_higher_number_is_the_terminal),
		T(test_tty_with_its_master_is_inside),
		T(test_tty_has_its_number_again),
		T(test_tty_with_the_number_of_another_is_outside),
		T(test_tty_stays_stopped_where_nothing_can_be_taken),
		T(test_fifo_is_made_again_with_its_data),
		T(test_memfd_keeps_content_offset_and_sharing),
		T(test_locks_of_descriptions_come_back),
		cmocka_unit_test(test_locks_are_parsed_as_the_kernel_prints_them),
	};

	return cmocka_run_group_tests_name("state_pipes", tests, NULL, NULL);
}
