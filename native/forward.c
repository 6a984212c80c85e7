#include "forward.h"

#include "machine.h"
#include "say.h"
#include "sys.h"

enum { CLOSE_ON_EXEC = 02000000, NON_BLOCKING = 04000, SET_FLAGS = 4,
       AGAIN = -11, INTERRUPTED = -4 };

int forward_begin(struct forward *forward, struct guest *guest,
		  struct launch_machine *machine)
{
	long error;

	forward->guest = guest;
	forward->failed = 0;
	error = sys_open("/dev/null", CLOSE_ON_EXEC);
	if (error < 0)
		return machine_fault(&forward->fault, "open-streams", error,
				     "/dev/null for standard input");
	machine->streams[0] = (int)error;
	for (size_t i = 0; i < 2; i++) {
		int ends[2];

		error = sys2(SYS_pipe2, (long)ends, CLOSE_ON_EXEC);
		/* Only this end: the program's waits as others do. */
		if (error == 0)
			error = sys3(SYS_fcntl, ends[0], SET_FLAGS,
				     NON_BLOCKING);
		if (error < 0)
			return machine_fault(&forward->fault, "open-streams",
					     error, "pipes for output");
		forward->from[i] = machine->watched[i] = ends[0];
		machine->streams[1 + i] = ends[1];
	}
	return 0;
}

/* Returns how many bytes were passed on, 0 for none, or -1. */
static long pass_on(struct forward *forward, size_t which)
{
	long got;

	if (forward->failed)
		return -1;
	do
		got = sys_read(forward->from[which], forward->bytes,
			       sizeof(forward->bytes));
	while (got == INTERRUPTED);
	if (got == AGAIN || got == 0)
		return 0;
	if (got < 0)
		forward->failed = machine_fault(&forward->fault, "read-output",
						got, "the program's output");
	else if (guest_output(forward->guest, (uint8_t)(1 + which),
			      forward->bytes, (size_t)got,
			      &forward->fault) != 0)
		forward->failed = -1;
	return forward->failed ? -1 : got;
}

int forward_some(struct forward *forward, size_t which)
{
	return pass_on(forward, which) < 0 ? -1 : 0;
}

/* What a program's descendants go on writing ends here, too: no more than a pipe
 * holds. */
int forward_all(struct forward *forward)
{
	enum { MOST = 1 << 20 };

	for (size_t which = 0; which < 2; which++) {
		long total = 0;
		long got;

		while ((got = pass_on(forward, which)) > 0 && total < MOST)
			total += got;
		if (got < 0)
			return -1;
	}
	return 0;
}

void forward_violation(struct forward *forward,
		       const struct launch_violation *violation)
{
	char line[SAY_LINE_SIZE];
	size_t size = say_violation(line, violation);
	union { const char *text; const uint8_t *bytes; } event = { line };

	if (forward_all(forward) == 0 &&
	    guest_event(forward->guest, event.bytes, size,
			&forward->fault) != 0)
		forward->failed = -1;
}

_Static_assert(SAY_LINE_SIZE <= FRAME_MAX_EVENT, "an event in one frame");
