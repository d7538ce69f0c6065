# The guest of the demo: a boot sector that says hello on the serial port, writes a marker to the second disk,
# reads it back and compares. 16-bit real mode, BIOS disk services (int 0x13, LBA packets), COM1 by port.
        .code16
        .set    COM1, 0x3f8
        .set    SECOND_DISK, 0x81
        .set    LBA, 4096               # 2 MiB into the second disk
        .set    WRITTEN, 0x8000         # buffers of one sector each
        .set    READ, 0x9000
        .globl  _start
_start: cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        movw    $hello, %si
        call    print

        movw    $WRITTEN, %di           # the sector to write: the marker, then zeros
        pushw   %di
        movw    $256, %cx
        rep stosw
        popw    %di
        movw    $marker, %si
        movw    $marker_end - marker, %cx
        rep movsb

        movw    $WRITTEN, buffer
        movb    $0x43, %ah              # extended write
        call    disk
        movw    $READ, buffer
        movb    $0x42, %ah              # extended read
        call    disk

        movw    $WRITTEN, %si
        movw    $READ, %di
        movw    $256, %cx
        repe cmpsw
        jne     fail
        movw    $done, %si
        call    print
        movw    $READ, %si
        call    print
        movw    $newline, %si
        call    print
halt:   cli
        hlt
        jmp     halt

fail:   movw    $failed, %si
        call    print
        jmp     halt

disk:   xorb    %al, %al
        movb    $SECOND_DISK, %dl
        movw    $packet, %si
        int     $0x13
        jc      fail
        ret

print:  lodsb                           # prints the text at %si up to its zero byte
        testb   %al, %al
        jz      3f
        movb    %al, %bl
        movw    $COM1 + 5, %dx          # line status: wait until the transmitter is empty
2:      inb     %dx, %al
        testb   $0x20, %al
        jz      2b
        movb    %bl, %al
        movw    $COM1, %dx
        outb    %al, %dx
        jmp     print
3:      ret

packet: .byte   16, 0
        .word   1                       # sectors
buffer: .word   0, 0                    # offset, segment
        .quad   LBA
hello:  .asciz  "guest: hello from the encrypted disk\r\n"
done:   .asciz  "guest: read back "
failed: .asciz  "guest: disk error\r\n"
newline: .asciz "\r\n"
marker: .ascii  "LUKSMITH-DEMO-MARKER-7f3a19c4"
marker_end:
        .org    510
        .word   0xaa55
