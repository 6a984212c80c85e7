#include "say.h"

#include <string.h>

#include "sys.h"
#include "text.h"

static void write_line(struct text *text)
{
	text->at[text->size++] = '\n';
	sys_write(2, text->at, text->size);
}

void say(const char *step, const char *reason)
{
	char line[SAY_LINE_SIZE];
	struct text text = { line, sizeof(line) - 1, 0 };

	text_add(&text, "shim: ");
	text_add(&text, step);
	text_add(&text, ": ");
	text_add(&text, reason);
	write_line(&text);
}

void say_found(const char *where, const char *found, const char *want)
{
	char line[SAY_LINE_SIZE];
	struct text text = { line, sizeof(line) - 1, 0 };

	text_add(&text, "shim: ");
	text_add(&text, where);
	text_add(&text, ": found ");
	text_add(&text, found);
	text_add(&text, ", want ");
	text_add(&text, want);
	write_line(&text);
}

size_t say_violation(char line[SAY_LINE_SIZE],
		     const struct launch_violation *violation)
{
	struct text text = { line, SAY_LINE_SIZE - 1, 0 };

	text_add(&text, "{\"event\":\"violation\",\"time_ns\":");
	text_add_decimal(&text, violation->time_ns);
	text_add(&text, ",\"pid\":");
	text_add_signed(&text, violation->pid);
	text_add(&text, ",\"syscall\":");
	text_add_signed(&text, violation->syscall);
	text_add(&text, ",\"arch\":");
	text_add_decimal(&text, violation->arch);
	text_add(&text, ",\"stage\":");
	text_add_decimal(&text, violation->stage);
	text_add(&text, ",\"address\":\"");
	text_add_hex(&text, violation->address);
	text_add(&text, "\",\"arguments\":[");
	for (int i = 0; i < 6; i++) {
		text_add(&text, i == 0 ? "\"" : ",\"");
		text_add_hex(&text, violation->arguments[i]);
		text_add(&text, "\"");
	}
	text_add(&text, "]}");
	return text.size;
}

void say_lacks(const struct launch_result *result)
{
	if (result->step != NULL)
		return;
	if (result->unsealed)
		say("mseal", "there is none here (Linux 6.10; a container's "
		    "filter may not know it): the program could replace "
		    "its own code");
	if (result->gains_exec)
		say("mdwe", "this kernel has none (6.3): only the filter keeps "
		    "pages from becoming code");
	if (result->unconfined & LAUNCH_FILES)
		say("landlock", "this kernel does not handle all rights on files");
	if (result->unconfined & LAUNCH_NETWORK)
		say("landlock", "this kernel does not handle ports (6.7)");
	if (result->unconfined & LAUNCH_SCOPES)
		say("landlock", "this kernel does not keep signals to the "
		    "program's own processes (6.12)");
}

void say_trouble(const struct launch_result *result)
{
	enum { NO_DEVICE = -19, NO_EXEC = -8 };

	if (result->step != NULL)
		say(result->step, result->reason[0] != 0 ?
		    result->reason : strerror(result->error));
	if (result->out_of_memory)
		say("cgroup", "the program needed more memory than it may have");
	if (result->timed_out)
		say("timeout", "the program's time was up");
	if (result->missed && result->step == NULL)
		say("stage", result->missed == NO_DEVICE ?
		    "this machine stops at no hardware breakpoint; the program "
		    "kept its first filter" : result->missed == NO_EXEC ?
		    "it executed another program, and kept the filter it had" :
		    "some thread could not be brought under the next filter; "
		    "all kept the one they had");
}
