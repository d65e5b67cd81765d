/* clx_files — see the header. */
#define _GNU_SOURCE
#include "clx_files.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int clx_open_directory(const char *path) { return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC); }

int clx_open_below(int directory, const char *name, int links) {
  struct open_how how = {
    .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
    .resolve = RESOLVE_NO_MAGICLINKS | (links < 2 ? RESOLVE_BENEATH : 0) | (links < 1 ? RESOLVE_NO_SYMLINKS : 0),
  };
  /* EAGAIN: something was renamed meanwhile, and the kernel could not tell whether a ".." of a link stays below. */
  for (int tries = 0; tries < 8; tries++) {
    int fd = (int)syscall(SYS_openat2, directory, name, &how, sizeof how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return fd;
  }
  return -1;
}

int clx_open_part(int directory, const char *name, int reads) {
  int flags = reads ? O_RDONLY | O_NONBLOCK | O_NOCTTY : O_PATH | O_DIRECTORY;
  return openat(directory, name, flags | O_NOFOLLOW | O_CLOEXEC);
}

int clx_open_any(int directory, const char *name) { return openat(directory, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC); }

int clx_has_open_below(void) {
  struct open_how how = {.flags = O_PATH};
  /* There is no such descriptor, which is what a kernel says that has looked. */
  return syscall(SYS_openat2, -1, ".", &how, sizeof how) >= 0 || errno == EBADF;
}

int clx_look_at(int fd, struct clx_file *file) {
  struct stat facts;
  if (fstat(fd, &facts) != 0) return -1;
  *file = (struct clx_file){.size = facts.st_size, .seconds = facts.st_mtim.tv_sec, .mode = facts.st_mode, .nanoseconds = (uint32_t)facts.st_mtim.tv_nsec};
  return 0;
}

ssize_t clx_send_file(int socket, int fd, int64_t *offset, size_t count) {
  off_t position = *offset;
  ssize_t sent = sendfile(socket, fd, &position, count);
  if (sent > 0) *offset = position;
  return sent;
}

ssize_t clx_send_more(int socket, const void *bytes, size_t count) { return send(socket, bytes, count, MSG_NOSIGNAL | MSG_MORE); }

void clx_will_read(int fd, int64_t offset, int64_t count) {
  posix_fadvise(fd, offset, count, POSIX_FADV_SEQUENTIAL);
}
