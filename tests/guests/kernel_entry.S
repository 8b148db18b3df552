/* Where a kernel image that is not compressed is entered: 32-bit code, %esi points to Linux's boot_params, paging is off (Linux,
 * Documentation/arch/x86/boot.rst, "32-bit Boot Protocol"). It does what the decompressor's own head_64.S would: maps the first
 * 4 GiB to themselves, turns long mode on, and jumps to the kernel, OFFSET bytes before itself ("64-bit Boot Protocol").
 * It is loaded at a multiple of 4 KiB; its page tables are the 24 KiB from 4 KiB on.
 */
#define TABLES 0x1000
        .code32
        .globl  _start
_start: cli
        cld
        leal    0x1e8(%esi), %esp       /* boot_params.scratch: the only stack there is */
        call    1f
1:      popl    %ebx
        subl    $(1b - _start), %ebx

        leal    TABLES(%ebx), %edi
        xorl    %eax, %eax
        movl    $(6 * 1024), %ecx
        rep     stosl
        leal    (TABLES + 0x1000 + 3)(%ebx), %eax
        movl    %eax, TABLES(%ebx)
        movl    $4, %ecx
        leal    (TABLES + 0x1000)(%ebx), %edi
2:      addl    $0x1000, %eax
        movl    %eax, (%edi)
        addl    $8, %edi
        loop    2b
        movl    $2048, %ecx
        leal    (TABLES + 0x2000)(%ebx), %edi
        movl    $0x83, %eax             /* present, writable, a page of 2 MiB */
3:      movl    %eax, (%edi)
        addl    $0x200000, %eax
        addl    $8, %edi
        loop    3b

        leal    (table - _start)(%ebx), %eax
        movl    %eax, (table + 2 - _start)(%ebx)
        lgdt    (table - _start)(%ebx)
        movl    $0x20, %eax             /* PAE */
        movl    %eax, %cr4
        leal    TABLES(%ebx), %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       /* EFER */
        rdmsr
        orl     $0x100, %eax            /* LME */
        wrmsr
        movl    $0x80000001, %eax       /* PG, PE */
        movl    %eax, %cr0
        leal    (long - _start)(%ebx), %eax
        pushl   $0x10
        pushl   %eax
        lretl

        .code64
long:   movl    $0x18, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    %esi, %esi
        movl    %ebx, %eax
        subl    $OFFSET, %eax
        jmp     *%rax

        .balign 8
table:  .word   0x1f                    /* its first entry is never used, and says where it is instead */
        .long   0
        .word   0
        .quad   0
        .quad   0x00af9a000000ffff      /* 0x10: code, 64 bits */
        .quad   0x00cf92000000ffff      /* 0x18: everything */
