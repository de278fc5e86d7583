/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP connections over the loopback, saved and restored in one process, and on machines whose buffers
 * cannot grow.  The oracle is what a program would read, from the original after saving and from the
 * copy after restoring.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "sockets_fixture.h"

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
	w_add(w, c.client);
	w_add(w, c.server);
	if (with_listener)
		w_add(w, c.listener);
	else
		(void)close(c.listener);
	w_save_and_restore(w);
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
	w_add(w, c.client);
	w_add(w, c.server);
	if (w_save(w) < 0)
		fail_msg("save: %s", w->err.text);
	expect_pattern(c.server, n, 9);
	expect_text(c.client, "back");
	assert_int_equal(int_option(c.server, SOL_SOCKET, SO_RCVLOWAT), 1);
	if (small) {
		assert_int_equal(int_option(c.server, SOL_SOCKET, SO_RCVBUF), 40000);
		assert_int_equal(int_option(c.client, SOL_SOCKET, SO_SNDBUF), 40000);
	}
	w_forget(w);
	send_buffers_are_small = 1;
	if (w_restore(w) < 0)
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
	w_add(w, c.client);
	w_add(w, c.server);
	buffers_are_fixed = 1;
	for (int i = 0; i < 3; i++)
		if (w_save(w) < 0)
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
	w_add(w, c.server);
	w_expect_refusal(w, -ENOTSUP, "outside the set");
	w_add(w, c.client);
	assert_int_equal(shutdown(c.client, SHUT_WR), 0);
	free(w->desc[0].priv);
	free(w->desc[1].priv);
	w->desc[0].priv = w->desc[1].priv = NULL;
	memset(&w->err, 0, sizeof(w->err));
	w_expect_refusal(w, -ENOTSUP, "half closed");
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
	w_add(w, c.listener);
	w_expect_refusal(w, -EAGAIN, "waits to be accepted");
	(void)close(extra);
	(void)close(c.client);
	(void)close(c.server);
}

/* `cpr check` has no descriptors: fdinfo and /proc/PID/net must do. */
static void test_mere_check(void **state)
{
	struct world *w = *state;
	const struct ckpti_fd_kind *kind[W_MAX];
	struct conn c;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	tcp_connect(&c, AF_INET);
	w_add(w, c.client);
	w_add(w, c.server);
	w_add(w, c.listener);
	w_add(w, timerfd_create(CLOCK_MONOTONIC, 0));
	w_add(w, sv[0]);
	for (size_t i = 0; i < w->cap.ndesc; i++) {
		(void)close(w->desc[i].fd);
		w->desc[i].fd = -1;
		kind[i] = w->desc[i].kind;
		w->desc[i].kind = NULL;
		assert_int_equal(ckpti_fd_probe(&w->desc[i], &w->err), 0);
		assert_ptr_equal(w->desc[i].kind, kind[i]);
	}
	w_expect_refusal(w, -ENOTSUP,
			 "outside the set"); /* the pair's other end, the last of all */
	assert_int_equal(w->err.pid, getpid());
	assert_non_null(strstr(w->err.text, "unix socket"));
	(void)close(sv[1]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, w_setup, w_teardown)
	const struct CMUnitTest tests[] = {
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
