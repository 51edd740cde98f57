#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# Both kernels boot, and a run in which something goes wrong is a failed run

. "$(dirname "$0")/check-lib.sh"

vm()
{
	"$top/harness/vm.sh" "$@"
}

# fails CODE PATTERN ARGUMENT...: vm.sh returns CODE and shows PATTERN
fails()
{
	local code=0 wanted=$1 pattern=$2 output

	shift 2
	output=$(vm "$@" 2>&1) || code=$?
	echo "$output"
	echo "status $code"
	[ $code = "$wanted" ] && grep -q "$pattern" <<<"$output"
}

# A device comes up, with our modules and with those of the base
modules()
{
	local unpatched

	for unpatched in '' --unpatched; do
		# shellcheck disable=SC2086
		vm --flavour "$1" --no-kmemleak $unpatched 'set -e
			modprobe vdpa_sim_net
			modprobe vhost_vdpa
			vdpa dev add name check mgmtdev vdpasim_net
			test -c /dev/vhost-vdpa-0'
	done
}

crash()
{
	echo "modprobe lkdtm; echo $1 >/sys/kernel/debug/provoke-crash/DIRECT; sleep 1"
}

# qemu_crashes TIMES COMMAND...: the first so many times that it is called
qemu_crashes()
{
	local times=$1 PATH=$PATH folder=$log/check/crash-$1 qemu

	shift
	qemu=$(command -v qemu-system-x86_64)
	rm -rf "$folder"
	mkdir -p "$folder"
	cat >"$folder/qemu-system-x86_64" <<-EOF
		#!/bin/bash
		echo >>$folder/calls
		[ \$(wc -l <$folder/calls) -gt $times ] || kill -SEGV \$\$
		exec $qemu "\$@"
	EOF
	chmod +x "$folder/qemu-system-x86_64"
	PATH=$folder:$PATH
	"$@"
	echo "called $(wc -l <"$folder/calls") times"
}

for flavour in fast debug; do
	once "boot: $flavour, a vDPA device with our modules and with the base's" modules $flavour
done
once "boot: the status of the command is that of the run" \
	fails 3 'status 3' -- 'exit 3'
once "boot: a warning of the kernel fails the run" \
	fails 99 'WARNING: .*lkdtm' -- "$(crash WARNING)"
once "boot: a bug of the kernel fails the run" \
	fails 99 'kernel BUG at' -- "$(crash BUG)"
once "boot: a guest that hangs fails the run" \
	fails 124 'did not end' --timeout 10 -- 'sleep 60'
once "boot: a guest that ends early fails the run" \
	fails 99 'without a status' -- 'echo b >/proc/sysrq-trigger; sleep 9'
once "boot: QEMU is started once more if it crashes at once" \
	qemu_crashes 1 fails 3 'status 3' -- 'exit 3'
once "boot: a QEMU that crashes again fails the run" \
	qemu_crashes 2 fails 99 'QEMU ended with status 139' -- true
once "boot: an access after free fails the run (debug)" \
	fails 99 'KASAN: .*use-after-free' --flavour debug -- "$(crash READ_AFTER_FREE)"
once "boot: leaked memory fails the run (debug)" \
	fails 99 'unreferenced object' --flavour debug -- 'modprobe kmemleak-test'
wait
