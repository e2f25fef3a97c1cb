"""Numbers of the system calls that `seccomp` filters, for the two supported architectures.

From Linux' `arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h`; `-` marks calls that an
architecture does not have. Uses only the standard library.
"""

from __future__ import annotations

X86_64, AARCH64 = 0xC000003E, 0xC00000B7
"""AUDIT_ARCH_* of `linux/audit.h`, by which a filter distinguishes architectures."""
LAST = 462
"""`mseal` (Linux 6.10). The sandbox denies later calls as nonexistent."""

_TABLE = """
ptrace 101 117
process_vm_readv 310 270
process_vm_writev 311 271
process_madvise 440 440
process_mrelease 448 448
pidfd_getfd 438 438
kcmp 312 272
mount 165 40
umount2 166 39
pivot_root 155 41
chroot 161 51
unshare 272 97
setns 308 268
fsopen 430 430
fsconfig 431 431
fsmount 432 432
fspick 433 433
open_tree 428 428
move_mount 429 429
mount_setattr 442 442
statmount 457 457
listmount 458 458
open_by_handle_at 304 265
name_to_handle_at 303 264
fanotify_init 300 262
fanotify_mark 301 263
inotify_init 253 -
inotify_init1 294 26
inotify_add_watch 254 27
bpf 321 280
perf_event_open 298 241
userfaultfd 323 282
io_uring_setup 425 425
io_uring_enter 426 426
io_uring_register 427 427
add_key 248 217
request_key 249 218
keyctl 250 219
seccomp 317 277
kexec_load 246 104
kexec_file_load 320 294
create_module 174 -
init_module 175 105
finit_module 313 273
delete_module 176 106
reboot 169 142
swapon 167 224
swapoff 168 225
acct 163 89
quotactl 179 60
quotactl_fd 443 443
sethostname 170 161
setdomainname 171 162
settimeofday 164 170
clock_settime 227 112
clock_adjtime 305 266
adjtimex 159 171
iopl 172 -
ioperm 173 -
syslog 103 116
vhangup 153 58
nfsservctl 180 42
lookup_dcookie 212 18
personality 135 92
modify_ldt 154 -
uselib 134 -
sysfs 139 -
ustat 136 -
move_pages 279 239
migrate_pages 256 238
mbind 237 235
set_mempolicy 238 237
get_mempolicy 239 236
set_mempolicy_home_node 450 450
remap_file_pages 216 234
memfd_create 319 279
memfd_secret 447 447
shmget 29 194
shmat 30 196
shmctl 31 195
shmdt 67 197
semget 64 190
semop 65 193
semctl 66 191
semtimedop 220 192
msgget 68 186
msgsnd 69 189
msgrcv 70 188
msgctl 71 187
mq_open 240 180
mq_unlink 241 181
mq_timedsend 242 182
mq_timedreceive 243 183
mq_notify 244 184
mq_getsetattr 245 185
ioprio_set 251 30
setpriority 141 140
sched_setscheduler 144 119
sched_setparam 142 118
sched_setattr 314 274
sched_setaffinity 203 122
prlimit64 302 261
clone 56 220
clone3 435 435
socket 41 198
socketpair 53 199
connect 42 203
bind 49 200
listen 50 201
ioctl 16 29
prctl 157 167
sync 162 81
syncfs 306 267
chmod 90 -
fchmod 91 52
fchmodat 268 53
fchmodat2 452 452
chown 92 -
fchown 93 55
lchown 94 -
fchownat 260 54
utime 132 -
utimes 235 -
futimesat 261 -
utimensat 280 88
setxattr 188 5
lsetxattr 189 6
fsetxattr 190 7
removexattr 197 14
lremovexattr 198 15
fremovexattr 199 16
"""


def _numbers(column: int) -> dict[str, int]:
    rows = (line.split() for line in _TABLE.strip().splitlines())
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


NUMBERS = {X86_64: _numbers(1), AARCH64: _numbers(2)}
"""Architecture -> name -> number."""
