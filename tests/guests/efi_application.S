# A PE32+ EFI application
.code64
.text
base:
  .ascii "MZ"
  .org 0x3c
  .long pe - base
pe:
  .ascii "PE\0\0"
  .word 0x8664, 1
  .long 0,0,0
  .word opt_end - opt, 0x0206
opt:
  .word 0x20b
  .byte 2,0
  .long end - code, 0, 0
  .long code - base, code - base
  .quad 0
  .long 0x20, 0x20
  .word 0,0,0,0,0,0
  .long 0
  .long end - base
  .long code - base
  .long 0
  .word 10, 0
  .quad 0,0,0,0
  .long 0, 6
  .quad 0,0,0,0,0,0
opt_end:
  .ascii ".text\0\0\0"
  .long end - code, code - base, end - code, code - base
  .long 0,0
  .word 0,0
  .long 0x60000020
.balign 32
code:
  lea text(%rip), %rsi
  mov $0x3f8, %edx
1: lodsb
  test %al,%al
  jz 2f
  outb %al,%dx
  jmp 1b
2: mov $0x604,%edx
  mov $0x2000,%eax
  outw %ax,%dx
3: hlt
  jmp 3b
text: .asciz TEXT
.balign 32
end:
