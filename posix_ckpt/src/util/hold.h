/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CKPT_TEST_HOLD=DIR: tests hold a checkpoint at a named point, see docs/developer/trace.md.  Who comes to
 * POINT while there is a file DIR/POINT writes DIR/POINT.<host>.<pid> and waits until DIR/POINT is gone.
 * Programs with more rights than their caller do not look at it.
 */
#ifndef CKPT_UTIL_HOLD_H
#define CKPT_UTIL_HOLD_H

void ckpti_hold(const char *point);

#endif
