/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared among the restorer's files.  Freestanding, position independent, no relocations: the code is
 * copied to wherever both address spaces have a hole. */
#ifndef CKPT_RESTART_RESTORER_H
#define CKPT_RESTART_RESTORER_H

#include "os/linux/sys.h"
#include "restart/plan.h"

#define PLAN_ARRAY(plan, field) ((void *)((uint8_t *)(plan) + (plan)->field))

/* Tell the supervisor and end the process. */
_Noreturn void restorer_die(const struct ckpti_plan *p, const char *what, uint64_t addr,
			    long error);

void restorer_memory(struct ckpti_plan *p);  /* memory.c */
void restorer_process(struct ckpti_plan *p); /* process.c: what belongs to the whole process */
void restorer_timers(const struct ckpti_plan *p);
void restorer_threads(struct ckpti_plan *p); /* thread.c: never returns in the new threads */
void restorer_self(const struct ckpti_plan *p, struct ckpti_plan_thread *t);
void restorer_pending(const struct ckpti_plan *p, int tid);

#endif
