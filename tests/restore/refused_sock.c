/* SPDX-License-Identifier: BSD-3-Clause */
/* Refused sockets, and states of sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "fd.h"
#include "refused.h"

#define ICMP 1
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static int fd, peer, listener;

static int make_socket(int family, int type, int protocol)
{
	int s = socket(family, type, protocol);

	if (s < 0)
		t_skip("no such socket here: %m");
	return s;
}

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons((uint16_t)port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void make_raw(void)
{
	fd = make_socket(AF_INET, SOCK_RAW, ICMP);
}

static void make_packet(void)
{
	fd = make_socket(AF_PACKET, SOCK_RAW, 0);
}

static void make_netlink(void)
{
	fd = make_socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT);
}

static void make_netlink_asked(void)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} req = {.h = {.nlmsg_len = sizeof(req),
		       .nlmsg_type = RTM_GETLINK,
		       .nlmsg_flags = NLM_F_REQUEST},
		 .i = {.ifi_index = 1}};

	fd = make_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	t_sys(send(fd, &req, sizeof(req), 0));
}

static void make_udp_corked(void)
{
	struct sockaddr_in in = loopback(9);

	fd = make_socket(AF_INET, SOCK_DGRAM, 0);
	t_sys(sendto(fd, "x", 1, MSG_MORE, (struct sockaddr *)&in, sizeof(in)));
}

static void make_udp_filtered(void)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 0x1234)};
	struct sock_fprog prog = {.len = 1, .filter = code};

	fd = make_socket(AF_INET, SOCK_DGRAM, 0);
	t_sys(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)));
}

static void make_vsock(void)
{
	fd = make_socket(AF_VSOCK, SOCK_STREAM, 0);
}

static void make_mptcp(void)
{
	fd = make_socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
}

/* ---- TCP ---------------------------------------------------------------------------------- */

static void make_tcp_outside(void)
{
	struct sockaddr_in in = loopback(outside_port);

	fd = t_sys(socket(AF_INET, SOCK_STREAM, 0));
	t_sys(connect(fd, (struct sockaddr *)&in, sizeof(in)));
}

/* listener, fd connected to it; not accepted. */
static void connect_tcp(void)
{
	struct sockaddr_in in = loopback(0);
	socklen_t len = sizeof(in);

	listener = t_sys(socket(AF_INET, SOCK_STREAM, 0));
	t_sys(bind(listener, (struct sockaddr *)&in, sizeof(in)));
	t_sys(listen(listener, 5));
	t_sys(getsockname(listener, (struct sockaddr *)&in, &len));
	fd = t_sys(socket(AF_INET, SOCK_STREAM, 0));
	t_sys(connect(fd, (struct sockaddr *)&in, len));
}

static void make_tcp_pair(void)
{
	connect_tcp();
	peer = t_sys(accept(listener, NULL, NULL));
}

static void after_accept(void)
{
	peer = t_sys(accept(listener, NULL, NULL));
	t_sys(write(fd, "x", 1));
	t_check(read(peer, &(char){0}, 1) == 1, "the connection is lost");
}

static void make_tcp_half(void)
{
	make_tcp_pair();
	t_sys(write(fd, "x", 1));
	t_sys(shutdown(fd, SHUT_WR));
}

static void after_tcp_half(void)
{
	char buf[2];

	t_check(read(peer, buf, 2) == 1 && read(peer, buf, 2) == 0, "the data is lost");
}

static void make_tcp_broken(void)
{
	make_tcp_pair();
	t_sys(write(fd, "x", 1));
	t_sys(write(peer, "x", 1));
	t_sleep_ms(10);
	t_sys(close(peer)); /* with data that was not read: a reset */
	t_sleep_ms(10);
}

static void make_tcp_urgent(void)
{
	make_tcp_pair();
	t_sys(send(fd, "!", 1, MSG_OOB));
	t_sleep_ms(10);
}

static void after_tcp_urgent(void)
{
	char c = 0;

	t_check(recv(peer, &c, 1, MSG_OOB) == 1 && c == '!', "the urgent byte is lost");
}

static void make_ktls(void)
{
	make_tcp_pair();
	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0)
		t_skip("no TLS in this kernel: %m");
}

/* ---- unix sockets ------------------------------------------------------------------------- */

static struct sockaddr_un unix_path(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	return un;
}

static void make_unix_outside(void)
{
	struct sockaddr_un un = unix_path(outside_unix);

	fd = t_sys(socket(AF_UNIX, SOCK_STREAM, 0));
	t_sys(connect(fd, (struct sockaddr *)&un, sizeof(un)));
}

static void make_unix_unaccepted(void)
{
	struct sockaddr_un un = unix_path(t_path("socket"));

	listener = t_sys(socket(AF_UNIX, SOCK_STREAM, 0));
	t_sys(bind(listener, (struct sockaddr *)&un, sizeof(un)));
	t_sys(listen(listener, 5));
	fd = t_sys(socket(AF_UNIX, SOCK_STREAM, 0));
	t_sys(connect(fd, (struct sockaddr *)&un, sizeof(un)));
}

static void make_unix_relative(void)
{
	struct sockaddr_un un = unix_path("relative");

	fd = t_sys(socket(AF_UNIX, SOCK_DGRAM, 0));
	t_sys(bind(fd, (struct sockaddr *)&un, sizeof(un)));
}

static void make_rights(void)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS,
			      .cmsg_len = CMSG_LEN(sizeof(int))}};
	struct iovec iov = {(void *)(uintptr_t) "x", 1};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control)};
	int pair[2], sent = STDOUT_FILENO;

	t_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	memcpy(CMSG_DATA(&control.head), &sent, sizeof(sent));
	t_sys(sendmsg(pair[0], &mh, 0));
	fd = pair[1];
}

static void after_rights(void)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {&(char){0}, 1};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control)};

	t_check(recvmsg(fd, &mh, 0) == 1 && mh.msg_controllen == sizeof(control),
		"the descriptor is lost");
}

static void make_passcred(void)
{
	int pair[2], one = 1;

	t_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	fd = pair[1];
	t_sys(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));
	t_sys(write(pair[0], "x", 1));
}

static void after_passcred(void)
{
	t_check(read(fd, &(char){0}, 1) == 1, "the data is lost");
}

/* From a socket that is no more. */
static void make_stranger(void)
{
	struct sockaddr_un un = unix_path(t_path("receiver")), from = unix_path(t_path("sender"));
	int s;

	fd = t_sys(socket(AF_UNIX, SOCK_DGRAM, 0));
	t_sys(bind(fd, (struct sockaddr *)&un, sizeof(un)));
	s = t_sys(socket(AF_UNIX, SOCK_DGRAM, 0));
	t_sys(bind(s, (struct sockaddr *)&from, sizeof(from)));
	t_sys(sendto(s, "x", 1, 0, (struct sockaddr *)&un, sizeof(un)));
	t_sys(close(s));
}

const struct refused refused_sockets[] = {
	{"raw socket", "is a raw socket", make_raw, NULL, 1, 4},
	{"packet socket", "is a packet socket", make_packet, NULL, 1, 4},
	{"netlink, other protocols", "its protocol cannot be saved", make_netlink, NULL, 0, 4},
	{"netlink, unread message", "a message waits in it", make_netlink_asked, NULL, 0, 1},
	{"UDP, incomplete datagram", "an incomplete datagram waits to be sent", make_udp_corked,
	 NULL, 0, 1},
	{"UDP with a packet filter", "it has a packet filter", make_udp_filtered, NULL, 0, 4},
	{"vsock", "is a vsock socket", make_vsock, NULL, 0, 4},
	{"multipath TCP", "multipath TCP cannot be saved", make_mptcp, NULL, 0, 4},
	{"TCP to the outside", "the other end of the connection is outside the set",
	 make_tcp_outside, NULL, 0, 4},
	{"TCP, half closed", "its connection is half closed", make_tcp_half, after_tcp_half, 0, 4},
	{"TCP, broken", "its connection is broken", make_tcp_broken, NULL, 0, 4},
	{"TCP, not yet accepted", "a connection waits to be accepted", connect_tcp, after_accept, 0,
	 1},
	{"TCP, urgent data", "urgent data waits in it", make_tcp_urgent, after_tcp_urgent, 0, 1},
	{"TLS in the kernel", "TLS in the kernel cannot be saved", make_ktls, NULL, 0, 4},
	{"unix socket to the outside", "the other end of the socket is outside the set",
	 make_unix_outside, NULL, 0, 4},
	{"unix socket, not yet accepted", "a connection waits to be accepted", make_unix_unaccepted,
	 after_accept, 0, 1},
	{"unix socket, relative name", "it is bound to a relative path", make_unix_relative, NULL,
	 0, 4},
	{"descriptor in flight", "a descriptor that was sent has not been received", make_rights,
	 after_rights, 0, 4},
	{"credentials in flight", "data with the sender's credentials waits in it", make_passcred,
	 after_passcred, 0, 1},
	{"datagram of a stranger", "a datagram waits in it whose sender is not in the set",
	 make_stranger, after_passcred, 0, 1},
	{NULL, NULL, NULL, NULL, 0, 0},
};
