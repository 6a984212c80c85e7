/*
 * What has the loader mapped?  Where the program's own first instruction is
 * about to run, every file that it executes code of has to be one of the plan's.
 */
#include <string.h>

#include "load.h"
#include "steps.h"
#include "text.h"

_Static_assert(sizeof(((struct launch_memory *)0)->objects) ==
	       PLAN_MAX_OBJECTS * sizeof(uint64_t), "measure_objects");

#define NOT_MAPPED UINT64_MAX	/* no page begins there */

/* One line of /proc/PID/maps (proc_pid_maps(5)). */
struct mapping {
	uint64_t start;
	uint64_t end;
	uint64_t inode;
	int executable;
	const char *device;	/* MAJOR:MINOR, and a space behind */
	const char *path;	/* empty if no file; NUL-terminated */
};

/* What the mappings before one line say of the file that it maps. */
struct file_place {
	uint64_t inode;
	uint64_t start;		/* of its lowest mapping */
	char device[16];
	int measured;
};

static uint64_t parse_number(const char **at, unsigned base)
{
	uint64_t value = 0;

	for (;; ++*at) {
		char c = **at;
		unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') :
				 c >= 'a' && c <= 'f' ?
				 (unsigned)(c - 'a' + 10) : base;

		if (digit >= base)
			return value;
		value = value * base + digit;
	}
}

static void skip_field(const char **at)
{
	while (**at != ' ' && **at != 0)
		++*at;
	while (**at == ' ')
		++*at;
}

/* START-END rwxp OFFSET MAJOR:MINOR INODE PATH */
static struct mapping parse_mapping(const char *line)
{
	struct mapping mapping;

	mapping.start = parse_number(&line, 16);
	line += *line == '-';
	mapping.end = parse_number(&line, 16);
	skip_field(&line);
	mapping.executable = strlen(line) > 2 && line[2] == 'x';
	skip_field(&line);
	skip_field(&line);
	mapping.device = line;
	skip_field(&line);
	mapping.inode = parse_number(&line, 10);
	skip_field(&line);
	mapping.path = line;
	return mapping;
}

static long open_mapping(const struct launch_state *launch,
			 const struct mapping *mapping)
{
	char name[64];
	struct text text = { name, sizeof(name), 0 };
	long fd;

	text_add(&text, "/map_files/");
	text_add_bare_hex(&text, mapping->start);
	text_add(&text, "-");
	text_add_bare_hex(&text, mapping->end);
	fd = open_proc(launch, name, 0);
	/* Not everybody may open those: then by name, and compare. */
	return fd < 0 ? sys_open(mapping->path,
				 02000000 /* O_RDONLY | O_CLOEXEC */) : fd;
}

/* Is the open file the one that is mapped? */
static int is_inode(int fd, uint64_t inode)
{
	struct uapi_statx facts;

	return sys_statx(fd, UAPI_STATX_INO, &facts) == 0 &&
	       facts.inode == inode;
}

/* Whose digest is it?  Returns its number, or how many objects there are. */
static size_t find_object(const struct plan *plan, const uint8_t digest[32])
{
	size_t i = 0;

	while (i < plan->object_count &&
	       memcmp(plan->objects + i * PLAN_OBJECT_SIZE, digest,
		      PLAN_DIGEST_SIZE) != 0)
		i++;
	return i;
}

static int measure_mapping(struct launch_state *launch,
			   const struct mapping *mapping,
			   const struct file_place *place)
{
	const struct plan *plan = launch->plan;
	uint8_t digest[PLAN_DIGEST_SIZE];
	long fd = open_mapping(launch, mapping);
	size_t object;
	int error;

	if (fd < 0)
		return refuse_object(launch, "mapped, and cannot be measured",
				     mapping->path);
	error = is_inode((int)fd, mapping->inode) ?
			hash_file(launch, (int)fd, digest) :
			refuse_object(launch, "not the file that is mapped",
				      mapping->path);
	sys_close((int)fd);
	if (error != 0)
		return error;
	if (memcmp(digest, plan->digest, sizeof(digest)) == 0)
		return 0;
	object = find_object(plan, digest);
	if (object == plan->object_count)
		return refuse_object(launch, "mapped, and its digest is not in "
				     "the plan", mapping->path);
	if (launch->memory->objects[object] != NOT_MAPPED)
		return refuse_object(launch, "mapped twice", mapping->path);
	launch->memory->objects[object] =
		place->start - load64_le(plan->objects +
					 object * PLAN_OBJECT_SIZE +
					 PLAN_DIGEST_SIZE);
	return 0;
}

/* Mappings of one file lie together, lowest first: the loader reserves the room
 * of an object whole. */
static int take_mapping(struct launch_state *launch, const char *line,
			struct file_place *place)
{
	struct mapping mapping = parse_mapping(line);
	size_t size = 0;

	if (mapping.path[0] != '/')
		return 0;
	while (mapping.device[size] != ' ' && mapping.device[size] != 0 &&
	       size + 1 < sizeof(place->device))
		size++;
	if (mapping.inode != place->inode ||
	    strncmp(mapping.device, place->device, size) != 0) {
		memset(place, 0, sizeof(*place));
		place->inode = mapping.inode;
		place->start = mapping.start;
		memcpy(place->device, mapping.device, size);
	}
	if (!mapping.executable || place->measured)
		return 0;
	place->measured = 1;
	return measure_mapping(launch, &mapping, place);
}

/* The child's stack is nobody's any more once it has executed the program. */
static int take_mappings(struct launch_state *launch, int fd)
{
	char *lines = (char *)launch->memory->child_stack;
	size_t room = sizeof(launch->memory->child_stack) - 1;
	struct file_place place = { 0 };
	size_t size = 0;
	long got;

	while ((got = sys_read(fd, lines + size, room - size)) > 0) {
		char *line = lines;
		char *end;
		int error;

		size += (size_t)got;
		lines[size] = 0;
		while ((end = memchr(line, '\n', size - (size_t)(line - lines)))
		       != NULL) {
			*end = 0;
			error = take_mapping(launch, line, &place);
			if (error != 0)
				return error;
			line = end + 1;
		}
		size -= (size_t)(line - lines);
		memmove(lines, line, size);
		if (size == room)
			return refuse(launch, "a mapping has too long a name");
	}
	return (int)got;
}

int measure_objects(struct launch_state *launch)
{
	uint64_t *objects = launch->memory->objects;
	int error;
	long fd;

	for (size_t i = 0; i < launch->plan->object_count; i++)
		objects[i] = NOT_MAPPED;
	fd = open_proc(launch, "/maps", 0);
	if (fd < 0)
		return (int)fd;
	error = take_mappings(launch, (int)fd);
	sys_close((int)fd);
	for (size_t i = 0; error == 0 && i < launch->plan->object_count; i++)
		if (objects[i] == NOT_MAPPED)
			error = refuse(launch, "an object of the plan is not "
				       "mapped");
	return error;
}
