/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memberships in multicast groups.  No system call lists those of a socket, but it can be asked for its
 * source filter of one group on one interface, which fails when it has not joined: so all groups that
 * the machine has joined (/proc/net/igmp, igmp6) are asked for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/sock_options.h"

#define MAX_SOURCES 64

struct list {
	struct ckpti_e_membership *e;
	uint32_t n;
};

static int add(struct list *l, uint32_t op, unsigned ifindex, const struct sockaddr_storage *group,
	       const struct sockaddr_storage *source)
{
	struct ckpti_e_membership *grown, *e;
	char name[IF_NAMESIZE] = "";

	grown = realloc(l->e, (l->n + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	l->e = grown;
	e = &l->e[l->n++];
	*e = (struct ckpti_e_membership){.op = op};
	(void)if_indextoname(ifindex, name);
	memcpy(e->ifname, name, sizeof(e->ifname));
	memcpy(e->group, group, sizeof(e->group));
	if (source)
		memcpy(e->source, source, sizeof(e->source));
	return 0;
}

static int level_of(const void *sockaddr)
{
	sa_family_t family;

	memcpy(&family, sockaddr, sizeof(family));
	return family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
}

/* Is fd in this group? */
static int ask(int fd, unsigned ifindex, const struct sockaddr_storage *group, struct list *l)
{
	union {
		struct group_filter f;
		char space[GROUP_FILTER_SIZE(MAX_SOURCES)];
	} u = {.f = {.gf_interface = ifindex, .gf_group = *group, .gf_numsrc = MAX_SOURCES}};
	socklen_t len = sizeof(u);
	uint32_t op = CKPTI_GROUP_JOIN_SOURCE;
	int r = 0;

	if (getsockopt(fd, level_of(group), MCAST_MSFILTER, &u, &len) < 0)
		return errno == EADDRNOTAVAIL || errno == ENOPROTOOPT ? 0 : -errno;
	if (u.f.gf_numsrc > MAX_SOURCES)
		return -E2BIG;
	if (u.f.gf_fmode == MCAST_EXCLUDE) {
		r = add(l, CKPTI_GROUP_JOIN, ifindex, group, NULL);
		op = CKPTI_GROUP_BLOCK_SOURCE;
	}
	for (uint32_t i = 0; r == 0 && i < u.f.gf_numsrc; i++)
		r = add(l, op, ifindex, group, &u.f.gf_slist[i]);
	return r;
}

static int ask_v4(int fd, struct list *l)
{
	FILE *f = fopen("/proc/self/net/igmp", "re");
	struct sockaddr_storage group;
	struct sockaddr_in in = {.sin_family = AF_INET};
	unsigned ifindex = 0, n;
	char line[256];
	int r = 0;

	while (f && r == 0 && fgets(line, sizeof(line), f)) {
		if (line[0] != '\t') {
			(void)sscanf(line, "%u", &ifindex);
			continue;
		}
		if (sscanf(line, " %8x", &n) != 1)
			continue;
		in.sin_addr.s_addr = n; /* printed as it lies in memory */
		memset(&group, 0, sizeof(group));
		memcpy(&group, &in, sizeof(in));
		r = ask(fd, ifindex, &group, l);
	}
	if (f)
		(void)fclose(f);
	return r;
}

static int ask_v6(int fd, struct list *l)
{
	FILE *f = fopen("/proc/self/net/igmp6", "re");
	struct sockaddr_storage group;
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	char line[256], hex[33];
	unsigned ifindex, byte;
	int r = 0;

	while (f && r == 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%u %*s %32[0-9a-f]", &ifindex, hex) != 2)
			continue;
		for (size_t i = 0; i < 16 && sscanf(hex + 2 * i, "%2x", &byte) == 1; i++)
			in6.sin6_addr.s6_addr[i] = (uint8_t)byte;
		memset(&group, 0, sizeof(group));
		memcpy(&group, &in6, sizeof(in6));
		r = ask(fd, ifindex, &group, l);
	}
	if (f)
		(void)fclose(f);
	return r;
}

int ckpti_sock_groups_save(int fd, int family, struct ckpti_e_membership **ret, uint32_t *ret_n)
{
	struct list l = {0};
	int r = ask_v4(fd, &l);

	if (r == 0 && family == AF_INET6)
		r = ask_v6(fd, &l);
	if (r < 0) {
		free(l.e);
		return r;
	}
	*ret = l.e;
	*ret_n = l.n;
	return 0;
}

static int apply(int fd, const struct ckpti_e_membership *e, unsigned ifindex)
{
	struct group_source_req src = {.gsr_interface = ifindex};
	struct group_req req = {.gr_interface = ifindex};
	int r;

	if (e->op == CKPTI_GROUP_JOIN) {
		memcpy(&req.gr_group, e->group, sizeof(e->group));
		r = setsockopt(fd, level_of(e->group), MCAST_JOIN_GROUP, &req, sizeof(req));
	} else {
		memcpy(&src.gsr_group, e->group, sizeof(e->group));
		memcpy(&src.gsr_source, e->source, sizeof(e->source));
		r = setsockopt(fd, level_of(e->group),
			       e->op == CKPTI_GROUP_JOIN_SOURCE ? MCAST_JOIN_SOURCE_GROUP
								: MCAST_BLOCK_SOURCE,
			       &src, sizeof(src));
	}
	return r < 0 ? -errno : 0;
}

int ckpti_sock_groups_apply(int fd, const void *array, uint32_t n, struct ckpti_err *err)
{
	const uint8_t *p = array;
	struct ckpti_e_membership e;
	unsigned ifindex;
	int r;

	for (uint32_t i = 0; i < n; i++, p += sizeof(e)) {
		memcpy(&e, p, sizeof(e));
		e.ifname[sizeof(e.ifname) - 1] = '\0';
		ifindex = if_nametoindex(e.ifname);
		r = ifindex ? apply(fd, &e, ifindex) : -ENODEV;
		if (r < 0)
			return ckpti_err(err, r,
					 "cannot join a multicast group on interface '%s': %s",
					 e.ifname, strerror(-r));
	}
	return 0;
}
