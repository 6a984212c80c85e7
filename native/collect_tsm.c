/*
 * A report by configfs-tsm.  A request is a directory; the kernel counts in
 * `generation` what is written to it, and nobody else is there who could write.
 */
#include <string.h>

#include "collect.h"
#include "file.h"
#include "sys.h"
#include "uapi.h"

enum { ROUNDS = 20, PATH_SIZE = 160, NUMBER_SIZE = 24, AUXBLOB_MOST = 65536,
       NO_ENTRY = -2, INTERRUPTED = -4, AGAIN = -11, BUSY = -16,
       TOO_LARGE = -27, TIMED_OUT = -110, CURRENT = -100 /* AT_FDCWD */ };

struct request {
	char path[PATH_SIZE];	/* of the directory, then of a file in it */
	size_t folder;		/* size of the former */
	struct guest_fault *fault;
};

static const char *file_of(struct request *request, const char *name)
{
	struct text text = { request->path, PATH_SIZE, request->folder };

	text_add(&text, "/");
	text_add(&text, name);
	return request->path;
}

static int refuse(struct request *request, const char *name, long error)
{
	static const struct { long error; const char *words; } known[] = {
		{ NO_ENTRY, "no configfs-tsm, or no such file in it" },
		{ -6 /* ENXIO */, "no TEE behind configfs-tsm" },
		{ -5 /* EIO */, "the firmware or the host refused" },
		{ BUSY, "the host throttles requests" },
		{ TIMED_OUT, "the host did not answer in time" },
		{ TOO_LARGE, "more than there is room for" },
	};
	const char *words = strerror((int)-error);

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].error == error)
			words = known[i].words;
	guest_fault(request->fault, "collect-tsm", words, name);
	return -1;
}

/* Hosts throttle, and services take their time; both pass. */
static int passes(long error)
{
	return error == BUSY || error == AGAIN || error == TIMED_OUT ||
	       error == INTERRUPTED;
}

/* Returns the size, less than ROOM, or -errno. */
static long read_once(const char *path, uint8_t *bytes, size_t room)
{
	long got = file_read(path, bytes, room);

	return got == (long)room ? TOO_LARGE : got;
}

/* Returns the size, less than ROOM, or -1 with the fault filled. */
static long read_file(struct request *request, const char *name, uint8_t *bytes,
		      size_t room)
{
	const char *path = file_of(request, name);
	long got = read_once(path, bytes, room);

	for (unsigned i = 1; passes(got) && i < ROUNDS; i++) {
		machine_pause(250 * i);
		got = read_once(path, bytes, room);
	}
	return got < 0 ? refuse(request, name, got) : got;
}

static int write_file(struct request *request, const char *name,
		      const void *bytes, size_t size)
{
	const char *path = file_of(request, name);
	long wrote = BUSY;

	for (unsigned i = 1; passes(wrote) && i < ROUNDS; i++) {
		long fd = sys_open(path, 02000001 /* O_WRONLY | O_CLOEXEC */);

		if (fd < 0)
			return refuse(request, name, fd);
		wrote = sys_write((int)fd, bytes, size);
		/* configfs takes a blob when the file is closed. */
		if (sys_close((int)fd) < 0 && wrote >= 0)
			wrote = -5 /* EIO */;
		if (passes(wrote))
			machine_pause(250 * i);
	}
	if (wrote == (long)size)
		return 0;
	return refuse(request, name, wrote < 0 ? wrote : -5 /* EIO */);
}

/* Returns the number in a file, or -1 with the fault filled. */
static long read_number(struct request *request, const char *name)
{
	uint8_t digits[NUMBER_SIZE];
	long size = read_file(request, name, digits, sizeof(digits));
	long value = 0;
	long at = 0;

	if (size < 0)
		return -1;
	for (; at < size && at < 18 && digits[at] >= '0' && digits[at] <= '9';
	     at++)
		value = value * 10 + (digits[at] - '0');
	if (at == 0 || (at < size && digits[at] != '\n'))
		return guest_fault(request->fault, "collect-tsm", "no number",
				   name);
	return value;
}

static int is_there(struct request *request, const char *name)
{
	return arch_syscall(SYS_faccessat, CURRENT, (long)file_of(request, name),
			    0, 0, 0, 0) == 0;
}

static int require_provider(struct request *request)
{
	static const char *const known[] = { "sev_guest\n", "tdx_guest\n",
					     "arm_cca_guest\n" };
	uint8_t name[64];
	long size = read_file(request, "provider", name, sizeof(name));
	struct text text = { request->fault->found, FAULT_FOUND_SIZE, 0 };

	if (size < 0)
		return -1;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if ((size_t)size == strlen(known[i]) &&
		    memcmp(name, known[i], (size_t)size) == 0)
			return 0;
	request->fault->where = "collect-tsm";
	request->fault->want = "sev_guest, tdx_guest or arm_cca_guest";
	text_add_quoted(&text, name, size < 14 ? (size_t)size : 14);
	return -1;
}

/* The kernel begins with privilege level 0, whether it is allowed or not.  Returns
 * how many files were written, or -1. */
static int choose_privilege(struct request *request)
{
	char digits[NUMBER_SIZE];
	struct text text = { digits, sizeof(digits), 0 };
	long floor = 0;

	if (is_there(request, "privlevel_floor"))
		floor = read_number(request, "privlevel_floor");
	if (floor <= 0)
		return (int)floor;
	text_add_decimal(&text, (uint64_t)floor);
	return write_file(request, "privlevel", digits, text.size) != 0 ? -1 : 1;
}

static int ask(struct request *request,
	       const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
	       uint8_t room[COLLECT_ROOM], struct guest_evidence *evidence)
{
	long before;
	long after;
	int written;
	long size;
	long more = 0;

	if (require_provider(request) != 0)
		return -1;
	before = read_number(request, "generation");
	written = before < 0 ? -1 : choose_privilege(request);
	if (written < 0 || write_file(request, "inblob", report_data,
				      FRAME_REPORT_DATA_SIZE) != 0)
		return -1;
	size = read_file(request, "outblob", room, COLLECT_ROOM - AUXBLOB_MOST);
	if (size > 0 && is_there(request, "auxblob"))
		more = read_file(request, "auxblob", room + size, AUXBLOB_MOST);
	if (size < 0 || more < 0)
		return -1;
	if (size == 0)
		return guest_fault(request->fault, "collect-tsm", "0 bytes",
				   "a report in outblob");
	after = read_number(request, "generation");
	if (after < 0)
		return -1;
	if (after != before + written + 1)
		return guest_fault_number(request->fault, "collect-tsm",
					  (uint64_t)(after - before),
					  "a generation for each of our writes");
	*evidence = (struct guest_evidence){
		.evidence = room,
		.evidence_size = (size_t)size,
		.endorsements = room + size,
		.endorsements_size = (size_t)more,
	};
	return 0;
}

int collect_tsm(const char *folder,
		const uint8_t report_data[FRAME_REPORT_DATA_SIZE],
		uint8_t room[COLLECT_ROOM], struct guest_evidence *evidence,
		struct guest_fault *fault)
{
	struct request request = { .fault = fault };
	struct text text = { request.path, PATH_SIZE, 0 };
	long error;
	int outcome;

	text_add(&text, folder);
	text_add(&text, "/shim");
	request.folder = text.size;
	error = sys3(SYS_mkdirat, CURRENT, (long)request.path, 0700);
	if (error < 0)
		return refuse(&request, "a report of configfs-tsm", error);
	outcome = ask(&request, report_data, room, evidence);
	request.path[request.folder] = 0;
	error = sys3(SYS_unlinkat, CURRENT, (long)request.path, 0x200);
	if (outcome == 0 && error < 0)
		return refuse(&request, "an end of the request", error);
	return outcome;
}
