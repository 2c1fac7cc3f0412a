/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
#ifndef BMA_TEST_PLUGIN_H
#define BMA_TEST_PLUGIN_H

#define PLUGIN_THREAD 1u /* work in a thread, too */
#define PLUGIN_WAIT 2u /* for readers */
#define PLUGIN_LEAVE 4u /* do not destroy the allocator */

struct plugin_left {
	unsigned long allocators, dying, spans;
};

int plugin_run(unsigned int flags);
void plugin_left(struct plugin_left *left);

#endif /* BMA_TEST_PLUGIN_H */
