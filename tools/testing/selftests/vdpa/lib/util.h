/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Small things. Here and in the other files of this library, a function returns
 * 0 or a negative errno unless said otherwise, and addresses and sizes are in
 * bytes.
 */
#ifndef SELFTEST_VDPA_UTIL_H
#define SELFTEST_VDPA_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BIT_ULL(_nr)	(1ULL << (_nr))
#define GIB		BIT_ULL(30)

int write_file(const char *path, const char *text);
/* The first line, without its end */
int read_file(const char *path, char *buf, size_t size);
/* The value that follows @key in a file of "key value" lines; -1 if none does */
long read_key(const char *path, const char *key);
/* The first path that matches */
int find_one(const char *pattern, char *path, size_t size);
/* Have a program, which is looked up in $PATH, done. -EIO: it failed */
int run_program(char *const argv[]);
/*
 * Until @pid waits in the kernel, in a function whose name begins with @function, or
 * anywhere if the kernel does not say where; and until it was woken, and waits again or
 * has ended. @sleeps is what sleeps_ever() was before. -ETIMEDOUT: neither
 */
int await_wait(pid_t pid, const char *function);
long sleeps_ever(pid_t pid);
int await_wakeup(pid_t pid, long sleeps);
/* A test that cannot see what it is about has failed, and ends here */
void give_up(const char *why);
uint64_t now_ms(void);

#endif
