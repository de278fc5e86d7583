/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP between two processes, IPv4 or IPv6 (argument 4 or 6): megabytes in flight, which the receiver
 * has not read and the sender could not get rid of; addresses, options, a listener that accepts again;
 * a sender that is blocked in write().
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "fd.h"

#define BLOCKED (24 << 20)

static union {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
} addr;
static socklen_t addr_len;
static int listener, server, second, client, client2;
static size_t queued;
static char before[4][64];

static void disturb(void)
{
	drain(second);
	t_sys(shutdown(second, SHUT_RDWR));
}

static void name(int fd, int peer, char *out)
{
	struct sockaddr_in6 a;
	socklen_t len = sizeof(a);
	char ip[INET6_ADDRSTRLEN];
	int v4;

	t_sys(peer ? getpeername(fd, (struct sockaddr *)&a, &len)
		   : getsockname(fd, (struct sockaddr *)&a, &len));
	v4 = a.sin6_family == AF_INET;
	(void)inet_ntop(a.sin6_family,
			v4 ? (void *)&((struct sockaddr_in *)&a)->sin_addr : (void *)&a.sin6_addr,
			ip, sizeof(ip));
	(void)snprintf(out, 64, "%s %d", ip, ntohs(a.sin6_port));
}

static int option(int fd, int level, int opt)
{
	socklen_t len = sizeof(int);
	int v = -1;

	t_sys(getsockopt(fd, level, opt, &v, &len));
	return v;
}

static void set(int fd, int level, int opt, int v)
{
	t_sys(setsockopt(fd, level, opt, &v, sizeof(v)));
}

/* Blocked in write() at the checkpoint; ends when everything has been taken. */
static void in_child(void)
{
	char buf[8];

	client = t_sys(socket(addr.sa.sa_family, SOCK_STREAM, 0));
	t_sys(connect(client, &addr.sa, addr_len));
	writes_noise(client, BLOCKED, t_token());
	t_check(read(client, buf, sizeof(buf)) == 5 && memcmp(buf, "taken", 5) == 0,
		"the server's answer");
	t_sys(shutdown(client, SHUT_WR));
	t_check(read(client, buf, 1) == 0, "no end of file");
}

/* As much as the kernel takes, without anybody reading. */
static size_t stuff(int fd, uint64_t seed)
{
	static char buf[64 << 20];
	ssize_t n;
	size_t done = 0;
	int idle = 0;

	t_fill(buf, sizeof(buf), seed);
	while (done < sizeof(buf) && idle < 10) {
		n = send(fd, buf + done, sizeof(buf) - done, MSG_DONTWAIT);
		idle = n > 0 ? 0 : idle + 1;
		done += n > 0 ? (size_t)n : 0;
		t_sleep_ms(n > 0 ? 0 : 5);
	}
	return done;
}

static void check_options(void)
{
	t_check(option(second, IPPROTO_TCP, TCP_NODELAY) == 1, "TCP_NODELAY");
	t_check(option(client2, IPPROTO_TCP, TCP_NODELAY) == 0, "TCP_NODELAY of the other end");
	t_check(option(second, SOL_SOCKET, SO_KEEPALIVE) == 1, "SO_KEEPALIVE");
	t_check(option(second, IPPROTO_TCP, TCP_KEEPIDLE) == 77, "TCP_KEEPIDLE");
	t_check(option(second, IPPROTO_TCP, TCP_USER_TIMEOUT) == 4321, "TCP_USER_TIMEOUT");
	t_check(option(second, SOL_SOCKET, SO_RCVBUF) == 2 * 50000, "SO_RCVBUF %d",
		option(second, SOL_SOCKET, SO_RCVBUF));
	t_check(option(listener, SOL_SOCKET, SO_ACCEPTCONN) == 1, "no listener any more");
	t_check(option(listener, SOL_SOCKET, SO_REUSEADDR) == 1, "SO_REUSEADDR");
}

int main(int argc, char **argv)
{
	char after[4][64], c;
	struct linger linger;
	socklen_t len;
	pid_t pid;
	int unbound, later;

	t_start();
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc > 1 && strcmp(argv[1], "6") == 0) {
		addr.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
						 .sin6_addr = IN6ADDR_LOOPBACK_INIT};
		addr_len = sizeof(addr.in6);
	} else {
		addr.in = (struct sockaddr_in){.sin_family = AF_INET,
					       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		addr_len = sizeof(addr.in);
	}
	listener = socket(addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (listener < 0 || (bind(listener, &addr.sa, addr_len) < 0 && errno == EADDRNOTAVAIL))
		t_skip("no such addresses here: %m");
	set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
	t_sys(listen(listener, 9));
	t_sys(getsockname(listener, &addr.sa, &addr_len));
	t_sys(fcntl(listener, F_SETFL, 0));
	pid = child_now(in_child);
	server = t_sys(accept(listener, NULL, NULL));
	client2 = t_sys(socket(addr.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
	t_sys(connect(client2, &addr.sa, addr_len));
	second = t_sys(accept(listener, NULL, NULL));
	set(second, IPPROTO_TCP, TCP_NODELAY, 1);
	set(second, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(second, IPPROTO_TCP, TCP_KEEPIDLE, 77);
	set(second, IPPROTO_TCP, TCP_USER_TIMEOUT, 4321);
	set(second, SOL_SOCKET, SO_RCVBUF, 50000);
	linger = (struct linger){.l_onoff = 1, .l_linger = 12};
	t_sys(setsockopt(client2, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	unbound = t_sys(socket(addr.sa.sa_family, SOCK_STREAM, 0));
	queued = stuff(client2, t_token() + 1);
	writes_noise(second, 1000, t_token() + 2);
	t_check(queued > 1 << 20, "only %zu bytes in flight", queued);
	for (int i = 0; i < 4; i++)
		name(i < 2 ? client2 : second, i & 1, before[i]);
	t_on_disturb(disturb);
	t_ready();

	for (int i = 0; i < 4; i++) {
		name(i < 2 ? client2 : second, i & 1, after[i]);
		t_check(strcmp(before[i], after[i]) == 0, "address '%s' has become '%s'", before[i],
			after[i]);
	}
	check_options();
	len = sizeof(linger);
	t_sys(getsockopt(client2, SOL_SOCKET, SO_LINGER, &linger, &len));
	t_check(linger.l_onoff == 1 && linger.l_linger == 12, "SO_LINGER");
	t_check(fcntl(client2, F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	t_check(reads_noise(client2, 1000, t_token() + 2), "data on its way, back");
	t_check(reads_noise(second, queued, t_token() + 1), "%zu bytes on their way", queued);
	t_check(recv(second, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "more than was sent");
	t_check(reads_noise(server, BLOCKED, t_token()), "what a blocked process sent");
	t_sys(write(server, "taken", 5));
	t_check(read(server, &c, 1) == 0, "no end of file from the child");
	t_sys(close(server));
	child_must_pass(pid);
	t_check(option(unbound, SOL_SOCKET, SO_DOMAIN) == addr.sa.sa_family, "an unbound socket");
	t_sys(connect(unbound, &addr.sa, addr_len));
	later = t_sys(accept(listener, NULL, NULL));
	t_sys(write(later, "x", 1));
	t_check(read(unbound, &c, 1) == 1, "a socket that was not yet connected");
	t_done();
}
