/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Whatever becomes of a program that tests, also if the user ends it: processes,
 * devices and settings of the kernel are afterwards what they were before.
 */
#ifndef SELFTEST_VDPA_SUPERVISE_H
#define SELFTEST_VDPA_SUPERVISE_H

/* Run this in a process of its own. Returns its exit status */
int vdpa_supervise(int (*run)(int argc, char **argv), int argc, char **argv);
/* For a test or a process of it: end when the one that it belongs to does */
void end_with_parent(void);

#endif
