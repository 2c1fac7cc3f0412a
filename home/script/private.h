/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * private.h - what this home's files offer each other
 */
#ifndef BMA_SCRIPT_PRIVATE_H
#define BMA_SCRIPT_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>

/* script.c: who breaks a rule ends the program */
void script_need(bool good, const char *func, const char *rule);
#define NEED(good) script_need(good, __func__, #good)
void script_mark(void);

/* debug.c: a new arena; one of which @used bytes were used begins anew */
void script_debug_map(const char *base, size_t bytes);
void script_debug_reset(size_t used);
bool script_is_ours(const void *mem, size_t size);

/* later.c */
#define SCRIPT_MAX_AREAS (1u << 16)
void script_later_reset(void);

#endif /* BMA_SCRIPT_PRIVATE_H */
