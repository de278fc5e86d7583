/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clocks that count from the boot go on where they stood, whatever the machine's own say.  A thread
 * samples them all the time: the step over checkpoint and restart is that of the stop and of the
 * restart, never backwards.  The time of day is the real one.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "t.h"

#define LONGEST_NS 2000000000LL

static const struct {
	clockid_t id;
	const char *name;
} clocks[] = {
	{CLOCK_MONOTONIC, "CLOCK_MONOTONIC"},
	{CLOCK_BOOTTIME, "CLOCK_BOOTTIME"},
	{CLOCK_MONOTONIC_RAW, "CLOCK_MONOTONIC_RAW"},
	{CLOCK_MONOTONIC_COARSE, "CLOCK_MONOTONIC_COARSE"},
};

#define N (sizeof(clocks) / sizeof(*clocks))

static atomic_int stop, samples;

/* The vdso's clock and the system call's must be the same one. */
static int64_t by_syscall(clockid_t id)
{
	struct timespec ts;

	t_sys(syscall(SYS_clock_gettime, id, &ts));
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void *sampler(void *arg)
{
	int64_t last[N], now;

	for (size_t i = 0; i < N; i++)
		last[i] = t_now_ns(clocks[i].id);
	while (!atomic_load(&stop)) {
		for (size_t i = 0; i < N; i++) {
			now = samples % 2 ? by_syscall(clocks[i].id) : t_now_ns(clocks[i].id);
			/* The coarse clock is that of the last tick, also when it is asked after
			 * another one: it is compared with itself only. */
			t_check(now >= last[i], "%s went back by %ld ns", clocks[i].name,
				(long)(last[i] - now));
			t_check(now - last[i] < LONGEST_NS, "%s jumped by %ld ms", clocks[i].name,
				(long)(now - last[i]) / 1000000);
			last[i] = now;
		}
		atomic_fetch_add(&samples, 1);
		t_sleep_ms(5);
	}
	return arg;
}

int main(void)
{
	pthread_t thread;
	struct stat st;
	int64_t file, now;
	int before;

	t_start();
	(void)pthread_create(&thread, NULL, sampler, NULL);
	t_ready();
	before = atomic_load(&samples);
	t_sleep_ms(100);
	t_check(atomic_load(&samples) > before, "nothing is sampled any more");
	/* The kernel's own idea of the time of day. */
	t_write_file(t_path("stamp"), "x", 1);
	t_check(stat(t_path("stamp"), &st) == 0, "stat: %m");
	file = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
	now = t_now_ns(CLOCK_REALTIME);
	t_check(now - file > -1000000000LL && now - file < 1000000000LL,
		"CLOCK_REALTIME is wrong by %ld ms", (long)(now - file) / 1000000);
	atomic_store(&stop, 1);
	(void)pthread_join(thread, NULL);
	t_done();
}
