/* Report data goes out, evidence comes back: its size, itself, endorsements. */
#include "simulated_tee.h"

#include <string.h>

#include "channel.h"
#include "load.h"

int simulated_tee_collect(int fd, uint32_t seconds,
			  const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
			  uint8_t room[SIMULATED_TEE_ROOM],
			  struct guest_evidence *evidence,
			  struct guest_fault *fault)
{
	uint64_t deadline = channel_now() + seconds * UINT64_C(1000000000);
	uint8_t header[FRAME_HEADER_SIZE];
	uint8_t body[FRAME_REPORT_DATA_SIZE];
	struct iovec parts[2] = {
		{ header, sizeof(header) }, { body, sizeof(body) },
	};
	struct frame frame = { FRAME_REPORT_DATA, FRAME_REPORT_DATA_SIZE };
	uint32_t size;

	frame_write_header(header, &frame);
	memcpy(body, report_data, sizeof(body));
	if (channel_prepare(fd, fault) != 0 ||
	    channel_write(fd, parts, 2, deadline, fault) != 0 ||
	    channel_receive(fd, FRAME_BIT(FRAME_SIMULATED), &frame, room,
			    SIMULATED_TEE_ROOM, deadline, fault) != 0)
		return -1;
	size = load32_be(room);
	if (size == 0 || size > frame.size - 4)
		return guest_fault_number(fault, "simulated.size", size,
					  "1 to all that follows");
	*evidence = (struct guest_evidence){
		.evidence = room + 4,
		.evidence_size = size,
		.endorsements = room + 4 + size,
		.endorsements_size = frame.size - 4 - size,
	};
	return 0;
}
