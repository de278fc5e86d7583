/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames, against bytes written by hand from docs/format/step-protocol.md. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "spank/lib/wire.h"

struct pair {
	struct ckpti_wire *w;
	int raw; /* the other end */
};

static struct pair make_pair(void)
{
	int fd[2];
	struct pair p;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	p.w = ckpti_wire_new(fd[0]);
	assert_non_null(p.w);
	p.raw = fd[1];
	return p;
}

static void drop_pair(struct pair p)
{
	ckpti_wire_free(p.w);
	if (p.raw >= 0)
		close(p.raw);
}

static void put(int fd, const void *bytes, size_t len)
{
	assert_int_equal(write(fd, bytes, len), len);
}

static int receive(struct ckpti_wire *w, unsigned *type, struct ckpti_kv *kv)
{
	*type = 0;
	ckpti_kv_init(kv);
	return ckpti_wire_recv(w, type, kv);
}

static void test_wire_frame_has_the_documented_bytes(void **state)
{
	static const char want[] = "CKP1\x08\0\0\0\x31\0\x01\0round=7\n";
	struct pair p = make_pair();
	struct ckpti_kv kv;
	char got[64];

	(void)state;
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "round", "7");
	assert_int_equal(ckpti_wire_send(p.w, CKPTI_W_CAPTURED, &kv), 0);
	assert_int_equal(read(p.raw, got, sizeof(got)), sizeof(want) - 1);
	assert_memory_equal(got, want, sizeof(want) - 1);
	assert_int_equal(ckpti_wire_send(p.w, CKPTI_W_PING, NULL), 0);
	assert_int_equal(read(p.raw, got, sizeof(got)), 12);
	assert_memory_equal(got, "CKP1\0\0\0\0\x10\0\x01\0", 12);
	assert_false(ckpti_wire_wants_write(p.w));
	assert_true(fcntl(ckpti_wire_fd(p.w), F_GETFD) & FD_CLOEXEC);
	ckpti_kv_free(&kv);
	drop_pair(p);
}

static void test_wire_frames_come_in_pieces_and_in_lumps(void **state)
{
	static const char frame[] = "CKP1\x04\0\0\0\x20\0\x09\0a=1\n";
	size_t len = sizeof(frame) - 1;
	struct pair p = make_pair();
	struct ckpti_kv kv;
	unsigned type;

	(void)state;
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(receive(p.w, &type, &kv), 0);
		put(p.raw, frame + i, 1);
	}
	put(p.raw, frame, len);
	put(p.raw, frame, len - 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(receive(p.w, &type, &kv), 1);
		assert_int_equal(type, CKPTI_W_ROUND);
		assert_string_equal(ckpti_kv_get(&kv, "a", ""), "1");
		ckpti_kv_free(&kv);
	}
	assert_int_equal(receive(p.w, &type, &kv), 0);
	/* What was said before hanging up is heard; half a frame is none. */
	put(p.raw, "\n", 1);
	put(p.raw, frame, 5);
	close(p.raw);
	p.raw = -1;
	assert_int_equal(receive(p.w, &type, &kv), 1);
	ckpti_kv_free(&kv);
	assert_int_equal(receive(p.w, &type, &kv), -EPIPE);
	assert_int_equal(receive(p.w, &type, &kv), -EPIPE);
	drop_pair(p);
}

static void test_wire_other_bytes_are_refused_for_good(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{"GET / HTTP/1.1\r\n\r\n", 18},
		{"CKP1\x01\0\x10\0\x20\0\x01\0", 12}, /* 1 MiB and one byte */
		{"CKP1\xff\xff\xff\xff\x20\0\x01\0", 12},
		{"CKP1\x03\0\0\0\x20\0\x01\0a=1", 15},
		{"CKP1\x08\0\0\0\x20\0\x01\0a=1\na=1\n", 20},
	};
	struct ckpti_kv kv;
	unsigned type;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct pair p = make_pair();

		put(p.raw, bad[i].bytes, bad[i].len);
		assert_int_equal(receive(p.w, &type, &kv), -EBADMSG);
		put(p.raw, "CKP1\0\0\0\0\x10\0\x01\0", 12);
		assert_int_equal(receive(p.w, &type, &kv), -EBADMSG);
		drop_pair(p);
	}
}

static void test_wire_strangers_may_say_little(void **state)
{
	struct pair p = make_pair();
	struct ckpti_kv kv;
	unsigned type;

	(void)state;
	ckpti_wire_limit(p.w, 4);
	put(p.raw, "CKP1\x04\0\0\0\x20\0\x01\0a=1\n", 16);
	assert_int_equal(receive(p.w, &type, &kv), 1);
	ckpti_kv_free(&kv);
	put(p.raw, "CKP1\x05\0\0\0\x20\0\x01\0", 12);
	assert_int_equal(receive(p.w, &type, &kv), -EBADMSG);
	drop_pair(p);
}

static void test_wire_queue_ends_with_enobufs_when_nobody_reads(void **state)
{
	struct pair p = make_pair();
	struct ckpti_kv kv;
	char *value = malloc(1U << 19);
	unsigned type, n = 0;
	int r = 0;

	(void)state;
	memset(value, 'x', (1U << 19) - 1);
	value[(1U << 19) - 1] = '\0';
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "v", value);
	while (r == 0 && n < 100) {
		r = ckpti_wire_send(p.w, CKPTI_W_RESULT, &kv);
		n++;
	}
	assert_int_equal(r, -ENOBUFS);
	assert_in_range(n, 8, 12); /* 4 MiB and what the socket holds */
	assert_false(ckpti_wire_wants_write(p.w));
	ckpti_kv_free(&kv);
	assert_int_equal(receive(p.w, &type, &kv), -ENOBUFS);
	free(value);
	drop_pair(p);
}

static void test_wire_frame_that_cannot_be_leaves_the_connection(void **state)
{
	struct pair p = make_pair();
	char *value = malloc(CKPTI_WIRE_MAX_PAYLOAD), got[12];
	struct ckpti_kv kv;

	(void)state;
	memset(value, 'x', CKPTI_WIRE_MAX_PAYLOAD - 1);
	value[CKPTI_WIRE_MAX_PAYLOAD - 1] = '\0';
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "v", value);
	assert_int_equal(ckpti_wire_send(p.w, CKPTI_W_RESULT, &kv), -EMSGSIZE);
	ckpti_kv_set(&kv, "BAD", "");
	assert_int_equal(ckpti_wire_send(p.w, CKPTI_W_RESULT, &kv), -EINVAL);
	assert_int_equal(ckpti_wire_send(p.w, CKPTI_W_PING, NULL), 0);
	assert_int_equal(read(p.raw, got, sizeof(got)), 12);
	ckpti_kv_free(&kv);
	free(value);
	drop_pair(p);
}

static void test_wire_wait_has_an_end(void **state)
{
	struct pair p = make_pair();
	struct ckpti_kv kv;
	unsigned type;

	(void)state;
	assert_int_equal(ckpti_wire_wait(p.w, 20, &type, &kv), -ETIMEDOUT);
	put(p.raw, "CKP1\0\0\0\0\x10\0\x01\0", 12);
	assert_int_equal(ckpti_wire_wait(p.w, 5000, &type, &kv), 1);
	assert_int_equal(type, CKPTI_W_PING);
	ckpti_kv_free(&kv);
	drop_pair(p);
}

/* A large answer over TCP to somebody who reads while it is being sent. */
static void test_wire_large_frames_over_tcp(void **state)
{
	struct ckpti_err err = {0};
	struct ckpti_wire *a, *b;
	char *value = malloc(1000001);
	struct ckpti_kv kv, got;
	unsigned port, type, n = 0;
	int listener, fd, r;

	(void)state;
	memset(value, 'y', 1000000);
	value[1000000] = '\0';
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "v", value);
	listener = ckpti_wire_listen(0, 0, &port, &err);
	assert_true(listener >= 0);
	assert_true(port > 0);
	fd = ckpti_wire_connect("127.0.0.1", port, 2000, &err);
	assert_true(fd >= 0);
	a = ckpti_wire_new(fd);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	b = ckpti_wire_new(fd);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ckpti_wire_send(a, CKPTI_W_RESULT, &kv), 0);
	for (int tries = 0; n < 3 && tries < 1000000; tries++) {
		assert_int_equal(ckpti_wire_flush(a), 0);
		r = ckpti_wire_recv(b, &type, &got);
		assert_true(r >= 0);
		if (r == 1) {
			assert_string_equal(ckpti_kv_get(&got, "v", ""), value);
			ckpti_kv_free(&got);
			n++;
		}
	}
	assert_int_equal(n, 3);
	assert_false(ckpti_wire_wants_write(a));
	ckpti_wire_free(a);
	assert_int_equal(ckpti_wire_wait(b, 2000, &type, &got), -EPIPE);
	ckpti_wire_free(b);
	close(listener);
	ckpti_kv_free(&kv);
	free(value);
}

static void test_wire_ports_come_from_the_range(void **state)
{
	struct ckpti_err err = {0};
	unsigned base, port, seen = 0;
	int fd[4];

	(void)state;
	/* A place where three in a row are free. */
	fd[3] = ckpti_wire_listen(20000, 29000, &base, &err);
	assert_true(fd[3] >= 0);
	close(fd[3]);
	for (int i = 0; i < 3; i++) {
		fd[i] = ckpti_wire_listen(base, base + 2, &port, &err);
		assert_true(fd[i] >= 0);
		assert_in_range(port, base, base + 2);
		seen |= 1U << (port - base);
	}
	assert_int_equal(seen, 7);
	assert_int_equal(ckpti_wire_listen(base, base + 2, &port, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "cannot listen on a port in"));
	for (int i = 0; i < 3; i++)
		close(fd[i]);
	err = (struct ckpti_err){0};
	assert_int_equal(ckpti_wire_connect("127.0.0.1", base, 2000, &err), -ECONNREFUSED);
	err = (struct ckpti_err){0};
	assert_int_equal(ckpti_wire_listen(9, 8, &port, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wire_frame_has_the_documented_bytes),
		cmocka_unit_test(test_wire_frames_come_in_pieces_and_in_lumps),
		cmocka_unit_test(test_wire_other_bytes_are_refused_for_good),
		cmocka_unit_test(test_wire_strangers_may_say_little),
		cmocka_unit_test(test_wire_queue_ends_with_enobufs_when_nobody_reads),
		cmocka_unit_test(test_wire_frame_that_cannot_be_leaves_the_connection),
		cmocka_unit_test(test_wire_wait_has_an_end),
		cmocka_unit_test(test_wire_large_frames_over_tcp),
		cmocka_unit_test(test_wire_ports_come_from_the_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
