#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The series for another kernel, if this base names one: it applies to that kernel, and is
# sent as it is kept. These are checks of make test with that BASE, which has more.

. "$(dirname "$0")/other-lib.sh"

other other "its series applies" series
