/* SPDX-License-Identifier: BSD-3-Clause */
/* Readers of /proc: tolerant of processes that end in between, strict about what they parse. */
#include "core/procfs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

char *ckpti_procfs_slurp(int pid, const char *name, size_t *ret_len)
{
	char path[64];
	size_t cap = 4096, len = 0;
	char *buf = NULL;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	for (;;) {
		char *bigger;
		ssize_t n;

		if (!buf || len + 1 >= cap) {
			cap *= 2;
			bigger = realloc(buf, cap);
			if (!bigger)
				break;
			buf = bigger;
		}
		n = read(fd, buf + len, cap - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		if (n == 0) {
			(void)close(fd);
			buf[len] = 0;
			if (ret_len)
				*ret_len = len;
			return buf;
		}
		len += (size_t)n;
	}
	free(buf);
	(void)close(fd);
	return NULL;
}

ssize_t ckpti_procfs_link(int pid, const char *name, char *buf)
{
	char path[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	n = readlink(path, buf, PATH_MAX - 1);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	return n;
}

static int parse_stat(const char *text, struct ckpti_procinfo *p)
{
	const char *open = strchr(text, '(');
	const char *close = strrchr(text, ')');
	uint64_t f[53] = {0};
	char *end;
	size_t len;

	if (!open || !close || close < open)
		return -EIO;
	len = (size_t)(close - open - 1);
	if (len >= sizeof(p->comm))
		len = sizeof(p->comm) - 1;
	memcpy(p->comm, open + 1, len);
	p->comm[len] = 0;
	if (close[1] != ' ' || !close[2])
		return -EIO;
	p->state = close[2];
	end = (char *)close + 3;
	for (int i = 4; i <= 52; i++)
		f[i] = (uint64_t)strtoull(end, &end, 10);
	p->ppid = (int)f[4];
	p->pgid = (int)f[5];
	p->sid = (int)f[6];
	p->tty = (int)f[7];
	p->tpgid = (int)f[8];
	p->nice = (int)f[19];
	p->nthreads = (int)f[20];
	p->start_time = f[22];
	p->start_code = f[26];
	p->end_code = f[27];
	p->start_stack = f[28];
	p->exit_signal = (int)f[38];
	p->start_data = f[45];
	p->end_data = f[46];
	p->start_brk = f[47];
	p->arg_start = f[48];
	p->arg_end = f[49];
	p->env_start = f[50];
	p->env_end = f[51];
	p->wstatus = (int)f[52];
	return 0;
}

static const char *field(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = text; p; p = strchr(p, '\n')) {
		if (*p == '\n')
			p++;
		if (strncmp(p, key, n) == 0)
			return p + n;
	}
	return NULL;
}

static uint64_t number(const char *text, const char *key, int base)
{
	const char *p = field(text, key);

	return p ? (uint64_t)strtoull(p, NULL, base) : 0;
}

/* Last number of a line such as "NSpid:\t4711\t12". */
static int last_number(const char *text, const char *key, int otherwise)
{
	const char *p = field(text, key);
	int v = otherwise;

	if (!p)
		return v;
	while (*p && *p != '\n') {
		char *end;
		long n = strtol(p, &end, 10);

		if (end == p)
			break;
		v = (int)n;
		p = end;
		while (*p == '\t' || *p == ' ')
			p++;
	}
	return v;
}

static void ids(const char *text, const char *key, uint32_t ret[4])
{
	const char *p = field(text, key);
	char *end;

	for (int i = 0; p && i < 4; i++, p = end)
		ret[i] = (uint32_t)strtoul(p, &end, 10);
}

static void parse_status(const char *text, struct ckpti_procinfo *p)
{
	const char *g = field(text, "Groups:");

	p->inner_pid = last_number(text, "NSpid:", p->pid);
	p->inner_pgid = last_number(text, "NSpgid:", p->pgid);
	p->inner_sid = last_number(text, "NSsid:", p->sid);
	ids(text, "Uid:", p->uid);
	ids(text, "Gid:", p->gid);
	p->ngroups = 0;
	while (g && p->ngroups < 64) {
		char *end;
		unsigned long v;

		while (*g == ' ' || *g == '\t')
			g++;
		if (!isdigit((unsigned char)*g))
			break;
		v = strtoul(g, &end, 10);
		p->groups[p->ngroups++] = (uint32_t)v;
		g = end;
	}
	p->tracer = (int)number(text, "TracerPid:", 10);
	p->seccomp = (int)number(text, "Seccomp:", 10);
	p->no_new_privs = (int)number(text, "NoNewPrivs:", 10);
	p->umask = (uint32_t)number(text, "Umask:", 8);
	p->sig_pending = number(text, "SigPnd:", 16);
	p->sig_shared = number(text, "ShdPnd:", 16);
	p->sig_blocked = number(text, "SigBlk:", 16);
	p->sig_ignored = number(text, "SigIgn:", 16);
	p->sig_caught = number(text, "SigCgt:", 16);
	p->cap_inh = number(text, "CapInh:", 16);
	p->cap_prm = number(text, "CapPrm:", 16);
	p->cap_eff = number(text, "CapEff:", 16);
	p->cap_bnd = number(text, "CapBnd:", 16);
	p->cap_amb = number(text, "CapAmb:", 16);
}

int ckpti_procfs_stat(int pid, struct ckpti_procinfo *ret)
{
	char path[32], text[2048];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	n = read(fd, text, sizeof(text) - 1); /* the kernel gives the one line in one piece */
	(void)close(fd);
	if (n <= 0)
		return -ESRCH;
	text[n] = 0;
	memset(ret, 0, sizeof(*ret));
	ret->pid = pid;
	return parse_stat(text, ret);
}

int ckpti_procfs_status(struct ckpti_procinfo *p)
{
	char *text = ckpti_procfs_slurp(p->pid, "status", NULL);

	if (!text)
		return -ESRCH;
	parse_status(text, p);
	free(text);
	return 0;
}

int ckpti_procfs_read(int pid, struct ckpti_procinfo *ret)
{
	struct ckpti_procinfo p;
	int r = ckpti_procfs_stat(pid, &p);

	if (r == 0)
		r = ckpti_procfs_status(&p);
	if (r == 0)
		*ret = p;
	return r;
}

int ckpti_procfs_environ(int pid, const char *name, char *buf, size_t size)
{
	size_t len, n = strlen(name);
	char *text = ckpti_procfs_slurp(pid, "environ", &len);
	int r = 0;

	if (!text)
		return -errno;
	for (const char *p = text; p < text + len; p += strlen(p) + 1) {
		if (strncmp(p, name, n) == 0 && p[n] == '=') {
			(void)snprintf(buf, size, "%s", p + n + 1);
			r = 1;
			break;
		}
	}
	free(text);
	return r;
}

int ckpti_procfs_numbers(const char *dir, int **ret, size_t *ret_n)
{
	DIR *d = opendir(dir);
	int *list = NULL;
	size_t n = 0, cap = 0;
	struct dirent *e;

	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		if (n == cap) {
			int *bigger;

			cap = cap ? cap * 2 : 64;
			bigger = realloc(list, cap * sizeof(*list));
			if (!bigger) {
				free(list);
				(void)closedir(d);
				return -ENOMEM;
			}
			list = bigger;
		}
		list[n++] = atoi(e->d_name);
	}
	(void)closedir(d);
	*ret = list;
	*ret_n = n;
	return 0;
}

static const struct {
	char tag[3];
	uint32_t flag;
} vm_flags[] = {
	{"gd", CKPTI_VF_GROWSDOWN},  {"lo", CKPTI_VF_LOCKED},    {"nr", CKPTI_VF_NORESERVE},
	{"dc", CKPTI_VF_DONTFORK},   {"dd", CKPTI_VF_DONTDUMP},  {"hg", CKPTI_VF_HUGEPAGE},
	{"nh", CKPTI_VF_NOHUGEPAGE}, {"mg", CKPTI_VF_MERGEABLE}, {"wf", CKPTI_VF_WIPEONFORK},
	{"sr", CKPTI_VF_SEQ},        {"rr", CKPTI_VF_RAND},      {"lf", CKPTI_VF_LOCKONFAULT},
	{"sl", CKPTI_VF_SEALED},
};

static void parse_vmflags(const char *p, struct ckpti_map *m)
{
	for (; *p && *p != '\n'; p += 2) {
		while (*p == ' ')
			p++;
		if (!*p || *p == '\n' || !p[1])
			return;
		for (size_t i = 0; i < sizeof(vm_flags) / sizeof(*vm_flags); i++)
			if (memcmp(p, vm_flags[i].tag, 2) == 0)
				m->vmflags |= vm_flags[i].flag;
		if (memcmp(p, "mw", 2) == 0)
			m->maywrite = 1;
		else if (memcmp(p, "ht", 2) == 0)
			m->hugetlb = 1;
		else if (memcmp(p, "ss", 2) == 0)
			m->shadow_stack = 1;
		else if (memcmp(p, "io", 2) == 0 || memcmp(p, "pf", 2) == 0)
			m->io = 1;
	}
}

/* "55d0…-55d1… r-xp 00001000 fe:00 1234   /usr/bin/x"; 1 when the line is such a head. */
static int parse_head(char *line, struct ckpti_map *m)
{
	unsigned maj, min;
	char perm[5];
	int n = 0;

	if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %n", &m->start, &m->end, perm, &m->off, &maj,
		   &min, &m->ino, &n) < 7)
		return 0;
	m->dev = makedev(maj, min);
	m->prot = (perm[0] == 'r' ? PROT_READ : 0) | (perm[1] == 'w' ? PROT_WRITE : 0) |
		  (perm[2] == 'x' ? PROT_EXEC : 0);
	m->shared = perm[3] == 's';
	m->name = strdup(line + n);
	return m->name ? 1 : -ENOMEM;
}

int ckpti_procfs_maps(int pid, struct ckpti_map **ret, size_t *ret_n)
{
	char *text = ckpti_procfs_slurp(pid, "smaps", NULL);
	struct ckpti_map *list = NULL;
	size_t n = 0, cap = 0;
	char *save = NULL;
	int r = 0;

	if (!text)
		return -errno;
	for (char *line = strtok_r(text, "\n", &save); line && r >= 0;
	     line = strtok_r(NULL, "\n", &save)) {
		struct ckpti_map m;

		if (strncmp(line, "VmFlags:", 8) == 0) {
			if (n)
				parse_vmflags(line + 8, &list[n - 1]);
			continue;
		}
		if (n && (strncmp(line, "Anonymous:", 10) == 0 || strncmp(line, "Swap:", 5) == 0))
			list[n - 1].anon += strtoull(strchr(line, ':') + 1, NULL, 10) << 10;
		if (n && strncmp(line, "Private_Hugetlb:", 16) == 0)
			list[n - 1].anon += strtoull(line + 16, NULL, 10) << 10;
		if (n && strncmp(line, "KernelPageSize:", 15) == 0)
			list[n - 1].page = strtoull(line + 15, NULL, 10) << 10;
		if (n && strncmp(line, "ProtectionKey:", 14) == 0)
			list[n - 1].pkey = atoi(line + 14);
		if (isupper((unsigned char)line[0]))
			continue;
		memset(&m, 0, sizeof(m));
		r = parse_head(line, &m);
		if (r <= 0)
			continue;
		if (n == cap) {
			struct ckpti_map *bigger;

			cap = cap ? cap * 2 : 128;
			bigger = realloc(list, cap * sizeof(*list));
			if (!bigger) {
				free(m.name);
				r = -ENOMEM;
				break;
			}
			list = bigger;
		}
		list[n++] = m;
	}
	free(text);
	if (r < 0) {
		ckpti_procfs_maps_free(list, n);
		return r;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

void ckpti_procfs_maps_free(struct ckpti_map *maps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(maps[i].name);
	free(maps);
}
