/*
 * The launch plan: what to run, exactly, as one file.
 *
 * Little-endian.  Header of 32 bytes, then a table of sections, then the
 * sections themselves, which tile the rest: each starts at the next multiple
 * of 8 after the one before, and what lies between is zero.  So each plan has
 * one encoding, and a digest of the file is a digest of its meaning.
 *
 *   header            section table entry
 *    0  "SHIMPLAN"     0  u32 kind, strictly increasing
 *    8  u16 version    4  u32 offset from the start of the file
 *   10  u16 arch       8  u32 size in bytes, not 0
 *   12  u32 file size 12  u32 reserved, 0
 *   16  u32 sections
 *   20  u32 flags
 *   24  u64 reserved, 0
 *
 * A kind, flag or version this reader has never heard of is refused: each says
 * something about the launch that would then not be done.
 */
#ifndef SHIM_PLAN_H
#define SHIM_PLAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PLAN_MAGIC "SHIMPLAN"
#define PLAN_VERSION 1
#define PLAN_HEADER_SIZE 32
#define PLAN_ENTRY_SIZE 16
#define PLAN_MAX_SIZE (4U << 20)	/* twice what execve takes by default */
#define PLAN_MAX_PATH 4096		/* PATH_MAX, with its NUL */
#define PLAN_MAX_FILTER 4096		/* BPF_MAXINSNS */
#define PLAN_MAX_STRINGS 65536		/* arguments and environment, each */
#define PLAN_DIGEST_SIZE 32
#define PLAN_INSTRUCTION_SIZE 8
#define PLAN_LIMIT_SIZE 24
#define PLAN_ENTRY_POINT_SIZE 8
#define PLAN_RELOCATION_SIZE 8
#define PLAN_SEALED_SIZE 16
#define PLAN_OBJECT_SIZE 40
#define PLAN_OBJECT_SEAL_SIZE 24
#define PLAN_STAGE_SIZE 16
#define PLAN_LANDLOCK_SIZE 24
#define PLAN_PORT_SIZE 16
#define PLAN_IDENTITY_SIZE 8
#define PLAN_NAMESPACES_SIZE 8
#define PLAN_TIMEOUT_SIZE 8
#define PLAN_CGROUP_SIZE 32		/* and the path behind it */
#define PLAN_MODULE_SIZE 32		/* and the path behind it */
#define PLAN_MAX_MODULES 256
#define PLAN_NETWORK_SIZE 32
#define PLAN_DNS_SERVERS 3		/* as resolv.conf(5) has it */
#define PLAN_MAX_HOSTNAME 64		/* __NEW_UTS_LEN */
#define PLAN_CHANNEL_SIZE 64		/* and two strings behind it */
#define PLAN_MAX_PORT_NAME 63		/* of a virtio-serial port */
#define PLAN_MAX_SECRET_PATH 255
#define PLAN_SECRET_FILE 3		/* descriptor of a secret without a path */
#define PLAN_MAX_PROCESSES 4194304	/* PID_MAX_LIMIT */
#define PLAN_MAX_QUOTA 17592186044415U	/* 2^44 - 1 us: max_bw_runtime_us */
#define PLAN_MAX_OBJECTS 512
#define PLAN_MAX_STAGES 4
#define PLAN_PAGE 4096

enum plan_kind {
	PLAN_PROGRAM = 1,	/* absolute path, one NUL at its end */
	PLAN_DIGEST = 2,	/* SHA-256 of the program's file */
	PLAN_FILTER = 3,	/* struct sock_filter[] */
	PLAN_ARGV = 4,		/* NUL-terminated strings, at least one */
	PLAN_ENVIRONMENT = 5,	/* NAME=VALUE, NUL-terminated; absent if none */
	PLAN_LIMITS = 6,	/* u32 resource, u32 0, u64 soft, u64 hard */
	PLAN_ENTRY_POINT = 7,	/* u64: of the first instruction, in the file */
	PLAN_RELOCATIONS = 8,	/* u32 instruction, u16 plan_moved, u16 plan_part */
	PLAN_SEALED = 9,	/* u64 address in the file, u64 size; whole pages */
	PLAN_OBJECTS = 10,	/* SHA-256, u64 address of the first page in the file */
	PLAN_OBJECT_SEALS = 11,	/* u32 object, u32 0, u64 address, u64 size */
	PLAN_STAGES = 12,	/* u64 boundary, u32 instructions, u32 relocations */
	PLAN_STAGE_FILTERS = 13, /* of all stages, one behind the other */
	PLAN_STAGE_RELOCATIONS = 14,
	PLAN_LANDLOCK = 15,	/* u64 files, u64 network, u64 scopes: handled */
	PLAN_PATHS = 16,	/* u64 rights, path and NUL, zeros to 8 bytes */
	PLAN_PORTS = 17,	/* u64 rights, u64 port */
	PLAN_IDENTITY = 18,	/* u32 uid, u32 gid */
	PLAN_NAMESPACES = 19,	/* u32 CLONE_NEW*, u32 0 */
	PLAN_TIMEOUT = 20,	/* u64 nanoseconds */
	PLAN_CGROUP = 21,	/* u64 bytes, u64 processes, u64 CPU us, u64 of us; 0: any;
				 * absolute path of the parent, NUL */
	/* What a machine has to be before the program; for shim-init only. */
	PLAN_MODULES = 22,	/* SHA-256, path and NUL, zeros to 8 bytes; in order */
	PLAN_NETWORK = 23,	/* u32 plan_network, u8[4] address, u32 prefix,
				 * u8[4] gateway, u8[4] DNS servers 3 times, u32 0 */
	PLAN_HOSTNAME = 24,	/* and NUL */
	PLAN_CHANNEL = 25,	/* u32 plan_channel, u32 plan_evidence, u32 1 if output
				 * is plain, u32 vsock CID, u32 port, u8[4] address,
				 * u64 0, Ed25519 key of the relying party;
				 * name of the virtio-serial port, NUL;
				 * path for the secret or nothing, NUL */
	PLAN_KINDS = 25,
};

enum plan_network { PLAN_DHCP = 1, PLAN_STATIC = 2 };
enum plan_channel { PLAN_VIRTIO = 1, PLAN_VSOCK = 2, PLAN_TCP = 3 };
enum plan_evidence { PLAN_TSM = 1, PLAN_TPM = 2, PLAN_SIMULATED = 3 };

/* What the kernel and the loader move, and what of it is added to the constant
 * of an instruction of the filter; by increasing instruction. */
enum plan_moved {
	PLAN_MOVED_PROGRAM,	/* from the addresses in its file */
	PLAN_MOVED_VDSO,
	PLAN_MOVED_OBJECT,	/* the first; in filters of stages only */
};
enum plan_part {
	PLAN_PART_LOW,		/* the low 32 bits of its address */
	PLAN_PART_HIGH,		/* the high 32 bits */
	PLAN_PART_SIZE,		/* its size in bytes */
	PLAN_PART_KINDS,
};

enum plan_flag {
	PLAN_EXEC_ALLOWED = 1 << 0,	/* the filter may allow execve */
	PLAN_NO_EVENTS = 1 << 1,	/* the kernel kills; no listener */
	PLAN_NEW_SESSION = 1 << 2,	/* setsid: away from the terminal */
	PLAN_LOADER_ENVIRONMENT = 1 << 3, /* LD_* and its like may be passed */
	PLAN_NO_EXEC_GAIN = 1 << 4,	/* PR_SET_MDWE */
	PLAN_REQUIRE_SEALS = 1 << 5,	/* a kernel without mseal is an error */
	PLAN_ERRNO = 1 << 6,		/* a refused call fails with EPERM */
	PLAN_AUDIT = 1 << 7,		/* it is reported and made */
	PLAN_REQUIRE_LANDLOCK = 1 << 8,	/* all that the plan handles, or an error */
	PLAN_COPY = 1 << 9,		/* run a sealed copy of the program's file */
	PLAN_REQUIRE_NO_EXEC_GAIN = 1 << 10, /* a kernel without it is an error */
	PLAN_ALL_FLAGS = (1 << 11) - 1,
};

/* Pointers into the plan's own bytes, which must outlive this. */
struct plan {
	uint32_t flags;
	const char *program;
	const uint8_t *digest;
	const uint8_t *filter;
	size_t filter_count;		/* instructions */
	const char *argv;
	size_t argv_size;
	size_t argc;
	const char *environment;
	size_t environment_size;
	size_t environment_count;
	const uint8_t *limits;
	size_t limit_count;
	uint64_t entry_point;
	const uint8_t *relocations;
	size_t relocation_count;
	const uint8_t *sealed;
	size_t sealed_count;
	const uint8_t *objects;
	size_t object_count;
	const uint8_t *object_seals;
	size_t object_seal_count;
	const uint8_t *stages;		/* behind the first filter */
	size_t stage_count;
	const uint8_t *stage_filters;
	size_t stage_filter_count;	/* instructions of all of them */
	const uint8_t *stage_relocations;
	size_t stage_relocation_count;
	const uint8_t *landlock;	/* or null */
	const uint8_t *paths;
	size_t paths_size;
	const uint8_t *ports;
	size_t port_count;
	const uint8_t *identity;	/* or null */
	uint32_t namespaces;
	uint64_t timeout;		/* nanoseconds; 0 is none */
	const uint8_t *cgroup;		/* or null */
	const uint8_t *modules;
	size_t modules_size;
	const uint8_t *network;		/* or null */
	const char *hostname;		/* or null */
	const uint8_t *channel;		/* or null */
	const char *channel_name;	/* of a port; empty but for virtio */
	const char *secret_path;	/* empty: PLAN_SECRET_FILE */
};

/* Does it ask for what only the first process of a machine can do? */
static inline int plan_has_machine(const struct plan *plan)
{
	return plan->modules != NULL || plan->network != NULL ||
	       plan->hostname != NULL || plan->channel != NULL;
}

/* Bytes of the entry of PLAN_MODULES at ENTRY, its zeros included. */
static inline size_t plan_module_size(const uint8_t *entry)
{
	return (PLAN_MODULE_SIZE + strlen((const char *)entry +
					  PLAN_MODULE_SIZE) + 8) / 8 * 8;
}

/* Bytes of the entry of PLAN_PATHS at ENTRY, its zeros included. */
static inline size_t plan_path_size(const uint8_t *entry)
{
	return (8 + strlen((const char *)entry + 8) + 8) / 8 * 8;
}

#define PLAN_FOUND_SIZE 256	/* 48 bytes quoted, each as \xNN, and words */

struct plan_fault {	/* all words the same as shim/launch/plan.py has */
	const char *where;
	char found[PLAN_FOUND_SIZE];
	const char *want;
	uint32_t offset;	/* of the field in the file */
};

/*
 * Read SIZE BYTES.  Returns 0 with PLAN filled, or -1 with FAULT filled.
 * Not checked: that the filter is well-formed (bpf.h), that the path exists.
 */
int plan_read(const uint8_t *bytes, size_t size, struct plan *plan,
	      struct plan_fault *fault);

#endif
