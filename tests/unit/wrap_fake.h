/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of src/wrap share: a stand-in for the agent, a thread that bombards another one with
 * SIGCKPT, and CHECK().
 */
#ifndef CKPT_TESTS_UNIT_WRAP_FAKE_H
#define CKPT_TESTS_UNIT_WRAP_FAKE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

extern int t_failures;

#define CHECK(cond)                                                                        \
	do {                                                                               \
		if (!(cond)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
			t_failures++;                                                      \
		}                                                                          \
	} while (0)

/* How often the stand-in's handler ran, and how often it found a wrapped call to repeat. */
extern volatile long t_entered, t_hits;

/* A signal that arrives the next time that the handler has found a call to repeat: too late for it. */
extern volatile int t_raise;

/* Number of SIGCKPT. */
int t_signo(void);

/* What the kernel has, asked by raw system calls. */
uint64_t t_kernel_mask(void);
void t_kernel_action(int sig, void **ret_handler, uint64_t *ret_mask);
bool t_is_ours(void *handler); /* is it the stand-in's? */

/* Send SIGCKPT to the calling thread every period_us, and to its children too if asked, until
 * t_bomb_stop().  One at a time. */
void t_bomb_start(unsigned int period_us, bool children);
void t_bomb_stop(void);

int64_t t_now_us(void); /* CLOCK_MONOTONIC */

#endif
