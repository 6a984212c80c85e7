/* Is this the header of a frame, and of which size may its body be? */
#include <string.h>

#include "frame.h"
#include "load.h"

static const uint8_t magic[4] = { 'S', 'H', 'I', 'M' };

/* What the body of each type may have; a type that is not here is unknown. */
static const struct {
	uint8_t type;
	uint32_t least;
	uint32_t most;
} sizes[] = {
	{ FRAME_REQUEST, 0, 0 },
	{ FRAME_CHALLENGE, FRAME_NONCE_SIZE, FRAME_NONCE_SIZE },
	{ FRAME_EVIDENCE, FRAME_EVIDENCE_HEAD + 1, FRAME_MAX_EVIDENCE },
	{ FRAME_RELEASE, FRAME_MIN_RELEASE, FRAME_MAX_RELEASE },
	{ FRAME_REFUSAL, 2, 2 },
	{ FRAME_OUTPUT, 2 + FRAME_TAG_SIZE,
	  1 + FRAME_MAX_OUTPUT + FRAME_TAG_SIZE },
	{ FRAME_EVENT, 1 + FRAME_TAG_SIZE, FRAME_MAX_EVENT + FRAME_TAG_SIZE },
	{ FRAME_EXIT, 1 + FRAME_TAG_SIZE,
	  1 + FRAME_MAX_REASON + FRAME_TAG_SIZE },
	{ FRAME_CREDENTIAL, FRAME_MIN_CREDENTIAL, FRAME_MAX_CREDENTIAL },
	{ FRAME_PROOF, FRAME_PROOF_SIZE, FRAME_PROOF_SIZE },
	{ FRAME_PLAIN + FRAME_OUTPUT, 2, 1 + FRAME_MAX_OUTPUT },
	{ FRAME_PLAIN + FRAME_EVENT, 1, FRAME_MAX_EVENT },
	{ FRAME_PLAIN + FRAME_EXIT, 1, 1 + FRAME_MAX_REASON },
	{ FRAME_REPORT_DATA, FRAME_REPORT_DATA_SIZE, FRAME_REPORT_DATA_SIZE },
	{ FRAME_SIMULATED, 5, FRAME_MAX_EVIDENCE },
};

int guest_fault(struct guest_fault *fault, const char *where,
		const char *found, const char *want)
{
	struct text text = { fault->found, sizeof(fault->found), 0 };

	fault->where = where;
	fault->want = want;
	text_add(&text, found);
	return -1;
}

int guest_fault_number(struct guest_fault *fault, const char *where,
		       uint64_t found, const char *want)
{
	struct text text = { fault->found, sizeof(fault->found), 0 };

	fault->where = where;
	fault->want = want;
	text_add_decimal(&text, found);
	return -1;
}

static int wrong_magic(struct guest_fault *fault, const uint8_t *found)
{
	struct text text = { fault->found, sizeof(fault->found), 0 };

	fault->where = "frame.magic";
	fault->want = "'SHIM'";
	text_add_quoted(&text, found, sizeof(magic));
	return -1;
}

int frame_read_header(const uint8_t header[FRAME_HEADER_SIZE],
		      struct frame *frame, struct guest_fault *fault)
{
	uint32_t size = load32_be(header + 8);

	if (memcmp(header, magic, sizeof(magic)) != 0)
		return wrong_magic(fault, header);
	if (header[4] != FRAME_VERSION)
		return guest_fault_number(fault, "frame.version", header[4],
					  "1");
	if (header[6] != 0 || header[7] != 0)
		return guest_fault_number(fault, "frame.reserved",
					  (uint64_t)header[6] << 8 | header[7],
					  "0");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (sizes[i].type != header[5])
			continue;
		if (size < sizes[i].least || size > sizes[i].most)
			return guest_fault_number(fault, "frame.size", size,
						  "what its type may have");
		*frame = (struct frame){ header[5], size };
		return 0;
	}
	return guest_fault_number(fault, "frame.type", header[5],
				  "a type of version 1");
}

void frame_write_header(uint8_t header[FRAME_HEADER_SIZE],
			const struct frame *frame)
{
	memcpy(header, magic, sizeof(magic));
	header[4] = FRAME_VERSION;
	header[5] = frame->type;
	header[6] = 0;
	header[7] = 0;
	store32_be(header + 8, frame->size);
}
