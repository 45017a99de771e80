/*
 * lp_copy_guarded(to, from, len): fault.h says what it is for.
 *
 * Between lp_copy_begin and lp_copy_end nothing is on the stack, so that the
 * handler of a fault can go on at lp_copy_fault by changing rip alone.
 */
	.text
	.globl	lp_copy_guarded, lp_copy_begin, lp_copy_end, lp_copy_fault
	.hidden	lp_copy_guarded, lp_copy_begin, lp_copy_end, lp_copy_fault
	.type	lp_copy_guarded, @function

lp_copy_guarded:
	.cfi_startproc
	endbr64
	mov	%rdx, %rcx
lp_copy_begin:
	cmp	$8, %rcx
	je	.Lword			/* one access, whole: another thread may be writing the other half */
	cmp	$4, %rcx
	je	.Lhalf
	cmp	$16, %rcx
	jb	.Lshort
	cmp	$512, %rcx
	jb	.Lblocks
	rep movsb			/* takes a while to begin */
	xor	%eax, %eax
	ret

.Lblocks:				/* each byte once: a guest may change behind us what it has seen */
	sub	$16, %rcx
.Lblock:
	movups	(%rsi), %xmm0
	movups	%xmm0, (%rdi)
	add	$16, %rsi
	add	$16, %rdi
	sub	$16, %rcx
	jae	.Lblock
	add	$16, %rcx
	jmp	.Lshort

.Lword:	mov	(%rsi), %rax
	mov	%rax, (%rdi)
	xor	%eax, %eax
	ret

.Lhalf:	mov	(%rsi), %eax
	mov	%eax, (%rdi)
	xor	%eax, %eax
	ret

.Lshort:
	sub	$8, %rcx
	jb	.Lrest
	mov	(%rsi), %rax
	mov	%rax, (%rdi)
	add	$8, %rsi
	add	$8, %rdi
	jmp	.Lshort
.Lrest:	add	$8, %rcx
	jz	.Ldone
	cmp	$4, %rcx
	jb	.Lbyte
	mov	(%rsi), %eax
	mov	%eax, (%rdi)
	add	$4, %rsi
	add	$4, %rdi
	sub	$4, %rcx
	jz	.Ldone
.Lbyte:	mov	(%rsi), %al
	mov	%al, (%rdi)
	inc	%rsi
	inc	%rdi
	dec	%rcx
	jnz	.Lbyte
.Ldone:	xor	%eax, %eax
	ret
lp_copy_end:

lp_copy_fault:
	mov	$-14, %eax		/* -EFAULT */
	ret
	.cfi_endproc
	.size	lp_copy_guarded, . - lp_copy_guarded

	.section .note.GNU-stack, "", @progbits
