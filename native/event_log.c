/* A file of the kernel's in room that has an end. */
#include "event_log.h"

#include "file.h"

static int failed(struct guest_fault *fault, long error)
{
	struct text text = { fault->found, sizeof(fault->found), 0 };

	fault->where = "event log";
	fault->want = "one of the kernel's, below securityfs";
	text_add(&text, "errno ");
	text_add_decimal(&text, (uint64_t)-error);
	return -1;
}

int event_log_read(const char *path, uint8_t room[EVENT_LOG_ROOM],
		   size_t *size, struct guest_fault *fault)
{
	/* One event at least comes with each read: fs/seq_file.c, v6.1. */
	long got = file_read(path, room, EVENT_LOG_ROOM);

	*size = got < 0 ? 0 : (size_t)got;
	if (got < 0)
		return failed(fault, got);
	if (*size == EVENT_LOG_ROOM)
		return guest_fault_number(fault, "event log", *size,
					  "less than 256 KiB");
	if (*size == 0)
		return guest_fault(fault, "event log", "nothing", "some");
	return 0;
}
