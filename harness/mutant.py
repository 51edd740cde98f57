#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Put a bug that is described in a file into a folder of sources.

usage: mutant.py MUTANT SOURCE

A mutant has lines "Key: value", and then for each change

	File: drivers/vhost/vdpa.c
	Old:
	(lines as they are, which must be there once)
	New:
	(lines that take their place, or none)

The names of the files that were changed are printed.
"""

import sys


def changes(path):
    """The changes in a mutant, as (file, old text, new text)."""
    result, name, text = [], None, None
    for line in open(path, encoding='utf-8'):
        word = line.rstrip('\n')
        if word.startswith('File: '):
            name, text = word[6:], None
        elif word == 'Old:':
            if name is None:
                sys.exit(f'{path}: "Old:" comes before "File:"')
            result.append([name, '', None])
            text = 1
        elif word == 'New:' and text == 1:
            result[-1][2] = ''
            text = 2
        elif text:
            result[-1][text] += line
    if any(new is None or not old.strip() for _, old, new in result):
        sys.exit(f'{path}: a change has an "Old:" text and a "New:" text')
    return result


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    mutant, source = sys.argv[1:]
    for name, old, new in changes(mutant):
        with open(f'{source}/{name}', encoding='utf-8') as file:
            content = file.read()
        if content.count(old) != 1:
            sys.exit(f'{mutant}: the old text is {content.count(old)} times in {name}')
        with open(f'{source}/{name}', 'w', encoding='utf-8') as file:
            file.write(content.replace(old, new))
        print(name)


main()
