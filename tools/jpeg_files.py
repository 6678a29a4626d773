"""JPEG files of every shape, written without a library: random coefficients in any number of
components, any sampling factors, baseline or progressive, with restart markers, truncations of
scans, any markers. What the tests and check_pictures.py need beside what Pillow can write.
"""

import random
import struct

ZIGZAG_LAST = 63
DC_BITS = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
DC_VALUES = list(range(12))
# Annex K of the standard, table K.5 (luminance AC).
AC_BITS = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d]
AC_VALUES = bytes.fromhex(
    "0102030004110512213141061351610722711432" "8191a1082342b1c11552d1f02433627282090a16"
    "1718191a25262728292a3435363738393a434445" "464748494a535455565758595a63646566676869"
    "6a737475767778797a838485868788898a929394" "95969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6"
    "b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8" "d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8"
    "f9fa")


def segment(marker, data):
    return struct.pack(">BBH", 0xff, marker, len(data) + 2) + data


def huffman(bits, values):
    codes, code, at = {}, 0, 0
    for length, count in enumerate(bits, 1):
        for _ in range(count):
            codes[values[at]] = (code, length)
            code, at = code + 1, at + 1
        code <<= 1
    return codes


DC, AC = huffman(DC_BITS, DC_VALUES), huffman(AC_BITS, AC_VALUES)


class Bits:
    def __init__(self):
        self.out, self.held, self.n = bytearray(), 0, 0

    def put(self, value, n):
        self.held, self.n = (self.held << n) | (value & ((1 << n) - 1)), self.n + n
        while self.n >= 8:
            byte = (self.held >> (self.n - 8)) & 255
            self.out += bytes([byte, 0]) if byte == 255 else bytes([byte])
            self.n -= 8

    def code(self, table, symbol):
        self.put(*table[symbol])

    def number(self, value, size):
        self.put(value if value > 0 else value + (1 << size) - 1, size)

    def align(self):
        if self.n:
            self.put((1 << (8 - self.n)) - 1, 8 - self.n)

    def restart(self, k):
        self.align()
        self.out += bytes([0xff, 0xd0 + k % 8])


def put_dc(bits, value, before):
    size = abs(value - before).bit_length()
    bits.code(DC, size)
    if size:
        bits.number(value - before, size)


def put_ac(bits, block, first, last):
    run = 0
    for k in range(first, last + 1):
        if block[k] == 0:
            run += 1
            continue
        while run > 15:
            bits.code(AC, 0xf0)
            run -= 16
        size = abs(block[k]).bit_length()
        bits.code(AC, run << 4 | size)
        bits.number(block[k], size)
        run = 0
    if run:
        bits.code(AC, 0)


class Component:
    def __init__(self, ident, h, v):
        self.ident, self.h, self.v = ident, h, v


def divide(a, b):
    return -(-a // b)


class Jpeg:
    """samplings: [(h, v)] per component; ids; restart: MCUs between restart markers."""

    def __init__(self, rng, width, height, samplings, ids=None, restart=0, busy=0.2):
        ids = ids or list(range(1, len(samplings) + 1))
        self.rng, self.width, self.height, self.restart = rng, width, height, restart
        self.parts = [Component(i, h, v) for i, (h, v) in zip(ids, samplings)]
        self.hmax, self.vmax = max(h for h, _ in samplings), max(v for _, v in samplings)
        self.across, self.down = divide(width, 8 * self.hmax), divide(height, 8 * self.vmax)
        for c in self.parts:
            c.across, c.down = self.across * c.h, self.down * c.v
            c.own_across = divide(divide(width * c.h, self.hmax), 8)
            c.own_down = divide(divide(height * c.v, self.vmax), 8)
            c.blocks = [[self.block(busy) for _ in range(c.across)] for _ in range(c.down)]

    def block(self, busy):
        block = [0] * 64
        block[0] = self.rng.randint(-60, 60)
        for k in range(1, 64):
            if self.rng.random() < busy / (1 + k / 8):
                block[k] = self.rng.choice([-1, 1]) * self.rng.choice([1, 2, 3, 6, 20])
        return block

    def order(self, parts):
        """Per MCU of a scan: [(index in parts, block)]."""
        if len(parts) == 1:
            c = parts[0]
            for y in range(c.own_down):
                for x in range(c.own_across):
                    yield [(0, c.blocks[y][x])]
            return
        for my in range(self.down):
            for mx in range(self.across):
                yield [(i, c.blocks[my * c.v + y][mx * c.h + x]) for i, c in enumerate(parts)
                       for y in range(c.v) for x in range(c.h)]

    def scan(self, parts, first=0, last=63, high=0, low=0):
        bits, before = Bits(), [0] * len(parts)
        for n, mcu in enumerate(self.order(parts)):
            if self.restart and n and n % self.restart == 0:
                bits.restart(n // self.restart - 1)
                before = [0] * len(parts)
            for i, block in mcu:
                if first == 0 and high:
                    bits.put(block[0] >> low & 1, 1)
                elif first == 0:
                    put_dc(bits, block[0] >> low, before[i])
                    before[i] = block[0] >> low
                if last > 0:
                    put_ac(bits, block, max(first, 1), last)
        bits.align()
        head = bytes([len(parts)]) + b"".join(bytes([c.ident, 0]) for c in parts)
        return segment(0xda, head + bytes([first, last, high << 4 | low])) + bytes(bits.out)

    def scans(self, kind):
        if kind == "one":
            return self.scan(self.parts)
        if kind == "split":
            return b"".join(self.scan([c]) for c in self.parts)
        out = self.scan(self.parts, 0, 0, 0, 1)
        for c in self.parts:
            out += self.scan([c], 1, 5)
        out += self.scan(self.parts, 0, 0, 1, 0)
        for c in self.parts:
            out += self.scan([c], 6, 63)
        return out

    def tables(self):
        steps = bytes([3 + k // 6 for k in range(64)])
        out = segment(0xdb, b"\0" + steps)
        out += segment(0xc4, b"\x00" + bytes(DC_BITS) + bytes(DC_VALUES))
        out += segment(0xc4, b"\x10" + bytes(AC_BITS) + AC_VALUES)
        return out + (segment(0xdd, struct.pack(">H", self.restart)) if self.restart else b"")

    def frame(self, marker, precision=8):
        head = struct.pack(">BHHB", precision, self.height, self.width, len(self.parts))
        return segment(marker, head + b"".join(bytes([c.ident, c.h << 4 | c.v, 0])
                                               for c in self.parts))

    def file(self, kind="one", before=b"", after=b"\xff\xd9", frame=None):
        """kind: one scan, split (a scan for each component), or progressive."""
        frame = frame or self.frame(0xc2 if kind == "progressive" else 0xc0)
        return b"\xff\xd8" + before + self.tables() + frame + self.scans(kind) + after


def adobe(transform):
    return segment(0xee, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


def jfif():
    return segment(0xe0, b"JFIF\0\1\1\0\0\1\0\1\0\0")


def exif(tiff):
    return segment(0xe1, b"Exif\0\0" + tiff)


def xmp(text):
    return segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0" + text)


SAMPLINGS = {"444": [(1, 1)] * 3, "422": [(2, 1), (1, 1), (1, 1)], "420": [(2, 2), (1, 1), (1, 1)],
             "440": [(1, 2), (1, 1), (1, 1)], "411": [(4, 1), (1, 1), (1, 1)],
             "410": [(4, 2), (1, 1), (1, 1)], "441": [(1, 4), (1, 1), (1, 1)],
             "odd": [(2, 2), (2, 1), (1, 2)], "chroma-larger": [(1, 1), (2, 2), (2, 2)],
             "grey": [(1, 1)], "grey22": [(2, 2)], "cmyk": [(1, 1)] * 4,
             "ycck": [(2, 2), (1, 1), (1, 1), (2, 2)]}


def random_jpeg(rng, metadata=b""):
    """A readable file of any kind that libjpeg-turbo decodes."""
    name = rng.choice(list(SAMPLINGS))
    samplings = SAMPLINGS[name]
    width, height = rng.randint(1, 70), rng.randint(1, 70)
    ids = None
    if len(samplings) == 3 and rng.random() < 0.2:
        ids = rng.choice([[82, 71, 66], [0, 1, 2], [1, 34, 35], [7, 8, 9]])
    jpeg = Jpeg(rng, width, height, samplings, ids, rng.choice([0, 0, 1, 3]),
                rng.choice([0.0, 0.2, 0.6]))
    before = b""
    if rng.random() < 0.4:
        before += jfif()
    if rng.random() < 0.5:
        before += adobe(rng.choice([0, 1, 2]))
    return jpeg.file(rng.choice(["one", "split", "progressive"]), before + metadata)
