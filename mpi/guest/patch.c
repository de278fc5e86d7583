/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds system calls in code and sends them through the hook.
 *
 * glibc's calls look like this, and nothing else does:
 *
 *	b8 NR NR NR NR   mov $nr, %eax
 *	...              nothing, or one or two moves from the list fillers[]
 *	0f 05            syscall
 *
 * and those whose number is an argument are in generics[]: syscall(2), and since glibc 2.41 all calls at
 * which a thread may be cancelled.
 *
 * Those that the guest's confinement needs are replaced by a jump to a stub, which does the moves,
 * steps over the red zone, calls the hook as if it were the kernel, and jumps back behind the call.
 * The rest of the place is filled with ud2: nobody jumps there, a call is one line of assembly.
 *
 * The counts per kind are compared with those of the libcs we know (check.c): a place that escaped is a
 * libc that is refused, not memory that is lost.
 *
 * Freestanding: see guest.h.
 */
#include "guest/guest_private.h"

#include <errno.h>
#include <sys/mman.h>

#define CALL_LEN   7  /* the shortest place */
#define MAX_FILLER 12 /* between the number and the call */
#define LOOK_BACK  20 /* as far as the number has been seen from the call */

enum kind {
	NONE,
	MEMORY,
	FD,
	SIGNAL,
	EXEC,
	GENERIC
};

static struct guest_lock lock;
static uint8_t *next_stub;

/* Moves that do the same at another address, and how many bytes they take; 0xcc matches any byte. */
static const struct filler {
	uint8_t len;
	uint8_t byte[MAX_FILLER];
} fillers[] = {
	{0, {0}},
	{3, {0x8b, 0x7d, 0xcc}},                               /* mov disp8(%rbp), %edi */
	{4, {0x41, 0x83, 0xca, 0x40}},                         /* or $MAP_32BIT, %r10d */
	{5, {0xba, 0xcc, 0xcc, 0x00, 0x00}},                   /* mov $imm, %edx */
	{6, {0x41, 0xba, 0xcc, 0xcc, 0x00, 0x00}},             /* mov $imm, %r10d */
	{7, {0x48, 0x8d, 0xb3, 0xcc, 0xcc, 0xcc, 0xcc}},       /* lea disp(%rbx), %rsi */
	{7, {0x49, 0x8d, 0xb1, 0xcc, 0xcc, 0xcc, 0xcc}},       /* lea disp(%r9), %rsi */
	{7, {0x8b, 0xbc, 0x24, 0xcc, 0xcc, 0xcc, 0xcc}},       /* mov disp(%rsp), %edi */
	{8, {0x48, 0x89, 0xfe, 0xbf, 0x9c, 0xff, 0xff, 0xff}}, /* mov %rdi, %rsi; mov $-100, %edi */
};

/* What comes before a call whose number is in %rax already. */
static const uint8_t generics[][CALL_LEN - 2] = {
	{0x4c, 0x8b, 0x4c, 0x24, 0x08}, /* mov 8(%rsp), %r9: syscall(2) */
	{0x48, 0x8b, 0x44, 0x24, 0x10}, /* mov 16(%rsp), %rax: a thread that is not cancelled */
	{0x4c, 0x89, 0x5c, 0x24, 0x08}, /* mov %r11, 8(%rsp): one that may be */
};

static enum kind kind_of(uint32_t nr)
{
	switch (nr) {
	case SYS_mmap:
	case SYS_munmap:
	case SYS_mremap:
	case SYS_brk:
	case SYS_shmat:
	case SYS_shmdt:
		return MEMORY;
	case SYS_rt_sigaction:
	case SYS_rt_sigprocmask:
		return SIGNAL;
	case SYS_execve:
	case SYS_execveat:
		return EXEC;
	default:
		return guest_fd_makes(nr) ? FD : NONE;
	}
}

static void count(struct ckpti_guest_sites *sites, enum kind kind)
{
	switch (kind) {
	case MEMORY:
		sites->memory++;
		break;
	case FD:
		sites->fd++;
		break;
	case SIGNAL:
		sites->signal++;
		break;
	case EXEC:
		sites->exec++;
		break;
	case GENERIC:
		sites->generic++;
		break;
	case NONE:
		break;
	}
}

static uint32_t load32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool is(const uint8_t *code, const uint8_t *pattern, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (pattern[i] != 0xcc && pattern[i] != code[i])
			return false;
	return true;
}

static uint8_t *put(uint8_t *to, const void *bytes, size_t len)
{
	arch_copy(to, bytes, len);
	return to + len;
}

static int put_jump(uint8_t *at, uintptr_t stub)
{
	int64_t distance = (int64_t)(stub - (uintptr_t)(at + 5));
	int32_t rel = (int32_t)distance;

	if (rel != distance)
		return -ERANGE;
	at[0] = 0xe9;
	(void)put(at + 1, &rel, sizeof(rel));
	return 0;
}

/* head: the place's own instructions that the stub repeats; len: of the place */
static int redirect(uint8_t *site, size_t len, const uint8_t *head, size_t head_len, bool generic,
		    uint32_t nr)
{
	static const uint8_t down[] = {0x48, 0x8d, 0x64, 0x24, 0x80}; /* lea -128(%rsp), %rsp */
	static const uint8_t up[] = {0x48, 0x8d, 0xa4, 0x24,
				     0x80, 0,    0,    0}; /* lea 128(%rsp), %rsp */
	static const uint8_t call_rcx[] = {0xff, 0xd1};    /* call *%rcx */
	static const uint8_t mov_rcx[] = {0x48, 0xb9}, mov_eax = 0xb8;
	void (*hook)(void) = ckpti_guest_hook_entry;
	uint8_t *p = next_stub;
	int r;

	if (p + 64 > (uint8_t *)CKPTI_GUEST_BASE + STUBS_OFFSET + STUBS_SIZE)
		return -ENOSPC;
	p = put(p, head, head_len);
	p = put(p, down, sizeof(down));
	if (!generic) {
		p = put(p, &mov_eax, 1);
		p = put(p, &nr, sizeof(nr));
	}
	/* A system call destroys rcx, so this may as well. */
	p = put(p, mov_rcx, sizeof(mov_rcx));
	p = put(p, &hook, sizeof(hook));
	p = put(p, call_rcx, sizeof(call_rcx));
	p = put(p, up, sizeof(up));
	r = put_jump(p, (uintptr_t)site + len);
	if (r == 0)
		r = put_jump(site, (uintptr_t)next_stub);
	if (r < 0)
		return r;
	for (size_t i = 5; i + 1 < len; i += 2) {
		site[i] = 0x0f; /* ud2 */
		site[i + 1] = 0x0b;
	}
	if ((len - 5) % 2)
		site[len - 1] = 0xcc;
	next_stub = (uint8_t *)(((uintptr_t)p + 5 + 15) & ~15UL);
	return 0;
}

/*
 * The call whose syscall instruction is at end, found from its end.  What would be a mov to %eax with
 * the number of one of our calls, but no filler that we know, is odd.
 */
static void examine(uint8_t *start, uint8_t *end, struct ckpti_guest_sites *sites)
{
	enum kind kind;

	for (size_t i = 0; i < sizeof(generics) / sizeof(generics[0]) && end - start >= 5; i++) {
		if (!is(end - 5, generics[i], 5))
			continue;
		if (redirect(end - 5, CALL_LEN, end - 5, 5, true, 0) == 0)
			count(sites, GENERIC);
		else
			sites->odd++;
		return;
	}
	for (size_t gap = 0; gap <= LOOK_BACK && end - start >= (long)(gap + 5); gap++) {
		uint8_t *mov = end - gap - 5;

		if (mov[0] != 0xb8 || load32(mov + 1) >= 512)
			continue;
		kind = kind_of(load32(mov + 1));
		if (kind == NONE)
			return;
		for (size_t i = 0; i < sizeof(fillers) / sizeof(fillers[0]); i++) {
			if (fillers[i].len != gap || !is(mov + 5, fillers[i].byte, gap))
				continue;
			if (redirect(mov, gap + CALL_LEN, mov + 5, gap, false, load32(mov + 1)) < 0)
				break;
			count(sites, kind);
			return;
		}
		sites->odd++;
		return;
	}
}

void guest_patch_reset(void)
{
	lock.owner = 0;
	next_stub = (uint8_t *)CKPTI_GUEST_BASE + STUBS_OFFSET;
}

static int protect(void *addr, size_t len, int prot)
{
	return (int)raw(SYS_mprotect, addr, len, prot, 0, 0, 0);
}

int guest_patch(uint8_t *addr, size_t len, int prot, struct ckpti_guest_sites *ret_sites)
{
	void *stubs = (void *)(CKPTI_GUEST_BASE + STUBS_OFFSET);
	int r;

	if (len < CALL_LEN)
		return 0;
	guest_lock(&lock);
	r = protect(stubs, STUBS_SIZE, PROT_READ | PROT_WRITE);
	if (r == 0)
		r = protect(addr, len, PROT_READ | PROT_WRITE);
	for (size_t i = 0; r == 0 && i + 2 <= len; i++)
		if (addr[i] == 0x0f && addr[i + 1] == 0x05)
			examine(addr, addr + i, ret_sites);
	if (r == 0)
		r = protect(addr, len, prot);
	if (r == 0)
		r = protect(stubs, STUBS_SIZE, PROT_READ | PROT_EXEC);
	guest_unlock(&lock);
	return r;
}

/*
 * By the name of the file: only these have system calls of their own (a test looks at all others).  The
 * linker is known to the loader.
 */
static const struct {
	enum ckpti_guest_object kind;
	uint8_t len;
	char begin[12]; /* of the name, or all of it with the 0 at its end */
} names[] = {
	{CKPTI_GUEST_LIBC, sizeof("libc.so.6"), "libc.so.6"},
	{CKPTI_GUEST_LIBC, sizeof("libc-2.") - 1, "libc-2."},
	{CKPTI_GUEST_UCM, sizeof("libucm.so.") - 1, "libucm.so."},
};

enum ckpti_guest_object guest_patch_kind(int fd)
{
	static const char prefix[] = "/proc/self/fd/";
	char path[sizeof(prefix) + 12], name[4096], digits[12];
	size_t n = sizeof(prefix) - 1, base;
	int k = 0;
	long len;

	arch_copy(path, prefix, n);
	do {
		digits[k++] = (char)('0' + fd % 10);
		fd /= 10;
	} while (fd);
	while (k)
		path[n++] = digits[--k];
	path[n] = '\0';
	len = raw(SYS_readlink, path, name, sizeof(name) - sizeof(names[0].begin), 0, 0, 0);
	if (len <= 0)
		return CKPTI_GUEST_OBJECTS;
	arch_fill(name + len, 0, sizeof(names[0].begin));
	base = (size_t)len;
	while (base > 0 && name[base - 1] != '/')
		base--;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (is((uint8_t *)name + base, (const uint8_t *)names[i].begin, names[i].len))
			return names[i].kind;
	return CKPTI_GUEST_OBJECTS;
}
