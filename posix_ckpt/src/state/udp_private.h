/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between udp.c (saving, the row) and udp_restore.c.
 */
#ifndef CKPT_STATE_UDP_PRIVATE_H
#define CKPT_STATE_UDP_PRIVATE_H

#include "state/state.h"

int ckpti_udp_check(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
int ckpti_udp_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
int ckpti_udp_finish(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);

#endif
