/* The log of what the firmware measured, as the kernel keeps it. */
#ifndef SHIM_EVENT_LOG_H
#define SHIM_EVENT_LOG_H

#include "frame.h"

/* Below securityfs, which has to be mounted: drivers/char/tpm/eventlog/common.c,
 * v6.12. */
#define EVENT_LOG_OF_TPM "/sys/kernel/security/tpm0/binary_bios_measurements"
#define EVENT_LOG_ROOM (256U << 10)

/* Returns 0 with the log in ROOM and its SIZE, or -1 with FAULT filled. */
int event_log_read(const char *path, uint8_t room[EVENT_LOG_ROOM],
		   size_t *size, struct guest_fault *fault);

#endif
