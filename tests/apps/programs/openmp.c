/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Eight OpenMP threads that mix an array between barriers.  Each also counts in thread-local memory,
 * so that a thread that came back as another would show.
 */
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS 8
#define SIZE    65536
#define STEPS   40

static uint64_t values[SIZE], mixed[SIZE];
static uint64_t own;
#pragma omp threadprivate(own)

static void read_seed(void)
{
	unsigned long long seed;
	FILE *f = fopen("seed", "r");

	if (!f || fscanf(f, "%llu", &seed) != 1)
		exit(1);
	(void)fclose(f);
	for (size_t i = 0; i < SIZE; i++)
		values[i] = (seed + i) * 0x9e3779b97f4a7c15ULL;
}

int main(void)
{
	FILE *progress = fopen("progress", "w"), *result;
	uint64_t sum = 0;

	read_seed();
	if (!progress)
		return 1;
#pragma omp parallel num_threads(THREADS) reduction(+ : sum)
	{
		uint64_t me = (uint64_t)omp_get_thread_num();

		own = me;
		for (int step = 0; step < STEPS; step++) {
#pragma omp for
			for (size_t i = 0; i < SIZE; i++) {
				uint64_t x = values[i] ^ values[(i * 7 + 1) % SIZE];

				for (int round = 0; round < 16; round++)
					x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9ULL;
				mixed[i] = x;
			}
			own = own * 31 + mixed[me];
#pragma omp for
			for (size_t i = 0; i < SIZE; i++)
				values[i] = mixed[i];
#pragma omp single
			{
				(void)fprintf(progress, "%d %llu\n", step,
					      (unsigned long long)values[0]);
				(void)fflush(progress);
				(void)usleep(100000);
			}
		}
		sum += own * (me + 1);
		if (omp_get_num_threads() != THREADS)
			sum = 0;
	}
	for (size_t i = 0; i < SIZE; i++)
		sum = sum * 31 + values[i];
	result = fopen("result", "w");
	if (!result || fprintf(result, "%llu\n", (unsigned long long)sum) < 0 || fclose(result))
		return 1;
	return 0;
}
