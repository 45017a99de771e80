	.text
	.globl	add
	.type	add, @function
add:
	leal	(%rdi,%rsi), %eax
	addl	bias(%rip), %eax
	ret
	.size	add, .-add

	.globl	twice
	.type	twice, @function
twice:
	leal	(%rdi,%rdi), %eax
	ret
	.size	twice, .-twice

	.data
	.type	bias, @object
	.size	bias, 4
bias:
	.long	100
	.section .note.GNU-stack,"",@progbits
