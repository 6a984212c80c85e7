/*
 * A guest that was built for it gets its evidence from who plays a TEE, over a
 * channel of its own.  Such evidence proves nothing.
 */
#ifndef SHIM_SIMULATED_TEE_H
#define SHIM_SIMULATED_TEE_H

#include "guest.h"

#define SIMULATED_TEE_ROOM 65536U

/* Returns 0 with EVIDENCE pointing into ROOM, or -1 with FAULT filled. */
int simulated_tee_collect(int fd, uint32_t seconds,
			  const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
			  uint8_t room[SIMULATED_TEE_ROOM],
			  struct guest_evidence *evidence,
			  struct guest_fault *fault);

#endif
