#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Needs: kernels
# As for each base

exec "$(dirname "$0")/../../../harness/checks/85-unpatched.sh"
