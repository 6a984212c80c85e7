/*
 * The growing lists and the table of an exploration, for the files that fill
 * them.
 */
#ifndef SHIM_EXPLORE_LISTS_H
#define SHIM_EXPLORE_LISTS_H

#include "explore.h"

void explore_append(struct explore *explore, struct explore_list *list,
		    const uint64_t *numbers, size_t count);
uint64_t explore_find(const struct explore_table *table, uint64_t key);
const struct x86_region *explore_region(struct explore *explore,
					uint64_t address);

#endif
