/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: dirty MIB EVERY -- a process with MIB of memory that does not compress.  On every SIGUSR1 it
 * changes a word in each page whose number leaves the same rest, divided by EVERY, another one each time.
 * Prints a line when it is complete, and after each change.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define WORDS (4096 / sizeof(uint64_t))

int main(int argc, char **argv)
{
	size_t npages = argc > 2 ? strtoul(argv[1], NULL, 10) * 256 : 0;
	size_t every = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	uint64_t *memory, x = 88172645463325252ULL;
	sigset_t set;
	int sig;

	if (!npages || !every)
		return 2;
	memory = mmap(NULL, npages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (memory == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < npages * WORDS; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memory[i] = x;
	}
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	for (size_t round = 0;; round++) {
		(void)printf("round %zu\n", round);
		(void)fflush(stdout);
		if (sigwait(&set, &sig) != 0)
			return 1;
		for (size_t page = round % every; page < npages; page += every)
			memory[page * WORDS] += round + 1;
	}
}
