#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR GPL-2.0-only
"""
test_sequences.py - the restartable sequences, as the linker leaves them in the library and its users

LIBS: libbma.a, and of a user's code; CC: their compiler.  Checks what the kernel and debuggers read of them (__rseq_cs,
__rseq_cs_ptr_array, __rseq_exit_point_array) against the instructions: what a sequence consists of,
how it can be left, and what is in front of its abort label.
"""
import collections
import os
import re
import struct
import subprocess
import sys
import tempfile

# ELF's number of a machine: the signature of abort labels as bytes, what stores to memory, and
# what branches: with where to, and without (out of a sequence nothing may call, return or trap).
Machine = collections.namedtuple('Machine', 'objdump signature store branch never')
MACHINES = {
    62: Machine('objdump', struct.pack('<I', 0x53053053), r'mov\S* +%\w+,.*\(',
                r'j\w+ +(?:0x)?([0-9a-f]+)', r'call|ret|syscall|int |jmp +\*'),
    183: Machine('aarch64-linux-gnu-objdump', struct.pack('<I', 0xd428bc00), r'str\t\w+, \[',
                 r'(?:b|b\.\w+|cbn?z\t\w+,|tbn?z\t\w+, #\d+,)\s+([0-9a-f]+)',
                 r'bl|blr|br|ret|svc|brk|ldx|stx|ldax|stlx'),
}

failed = False


def check(good, what):
    global failed
    print(('ok: ' if good else 'NOT ok: ') + what)
    failed |= not good


def link(directory):
    """All of the libraries at fixed addresses, so that no word of a table is left to a relocation."""
    image = f'{directory}/image'
    subprocess.run([*os.environ['CC'].split(), '-nostdlib', '-static', '-no-pie', '-o', image,
                    '-Wl,--whole-archive', *os.environ['LIBS'].split(), '-Wl,--no-whole-archive',
                    '-Wl,--unresolved-symbols=ignore-all,-e,0,--build-id=none'],
                   check=True, stderr=subprocess.DEVNULL)
    return image


class Image:
    def __init__(self, path):
        with open(path, 'rb') as f:
            self.bytes = f.read()
        assert self.bytes[:6] == b'\x7fELF\x02\x01', 'not ELF, 64 bits, little-endian'
        self.machine = MACHINES[struct.unpack_from('<H', self.bytes, 18)[0]]
        at, = struct.unpack_from('<Q', self.bytes, 40)
        size, number, names = struct.unpack_from('<HHH', self.bytes, 58)
        headers = [struct.unpack_from('<IIQQQQ', self.bytes, at + i * size) for i in range(number)]
        self.sections = {}
        for name, _, _, address, offset, length in headers:
            start = headers[names][4] + name
            key = self.bytes[start:self.bytes.index(b'\0', start)].decode()
            self.sections[key] = address, self.bytes[offset:offset + length]

    def table(self, name, layout):
        """Entries of a section with their addresses."""
        address, data = self.sections.get(name, (0, b''))
        size = struct.calcsize(layout)
        check(data and len(data) % size == 0, f'{name}: has whole entries ({len(data) // size})')
        return [(address + i, *struct.unpack_from(layout, data, i))
                for i in range(0, len(data) - size + 1, size)]

    def read(self, address, length):
        for base, data in self.sections.values():
            if base and base <= address < base + len(data):
                return data[address - base:address - base + length]
        return b''

    def instructions(self, path, start, end):
        out = subprocess.run([self.machine.objdump, '-d', '--no-show-raw-insn', path,
                              f'--start-address={start}', f'--stop-address={end}'],
                             check=True, stdout=subprocess.PIPE, text=True).stdout
        return [line.strip() for line in re.findall(r'^ *[0-9a-f]+:\t(.*)$', out, re.M)]


def sequence(image, path, descriptor, exits):
    """One descriptor; True if all about it is right."""
    address, version, flags, start, length, abort = descriptor
    end, machine = start + length, image.machine
    code = image.instructions(path, start, end)
    targets = {int(found.group(1), 16) for found in (re.match(machine.branch, i) for i in code) if found}
    outside = {t for t in targets if not start <= t <= end}
    what = f'sequence at {start:#x}'
    faults = [fault for wrong, fault in [
        (version or flags, 'version or flags are not 0'),
        (address % 32, 'its descriptor is not aligned'),
        (not 0 < length < 64, f'{length} bytes'),
        (start <= abort < end, 'its abort label is inside'),
        (image.read(abort - 4, 4) != machine.signature, 'no signature in front of its abort label'),
        (not code, 'no instructions'),
        (code and not re.match(machine.store, code[-1]), 'its last instruction is no store'),
        (any(re.match(machine.never, i) for i in code), 'calls, returns or traps'),
        (outside != exits, f'left to {sorted(map(hex, outside))}, said: {sorted(map(hex, exits))}'),
    ] if wrong]
    for fault in faults:
        print(f'{what}: {fault}\n\t' + '\n\t'.join(code))
    return not faults


def main():
    with tempfile.TemporaryDirectory() as directory:
        path = link(directory)
        image = Image(path)
        descriptors = image.table('__rseq_cs', '<IIQQQ')
        pointers = image.table('__rseq_cs_ptr_array', '<Q')
        exits = collections.defaultdict(set)
        for _, start, target in image.table('__rseq_exit_point_array', '<QQ'):
            exits[start].add(target)
        check({p for _, p in pointers} == {d[0] for d in descriptors},
              'each descriptor is in the array of pointers, and nothing else')
        check(exits.keys() <= {d[3] for d in descriptors}, 'each exit point is of a sequence')
        good = [sequence(image, path, d, exits.get(d[3], set())) for d in descriptors]
        check(all(good), f'{len(good)} sequences: signature, extent, last store and exits')
    return failed


if __name__ == '__main__':
    sys.exit(main())
