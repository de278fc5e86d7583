/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that changes all the time, in several processes and threads and by every way that a plain user
 * has, while a checkpoint copies it.  Each thread carries out operations on its own pages that follow from a
 * seed and their number alone; afterwards a model is played from the start to that number, and every
 * byte of every page must be what the model says.  One page of another moment is enough to fail.
 *
 * usage: mem_hot [direct]	direct: reads with O_DIRECT, too
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t.h"

#define PAGE     4096UL
#define NPAGES   4096UL       /* 16 MiB */
#define HUGE     512UL        /* pages of a huge page */
#define NSPECIAL 16           /* pages whose mapping is taken apart */
#define COLD     (16UL << 20) /* of each process: never changes */
#define NPROCS   2
#define NTHREADS 2
#define WARM_UP  4000

/* Linux 6.7, not in the headers of Debian 12: UFFD_FEATURE_WP_ASYNC. */
#define WP_ASYNC (1ULL << 15)

struct worker {
	uint64_t seed;
	_Atomic uint64_t done;
	unsigned char *page; /* NPAGES, then NSPECIAL with gaps between */
	unsigned char *special;
	unsigned char *hidden; /* as special, readable only while it is written */
	unsigned char *spare;  /* address space for moves */
	int file;              /* one page, to be read back */
	int direct;            /* the same page for O_DIRECT, or -1 */
	uint64_t *buf;
	uint64_t tag[NPAGES], special_tag[NSPECIAL], hidden_tag[NSPECIAL]; /* of the model */
};

enum op {
	STORE,
	READ,
	WRITEV,
	DIRECT,
	DROP,
	DROP_MANY,
	PROTECT,
	MOVE,
	REPLACE,
	HIDE,
	FORK,
	NOPS
};

static _Atomic int *stop; /* shared by all */
static int with_direct;
static struct worker worker[NTHREADS];

static void pattern(uint64_t *to, uint64_t tag)
{
	for (unsigned long i = 0; i < PAGE / 8; i++)
		to[i] = tag ? tag * (i + 1) : 0;
}

struct step {
	enum op op;
	unsigned long page;
	uint64_t tag;
};

/* The operation of this number, by the seed alone. */
static struct step step_of(const struct worker *w, uint64_t number)
{
	uint64_t state = w->seed + number * 0x9e3779b97f4a7c15ULL;
	uint64_t dice = t_random(&state) % 4096;
	/* Three of four go to a hot eighth of the pages. */
	uint64_t where = t_random(&state);
	struct step s = {.tag = t_random(&state) | 1};

	s.page = where & 3 ? where / 4 % (NPAGES / 8) : where / 4 % NPAGES;
	s.op = dice < 1800   ? STORE
	       : dice < 2400 ? READ
	       : dice < 3300 ? WRITEV
	       : dice < 3400 ? (with_direct ? DIRECT : STORE)
	       : dice < 3800 ? DROP
	       : dice < 3802 ? DROP_MANY
	       : dice < 3900 ? PROTECT
	       : dice < 4000 ? MOVE
	       : dice < 4040 ? REPLACE
	       : dice < 4090 ? HIDE
			     : FORK;
	if (s.op == FORK && number % 16)
		s.op = STORE;
	if (s.op == PROTECT || s.op == MOVE || s.op == REPLACE)
		s.page = where / 4 % NSPECIAL;
	/* One half of these are soon left alone. */
	if (s.op == HIDE)
		s.page = where / 4 % (number < WARM_UP ? NSPECIAL : NSPECIAL / 2);
	if (s.op == DROP_MANY)
		s.page = where / 4 % (NPAGES / HUGE) * HUGE;
	return s;
}

static void by_read(struct worker *w, int fd, unsigned char *to)
{
	t_check(pwrite(w->file, w->buf, PAGE, 0) == (ssize_t)PAGE, "pwrite: %m");
	t_check(pread(fd, to, PAGE, 0) == (ssize_t)PAGE, "pread: %m");
}

static void by_writev(struct worker *w, unsigned char *to)
{
	struct iovec local = {w->buf, PAGE}, remote = {to, PAGE};

	t_check(process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)PAGE,
		"process_vm_writev: %m");
}

static void by_child(unsigned char *page, uint64_t tag)
{
	pid_t pid = t_sys(fork());
	int status;

	if (pid == 0) {
		pattern((uint64_t *)page, ~tag); /* of its own copy */
		_exit(0);
	}
	/* While it lives the page is shared. */
	pattern((uint64_t *)page, tag);
	t_check(waitpid(pid, &status, 0) == pid, "waitpid: %m");
}

static void move_and_back(struct worker *w, unsigned char *page)
{
	void *away = mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, w->spare);

	t_check(away == w->spare, "mremap: %m");
	away = mremap(w->spare, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page);
	t_check(away == page, "mremap back: %m");
}

static void carry_out(struct worker *w, uint64_t number)
{
	struct step s = step_of(w, number);
	unsigned char *page = w->page + s.page * PAGE, *special, *hidden;

	special = w->special + (s.page % NSPECIAL) * 2 * PAGE;
	hidden = w->hidden + (s.page % NSPECIAL) * 2 * PAGE;
	pattern(w->buf, s.tag);
	switch (s.op) {
	case STORE:
		pattern((uint64_t *)page, s.tag);
		break;
	case READ:
		by_read(w, w->file, page);
		break;
	case DIRECT:
		by_read(w, w->direct, page);
		break;
	case WRITEV:
		by_writev(w, page);
		break;
	case DROP:
		t_sys(madvise(page, PAGE, MADV_DONTNEED));
		break;
	case DROP_MANY:
		t_sys(madvise(page, HUGE * PAGE, MADV_DONTNEED));
		break;
	case PROTECT:
		t_sys(mprotect(special, PAGE, PROT_NONE));
		t_sys(mprotect(special, PAGE, PROT_READ | PROT_WRITE));
		pattern((uint64_t *)special, s.tag);
		break;
	case MOVE:
		pattern((uint64_t *)special, s.tag);
		move_and_back(w, special);
		break;
	case REPLACE:
		t_check(mmap(special, PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == special,
			"mmap: %m");
		break;
	case HIDE:
		t_sys(mprotect(hidden, PAGE, PROT_READ | PROT_WRITE));
		pattern((uint64_t *)hidden, s.tag);
		t_sys(mprotect(hidden, PAGE, PROT_NONE));
		break;
	case FORK:
		by_child(page, s.tag);
		break;
	case NOPS:
	default:
		t_fail("no such operation");
	}
}

static void model(struct worker *w, uint64_t number)
{
	struct step s = step_of(w, number);

	switch (s.op) {
	case DROP:
		w->tag[s.page] = 0;
		break;
	case DROP_MANY:
		memset(&w->tag[s.page], 0, HUGE * sizeof(w->tag[0]));
		break;
	case REPLACE:
		w->special_tag[s.page] = 0;
		break;
	case PROTECT:
	case MOVE:
		w->special_tag[s.page] = s.tag;
		break;
	case HIDE:
		w->hidden_tag[s.page] = s.tag;
		break;
	case STORE:
	case READ:
	case WRITEV:
	case DIRECT:
	case FORK:
	case NOPS:
	default:
		w->tag[s.page] = s.tag;
	}
}

static void verify(struct worker *w, int who)
{
	uint64_t n = atomic_load(&w->done);

	memset(w->tag, 0, sizeof(w->tag));
	memset(w->special_tag, 0, sizeof(w->special_tag));
	memset(w->hidden_tag, 0, sizeof(w->hidden_tag));
	for (uint64_t i = 0; i < n; i++)
		model(w, i);
	for (unsigned long i = 0; i < NPAGES; i++) {
		pattern(w->buf, w->tag[i]);
		t_check(memcmp(w->page + i * PAGE, w->buf, PAGE) == 0,
			"process %d: page %lu (at %p) is not that of operation %lu", who, i,
			(void *)(w->page + i * PAGE), (unsigned long)n);
	}
	for (unsigned long i = 0; i < NSPECIAL; i++) {
		pattern(w->buf, w->special_tag[i]);
		t_check(memcmp(w->special + i * 2 * PAGE, w->buf, PAGE) == 0,
			"process %d: special page %lu is not that of operation %lu", who, i,
			(unsigned long)n);
		t_sys(mprotect(w->hidden + i * 2 * PAGE, PAGE, PROT_READ));
		pattern(w->buf, w->hidden_tag[i]);
		t_check(memcmp(w->hidden + i * 2 * PAGE, w->buf, PAGE) == 0,
			"process %d: hidden page %lu is not that of operation %lu", who, i,
			(unsigned long)n);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load(stop)) {
		carry_out(w, atomic_load(&w->done));
		atomic_fetch_add(&w->done, 1);
	}
	return NULL;
}

static void *room(size_t size)
{
	return t_sys(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static void set_up(struct worker *w, uint64_t seed)
{
	char name[64];

	w->seed = seed;
	/* Aligned for huge pages: half of them may become some. */
	w->page = (unsigned char *)room((NPAGES + HUGE) * PAGE);
	w->page += -(uintptr_t)w->page & (HUGE * PAGE - 1);
	t_sys(madvise(w->page, NPAGES / 2 * PAGE, MADV_HUGEPAGE));
	w->special = room(2 * NSPECIAL * PAGE);
	w->hidden = room(2 * NSPECIAL * PAGE);
	for (int i = 0; i < NSPECIAL; i++) {
		t_sys(munmap(w->special + (2 * i + 1) * PAGE, PAGE));
		t_sys(munmap(w->hidden + (2 * i + 1) * PAGE, PAGE));
	}
	w->spare = room(PAGE);
	w->buf = room(PAGE);
	(void)snprintf(name, sizeof(name), "page-%lx", (unsigned long)seed);
	w->file = t_sys(open(t_path(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	w->direct = with_direct ? t_sys(open(t_path(name), O_RDONLY | O_DIRECT | O_CLOEXEC)) : -1;
}

static void run(int who, uint64_t seed, int ready)
{
	pthread_t thread[NTHREADS];
	unsigned char *cold = room(COLD);
	char byte = 0;

	t_fill(cold, COLD, seed);
	for (int i = 0; i < NTHREADS; i++)
		set_up(&worker[i], seed + (uint64_t)i);
	for (int i = 0; i < NTHREADS; i++) {
		t_check(pthread_create(&thread[i], NULL, work, &worker[i]) == 0, "a thread: %m");
	}
	for (int i = 0; i < NTHREADS; i++)
		while (atomic_load(&worker[i].done) < WARM_UP)
			t_sleep_ms(1);
	if (ready >= 0)
		t_check(write(ready, &byte, 1) == 1, "write: %m");
	else
		t_ready();
	if (ready < 0)
		atomic_store(stop, 1);
	for (int i = 0; i < NTHREADS; i++)
		t_check(pthread_join(thread[i], NULL) == 0, "join: %m");
	for (int i = 0; i < NTHREADS; i++)
		verify(&worker[i], who);
	t_check(t_filled(cold, COLD, seed), "process %d: what never changes differs", who);
}

/* Can this kernel tell what is written to? */
static int can_track(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = WP_ASYNC};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */);
	int can = fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0;

	if (fd >= 0)
		(void)close(fd);
	return can;
}

int main(int argc, char **argv)
{
	static const char options[] = "--precopy=on";
	char precopy[32];
	pid_t pid[NPROCS];
	int ready[2];
	char byte;

	t_start();
	with_direct = argc > 1 && strcmp(argv[1], "direct") == 0;
	stop = t_sys(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	t_write_file(t_path("options"), options, strlen(options));
	/* Nothing sees what a device writes. */
	(void)snprintf(precopy, sizeof(precopy), "%lu",
		       can_track() && !with_direct ? NPROCS * COLD : 0);
	t_write_file(t_path("precopy"), precopy, strlen(precopy));
	t_sys(pipe2(ready, O_CLOEXEC));
	for (int i = 1; i < NPROCS; i++) {
		pid[i] = t_sys(fork());
		if (pid[i] == 0) {
			run(i, t_token() + (uint64_t)i * 1000, ready[1]);
			exit(0);
		}
	}
	for (int i = 1; i < NPROCS; i++)
		t_check(read(ready[0], &byte, 1) == 1, "read: %m");
	run(0, t_token(), -1);
	for (int i = 1; i < NPROCS; i++) {
		int status;

		t_check(waitpid(pid[i], &status, 0) == pid[i] && status == 0,
			"process %d has status %#x", i, status);
	}
	t_done();
}
