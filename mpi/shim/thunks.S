/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI calls user functions without saying whose they are.  So each op and each error handler has a
 * function of its own, which adds its number as fifth argument; the sizes are known to callback.c.
 */
	.macro	thunks name, count, target
	.globl	\name
	.hidden	\name
	.type	\name, @function
	.balign	16
\name:
	.set	number, 0
	.rept	\count
	.balign	16
	mov	$number, %r8d
	jmp	\target
	.set	number, number + 1
	.endr
	.size	\name, . - \name
	.endm

	.text
	thunks	ckpti_mpi_op_thunks, 1024, ckpti_mpi_op_called
	thunks	ckpti_mpi_error_thunks, 1024, ckpti_mpi_error_called

	.section .note.GNU-stack, "", @progbits
