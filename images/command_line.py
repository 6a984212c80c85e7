"""The command line of a kernel that boots an image: the launcher is its first program, and it is hardened."""

from __future__ import annotations

from images.image import LAUNCHER

# Each word with its reason.
HARDENING = (
    ("quiet", "only what goes wrong is written to the console, which the host reads"),
    ("panic=-1", "a kernel that gave up starts again at once, and waits for nobody"),
    ("oops=panic", "a kernel that went wrong in one place is not trusted in another"),
    ("init_on_alloc=1", "memory holds nothing of what it was used for before"),
    ("init_on_free=1", "nor does it keep what was freed"),
    ("slab_nomerge", "kinds of objects of the kernel do not share memory"),
    ("page_alloc.shuffle=1", "the place of a page tells nothing of the next"),
    ("randomize_kstack_offset=on", "each system call begins at another depth of the stack"),
    ("vsyscall=none", "no code at a fixed address"),
    ("debugfs=off", "no files that show the kernel's inside"),
    ("lockdown=confidentiality", "not even root reads the kernel's memory"),
    ("sysctl.kernel.sysrq=0", "no commands to the kernel over the console"),
)
CONSOLE = "console=ttyS0"


def command_line(added: str = "", console: str = CONSOLE) -> str:
    """
    Return the command line that starts the launcher of an image, with words of the user behind ours.

    Of a word that stands twice the kernel goes by the last: the user's.

    Source:
        Linux 6.12, Documentation/admin-guide/kernel-parameters.txt.
    """
    words = (f"rdinit={LAUNCHER}", console, *(word for word, _ in HARDENING), added.strip())
    return " ".join(word for word in words if word)
