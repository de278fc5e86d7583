/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between unix.c (saving, the row) and unix_restore.c.
 */
#ifndef CKPT_STATE_UNIX_PRIVATE_H
#define CKPT_STATE_UNIX_PRIVATE_H

#include "state/state.h"

int ckpti_unix_check(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
int ckpti_unix_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
int ckpti_unix_finish(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
int ckpti_unix_settle(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);

#endif
