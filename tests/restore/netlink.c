/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Netlink sockets: port, groups, options, flags, a packet filter; the kernel still answers.
 */
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "fd.h"

static int route, events, fresh;

static uint32_t port_of(int fd)
{
	struct sockaddr_nl a = {0};
	socklen_t len = sizeof(a);

	t_sys(getsockname(fd, (struct sockaddr *)&a, &len));
	return a.nl_pid;
}

static void disturb(void)
{
	t_sys(close(route));
	t_sys(close(events));
}

/* Ask for the interfaces: the loopback device is among them. */
static void ask(int fd)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} req = {.h = {.nlmsg_len = sizeof(req),
		       .nlmsg_type = RTM_GETLINK,
		       .nlmsg_flags = NLM_F_REQUEST,
		       .nlmsg_seq = 7},
		 .i = {.ifi_family = AF_UNSPEC, .ifi_index = 1}};
	union {
		struct nlmsghdr h;
		char space[16384];
	} reply;

	t_sys(send(fd, &req, sizeof(req), 0));
	t_check(recv(fd, &reply, sizeof(reply), 0) > (ssize_t)sizeof(reply.h) &&
			reply.h.nlmsg_type == RTM_NEWLINK && reply.h.nlmsg_seq == 7 &&
			reply.h.nlmsg_pid == port_of(fd),
		"the kernel does not answer as it should");
}

int main(void)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 0x1234)}, after[2];
	struct sock_fprog prog = {.len = 1, .filter = code};
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK,
				   .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR};
	struct timeval in = {3, 500000}, out = {4, 500000}, tv[2] = {0};
	uint32_t port, groups[4] = {0};
	socklen_t len = sizeof(int);
	int v = 1;

	t_start();
	route = t_sys(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
	t_sys(bind(route, (struct sockaddr *)&addr, sizeof(addr)));
	v = RTNLGRP_IPV6_IFADDR;
	t_sys(setsockopt(route, SOL_NETLINK, NETLINK_EXT_ACK, &(int){1}, sizeof(int)));
	t_sys(setsockopt(route, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &v, sizeof(v)));
	ask(route);
	port = port_of(route);
	events = t_sys(socket(AF_NETLINK, SOCK_DGRAM, NETLINK_KOBJECT_UEVENT));
	t_sys(setsockopt(events, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)));
	t_sys(setsockopt(events, SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
	fresh = t_sys(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_SOCK_DIAG));
	t_sys(setsockopt(fresh, SOL_SOCKET, SO_RCVBUF, &(int){70000}, sizeof(int)));
	t_sys(setsockopt(fresh, SOL_SOCKET, SO_RCVTIMEO, &in, sizeof(in)));
	t_sys(setsockopt(fresh, SOL_SOCKET, SO_SNDTIMEO, &out, sizeof(out)));
	t_on_disturb(disturb);
	t_ready();

	t_check(port_of(route) == port, "port %u has become %u", port, port_of(route));
	t_check(port_of(fresh) == 0, "an unbound socket has a port");
	ask(route);
	len = sizeof(v);
	t_sys(getsockopt(route, SOL_NETLINK, NETLINK_EXT_ACK, &v, &len));
	t_check(v == 1, "NETLINK_EXT_ACK");
	len = sizeof(v);
	v = 0;
	t_sys(getsockopt(events, SOL_SOCKET, SO_PASSCRED, &v, &len));
	t_check(v == 1, "SO_PASSCRED: libudev drops what comes without a sender");
	len = sizeof(groups);
	t_sys(getsockopt(route, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, groups, &len));
	t_check(groups[0] == (RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR), "groups %#x",
		groups[0]);
	len = 2;
	t_sys(getsockopt(events, SOL_SOCKET, SO_GET_FILTER, after, &len));
	t_check(len == 1 && memcmp(after, code, sizeof(code)) == 0, "the packet filter");
	len = sizeof(v);
	t_sys(getsockopt(fresh, SOL_SOCKET, SO_RCVBUF, &v, &len));
	t_check(v == 2 * 70000, "SO_RCVBUF");
	len = sizeof(tv[0]);
	t_sys(getsockopt(fresh, SOL_SOCKET, SO_RCVTIMEO, &tv[0], &len));
	t_sys(getsockopt(fresh, SOL_SOCKET, SO_SNDTIMEO, &tv[1], &len));
	t_check(tv[0].tv_sec == 3 && tv[1].tv_sec == 4, "timeouts are %ld s and %ld s",
		tv[0].tv_sec, tv[1].tv_sec);
	t_check((get_flags(fresh) & O_NONBLOCK) && !(get_flags(route) & O_NONBLOCK), "O_NONBLOCK");
	t_check(fcntl(route, F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	t_done();
}
