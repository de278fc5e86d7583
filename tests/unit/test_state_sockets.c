/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Event descriptors and sockets: real kernel objects, saved and restored in one process.  The oracle
 * is what a program would read, from the original after saving and from the copy after restoring.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "state/kinds.h"

#define MAX       16
#define IMAGE_PID 4711

/* A machine whose receive buffers cannot grow. */
static int buffers_are_fixed;
/* A user on a machine with the default limit. */
static int send_buffers_are_small;
#define DEFAULT_WMEM_MAX 212992
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	const int limit = DEFAULT_WMEM_MAX;

	if (buffers_are_fixed && level == SOL_SOCKET &&
	    (name == SO_RCVBUF || name == SO_RCVBUFFORCE || name == SO_RCVLOWAT)) {
		errno = EPERM;
		return -1;
	}
	if (send_buffers_are_small && level == SOL_SOCKET && name == SO_SNDBUFFORCE) {
		errno = EPERM;
		return -1;
	}
	if (send_buffers_are_small && level == SOL_SOCKET && name == SO_SNDBUF &&
	    *(const int *)value > DEFAULT_WMEM_MAX)
		value = &limit;
	return __real_setsockopt(fd, level, name, value, len);
}

/* ---- a set of one process: this one --------------------------------------------------------- */

struct world {
	struct ckpti_image img;
	struct ckpti_desc desc[MAX];
	struct ckpti_capture cap;
	struct ckpti_redesc redesc[MAX];
	struct ckpti_rebuild rb;
	struct ckpti_err err;
};

static uint32_t lookup(const struct ckpti_capture *cap, int pid, int num)
{
	for (size_t i = 0; i < cap->ndesc; i++)
		if (cap->desc[i].pid == pid && cap->desc[i].num == num)
			return cap->desc[i].id;
	return 0;
}

static void read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, buf, size - 1);

	assert_true(n >= 0);
	buf[n] = '\0';
	(void)close(fd);
}

/* Put descriptor `num` into the set. */
static struct ckpti_desc *add(struct world *w, int num)
{
	struct ckpti_desc *d = &w->desc[w->cap.ndesc++];
	char path[64];
	ssize_t n;

	d->id = (uint32_t)w->cap.ndesc;
	d->pid = getpid();
	d->image_pid = IMAGE_PID;
	d->num = num;
	d->fd = fcntl(num, F_DUPFD_CLOEXEC, 100);
	d->oflags = fcntl(num, F_GETFL);
	assert_int_equal(fstat(num, &d->st), 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", num);
	n = readlink(path, d->link, sizeof(d->link) - 1);
	assert_true(n > 0);
	d->fdinfo = malloc(4096);
	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", num);
	read_text(path, d->fdinfo, 4096);
	assert_int_equal(ckpti_fd_probe(d, &w->err), 0);
	return d;
}

static int save(struct world *w)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->cap.ndesc; i++)
		r = w->desc[i].kind->save(&w->cap, &w->desc[i], &w->err);
	return r;
}

/* The program ends: nothing of the originals is left. */
static void forget(struct world *w)
{
	for (size_t i = 0; i < w->cap.ndesc; i++) {
		(void)close(w->desc[i].num);
		(void)close(w->desc[i].fd);
		w->desc[i].fd = -1;
	}
}

static int for_all(struct world *w, int (*step)(struct world *w, struct ckpti_redesc *d))
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->rb.ndesc; i++)
		r = step(w, &w->redesc[i]);
	return r;
}

static int do_check(struct world *w, struct ckpti_redesc *d)
{
	return d->kind->check ? d->kind->check(&w->rb, d, &w->err) : 0;
}

static int do_restore(struct world *w, struct ckpti_redesc *d)
{
	return d->kind->restore(&w->rb, d, &w->err);
}

static int do_finish(struct world *w, struct ckpti_redesc *d)
{
	return d->kind->finish ? d->kind->finish(&w->rb, d, &w->err) : 0;
}

/* Out of the way of the numbers that the program had. */
static int do_raise(struct world *w, struct ckpti_redesc *d)
{
	int fd = fcntl(d->fd, F_DUPFD_CLOEXEC, 200);

	(void)w;
	(void)close(d->fd);
	d->fd = fd;
	return fd < 0 ? -errno : 0;
}

/* Final numbers: those that the program had. */
static int do_renumber(struct world *w, struct ckpti_redesc *d)
{
	int num = w->desc[d->id - 1].num;

	return dup2(d->fd, num) == num ? 0 : -errno;
}

static int do_attach(struct world *w, struct ckpti_redesc *d)
{
	return d->kind->attach ? d->kind->attach(&w->rb, d, IMAGE_PID, &w->err) : 0;
}

static int do_settle(struct world *w, struct ckpti_redesc *d)
{
	return d->kind->settle ? d->kind->settle(&w->rb, d, &w->err) : 0;
}

/* Restore all; afterwards the old numbers are valid again. */
static int restore(struct world *w)
{
	struct ckpti_view v;
	struct ckpti_obj o;
	size_t pos = 0;
	int r;

	while (ckpti_image_next(&w->img, &pos, &v)) {
		struct ckpti_redesc *d = &w->redesc[w->rb.ndesc++];

		CKPTI_FIXED(&v, &o);
		*d = (struct ckpti_redesc){
			.id = o.id,
			.rec = v,
			.kind = ckpti_fd_kind_by_type(v.type),
			.fd = -1,
		};
	}
	r = for_all(w, do_check);
	r = r < 0 ? r : for_all(w, do_restore);
	r = r < 0 ? r : for_all(w, do_finish);
	r = r < 0 ? r : for_all(w, do_raise);
	r = r < 0 ? r : for_all(w, do_renumber);
	r = r < 0 ? r : for_all(w, do_attach);
	return r < 0 ? r : for_all(w, do_settle);
}

static void save_and_restore(struct world *w)
{
	if (save(w) < 0)
		fail_msg("save: %s", w->err.text);
	forget(w);
	if (restore(w) < 0)
		fail_msg("restore: %s", w->err.text);
}

static void expect_refusal(struct world *w, int code, const char *text)
{
	assert_int_equal(save(w), code);
	assert_int_equal(w->err.code, code);
	if (!strstr(w->err.text, text))
		fail_msg("'%s' does not say '%s'", w->err.text, text);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	ckpti_image_init(&w->img);
	w->cap = (struct ckpti_capture){.img = &w->img, .desc = w->desc, .lookup = lookup};
	w->rb = (struct ckpti_rebuild){.img = &w->img, .desc = w->redesc};
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	forget(w);
	for (size_t i = 0; i < w->cap.ndesc; i++) {
		free(w->desc[i].fdinfo);
		free(w->desc[i].priv);
	}
	for (size_t i = 0; i < w->rb.ndesc; i++) {
		(void)close(w->redesc[i].fd);
		free(w->redesc[i].priv);
	}
	ckpti_image_free(&w->img);
	free(w);
	return 0;
}

/* ---- what a program sees -------------------------------------------------------------------- */

static void fill_pattern(uint8_t *buf, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)((i * 2654435761U + seed) >> 7);
}

/* Read exactly len bytes and compare with the pattern, then nothing more may come. */
static void expect_pattern(int fd, size_t len, unsigned seed)
{
	uint8_t *want = malloc(len + 1), *got = malloc(len + 1);
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	size_t have = 0;
	ssize_t n;

	fill_pattern(want, len, seed);
	while (have < len && poll(&pfd, 1, 3000) > 0) {
		n = recv(fd, got + have, len - have, MSG_DONTWAIT);
		assert_true(n > 0);
		have += (size_t)n;
	}
	assert_int_equal(have, len);
	assert_memory_equal(got, want, len);
	assert_int_equal(recv(fd, got, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	free(want);
	free(got);
}

static void expect_text(int fd, const char *text)
{
	char buf[256] = "";

	assert_int_equal(recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT), (int)strlen(text));
	assert_string_equal(buf, text);
}

static void expect_empty(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (int)strlen(text));
}

/* Write until the other end's queue and our own are full; returns how much. */
static size_t put_until_full(int fd, unsigned seed)
{
	size_t len = 64 << 20, done = 0;
	uint8_t *buf = malloc(len);
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	ssize_t n;

	fill_pattern(buf, len, seed);
	while (done < len && poll(&pfd, 1, 300) > 0) {
		n = send(fd, buf + done, len - done, MSG_DONTWAIT);
		if (n > 0)
			done += (size_t)n;
	}
	free(buf);
	return done;
}

static int int_option(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int v = -1;

	assert_int_equal(getsockopt(fd, level, name, &v, &len), 0);
	return v;
}

static void set_option(int fd, int level, int name, int v)
{
	assert_int_equal(setsockopt(fd, level, name, &v, sizeof(v)), 0);
}

/* ---- event descriptors ---------------------------------------------------------------------- */

static void test_eventfd(void **state)
{
	struct world *w = *state;
	int sem = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK), cnt = eventfd(0, EFD_NONBLOCK);
	const uint64_t big = UINT64_MAX - 1;
	uint64_t v;

	assert_int_equal(write(cnt, &big, sizeof(big)), sizeof(big));
	add(w, sem);
	add(w, cnt);
	assert_int_equal(save(w), 0);
	assert_int_equal(read(cnt, &v, sizeof(v)), sizeof(v));
	assert_true(v == big);
	forget(w);
	assert_int_equal(restore(w), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(read(sem, &v, sizeof(v)), sizeof(v));
		assert_int_equal(v, 1);
	}
	assert_int_equal(read(sem, &v, sizeof(v)), -1); /* and it is still non-blocking */
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(read(cnt, &v, sizeof(v)), sizeof(v));
	assert_true(v == big);
}

/* Kernels before 6.5 do not tell the mode. */
static void test_eventfd_mode_is_found_without_fdinfo(void **state)
{
	static const struct {
		unsigned count;
		int flags;
	} c[] = {{0, 0}, {0, EFD_SEMAPHORE}, {1, 0}, {1, EFD_SEMAPHORE},
		 {9, 0}, {9, EFD_SEMAPHORE}};
	struct world *w = *state;
	struct ckpti_r_obj_eventfd rec;
	struct ckpti_view v;
	size_t pos = 0, i;

	for (i = 0; i < 6; i++) {
		struct ckpti_desc *d = add(w, eventfd(c[i].count, c[i].flags | EFD_NONBLOCK));
		char *line = strstr(d->fdinfo, "eventfd-semaphore");

		if (line)
			*line = '\0';
	}
	assert_int_equal(save(w), 0);
	for (i = 0; ckpti_image_next(&w->img, &pos, &v); i++) {
		uint64_t sum = 0, n;

		CKPTI_FIXED(&v, &rec);
		assert_int_equal(rec.semaphore, c[i].flags != 0);
		assert_int_equal(rec.count, c[i].count);
		while (read(w->desc[i].num, &n, sizeof(n)) == sizeof(n))
			sum += n;
		assert_int_equal(sum, c[i].count);
	}
	assert_int_equal(i, 6);
}

static void test_timerfd_keeps_time_left_and_ticks(void **state)
{
	struct world *w = *state;
	const struct itimerspec slow = {.it_value = {1000, 0}, .it_interval = {7, 5}};
	const struct itimerspec fast = {.it_value = {0, 1000000}, .it_interval = {0, 1000000}};
	const struct itimerspec once = {.it_value = {0, 1}};
	int a = timerfd_create(CLOCK_MONOTONIC, 0),
	    b = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK);
	int c = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	int off = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
	struct itimerspec its;
	uint64_t orig, v;

	assert_int_equal(timerfd_settime(a, 0, &slow, NULL), 0);
	assert_int_equal(timerfd_settime(b, 0, &fast, NULL), 0);
	assert_int_equal(timerfd_settime(c, 0, &once, NULL), 0);
	(void)usleep(20000);
	add(w, a);
	add(w, b);
	add(w, c);
	add(w, off);
	assert_int_equal(save(w), 0);
	assert_int_equal(read(b, &orig, sizeof(orig)), sizeof(orig));
	assert_true(orig >= 20);
	assert_int_equal(read(c, &v, sizeof(v)), sizeof(v));
	assert_int_equal(v, 1);
	forget(w);
	(void)usleep(100000); /* does not count */
	assert_int_equal(restore(w), 0);
	assert_int_equal(timerfd_gettime(a, &its), 0);
	assert_true(its.it_value.tv_sec == 999 && its.it_value.tv_nsec > 900000000);
	assert_int_equal(its.it_interval.tv_sec, 7);
	assert_int_equal(its.it_interval.tv_nsec, 5);
	assert_int_equal(read(b, &v, sizeof(v)), sizeof(v));
	assert_true(v + 5 >= orig && v < orig + 60);
	assert_int_equal(read(c, &v, sizeof(v)), sizeof(v));
	assert_int_equal(v, 1);
	assert_int_equal(timerfd_gettime(off, &its), 0);
	assert_true(!its.it_value.tv_sec && !its.it_value.tv_nsec);
	assert_int_equal(read(off, &v, sizeof(v)), -1);
}

static void test_timerfd_keeps_the_time_of_day(void **state)
{
	struct world *w = *state;
	int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
	struct itimerspec its = {0};
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	its.it_value = (struct timespec){now.tv_sec + 100, now.tv_nsec};
	assert_int_equal(timerfd_settime(fd, TFD_TIMER_ABSTIME, &its, NULL), 0);
	add(w, fd);
	assert_int_equal(save(w), 0);
	forget(w);
	(void)usleep(300000); /* counts */
	assert_int_equal(restore(w), 0);
	assert_int_equal(timerfd_gettime(fd, &its), 0);
	assert_int_equal(its.it_value.tv_sec, 99);
	assert_true(its.it_value.tv_nsec < 720000000);
}

static void test_signalfd(void **state)
{
	struct world *w = *state;
	struct signalfd_siginfo info;
	sigset_t set, old;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMAX);
	(void)sigprocmask(SIG_BLOCK, &set, &old);
	fd = signalfd(-1, &set, SFD_NONBLOCK);
	add(w, fd);
	save_and_restore(w);
	(void)raise(SIGRTMAX);
	(void)raise(SIGUSR1);
	assert_int_equal(read(fd, &info, sizeof(info)), sizeof(info));
	assert_int_equal(info.ssi_signo, SIGUSR1);
	assert_int_equal(read(fd, &info, sizeof(info)), sizeof(info));
	assert_int_equal(info.ssi_signo, SIGRTMAX);
	assert_int_equal(read(fd, &info, sizeof(info)), -1);
	assert_int_equal(errno, EAGAIN);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
}

static void test_epoll(void **state)
{
	struct world *w = *state;
	int ready = eventfd(1, 0), idle = eventfd(0, 0), inner = epoll_create1(0);
	int outer = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = 0x1122334455667788},
			   got[4];

	/* Two anonymous inodes that differ in nothing but identity, and one epoll inside another. */
	assert_int_equal(epoll_ctl(inner, EPOLL_CTL_ADD, ready, &ev), 0);
	ev = (struct epoll_event){.events = EPOLLIN, .data.u64 = 2};
	assert_int_equal(epoll_ctl(inner, EPOLL_CTL_ADD, idle, &ev), 0);
	ev = (struct epoll_event){.events = EPOLLIN, .data.u64 = 3};
	assert_int_equal(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &ev), 0);
	add(w, outer);
	add(w, idle);
	add(w, ready);
	add(w, inner);
	save_and_restore(w);
	assert_int_equal(epoll_wait(outer, got, 4, 0), 1);
	assert_int_equal(got[0].data.u64, 3);
	assert_int_equal(epoll_wait(inner, got, 4, 0), 1);
	assert_true(got[0].data.u64 == 0x1122334455667788);
	assert_int_equal(epoll_wait(inner, got, 4, 0), 0); /* edge-triggered */
	assert_int_equal(epoll_ctl(inner, EPOLL_CTL_DEL, idle, NULL), 0);
}

static void test_epoll_with_a_closed_number_is_refused(void **state)
{
	struct world *w = *state;
	int fd = eventfd(1, 0), ep = epoll_create1(0), kept = dup(fd), other;
	struct epoll_event ev = {.events = EPOLLIN};

	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), 0);
	(void)close(fd);
	other = eventfd(0, 0); /* takes the number, looks the same */
	assert_int_equal(other, fd);
	add(w, ep);
	add(w, kept);
	add(w, other);
	expect_refusal(w, -ENOTSUP, "has been closed");
}

/* ---- unix sockets --------------------------------------------------------------------------- */

static void test_unix_pair_with_data_both_ways(void **state)
{
	struct world *w = *state;
	const struct timeval tv = {2, 500000};
	struct timeval got;
	socklen_t len = sizeof(got);
	int sv[2];
	size_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	set_option(sv[0], SOL_SOCKET, SO_SNDBUF, 30000);
	assert_int_equal(setsockopt(sv[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	n = put_until_full(sv[0], 5);
	put(sv[1], "back");
	add(w, sv[0]);
	add(w, sv[1]);
	assert_int_equal(save(w), 0);
	expect_pattern(sv[1], n, 5);
	expect_text(sv[0], "back");
	assert_int_equal(int_option(sv[1], SOL_SOCKET, SO_PEEK_OFF), -1);
	forget(w);
	assert_int_equal(restore(w), 0);
	assert_int_equal(int_option(sv[0], SOL_SOCKET, SO_SNDBUF), 60000);
	assert_int_equal(getsockopt(sv[1], SOL_SOCKET, SO_RCVTIMEO, &got, &len), 0);
	assert_true(got.tv_sec == tv.tv_sec && got.tv_usec == tv.tv_usec);
	assert_true(fcntl(sv[0], F_GETFL) & O_NONBLOCK);
	expect_pattern(sv[1], n, 5);
	expect_text(sv[0], "back");
	put(sv[0], "on");
	expect_text(sv[1], "on");
}

static void test_unix_messages_keep_their_bounds(void **state)
{
	static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};
	char *large = malloc(50000);
	struct world *w = *state;
	int sv[2][2];

	memset(large, 'x', 50000);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(socketpair(AF_UNIX, types[i], 0, sv[i]), 0);
		put(sv[i][0], "one");
		assert_int_equal(send(sv[i][0], large, 50000, 0), 50000);
		put(sv[i][0], "three");
		put(sv[i][1], "answer");
		add(w, sv[i][0]);
		add(w, sv[i][1]);
	}
	assert_int_equal(save(w), 0);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 2; i++) {
			expect_text(sv[i][1], "one");
			assert_int_equal(recv(sv[i][1], large, 50000, MSG_TRUNC | MSG_DONTWAIT),
					 50000);
			expect_text(sv[i][1], "three");
			expect_empty(sv[i][1]);
			expect_text(sv[i][0], "answer");
		}
		if (round == 0) {
			forget(w);
			assert_int_equal(restore(w), 0);
		}
	}
	free(large);
}

static void test_unix_half_closed(void **state)
{
	struct world *w = *state;
	int sv[2];
	char c;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	put(sv[0], "last");
	assert_int_equal(shutdown(sv[0], SHUT_WR), 0);
	put(sv[1], "more");
	add(w, sv[0]);
	add(w, sv[1]);
	save_and_restore(w);
	expect_text(sv[1], "last");
	assert_int_equal(recv(sv[1], &c, 1, MSG_DONTWAIT), 0);
	assert_int_equal(send(sv[0], "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	expect_text(sv[0], "more");
	put(sv[1], "again");
	expect_text(sv[0], "again");
}

static void test_unix_whose_other_end_is_closed(void **state)
{
	struct world *w = *state;
	int a[2], b[2];
	char c;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	put(a[1], "testament");
	(void)close(a[1]);
	put(b[0], "not read");
	(void)close(b[1]); /* resets */
	add(w, a[0]);
	add(w, b[0]);
	save_and_restore(w);
	expect_text(a[0], "testament");
	assert_int_equal(recv(a[0], &c, 1, MSG_DONTWAIT), 0);
	assert_int_equal(send(a[0], "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(recv(b[0], &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNRESET);
}

/* A name of type 'p'ath or 'a'bstract. */
static socklen_t make_name(struct sockaddr_un *addr, int kind, const char *what)
{
	int n;

	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/tmp/ckpt-t%d-%s",
		     kind == 'a' ? "X" : "", getpid(), what);
	if (kind == 'a') {
		addr->sun_path[0] = '\0';
		addr->sun_path[n++] = '\0'; /* part of the name */
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n);
	}
	return sizeof(*addr);
}

static void expect_name(int fd, int peer, const struct sockaddr_un *want)
{
	struct sockaddr_un got = {0};
	socklen_t len = sizeof(got);

	assert_int_equal(peer ? getpeername(fd, (struct sockaddr *)&got, &len)
			      : getsockname(fd, (struct sockaddr *)&got, &len),
			 0);
	assert_memory_equal(got.sun_path, want->sun_path, sizeof(got.sun_path));
}

static void named_stream(struct world *w, int kind)
{
	struct sockaddr_un addr;
	socklen_t len = make_name(&addr, kind, "stream");
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c[2], s[2], extra;
	struct stat st;

	assert_int_equal(bind(l, (struct sockaddr *)&addr, len), 0);
	if (kind == 'p')
		assert_int_equal(chmod(addr.sun_path, 0640), 0);
	assert_int_equal(listen(l, 5), 0);
	for (int i = 0; i < 2; i++) {
		c[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(connect(c[i], (struct sockaddr *)&addr, len), 0);
		s[i] = accept(l, NULL, NULL);
		add(w, c[i]);
		add(w, s[i]);
	}
	put(c[0], "to the server");
	put(s[1], "to the client");
	add(w, l);
	save_and_restore(w);
	expect_text(s[0], "to the server");
	expect_text(c[1], "to the client");
	for (int i = 0; i < 2; i++) {
		expect_name(s[i], 0, &addr);
		expect_name(c[i], 1, &addr);
	}
	if (kind == 'p') {
		assert_int_equal(stat(addr.sun_path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0640);
	}
	extra = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(extra, (struct sockaddr *)&addr, len), 0);
	(void)close(extra);
	(void)unlink(addr.sun_path);
}

static void test_unix_named_stream(void **state)
{
	named_stream(*state, 'p');
}

static void test_unix_abstract_stream(void **state)
{
	named_stream(*state, 'a');
}

/* The server has closed its listener and removed the file. */
static void test_unix_named_stream_without_listener(void **state)
{
	struct world *w = *state;
	struct sockaddr_un addr;
	socklen_t len = make_name(&addr, 'p', "gone");
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c[2], s[2];

	assert_int_equal(bind(l, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(l, 5), 0);
	for (int i = 0; i < 2; i++) {
		c[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(connect(c[i], (struct sockaddr *)&addr, len), 0);
		s[i] = accept(l, NULL, NULL);
		add(w, s[i]);
		add(w, c[i]);
	}
	(void)close(l);
	(void)unlink(addr.sun_path);
	put(c[1], "hello");
	save_and_restore(w);
	expect_text(s[1], "hello");
	expect_name(s[0], 0, &addr);
	expect_name(c[1], 1, &addr);
	assert_int_equal(access(addr.sun_path, F_OK), -1);
}

static void test_unix_datagram_to_a_name(void **state)
{
	struct world *w = *state;
	struct sockaddr_un addr;
	socklen_t len = make_name(&addr, 'p', "dgram");
	int server = socket(AF_UNIX, SOCK_DGRAM, 0), client = socket(AF_UNIX, SOCK_DGRAM, 0);

	assert_int_equal(bind(server, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&addr, len), 0);
	put(client, "a");
	put(client, "bc");
	add(w, client);
	add(w, server);
	save_and_restore(w);
	expect_text(server, "a");
	expect_text(server, "bc");
	put(client, "def");
	expect_text(server, "def");
	(void)unlink(addr.sun_path);
}

static void test_unix_name_in_use_is_not_taken(void **state)
{
	struct world *w = *state;
	struct sockaddr_un addr;
	socklen_t len = make_name(&addr, 'p', "used");
	int mine = socket(AF_UNIX, SOCK_STREAM, 0), other = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(bind(mine, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(mine, 1), 0);
	add(w, mine);
	assert_int_equal(save(w), 0);
	forget(w);
	(void)unlink(addr.sun_path);
	assert_int_equal(bind(other, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(other, 1), 0);
	assert_int_equal(restore(w), -EADDRINUSE);
	assert_int_equal(access(addr.sun_path, F_OK), 0);
	(void)close(other);
	(void)unlink(addr.sun_path);
}

static void test_unix_refusals(void **state)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	char byte = 'x';
	struct iovec iov = {&byte, 1};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
	struct world *w = *state;
	int sv[2], null = open("/dev/null", O_RDONLY), before, after;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &null, sizeof(null));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(sendmsg(sv[0], &mh, 0), 1);
	add(w, sv[1]);
	expect_refusal(w, -ENOTSUP, "outside the set");
	add(w, sv[0]);
	memset(&w->err, 0, sizeof(w->err));
	before = dup(null);
	(void)close(before);
	expect_refusal(w, -ENOTSUP, "descriptor that was sent");
	after = dup(null);
	assert_int_equal(before, after); /* the copies that peeking makes are closed */
	(void)close(after);
	/* The program itself still gets it. */
	memset(control, 0, sizeof(control));
	assert_int_equal(recvmsg(sv[1], &mh, 0), 1);
	assert_non_null(CMSG_FIRSTHDR(&mh));
	memcpy(&after, CMSG_DATA(CMSG_FIRSTHDR(&mh)), sizeof(after));
	(void)close(after);
	(void)close(null);
}

static void test_unix_outside_becomes_stdio(void **state)
{
	struct world *w = *state;
	struct ckpti_r_obj_stdio rec;
	struct ckpti_view v;
	size_t pos = 0;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	add(w, sv[0])->num = 1;
	assert_int_equal(save(w), 0);
	w->desc[0].num = sv[0];
	assert_int_equal(ckpti_image_next(&w->img, &pos, &v), 1);
	assert_int_equal(v.type, CKPTI_R_OBJ_STDIO);
	CKPTI_FIXED(&v, &rec);
	assert_int_equal(rec.fd, 1);
	(void)close(sv[1]);
}

static void test_unix_not_accepted_is_refused(void **state)
{
	struct world *w = *state;
	struct sockaddr_un addr;
	socklen_t len = make_name(&addr, 'a', "pending");
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(bind(l, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(connect(c, (struct sockaddr *)&addr, len), 0);
	add(w, c);
	add(w, l);
	expect_refusal(w, -EAGAIN, "not been accepted");
	memset(&w->err, 0, sizeof(w->err));
	assert_int_equal(w->desc[1].kind->save(&w->cap, &w->desc[1], &w->err), -EAGAIN);
}

/* ---- TCP ------------------------------------------------------------------------------------ */

struct conn {
	int listener, client, server;
};

static void tcp_connect(struct conn *c, int family)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *addr = family == AF_INET ? (void *)&in : (void *)&in6;
	socklen_t len = family == AF_INET ? sizeof(in) : sizeof(in6);

	c->listener = socket(family, SOCK_STREAM, 0);
	if (bind(c->listener, addr, len) < 0 && errno == EADDRNOTAVAIL)
		skip(); /* a machine without IPv6 */
	assert_int_equal(listen(c->listener, 7), 0);
	assert_int_equal(getsockname(c->listener, addr, &len), 0);
	c->client = socket(family, SOCK_STREAM, 0);
	assert_int_equal(connect(c->client, addr, len), 0);
	c->server = accept(c->listener, NULL, NULL);
	assert_true(c->server >= 0);
}

static void get_names(int fd, struct sockaddr_in6 name[2])
{
	socklen_t len = sizeof(name[0]);

	memset(name, 0, 2 * sizeof(name[0]));
	assert_int_equal(getsockname(fd, (struct sockaddr *)&name[0], &len), 0);
	len = sizeof(name[1]);
	assert_int_equal(getpeername(fd, (struct sockaddr *)&name[1], &len), 0);
}

static void tcp_round(struct world *w, int family, int with_listener)
{
	struct sockaddr_in6 before[2], after[2];
	struct conn c;

	tcp_connect(&c, family);
	get_names(c.client, before);
	put(c.client, "to the server");
	put(c.server, "to the client");
	set_option(c.client, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(c.server, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(c.server, IPPROTO_TCP, TCP_KEEPIDLE, 33);
	set_option(c.server, SOL_SOCKET, SO_RCVBUF, 70000);
	assert_int_equal(fcntl(c.server, F_SETFL, O_NONBLOCK), 0);
	add(w, c.client);
	add(w, c.server);
	if (with_listener)
		add(w, c.listener);
	else
		(void)close(c.listener);
	save_and_restore(w);
	get_names(c.client, after);
	assert_memory_equal(before, after, sizeof(before));
	(void)usleep(1000);
	expect_text(c.server, "to the server");
	expect_text(c.client, "to the client");
	expect_empty(c.server);
	expect_empty(c.client);
	assert_int_equal(int_option(c.client, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(int_option(c.server, IPPROTO_TCP, TCP_NODELAY), 0);
	assert_int_equal(int_option(c.server, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(int_option(c.server, IPPROTO_TCP, TCP_KEEPIDLE), 33);
	assert_int_equal(int_option(c.server, SOL_SOCKET, SO_RCVBUF), 140000);
	assert_int_equal(int_option(c.client, SOL_SOCKET, SO_REUSEADDR), 0);
	assert_true(fcntl(c.server, F_GETFL) & O_NONBLOCK);
	if (with_listener) {
		int extra = socket(family, SOCK_STREAM, 0);

		assert_int_equal(connect(extra, (struct sockaddr *)&before[1], sizeof(before[1])),
				 0);
		(void)close(extra);
	}
}

static void test_tcp4_with_listener(void **state)
{
	tcp_round(*state, AF_INET, 1);
}

static void test_tcp6_with_listener(void **state)
{
	tcp_round(*state, AF_INET6, 1);
}

static void test_tcp4_without_listener(void **state)
{
	tcp_round(*state, AF_INET, 0);
}

/* Queues full on both sides: what the sender still holds must come along, and the program that goes
 * on after the checkpoint must find every byte in its place. */
static void tcp_full(struct world *w, int small)
{
	struct conn c;
	size_t n;

	tcp_connect(&c, AF_INET);
	(void)close(c.listener);
	if (small) {
		set_option(c.client, SOL_SOCKET, SO_SNDBUF, 20000);
		set_option(c.server, SOL_SOCKET, SO_RCVBUF, 20000);
	}
	n = put_until_full(c.client, 9);
	put(c.server, "back");
	add(w, c.client);
	add(w, c.server);
	if (save(w) < 0)
		fail_msg("save: %s", w->err.text);
	expect_pattern(c.server, n, 9);
	expect_text(c.client, "back");
	assert_int_equal(int_option(c.server, SOL_SOCKET, SO_RCVLOWAT), 1);
	if (small) {
		assert_int_equal(int_option(c.server, SOL_SOCKET, SO_RCVBUF), 40000);
		assert_int_equal(int_option(c.client, SOL_SOCKET, SO_SNDBUF), 40000);
	}
	forget(w);
	send_buffers_are_small = 1;
	if (restore(w) < 0)
		fail_msg("restore: %s", w->err.text);
	send_buffers_are_small = 0;
	assert_int_equal(int_option(c.server, SOL_SOCKET, SO_RCVLOWAT), 1);
	if (small)
		assert_int_equal(int_option(c.server, SOL_SOCKET, SO_RCVBUF), 40000);
	expect_pattern(c.server, n, 9);
	expect_text(c.client, "back");
}

static void test_tcp_full_queues(void **state)
{
	tcp_full(*state, 0);
}

static void test_tcp_full_small_queues(void **state)
{
	tcp_full(*state, 1);
}

/* Everything is read and sent again. */
static void test_tcp_full_queues_that_cannot_grow(void **state)
{
	struct world *w = *state;
	struct conn c;
	size_t n;

	tcp_connect(&c, AF_INET);
	(void)close(c.listener);
	n = put_until_full(c.client, 11);
	put(c.server, "back");
	add(w, c.client);
	add(w, c.server);
	buffers_are_fixed = 1;
	for (int i = 0; i < 3; i++)
		if (save(w) < 0)
			fail_msg("save: %s", w->err.text);
	buffers_are_fixed = 0;
	expect_pattern(c.server, n, 11);
	expect_text(c.client, "back");
}

static void test_tcp_refusals(void **state)
{
	struct world *w = *state;
	struct conn c;

	tcp_connect(&c, AF_INET);
	add(w, c.server);
	expect_refusal(w, -ENOTSUP, "outside the set");
	add(w, c.client);
	assert_int_equal(shutdown(c.client, SHUT_WR), 0);
	free(w->desc[0].priv);
	free(w->desc[1].priv);
	w->desc[0].priv = w->desc[1].priv = NULL;
	memset(&w->err, 0, sizeof(w->err));
	expect_refusal(w, -ENOTSUP, "half closed");
	(void)close(c.listener);
}

static void test_tcp_pending_connection_is_refused(void **state)
{
	struct sockaddr_in6 name[2];
	struct world *w = *state;
	struct conn c;
	int extra = socket(AF_INET, SOCK_STREAM, 0);

	tcp_connect(&c, AF_INET);
	get_names(c.client, name);
	assert_int_equal(connect(extra, (struct sockaddr *)&name[1], sizeof(name[1])), 0);
	add(w, c.listener);
	expect_refusal(w, -EAGAIN, "waits to be accepted");
	(void)close(extra);
	(void)close(c.client);
	(void)close(c.server);
}

/* `cpr check` has no descriptors: fdinfo and /proc/PID/net must do. */
static void test_mere_check(void **state)
{
	struct world *w = *state;
	const struct ckpti_fd_kind *kind[MAX];
	struct conn c;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	tcp_connect(&c, AF_INET);
	add(w, c.client);
	add(w, c.server);
	add(w, c.listener);
	add(w, timerfd_create(CLOCK_MONOTONIC, 0));
	add(w, sv[0]);
	for (size_t i = 0; i < w->cap.ndesc; i++) {
		(void)close(w->desc[i].fd);
		w->desc[i].fd = -1;
		kind[i] = w->desc[i].kind;
		w->desc[i].kind = NULL;
		assert_int_equal(ckpti_fd_probe(&w->desc[i], &w->err), 0);
		assert_ptr_equal(w->desc[i].kind, kind[i]);
	}
	expect_refusal(w, -ENOTSUP, "outside the set"); /* the pair's other end, the last of all */
	assert_int_equal(w->err.pid, getpid());
	assert_non_null(strstr(w->err.text, "unix socket"));
	(void)close(sv[1]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_eventfd),
		T(test_eventfd_mode_is_found_without_fdinfo),
		T(test_timerfd_keeps_time_left_and_ticks),
		T(test_timerfd_keeps_the_time_of_day),
		T(test_signalfd),
		T(test_epoll),
		T(test_epoll_with_a_closed_number_is_refused),
		T(test_unix_pair_with_data_both_ways),
		T(test_unix_messages_keep_their_bounds),
		T(test_unix_half_closed),
		T(test_unix_whose_other_end_is_closed),
		T(test_unix_named_stream),
		T(test_unix_abstract_stream),
		T(test_unix_named_stream_without_listener),
		T(test_unix_datagram_to_a_name),
		T(test_unix_name_in_use_is_not_taken),
		T(test_unix_refusals),
		T(test_unix_outside_becomes_stdio),
		T(test_unix_not_accepted_is_refused),
		T(test_tcp4_with_listener),
		T(test_tcp6_with_listener),
		T(test_tcp4_without_listener),
		T(test_tcp_full_queues),
		T(test_tcp_full_small_queues),
		T(test_tcp_full_queues_that_cannot_grow),
		T(test_tcp_refusals),
		T(test_tcp_pending_connection_is_refused),
		T(test_mere_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
