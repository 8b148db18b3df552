/* A boot sector of a test: 16-bit code that the BIOS loads at 0x7c00 and starts with the drive in %dl.
 *
 * One of these is defined, by -D:
 *   PRINTS      TEXT on COM1, and halts
 *   SHOWS       TEXT on the screen (VGA text) alone, and halts
 *   DRAWS       TEXT in a graphics mode (VGA mode 12h: 640x480), point by point, and halts
 *   PAINTS      a picture (VGA mode 13h: 320x200, a column for each colour), and halts
 *   STOPS       a picture like Windows's stop screen: all blue (0, 120, 215), and white lines from its left
 *   HANGS       nothing at all, for ever
 *   POWERS_OFF  TEXT on COM1, and then turns the machine off: SLP_EN in ACPI's PM1a control register, which
 *               SeaBIOS puts at 0x604, both for "pc" and "q35"
 *   REBOOTS     TEXT on COM1, and then resets the machine, by the reset control register (0xcf9)
 *   PANICS      tells QEMU's pvpanic device (0x505) of a panic, and halts
 *   FLOODS      TEXT on COM1 again and again, for ever
 *   WRITES      64 KiB less one sector at LBA, and so on behind it, TIMES times or until it fails; then prints TEXT
 *               on COM1 and halts. TIMES 0: for ever, from LBA again at the disk's end
 *   SUMS        reads TIMES sectors from LBA on, prints "SUM " and 8 hex digits and TEXT on COM1, and halts. The sum is
 *               of its little-endian words of 32 bits, modulo 2^32
 * Disks are read and written by the BIOS: extended INT 13h (EDD 3.0), through whichever controller it booted from.
 */
        .code16
        .globl  _start
_start: ljmp    $0, $begin
begin:  cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cld
        sti

#if defined(PRINTS)
        call    say

#elif defined(SHOWS) || defined(DRAWS)
#if defined(SHOWS)
        movw    $0x0003, %ax            /* 80 columns of 25 lines, and clears them */
#else
        movw    $0x0012, %ax
#endif
        int     $0x10
        movw    $text, %si
1:      lodsb
        testb   %al, %al
        jz      halt
        movb    $0x0e, %ah              /* teletype output */
        movw    $0x0007, %bx
        int     $0x10
        jmp     1b

#elif defined(PAINTS)
        movw    $0x0013, %ax
        int     $0x10
        movw    $0xa000, %ax
        movw    %ax, %es
        xorw    %di, %di
        movw    $200, %dx
1:      movw    $320, %cx
2:      movw    %cx, %ax
        shrw    $2, %ax
        stosb
        loop    2b
        decw    %dx
        jnz     1b

#elif defined(STOPS)
        movw    $0x0013, %ax
        int     $0x10
        movw    $0x3c8, %dx             /* colour 1, in 64ths */
        movb    $1, %al
        outb    %al, %dx
        incw    %dx
        movb    $0, %al
        outb    %al, %dx
        movb    $30, %al
        outb    %al, %dx
        movb    $53, %al
        outb    %al, %dx
        movw    $0xa000, %ax
        movw    %ax, %es
        xorw    %di, %di
        movw    $64000, %cx
        movb    $1, %al
        rep     stosb
        movw    $(320 * 40 + 32), %di
        movl    $0x0f0f0f0f, %eax       /* four white pixels */
        movw    $8, %dx                 /* lines */
1:      movw    $5, %bp                 /* of five pixels' height */
2:      pushw   %di
        movw    $24, %cx                /* letters, so to speak */
3:      stosl
        incw    %di
        incw    %di
        loop    3b
        popw    %di
        addw    $320, %di
        decw    %bp
        jnz     2b
        addw    $(320 * 10), %di
        decw    %dx
        jnz     1b

#elif defined(POWERS_OFF)
        call    say
        movw    $0x604, %dx
        movw    $0x2000, %ax            /* SLP_EN with SLP_TYP 0, which is S5 here */
        outw    %ax, %dx

#elif defined(REBOOTS)
        call    say
        movw    $0xcf9, %dx
        movb    $0x02, %al
        outb    %al, %dx
        movb    $0x06, %al              /* a hard reset */
        outb    %al, %dx

#elif defined(PANICS)
        movw    $0x505, %dx
        movb    $0x01, %al
        outb    %al, %dx

#elif defined(FLOODS)
1:      call    say
        jmp     1b

#elif defined(WRITES)
        pushw   %ds
        movw    $0x1000, %ax            /* what is written: the bytes 5a, for zeros may be left out */
        movw    %ax, %es
        xorw    %di, %di
        movw    $0x8000, %cx
        movw    $0x5a5a, %ax
        rep     stosw
        popw    %es
again:  movl    $LBA, packet + 8
        movl    $TIMES, %ebx
1:      movw    $127, packet + 2
        movw    $packet, %si
        movw    $0x4300, %ax            /* extended write */
        pushal
        int     $0x13
        popal
        jc      2f
        addl    $127, packet + 8
#if TIMES
        decl    %ebx
        jnz     1b
2:      call    say
#else
        jmp     1b
2:      jmp     again
#endif

#elif defined(SUMS)
        movl    $TIMES, %ebp
        xorl    %ebx, %ebx              /* the sum */
1:      movw    $1, packet + 2
        movw    $packet, %si
        movb    $0x42, %ah              /* extended read */
        pushal
        int     $0x13
        popal
        jc      halt
        pushw   %ds
        movw    $0x1000, %ax
        movw    %ax, %ds
        xorw    %si, %si
        movw    $128, %cx
2:      lodsl
        addl    %eax, %ebx
        loop    2b
        popw    %ds
        incl    packet + 8
        decl    %ebp
        jnz     1b
        movw    $name, %si
        call    put
        movw    $8, %cx
3:      roll    $4, %ebx
        movb    %bl, %al
        andb    $0x0f, %al
        addb    $'0', %al
        cmpb    $'9', %al
        jbe     4f
        addb    $('a' - '0' - 10), %al
4:      call    putc
        loop    3b
        call    say

#elif !defined(HANGS)
#error what is the boot sector to do?
#endif

halt:   hlt                             /* an interrupt wakes it: once more */
        jmp     halt

say:    movw    $text, %si
put:    lodsb                           /* the text at %si, to its zero */
        testb   %al, %al
        jz      1f
        call    putc
        jmp     put
1:      ret

putc:   pushw   %dx
        pushw   %ax
        movw    $0x3fd, %dx             /* line status: until the transmitter is empty */
1:      inb     %dx, %al
        testb   $0x20, %al
        jz      1b
        popw    %ax
        movw    $0x3f8, %dx
        outb    %al, %dx
        popw    %dx
        ret

packet: .byte   16, 0                   /* EDD's disk address packet: sectors, buffer 0x1000:0, LBA */
        .word   1
        .word   0, 0x1000
        .long   LBA, 0
name:   .asciz  "SUM "
text:   .asciz  TEXT

        .org    510
        .byte   0x55, 0xaa
