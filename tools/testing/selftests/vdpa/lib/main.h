/* SPDX-License-Identifier: GPL-2.0 */
/* What main() of a test program does, after kselftest_harness.h */
#ifndef SELFTEST_VDPA_MAIN_H
#define SELFTEST_VDPA_MAIN_H

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dev.h"
#include "supervise.h"

/* "fixture.variant.test" */
static bool vdpa_is_selected(const struct __fixture_metadata *f,
			     const struct __fixture_variant_metadata *v,
			     const struct __test_metadata *t)
{
	char name[256];

	snprintf(name, sizeof(name), "%s%s%s.%s", f->name, v ? "." : "",
		 v ? v->name : "", t->name);
	if (vdpa_given.pattern && fnmatch(vdpa_given.pattern, name, FNM_EXTMATCH))
		return false;
	if (vdpa_given.list)
		puts(name);

	return true;
}

/*
 * As the harness has them: the one that has XFAIL_ADD shares them with the test,
 * which tells there what became of it. In the one before, the test would change
 * the process ID that the parent waits for.
 */
#ifdef XFAIL_ADD
#define TESTS_ARE	MAP_SHARED
#else
#define TESTS_ARE	MAP_PRIVATE
#endif

static struct __test_metadata *vdpa_copy_test(const struct __test_metadata *t)
{
	void *copy = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
			  TESTS_ARE | MAP_ANONYMOUS, -1, 0);

	if (copy == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}

	return memcpy(copy, t, sizeof(*t));
}

/* The fixture with one variant, and of its tests those that are selected */
static struct __fixture_metadata *
vdpa_select_tests(const struct __fixture_metadata *f,
		  const struct __fixture_variant_metadata *v)
{
	struct __fixture_metadata *one = calloc(1, sizeof(*one));
	struct __test_metadata *t, **end = &one->tests;

	one->name = f->name;
	if (v) {
		one->variant = malloc(sizeof(*v));
		*one->variant = *v;
		one->variant->next = NULL;
	}
	for (t = f->tests; t; t = t->next) {
		if (!vdpa_is_selected(f, v, t))
			continue;
		*end = vdpa_copy_test(t);
		(*end)->next = NULL;
		if (vdpa_given.seconds && vdpa_given.seconds < t->timeout)
			(*end)->timeout = vdpa_given.seconds;
		end = &(*end)->next;
	}

	return one;
}

/* Leave on the harness' list what is selected. False: nothing is */
static bool vdpa_select(void)
{
	const struct __fixture_variant_metadata *v;
	struct __fixture_metadata *f = __fixture_list;
	struct __fixture_metadata **end = &__fixture_list;

	*end = NULL;
	for (; f; f = f->next) {
		v = f->variant;
		do {
			*end = vdpa_select_tests(f, v);
			if ((*end)->tests)
				end = &(*end)->next;
			else
				*end = NULL;
			v = v ? v->next : NULL;
		} while (v);
	}

	return __fixture_list;
}

/* Of a bad page, an oops, a warning or a lockup, which no test may see itself */
static bool kernel_complained(void)
{
	const unsigned long splats = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14;
	char text[32];

	return !read_file("/proc/sys/kernel/tainted", text, sizeof(text)) &&
	       strtoul(text, NULL, 0) & splats;
}

static int vdpa_test_main(int argc, char **argv)
{
	bool before = kernel_complained();
	unsigned int i;
	int r;

	argc = vdpa_parse_args(argc, argv);
	if (!vdpa_select()) {
		fprintf(stderr, "%s: no such test\n", argv[0]);
		return 1;
	}

	if (vdpa_given.list)
		return 0;
	/* Or all tests would be skipped, which is no failure */
	r = vdpa_given.name[0] ? vdpa_check_given() : 0;
	if (r) {
		fprintf(stderr, "%s: %s cannot be opened: %s\n", argv[0],
			vdpa_given.name, strerror(-r));
		return 1;
	}

	for (i = 0; !r && i < vdpa_given.times; i++)
		r = vdpa_supervise(test_harness_run, argc, argv);
	if (before || !kernel_complained())
		return r;
	fprintf(stderr, "%s: the kernel complained: see its log\n", argv[0]);

	return 1;
}

#endif
