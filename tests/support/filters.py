"""Classic BPF, as seccomp(2) runs it: linux/filter.h. Run by pytest, as anybody."""

from __future__ import annotations

import struct


def run(program: bytes, *, number: int, arch: int, arguments: tuple[int, ...] = ()) -> int:
    """Interpret the classic BPF of the filter: linux/filter.h."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *(*arguments, *[0] * (6 - len(arguments))))
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = position = 0
    while True:
        operation, if_true, if_false, operand = code[position]
        position += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, operand)
        elif operation == 0x54:
            accumulator &= operand
        elif operation == 0x06:
            return int(operand)
        else:
            holds = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: bool(accumulator & operand)}[operation]
            position += if_true if holds else if_false
