/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of options that are an integer, read and set alike.  An option is recorded with level and
 * name as the kernel's ABI has them, so the table may change freely.  What a fresh socket has anyway is
 * not set: some options need a privilege even to be set to what they are.  IPv6 sockets have some of
 * those of IPv4 (IP_TRANSPARENT, IP_FREEBIND) under both levels: one is enough.
 */
#include "state/sock_options.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "state/sock.h"

/* Not all are in the headers of Debian 12. */
#ifndef SO_RESERVE_MEM
#define SO_RESERVE_MEM 73
#endif
#define IP_MULTICAST_ALL_    49
#define IPV6_MULTICAST_ALL_  29
#define IPV6_RECVFRAGSIZE_   77
#define TCP_THIN_TIMEOUTS    16
#define TCP_INQ_             36
#define TCP_TX_DELAY_        37
#define UDPLITE_SEND_CSCOV_  10
#define UDPLITE_RECV_CSCOV_  11
#define NETLINK_STRICT_CHK   12
#define SO_TIMESTAMP_NEW_    63
#define SO_TIMESTAMPNS_NEW_  64
#define SO_TIMESTAMPING_NEW_ 65
#define SO_TXREHASH_         74

static const struct {
	int level, name;
} options[] = {
	{SOL_SOCKET, SO_REUSEADDR},
	{SOL_SOCKET, SO_REUSEPORT},
	{SOL_SOCKET, SO_BROADCAST},
	{SOL_SOCKET, SO_DONTROUTE},
	{SOL_SOCKET, SO_OOBINLINE},
	{SOL_SOCKET, SO_PRIORITY},
	{SOL_SOCKET, SO_MARK},
	{SOL_SOCKET, SO_RCVLOWAT},
	{SOL_SOCKET, SO_TIMESTAMP},
	{SOL_SOCKET, SO_TIMESTAMPNS},
	{SOL_SOCKET, SO_TIMESTAMP_NEW_},
	{SOL_SOCKET, SO_TIMESTAMPNS_NEW_},
	{SOL_SOCKET, SO_TIMESTAMPING},
	{SOL_SOCKET, SO_TIMESTAMPING_NEW_}, /* behind the other, which takes it back */
	{SOL_SOCKET, SO_PASSCRED},
	{SOL_SOCKET, SO_PASSSEC},
	{SOL_SOCKET, SO_RXQ_OVFL},
	{SOL_SOCKET, SO_BUSY_POLL},
	{SOL_SOCKET, SO_ZEROCOPY},
	{SOL_SOCKET, SO_TXREHASH_},
	{IPPROTO_IP, IP_TOS},
	{IPPROTO_IP, IP_TTL},
	{IPPROTO_IP, IP_MTU_DISCOVER},
	{IPPROTO_IP, IP_RECVERR},
	{IPPROTO_IP, IP_PKTINFO},
	{IPPROTO_IP, IP_RECVTTL},
	{IPPROTO_IP, IP_RECVTOS},
	{IPPROTO_IP, IP_RECVOPTS},
	{IPPROTO_IP, IP_RECVORIGDSTADDR},
	{IPPROTO_IP, IP_FREEBIND},
	{IPPROTO_IP, IP_TRANSPARENT},
	{IPPROTO_IP, IP_MINTTL},
	{IPPROTO_IP, IP_UNICAST_IF},
	{IPPROTO_IP, IP_MULTICAST_IF},
	{IPPROTO_IP, IP_MULTICAST_TTL},
	{IPPROTO_IP, IP_MULTICAST_LOOP},
	{IPPROTO_IP, IP_MULTICAST_ALL_},
	{IPPROTO_IPV6, IPV6_V6ONLY},
	{IPPROTO_IPV6, IPV6_UNICAST_HOPS},
	{IPPROTO_IPV6, IPV6_TCLASS},
	{IPPROTO_IPV6, IPV6_MTU_DISCOVER},
	{IPPROTO_IPV6, IPV6_RECVERR},
	{IPPROTO_IPV6, IPV6_RECVPKTINFO},
	{IPPROTO_IPV6, IPV6_RECVHOPLIMIT},
	{IPPROTO_IPV6, IPV6_RECVTCLASS},
	{IPPROTO_IPV6, IPV6_RECVFRAGSIZE_},
	{IPPROTO_IPV6, IPV6_RECVORIGDSTADDR},
	{IPPROTO_IPV6, IPV6_DONTFRAG},
	{IPPROTO_IPV6, IPV6_UNICAST_IF},
	{IPPROTO_IPV6, IPV6_MULTICAST_IF},
	{IPPROTO_IPV6, IPV6_MULTICAST_HOPS},
	{IPPROTO_IPV6, IPV6_MULTICAST_LOOP},
	{IPPROTO_IPV6, IPV6_MULTICAST_ALL_},
	{IPPROTO_TCP, TCP_SYNCNT},
	{IPPROTO_TCP, TCP_LINGER2},
	{IPPROTO_TCP, TCP_DEFER_ACCEPT},
	{IPPROTO_TCP, TCP_THIN_TIMEOUTS},
	{IPPROTO_TCP, TCP_NOTSENT_LOWAT},
	{IPPROTO_TCP, TCP_INQ_},
	{IPPROTO_TCP, TCP_TX_DELAY_},
	{IPPROTO_UDP, UDP_NO_CHECK6_TX},
	{IPPROTO_UDP, UDP_NO_CHECK6_RX},
	{IPPROTO_UDP, UDP_SEGMENT},
	{IPPROTO_UDP, UDP_GRO},
	{IPPROTO_UDPLITE, UDPLITE_SEND_CSCOV_},
	{IPPROTO_UDPLITE, UDPLITE_RECV_CSCOV_},
	{SOL_NETLINK, NETLINK_PKTINFO},
	{SOL_NETLINK, NETLINK_BROADCAST_ERROR},
	{SOL_NETLINK, NETLINK_NO_ENOBUFS},
	{SOL_NETLINK, NETLINK_LISTEN_ALL_NSID},
	{SOL_NETLINK, NETLINK_CAP_ACK},
	{SOL_NETLINK, NETLINK_EXT_ACK},
	{SOL_NETLINK, NETLINK_STRICT_CHK},
};

#define NOPTIONS (sizeof(options) / sizeof(options[0]))
_Static_assert(NOPTIONS <= CKPTI_SOCK_OPTIONS_MAX, "the table has outgrown its users");

static int get(int fd, int level, int name, int *ret)
{
	socklen_t len = sizeof(*ret);

	*ret = 0; /* some fill in one byte */
	if (getsockopt(fd, level, name, ret, &len) < 0)
		return -errno;
	/* The clock that it stands for is one of a device, and not in the integer. */
	if (level == SOL_SOCKET && (name == SO_TIMESTAMPING || name == SO_TIMESTAMPING_NEW_))
		*ret &= ~SOF_TIMESTAMPING_BIND_PHC;
	return 0;
}

uint32_t ckpti_sock_options_save(int fd, struct ckpti_e_sockopt ret[CKPTI_SOCK_OPTIONS_MAX])
{
	uint32_t n = 0;
	int value;

	for (size_t i = 0; i < NOPTIONS; i++)
		if (get(fd, options[i].level, options[i].name, &value) == 0)
			ret[n++] =
				(struct ckpti_e_sockopt){options[i].level, options[i].name, value};
	return n;
}

int ckpti_sock_options_apply(int fd, const void *array, uint32_t n, struct ckpti_err *err)
{
	const uint8_t *p = array;
	struct ckpti_e_sockopt o;
	int now, r;

	for (uint32_t i = 0; i < n; i++, p += sizeof(o)) {
		memcpy(&o, p, sizeof(o));
		/* What this kernel does not know and was off, as SO_PASSCRED of UDP, is off. */
		if (get(fd, o.level, o.name, &now) < 0)
			now = 0;
		if (now == o.value)
			continue;
		r = ckpti_sock_setopt(fd, o.level, o.name, o.value);
		if (r < 0)
			return ckpti_err(err, r,
					 "cannot set option %d of level %d of a socket to %d: %s",
					 o.name, o.level, o.value, strerror(-r));
	}
	return 0;
}

void ckpti_sock_buffers_save(int fd, int32_t *ret_sndbuf, int32_t *ret_rcvbuf)
{
	const int lock = ckpti_sock_buf_lock(fd);

	*ret_sndbuf = lock & 1 ? ckpti_sock_getopt(fd, SOL_SOCKET, SO_SNDBUF, 0) : 0;
	*ret_rcvbuf = lock & 2 ? ckpti_sock_getopt(fd, SOL_SOCKET, SO_RCVBUF, 0) : 0;
}

static int set_buffer(int fd, int force, int name, int32_t size)
{
	if (!size || ckpti_sock_setopt(fd, SOL_SOCKET, force, size / 2) == 0)
		return 0;
	return ckpti_sock_setopt(fd, SOL_SOCKET, name, size / 2);
}

int ckpti_sock_buffers_apply(int fd, int32_t sndbuf, int32_t rcvbuf)
{
	int r = set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, sndbuf);

	return r < 0 ? r : set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, rcvbuf);
}

int ckpti_sock_filter_save(int fd, void **ret, uint32_t *ret_n)
{
	struct sock_filter *code;
	socklen_t len = 0; /* counts instructions here */

	*ret = NULL;
	*ret_n = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &len) < 0)
		return errno == ENOPROTOOPT ? 0 : -errno;
	if (!len)
		return 0;
	code = calloc(len, sizeof(*code));
	if (!code)
		return -ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, code, &len) < 0) {
		int r = -errno;

		free(code);
		return r;
	}
	*ret = code;
	*ret_n = len;
	return 0;
}

int ckpti_sock_filter_apply(int fd, const void *filter, uint32_t n)
{
	struct sock_filter *code;
	struct sock_fprog prog;
	int r = 0;

	if (!n)
		return 0;
	code = malloc(n * sizeof(*code)); /* aligned */
	if (!code)
		return -ENOMEM;
	memcpy(code, filter, n * sizeof(*code));
	prog = (struct sock_fprog){.len = (unsigned short)n, .filter = code};
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0)
		r = -errno;
	free(code);
	return r;
}
