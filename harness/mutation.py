#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Draw bugs at random from the lines that the series adds or changes.

usage: mutation.py TREE COUNT SEED FOLDER

Writes FOLDER/0001.mutant ... for harness/mutants-lib.sh. The same series, count
and seed give the same mutants, and a series that changes a little gives most of
them again: what comes first follows from the text. One line changes in each of
them; whether that compiles is for the caller to find out. "Key: ..." names a
mutant whatever its number and line are: its file, function, line and change.
"""

import collections
import hashlib
import os
import re
import subprocess
import sys

SOURCES = ['drivers/vdpa', 'drivers/vhost', 'drivers/virtio', 'include/linux/vdpa.h',
           'include/linux/vhost_iotlb.h']
MADE = 'refs/vdpa-persist/made'
UNDO = re.compile(r'\w*(unlock|up_read|up_write|put|free|destroy|unmap|unpin|del|'
                  r'unregister|release|undo|roll_back|clear)\w*\(')
# What is not drawn, as no test can tell it from the original, and why. That of
# cond_resched() is not here: it is a bug, which others who wait for the CPU see.
NO_DIFFERENCE = [
    # Text for people to read. Whether something is logged as an error although
    # all is well depends on conditions, which are drawn
    r'(pr|dev|netdev|mlx5_vdpa)_(emerg|alert|crit|err|warn|notice|info|dbg)(_once|_ratelimited)?\(',
    r'NL_SET_ERR_MSG(_MOD)?\(',
    # Statements that do nothing unless there is another bug
    r'(lockdep_assert_\w+|might_sleep|BUILD_BUG_ON)\(',
    r'WARN_ON(_ONCE)?\([^()]*\);',
    # Not code
    r'MODULE_\w+\(',
]
# Functions with arguments of which either may come first
SYMMETRIC = r'(swap|gcd|lcm|min|max|check_add_overflow|check_mul_overflow|ether_addr_equal)$'
# Those that never compile the other way round
ORDERED = r'(list_for_each|hlist_for_each|min_t|max_t|container_of|list_entry)'
BOUNDARIES = [(' < ', ' <= '), (' <= ', ' < '), (' > ', ' >= '), (' >= ', ' > '),
              (' - 1', ''), (' + 1', '')]


def git(tree, *args):
    return subprocess.run(['git', '-C', tree, *args], check=True, text=True,
                          capture_output=True).stdout


def lines_of_series(tree):
    """(file, number) of each line that base does not have."""
    name, number = None, 0
    for line in git(tree, 'diff', '-U0', 'base', MADE, '--', *SOURCES).splitlines():
        if line.startswith('+++ '):
            name = line[6:]
        elif line.startswith('@@'):
            number = int(re.search(r'\+(\d+)', line).group(1))
        elif line.startswith('+') and name:
            if name.endswith(('.c', '.h')):
                yield name, number
            number += 1


def operators(line):
    """Each (what, other line or None for nothing) that can be made of a line."""
    code = line.strip()
    if not code or code.startswith(('*', '/*', '//', '#')) or \
            any(re.match(pattern, code) for pattern in NO_DIFFERENCE):
        return
    statement = re.fullmatch(r'[\w>.*\[\]()&-]+(\(.*\)| [-+|&]?= .*|\+\+|--);', code)
    if statement and not re.match(r'(return|struct|static|int|u\d+|bool|void|goto)\b', code):
        if UNDO.match(code):
            yield 'a step that undoes something is left out', None
        else:
            yield 'a statement is left out', None
    if re.fullmatch(r'goto \w+;', code):
        yield 'an error is passed over', None
    condition = re.fullmatch(r'(\s*(?:\} else )?(?:if|while) )\((.*)\)( \{)?', line)
    if condition and condition.group(2).count('(') == condition.group(2).count(')'):
        yield ('a condition is negated', '%s(!(%s))%s' %
               (condition.group(1), condition.group(2), condition.group(3) or ''))
    for old, new in BOUNDARIES:
        if old in line:
            yield 'a boundary is off by one', line.replace(old, new, 1)
    call = re.search(r'\b(\w+)\((&?[\w>.-]+), (&?[\w>.-]+)', line)
    if call and call.group(2) != call.group(3) and \
            not re.match(SYMMETRIC + '|' + ORDERED, call.group(1)) and line.rstrip().endswith((';', ')', ') {')):
        begin, end = call.span(2)[0], call.span(3)[1]
        yield ('arguments are exchanged',
               line[:begin] + call.group(3) + ', ' + call.group(2) + line[end:])


def context(lines, number):
    """The smallest range of lines around one that is there only once."""
    for around in range(20):
        first, last = max(0, number - around), min(len(lines), number + around + 1)
        part = lines[first:last]
        hits = sum(lines[i:i + len(part)] == part for i in range(len(lines)))
        if hits == 1 and '\n'.join(lines).count('\n'.join(part)) == 1:
            return first, last
    return None


def function_at(lines, number):
    """The function, or what else begins in the first column, that has a line."""
    for line in reversed(lines[:number]):
        name = re.match(r'[a-z].*?(\w+)( = \{|\(| \{)', line)
        if name:
            return name.group(1)
    return '-'


def order(seed, key, count):
    """What a bug is sorted by: it does not depend on the other ones."""
    return hashlib.sha256(f'{seed}|{key}|{count}'.encode()).hexdigest()


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    tree, count, seed, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    sources, bugs, seen = {}, [], collections.Counter()
    for name, number in lines_of_series(tree):
        if name not in sources:
            sources[name] = git(tree, 'show', f'{MADE}:{name}').splitlines()
        lines = sources[name]
        for what, other in operators(lines[number - 1]):
            key = '|'.join((name, function_at(lines, number - 1), what,
                            lines[number - 1].strip()))
            seen[key] += 1
            bugs.append((order(seed, key + (other or ''), seen[key]), key, name,
                         number - 1, what, other))
    bugs.sort()
    for index, (_, key, name, number, what, other) in enumerate(bugs[:count], 1):
        lines = sources[name]
        place = context(lines, number)
        if not place:
            continue
        first, last = place
        new = lines[first:number] + [other or ';'] + lines[number + 1:last]
        with open(os.path.join(folder, f'{index:04}.mutant'), 'w', encoding='utf-8') as file:
            file.write(f'What: {name}:{number + 1}: {what}: {lines[number].strip()}\n'
                       f'Key: {key}\n'
                       f'File: {name}\nOld:\n' + '\n'.join(lines[first:last]) +
                       '\nNew:\n' + ''.join(line + '\n' for line in new))
    print(len(bugs))


main()
