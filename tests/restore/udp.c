/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UDP, IPv4 or IPv6 (argument 4 or 6), between two processes: bound, connected and unbound sockets,
 * datagrams that wait with their senders, empty ones too, options, a device, multicast groups; UDP-Lite.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/net_tstamp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "fd.h"

#define STAMPS (SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE)

union addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static int family;
static socklen_t addr_len;
static int receiver, wild, sender, client, unbound, grouped, lite, child_socket;
static union addr to, wild_at, from, child_at;
static unsigned loopback;
static int v6only;
static int looked_at_twice; /* two checkpoints in one life: started without cpr run */

static void set(int fd, int level, int opt, int v)
{
	t_sys(setsockopt(fd, level, opt, &v, sizeof(v)));
}

static int option(int fd, int level, int opt)
{
	socklen_t len = sizeof(int);
	int v = 0;

	t_sys(getsockopt(fd, level, opt, &v, &len));
	return v;
}

static union addr make_addr(int any)
{
	union addr a = {0};

	a.sa.sa_family = (sa_family_t)family;
	if (family == AF_INET)
		a.in.sin_addr.s_addr = htonl(any ? INADDR_ANY : INADDR_LOOPBACK);
	else
		a.in6.sin6_addr = any ? in6addr_any : in6addr_loopback;
	return a;
}

/* A socket at a port that the kernel chooses. */
static int bound(int any, int protocol, union addr *ret)
{
	socklen_t len = sizeof(*ret);
	int fd = socket(family, SOCK_DGRAM, protocol);

	*ret = make_addr(any);
	if (fd < 0 || (bind(fd, &ret->sa, addr_len) < 0 && errno == EADDRNOTAVAIL))
		t_skip("no such addresses here: %m");
	t_sys(getsockname(fd, &ret->sa, &len));
	return fd;
}

static int same_addr(const union addr *a, const union addr *b)
{
	if (family == AF_INET)
		return a->in.sin_port == b->in.sin_port &&
		       a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	return a->in6.sin6_port == b->in6.sin6_port &&
	       memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0;
}

static void send_noise(int fd, size_t n, uint64_t seed, const union addr *dst)
{
	static char buf[65536];

	t_fill(buf, n, seed);
	t_check(sendto(fd, buf, n, 0, &dst->sa, addr_len) == (ssize_t)n, "sendto: %m");
}

static void receive(int fd, size_t n, uint64_t seed, const union addr *src, const char *what)
{
	static char buf[65536];
	union addr a = {0};
	socklen_t len = sizeof(a);
	ssize_t got = recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, &a.sa, &len);

	t_check(got == (ssize_t)n && t_filled(buf, n, seed), "%s: %zd bytes instead of %zu", what,
		got, n);
	t_check(same_addr(&a, src), "%s: its sender is another one", what);
}

static int empty(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void disturb(void)
{
	char buf[16];

	while (recv(receiver, buf, sizeof(buf), MSG_DONTWAIT) >= 0)
		;
	while (recv(wild, buf, sizeof(buf), MSG_DONTWAIT) >= 0)
		;
	send_noise(sender, 3, 1, &to);
}

static void in_child(void)
{
	for (int i = 0; access(t_path("go"), F_OK) < 0; i++) {
		t_check(i < 6000, "nobody said go");
		t_sleep_ms(20);
	}
	receive(child_socket, 333, t_token() + 7, &from, "what waits in the child");
	t_check(recv(child_socket, &(char){0}, 1, 0) == 1, "the child is not told to send");
	send_noise(child_socket, 55, t_token() + 8, &to);
}

static void join(void)
{
	struct group_req req = {.gr_interface = loopback};
	struct group_source_req src = {.gsr_interface = loopback};

	if (family == AF_INET) {
		((struct sockaddr_in *)&req.gr_group)->sin_family = AF_INET;
		((struct sockaddr_in *)&req.gr_group)->sin_addr.s_addr = inet_addr("239.1.2.3");
		memcpy(&src.gsr_group, &req.gr_group, sizeof(src.gsr_group));
		((struct sockaddr_in *)&src.gsr_group)->sin_addr.s_addr = inet_addr("239.1.2.4");
		((struct sockaddr_in *)&src.gsr_source)->sin_family = AF_INET;
		((struct sockaddr_in *)&src.gsr_source)->sin_addr.s_addr = inet_addr("127.0.0.9");
		t_sys(setsockopt(grouped, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, &src, sizeof(src)));
		t_sys(setsockopt(grouped, IPPROTO_IP, MCAST_JOIN_GROUP, &req, sizeof(req)));
		return;
	}
	((struct sockaddr_in6 *)&req.gr_group)->sin6_family = AF_INET6;
	(void)inet_pton(AF_INET6, "ff15::1234", &((struct sockaddr_in6 *)&req.gr_group)->sin6_addr);
	t_sys(setsockopt(grouped, IPPROTO_IPV6, MCAST_JOIN_GROUP, &req, sizeof(req)));
}

/* Joining again fails where the socket is a member. */
static void check_groups(void)
{
	struct group_req req = {.gr_interface = loopback};
	union {
		struct group_filter f;
		char space[GROUP_FILTER_SIZE(4)];
	} u = {.f = {.gf_interface = loopback, .gf_numsrc = 4}};
	socklen_t len = sizeof(u);
	int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;

	if (family == AF_INET) {
		((struct sockaddr_in *)&req.gr_group)->sin_family = AF_INET;
		((struct sockaddr_in *)&req.gr_group)->sin_addr.s_addr = inet_addr("239.1.2.3");
		((struct sockaddr_in *)&u.f.gf_group)->sin_family = AF_INET;
		((struct sockaddr_in *)&u.f.gf_group)->sin_addr.s_addr = inet_addr("239.1.2.4");
		t_sys(getsockopt(grouped, level, MCAST_MSFILTER, &u, &len));
		t_check(u.f.gf_fmode == MCAST_INCLUDE && u.f.gf_numsrc == 1, "a source of a group");
	} else {
		((struct sockaddr_in6 *)&req.gr_group)->sin6_family = AF_INET6;
		(void)inet_pton(AF_INET6, "ff15::1234",
				&((struct sockaddr_in6 *)&req.gr_group)->sin6_addr);
	}
	t_check(setsockopt(grouped, level, MCAST_JOIN_GROUP, &req, sizeof(req)) < 0 &&
			errno == EADDRINUSE,
		"it is no member of the group any more");
}

static long timeout_ms(int fd, int opt)
{
	struct timeval tv = {0};
	socklen_t len = sizeof(tv);

	t_sys(getsockopt(fd, SOL_SOCKET, opt, &tv, &len));
	return tv.tv_sec * 1000 + tv.tv_usec / 1000;
}

static void check_options(void)
{
	char device[IF_NAMESIZE] = "";
	socklen_t len = sizeof(device);

	t_sys(getsockopt(unbound, SOL_SOCKET, SO_BINDTODEVICE, device, &len));
	t_check(strcmp(device, "lo") == 0, "it is bound to device '%s'", device);
	t_check(option(unbound, IPPROTO_UDP, UDP_CORK) == 1, "UDP_CORK");
	t_check(timeout_ms(unbound, SO_RCVTIMEO) == 3500, "SO_RCVTIMEO");
	t_check(timeout_ms(unbound, SO_SNDTIMEO) == 4500, "SO_SNDTIMEO");
	t_check(option(receiver, SOL_SOCKET, SO_PEEK_OFF) == -1, "SO_PEEK_OFF");
	t_check(option(client, SOL_SOCKET, SO_BROADCAST) == 1, "SO_BROADCAST");
	t_check(option(receiver, SOL_SOCKET, SO_BROADCAST) == 0, "SO_BROADCAST of another one");
	t_check(option(client, SOL_SOCKET, SO_PRIORITY) == 3, "SO_PRIORITY");
	t_check(option(client, SOL_SOCKET, SO_RCVBUF) == 2 * 70000, "SO_RCVBUF");
	t_check(option(client, SOL_SOCKET, SO_TIMESTAMPNS) == 1, "SO_TIMESTAMPNS");
	t_check(option(client, SOL_SOCKET, SO_TIMESTAMPING) == STAMPS, "SO_TIMESTAMPING");
	t_check(option(client, IPPROTO_UDP, UDP_SEGMENT) == 1200, "UDP_SEGMENT");
	if (family == AF_INET) {
		t_check(option(client, IPPROTO_IP, IP_TTL) == 33, "IP_TTL");
		t_check(option(client, IPPROTO_IP, IP_PKTINFO) == 1, "IP_PKTINFO");
		t_check(option(client, IPPROTO_IP, IP_MULTICAST_TTL) == 5, "IP_MULTICAST_TTL");
		t_check(option(client, IPPROTO_IP, IP_UNICAST_IF) == (int)htonl(loopback),
			"IP_UNICAST_IF");
	} else {
		t_check(option(client, IPPROTO_IPV6, IPV6_UNICAST_HOPS) == 33, "hops");
		t_check(option(client, IPPROTO_IPV6, IPV6_RECVPKTINFO) == 1, "IPV6_RECVPKTINFO");
		/* The kernel sets it where an address has been given. */
		t_check(option(unbound, IPPROTO_IPV6, IPV6_V6ONLY) == 1 &&
				option(grouped, IPPROTO_IPV6, IPV6_V6ONLY) == v6only,
			"IPV6_V6ONLY");
		t_check(option(client, IPPROTO_IPV6, IPV6_UNICAST_IF) == (int)htonl(loopback),
			"IPV6_UNICAST_IF");
		t_check(option(client, IPPROTO_IPV6, IPV6_DONTFRAG) == 1, "IPV6_DONTFRAG");
		t_check(option(client, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR) == 1,
			"IPV6_RECVORIGDSTADDR");
		t_check(option(client, IPPROTO_IPV6, IPV6_FREEBIND) == 1, "IPV6_FREEBIND");
	}
}

static void set_options(void)
{
	struct timeval in = {3, 500000}, out = {4, 500000};

	t_sys(setsockopt(unbound, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2));
	set(unbound, IPPROTO_UDP, UDP_CORK, 1);
	t_sys(setsockopt(unbound, SOL_SOCKET, SO_RCVTIMEO, &in, sizeof(in)));
	t_sys(setsockopt(unbound, SOL_SOCKET, SO_SNDTIMEO, &out, sizeof(out)));
	set(client, SOL_SOCKET, SO_BROADCAST, 1);
	set(client, SOL_SOCKET, SO_PRIORITY, 3);
	set(client, SOL_SOCKET, SO_RCVBUF, 70000);
	set(client, SOL_SOCKET, SO_TIMESTAMPNS, 1);
	set(client, SOL_SOCKET, SO_TIMESTAMPING, STAMPS);
	set(client, IPPROTO_UDP, UDP_SEGMENT, 1200);
	if (family == AF_INET) {
		set(client, IPPROTO_IP, IP_TTL, 33);
		set(client, IPPROTO_IP, IP_PKTINFO, 1);
		set(client, IPPROTO_IP, IP_MULTICAST_TTL, 5);
		set(client, IPPROTO_IP, IP_UNICAST_IF, (int)htonl(loopback));
	} else {
		set(client, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33);
		set(client, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
		set(unbound, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		v6only = option(grouped, IPPROTO_IPV6, IPV6_V6ONLY);
		set(client, IPPROTO_IPV6, IPV6_UNICAST_IF, (int)htonl(loopback));
		set(client, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
		set(client, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1);
		set(client, IPPROTO_IPV6, IPV6_FREEBIND, 1);
	}
}

int main(int argc, char **argv)
{
	union addr client_at, client_now, lite_at, nobody;
	socklen_t len = sizeof(client_at);
	pid_t pid;

	t_start();
	looked_at_twice = !getenv("CKPT_SET");
	family = argc > 1 && strcmp(argv[1], "6") == 0 ? AF_INET6 : AF_INET;
	addr_len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	loopback = if_nametoindex("lo");
	receiver = bound(0, 0, &to);
	wild = bound(1, 0, &wild_at);
	sender = bound(0, 0, &from);
	grouped = bound(1, 0, &nobody);
	join();
	lite = bound(0, IPPROTO_UDPLITE, &lite_at);
	unbound = t_sys(socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	client = t_sys(socket(family, SOCK_DGRAM, 0));
	set_options();
	t_sys(connect(client, &to.sa, addr_len));
	t_sys(getsockname(client, &client_at.sa, &len));
	child_socket = bound(0, 0, &child_at);
	send_noise(sender, 333, t_token() + 7, &child_at);
	pid = child_now(in_child);
	send_noise(sender, 100, t_token(), &to);
	t_sys(send(client, "", 0, 0));
	send_noise(sender, 20000, t_token() + 1, &to);
	for (int i = 0; i < 8; i++)
		send_noise(sender, 10 + (size_t)i, t_token() + 2, &to);
	nobody = wild_at;
	if (family == AF_INET)
		nobody.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		nobody.in6.sin6_addr = in6addr_loopback;
	send_noise(sender, 77, t_token() + 3, &nobody);
	t_on_disturb(disturb);
	t_ready();

	t_check(fcntl(unbound, F_GETFD) == FD_CLOEXEC && (get_flags(unbound) & O_NONBLOCK),
		"flags of an unbound socket");
	len = sizeof(client_now);
	t_sys(getsockname(client, &client_now.sa, &len));
	t_check(same_addr(&client_now, &client_at), "the connected socket has another address");
	t_sys(getpeername(client, &client_now.sa, &len));
	t_check(same_addr(&client_now, &to), "it is connected to somebody else");
	receive(receiver, 100, t_token(), &from, "a datagram");
	/* The kernel skips an empty one when it is looked at for the second time. */
	if (!looked_at_twice ||
	    recv(receiver, &(char){0}, 1, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT) == 0)
		receive(receiver, 0, 0, &client_at, "an empty datagram");
	receive(receiver, 20000, t_token() + 1, &from, "a large datagram");
	for (int i = 0; i < 8; i++)
		receive(receiver, 10 + (size_t)i, t_token() + 2, &from, "small ones");
	t_check(empty(receiver), "more than was sent");
	receive(wild, 77, t_token() + 3, &from, "a datagram for all addresses");
	t_check(empty(wild), "more than was sent to all addresses");
	check_options();
	check_groups();
	t_check(option(lite, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDPLITE, "it is not UDP-Lite");
	send_noise(sender, 1, 0, &child_at);
	child_must_pass(pid);
	receive(receiver, 55, t_token() + 8, &child_at, "what the child sent afterwards");
	t_check(send(client, "late", 4, 0) == 4, "send: %m");
	t_check(recv(receiver, &(char[8]){0}, 8, 0) == 4, "what was sent afterwards");
	t_done();
}
