/* The quote of a TPM, and the log of what the firmware extended into it. */
#include "collect.h"
#include "event_log.h"
#include "sys.h"
#include "tpm2.h"

enum { READ_WRITE_CLOEXEC = 02000002 };

_Static_assert(TPM2_EVIDENCE_ROOM + EVENT_LOG_ROOM <= COLLECT_ROOM, "both");
_Static_assert(TPM2_SECRET_SIZE == RELEASE_PROOF_KEY_SIZE, "a proof's key");

static struct tpm2 tpm;
static int fd = -1;	/* of the TPM, while it has our keys */

static int activate(void *activator, const uint8_t *credential, size_t size,
		    uint8_t secret[RELEASE_PROOF_KEY_SIZE],
		    struct guest_fault *fault)
{
	return tpm2_activate(activator, credential, size, secret, fault);
}

static int collect_both(const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
			uint8_t *room, struct guest_evidence *evidence,
			struct guest_fault *fault)
{
	uint8_t *log = room + TPM2_EVIDENCE_ROOM;

	*evidence = (struct guest_evidence){
		.evidence = room, .event_log = log,
		.activate = activate, .activator = &tpm,
	};
	return tpm2_begin(&tpm, fd, fault) != 0 ||
	       tpm2_collect(&tpm, report_data, room, &evidence->evidence_size,
			    fault) != 0 ||
	       event_log_read(EVENT_LOG_OF_TPM, log, &evidence->event_log_size,
			      fault) != 0 ? -1 : 0;
}

int collect_tpm(const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
		uint8_t room[COLLECT_ROOM], struct guest_evidence *evidence,
		struct guest_fault *fault)
{
	long opened = sys_open(COLLECT_TPM, READ_WRITE_CLOEXEC);

	if (opened < 0)
		return machine_fault(fault, COLLECT_TPM, opened,
				     "a TPM 2.0 and its driver");
	fd = (int)opened;
	if (collect_both(report_data, room, evidence, fault) == 0)
		return 0;
	collect_end();
	return -1;
}

void collect_end(void)
{
	if (fd < 0)
		return;
	tpm2_end(&tpm);
	sys_close(fd);
	fd = -1;
}
