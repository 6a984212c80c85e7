/* The first Ethernet interface of a machine, as a plan wants it. */
#ifndef SHIM_NETWORK_H
#define SHIM_NETWORK_H

#include "frame.h"

/* NETWORK is a plan's section.  Returns 0, or -1 with FAULT filled. */
int network_raise(const uint8_t *network, struct guest_fault *fault);

#endif
