#!/usr/bin/env python3
"""Writes engine/base/lower_tables.inc: lower case as Python 3.11 (Unicode 14) has it, found by asking Python itself.

Usage: scripts/unicode_tables.py > engine/base/lower_tables.inc
"""
import sys
import unicodedata

SURROGATES = range(0xD800, 0xE000)
CODE_POINTS = [c for c in range(0x110000) if c not in SURROGATES]


def ranges(code_points):
    found = []
    for c in code_points:
        if found and found[-1][1] == c - 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    return found


def mappings():
    """[first, last, step, delta]: every step-th code point of the range plus delta is its lower case."""
    found = []
    for c in CODE_POINTS:
        lower = chr(c).lower()
        if len(lower) != 1 or ord(lower) == c:
            continue
        delta = ord(lower) - c
        last = found[-1] if found else None
        if last and last[3] == delta and c - last[1] in ((1, 2) if last[2] == 0 else (last[2],)):
            last[2] = c - last[1]
            last[1] = c
        else:
            found.append([c, c, 0, delta])
    return [[first, last, step or 1, delta] for first, last, step, delta in found]


def is_final(after):
    return ("a\u03a3" + after).lower()[1] == "\u03c2"


def main():
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(f"this Python has Unicode {unicodedata.unidata_version}, expected 14.0.0 (Python 3.11)")
    cased = [c for c in CODE_POINTS if not is_final(chr(c))]
    skipped = [c for c in CODE_POINTS if is_final(chr(c)) and not is_final(chr(c) + "a")]
    print("// Written by scripts/unicode_tables.py from Unicode 14; see www.unicode.org/copyright.html.")
    print("// SPDX-License-Identifier: Unicode-DFS-2016")
    print("// clang-format off")
    print("constexpr Mapping kMappings[] = {")
    for first, last, step, delta in mappings():
        print(f"    {{0x{first:04X}, 0x{last:04X}, {step}, {delta}}},")
    print("};")
    for name, code_points in (("kCased", cased), ("kCaseIgnorable", skipped)):
        print(f"constexpr Range {name}[] = {{")
        row = [f"{{0x{first:04X}, 0x{last:04X}}}," for first, last in ranges(code_points)]
        for i in range(0, len(row), 4):
            print("    " + " ".join(row[i:i + 4]))
        print("};")


if __name__ == "__main__":
    main()
