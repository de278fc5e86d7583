/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: subject MIB [CHILDREN]
 *
 * A program that notices when it is harmed.  Two threads in each process walk over their half of the
 * memory; a page holds what the token, its number and its version say, else the process ends with
 * status 1.  The token is drawn at the start, lives in memory only, and is told in the file `ready`.
 * Every step of process n is counted in the file `alive.n`, which stays open.  When the file `end`
 * appears, all memory is checked once more and the root writes the token to the file `intact`.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE  4096
#define WORDS (PAGE / sizeof(uint64_t))

static uint64_t token;
static uint64_t *memory;
static uint32_t *version;
static size_t npages;

static uint64_t word_of(size_t page, size_t word)
{
	uint64_t x = token ^ page << 40 ^ (uint64_t)version[page] << 9 ^ word;

	x = (x ^ x >> 31) * 0x9e3779b97f4a7c15ULL;
	return x ^ x >> 29;
}

static void fill(size_t page)
{
	for (size_t i = 0; i < WORDS; i++)
		memory[page * WORDS + i] = word_of(page, i);
}

static void check(size_t page)
{
	for (size_t i = 0; i < WORDS; i++) {
		if (memory[page * WORDS + i] == word_of(page, i))
			continue;
		(void)fprintf(stderr, "process %d: page %zu is damaged\n", getpid(), page);
		_exit(1);
	}
}

static int may_go_on(void)
{
	return access("end", F_OK) < 0;
}

/* Check and change pages [first, last) over and over; with fd >= 0 count. */
static void walk(size_t first, size_t last, int fd)
{
	uint64_t steps = 0;

	for (size_t page = first; may_go_on(); page = page + 1 < last ? page + 1 : first) {
		check(page);
		version[page]++;
		fill(page);
		steps++;
		if (fd >= 0 && pwrite(fd, &steps, sizeof(steps), 0) != (ssize_t)sizeof(steps))
			_exit(2);
		if (usleep(1000) < 0)
			_exit(3); /* a checkpoint must not show as EINTR */
	}
	for (size_t page = first; page < last; page++)
		check(page);
}

static void *second_half(void *arg)
{
	(void)arg;
	walk(npages / 2, npages, -1);
	return NULL;
}

static void work(int number)
{
	pthread_t thread;
	char name[32];
	int fd;

	(void)snprintf(name, sizeof(name), "alive.%d", number);
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || pthread_create(&thread, NULL, second_half, NULL) != 0)
		_exit(2);
	walk(0, npages / 2, fd);
	(void)pthread_join(thread, NULL);
	(void)close(fd);
}

static void tell(const char *name)
{
	char temporary[32];
	FILE *f;

	(void)snprintf(temporary, sizeof(temporary), "%s.new", name);
	f = fopen(temporary, "we");
	if (!f || fprintf(f, "%016llx\n", (unsigned long long)token) < 0 || fclose(f) != 0 ||
	    rename(temporary, name) < 0)
		exit(2);
}

int main(int argc, char **argv)
{
	int children = argc > 2 ? atoi(argv[2]) : 0;
	int failed = 0, status;

	npages = (size_t)(argc > 1 ? atoi(argv[1]) : 1) * (1024 * 1024 / PAGE);
	version = calloc(npages, sizeof(*version));
	memory = mmap(NULL, npages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (memory == MAP_FAILED || !version || getrandom(&token, sizeof(token), 0) < 0)
		return 2;
	for (size_t page = 0; page < npages; page++)
		fill(page);
	for (int n = 1; n <= children; n++) {
		pid_t pid = fork();

		if (pid < 0)
			return 2;
		if (pid == 0) {
			work(n);
			_exit(0);
		}
	}
	tell("ready");
	work(0);
	for (int n = 1; n <= children; n++)
		failed |= wait(&status) < 0 || status != 0;
	if (failed)
		return 1;
	tell("intact");
	return 0;
}
