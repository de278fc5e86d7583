/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names for what cannot be saved, so that the refusal says what it is about.  docs/limits.md lists the
 * same names with what to do about each; the test restore.refusals compares.
 */
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "state/kinds.h"
#include "state/sock.h"
#include "state/state_private.h"

/* File systems whose regular files are none; not all are in linux/magic.h of Debian 12. */
#define MQUEUE_FS    0x19800202
#define SECRETMEM_FS 0x5345434d
#define HUGETLB_FS   0x958458f6

static const struct {
	long type;
	const char *what;
} file_systems[] = {
	{MQUEUE_FS, "a POSIX message queue"},
	{NSFS_MAGIC, "a namespace"},
	{SECRETMEM_FS, "secret memory"},
	{HUGETLB_FS, "a hugetlbfs file"},
};

static const struct {
	const char *link;
	const char *what;
} anonymous[] = {
	{"anon_inode:[fanotify]", "a fanotify group"},
	{"anon_inode:[io_uring]", "an io_uring"},
	{"anon_inode:[userfaultfd]", "a userfaultfd"},
	{"anon_inode:[perf_event]", "a performance counter"},
	{"anon_inode:bpf-map", "a BPF object"},
	{"anon_inode:bpf-prog", "a BPF object"},
	{"anon_inode:bpf_link", "a BPF object"},
	{"anon_inode:[landlock-ruleset]", "a Landlock ruleset"},
	{"anon_inode:[fscontext]", "a file system context"},
	{"anon_inode:seccomp notify", "a seccomp listener"},
};

/* By the kernel's name of the protocol, without "v6". */
static const struct {
	const char *protocol;
	const char *what;
} sockets[] = {
	{"RAW", "a raw socket"},        {"PING", "a ping socket"},  {"PACKET", "a packet socket"},
	{"AF_VSOCK", "a vsock socket"}, {"SCTP", "an SCTP socket"}, {"ALG", "a crypto API socket"},
};

const char *ckpti_refused_fs(const struct ckpti_desc *d)
{
	char path[64];
	struct statfs fs;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", d->pid, d->num);
	if ((d->fd >= 0 ? fstatfs(d->fd, &fs) : statfs(path, &fs)) < 0)
		return NULL;
	for (size_t i = 0; i < sizeof(file_systems) / sizeof(file_systems[0]); i++)
		if (file_systems[i].type == (long)fs.f_type)
			return file_systems[i].what;
	return NULL;
}

static const char *socket_name(const struct ckpti_desc *d)
{
	char protocol[CKPTI_SOCK_PROTOCOL_SIZE];
	size_t n = ckpti_sock_protocol(d, protocol);

	if (n > 2 && strcmp(protocol + n - 2, "v6") == 0)
		protocol[n - 2] = '\0';
	for (size_t i = 0; i < sizeof(sockets) / sizeof(sockets[0]); i++)
		if (strcmp(sockets[i].protocol, protocol) == 0)
			return sockets[i].what;
	return "a socket of a kind";
}

const char *ckpti_refused_name(const struct ckpti_desc *d)
{
	if (S_ISSOCK(d->st.st_mode))
		return socket_name(d);
	if (S_ISBLK(d->st.st_mode))
		return "a block device";
	if (S_ISCHR(d->st.st_mode))
		return "a device";
	for (size_t i = 0; i < sizeof(anonymous) / sizeof(anonymous[0]); i++)
		if (strcmp(anonymous[i].link, d->link) == 0)
			return anonymous[i].what;
	return "something";
}
