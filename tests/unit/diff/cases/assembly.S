// flags: -O2
// compiler: gcc | clang
// link: program | no-pie
// expect: function-changed twice
// bound: local_helper
// bound: counter
	.section .note.GNU-stack, "", @progbits
	.text
	.globl main
	.type main, @function
main:
	call twice
	ret
	.size main, . - main

	.p2align 4
local_helper:
	lea (%rdi,%rdi), %rax
	ret

	.p2align 4
	.globl twice
	.type twice, @function
twice:
#ifdef AFTER
	incl counter(%rip)
#endif
	incl counter(%rip)
	call local_helper
	ret
	.size twice, . - twice

	.p2align 4
	.globl last
	.type last, @function
last:
	call local_helper
	ret
	.size last, . - last

	.data
	.p2align 2
counter:
	.long 7
	.size counter, 4
