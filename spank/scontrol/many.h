/* SPDX-License-Identifier: BSD-3-Clause */
/* A request of root's for all running jobs of some nodes, of a partition or of a reservation. */
#ifndef CKPT_SCONTROL_MANY_H
#define CKPT_SCONTROL_MANY_H

#include "spank/scontrol/request.h"

/* Exit status: failure when one job failed. */
int ckpti_many_request(const struct ckpti_request *q);

#endif
