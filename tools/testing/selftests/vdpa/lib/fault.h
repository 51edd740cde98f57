/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Have the @nth allocation of memory of this thread from here on fail. Returned
 * by fault_disarm(): was there one? -ENOENT: no fault injection in this kernel.
 */
#ifndef SELFTEST_VDPA_FAULT_H
#define SELFTEST_VDPA_FAULT_H

#include <stdbool.h>

int fault_init(void);
void fault_arm(unsigned int nth);
bool fault_disarm(void);

#endif
