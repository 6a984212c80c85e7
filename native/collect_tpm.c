#include "collect.h"

int collect_tpm(const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
		uint8_t room[COLLECT_ROOM], struct guest_evidence *evidence,
		struct guest_fault *fault)
{
	(void)report_data;
	(void)room;
	(void)evidence;
	return guest_fault(fault, "collect-tpm", "nothing that asks a TPM",
			   "evidence of another kind");
}
