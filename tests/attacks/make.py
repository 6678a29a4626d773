"""Writes the hostile files of this folder; README.md says what is wrong in each.

    python tests/attacks/make.py            write them
    python tests/attacks/make.py --check    compare what lies here with what would be written
"""

import pathlib
import struct
import sys
import zlib

HERE = pathlib.Path(__file__).parent
FILES = {}


def safetensors(name, header, data=b"", length=None):
    header = header.encode()
    FILES[name + ".safetensors"] = struct.pack("<Q", len(header) if length is None else length) + header + data


def tensor(name, shape, begin, end, dtype="F32"):
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}'


def npy(descr="'<f4'", shape="(1,)", data=b"\0\0\0\0"):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + data


class Zip:
    """An archive whose every field can be made to lie."""

    def __init__(self):
        self.body, self.directory, self.count = b"", b"", 0

    def add(self, name, data, method=0, size=None, at=None, name_there=None, extra=b""):
        """at: where the directory says that the member begins; name_there: what its own header calls it."""
        packed = data
        if method == 8:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = packer.compress(data) + packer.flush()
        name, crc = name.encode(), zlib.crc32(data)
        there = name if name_there is None else name_there.encode()
        sizes = struct.pack("<LLL", crc, len(packed), len(data) if size is None else size)
        fields = struct.pack("<HHHHH", 20, 0x800, method, 0, 0x21) + sizes
        begin = len(self.body) if at is None else at
        if at is None:
            self.body += b"PK\3\4" + fields + struct.pack("<HH", len(there), 0) + there + packed
        self.directory += b"PK\1\2" + struct.pack("<H", 20) + fields
        self.directory += struct.pack("<HHHHHLL", len(name), len(extra), 0, 0, 0, 0, begin) + name + extra
        self.count += 1
        return self

    def bytes(self, offset=None):
        where = len(self.body) if offset is None else offset
        end = struct.pack("<HHHHLLH", 0, 0, self.count, self.count, len(self.directory), where, 0)
        return self.body + self.directory + b"PK\5\6" + end


def chunk(kind, data):
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows, *between):
    """rows: the image data before it is deflated, a filter byte in front of each row."""
    head = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(between) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


# ---- safetensors
safetensors("header-length-wraps", "{}", length=2**64 - 1)
safetensors("header-of-4-gigabytes", "{}", length=2**32)
safetensors("shape-product-wraps-to-0", "{" + tensor("a", [2**32, 2**32], 0, 0) + "}")
safetensors("size-in-bytes-wraps-to-0", "{" + tensor("a", [2**31, 2**31], 0, 0) + "}")
safetensors("offset-beyond-2-53", "{" + tensor("a", [1], 0, 2**53 + 1) + "}", b"1234")
safetensors("offset-negative", "{" + tensor("a", [1], -4, 0) + "}", b"1234")
safetensors("offsets-backwards", "{" + tensor("a", [1], 4, 0) + "}", b"1234")
safetensors("tensors-overlap", "{" + tensor("a", [2], 0, 8) + "," + tensor("b", [1], 4, 8) + "}", b"12345678")
safetensors("hole-between-tensors", "{" + tensor("a", [1], 0, 4) + "," + tensor("b", [1], 8, 12) + "}", b"123456789012")
safetensors("tensor-behind-the-end", "{" + tensor("a", [2], 0, 8) + "}", b"1234")
safetensors("name-twice", "{" + tensor("a", [1], 0, 4) + "," + tensor("a", [1], 4, 8) + "}", b"12345678")
safetensors("key-of-another-case", '{"a":{"DType":"F32","shape":[1],"data_offsets":[0,4]}}', b"1234")
safetensors("nested-too-deep", '{"a":' + "[" * 1000 + "]" * 1000 + "}")
safetensors("terminal-escape-in-name", "{" + tensor("\\u001b[2Jlogits", [1], 0, 4) + "}", b"\0\0\x80?")

# ---- JSON
FILES["key-twice.json"] = b'{"model_type": "llava", "model_type": "llava_next"}\n'
FILES["key-of-another-case.json"] = b'{"Model_Type": "llava", "TEXT_CONFIG": {"model_type": "llama"}}\n'
FILES["integer-beyond-2-53.json"] = b'{"model_type": "llava", "text_config": {"hidden_size": 9007199254740993}}\n'
FILES["number-without-end.json"] = b'{"model_type": "llava", "image_seq_length": ' + b"9" * 400 + b"}\n"
FILES["number-not-finite.json"] = b'{"model_type": "llava", "text_config": {"rope_theta": 1e999}}\n'
FILES["nested-too-deep.json"] = b'{"text_config": ' * 500 + b"0" + b"}" * 500 + b"\n"
FILES["nul-in-text.json"] = b'{"model_type": "llava\\u0000_next"}\n'
FILES["half-a-surrogate.json"] = b'{"model_type": "llava\\ud83d"}\n'
FILES["not-utf-8.json"] = b'{"model_type": "llava\xc0\xaf"}\n'
FILES["comma-behind-the-last.json"] = b'{"model_type": "llava",}\n'
FILES["terminal-escape.json"] = b'{"model_type": "llava\\u001b[31m"}\n'
for name, shard in [("leaves-the-folder", "../model.safetensors"), ("is-absolute", "/etc/passwd"), ("is-the-folder", ".")]:
    FILES[f"shard-{name}.index.json"] = f'{{"weight_map": {{"model.norm.weight": "{shard}"}}}}\n'.encode()
FILES["shard-is-no-text.index.json"] = b'{"weight_map": {"model.norm.weight": 7}}\n'
FILES["map-with-an-open-brace.json"] = b'{"x{i}": {"tap": "text.layers.{i"}}\n'
FILES["map-of-a-size-that-wraps.json"] = b'{"logits": {"tap": "logits", "reshape": ["4294967296*4294967296*4294967296"]}}\n'
FILES["messages-from-the-net.json"] = (
    b'[{"role": "user", "content": [{"type": "image", "url": "http://127.0.0.1/cat.png"}]}]\n'
)
FILES["template-that-runs.jinja"] = b"{{ ''.__class__.__mro__[1].__subclasses__() }}\n"

# ---- archives and .npy
PICKLE = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R."  # os.system("true"), were it ever loaded
ids = npy("'<i8'", "(1, 2)", struct.pack("<qq", 1, 2))
FILES["pickled-objects.npz"] = Zip().add("input_ids.npy", npy("'|O'", "(1, 2)", PICKLE)).bytes()
FILES["descr-that-runs.npz"] = Zip().add("input_ids.npy", npy("__import__('os').system('true')", "(1, 2)")).bytes()
FILES["shape-product-wraps-to-0.npz"] = Zip().add("input_ids.npy", npy("'<i8'", "(4294967296, 4294967296)", b"")).bytes()
FILES["size-in-bytes-wraps-to-0.npz"] = Zip().add("input_ids.npy", npy("'<i8'", "(2147483648, 1073741824)", b"")).bytes()
FILES["shape-negative.npz"] = Zip().add("input_ids.npy", npy("'<i8'", "(-1, 2)", b"")).bytes()
FILES["shape-too-large-for-an-integer.npz"] = Zip().add("input_ids.npy", npy("'<i8'", "(1, 99999999999999999999)")).bytes()
FILES["bomb-of-zeros.npz"] = Zip().add("input_ids.npy", ids + bytes(4_000_000), 8).bytes()
FILES["bomb-by-its-word.npz"] = Zip().add("input_ids.npy", ids, 8, size=2**32 - 2).bytes()
FILES["members-overlap.npz"] = Zip().add("input_ids.npy", ids).add("labels.npy", ids, at=0).bytes()
FILES["member-in-a-member.npz"] = (
    Zip().add("input_ids.npy", ids + Zip().add("labels.npy", ids).body).add("labels.npy", ids, at=43 + len(ids)).bytes()
)
FILES["member-twice.npz"] = Zip().add("input_ids.npy", ids).add("input_ids.npy", ids).bytes()
FILES["two-names-for-one.npz"] = Zip().add("input_ids.npy", ids, name_there="labels___.npy").bytes()
FILES["path-in-a-name.npz"] = Zip().add("../../input_ids.npy", ids).bytes()
FILES["terminal-escape-in-name.npz"] = Zip().add("\x1b[2J.npy", ids).bytes()
FILES["member-of-another-case.npz"] = Zip().add("Input_IDs.npy", ids).bytes()
FILES["directory-offset-wraps.npz"] = Zip().add("input_ids.npy", ids).bytes(offset=2**32 - 2)
far = Zip().add("input_ids.npy", ids)
far.directory, far.count = b"", 0
zip64 = struct.pack("<HHQQ", 1, 16, len(ids), 2**64 - 8)
FILES["zip64-offset-wraps.npz"] = far.add("input_ids.npy", ids, size=2**32 - 1, at=2**32 - 1, extra=zip64).bytes()

# ---- pictures
FILES["bomb-by-its-size.png"] = png(60000, 60000, 1, 0, bytes(100))
FILES["size-0.png"] = png(0, 1, 8, 0, b"\0")
FILES["size-wraps.png"] = png(2**31, 2, 8, 2, b"\0")
FILES["chunk-length-wraps.png"] = png(2, 2, 8, 0, bytes(6), struct.pack(">L", 2**32 - 4) + b"tEXt")
FILES["palette-index-beyond.png"] = png(2, 1, 8, 3, b"\0\0\7", chunk(b"PLTE", b"\xff\0\0"))
FILES["data-cut-off.png"] = png(64, 64, 8, 2, bytes(10))
FILES["bomb-of-text.png"] = png(2, 1, 8, 0, b"\0\x10\x20", chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(8_000_000), 9)))
FILES["bomb-of-rows.png"] = png(2, 1, 8, 0, b"\0\x10\x20" + bytes(4_000_000))
FILES["grey-of-16-bits.png"] = png(3, 1, 16, 0, b"\0" + struct.pack(">HHH", 0, 0x80FF, 0xFFFF))
FILES["rgb-of-16-bits.png"] = png(2, 1, 16, 2, b"\0" + struct.pack(">HHHHHH", 0x1234, 0x80FF, 0xFFFF, 0, 0x00FF, 0xFF00))
FILES["palette-with-transparency.png"] = png(
    3, 1, 8, 3, b"\0\0\1\2", chunk(b"PLTE", b"\xff\0\0\0\xff\0\0\0\xff"), chunk(b"tRNS", b"\xff\x80\0")
)
quant = b"\xff\xdb\0\x43\0" + b"\1" * 64
FILES["bomb-by-its-size.jpg"] = (
    b"\xff\xd8" + quant + b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", 65500, 65500) + b"\1\1\x11\0"
    + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + b"\xff\xd9"
)  # fmt: skip


def main():
    wrong = []
    for name, data in FILES.items():
        assert len(data) <= 16384, name
        path = HERE / name
        if "--check" in sys.argv:
            if not path.exists() or path.read_bytes() != data:
                wrong.append(name)
        else:
            path.write_bytes(data)
    here = {p.name for p in HERE.iterdir() if p.is_file()} - {"make.py", "README.md"}
    wrong += sorted(here - set(FILES))
    print(f"attacks: {len(FILES)} files" + "".join(f"\n  not as written: {name}" for name in wrong))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
