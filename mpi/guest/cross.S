/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ways into the guest and out of it that C cannot express.
 */
	.text

/*
 * A patched system call: number in rax, arguments as for the kernel.  Like the kernel it keeps all
 * registers but rax, rcx and r11; the stub has stepped over the red zone.
 */
	.globl	ckpti_guest_hook_entry
	.hidden	ckpti_guest_hook_entry
	.type	ckpti_guest_hook_entry, @function
ckpti_guest_hook_entry:
	push	%rbp
	mov	%rsp, %rbp
	push	%r9
	push	%r8
	push	%r10
	push	%rdx
	push	%rsi
	push	%rdi
	mov	%rsp, %rdi
	mov	%rax, %rsi
	and	$-16, %rsp
	cld
	call	ckpti_guest_hook
	lea	-48(%rbp), %rsp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%r10
	pop	%r8
	pop	%r9
	pop	%rbp
	ret
	.size	ckpti_guest_hook_entry, . - ckpti_guest_hook_entry

/*
 * The application's rt_sigaction: its libc jumps here instead of loading the number, with the syscall
 * instruction left in place behind the jump.  Goes on behind that.
 */
	.globl	ckpti_guest_signal_entry
	.hidden	ckpti_guest_signal_entry
	.type	ckpti_guest_signal_entry, @function
ckpti_guest_signal_entry:
	lea	-128(%rsp), %rsp
	push	%rbp
	mov	%rsp, %rbp
	push	%r9
	push	%r8
	push	%r10
	push	%rdx
	push	%rsi
	push	%rdi
	mov	%r10, %rcx
	and	$-16, %rsp
	cld
	call	ckpti_guest_app_sigaction
	lea	-48(%rbp), %rsp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%r10
	pop	%r8
	pop	%r9
	pop	%rbp
	lea	128(%rsp), %rsp
	jmp	*guest_signal_back(%rip)
	.size	ckpti_guest_signal_entry, . - ckpti_guest_signal_entry

/*
 * ckpti_guest_start(entry, sp, port): to the guest's linker, on the guest's stack, with FS base as it
 * is: the linker sets its own.  ckpti_guest_arrived(port) is called by the guest's main() and comes
 * back to where ckpti_guest_start was called; that main() waits on its stack for ever.
 * Offsets of app_fs and app_sp: checked in cross.c.
 */
	.globl	ckpti_guest_start
	.hidden	ckpti_guest_start
	.type	ckpti_guest_start, @function
ckpti_guest_start:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	sub	$8, %rsp
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	mov	%rsp, 96(%rdx)
	mov	%rsi, %rsp
	xor	%edx, %edx		/* no function to be called at exit */
	xor	%ebp, %ebp
	jmp	*%rdi
	.size	ckpti_guest_start, . - ckpti_guest_start

	.globl	ckpti_guest_arrived
	.hidden	ckpti_guest_arrived
	.type	ckpti_guest_arrived, @function
ckpti_guest_arrived:
	mov	%rdi, %rbx
	mov	88(%rdi), %rdi
	mov	96(%rbx), %rsp
	call	ckpti_guest_set_fs
	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
	add	$8, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
	.size	ckpti_guest_arrived, . - ckpti_guest_arrived

	.section .note.GNU-stack, "", @progbits
