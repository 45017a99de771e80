// A short jump cannot be stretched: what lies between its ends stays together, and is replaced together.
// flags: -O2
// compiler: gcc | clang
// link: program | no-pie
// expect: function-changed local_helper
// record: twice
// record: local_helper
// record: last
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
	jmp local_helper
	call local_helper
	ret
	.size last, . - last

	.data
	.p2align 2
counter:
	.long 7
	.size counter, 4
