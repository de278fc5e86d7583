/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: fuzz.NAME [-runs=N] FILE|DIR...
 *
 * Stands in for libFuzzer in builds without it: runs the target on every file given, then on N
 * mutations of each (default 10000), which are the same in every run.
 */
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_LIMIT (1 << 20)

static unsigned long runs = 10000;

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 24;
}

/* Flip bits, set bytes to extremes, copy a piece elsewhere, cut. */
static size_t mutate(uint8_t *buf, size_t size, uint64_t *state)
{
	static const uint8_t extreme[] = {0, 1, 0x7f, 0x80, 0xff};
	size_t at, from, len, n;

	for (n = next_random(state) % 4 + 1; n > 0 && size > 0; n--) {
		at = next_random(state) % size;
		switch (next_random(state) % 5) {
		case 0:
			buf[at] ^= (uint8_t)(1U << next_random(state) % 8);
			break;
		case 1:
			buf[at] = extreme[next_random(state) % sizeof(extreme)];
			break;
		case 2:
			buf[at] = (uint8_t)next_random(state);
			break;
		case 3:
			from = next_random(state) % size;
			len = next_random(state) % 64;
			if (len > size - at)
				len = size - at;
			if (len > size - from)
				len = size - from;
			memmove(buf + at, buf + from, len);
			break;
		default:
			if (next_random(state) % 8 == 0)
				size = at;
			break;
		}
	}
	return size;
}

static int run_file(const char *path)
{
	uint8_t *buf = malloc(INPUT_LIMIT), *copy = malloc(INPUT_LIMIT);
	uint64_t state = 0x853c49e6748fea9bULL;
	unsigned long i;
	size_t size = 0;
	FILE *f;
	int ok = 0;

	f = fopen(path, "rbe");
	if (f && buf && copy) {
		size = fread(buf, 1, INPUT_LIMIT, f);
		ok = !ferror(f);
	}
	if (f)
		(void)fclose(f);
	if (ok) {
		(void)LLVMFuzzerTestOneInput(buf, size);
		for (i = 0; i < runs; i++) {
			memcpy(copy, buf, size);
			(void)LLVMFuzzerTestOneInput(copy, mutate(copy, size, &state));
		}
	} else {
		(void)fprintf(stderr, "%s: cannot be read\n", path);
	}
	free(buf);
	free(copy);
	return ok;
}

int main(int argc, char **argv)
{
	char path[PATH_MAX];
	struct dirent *de;
	int i, ok = 1;
	unsigned n = 0;
	DIR *dir;

	for (i = 1; i < argc; i++) {
		if (strncmp(argv[i], "-runs=", 6) == 0) {
			runs = strtoul(argv[i] + 6, NULL, 10);
			continue;
		}
		dir = opendir(argv[i]);
		if (!dir) {
			ok &= run_file(argv[i]);
			n++;
			continue;
		}
		while ((de = readdir(dir)) != NULL) {
			if (de->d_name[0] == '.')
				continue;
			(void)snprintf(path, sizeof(path), "%s/%s", argv[i], de->d_name);
			ok &= run_file(path);
			n++;
		}
		(void)closedir(dir);
	}
	(void)printf("%u files, %lu mutations of each\n", n, runs);
	return ok && n > 0 ? 0 : 1;
}
