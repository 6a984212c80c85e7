/* Calls that the filter reports, as the kernel hands them over and is answered. */
#include <string.h>

#include "steps.h"

int receive_call(struct launch_state *launch, union notification *received)
{
	memset(received, 0, sizeof(*received));
	return (int)sys_ioctl(launch->listener,
			      UAPI_SECCOMP_IOCTL_NOTIF_RECV, received);
}

int answer_call(struct launch_state *launch, uint64_t id, int error,
		uint32_t flags)
{
	union {		/* a newer kernel may read more than we know */
		struct uapi_seccomp_notif_resp response;
		uint8_t room[512];
	} answer;

	memset(&answer, 0, sizeof(answer));
	answer.response.id = id;
	answer.response.error = error;
	answer.response.flags = flags;
	return (int)sys_ioctl(launch->listener,
			      UAPI_SECCOMP_IOCTL_NOTIF_SEND, &answer);
}
