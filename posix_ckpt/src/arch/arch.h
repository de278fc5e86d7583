/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What depends on the processor, as inline functions with the same names in each folder:
 *
 *   arch_syscall(nr, a, b, c, d, e, f)   raw system call, -errno on failure
 *   arch_uc_ip, arch_uc_sp, arch_uc_ret  registers in a signal frame
 *   arch_uc_at_syscall(uc)               has the frame just come back from a system call?
 *   arch_uc_decode_nr(uc)                number of that call, read from its code; -1 unknown
 *   arch_uc_rewind(uc, nr)               make the frame repeat system call nr
 *   arch_uc_forward(uc, ret)             undo that: the call has returned ret
 *   arch_uc_repeats(uc, nr, ip)          has the kernel set the frame to repeat call nr?
 *   arch_uc_arg2(uc)                     second argument of the call that the frame is in
 *   arch_thread_bases(&fs, &gs)          thread pointer registers of the caller
 *   arch_set_thread_bases(fs, gs)
 *   arch_call_on_stack(fn, arg, top)     call fn(arg) on another stack and come back
 *   arch_jump_on_stack(fn, a, b, top)    enter fn(a, b) on another stack for good
 *   arch_clone3(args, size, fn, arg)     clone3 whose child runs fn(arg)
 *   arch_leave(uc)                       rt_sigreturn on a saved frame
 *   arch_fill, arch_copy                 memset and memcpy
 *   ARCH_SIGRETURN_CODE                  assembly of a signal restorer
 *   ARCH_ELF_MACHINE                     e_machine
 */
#ifndef CKPT_ARCH_ARCH_H
#define CKPT_ARCH_ARCH_H

#if defined(__x86_64__)
#include "arch/x86_64/arch.h"
#else
#error "no posix_ckpt/src/arch folder for this processor"
#endif

#endif
