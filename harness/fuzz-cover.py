#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""fuzz-cover.py TREE OBJ REACHED NOT_REACHED "SOURCE..."

What of the sources was reached: for each file and function, of how many places
where the kernel says that it has been there, basic blocks, it has said so. REACHED
has lines "MODULE SECTION OFFSET", NOT_REACHED becomes a list of the other lines.
"""
import collections
import glob
import os
import re
import subprocess
import sys


def module_of(obj, source):
    """The module that the object of a source is a part of"""
    folder, name = os.path.split(source[:-2])
    for mod in glob.glob(f"{obj}/{folder}/*.mod"):
        if f"{name}.o" in (os.path.basename(x) for x in open(mod).read().split()):
            return mod[:-4] + ".ko"
    sys.exit(f"FAILED: no module has {source}")


def all_places(module):
    """(section, offset) behind each call of the kernel's coverage"""
    text = subprocess.run(["readelf", "-rW", module], check=True, capture_output=True, text=True).stdout
    section, places = "", []
    for line in text.splitlines():
        found = re.match(r"Relocation section '\.rela(\S+)'", line)
        if found:
            section = found[1]
        elif "__sanitizer_cov_trace_pc" in line and section in (".text", ".text.unlikely"):
            places.append((section, int(line.split()[0], 16) + 4))
    return places


def lines_of(module, places):
    """[(file, line, function)] of each, what is inlined before what it is inlined into"""
    result = {}
    for section in {place[0] for place in places}:
        offsets = [place[1] for place in places if place[0] == section]
        # The call, not what comes after it
        text = subprocess.run(["addr2line", "-fi", "-a", "-j", section, "-e", module],
                              input="".join(f"{offset - 1:x}\n" for offset in offsets),
                              check=True, capture_output=True, text=True).stdout
        for offset, frames in zip(offsets, re.split(r"^0x[0-9a-f]+\n", text, flags=re.M)[1:]):
            frames = frames.splitlines()
            result[section, offset] = [
                (*re.match(r"(.*):(\S+)", where).groups(), function)
                for function, where in zip(frames[::2], frames[1::2])]
    return result


def main():
    tree, obj, reached_file, missed_file, sources = sys.argv[1:]
    reached = collections.defaultdict(set)
    for line in open(reached_file):
        module, section, offset = line.split()
        reached[module].add((section, int(offset, 16)))

    missed = open(missed_file, "w")
    places_of = {}
    for source in sources.split():
        module = module_of(obj, source)
        if module not in places_of:
            places = all_places(module)
            places_of[module] = lines_of(module, places)
        name = os.path.basename(module)[:-3].replace("-", "_")
        functions = collections.defaultdict(lambda: [0, 0])
        lines = collections.defaultdict(lambda: False)
        for place, frames in places_of[module].items():
            own = [frame for frame in frames if frame[0].endswith(source)]
            if not own:
                continue
            _, line, function = own[0]
            hit = place in reached[name]
            functions[function][0] += hit
            functions[function][1] += 1
            lines[int(line) if line.isdigit() else 0, function] |= hit
        hits = sum(f[0] for f in functions.values())
        total = sum(f[1] for f in functions.values())
        print(f"{source}: {hits} of {total} blocks reached, {100 * hits // max(total, 1)} %")
        for function, (hit, number) in sorted(functions.items()):
            if hit < number:
                print(f"  {function}: {hit} of {number}")
        for (line, function), hit in sorted(lines.items()):
            if not hit:
                missed.write(f"{source}:{line} {function}\n")
    print(f"the lines that were not: {missed_file}")


main()
