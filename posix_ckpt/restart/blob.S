/* SPDX-License-Identifier: BSD-3-Clause */
/* The restorer's flat image as bytes of the program that plants it. */
	.section .rodata
	.balign 16
	.globl ckpti_restorer_blob
	.hidden ckpti_restorer_blob
ckpti_restorer_blob:
	.incbin CKPT_BLOB_FILE
	.globl ckpti_restorer_blob_end
	.hidden ckpti_restorer_blob_end
ckpti_restorer_blob_end:
	.section .note.GNU-stack, "", @progbits
