#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# need.sh WHO...: say at once what a command takes from Debian, and install it

. "$(dirname "$0")/lib.sh"

need "$@"
