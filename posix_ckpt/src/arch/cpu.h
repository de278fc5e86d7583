/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processor features, for programs with libc:
 *
 *   arch_cpu_features(word, n, &xcr0, &xsave_size)  features that a program may use; words filled
 *   arch_cpu_feature_name(word, bits)               a name for the lowest of the bits
 */
#ifndef CKPT_ARCH_CPU_H
#define CKPT_ARCH_CPU_H

#include "arch/arch.h"

#if defined(__x86_64__)
#include "arch/x86_64/cpu.h"
#endif

#endif
