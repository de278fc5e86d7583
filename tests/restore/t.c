/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See t.h.  Waiting is done with plain access() and usleep() and without malloc(), so that the
 * skeleton itself adds nothing to what is tested.
 */
#include "t.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS    20
#define GIVE_UP_MS 120000

static uint64_t token;
static char work[PATH_MAX];
static void (*disturb)(void);

_Noreturn void t_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fprintf(stderr, "[%d] FAILED: ", getpid());
	(void)vfprintf(stderr, fmt, ap);
	(void)fprintf(stderr, "\n");
	va_end(ap);
	_exit(1);
}

_Noreturn void t_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	(void)fprintf(stderr, "\n");
	va_end(ap);
	_exit(77);
}

const char *t_path(const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", work, name) < 0)
		t_fail("out of memory");
	return path;
}

const char *t_shm(const char *name)
{
	const char *prefix = getenv("T_SHM");
	char *path;

	if (asprintf(&path, "%s%s", prefix ? prefix : "/dev/shm/ckpt-test-", name) < 0)
		t_fail("out of memory");
	return path;
}

void t_write_file(const char *path, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	const char *p = data;

	if (fd < 0)
		t_fail("cannot write %s: %m", path);
	while (size) {
		ssize_t n = write(fd, p, size);

		if (n < 0)
			t_fail("cannot write %s: %m", path);
		p += n;
		size -= (size_t)n;
	}
	(void)close(fd);
}

size_t t_read_file(const char *path, void *data, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t done = 0;
	ssize_t n;

	if (fd < 0)
		t_fail("cannot read %s: %m", path);
	while ((n = read(fd, (char *)data + done, size - done)) > 0)
		done += (size_t)n;
	if (n < 0)
		t_fail("cannot read %s: %m", path);
	(void)close(fd);
	return done;
}

uint64_t t_token(void)
{
	return token;
}

uint64_t t_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

void t_fill(void *buf, size_t size, uint64_t seed)
{
	unsigned char *p = buf;

	while (size) {
		uint64_t r = t_random(&seed);
		size_t n = size < sizeof(r) ? size : sizeof(r);

		memcpy(p, &r, n);
		p += n;
		size -= n;
	}
}

int t_filled(const void *buf, size_t size, uint64_t seed)
{
	const unsigned char *p = buf;

	while (size) {
		uint64_t r = t_random(&seed);
		size_t n = size < sizeof(r) ? size : sizeof(r);

		if (memcmp(p, &r, n) != 0)
			return 0;
		p += n;
		size -= n;
	}
	return 1;
}

int64_t t_now_ns(int clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) < 0)
		t_fail("clock %d: %m", clock);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

void t_sleep_ms(unsigned int ms)
{
	(void)usleep(ms * 1000);
}

static void put_path(char *buf, size_t size, const char *name)
{
	if ((size_t)snprintf(buf, size, "%s/%s", work, name) >= size)
		t_fail("the work directory's name is too long");
}

/* The name appears when the content is complete. */
static void announce(const char *name)
{
	char path[PATH_MAX], tmp[PATH_MAX], text[32];

	put_path(path, sizeof(path), name);
	put_path(tmp, sizeof(tmp), "announce.tmp");
	(void)snprintf(text, sizeof(text), "%016lx\n", (unsigned long)token);
	t_write_file(tmp, text, strlen(text));
	if (rename(tmp, path) < 0)
		t_fail("cannot rename %s: %m", tmp);
}

void t_start(void)
{
	if (!getcwd(work, sizeof(work)))
		t_fail("getcwd: %m");
	if (getrandom(&token, sizeof(token), 0) != (ssize_t)sizeof(token))
		t_fail("getrandom: %m");
}

void t_on_disturb(void (*fn)(void))
{
	disturb = fn;
}

void t_ready(void)
{
	char go[PATH_MAX], request[PATH_MAX];
	int disturbed = 0;

	put_path(go, sizeof(go), "go");
	put_path(request, sizeof(request), "disturb");
	announce("ready");
	for (int waited = 0; access(go, F_OK) < 0; waited += POLL_MS) {
		if (waited > GIVE_UP_MS)
			t_fail("nobody said go");
		(void)usleep(POLL_MS * 1000);
		if (disturbed || access(request, F_OK) < 0)
			continue;
		if (disturb)
			disturb();
		disturbed = 1;
		announce("disturbed");
	}
}

_Noreturn void t_done(void)
{
	announce("verified");
	_exit(0);
}
