/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Skeleton of a restore test.  A program sets up kernel objects, calls t_ready() - in which it is
 * checkpointed, killed and restarted, see the file `run` - and then says whether they are as they were.
 *
 *	t_start();
 *	... set up, remember what must hold, t_on_disturb(fn) ...
 *	t_ready();
 *	... verify ...
 *	t_done();
 *
 * The token that t_start() draws lives in memory only.  It is written before the checkpoint and again
 * by t_done(), so a program that was started afresh cannot pass.  What a test stores in its objects
 * should come from the token too: then nothing can be recomputed by chance.
 */
#ifndef CKPT_T_H
#define CKPT_T_H

#include <stddef.h>
#include <stdint.h>

void t_start(void);
void t_on_disturb(void (*fn)(void)); /* called in the first life after the checkpoint */
void t_ready(void);
_Noreturn void t_done(void);
_Noreturn void t_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void t_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define t_check(cond, ...)                   \
	do {                                 \
		if (!(cond))                 \
			t_fail(__VA_ARGS__); \
	} while (0)

/* For set-up, where errno tells everything. */
#define t_sys(call)                                                         \
	({                                                                  \
		__typeof__(call) t_ret = (call);                            \
		if ((long)t_ret == -1L)                                     \
			t_fail("%s:%d: %s: %m", __FILE__, __LINE__, #call); \
		t_ret;                                                      \
	})

uint64_t t_token(void);
uint64_t t_random(uint64_t *state);                 /* splitmix64 */
void t_fill(void *buf, size_t size, uint64_t seed); /* reproducible noise */
int t_filled(const void *buf, size_t size, uint64_t seed);
const char *t_path(const char *name); /* in the work directory, absolute; never freed */
const char *t_shm(const char *name);  /* in /dev/shm; wiped by the variant "reboot" */
void t_write_file(const char *path, const void *data, size_t size);
size_t t_read_file(const char *path, void *data, size_t size);
int64_t t_now_ns(int clock);
void t_sleep_ms(unsigned int ms);

#endif
