/* Evidence of the kind that the plan names: never another, whatever is there. */
#include "collect.h"

#include "load.h"
#include "machine.h"
#include "simulated_tee.h"
#include "sys.h"

static int collect_simulated(const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
			     uint8_t *room, struct guest_evidence *evidence,
			     struct guest_fault *fault)
{
	enum { SECONDS = 60 };
	int fd;
	int error;

	if (virtio_port_open(COLLECT_TEE_PORT, SECONDS, &fd, fault) != 0)
		return -1;
	error = simulated_tee_collect(fd, SECONDS, report_data, room, evidence,
				      fault);
	sys_close(fd);
	return error;
}

int collect_evidence(const struct plan *plan,
		     const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
		     uint8_t room[COLLECT_ROOM],
		     struct guest_evidence *evidence,
		     struct guest_fault *fault)
{
	switch ((enum plan_evidence)load32_le(plan->channel + 4)) {
	case PLAN_TSM:
		return collect_tsm(COLLECT_TSM, report_data, room, evidence,
				   fault);
	case PLAN_TPM:
		return collect_tpm(report_data, room, evidence, fault);
	case PLAN_SIMULATED:
		return collect_simulated(report_data, room, evidence, fault);
	}
	return guest_fault(fault, "collect", "another kind", "a known one");
}
