/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which unread datagrams a restart sends again: those that reach the same socket from the same sender
 * without leaving the machine; all others are lost, and said to be.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sockets_fixture.h"

#define FOREIGN "198.51.100.9" /* kept for documentation (RFC 5737): no machine has it */
#define GROUP   "239.1.2.3"

static unsigned notes;

static void take_note(struct ckpti_rebuild *rb, const char *text)
{
	(void)rb;
	assert_non_null(strstr(text, "1 unread datagrams are lost"));
	notes++;
}

static int udp_setup(void **state)
{
	struct world *w;
	int r = w_setup(state);

	w = *state;
	w->rb.note = take_note;
	notes = 0;
	return r;
}

/* port 0: one that the kernel chooses; what it is, is put there.  transparent: at an address that is
 * not the machine's. */
static int bound(const char *ip, uint16_t *port, int transparent)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(ip)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t len = sizeof(in);

	in.sin_port = *port;
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (transparent &&
	    setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &transparent, sizeof(transparent)) < 0)
		skip(); /* a plain user */
	assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*port = in.sin_port;
	return fd;
}

static void send_to(int fd, const char *ip, uint16_t port)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = inet_addr(ip)};

	assert_int_equal(sendto(fd, "text", 4, 0, (struct sockaddr *)&in, sizeof(in)), 4);
}

static void expect_from(int fd, const char *ip, uint16_t port)
{
	struct sockaddr_in in = {0};
	socklen_t len = sizeof(in);
	char buf[8];

	assert_int_equal(recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&in, &len),
			 4);
	assert_memory_equal(buf, "text", 4);
	assert_int_equal(in.sin_addr.s_addr, inet_addr(ip));
	assert_int_equal(in.sin_port, port);
}

static void expect_lost(int fd)
{
	char c;

	assert_int_equal(notes, 1);
	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

/* A sender with all addresses, and timestamps of what it sends: none come of what is sent again. */
static void test_inside(void **state)
{
	uint16_t to = 0, from = 0;
	int receiver = bound("0.0.0.0", &to, 0), sender = bound("0.0.0.0", &from, 0);
	const int stamps = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE;

	send_to(sender, "127.0.0.1", to);
	set_option(sender, SOL_SOCKET, SO_TIMESTAMPING, stamps);
	(void)w_add(*state, receiver);
	(void)w_add(*state, sender);
	w_save_and_restore(*state);
	assert_int_equal(int_option(sender, SOL_SOCKET, SO_TIMESTAMPING), stamps);
	assert_int_equal(recv(sender, NULL, 0, MSG_ERRQUEUE | MSG_DONTWAIT), -1);
	expect_from(receiver, "127.0.0.1", from);
	assert_int_equal(notes, 0);
	(void)close(receiver);
	(void)close(sender);
}

/* One without content is a datagram like others. */
static void test_empty(void **state)
{
	static const size_t len[] = {0, 4, 0, 0, 2, 0};
	uint16_t to = 0, from = 0;
	int receiver = bound("127.0.0.1", &to, 0), sender = bound("127.0.0.1", &from, 0);
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_port = to, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char buf[8];

	for (size_t i = 0; i < 6; i++)
		assert_int_equal(sendto(sender, "text", len[i], 0, (struct sockaddr *)&in,
					sizeof(in)),
				 len[i]);
	(void)w_add(*state, receiver);
	(void)w_add(*state, sender);
	w_save_and_restore(*state);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(recv(receiver, buf, sizeof(buf), MSG_DONTWAIT), len[i]);
	assert_int_equal(recv(receiver, buf, sizeof(buf), MSG_DONTWAIT), -1);
	assert_int_equal(notes, 0);
	(void)close(receiver);
	(void)close(sender);
}

/* A stranger has the port of a socket of the set that has all addresses, as those of one service on
 * two machines have. */
static void with_stranger(struct world *w, const char *receiver_ip, const char *ip, int transparent)
{
	uint16_t to = 0, from = 0;
	int receiver = bound(receiver_ip, &to, 0), wild = bound("0.0.0.0", &from, 0);
	int stranger = bound(ip, &from, transparent);

	send_to(stranger, "127.0.0.1", to);
	(void)close(stranger);
	(void)w_add(w, receiver);
	(void)w_add(w, wild);
	w_save_and_restore(w);
	expect_lost(receiver);
	expect_lost(wild);
	(void)close(receiver);
	(void)close(wild);
}

static void test_foreign(void **state)
{
	with_stranger(*state, "0.0.0.0", FOREIGN, 1);
}

static void test_foreign_to_one_address(void **state)
{
	with_stranger(*state, "127.0.0.1", FOREIGN, 1);
}

static void test_other_address(void **state)
{
	with_stranger(*state, "127.0.0.1", "127.0.0.9", 0);
}

static void test_group(void **state)
{
	struct ip_mreqn on_lo = {.imr_multiaddr.s_addr = inet_addr(GROUP),
				 .imr_address.s_addr = htonl(INADDR_LOOPBACK)};
	uint16_t to = 0, from = 0;
	int receiver = bound(GROUP, &to, 0), sender = bound("127.0.0.1", &from, 0);

	assert_int_equal(setsockopt(receiver, IPPROTO_IP, IP_ADD_MEMBERSHIP, &on_lo, sizeof(on_lo)),
			 0);
	assert_int_equal(setsockopt(sender, IPPROTO_IP, IP_MULTICAST_IF, &on_lo, sizeof(on_lo)), 0);
	send_to(sender, GROUP, to);
	(void)w_add(*state, receiver);
	(void)w_add(*state, sender);
	w_save_and_restore(*state);
	expect_lost(receiver);
	(void)close(receiver);
	(void)close(sender);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, udp_setup, w_teardown)
	const struct CMUnitTest tests[] = {
		T(test_inside),        T(test_empty),
		T(test_foreign),       T(test_foreign_to_one_address),
		T(test_other_address), T(test_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
