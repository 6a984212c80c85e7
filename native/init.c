/*
 * The first process of a machine has nothing: no /proc to measure a program by,
 * no loopback, and nobody who waits for it.  This is what shim-launch does more
 * there.  When it ends the kernel panics, so it never ends: whatever happens,
 * it says so and powers the machine off.
 */
#include "init.h"

#include <string.h>

#include "load.h"
#include "sys.h"
#include "text.h"

enum { EXISTS_NOT = -2, MOUNTED_ALREADY = -16, NO_SUCH_FAMILY = -97 };

static long reboot(uint32_t command)
{
	return arch_syscall(SYS_reboot, UAPI_REBOOT_MAGIC1, UAPI_REBOOT_MAGIC2,
			    command, 0, 0, 0);
}

static int has_proc(void)
{
	struct { int64_t type; uint8_t rest[112]; } facts;

	return sys2(SYS_statfs, (long)"/proc", (long)&facts) == 0 &&
	       facts.type == UAPI_PROC_SUPER_MAGIC;
}

/*
 * Arguments cannot tell.  What the kernel does not know on its command line it
 * gives to init, as an argument or into the environment (init/main.c,
 * unknown_bootoption and set_init_arg, v6.18), so that a word there would look
 * like a plan that somebody named.  A container's runtime names one, but its
 * /proc is mounted, while the kernel mounts none.  Without /proc the kernel
 * itself says where we are: in a pid namespace but the first one Ctrl-Alt-Del
 * is no command, EINVAL, and without CAP_SYS_BOOT, which the first process of a
 * machine has, it is EPERM (kernel/reboot.c, kernel/pid_namespace.c,
 * reboot_pid_ns, v6.18).  It comes last: a container's filter may kill for it.
 */
int init_is_due(void)
{
	return sys0(SYS_getpid) == 1 && !has_proc() &&
	       reboot(UAPI_REBOOT_CAD_OFF) == 0;
}

/* Returns 0 also if the kernel has mounted it there before. */
static long mount(const char *kind, const char *place, unsigned long flags)
{
	long error = arch_syscall(SYS_mount, (long)kind, (long)place,
				  (long)kind, (long)flags, 0, 0);

	return error == MOUNTED_ALREADY ? 0 : error;
}

/* What an image has no directory for, its program does not use. */
static long mount_if_there(const char *kind, const char *place,
			   unsigned long flags)
{
	long error = mount(kind, place, flags);

	return error == EXISTS_NOT ? 0 : error;
}

static long enable_controller(const char *name)
{
	long fd = sys_open("/sys/fs/cgroup/cgroup.subtree_control",
			   02000001 /* O_WRONLY | O_CLOEXEC */);
	long error;

	if (fd < 0)
		return fd;
	error = sys_write((int)fd, name, strlen(name));
	sys_close((int)fd);
	return error < 0 ? error : 0;
}

long init_mount_for(const struct plan *plan, const char **step)
{
	static const unsigned long flags = UAPI_MS_NOSUID | UAPI_MS_NODEV |
					   UAPI_MS_NOEXEC;
	long error = 0;

	*step = "mount-configfs";
	if (plan->channel != NULL && load32_le(plan->channel + 4) == PLAN_TSM)
		error = mount("configfs", "/sys/kernel/config", flags);
	if (error < 0)
		return error;
	*step = "mount-securityfs";	/* where the firmware's log is */
	if (plan->channel != NULL && load32_le(plan->channel + 4) == PLAN_TPM)
		error = mount("securityfs", "/sys/kernel/security", flags);
	if (error < 0 || plan->cgroup == NULL)
		return error;
	*step = "mount-cgroup2";
	error = mount("cgroup2", "/sys/fs/cgroup", flags);
	/* The root of all groups may have controllers and processes. */
	*step = "enable-controllers";
	if (error == 0 && load64_le(plan->cgroup) != 0)
		error = enable_controller("+memory");
	if (error == 0 && load64_le(plan->cgroup + 8) != 0)
		error = enable_controller("+pids");
	if (error == 0 && load64_le(plan->cgroup + 16) != 0)
		error = enable_controller("+cpu");
	return error;
}

/* A kernel that finds no /dev/console starts init without: then the first files
 * that are opened would be taken for the program's streams. */
static long open_streams(void)
{
	enum { GET_FLAGS = 1, READ_WRITE_NO_TERMINAL = 0402, BAD_FILE = -9 };

	for (int fd = 0; fd < 3; fd++) {
		long opened = fd;

		if (sys2(SYS_fcntl, fd, GET_FLAGS) >= 0)
			continue;
		opened = sys_open("/dev/console", READ_WRITE_NO_TERMINAL);
		if (opened < 0)
			opened = sys_open("/dev/null", READ_WRITE_NO_TERMINAL);
		if (opened != fd)
			return opened < 0 ? opened : BAD_FILE;
	}
	return 0;
}

/* The kernel gives it 127.0.0.1 and ::1 as it comes up.  A kernel that knows
 * no addresses of the internet has nobody who misses it. */
static long raise_loopback(void)
{
	struct uapi_ifreq_flags loopback = { .name = "lo" };
	long fd = sys3(SYS_socket, 2 /* AF_INET */,
		       02000002 /* SOCK_DGRAM | SOCK_CLOEXEC */, 0);
	long error;

	if (fd < 0)
		return fd == NO_SUCH_FAMILY ? 0 : fd;
	error = sys_ioctl((int)fd, UAPI_SIOCGIFFLAGS, &loopback);
	loopback.flags |= UAPI_IFF_UP;
	if (error >= 0)
		error = sys_ioctl((int)fd, UAPI_SIOCSIFFLAGS, &loopback);
	sys_close((int)fd);
	return error;
}

long init_prepare(const char **step)
{
	/* First, because standard error may be in it; and what cannot be
	 * mounted can still be said on the console that the kernel brought. */
	long devices = mount_if_there("devtmpfs", "/dev", UAPI_MS_NOSUID);
	long error;

	*step = "open-streams";
	error = open_streams();
	if (error < 0)
		return error;
	*step = "mount-dev";
	if (devices < 0)
		return devices;
	/* The launch cannot do without this one. */
	*step = "mount-proc";
	error = mount("proc", "/proc", UAPI_MS_NOSUID | UAPI_MS_NODEV |
		      UAPI_MS_NOEXEC);
	if (error < 0)
		return error;
	*step = "mount-sys";
	return mount_if_there("sysfs", "/sys", UAPI_MS_NOSUID | UAPI_MS_NODEV |
					       UAPI_MS_NOEXEC);
}

/* A call that is reported and made is no refusal. */
static int may_have_socket(const struct plan *plan, struct bpf_state *states)
{
	static const uint32_t numbers[] = ARCH_SOCKET_NUMBERS;
	static const struct bpf_range here = { ARCH_AUDIT, ARCH_AUDIT };
	size_t count = plan->filter_count;

	if (plan->flags & PLAN_AUDIT ||
	    bpf_check(plan->filter, count, states) != count)
		return 1;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct bpf_range nr = { numbers[i], numbers[i] };

		if (bpf_prove(plan->filter, count, nr, here, BPF_REFUSALS,
			      states) != count)
			return 1;
	}
	return 0;
}

long init_raise_loopback(const struct plan *plan, struct bpf_state *states)
{
	if (plan->network == NULL && plan->channel == NULL &&
	    !may_have_socket(plan, states))
		return 0;
	return raise_loopback();
}

void init_describe_end(struct text *text, const struct launch_result *result)
{
	if (result->step != NULL)
		text_add(text, "the launch failed");
	else if (result->timed_out)
		text_add(text, "the program's time was up");
	else if (result->violation)
		text_add(text, "a refused call ended the program");
	else if (result->out_of_memory)
		text_add(text, "the program needed more memory than it may have");
	else if (result->signal != 0) {
		text_add(text, "signal ");
		text_add_signed(text, result->signal);
		text_add(text, " ended the program");
	}
}

/* One line, which a reader of the console finds whatever the program wrote. */
static void say_end(const struct launch_result *result)
{
	char line[96];
	char words[64];
	struct text text = { line, sizeof(line) - 1, 0 };
	struct text end = { words, sizeof(words), 0 };

	words[0] = 0;
	init_describe_end(&end, result);
	text_add(&text, "shim: exit code ");
	text_add_signed(&text, result->exit_code);
	if (end.size != 0)
		text_add(&text, ": ");
	text_add(&text, words);
	line[text.size++] = '\n';
	sys_write(2, line, text.size);
}

_Noreturn void init_power_off(const struct launch_result *result)
{
	static const char sealed[] = "shim: power off; how the program ended is "
				     "sealed\n";

	if (result != NULL)
		say_end(result);
	else
		sys_write(2, sealed, sizeof(sealed) - 1);
	sys0(SYS_sync);
	/* A serial line is slow, and what it has not sent is lost: tcdrain.
	 * Whatever else standard error is, has nothing to send. */
	(void)arch_syscall(SYS_ioctl, 2, UAPI_TCSBRK, 1, 0, 0, 0);
	(void)reboot(UAPI_REBOOT_POWER_OFF); /* returns only if it cannot */
	for (;;)
		sys_ppoll(NULL, 0, NULL);
}

_Noreturn void init_end(const struct launch_result *result)
{
	init_power_off(result);
}
