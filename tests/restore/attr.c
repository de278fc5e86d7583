/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What only its owner can ask the kernel: priority of input and output, NUMA policies of threads and of
 * memory, mitigations, KEEPCAPS, the time stamp counter, what happens at bad memory, the coredump filter.
 * Two threads with different ones.
 *
 * usage: attr [mdwe]                     also PR_SET_MDWE, which nobody can bring an agent into
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "t.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif

#define LEN (16UL * 4096)

struct own {
	long ioprio, keepcaps, mce_kill;
	int mode, tsc;
	unsigned long node[16];
	long spec[3];
};

static void *interleaved, *plain;
static pthread_barrier_t together;

static int policy(void *addr, unsigned long *node)
{
	int mode = -1;

	memset(node, 0, 16 * sizeof(*node));
	if (syscall(SYS_get_mempolicy, &mode, node, 16 * 64UL, addr, addr ? MPOL_F_ADDR : 0) < 0)
		t_check(errno == ENOSYS, "get_mempolicy: %m");
	return mode;
}

static void look(struct own *o)
{
	memset(o, 0, sizeof(*o));
	o->ioprio = t_sys(syscall(SYS_ioprio_get, 1, 0));
	o->mode = policy(NULL, o->node);
	o->keepcaps = prctl(PR_GET_KEEPCAPS);
	o->mce_kill = prctl(PR_MCE_KILL_GET, 0, 0, 0, 0);
	t_sys(prctl(PR_GET_TSC, &o->tsc));
	for (int i = 0; i < 3; i++)
		o->spec[i] = prctl(PR_GET_SPECULATION_CTRL, i, 0, 0, 0);
}

static void compare(const struct own *then, const char *who)
{
	struct own now;

	look(&now);
	t_check(now.ioprio == then->ioprio, "%s: priority was %#lx, is %#lx", who, then->ioprio,
		now.ioprio);
	t_check(now.mode == then->mode && memcmp(now.node, then->node, sizeof(now.node)) == 0,
		"%s: policy was %d of %#lx, is %d of %#lx", who, then->mode, then->node[0],
		now.mode, now.node[0]);
	t_check(now.keepcaps == then->keepcaps, "%s: KEEPCAPS was %ld, is %ld", who, then->keepcaps,
		now.keepcaps);
	t_check(now.mce_kill == then->mce_kill, "%s: MCE_KILL was %ld, is %ld", who, then->mce_kill,
		now.mce_kill);
	t_check(now.tsc == then->tsc, "%s: TSC was %d, is %d", who, then->tsc, now.tsc);
	for (int i = 0; i < 3; i++)
		t_check(now.spec[i] == then->spec[i], "%s: speculation %d was %#lx, is %#lx", who,
			i, then->spec[i], now.spec[i]);
}

static void set_up(int class_and_level, int mode, int mce_kill)
{
	unsigned long node = 1;

	t_sys(syscall(SYS_ioprio_set, 1, 0, class_and_level));
	if (syscall(SYS_set_mempolicy, mode, &node, 64UL) < 0)
		t_check(errno == ENOSYS, "set_mempolicy: %m");
	/* Not every kernel knows of bad memory. */
	(void)prctl(PR_MCE_KILL, PR_MCE_KILL_SET, mce_kill, 0, 0);
}

static void *second(void *arg)
{
	struct own then;

	set_up(3 << 13, MPOL_BIND, PR_MCE_KILL_EARLY); /* idle */
	/* From here on to the end this thread must not ask for the time. */
	t_sys(prctl(PR_SET_TSC, PR_TSC_SIGSEGV));
	(void)prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE, 0, 0);
	look(&then);
	(void)pthread_barrier_wait(&together);
	(void)pthread_barrier_wait(&together);
	compare(&then, "the second thread");
	t_sys(prctl(PR_SET_TSC, PR_TSC_ENABLE));
	return arg;
}

static void filter(const char *set, char *ret, size_t size)
{
	if (set)
		t_write_file("/proc/self/coredump_filter", set, strlen(set));
	memset(ret, 0, size);
	(void)t_read_file("/proc/self/coredump_filter", ret, size - 1);
}

int main(int argc, char **argv)
{
	int mdwe = argc > 1 && strcmp(argv[1], "mdwe") == 0;
	char filter_then[32], filter_now[32];
	unsigned long node[16], now[16];
	int mode, has_mdwe = 0;
	struct own then;
	pthread_t thread;

	t_start();
	interleaved = t_sys(mmap(NULL, 3 * LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	interleaved = (char *)interleaved + LEN;
	t_sys(mprotect(interleaved, LEN, PROT_READ | PROT_WRITE));
	t_fill(interleaved, LEN, t_token());
	node[0] = 1;
	if (syscall(SYS_mbind, interleaved, LEN, MPOL_INTERLEAVE, node, 64UL, 0) < 0)
		t_check(errno == ENOSYS, "mbind: %m");
	mode = policy(interleaved, node);
	plain = t_sys(mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	(void)pthread_barrier_init(&together, NULL, 2);
	t_check(pthread_create(&thread, NULL, second, NULL) == 0, "no thread");
	set_up((2 << 13) | (int)(t_token() % 7), MPOL_PREFERRED, PR_MCE_KILL_LATE);
	t_sys(prctl(PR_SET_KEEPCAPS, 1));
	filter("0x6f", filter_then, sizeof(filter_then));
	if (mdwe)
		has_mdwe = prctl(PR_SET_MDWE, 1, 0, 0, 0) == 0;
	look(&then);
	(void)pthread_barrier_wait(&together);
	t_ready();

	compare(&then, "the first thread");
	(void)pthread_barrier_wait(&together);
	(void)pthread_join(thread, NULL);
	t_check(policy(interleaved, now) == mode && memcmp(node, now, sizeof(now)) == 0,
		"the memory's policy was %d, is %d", mode, policy(interleaved, now));
	t_check(t_filled(interleaved, LEN, t_token()), "its content differs");
	t_check(policy(plain, now) <= 0, "plain memory has policy %d", policy(plain, now));
	filter(NULL, filter_now, sizeof(filter_now));
	t_check(strcmp(filter_then, filter_now) == 0, "coredump filter was %s is %s", filter_then,
		filter_now);
	t_check(prctl(PR_GET_MDWE, 0, 0, 0, 0) == has_mdwe || !mdwe, "MDWE is lost");
	t_done();
}
