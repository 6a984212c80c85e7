/*
 * What the first process of a machine makes of it before the program, each part
 * by the plan.  Every function returns 0, or -1 with FAULT filled: then the
 * program must not run.
 */
#ifndef SHIM_MACHINE_H
#define SHIM_MACHINE_H

#include "frame.h"
#include "guest.h"
#include "plan.h"

/* machine.c: `where: found the words of an errno, want WANT`; returns -1. */
int machine_fault(struct guest_fault *fault, const char *where, long error,
		  const char *want);
/* Write TEXT to the file of the kernel at PATH.  Returns 0 or -errno. */
long machine_write(const char *path, const char *text);
/* Sleep for some MILLISECONDS. */
void machine_pause(unsigned milliseconds);

/* modules.c: load what the plan lists, in its order, and nothing ever after. */
int modules_load(const struct plan *plan, uint8_t *room, size_t room_size,
		 struct guest_fault *fault);
int modules_end(struct guest_fault *fault);

/* randomness.c: wait for the kernel's.  A machine whose host could watch all
 * that it is made of is an error where the evidence is real. */
int randomness_require(const struct plan *plan, struct guest_fault *fault);

/* virtio_port.c: open the port that the host calls NAME, and wait until somebody
 * is at its other end.  Returns the file in FD. */
int virtio_port_open(const char *name, unsigned seconds, int *fd,
		     struct guest_fault *fault);

/* connect.c: the plan's channel, however it is made. */
int connect_channel(const struct plan *plan, unsigned seconds, int *fd,
		    struct guest_fault *fault);
/* After the last word: until the other side has it, or SECONDS have passed. */
void connect_end(const struct plan *plan, int fd, unsigned seconds);

/* collect.c: evidence that is bound to REPORT_DATA, of the plan's kind. */
#define COLLECT_ROOM FRAME_MAX_EVIDENCE
#define COLLECT_TEE_PORT "shim.tee"
int collect_evidence(const struct plan *plan,
		     const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
		     uint8_t room[COLLECT_ROOM],
		     struct guest_evidence *evidence,
		     struct guest_fault *fault);
/* When the relying party has answered: nothing asks for evidence any more. */
void collect_end(void);

/* secret.c: into a sealed memfd, whose number is in FD then, or into a file that
 * only the program's user may read. */
int secret_deliver(const struct plan *plan, const uint8_t *secret, size_t size,
		   int *fd, struct guest_fault *fault);

#endif
