#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""profile.py SOCKET SYMBOLS: samples of the program counter of a guest, by function

SOCKET is QEMU's monitor (QMP). SYMBOLS becomes the guest's /proc/kallsyms while it
runs; sampling begins when it is complete, and ends when something else is printed
after it: QEMU can hang if it is asked for registers while it ends.
"""
import bisect
import collections
import json
import os
import re
import socket
import sys
import time

IDLE = {"default_idle", "native_safe_halt", "pv_native_safe_halt", "acpi_idle_do_entry"}


def connect(path):
    for _ in range(600):
        try:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            return sock.makefile("rw")
        except OSError:
            time.sleep(0.1)
    sys.exit("profile.py: no monitor at " + path)


def command(monitor, name, **arguments):
    monitor.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
    monitor.flush()
    while True:
        answer = json.loads(monitor.readline())
        if "return" in answer:
            return answer["return"]


def program_counter(monitor):
    text = command(monitor, "human-monitor-command",
                   **{"command-line": "info registers"})
    return int(re.search(r"RIP=([0-9a-f]+)", text)[1], 16)


def read_symbols(path):
    symbols = []
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            field = line.split()
            if len(field) >= 3 and field[1] in "tTwW":
                symbols.append((int(field[0], 16), " ".join(field[2:])))
    return sorted(symbols)


def wait_for_symbols(path):
    size = -1
    while True:
        time.sleep(0.2)
        with open(path, "rb") as file:
            content = file.read()
        if len(content) == size and b"[vhost_vdpa]" in content:
            return read_symbols(path)
        size = len(content)


def main():
    monitor = connect(sys.argv[1])
    monitor.readline()
    command(monitor, "qmp_capabilities")
    symbols = wait_for_symbols(sys.argv[2])
    starts = [start for start, _ in symbols]
    count = collections.Counter()
    size = os.stat(sys.argv[2]).st_size
    while os.stat(sys.argv[2]).st_size == size:
        where = program_counter(monitor)
        index = bisect.bisect(starts, where) - 1
        if index >= 0 and where >> 63:
            count[symbols[index][1]] += 1
        time.sleep(0.002)
    for name in IDLE:
        count.pop(name, None)
    total = sum(count.values())
    print(f"  {total} samples")
    for name, number in count.most_common(16):
        print(f"  {100 * number / total:5.1f} %  {name}")


main()
