// SPDX-License-Identifier: GPL-2.0
/*
 * The auxiliary bus of the tree, for a kernel whose configuration has none: it
 * is built in or missing, and what selects it is what the model stands in for.
 */
#include "auxiliary.c"

#include <linux/module.h>

static int __init mock_auxiliary_init(void)
{
	auxiliary_bus_init();
	return 0;
}
module_init(mock_auxiliary_init);

MODULE_DESCRIPTION("Auxiliary bus");
MODULE_LICENSE("GPL");
