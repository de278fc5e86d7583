/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pairs of unix sockets: stream, datagrams, seqpacket, with data queued in both directions, half-closed,
 * with a closed end, with options, and across a fork.
 */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "fd.h"

#define BULK 60000

static int stream[2], dgram[2], seq[2], half[2], lonely, family[2], tuned[2];

static void disturb(void)
{
	for (int i = 0; i < 2; i++) {
		drain(stream[i]);
		drain(dgram[i]);
	}
	drain(seq[0]);
	t_sys(shutdown(half[1], SHUT_RDWR));
	t_sys(send(stream[0], "late", 4, 0));
}

static void send_noise(int fd, size_t n, uint64_t seed)
{
	char buf[4096];

	t_fill(buf, n, seed);
	t_check(send(fd, buf, n, 0) == (ssize_t)n, "send: %m");
}

static int receives(int fd, size_t n, uint64_t seed)
{
	char buf[4096];

	return recv(fd, buf, sizeof(buf), MSG_DONTWAIT) == (ssize_t)n && t_filled(buf, n, seed);
}

static int empty(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void in_child(void)
{
	char buf[8];

	t_sys(close(family[0]));
	t_check(read(family[1], buf, sizeof(buf)) == 4 && memcmp(buf, "ping", 4) == 0,
		"the child got something else");
	t_sys(write(family[1], "pong", 4));
	t_check(read(family[1], buf, sizeof(buf)) == 0, "the child sees no end of file");
}

int main(void)
{
	struct timeval tv = {.tv_sec = 3, .tv_usec = 500000};
	socklen_t len = sizeof(int);
	int v, size, other[2];
	char buf[8];
	pid_t pid;

	t_start();
	(void)signal(SIGPIPE, SIG_IGN);
	t_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream));
	writes_noise(stream[0], BULK, t_token());
	writes_noise(stream[1], 10, t_token() + 1);
	t_sys(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, dgram));
	for (unsigned i = 1; i <= 5; i++)
		send_noise(dgram[0], i * 100, t_token() + i);
	send_noise(dgram[1], 3000, t_token() + 9);
	t_sys(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, seq));
	for (unsigned i = 1; i <= 5; i++)
		send_noise(seq[1], i * 50, t_token() + i);
	t_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, half));
	writes_noise(half[0], 100, t_token() + 10);
	t_sys(shutdown(half[0], SHUT_WR));
	t_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, other));
	lonely = other[0];
	writes_noise(other[1], 20, t_token() + 11);
	t_sys(close(other[1]));
	t_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, tuned));
	v = 100000;
	t_sys(setsockopt(tuned[0], SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)));
	t_sys(setsockopt(tuned[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	v = 1;
	t_sys(setsockopt(tuned[1], SOL_SOCKET, SO_PASSCRED, &v, sizeof(v)));
	t_sys(getsockopt(tuned[0], SOL_SOCKET, SO_SNDBUF, &size, &len));
	t_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, family));
	pid = child_now(in_child);
	t_sys(close(family[1]));
	t_on_disturb(disturb);
	t_ready();

	t_check(reads_noise(stream[1], BULK, t_token()) && empty(stream[1]), "stream, forth");
	t_check(reads_noise(stream[0], 10, t_token() + 1) && empty(stream[0]), "stream, back");
	t_check(fcntl(stream[0], F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	writes_noise(stream[0], 10, t_token() + 2);
	t_check(reads_noise(stream[1], 10, t_token() + 2), "stream, afterwards");
	for (unsigned i = 1; i <= 5; i++)
		t_check(receives(dgram[1], i * 100, t_token() + i), "datagram %u", i);
	t_check(empty(dgram[1]) && receives(dgram[0], 3000, t_token() + 9), "datagram, back");
	t_check((get_flags(dgram[0]) & O_NONBLOCK) && !(get_flags(seq[0]) & O_NONBLOCK), "flags");
	for (unsigned i = 1; i <= 5; i++)
		t_check(receives(seq[0], i * 50, t_token() + i), "packet %u", i);
	t_check(empty(seq[0]), "too many packets");
	send_noise(seq[0], 77, t_token());
	t_check(receives(seq[1], 77, t_token()), "packet, afterwards");
	t_check(reads_noise(half[1], 100, t_token() + 10) && read(half[1], buf, 1) == 0,
		"half-closed: reading");
	t_check(write(half[0], "x", 1) < 0 && errno == EPIPE, "half-closed: writing");
	t_sys(write(half[1], "back", 4));
	t_check(read(half[0], buf, 8) == 4, "half-closed: the open direction");
	t_check(reads_noise(lonely, 20, t_token() + 11) && read(lonely, buf, 1) == 0 &&
			write(lonely, "x", 1) < 0 && errno == EPIPE,
		"a closed end");
	len = sizeof(v);
	t_sys(getsockopt(tuned[0], SOL_SOCKET, SO_SNDBUF, &v, &len));
	t_check(v == size, "SO_SNDBUF %d instead of %d", v, size);
	len = sizeof(tv);
	t_sys(getsockopt(tuned[0], SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
	t_check(tv.tv_sec == 3 && tv.tv_usec / 1000 == 500, "SO_RCVTIMEO %ld.%06ld", tv.tv_sec,
		tv.tv_usec);
	len = sizeof(v);
	t_sys(getsockopt(tuned[1], SOL_SOCKET, SO_PASSCRED, &v, &len));
	t_check(v == 1, "SO_PASSCRED");
	t_sys(write(family[0], "ping", 4));
	t_check(read(family[0], buf, 8) == 4 && memcmp(buf, "pong", 4) == 0, "the child's answer");
	t_sys(close(family[0]));
	child_must_pass(pid);
	t_done();
}
