/* What can this kernel do?  Each probe is one harmless question to it. */
#ifndef SHIM_PROBE_H
#define SHIM_PROBE_H

/*
 * Each returns a value or -errno.  ENOSYS or EINVAL: the kernel is too old or
 * built without; EPERM: somebody (a container's filter, Yama) forbids it.
 */
long probe_landlock_abi(void);		/* 1 and up */
long probe_mdwe(void);			/* bits of PR_GET_MDWE */
long probe_mseal(void);			/* 1 */
long probe_pidfd_getfd(void);		/* 1 */
long probe_user_notification(void);	/* 1 */
long probe_wait_killable(void);		/* 1: SECCOMP WAIT_KILLABLE_RECV */
long probe_trace_child(void);		/* 1: a child was traced */
long probe_listener(void);
long probe_sha_cpu(void);		/* 0 or 1 */

#endif
