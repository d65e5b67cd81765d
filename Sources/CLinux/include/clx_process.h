// clx_process — what the process parts of Kernel need and Swift cannot import: variadic calls, macros,
// control messages, and calls that must not be made between a fork and an exec by a language runtime.
//
// Every function that can fail returns -1 and leaves errno; clx_spawn returns the error number itself.
#ifndef CLX_PROCESS_H
#define CLX_PROCESS_H
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// Processes

/* Runs `path` with `argv` and this process's environment. In the child descriptor 3 is a copy of `control`;
   descriptors 0, 1 and 2 are inherited; everything else is closed. The signals in
   `blocked` (a zero-terminated list) are blocked in the child, all others unblocked and at their default,
   except that an ignored SIGPIPE stays ignored. With `output` >= 0 that is its standard output and error. */
int clx_spawn(const char *path, char *const argv[], int control, int output, const int *blocked, pid_t *pid);
/* This process becomes the program at `path`, or the one in the open file `fd` when path is NULL. Returns only on failure, with the error number. */
int clx_become_program(const char *path, int fd, char *const argv[]);
int clx_keep_on_exec(int fd, bool keep);
bool clx_is_child(pid_t pid); /* ours to wait for, whether it lives or not */
const char *clx_version(void); /* of the programs */
int clx_fork(void);
void clx_close_from(int fd);
int clx_pipe(int fds[2]); /* close-on-exec */
int clx_duplicate(int fd); /* close-on-exec, never 0, 1 or 2 */
int clx_close_on_exec(int fd);
int clx_limit_files(void);
const char *clx_environment(int index); /* "NAME=value"; NULL behind the last */
void clx_error_text(int code, char *text, size_t size);
void clx_set_name(const char *name);
void clx_release_code(void);
void clx_syslog(const char *program, const char *message);

// Wake-ups

/* A non-blocking eventfd. */
int clx_bell(void);
/* Adds one to it: everybody who watches it, edge-triggered, is woken. */
void clx_bell_ring(int fd);

// Signals

/* Blocks the signals of the zero-terminated list and returns a non-blocking signalfd for them. */
int clx_signal_open(const int *signals);
/* The next signal, 0 when none waits. *sender is the pid that sent it, 0 if the kernel did. */
int clx_signal_next(int fd, pid_t *sender);
void clx_signal_ignore(int number);
void clx_signal_restore(int number);
const char *clx_signal_name(int number); /* "SIGKILL"; NULL if unknown */

// Timers

int clx_timer_open(void); /* of the monotonic clock; non-blocking, close-on-exec */
int clx_timer_set(int fd, int64_t milliseconds); /* fires once, in so many; 0: not at all */
void clx_timer_clear(int fd);

// Directories

int clx_watch_open(void); /* non-blocking, close-on-exec */
/* Watches what happens to the names in a directory and to the files behind them; the watch's number. */
int clx_watch_add(int fd, const char *directory);
int clx_watch_remove(int fd, int watch);
/* Takes all events that wait; how many bytes that were, 0 for none. */
long clx_watch_drain(int fd);
/* The target of a symbolic link, without a zero; -1 when `path` is none. */
long clx_link_target(const char *path, char *target, size_t size);

// Memory

int clx_memory_file(const char *name); /* sealable, close-on-exec */
int clx_memory_seal(int fd, bool content); /* size for good; with `content` also what is in it */
int clx_memory_seals(int fd); /* 1: content is sealed, 2: only the size is, 0: neither */
void *clx_map(int fd, size_t size, bool writable); /* shared; NULL on failure */
/* Where the size of an open file is wanted; -1 on failure. */
int64_t clx_file_size(int fd);

// Messages with descriptors

int clx_message_pair(int fds[2]); /* SOCK_SEQPACKET, both ends close-on-exec and non-blocking */
ssize_t clx_message_send(int socket, const void *bytes, size_t count, const int *fds, size_t fd_count);
/* *truncated tells that bytes or descriptors did not fit; descriptors received are close-on-exec. */
ssize_t clx_message_receive(int socket, void *bytes, size_t capacity, int *fds, size_t fd_capacity, size_t *fd_count, bool *truncated);

// Sockets

int clx_socket_port(int fd);
int clx_get_option(int fd, int level, int name); /* -1 on failure */
int clx_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid);
int clx_set_nonblocking(int fd, bool on);
int clx_set_timeouts(int fd, int milliseconds); /* for blocking reads and writes; 0: none */

// Files

int clx_open(const char *path, int flags, unsigned mode);
int clx_file_facts(int fd, bool *regular, uid_t *owner, uint64_t *device, uint64_t *inode);
/* The same by path, symbolic links not followed; *kind is the S_IFMT part of the mode. */
int clx_path_facts(const char *path, uint32_t *mode, uid_t *owner, uint64_t *device, uint64_t *inode);
/* What tells whether a file, symbolic links followed, has been changed or replaced. *modified in nanoseconds. */
int clx_path_stamp(const char *path, int64_t *modified, int64_t *size, uint64_t *device, uint64_t *inode);

// Identity: 0 found, 1 not found, -1 failed

int clx_user(const char *name, uid_t *uid, gid_t *gid);
int clx_group(const char *name, gid_t *gid);
/* Groups of `user` (or only `gid` when it is NULL), then gid, then uid; for good. */
int clx_become(const char *user, uid_t uid, gid_t gid);

int clx_processors(void); /* that this process may run on */
#endif
