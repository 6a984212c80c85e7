/* One function per kind of evidence; each returns 0 with EVIDENCE pointing into
 * ROOM, or -1 with FAULT filled. */
#ifndef SHIM_COLLECT_H
#define SHIM_COLLECT_H

#include "machine.h"

#define COLLECT_TSM "/sys/kernel/config/tsm/report"

/* collect_tsm.c: FOLDER is that of configfs-tsm
 * (Documentation/ABI/testing/configfs-tsm-report, Linux 6.18). */
int collect_tsm(const char *folder,
		const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
		uint8_t room[COLLECT_ROOM], struct guest_evidence *evidence,
		struct guest_fault *fault);

#define COLLECT_TPM "/dev/tpmrm0"	/* its resource manager: Linux 4.12 */

/* collect_tpm.c: the quote of a TPM 2.0, and the firmware's event log.  Its keys
 * stay in the TPM, for a credential, until collect_end. */
int collect_tpm(const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
		uint8_t room[COLLECT_ROOM], struct guest_evidence *evidence,
		struct guest_fault *fault);

#endif
