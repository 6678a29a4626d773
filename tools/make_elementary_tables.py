#!/usr/bin/env python3
"""Writes the two generated files of ref/elementary.c:

    ref/elementary_tables.h      polynomials, constants, the erf table and the bits of 2/pi
    tests/elementary_vectors.h   points and their values to 1/256 ulp

Run from the top of the repository, with mpmath installed:  python3 tools/make_elementary_tables.py
Both files come out byte for byte the same every time.
"""
import math
import struct

from mpmath import mp, mpf

mp.prec = 700
MASK = 2**64 - 1


def bits(x):
    return struct.unpack("<Q", struct.pack("<d", x))[0]


def of_bits(b):
    return struct.unpack("<d", struct.pack("<Q", b))[0]


# ---- ref/elementary_tables.h -------------------------------------------------------------------


def double(x):
    """mpf -> the nearest double, as a hexadecimal literal of C."""
    return float(x).hex()


def pair(x):
    high = float(x)
    return f"{{{high.hex()}, {float(x - mpf(high)).hex()}}}"


def chop(x, quantum):
    """x cut to a multiple of 2**quantum: (that multiple, the rest)."""
    head = mp.floor(mp.ldexp(x, -quantum))
    head = mp.ldexp(head, quantum)
    return head, x - head


def fit(f, low, high, goal):
    """The shortest near-minimax polynomial (Chebyshev nodes) with |error| < 2**goal on [low, high].
    Coefficients from the constant upward, rounded to double, and log2 of the error they then have."""
    for n in range(2, 40):
        coefficients = mp.chebyfit(f, [low, high], n)[::-1]
        rounded = [mpf(float(c)) for c in coefficients]
        steps = [low + (high - low) * (i + mpf(1) / 3) / 400 for i in range(400)]
        error = max(abs(mp.polyval(coefficients[::-1], x) - f(x)) for x in steps)
        if error < mpf(2) ** goal:
            final = max(abs(mp.polyval(rounded[::-1], x) - f(x)) for x in steps)
            return rounded, float(mp.log(final, 2))
    raise SystemExit("no polynomial is good enough")


def polynomial(out, name, text, variable, f, low, high, goal):
    coefficients, error = fit(f, low, high, goal)
    out.append(f"/* {text}\n * on [{float(low):.6g}, {float(high):.6g}], error below "
               f"2^{math.ceil(error)}. */")
    out.append(f"static inline double {name}(double {variable})\n{{")
    out.append(f"    double y = {double(coefficients[-1])};")
    out += [f"    y = y * {variable} + {double(c)};" for c in coefficients[-2::-1]]
    out.append("    return y;\n}\n")


def smooth(f, limit):
    """f with its removable gap at 0 filled."""
    return lambda x: limit if x == 0 else f(x)


ERF_ROWS_PER_UNIT = 16
ERF_END = 6
ERF_TERMS = 11


def tables():
    out = ["/* Written by tools/make_elementary_tables.py; do not edit. */", "/* clang-format off */",
           "#ifndef LLAVA_ELEMENTARY_TABLES_H", "#define LLAVA_ELEMENTARY_TABLES_H", "",
           "#include <stdint.h>", ""]
    wide = 1 + mpf(2) ** -20  # the reduction may leave a little more than half a step
    half = mp.ln(2) / 2 * wide
    polynomial(out, "exp_tail", "(e^r - 1 - r - r^2/2) / r^3 = 1/6 + r/24 + ...", "r",
               smooth(lambda r: (mp.exp(r) - 1 - r - r * r / 2) / r**3, mpf(1) / 6),
               -half, half, -61)
    s_end = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1) * wide

    def log_tail(z):
        s = mp.sqrt(z)
        return (mp.atanh(s) / s - 1 - z / 3 - z * z / 5) / z**3

    polynomial(out, "log_tail", "(atanh(s)/s - 1 - z/3 - z^2/5) / z^3 = 1/7 + z/9 + ..., z = s^2",
               "z", smooth(log_tail, mpf(1) / 7), mpf(0), s_end**2, -60)
    z_end = (mp.pi / 4 * wide) ** 2

    def sin_tail(z):
        r = mp.sqrt(z)
        return (mp.sin(r) / r - 1 + z / 6) / z**2

    def cos_tail(z):
        return (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2

    polynomial(out, "sin_tail", "(sin(r)/r - 1 + z/6) / z^2 = 1/120 - z/5040 + ..., z = r^2", "z",
               smooth(sin_tail, mpf(1) / 120), mpf(0), z_end, -60)
    polynomial(out, "cos_tail", "(cos(r) - 1 + z/2) / z^2 = 1/24 - z/720 + ..., z = r^2", "z",
               smooth(cos_tail, mpf(1) / 24), mpf(0), z_end, -60)

    constants = [("log2_e", double(1 / mp.ln(2)), "1 / ln 2")]
    head, rest = chop(mp.ln(2), -42)
    constants.append(("ln2_head", double(head), "ln 2 cut to 42 bits: k times it is exact"))
    constants.append(("ln2_rest", double(rest), ""))
    constants.append(("two_over_pi", double(2 / mp.pi), ""))
    rest = mp.pi / 2
    for i, quantum in enumerate((-32, -65, -98)):
        head, rest = chop(rest, quantum)
        note = "pi/2 in pieces of 33 bits: k times each is exact" if i == 0 else ""
        constants.append((f"half_pi_{i}", double(head), note))
    constants.append(("half_pi_3", double(rest), ""))
    for name, value, note in constants:
        out.append(f"static const double {name} = {value};" + (f" /* {note} */" if note else ""))
    for name, value, note in (("half_pi", mp.pi / 2, "pi / 2"), ("third", mpf(1) / 3, "1 / 3"),
                              ("fifth", mpf(1) / 5, "1 / 5"),
                              ("minus_sixth", -mpf(1) / 6, "-1 / 6")):
        out.append(f"static const pair {name} = {pair(value)}; /* {note} */")

    words = 37
    with mp.workprec(32 * words + 64):
        scaled = int(mp.floor(mp.ldexp(2 / mp.pi, 32 * words)))
    digits = [0, 0] + [(scaled >> (32 * (words - 1 - i))) & 0xFFFFFFFF for i in range(words)]
    out.append("\n/* 64 zero bits, then the bits of 2/pi behind its binary point, 32 at a time. */")
    out.append(f"static const uint32_t two_over_pi_bits[{len(digits)}] = {{")
    for i in range(0, len(digits), 8):
        out.append("    " + " ".join(f"0x{d:08x}," for d in digits[i:i + 8]))
    out.append("};\n")

    rows = ERF_ROWS_PER_UNIT * ERF_END + 1
    out.append("/* Row i: erf and its slope 2/sqrt(pi) exp(-c^2) at c = i / "
               f"{ERF_ROWS_PER_UNIT}. */")
    out.append("typedef struct {\n    pair value, slope;\n} erf_row;")
    out.append(f"static const erf_row erf_rows[{rows}] = {{")
    for i in range(rows):
        c = mpf(i) / ERF_ROWS_PER_UNIT
        out.append(f"    {{{pair(mp.erf(c))}, {pair(2 / mp.sqrt(mp.pi) * mp.exp(-c * c))}}},")
    out.append("};\n")
    out.append("/* erf's series ends with this term; each is divided by its number, and by the next. */")
    out.append(f"enum {{ ERF_TERMS = {ERF_TERMS} }};")
    inverse = ", ".join(["0"] + [f"1.0 / {n}" for n in range(1, ERF_TERMS + 2)])
    out.append(f"static const double inverse[ERF_TERMS + 2] = {{{inverse}}};\n\n#endif")
    return "\n".join(out) + "\n"


# ---- tests/elementary_vectors.h ----------------------------------------------------------------


def mixed(n):
    """splitmix64's n-th number: the same few lines stand in tests/test_elementary.c."""
    z = (n * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Regime:
    """count points whose bit patterns lie between those of low and high (one sign): all of them
    where they are no more than count, else a random choice, so magnitudes spread evenly."""

    def __init__(self, count, low, high, exponents=(1.0, 1.0)):
        self.low, self.high = sorted((bits(float(low)), bits(float(high))))
        self.e_low, self.e_high = sorted((bits(float(exponents[0])), bits(float(exponents[1]))))
        self.count = min(count, self.high - self.low + 1) if exponents == (1.0, 1.0) else count

    def points(self, seed):
        for i in range(self.count):
            yield (of_bits(pick(self.low, self.high, self.count, i, seed)),
                   of_bits(pick(self.e_low, self.e_high, self.count, i, seed + 2**32)))


def pick(low, high, count, i, seed):
    span = high - low + 1
    return low + (i if span <= count else mixed(seed + i)) % span


def around(x, n=8):
    """The 2n+1 doubles around x."""
    x = float(x)
    return Regime(2 * n + 1, of_bits(bits(x) - n), of_bits(bits(x) + n))


def both(count, low, high):
    return [Regime(count, low, high), Regime(count, -low, -high)]


TINY, LEAST, LARGEST = 2.0**-1022, 2.0**-1074, of_bits(0x7FEFFFFFFFFFFFFF)


def near_multiples():
    """For each binary exponent, the double nearest to a multiple of pi/2: numerators of the
    continued fraction of (pi/2) / 2^e are the best there are below 2^53."""
    found = []
    for e in range(-52, 972):
        x, before, after = mp.pi / 2 / mpf(2) ** e, (0, 1), (1, 0)
        best = None
        for _ in range(900):
            whole = int(mp.floor(x))
            before, after = after, (whole * after[0] + before[0], whole * after[1] + before[1])
            if after[0] >= 2**53:
                break
            if after[0] >= 2**52:
                best = after
            x = 1 / (x - whole)
        if best is not None:
            numerator, k = best
            found.append((abs(mpf(numerator) * mpf(2) ** e - k * mp.pi / 2),
                          math.ldexp(numerator, e)))
    found.sort()
    return [x for _, x in found]


def angles():
    with mp.workprec(2400):
        hard = near_multiples()
    small = [x for x in hard if x < 2.0**20]
    regimes = [around(x, 0) for x in hard[:60] + small[:30]]
    for k in (1, 2, 3, 4, 5, 7, 100, 1001, 667543, 667544, 667545):
        regimes += [around(k * mp.pi / 2, 3), around(k * mp.pi / 4, 3)]
    for power in (20, 21, 22, 32, 52, 53, 54, 64, 1023):
        regimes.append(around(2.0**power, 2))
    return regimes + [
        Regime(20, LEAST, TINY), Regime(80, TINY, 2.0**-26), Regime(40, 2.0**-28, 2.0**-25),
        Regime(200, 2.0**-26, 0.1), Regime(250, 0.1, 1.6), *both(100, 0.5, 10),
        Regime(250, 10, 4096), Regime(250, 4096, 1048576), Regime(60, 1000000, 1048576),
        Regime(60, 1048576, 4194304), *both(100, 1048576, 2.0**60), Regime(150, 2.0**60, LARGEST)]


def vectors():
    ln2 = mp.ln(2)
    sqrt_half = mp.sqrt(mpf(1) / 2)
    exp_regimes = [*both(20, LEAST, TINY), *both(50, TINY, 2.0**-54), *both(150, 2.0**-54, 0.01),
                   *both(250, 0.01, 1), *both(250, 1, 700), Regime(60, 700, 709.78),
                   Regime(60, -700, -708.4), Regime(200, -708.39, -745.13), around(-708.3964, 8),
                   around(-745.1332, 8)]
    for k in (-1075, -1074, -1022, -1021, -100, -2, -1, 0, 1, 2, 10, 1022, 1023):
        if -744 < (k + 0.5) * float(ln2) < 709.7:
            exp_regimes.append(around((k + mpf(1) / 2) * ln2, 3))
    log_regimes = [Regime(80, LEAST, TINY), Regime(200, TINY, 0.5), Regime(250, 0.5, 0.999),
                   Regime(150, 0.999, 1), Regime(150, 1, 1.001), Regime(250, 1.001, 2),
                   Regime(250, 2, LARGEST), around(1, 40), around(sqrt_half, 10),
                   around(mp.sqrt(2), 10), around(mp.e, 3), around(TINY, 5)]
    for k in (-1022, -100, -1, 2, 100, 1023):
        log_regimes += [around(mpf(2) ** k * sqrt_half, 3), around(mpf(2) ** k, 3)]
    rotary = (-1.0, -2.0**-10)
    pow_regimes = [Regime(150, b, b, rotary) for b in (1e4, 5e5, 1e6, 1e7)]
    pow_regimes += [
        Regime(150, 0.5, 2, (1, 700)), Regime(100, 0.5, 2, (-1, -700)),
        Regime(150, 2.0**-20, 2.0**20, (0.01, 40)), Regime(150, 2.0**-20, 2.0**20, (-0.01, -40)),
        Regime(150, TINY, LARGEST, (0.01, 0.99)), Regime(100, TINY, LARGEST, (-0.01, -0.99)),
        Regime(80, LEAST, TINY, (0.01, 0.99)), Regime(100, 1.0000001, 1.00001, (2.0**20, 2.0**25)),
        Regime(60, 0.9999999, 0.99999, (2.0**20, 2.0**25)), Regime(80, 2, 3, (-646, -660)),
        Regime(80, 2, 3, (640, 646)), Regime(60, 2, 2.0001, (-1020, -1074)),
        Regime(60, 2, 2.0001, (1020, 1023.9)), Regime(60, 0.1, 10, (2.0**-300, 2.0**-40)),
        Regime(17, of_bits(bits(1.0) - 8), of_bits(bits(1.0) + 8), (2.0**52, 2.0**57))]
    tanh_regimes = [*both(20, LEAST, TINY), *both(50, TINY, 2.0**-28), *both(60, 2.0**-30, 2.0**-26),
                    *both(200, 2.0**-28, 0.1), *both(350, 0.1, 1), *both(200, 1, 5),
                    *both(80, 5, 22), around(19.06154746539849, 8), Regime(10, 22, LARGEST)]
    for k in range(-1, 12):
        if k >= 0:
            tanh_regimes.append(around((k + mpf(1) / 2) * ln2 / 2, 3))
    erf_regimes = [*both(40, LEAST, TINY), *both(20, TINY, 2.0**-900), *both(50, 2.0**-900, 2.0**-28),
                   *both(150, 2.0**-28, 0.03), *both(250, 0.03, 1), *both(250, 1, 3),
                   *both(80, 3, 6), around(2.0**-900, 3), Regime(10, 6, LARGEST)]
    for i in range(0, 96, 5):
        erf_regimes += [around((i + 0.5) / 16, 2), around((i + 1) / 16, 1)]
    functions = [("exp", lambda x, y: mp.exp(x), exp_regimes),
                 ("log", lambda x, y: mp.log(x), log_regimes),
                 ("pow", lambda x, y: mp.exp(y * mp.log(x)), pow_regimes),
                 ("sin", lambda x, y: mp.sin(x), angles()),
                 ("cos", lambda x, y: mp.cos(x), angles()),
                 ("tanh", lambda x, y: mp.tanh(x), tanh_regimes),
                 ("erf", lambda x, y: mp.erf(x), erf_regimes)]
    out = ["/* Written by tools/make_elementary_tables.py; do not edit.", " *",
           " * A regime is a range of bit patterns that tests/test_elementary.c walks as the script did;",
           " * exponents are for pow. A value is 12 digits of 6 bits, the highest first: 64 bits of the",
           " * double below the true value in magnitude, then 8 bits: how many 256ths of an ulp beyond it",
           " * the true value lies. */", "/* clang-format off */",
           "#ifndef LLAVA_ELEMENTARY_VECTORS_H", "#define LLAVA_ELEMENTARY_VECTORS_H", "",
           "#include <stdint.h>", "",
           "static const char vector_digits[] =",
           "    \"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/\";", "",
           "typedef struct {", "    unsigned count;", "    uint64_t low, high;",
           "    uint64_t exponent_low, exponent_high;", "} regime;", ""]
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for number, (name, f, regimes) in enumerate(functions):
        out.append(f"static const regime {name}_regimes[] = {{")
        one = bits(1.0)
        for r in regimes:
            tail = ", 0, 0"
            if (r.e_low, r.e_high) != (one, one):
                tail = f", 0x{r.e_low:x}, 0x{r.e_high:x}"
            out.append(f"    {{{r.count}, 0x{r.low:x}, 0x{r.high:x}{tail}}},")
        out.append("};")
        seed, values = (number + 1) << 40, []
        for r in regimes:
            for x, y in r.points(seed):
                values.append(encode(f(mpf(x), mpf(y)), digits))
            seed += r.count
        out.append(f"static const char *const {name}_values[] = {{")
        out += ["    \"" + "".join(values[i:i + 7]) + "\"," for i in range(0, len(values), 7)]
        out.append("};\n")
        print(f"{name}: {len(values)} points")
    out.append("#endif")
    return "\n".join(out) + "\n"


def encode(value, digits):
    """The true value as its place among the doubles, in 256ths of an ulp, in 12 digits."""
    size = abs(value)
    if size == 0:
        place = 0
    else:
        exponent = max(mp.frexp(size)[1] - 1, -1022)
        ulps = mp.ldexp(size, 52 - exponent)
        place = int(mp.floor(mp.ldexp(ulps, 8)))  # below 2^61 also for normal numbers
        place += (exponent + 1022) << 60
    assert place < bits(math.inf) << 8, "the value overflows"
    place += (1 << 71) if value < 0 else 0
    return "".join(digits[(place >> (6 * (11 - i))) & 63] for i in range(12))


def write(path, text):
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.write(text)
    print(f"{path}: {len(text)} bytes")


if __name__ == "__main__":
    write("ref/elementary_tables.h", tables())
    write("tests/elementary_vectors.h", vectors())
