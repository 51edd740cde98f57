# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# Shared by the scripts of the harness; each of them sources it first.
#
# BASE       which of patches/* to work on
# BASE_TREE  a kernel git tree to use instead of the source that Debian ships;
#            what is made from it is kept apart, in build/<base>-own

set -euo pipefail
umask 022
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

# What a person has git do does not change what the scripts do
export GIT_CONFIG_COUNT=4 \
	GIT_CONFIG_KEY_0=commit.gpgSign GIT_CONFIG_VALUE_0=false \
	GIT_CONFIG_KEY_1=tag.gpgSign GIT_CONFIG_VALUE_1=false \
	GIT_CONFIG_KEY_2=diff.noprefix GIT_CONFIG_VALUE_2=false \
	GIT_CONFIG_KEY_3=log.showSignature GIT_CONFIG_VALUE_3=false

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case $top in
*[[:space:]:,]*)
	echo "FAILED: make and QEMU take no spaces, colons or commas in a path: $top" >&2
	exit 1
	;;
esac
base=${BASE:-linux-6.1.y}
patches=$top/patches/$base
name=$base${BASE_TREE:+-own}
build=$top/build/$name
out=$top/out/$name
tree=$build/tree
log=$build/log
# How many things run at once: each may be a machine, which takes up to 3 GiB. JOBS is
# set for what has one of several places to run in.
: "${ROOM:=$(awk '/^MemAvailable:/ { n = int($2 / (3 * 1024 * 1024)); print n ? n : 1 }' /proc/meminfo)}"
export ROOM
jobs=$(nproc)
jobs=${JOBS:-$((jobs < ROOM ? jobs : ROOM))}
: "${STARTED:=$(date +%s)}"
export STARTED

step()
{
	printf '[%4ds] %s\n' $(($(date +%s) - STARTED)) "$*" >&2
}

die()
{
	printf 'FAILED: %s\n' "$*" >&2
	exit 1
}

# logged NAME COMMAND...: run quietly, output in a log file; one line on failure
logged()
{
	local file=$log/$1.log

	shift
	mkdir -p "$log"
	"$@" >"$file" 2>&1 </dev/null || die "${*:1:4} (see $file)"
}

as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo -n "$@"
	fi
}

# need WHO...: install the packages that harness/packages lists for them, if what
# to look for is not there
need()
{
	local who probe package missing=''

	for who; do
		while read -r _ probe package; do
			case $probe in
			/*) [ -e "$probe" ] ;;
			*) command -v "$probe" >/dev/null ;;
			esac || missing+=" $package"
		done < <(list "$top/harness/packages" | grep "^${who}[[:space:]]")
	done
	[ "$missing" ] || return 0
	missing=$(tr ' ' '\n' <<<"$missing" | sort -u | xargs)
	if [ "${INSTALL:-}" = no ] || ! command -v apt-get >/dev/null ||
	   { [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; }; then
		die "please install what Debian calls: $missing"
	fi
	step "installing $missing (with INSTALL=no, nothing is installed)"
	logged apt-update as_root apt-get -q update
	# shellcheck disable=SC2086
	logged apt-install as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -qy install --no-install-recommends $missing
}

# One value of patches/<base>/base
base_key()
{
	sed -n "s/^$1=//p" "$patches/base"
}

# list FILE: its lines, without comments and what is blank
list()
{
	[ ! -e "$1" ] || sed 's/#.*//; s/[[:space:]]*$//; /^$/d' "$1"
}

# each COMMAND ARGUMENT...: the command with each of the arguments, as many at a
# time as there are processors; how they end is the command's own affair
each()
{
	local command=$1 argument

	shift
	# shellcheck disable=SC2064,SC2046
	trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
	for argument; do
		"$command" "$argument" &
		[ "$(jobs -rp | wc -l)" -lt "$jobs" ] || wait -n || true
	done
	wait
}

# with_ccache COMMAND...: what was compiled from the same text in another clone is not
# compiled again. It writes other names of files into what depends on them, so it is not for
# modules whose headers are looked at, nor for a folder that copy_modules() copies.
with_ccache()
{
	PATH=/usr/lib/ccache:$PATH CCACHE_BASEDIR=$top "$@"
}

# held FOLDER: does this run have the lock of it, or what has started this run?
held()
{
	case " ${LOCKED:-} " in
	*" $1 "*) return 0 ;;
	esac
	return 1
}

# lock_folder FOLDER: two runs that write there do not meet; what this one starts may
lock_folder()
{
	local fd

	! held "$1" || return 0
	mkdir -p "$1"
	exec {fd}>"$1/lock"
	if ! flock -n "$fd"; then
		step "waiting for another run in ${1#"$top"/}"
		flock "$fd"
	fi
	export LOCKED="${LOCKED:-} $1"
}

# lock_build: the same for build/. A run of a kernel's may start one of QEMU's, and not the
# other way round: they would wait for each other.
lock_build()
{
	lock_folder "$build"
}

# Where the kernel of a flavour is built
obj_dir()
{
	case $1 in
	fast) echo "$build/obj" ;;
	debug | mutation | fuzz | uml) echo "$build/obj-$1" ;;
	*) die "no such flavour: $1 (fast, debug, mutation, fuzz or uml)" ;;
	esac
}

# What of it is run
image_of()
{
	case $1 in
	uml) echo "$(obj_dir uml)/linux" ;;
	*) echo "$(obj_dir "$1")/arch/x86/boot/bzImage" ;;
	esac
}

[ -f "$patches/base" ] || die "there is no base called $base (see patches/)"
