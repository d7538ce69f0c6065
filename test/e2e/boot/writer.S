# A guest that writes for ever: boots from a floppy, and fills the same sectors of its first disk round after round, with
# content that is told by the sector's number and the round. Before it writes a sector again it reads it and compares it
# with what it wrote a round before; so it notices by itself when the storage below it is not what it wrote. 16-bit real
# mode, BIOS disk services (int 0x13, LBA packets); sleeps between two timer ticks, eighteen a second.
#
# What test/e2e/support/writing-guest.ts reads: the sectors, and STATE in the guest's memory.
        .code16
        .set    DISK, 0x80
        .set    FIRST, 2048             # LBA of the first sector; one before it is that of an error
        .set    SECTORS, 256
        .set    AT_ONCE, 16             # sectors in one request
        .set    STATE, 0x600
        .set    RUNS, STATE             # RUNNING once the program has begun
        .set    ROUND, STATE + 4
        .set    NUMBER, STATE + 8       # of the next sector
        .set    FAULT, STATE + 12
        .set    BOOTED, STATE + 16      # the round that the program began with
        .set    RUNNING, 0x57534b4c
        .set    WRITTEN, 0x8000
        .set    READ, 0xa000
        .set    STALE, 1
        .set    UNREADABLE, 2
        .set    UNWRITABLE, 3
        .globl  _start
_start: cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        xorl    %eax, %eax
        movl    %eax, NUMBER
        movl    %eax, FAULT
        call    read                    # what was there when it was switched off
        movl    $1, %eax
        movw    $magic, %si
        movw    $READ, %di
        movw    $8, %cx
        repe cmpsw
        jne     1f
        movl    READ + 20, %eax
        incl    %eax
1:      movl    %eax, ROUND
        movl    %eax, BOOTED
        movl    $RUNNING, RUNS

next:   movl    ROUND, %ebx
        cmpl    BOOTED, %ebx            # nothing to compare with in the first round
        je      2f
        call    read
        decl    %ebx
        call    fill
        movw    $WRITTEN, %si
        movw    $READ, %di
        movw    $AT_ONCE * 256, %cx
        repe cmpsw
        movb    $STALE, %al
        jne     fault
        incl    %ebx
2:      call    fill
        movb    $0x43, %ah              # extended write
        movw    $WRITTEN, buffer
        call    disk
        movb    $UNWRITABLE, %al
        jc      fault
        movl    NUMBER, %eax
        addl    $AT_ONCE, %eax
        cmpl    $SECTORS, %eax
        jb      3f
        xorl    %eax, %eax
3:      movl    %eax, NUMBER            # first: whoever looks in between must not see more than was written
        jnz     5f
        incl    ROUND
5:      hlt
        jmp     next

# AL: what is wrong. Says so in the sector before the first, if that can still be written.
fault:  movzbl  %al, %eax
        movl    %eax, FAULT
        movw    $WRITTEN, %di
        movw    $error, %si
        movw    $16, %cx
        rep movsb
        movl    ROUND, %ebx
        stosl
        movl    %ebx, %eax
        stosl
        movl    $-1, NUMBER
        movw    $1, count
        movb    $0x43, %ah
        movw    $WRITTEN, buffer
        call    disk
halt:   cli
        hlt
        jmp     halt

read:   movb    $0x42, %ah              # extended read
        movw    $READ, buffer
        call    disk
        movb    $UNREADABLE, %al
        jc      fault
        ret

# AH: what to do, at the sector that is next
disk:   pushl   %ebx
        xorb    %al, %al
        movl    NUMBER, %ecx
        addl    $FIRST, %ecx
        movl    %ecx, lba
        movb    $DISK, %dl
        movw    $packet, %si
        int     $0x13
        popl    %ebx
        ret

# What the next sectors hold after round EBX: magic, number, round, and their mixture up to the sector's end
fill:   movw    $WRITTEN, %di
        movl    NUMBER, %edx
        movw    $AT_ONCE, %bp
4:      movw    $magic, %si
        movw    $8, %cx
        rep movsw
        movl    %edx, %eax
        stosl
        movl    %ebx, %eax
        stosl
        shll    $16, %eax
        addl    %edx, %eax
        notl    %eax
        movw    $122, %cx
        rep stosl
        incl    %edx
        decw    %bp
        jnz     4b
        ret

packet: .byte   16, 0
count:  .word   AT_ONCE
buffer: .word   0, 0                    # offset, segment
lba:    .quad   0
magic:  .ascii  "LUKSMITH-WRITES\n"
error:  .ascii  "LUKSMITH-FAULTY\n"
        .org    510
        .word   0xaa55
