/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The capture: with everybody standing still, turn processes into records and memory into extents.
 * Each step adds to one struct ckpti_snap; nothing here writes to the processes.
 */
#ifndef CKPT_CORE_CAPTURE_H
#define CKPT_CORE_CAPTURE_H

#include "core/set.h"

/* A mapped file that is to be found again by content. */
struct ckpti_pinned {
	uint32_t id;
	uint64_t dev, ino;
	struct stat st;
	char *path;
	int fd; /* opened during the stop, hashed after it */
	bool exe;
};

/* An object of shared memory, saved once for the whole set. */
struct ckpti_shared {
	struct ckpti_r_shm rec;
	char *name;
	int fd;                        /* of the object, -1 when only its mappings are there */
	bool owned_fd;                 /* opened by us */
	struct ckpti_e_range *covered; /* parts already saved through a mapping, by offset */
	size_t ncovered;
};

struct ckpti_fdref {
	int pid; /* as here */
	struct ckpti_e_fd e;
};

/* What one process is to write, gathered while its mappings are looked at. */
struct ckpti_job {
	struct ckpti_member *m;
	struct ckpti_write_range *priv;
	size_t npriv;
	struct ckpti_write_range *shared; /* bias: object offset - address */
	uint32_t *shared_id;
	size_t nshared;
	uint64_t bytes; /* about as many will be written */
	uint32_t file;  /* its data file */
	int fd;         /* belongs to the store */
	uint64_t end;   /* first free offset */
};

struct ckpti_precopy;

struct ckpti_snap {
	struct ckpti_set *set;
	struct ckpti_store *store;
	struct ckpti_image img;
	struct ckpti_capture cap; /* descriptions; cap.img == &img */
	struct ckpti_locks *locks;
	struct ckpti_fdref *fdref;
	size_t nfdref;
	struct ckpti_pinned *pin;
	size_t npin;
	struct ckpti_shared *shm;
	size_t nshm;
	uint64_t mem_bytes, stored_bytes, reused_bytes;
	uint32_t nthreads, eintr_hidden, eintr_lost;
	uint32_t restarts;
	struct ckpti_precopy *pre;
};

void ckpti_snap_init(struct ckpti_snap *s, struct ckpti_set *set, struct ckpti_store *store);
void ckpti_snap_done(struct ckpti_snap *s);

/* capture_fds.c: take over descriptors, find the descriptions; later: save them and close. */
int ckpti_snap_descriptors(struct ckpti_snap *s, struct ckpti_err *err);
int ckpti_snap_objects(struct ckpti_snap *s, struct ckpti_err *err);
void ckpti_snap_close_descriptors(struct ckpti_snap *s);

/* capture_proc.c: ids, limits, signals, timers, threads.  What the agent has put into the mailbox is
 * copied and checked; st is NULL for a process that has ended. */
int ckpti_snap_state(const struct ckpti_member *m, struct ckpti_state *ret, struct ckpti_err *err);
int ckpti_snap_process(struct ckpti_snap *s, struct ckpti_member *m, const struct ckpti_state *st,
		       struct ckpti_err *err);

/* capture_mem.c: mappings and their content. */
int ckpti_snap_memory(struct ckpti_snap *s, struct ckpti_err *err);
/* A mapping that cannot be saved, told by itself alone: -ENOTSUP with the reason, else 0. */
int ckpti_map_refusal(const struct ckpti_member *m, const struct ckpti_map *map,
		      struct ckpti_err *err);
/* capture_write.c: let the processes write what the jobs say, all at the same time. */
int ckpti_snap_write(struct ckpti_snap *s, struct ckpti_job *job, size_t n, struct ckpti_err *err);
/* Records of pinned files and shared objects; after the processes go on. */
int ckpti_snap_pins(struct ckpti_snap *s, bool all, struct ckpti_err *err);

/* budget.c: -ENOSPC when writing the statefile, memory and `more` bytes, would get the processes killed. */
int ckpti_budget_check(struct ckpti_set *set, struct ckpti_store *store, uint64_t more,
		       struct ckpti_err *err);
/* Bytes that can be written to the statefile before that happens. */
uint64_t ckpti_budget_left(const struct ckpti_set *set, const struct ckpti_store *store);

/* machine.c */
int ckpti_machine_record(struct ckpti_image *img, struct ckpti_err *err);
/* May an image with this MACHINE record run here?  -ENOEXEC names what is missing. */
int ckpti_machine_check(const struct ckpti_image *img, struct ckpti_err *err);

#endif
