#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# uml.sh RUN FOLDER LINUX WORD...: start user-mode Linux for vm.sh, in namespaces for
# it alone. Its guest sees the host's files. It mounts them read only; that it can write to
# none of them but those in RUN, FOLDER and /dev/shm does not depend on it.

set -eu
run=$1 folder=$2
shift 2

# Each mount by itself: to be read only is no property of what is mounted there
while read -r target; do
	[ "$target" != /dev/shm ] || continue
	mount -o remount,bind,ro "$target"
done < <(findmnt -rno TARGET)
for writable in "$run" ${folder:+"$folder"}; do
	mount --bind "$writable" "$writable"
	mount -o remount,bind,rw "$writable"
done
exec 3>"$run/status" 4>&1 >>"$run/console" 2>&1
ulimit -c 0
# Its memory is a file, which must not be on a disk
export TMPDIR=/dev/shm
# Its processes give up the C library's memory, in which the host's kernel then could not
# write where they run
export GLIBC_TUNABLES=glibc.pthread.rseq=0
# Not in the place of this process: the first one of a namespace cannot abort, and with
# it ends all that is left
code=0
"$@" || code=$?
exit $code
