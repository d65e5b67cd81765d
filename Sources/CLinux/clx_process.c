#define _GNU_SOURCE
#include "clx_process.h"
#include <sys/inotify.h>
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <syslog.h>
#include <netinet/in.h>

extern char **environ;

// Processes

static void set_of(const int *signals, sigset_t *set) {
  sigemptyset(set);
  for (; *signals; signals++) sigaddset(set, *signals);
}

int clx_spawn(const char *path, char *const argv[], int control, int output, const int *blocked, pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int error = posix_spawn_file_actions_init(&actions);
  if (error) return error;
  error = posix_spawnattr_init(&attributes);
  if (error) {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  sigset_t mask, defaults;
  set_of(blocked, &mask);
  sigfillset(&defaults);
  sigdelset(&defaults, SIGKILL);
  sigdelset(&defaults, SIGSTOP);
  sigdelset(&defaults, SIGPIPE); /* stays ignored if it is */
  posix_spawnattr_setsigmask(&attributes, &mask);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  /* A child that is listened to may have children of its own: a group, so that all can be ended. */
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | (output >= 0 ? POSIX_SPAWN_SETPGROUP : 0));
  /* dup2 onto itself clears close-on-exec in glibc, so control == 3 is right as well. */
  error = posix_spawn_file_actions_adddup2(&actions, control, 3);
  if (!error && output >= 0) error = posix_spawn_file_actions_adddup2(&actions, output, 1);
  if (!error && output >= 0) error = posix_spawn_file_actions_adddup2(&actions, output, 2);
  if (!error) error = posix_spawn_file_actions_addclosefrom_np(&actions, 4);
  if (!error) error = posix_spawn(pid, path, &actions, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

int clx_become_program(const char *path, int fd, char *const argv[]) {
  if (path) execv(path, argv);
  else execveat(fd, "", argv, environ, AT_EMPTY_PATH);
  return errno;
}

int clx_keep_on_exec(int fd, bool keep) { return fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC); }

bool clx_is_child(pid_t pid) {
  siginfo_t info;
  return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

int clx_fork(void) { return fork(); }
void clx_close_from(int fd) { closefrom(fd); }
int clx_pipe(int fds[2]) { return pipe2(fds, O_CLOEXEC); }
int clx_duplicate(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 3); }
int clx_close_on_exec(int fd) { return fcntl(fd, F_SETFD, FD_CLOEXEC); }
int clx_limit_files(void) { return RLIMIT_NOFILE; }
const char *clx_environment(int index) { return environ ? environ[index] : NULL; }

void clx_error_text(int code, char *text, size_t size) {
  const char *found = strerror_r(code, text, size);
  if (found != text) snprintf(text, size, "%s", found);
}
void clx_set_name(const char *name) { prctl(PR_SET_NAME, (unsigned long)name, 0, 0, 0); }

void clx_syslog(const char *program, const char *message) {
  openlog(program, LOG_PID, LOG_DAEMON);
  syslog(LOG_ERR, "%s", message);
  closelog();
}

// Wake-ups

int clx_bell(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void clx_bell_ring(int fd) {
  ssize_t count;
  do count = eventfd_write(fd, 1); while (count < 0 && errno == EINTR);
}

// Signals

int clx_signal_open(const int *signals) {
  sigset_t set;
  set_of(signals, &set);
  if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -1;
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int clx_signal_next(int fd, pid_t *sender) {
  struct signalfd_siginfo info;
  ssize_t count;
  do count = read(fd, &info, sizeof info); while (count < 0 && errno == EINTR);
  if (count != (ssize_t)sizeof info) return 0;
  *sender = info.ssi_code == SI_USER || info.ssi_code == SI_QUEUE || info.ssi_code == SI_TKILL ? (pid_t)info.ssi_pid : 0;
  return (int)info.ssi_signo;
}

void clx_signal_ignore(int number) { signal(number, SIG_IGN); }
void clx_signal_restore(int number) { signal(number, SIG_DFL); }

const char *clx_signal_name(int number) {
  static _Thread_local char text[24];
  const char *name = sigabbrev_np(number);
  if (!name) return NULL;
  snprintf(text, sizeof text, "SIG%s", name);
  return text;
}

// Memory

int clx_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); }

int clx_memory_seal(int fd, bool content) {
  int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (content) seals |= F_SEAL_WRITE;
  return fcntl(fd, F_ADD_SEALS, seals);
}

int clx_memory_seals(int fd) {
  int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW)) return 0;
  return seals & F_SEAL_WRITE ? 1 : 2;
}

void *clx_map(int fd, size_t size, bool writable) {
  void *base = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  return base == MAP_FAILED ? NULL : base;
}

int64_t clx_file_size(int fd) {
  struct stat facts;
  return fstat(fd, &facts) < 0 ? -1 : (int64_t)facts.st_size;
}

// Messages with descriptors

enum { MOST_DESCRIPTORS = 253 }; /* the kernel's SCM_MAX_FD */

int clx_message_pair(int fds[2]) { return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds); }

ssize_t clx_message_send(int socket, const void *bytes, size_t count, const int *fds, size_t fd_count) {
  union { struct cmsghdr align; char space[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))]; } control;
  if (fd_count > MOST_DESCRIPTORS) { errno = EINVAL; return -1; }
  struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd_count) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.space;
    message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
  }
  ssize_t sent;
  do sent = sendmsg(socket, &message, MSG_NOSIGNAL); while (sent < 0 && errno == EINTR);
  return sent;
}

ssize_t clx_message_receive(int socket, void *bytes, size_t capacity, int *fds, size_t fd_capacity, size_t *fd_count, bool *truncated) {
  union { struct cmsghdr align; char space[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))]; } control;
  struct iovec part = {.iov_base = bytes, .iov_len = capacity};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
  *fd_count = 0;
  *truncated = false;
  ssize_t count;
  do count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC); while (count < 0 && errno == EINTR);
  if (count < 0) return count;
  if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) *truncated = true;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t received = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < received; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      if (*fd_count < fd_capacity) {
        fds[(*fd_count)++] = fd;
      } else {
        close(fd);
        *truncated = true;
      }
    }
  }
  return count;
}

// Sockets

int clx_socket_port(int fd) {
  union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } name;
  socklen_t length = sizeof name;
  if (getsockname(fd, &name.any, &length) < 0) return -1;
  if (name.any.sa_family == AF_INET) return ntohs(name.v4.sin_port);
  if (name.any.sa_family == AF_INET6) return ntohs(name.v6.sin6_port);
  return 0;
}

int clx_get_option(int fd, int level, int name) {
  int value = 0;
  socklen_t length = sizeof value;
  return getsockopt(fd, level, name, &value, &length) == 0 ? value : -1;
}

int clx_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return -1;
  *pid = peer.pid;
  *uid = peer.uid;
  *gid = peer.gid;
  return 0;
}

int clx_set_nonblocking(int fd, bool on) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -1;
  return fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

int clx_set_timeouts(int fd, int milliseconds) {
  struct timeval limit = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0) return -1;
  return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

// Files

int clx_open(const char *path, int flags, unsigned mode) { return open(path, flags, mode); }

int clx_file_facts(int fd, bool *regular, uid_t *owner, uint64_t *device, uint64_t *inode) {
  struct stat facts;
  if (fstat(fd, &facts) < 0) return -1;
  *regular = S_ISREG(facts.st_mode);
  *owner = facts.st_uid;
  *device = facts.st_dev;
  *inode = facts.st_ino;
  return 0;
}

int clx_path_facts(const char *path, uint32_t *mode, uid_t *owner, uint64_t *device, uint64_t *inode) {
  struct stat facts;
  if (lstat(path, &facts) < 0) return -1;
  *mode = facts.st_mode;
  *owner = facts.st_uid;
  *device = facts.st_dev;
  *inode = facts.st_ino;
  return 0;
}

int clx_path_stamp(const char *path, int64_t *modified, int64_t *size, uint64_t *device, uint64_t *inode) {
  struct stat facts;
  if (stat(path, &facts) < 0) return -1;
  *modified = (int64_t)facts.st_mtim.tv_sec * 1000000000 + facts.st_mtim.tv_nsec;
  *size = facts.st_size;
  *device = facts.st_dev;
  *inode = facts.st_ino;
  return 0;
}

// Timers

int clx_timer_open(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC); }
int clx_timer_set(int fd, int64_t milliseconds) {
  struct itimerspec when = {.it_value = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000}};
  return timerfd_settime(fd, 0, &when, NULL);
}
void clx_timer_clear(int fd) {
  uint64_t count;
  while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {}
}

// Identity

/* The buffer that getpwnam_r and its kin want grows until it is enough, up to 1 MiB. */
int clx_user(const char *name, uid_t *uid, gid_t *gid) {
  for (size_t size = 4096; size <= 1 << 20; size *= 4) {
    char *space = malloc(size);
    if (!space) return -1;
    struct passwd entry, *found = NULL;
    int error = getpwnam_r(name, &entry, space, size, &found);
    if (found) {
      *uid = found->pw_uid;
      *gid = found->pw_gid;
    }
    free(space);
    if (found) return 0;
    if (error != ERANGE) {
      errno = error;
      return error == 0 || error == ENOENT || error == ESRCH ? 1 : -1;
    }
  }
  return -1;
}

int clx_group(const char *name, gid_t *gid) {
  for (size_t size = 4096; size <= 1 << 20; size *= 4) {
    char *space = malloc(size);
    if (!space) return -1;
    struct group entry, *found = NULL;
    int error = getgrnam_r(name, &entry, space, size, &found);
    if (found) *gid = found->gr_gid;
    free(space);
    if (found) return 0;
    if (error != ERANGE) {
      errno = error;
      return error == 0 || error == ENOENT || error == ESRCH ? 1 : -1;
    }
  }
  return -1;
}

int clx_become(const char *user, uid_t uid, gid_t gid) {
  int groups = user ? initgroups(user, gid) : setgroups(1, &gid);
  if (groups < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0) return -1;
  /* Being able to come back would mean that nothing was given up. */
  if (uid != 0 && setuid(0) == 0) {
    errno = EPERM;
    return -1;
  }
  return 0;
}

int clx_processors(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 ? (int)count : 1;
}

int clx_watch_open(void) { return inotify_init1(IN_NONBLOCK | IN_CLOEXEC); }
int clx_watch_add(int fd, const char *directory) {
  return inotify_add_watch(
    fd, directory,
    IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
}
int clx_watch_remove(int fd, int watch) { return inotify_rm_watch(fd, watch); }
long clx_watch_drain(int fd) {
  char events[16384];
  long total = 0;
  for (int turn = 0; turn < 64; turn++) {
    ssize_t count = read(fd, events, sizeof events);
    if (count <= 0) break;
    total += count;
  }
  return total;
}
long clx_link_target(const char *path, char *target, size_t size) { return readlink(path, target, size); }

static int release_code(struct dl_phdr_info *object, size_t size, void *context) {
  (void)size;
  (void)context;
  if (object->dlpi_name && strncmp(object->dlpi_name, "linux-", 6) == 0) return 0; /* the kernel's own page */
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &object->dlpi_phdr[i];
    /* Nothing was ever written there, so what is dropped is read again from the file. */
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X) || (part->p_flags & PF_W)) continue;
    uintptr_t start = (object->dlpi_addr + part->p_vaddr) & ~(page - 1);
    uintptr_t end = (object->dlpi_addr + part->p_vaddr + part->p_memsz + page - 1) & ~(page - 1);
    madvise((void *)start, end - start, MADV_DONTNEED);
  }
  return 0;
}

void clx_release_code(void) { dl_iterate_phdr(release_code, NULL); }
