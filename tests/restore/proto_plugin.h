/* SPDX-License-Identifier: BSD-3-Clause */
/* A plug-in as an interconnect's library would be: see proto_plugin_lib.c. */
#ifndef CKPT_T_PLUGIN_H
#define CKPT_T_PLUGIN_H

#include <stdint.h>

#define PLUGIN_THREADS 2

struct plugin_view {
	uint64_t beats[PLUGIN_THREADS]; /* each thread counts all the time */
	int tids[PLUGIN_THREADS];
	int fd, timer, shmid;
	uintptr_t map;
	unsigned quiesce, image, after_continue, after_restart,
		odd; /* hooks called; out of order */
};

void plugin_start(unsigned not_now); /* refuses so many times before it agrees to a checkpoint */
void plugin_stop(void);
extern struct plugin_view plugin_view;

#endif
