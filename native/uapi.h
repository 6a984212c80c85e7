/*
 * Kernel constants that musl's headers lack, each with its file and version,
 * and the structures shared with the kernel.  Nothing here is ours.
 */
#ifndef SHIM_UAPI_H
#define SHIM_UAPI_H

#include <stddef.h>
#include <stdint.h>

/* linux/sched.h, v6.18 */
#define UAPI_CLONE_VM 0x00000100U
#define UAPI_CLONE_PIDFD 0x00001000U
#define UAPI_CLONE_NEWNS 0x00020000U
#define UAPI_CLONE_NEWUSER 0x10000000U
#define UAPI_CLONE_NEWPID 0x20000000U
#define UAPI_CLONE_NEWNET 0x40000000U
/* mount, cgroup, uts, ipc, user, pid, net */
#define UAPI_CLONE_NAMESPACES 0x7e020000U
struct uapi_clone_args {	/* struct clone_args, VER0 */
	uint64_t flags;
	uint64_t pidfd;
	uint64_t child_tid;
	uint64_t parent_tid;
	uint64_t exit_signal;
	uint64_t stack;
	uint64_t stack_size;
	uint64_t tls;
	uint64_t set_tid;
	uint64_t set_tid_size;
	uint64_t cgroup;	/* VER2, v5.7 */
};
_Static_assert(sizeof(struct uapi_clone_args) == 88, "clone_args");
#define UAPI_CLONE_INTO_CGROUP UINT64_C(0x200000000)
#define UAPI_CGROUP2_SUPER_MAGIC 0x63677270	/* linux/magic.h */

/* linux/ptrace.h, v6.18 */
#define UAPI_PTRACE_CONT 7
#define UAPI_PTRACE_SINGLESTEP 9
#define UAPI_PTRACE_DETACH 17
#define UAPI_PTRACE_SYSCALL 24
#define UAPI_PTRACE_GETREGSET 0x4204
#define UAPI_PTRACE_SETREGSET 0x4205
#define UAPI_PTRACE_SEIZE 0x4206
#define UAPI_PTRACE_INTERRUPT 0x4207
#define UAPI_PTRACE_LISTEN 0x4208
#define UAPI_PTRACE_GETSIGMASK 0x420a
#define UAPI_PTRACE_SETSIGMASK 0x420b
#define UAPI_PTRACE_GETEVENTMSG 0x4201
#define UAPI_PTRACE_GET_SYSCALL_INFO 0x420e
#define UAPI_PTRACE_POKEUSER 6
#define UAPI_PTRACE_SETOPTIONS 0x4200
#define UAPI_PTRACE_O_TRACESYSGOOD 0x00000001
#define UAPI_PTRACE_O_TRACECLONE 0x00000008
#define UAPI_PTRACE_O_TRACEEXEC 0x00000010
#define UAPI_PTRACE_O_TRACESECCOMP 0x00000080
#define UAPI_PTRACE_O_EXITKILL 0x00100000
#define UAPI_PTRACE_EVENT_CLONE 3
#define UAPI_PTRACE_EVENT_EXEC 4
#define UAPI_PTRACE_EVENT_SECCOMP 7
#define UAPI_PTRACE_EVENT_STOP 128
#define UAPI_NT_PRSTATUS 1	/* linux/elf.h */
#define UAPI_PTRACE_SYSCALL_INFO_SECCOMP 3
struct uapi_syscall_info {	/* struct ptrace_syscall_info, of seccomp */
	uint8_t op;
	uint8_t pad[3];
	uint32_t arch;
	uint64_t instruction_pointer;
	uint64_t stack_pointer;
	uint64_t nr;
	uint64_t args[6];
	uint32_t ret_data;
};

/* linux/seccomp.h, v6.18 */
#define UAPI_SECCOMP_SET_MODE_FILTER 1
#define UAPI_SECCOMP_GET_ACTION_AVAIL 2
#define UAPI_SECCOMP_FILTER_TSYNC (1U << 0)
#define UAPI_SECCOMP_FILTER_NEW_LISTENER (1U << 3)
#define UAPI_SECCOMP_FILTER_TSYNC_ESRCH (1U << 4)
#define UAPI_SECCOMP_FILTER_WAIT_KILLABLE_RECV (1U << 5)
#define UAPI_SECCOMP_RET_KILL_PROCESS 0x80000000U
#define UAPI_SECCOMP_RET_KILL_THREAD 0x00000000U
#define UAPI_SECCOMP_RET_TRAP 0x00030000U
#define UAPI_SECCOMP_RET_ERRNO 0x00050000U
#define UAPI_SECCOMP_RET_USER_NOTIF 0x7fc00000U
#define UAPI_SECCOMP_RET_TRACE 0x7ff00000U
#define UAPI_SECCOMP_RET_LOG 0x7ffc0000U
#define UAPI_SECCOMP_RET_ALLOW 0x7fff0000U
#define UAPI_SECCOMP_RET_ACTION_FULL 0xffff0000U
#define UAPI_SECCOMP_USER_NOTIF_FLAG_CONTINUE 1U
#define UAPI_SECCOMP_IOCTL_NOTIF_RECV 0xc0502100UL
#define UAPI_SECCOMP_IOCTL_NOTIF_SEND 0xc0182101UL
#define UAPI_SECCOMP_IOCTL_NOTIF_ID_VALID 0x40082102UL
struct uapi_seccomp_data {
	int32_t nr;
	uint32_t arch;
	uint64_t instruction_pointer;
	uint64_t args[6];
};
struct uapi_seccomp_notif {
	uint64_t id;
	uint32_t pid;
	uint32_t flags;
	struct uapi_seccomp_data data;
};
struct uapi_seccomp_notif_resp {
	uint64_t id;
	int64_t val;
	int32_t error;
	uint32_t flags;
};
_Static_assert(sizeof(struct uapi_seccomp_data) == 64, "seccomp_data");
_Static_assert(sizeof(struct uapi_seccomp_notif) == 80, "seccomp_notif");
_Static_assert(sizeof(struct uapi_seccomp_notif_resp) == 24, "notif_resp");

/* linux/filter.h, v6.18 */
struct uapi_sock_fprog {
	uint16_t len;
	uint64_t filter __attribute__((aligned(8)));
};
_Static_assert(sizeof(struct uapi_sock_fprog) == 16, "sock_fprog");

/* linux/prctl.h, linux/securebits.h, linux/capability.h, v6.18 */
#define UAPI_PR_SET_PDEATHSIG 1
#define UAPI_PR_SET_DUMPABLE 4
#define UAPI_PR_CAPBSET_DROP 24
#define UAPI_PR_SET_SECUREBITS 28
#define UAPI_PR_SET_NO_NEW_PRIVS 38
#define UAPI_PR_CAP_AMBIENT 47
#define UAPI_PR_CAP_AMBIENT_CLEAR_ALL 4
#define UAPI_PR_SET_MDWE 65
#define UAPI_PR_GET_MDWE 66
#define UAPI_PR_MDWE_REFUSE_EXEC_GAIN 1
#define UAPI_SECUREBITS_ALL_LOCKED 0xefU	/* all but KEEP_CAPS, all locked */
#define UAPI_CAPABILITY_VERSION_3 0x20080522U
#define UAPI_CAP_SETPCAP 8
struct uapi_cap_header {
	uint32_t version;
	int32_t pid;
};
struct uapi_cap_data {
	uint32_t effective;
	uint32_t permitted;
	uint32_t inheritable;
};

/* asm-generic/resource.h, v6.18 */
#define UAPI_RLIMIT_CORE 4
#define UAPI_RLIM_NLIMITS 16
struct uapi_rlimit {
	uint64_t soft;
	uint64_t hard;
};

/* asm/signal.h (x86, arm64), asm-generic/siginfo.h, linux/signalfd.h, v6.18 */
#define UAPI_NSIG 64
#define UAPI_SIG_IGN 1
#define UAPI_SA_NOCLDWAIT 2
#define UAPI_SI_KERNEL 0x80
#define UAPI_CLD_STOPPED 5
struct uapi_sigaction {
	uint64_t handler;
	uint64_t flags;
	uint64_t restorer;
	uint64_t mask;
};
struct uapi_signalfd_siginfo {
	uint32_t signo;
	int32_t error;
	int32_t code;
	uint32_t pid;
	uint8_t rest[112];
};
_Static_assert(sizeof(struct uapi_signalfd_siginfo) == 128, "signalfd");

/* linux/close_range.h, linux/pidfd.h, linux/futex.h, linux/auxvec.h, v6.18 */
#define UAPI_CLOSE_RANGE_CLOEXEC (1U << 2)
#define UAPI_PIDFD_THREAD 0200	/* O_EXCL, v6.9 */
#define UAPI_PIDFD_SIGNAL_THREAD_GROUP (1U << 1)	/* v6.9 */
#define UAPI_FUTEX_WAIT_PRIVATE 128
#define UAPI_FUTEX_WAKE_PRIVATE 129
#define UAPI_AT_NULL 0
#define UAPI_AT_ENTRY 9
#define UAPI_AT_SECURE 23
#define UAPI_AT_HWCAP2 26
#define UAPI_AT_SYSINFO_EHDR 33

/* linux/fcntl.h, linux/stat.h, v6.18 */
#define UAPI_AT_EMPTY_PATH 0x1000
#define UAPI_STATX_INO 0x100U
#define UAPI_STATX_TYPE 1U
struct uapi_statx {
	uint8_t before[28];
	uint16_t mode;
	uint16_t spare;
	uint64_t inode;
	uint8_t rest[216];
};
_Static_assert(sizeof(struct uapi_statx) == 256, "statx");

/* asm/unistd_64.h and asm-generic/unistd.h agree, v6.18 */
#define UAPI_NR_mseal 462

/* linux/landlock.h, v6.18 */
#define UAPI_LANDLOCK_CREATE_RULESET_VERSION 1U
#define UAPI_LANDLOCK_RULE_PATH_BENEATH 1
#define UAPI_LANDLOCK_RULE_NET_PORT 2
#define UAPI_LANDLOCK_FILES 0xffffU	/* LANDLOCK_ACCESS_FS_*, ABI 5 */
#define UAPI_LANDLOCK_NETWORK 3U	/* LANDLOCK_ACCESS_NET_*, ABI 4 */
#define UAPI_LANDLOCK_SCOPES 3U		/* LANDLOCK_SCOPE_*, ABI 6 */
struct uapi_landlock_ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};
struct uapi_landlock_path_beneath_attr {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));
_Static_assert(sizeof(struct uapi_landlock_path_beneath_attr) == 12, "landlock");
struct uapi_landlock_net_port_attr {
	uint64_t allowed_access;
	uint64_t port;
};
/* asm-generic/unistd.h, v6.18 */
#define UAPI_NR_landlock_create_ruleset 444
#define UAPI_NR_landlock_add_rule 445
#define UAPI_NR_landlock_restrict_self 446

/* linux/reboot.h, linux/magic.h, linux/mount.h, asm-generic/ioctls.h, v6.18 */
#define UAPI_REBOOT_MAGIC1 0xfee1deadU
#define UAPI_REBOOT_MAGIC2 672274793U
#define UAPI_REBOOT_CAD_OFF 0U
#define UAPI_REBOOT_POWER_OFF 0x4321fedcU
#define UAPI_PROC_SUPER_MAGIC 0x9fa0
#define UAPI_MS_NOSUID 2U
#define UAPI_MS_NODEV 4U
#define UAPI_MS_NOEXEC 8U
#define UAPI_TCSBRK 0x5409

/* linux/sockios.h, linux/if.h, v6.18 */
#define UAPI_SIOCGIFFLAGS 0x8913UL
#define UAPI_SIOCSIFFLAGS 0x8914UL
#define UAPI_IFF_UP 1
struct uapi_ifreq_flags {	/* struct ifreq, of these two */
	char name[16];
	int16_t flags;
	uint8_t rest[22];
};
_Static_assert(sizeof(struct uapi_ifreq_flags) == 40, "ifreq");

#endif
