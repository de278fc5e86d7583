/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unix sockets: real ones, saved and restored in one process.  The oracle is what a program would
 * read, from the original after saving and from the copy after restoring.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sockets_fixture.h"

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
	w_add(w, sv[0]);
	w_add(w, sv[1]);
	assert_int_equal(w_save(w), 0);
	expect_pattern(sv[1], n, 5);
	expect_text(sv[0], "back");
	assert_int_equal(int_option(sv[1], SOL_SOCKET, SO_PEEK_OFF), -1);
	w_forget(w);
	assert_int_equal(w_restore(w), 0);
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
		w_add(w, sv[i][0]);
		w_add(w, sv[i][1]);
	}
	assert_int_equal(w_save(w), 0);
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
			w_forget(w);
			assert_int_equal(w_restore(w), 0);
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
	w_add(w, sv[0]);
	w_add(w, sv[1]);
	w_save_and_restore(w);
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
	w_add(w, a[0]);
	w_add(w, b[0]);
	w_save_and_restore(w);
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
		w_add(w, c[i]);
		w_add(w, s[i]);
	}
	put(c[0], "to the server");
	put(s[1], "to the client");
	w_add(w, l);
	w_save_and_restore(w);
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
		w_add(w, s[i]);
		w_add(w, c[i]);
	}
	(void)close(l);
	(void)unlink(addr.sun_path);
	put(c[1], "hello");
	w_save_and_restore(w);
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
	w_add(w, client);
	w_add(w, server);
	w_save_and_restore(w);
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
	w_add(w, mine);
	assert_int_equal(w_save(w), 0);
	w_forget(w);
	(void)unlink(addr.sun_path);
	assert_int_equal(bind(other, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(other, 1), 0);
	assert_int_equal(w_restore(w), -EADDRINUSE);
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
	w_add(w, sv[1]);
	w_expect_refusal(w, -ENOTSUP, "outside the set");
	w_add(w, sv[0]);
	memset(&w->err, 0, sizeof(w->err));
	before = dup(null);
	(void)close(before);
	w_expect_refusal(w, -ENOTSUP, "descriptor that was sent");
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
	w_add(w, sv[0])->num = 1;
	assert_int_equal(w_save(w), 0);
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
	w_add(w, c);
	w_add(w, l);
	w_expect_refusal(w, -EAGAIN, "not been accepted");
	memset(&w->err, 0, sizeof(w->err));
	assert_int_equal(w->desc[1].kind->save(&w->cap, &w->desc[1], &w->err), -EAGAIN);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, w_setup, w_teardown)
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
