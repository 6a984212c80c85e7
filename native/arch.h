/* The one place that chooses the architecture. */
#ifndef SHIM_ARCH_H
#define SHIM_ARCH_H

#if defined(__x86_64__) && !defined(__ILP32__)
#include "arch_x86_64.h"
#else
#error "shim: no arch_*.h for this architecture"
#endif

#endif
