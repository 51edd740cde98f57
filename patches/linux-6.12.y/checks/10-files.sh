#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# As for each base

exec "$(dirname "$0")/../../../harness/checks/10-files.sh"
