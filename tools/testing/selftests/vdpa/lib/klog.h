/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTEST_VDPA_KLOG_H
#define SELFTEST_VDPA_KLOG_H

#include <stddef.h>

/* Errors in the kernel log since the last call, the first into @line */
int log_errors(char *line, size_t size);
/* Lines of any level with @text there, since its last call */
int log_lines(const char *text);

#endif
