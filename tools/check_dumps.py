#!/usr/bin/env python3
"""Checks the dump reader and writer against NumPy (and safetensors), value by value.

    python3 tools/check_dumps.py [--cases N] [--seed S] [--large]

Calls the C code as a library (tools/c_library.py).
* What NumPy writes is read: numpy.save, savez, savez_compressed, a zip on a stream that cannot
  seek, header versions 1 to 3, both byte orders, Fortran order, every type, shapes up to rank 8;
  whole and in random stretches.
* Headers are numpy.save's own bytes.
* What the program writes, NumPy reads with allow_pickle=False: every tap type, archive stored and
  deflated, archive through a pipe, folder. A folder's files are numpy.save's own bytes; Python's
  zipfile finds no fault in the archives; the hash lines are hashlib's.
* What NumPy writes for other types (objects, text, structures, ...) is refused.
--large also writes and reads an archive with a member beyond 4 GiB (needs 9 GiB of disk and 10 of
memory).
Needs numpy; safetensors is checked where it is installed. Exits 1 when anything differs.
"""

import argparse
import ctypes
import hashlib
import io
import os
import pathlib
import sys
import tempfile
import threading
import zipfile

import numpy as np

import c_library
from c_library import Error

ROOT = pathlib.Path(__file__).resolve().parent.parent
TYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"]
TAP_TYPES = {"f64": (0, "<f8"), "f32": (1, "<f4"), "f16": (2, "<f2"), "bf16": (3, "<f4"),
             "i64": (4, "<i8"), "u8": (5, "|u1")}


class Tap(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_int), ("rank", ctypes.c_int),
                ("shape", ctypes.c_size_t * 5), ("data", ctypes.c_void_p)]


class Array(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_char), ("size", ctypes.c_size_t), ("big_endian", ctypes.c_bool),
                ("fortran", ctypes.c_bool), ("rank", ctypes.c_int), ("shape", ctypes.c_size_t * 8),
                ("count", ctypes.c_size_t), ("bytes", ctypes.c_size_t)]


class Entry(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("array", Array)]


class Refused(Exception):
    pass


def library():
    lib = c_library.load({"llava_tap": Tap, "llava_array": Array, "llava_dump_entry": Entry},
                         ["ref/tap.h", "tools/array.h", "tools/dump.h"])
    for name in ("at", "find", "count"):
        f = getattr(lib, f"llava_dump_{name}")
        f.restype = ctypes.c_size_t if name == "count" else ctypes.POINTER(Entry)
    lib.llava_dump_meta.restype = ctypes.c_char_p
    return lib


def call(function, *arguments):
    e = Error()
    if not ctypes.c_bool(function(*arguments, ctypes.byref(e)) & 1).value:
        raise Refused(e.text.decode())


class Dump:
    """A dump as the program reads it."""

    def __init__(self, lib, path):
        self.lib = lib
        self.dump = ctypes.c_void_p()
        call(lib.llava_dump_open, ctypes.byref(self.dump), str(path).encode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lib.llava_dump_close(self.dump)

    def names(self):
        return [self.lib.llava_dump_at(self.dump, ctypes.c_size_t(i)).contents.name.decode()
                for i in range(self.lib.llava_dump_count(self.dump))]

    def read(self, name, stretches=()):
        """The tensor; where stretches (first, n) are given, they are read instead."""
        entry = self.lib.llava_dump_find(self.dump, name.encode())
        a = entry.contents.array
        shape = tuple(a.shape[:a.rank])
        integer = a.kind in b"iub"
        read = self.lib.llava_dump_read_integers if integer else self.lib.llava_dump_read
        out = np.full(a.count, 77, np.int64 if integer else np.float64)
        for first, n in stretches or [(0, a.count)]:
            call(read, self.dump, entry, ctypes.c_size_t(first), ctypes.c_size_t(n),
                 ctypes.c_void_p(out.ctypes.data + 8 * first))
        return a, out.reshape(shape)


def same(a, b):
    return a.shape == b.shape and np.array_equal(a.view(np.int64) if a.dtype == np.float64 else a,
                                                 b.view(np.int64) if b.dtype == np.float64 else b)


def random_array(rng, code, order):
    """Random bits of that type, NaN patterns aside (they may change in a conversion)."""
    shape = tuple(int(n) for n in rng.integers(0 if rng.random() < 0.1 else 1, 5,
                                               rng.integers(0, 9)))
    if rng.random() < 0.1:
        shape = (300, 400)
    size = int(code[1])
    n = int(np.prod(shape, dtype=int))
    x = rng.integers(0, 2 if code == "b1" else 256, n * size).astype(np.uint8).view(code)
    if code == "u8":
        x = x >> np.uint64(1)
    if code[0] == "f":
        x = np.where(np.isnan(x), np.array(1.5, code), x)
    x = x.reshape(shape)
    return x.astype(x.dtype.newbyteorder(order), order="F" if rng.random() < 0.3 else "C")


def expected(x):
    return x.astype(np.int64 if x.dtype.kind in "iub" else np.float64, order="C")


class Pipe(io.RawIOBase):
    """A stream that cannot seek: zipfile then writes data descriptors."""

    def __init__(self, file):
        self.file = file

    def writable(self):
        return True

    def write(self, data):
        return self.file.write(data)


def write_as_numpy(kind, path, x, rng):
    if kind == "npy":
        os.mkdir(path)
        with open(path / "x.npy", "wb") as f:
            np.lib.format.write_array(f, x, version=(int(rng.integers(1, 4)), 0))
    elif kind == "savez":
        np.savez(path, x=x)
    elif kind == "savez_compressed":
        np.savez_compressed(path, x=x)
    else:
        with open(path, "wb") as f, zipfile.ZipFile(Pipe(f), "w", zipfile.ZIP_DEFLATED
                                                    if kind == "pipe deflated" else
                                                    zipfile.ZIP_STORED) as z:
            with z.open("x.npy", "w", force_zip64=bool(rng.integers(2))) as m:
                np.lib.format.write_array(m, x, allow_pickle=False)


def check_reading(lib, folder, rng, cases):
    kinds = ["npy", "savez", "savez_compressed", "pipe stored", "pipe deflated"]
    for i in range(cases):
        code, order = TYPES[i % len(TYPES)], "<>"[int(rng.integers(2))]
        kind = kinds[int(rng.integers(len(kinds)))]
        x = random_array(rng, code, order)
        path = folder / (f"r{i}" if kind == "npy" else f"r{i}.npz")
        write_as_numpy(kind, path, x, rng)
        with Dump(lib, path) as dump:
            array, y = dump.read("x")
            cuts = sorted({0, x.size} | {int(c) for c in rng.integers(0, x.size + 1, 3)})
            stretches = list(zip(cuts, np.diff(cuts).tolist()))
            rng.shuffle(stretches)
            _, z = dump.read("x", stretches)
            if dump.names() != ["x"] or not same(expected(x), y) or not same(expected(x), z):
                return [f"{kind} {x.dtype.str} {x.shape}: read otherwise"]
            if bool(array.big_endian) != (x.dtype.byteorder == ">"):
                return [f"{kind} {x.dtype.str}: byte order"]
    return []


def make_taps(rng):
    taps = {}
    for name, (code, _) in TAP_TYPES.items():
        for rank in range(6):
            shape = tuple(int(n) for n in rng.integers(1, 6, rank))
            if rank == 3:
                shape = (7, 300, 41)
            x = rng.standard_normal(shape) * 10.0 ** rng.integers(-12, 12, shape)
            if name == "i64":
                x = rng.integers(-2**63, 2**63 - 1, shape)
            elif name == "u8":
                x = rng.integers(0, 256, shape).astype(np.uint8)
            elif rank > 0:
                flat = x.reshape(-1)
                flat[0], flat[-1] = np.nan, -np.inf
                flat[0] = -flat[0]
            taps[f"{name}.rank{rank}"] = (code, np.ascontiguousarray(x))
    taps["empty"] = (1, np.zeros((0, 3)))
    return taps


def as_written(code, x):
    """What the dump must hold, in NumPy's arithmetic."""
    with np.errstate(over="ignore"):
        if code == 3:  # float64 to bfloat16, to nearest even, in one step
            return to_bf16(x)
        y = np.asarray(x).astype({0: "<f8", 1: "<f4", 2: "<f2", 4: "<i8", 5: "|u1"}[code])
    if y.dtype.kind == "f":
        y = np.where(np.isnan(y), np.array(np.nan, y.dtype), y)
    return y


def to_bf16(x):
    """By candidates: the two bfloat16 numbers around x, the nearer one, on a tie the even one."""
    x = np.asarray(x)
    with np.errstate(over="ignore", invalid="ignore"):
        low = (x.astype("<f4").view("<u4") & 0xffff0000).astype("<u4")
        best = low.view("<f4").astype(np.float64)
        for step in (-1, 1):
            bits = ((low >> 16).astype(np.int64) + step).clip(0, 0xffff).astype("<u4") << 16
            other = bits.view("<f4").astype(np.float64)
            nearer = np.abs(other - x) < np.abs(best - x)
            tie = (np.abs(other - x) == np.abs(best - x)) & ((bits >> 16) % 2 == 0)
            best = np.where(nearer | tie, other, best)
        best = np.where(np.isinf(x), x, np.where(np.isnan(x), np.nan, best))
    return best.astype("<f4")


def put_all(lib, path, deflate, taps):
    writer = ctypes.c_void_p()
    call(lib.llava_dump_writer_open, ctypes.byref(writer), str(path).encode(),
         ctypes.c_bool(deflate), b'{"contract": 1}')
    for name, (code, x) in taps.items():
        call(lib.llava_dump_writer_put, writer, ctypes.byref(tap_of(name, code, x)))
    call(lib.llava_dump_writer_commit, writer)


def tap_of(name, code, x):
    return Tap(name.encode(), code, x.ndim, (ctypes.c_size_t * 5)(*x.shape), x.ctypes.data)


def check_archive(path, taps, deflate):
    with zipfile.ZipFile(path) as z:
        if z.testzip() is not None:
            return [f"{path}: zipfile finds {z.testzip()} damaged"]
        for info in z.infolist():
            if info.compress_type != (8 if deflate else 0):
                return [f"{path}: {info.filename}: method"]
            with z.open(info) as m:  # the local header's length as zipfile found it
                start = m._orig_compress_start
            if start % 64 != 0:
                return [f"{path}: {info.filename} starts at {start}"]
    with np.load(path, allow_pickle=False) as d:
        if list(d.files) != ["__meta__"] + list(taps):
            return [f"{path}: members or their order"]
        if d["__meta__"].tobytes() != b'{"contract": 1}' or d["__meta__"].dtype != np.uint8:
            return [f"{path}: __meta__"]
        return [f"{path}: {name}" for name, (code, x) in taps.items()
                if d[name].dtype.str != as_written(code, x).dtype.str or
                d[name].tobytes() != as_written(code, x).tobytes() or d[name].shape != x.shape]


def check_pipe(lib, folder, taps):
    """Through a FIFO, the archive has the same bytes as in a file."""
    fifo, got = folder / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    put_all(lib, fifo, False, taps)
    reader.join()
    return [] if got[0] == (folder / "plain.npz").read_bytes() else ["FIFO: other bytes"]


def check_folder(lib, folder, taps):
    bad = []
    put_all(lib, f"{folder}/folder/", False, taps)
    for name, (code, x) in taps.items():
        numpys = io.BytesIO()
        np.save(numpys, as_written(code, x))
        if (folder / "folder" / f"{name}.npy").read_bytes() != numpys.getvalue():
            bad.append(f"folder: {name}: not numpy.save's bytes")
    return bad


def check_hash(lib, folder, taps):
    h = ctypes.c_void_p()
    call(lib.llava_hash_open, ctypes.byref(h), str(folder / "hashes").encode())
    lines = []
    for name, (code, x) in taps.items():
        call(lib.llava_hash_put, h, ctypes.byref(tap_of(name, code, x)))
        y = as_written(code, x)
        shape = "[" + ",".join(str(n) for n in x.shape) + "]"
        digest = hashlib.sha256(np.ascontiguousarray(y).tobytes()).hexdigest()
        lines.append(f"{digest}  {name}  {y.dtype.str}  {shape}\n")
    call(lib.llava_hash_commit, h)
    return [] if (folder / "hashes").read_text() == "".join(lines) else ["hash lines"]


def check_writing(lib, folder, rng):
    taps = make_taps(rng)
    put_all(lib, folder / "plain.npz", False, taps)
    put_all(lib, folder / "packed.npz", True, taps)
    return (check_archive(folder / "plain.npz", taps, False) +
            check_archive(folder / "packed.npz", taps, True) + check_pipe(lib, folder, taps) +
            check_folder(lib, folder, taps) + check_hash(lib, folder, taps))


def check_headers(lib, rng):
    """llava_npy_write against numpy.lib.format, over shapes of every length of text."""
    for _ in range(3000):
        code = ["<f8", "|u1"][int(rng.integers(2))]
        shape = tuple(int(10.0 ** rng.uniform(0, 12)) for _ in range(int(rng.integers(0, 9))))
        numpys, out = io.BytesIO(), ctypes.create_string_buffer(512)
        np.lib.format.write_array_header_1_0(
            numpys, {"descr": code, "fortran_order": False, "shape": shape})
        array = Array(code[1].encode(), int(code[2]), False, False, len(shape),
                      (ctypes.c_size_t * 8)(*shape))
        n = lib.llava_npy_write(ctypes.byref(array), out)
        if out.raw[:n] != numpys.getvalue():
            return [f"header of {code} {shape}"]
    return []


def check_refused(lib, folder):
    bad = []
    others = [np.array([None]), np.array(["text"]), np.array([b"text"]), np.zeros(2, "c16"),
              np.zeros(2, [("a", "<f8")]), np.zeros(2, "M8[ns]"), np.zeros(2, "m8[s]"),
              np.zeros(2, "V2"), np.zeros((1,) * 9)]
    if np.dtype(np.longdouble).itemsize > 8:
        others.append(np.zeros(2, np.longdouble))
    for i, x in enumerate(others):
        path = folder / f"o{i}.npz"
        np.savez(path, x=x)
        try:
            with Dump(lib, path):
                bad.append(f"{x.dtype}: accepted")
        except Refused as e:
            print(f"  refused: {str(e).split('/')[-1]}")
    return bad


def check_safetensors(lib, folder, rng):
    try:
        from safetensors.numpy import save_file
    except ImportError:
        print("  safetensors is not installed: skipped")
        return []
    tensors = {code: np.ascontiguousarray(random_array(rng, code, "<"))
               for code in TYPES}
    save_file({k: v.astype(bool) if k == "b1" else v for k, v in tensors.items()},
              folder / "s.safetensors")
    with Dump(lib, folder / "s.safetensors") as dump:
        return [f"safetensors {code}" for code, x in tensors.items()
                if not same(expected(x), dump.read(code)[1])]


def check_large(lib, folder):
    """A member of 4.3 GB, between two small ones; NumPy reads it, the program reads NumPy's."""
    n = (1 << 29) + (1 << 23)
    x = np.arange(n, dtype=np.float64)
    ends = np.array([1.0, 2.0])
    taps = {"first": (0, ends), "large": (0, x), "last": (0, ends)}
    put_all(lib, folder / "large.npz", False, taps)
    bad = []
    with np.load(folder / "large.npz", allow_pickle=False) as d:
        bad += [] if np.array_equal(d["large"], x) and d["last"][1] == 2 else ["large: NumPy"]
    for source in ("ours", "numpy"):
        if source == "numpy":
            np.savez(folder / "large.npz", first=ends, large=x, last=ends)
        with Dump(lib, folder / "large.npz") as dump:
            entry = lib.llava_dump_find(dump.dump, b"large")
            y = np.zeros(1000)
            for first in (0, n // 2, n - 1000):
                call(lib.llava_dump_read, dump.dump, entry, ctypes.c_size_t(first),
                     ctypes.c_size_t(1000), ctypes.c_void_p(y.ctypes.data))
                bad += [] if np.array_equal(y, x[first:first + 1000]) else [f"large: {source}"]
            bad += [] if dump.read("last")[1][1] == 2 else [f"large: {source}: last"]
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    bad = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        lib = library()
        checks = [("headers", lambda: check_headers(lib, rng)),
                  ("reading", lambda: check_reading(lib, folder, rng, options.cases)),
                  ("writing", lambda: check_writing(lib, folder, rng)),
                  ("refused", lambda: check_refused(lib, folder)),
                  ("safetensors", lambda: check_safetensors(lib, folder, rng))]
        if options.large:
            checks.append(("large", lambda: check_large(lib, folder)))
        for what, check in checks:
            found = check()
            print(f"{what}: {'differs: ' + '; '.join(found) if found else 'agrees'}")
            bad += found
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
