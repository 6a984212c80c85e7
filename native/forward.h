/* What the program says, through the channel. */
#ifndef SHIM_FORWARD_H
#define SHIM_FORWARD_H

#include "guest.h"
#include "launch.h"

struct forward {
	struct guest *guest;
	struct guest_fault fault;	/* of the channel, once it has failed */
	int failed;
	int from[2];	/* what the program writes to its streams 1 and 2 */
	uint8_t bytes[FRAME_MAX_OUTPUT];
};

/* Make two pipes; MACHINE gets the program's ends of them and these.  Returns 0 or
 * -1 with the fault filled. */
int forward_begin(struct forward *forward, struct guest *guest,
		  struct launch_machine *machine);

/* Pass on what is there.  Returns 0, or -1: then the channel has failed. */
int forward_some(struct forward *forward, size_t which);
int forward_all(struct forward *forward);

/* What was written before comes first. */
void forward_violation(struct forward *forward,
		       const struct launch_violation *violation);

#endif
