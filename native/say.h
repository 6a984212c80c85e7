/* What a launcher says on standard error, a line at a time. */
#ifndef SHIM_SAY_H
#define SHIM_SAY_H

#include "launch.h"

#define SAY_LINE_SIZE 768

/* One line, one write: lines of several launchers do not mix. */
void say(const char *step, const char *reason);
void say_found(const char *where, const char *found, const char *want);

/* Returns the size of the JSON that says it, without a newline. */
size_t say_violation(char line[SAY_LINE_SIZE],
		     const struct launch_violation *violation);

/* What of a plan this kernel has not done, if the program ran. */
void say_lacks(const struct launch_result *result);

/* Why the program did not run, or ended otherwise than by itself. */
void say_trouble(const struct launch_result *result);


#endif
