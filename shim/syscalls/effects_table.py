"""
What does each syscall do, in a few words?

One line a call: name, risk, phrase; a line in brackets opens a group of `shim.syscalls.effects`, which reads
this and says what the risks mean.  The phrases describe what the manual pages of section 2 and the kernel's
sources say, in our words.
"""

from __future__ import annotations

ROWS = """
[descriptors]
read low read from an open descriptor
write low write to an open descriptor
close low close a descriptor
close_range low close a range of descriptors
lseek low move the position in an open file
pread64 low read at a position
pwrite64 low write at a position
readv low read into several buffers
writev low write from several buffers
preadv low read into several buffers at a position
pwritev low write from several buffers at a position
preadv2 low read into several buffers, with flags
pwritev2 low write from several buffers, with flags
dup low copy a descriptor
dup2 low copy a descriptor to a chosen number
dup3 low copy a descriptor to a chosen number, with flags
fcntl low set flags, locks and owners of a descriptor
flock low lock an open file
ioctl moderate ask the driver behind a descriptor for anything it offers
sendfile low copy between descriptors inside the kernel
splice low move data between a pipe and a descriptor
tee low copy data between pipes
vmsplice low hand memory to a pipe without copying
copy_file_range low copy a range between open files
fsync low wait until a file is on disk
fdatasync low wait until a file's data is on disk
sync_file_range low write back a range of a file
sync low write back all file systems
syncfs low write back one file system
readahead low fill the page cache from a file
fadvise64 low announce how a file will be read
cachestat low ask how much of a file is cached
fallocate low reserve or punch space in an open file
ftruncate low change the length of an open file
io_setup low create a queue for asynchronous I/O
io_destroy low remove a queue for asynchronous I/O
io_submit low start asynchronous I/O
io_cancel low cancel asynchronous I/O
io_getevents low collect asynchronous I/O
io_pgetevents low collect asynchronous I/O under a signal mask
io_uring_setup high create an io_uring: operations that no filter sees
io_uring_enter high submit to an io_uring: operations that no filter sees
io_uring_register high register files and buffers with an io_uring

[files]
open moderate open or create a file
openat moderate open or create a file below a directory
openat2 moderate open or create a file, with limits on the way there
open_by_handle_at critical open a file by handle, past every directory permission
name_to_handle_at moderate ask for a file's handle
stat moderate look up a file's attributes
lstat moderate look up a link's attributes
fstat low attributes of an open file
newfstatat moderate look up a file's attributes below a directory
statx moderate look up a file's extended attributes and times
access moderate test whether a file may be used
faccessat moderate test whether a file may be used, below a directory
faccessat2 moderate test whether a file may be used, with flags
readlink moderate read where a link points
readlinkat moderate read where a link points, below a directory
getdents low list an open directory
getdents64 low list an open directory
getcwd low ask for the working directory
chdir moderate change the working directory
fchdir low change the working directory to an open one
statfs moderate ask about the file system of a path
fstatfs low ask about the file system of an open file
ustat moderate ask about a file system by device number
sysfs low list the kinds of file system the kernel has
getxattr moderate read an extended attribute
lgetxattr moderate read an extended attribute of a link
fgetxattr low read an extended attribute of an open file
getxattrat moderate read an extended attribute below a directory
listxattr moderate list extended attributes
llistxattr moderate list extended attributes of a link
flistxattr low list extended attributes of an open file
listxattrat moderate list extended attributes below a directory
file_getattr moderate read a file's inode flags
inotify_init low create a watch on files
inotify_init1 low create a watch on files, with flags
inotify_add_watch moderate watch a path
inotify_rm_watch low stop watching a path
fanotify_init critical watch or veto what every process does with files
fanotify_mark high choose what fanotify watches

[changes]
creat moderate create or empty a file
mkdir moderate make a directory
mkdirat moderate make a directory below a directory
rmdir moderate remove a directory
unlink moderate remove a file
unlinkat moderate remove a file or directory below a directory
rename moderate rename a file
renameat moderate rename a file between directories
renameat2 moderate rename or exchange files
link moderate give a file another name
linkat moderate give a file another name, between directories
symlink moderate make a symbolic link
symlinkat moderate make a symbolic link below a directory
truncate moderate change the length of a file by path
mknod high make a device node, pipe or file
mknodat high make a device node, pipe or file below a directory
chmod moderate change a file's permissions, set-user-ID included
fchmod moderate change an open file's permissions
fchmodat moderate change permissions below a directory
fchmodat2 moderate change permissions below a directory, with flags
chown high give a file to another user
fchown high give an open file to another user
lchown high give a link to another user
fchownat high give a file below a directory to another user
umask low choose the permissions of new files
utime moderate set a file's times
utimes moderate set a file's times
futimesat moderate set a file's times below a directory
utimensat moderate set a file's times in nanoseconds
setxattr moderate set an extended attribute
lsetxattr moderate set an extended attribute of a link
fsetxattr moderate set an extended attribute of an open file
setxattrat moderate set an extended attribute below a directory
removexattr moderate remove an extended attribute
lremovexattr moderate remove an extended attribute of a link
fremovexattr moderate remove an extended attribute of an open file
removexattrat moderate remove an extended attribute below a directory
file_setattr moderate set a file's inode flags

[network]
socket moderate open a socket of any family
connect moderate connect a socket to a peer
bind moderate give a socket an address
listen moderate wait for connections
accept moderate take a connection
accept4 moderate take a connection, with flags
sendto moderate send, to an address if one is given
recvfrom low receive from a socket
sendmsg moderate send data and descriptors
recvmsg low receive data and descriptors
sendmmsg moderate send several messages
recvmmsg low receive several messages
shutdown low end one direction of a connection
getsockname low ask for a socket's own address
getpeername low ask for the peer's address
socketpair low make a pair of connected sockets
setsockopt moderate set a socket's options, packet filters included
getsockopt low ask for a socket's options

[ipc]
pipe low make a pipe
pipe2 low make a pipe, with flags
eventfd low make an event counter
eventfd2 low make an event counter, with flags
memfd_create moderate make an anonymous file, executable unless sealed
memfd_secret low make memory that the kernel itself cannot map
shmget moderate open shared memory by key
shmat moderate map shared memory
shmdt low unmap shared memory
shmctl moderate ask about or remove shared memory
semget moderate open semaphores by key
semop moderate change semaphores
semtimedop moderate change semaphores, with a timeout
semctl moderate ask about or remove semaphores
msgget moderate open a message queue by key
msgsnd moderate send to a message queue
msgrcv moderate receive from a message queue
msgctl moderate ask about or remove a message queue
mq_open moderate open a named message queue
mq_unlink moderate remove a named message queue
mq_timedsend low send to an open message queue
mq_timedreceive low receive from an open message queue
mq_notify low be told of a message
mq_getsetattr low ask for or set a queue's attributes

[waiting]
poll low wait for descriptors
ppoll low wait for descriptors under a signal mask
select low wait for descriptors
pselect6 low wait for descriptors under a signal mask
epoll_create low make an event queue
epoll_create1 low make an event queue, with flags
epoll_ctl low choose what an event queue watches
epoll_wait low wait for an event queue
epoll_pwait low wait for an event queue under a signal mask
epoll_pwait2 low wait for an event queue, in nanoseconds
signalfd low receive signals through a descriptor
signalfd4 low receive signals through a descriptor, with flags
timerfd_create low make a timer that is a descriptor
timerfd_settime low start a timer descriptor
timerfd_gettime low ask how long a timer descriptor runs

[memory]
brk low move the end of the heap
mmap moderate map memory or files, executable if asked
munmap low unmap memory
mremap low move or resize a mapping
mprotect moderate change protections, to executable if asked
pkey_mprotect moderate change protections and key, to executable if asked
pkey_alloc low reserve a protection key
pkey_free low release a protection key
madvise low announce how memory will be used
msync low write a mapping back to its file
mincore low ask which pages are in memory
mlock low keep pages in memory
mlock2 low keep pages in memory, with flags
munlock low let pages be swapped
mlockall low keep all pages in memory
munlockall low let all pages be swapped
mseal low forbid later changes of a mapping
map_shadow_stack low map a shadow stack
remap_file_pages low rearrange a file mapping
membarrier low order memory accesses between threads
mbind moderate choose the NUMA nodes of memory
get_mempolicy low ask for the NUMA policy
set_mempolicy moderate set the NUMA policy
set_mempolicy_home_node moderate set the home node of memory
migrate_pages moderate move a process's pages to other nodes
move_pages moderate move chosen pages to other nodes
userfaultfd high answer page faults, the kernel's own included
process_madvise critical advise on another process's memory
process_mrelease moderate reclaim a dying process's memory

[processes]
clone moderate start a thread or process, with namespaces if asked
clone3 moderate start a thread or process, with namespaces if asked
fork moderate start a process
vfork moderate start a process that borrows the memory
execve high replace the program
execveat high replace the program by a descriptor
exit low end the thread
exit_group low end the process
wait4 low wait for a child
waitid low wait for a child
setpgid low move to another process group
setsid low start a session
pidfd_open moderate open another process as a descriptor

[threads]
futex low wait for or wake threads
futex_wait low wait at an address
futex_wake low wake waiters at an address
futex_waitv low wait at several addresses
futex_requeue low move waiters to another address
set_tid_address low where the kernel clears the thread's number at its end
set_robust_list low where the kernel finds locks of a dead thread
get_robust_list low ask for the list of locks of a thread
rseq low register restartable sequences
arch_prctl low set the thread pointer and processor features
sched_yield low let others run
sched_getaffinity low ask on which processors a thread may run
sched_setaffinity moderate choose on which processors a thread runs
sched_getparam low ask for a scheduling priority
sched_setparam moderate set a scheduling priority
sched_getscheduler low ask for a scheduling policy
sched_setscheduler moderate set a scheduling policy
sched_getattr low ask for scheduling attributes
sched_setattr moderate set scheduling attributes
sched_get_priority_max low ask for the highest priority
sched_get_priority_min low ask for the lowest priority
sched_rr_get_interval low ask for the time slice
getcpu low ask on which processor it runs

[signals]
rt_sigaction low choose a signal's handler
rt_sigprocmask low block signals
rt_sigreturn low return from a signal handler
rt_sigpending low ask for pending signals
rt_sigsuspend low wait for a signal
rt_sigtimedwait low wait for a signal, with a timeout
sigaltstack low choose the stack of handlers
pause low wait for any signal
kill moderate send a signal to any process of the user
tkill moderate send a signal to a thread
tgkill moderate send a signal to a thread of a process
rt_sigqueueinfo moderate send a signal with data
rt_tgsigqueueinfo moderate send a signal with data to a thread
pidfd_send_signal moderate send a signal by descriptor
restart_syscall low go on with an interrupted wait

[time]
time low ask for the time
gettimeofday low ask for the time
clock_gettime low ask for the time of a clock
clock_getres low ask for the resolution of a clock
nanosleep low sleep
clock_nanosleep low sleep by a clock
alarm low have a signal sent later
getitimer low ask for an interval timer
setitimer low start an interval timer
timer_create low make a timer
timer_settime low start a timer
timer_gettime low ask how long a timer runs
timer_getoverrun low ask how often a timer was missed
timer_delete low remove a timer
times low ask for the processor time used

[facts]
getpid low ask for its own number
gettid low ask for the thread's number
getppid low ask for the parent's number
getpgrp low ask for its process group
getpgid low ask for a process group
getsid low ask for a session
getuid low ask for the user
geteuid low ask for the effective user
getgid low ask for the group
getegid low ask for the effective group
getresuid low ask for all three users
getresgid low ask for all three groups
getgroups low ask for the further groups
capget low ask for capabilities
uname low ask for the kernel's name and version
sysinfo low ask for memory and load of the machine
getrusage low ask for the resources used
getrlimit low ask for a limit
getpriority low ask for a priority
ioprio_get low ask for an I/O priority
getrandom low ask for random bytes
lsm_list_modules low list security modules
lsm_get_self_attr low ask for its own security attributes
statmount moderate ask about a mount
listmount moderate list mounts

[identity]
setuid high become another user
setgid high become another group
setreuid high change real and effective user
setregid high change real and effective group
setresuid high change all three users
setresgid high change all three groups
setfsuid high change the user for file access
setfsgid high change the group for file access
setgroups high change the further groups
capset high change capabilities
personality high change the execution domain, randomisation off included
add_key high put a key into the kernel's keyring
request_key high ask the kernel, or user space, for a key
keyctl high manage keys in the kernel

[limits]
setrlimit moderate set a limit
prlimit64 moderate ask for or set a limit, of another process too
setpriority moderate set a priority
ioprio_set moderate set an I/O priority
prctl moderate one of many settings of the process
seccomp moderate filter syscalls, or answer for them
landlock_create_ruleset low begin a set of access limits
landlock_add_rule low add to a set of access limits
landlock_restrict_self low limit itself
lsm_set_self_attr moderate set its own security attributes

[namespaces]
mount critical mount a file system
umount2 critical unmount a file system
mount_setattr critical change a mount
move_mount critical move a mount
open_tree critical open or copy a mount
open_tree_attr critical open or copy a mount and change it
fsopen critical begin to configure a file system
fsconfig critical configure a file system
fsmount critical mount a configured file system
fspick critical reconfigure a file system
pivot_root critical exchange the root
chroot critical change the root
unshare critical leave namespaces
setns critical enter namespaces of others

[tracing]
ptrace critical read and write memory and registers of other processes
process_vm_readv critical read memory of other processes
process_vm_writev critical write memory of other processes
pidfd_getfd critical take descriptors from other processes
kcmp critical compare kernel objects of processes
perf_event_open critical count and sample what processor and kernel do
bpf critical load programs into the kernel
lookup_dcookie critical path of a profiler's cookie
uretprobe low return from a function the kernel traces
uprobe low enter a function the kernel traces

[kernel]
init_module critical load code into the kernel
finit_module critical load code into the kernel from a file
delete_module critical remove code from the kernel
kexec_load critical prepare another kernel
kexec_file_load critical prepare another kernel from a file
reboot critical stop or restart the machine
swapon critical add swap
swapoff critical remove swap
iopl critical reach all I/O ports
ioperm critical reach chosen I/O ports
modify_ldt high change segment descriptors
settimeofday critical set the clock
clock_settime critical set a clock
clock_adjtime critical steer a clock
adjtimex critical steer the clock
sethostname critical set the host's name
setdomainname critical set the domain's name
syslog critical read or clear the kernel's log
quotactl critical manage disk quotas
quotactl_fd critical manage disk quotas by descriptor
acct critical record every process's end
vhangup critical hang up the terminal

[obsolete]
_sysctl low removed
create_module low removed
get_kernel_syms low removed
query_module low removed
nfsservctl low removed
uselib low not on this architecture
getpmsg low never implemented
putpmsg low never implemented
afs_syscall low never implemented
tuxcall low never implemented
security low never implemented
vserver low never implemented
set_thread_area low not on this architecture
get_thread_area low not on this architecture
epoll_ctl_old low never implemented
epoll_wait_old low never implemented
"""
