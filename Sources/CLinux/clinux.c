#define _GNU_SOURCE
#include "clinux.h"
#include <sys/mman.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

int clx_accept(int fd, struct sockaddr_storage *address, socklen_t *length) {
  return accept4(fd, (struct sockaddr *)address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
int clx_socket(int family) { return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }
int clx_datagram_socket(int family) { return socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }
int clx_set_option(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value); }
int clx_socket_error(int fd) {
  int code = 0;
  socklen_t length = sizeof code;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) == 0 ? code : errno;
}
void clx_reset_on_close(int fd) {
  struct linger linger = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}
int clx_has_input(int fd) {
  char byte;
  ssize_t count = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return !(count < 0 && (errno == EAGAIN || errno == EINTR));
}
ssize_t clx_send_two(int fd, const void *a, size_t na, const void *b, size_t nb) {
  struct iovec parts[2] = {{(void *)a, na}, {(void *)b, nb}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  return sendmsg(fd, &message, MSG_NOSIGNAL);
}
int clx_is_v4_mapped(const void *address) {
  static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return memcmp(address, prefix, sizeof prefix) == 0;
}

/* Not strftime: its names of days and months follow the locale. */
int clx_http_date(char *text, size_t size, const struct tm *t) {
  static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return snprintf(text, size, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[(unsigned)t->tm_wday % 7], t->tm_mday % 100,
                  months[(unsigned)t->tm_mon % 12], (t->tm_year + 1900) % 10000, t->tm_hour, t->tm_min, t->tm_sec);
}
int clx_open_null(void) { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

void *clx_reserve(size_t size) {
  void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return NULL;
  madvise(base, size, MADV_NOHUGEPAGE);
  return base;
}

void clx_discard(void *base, size_t size) { madvise(base, size, MADV_DONTNEED); }

void clx_release(void *base, size_t size) { munmap(base, size); }
/* A non-blocking pipe of size bytes where the limits allow; returns the size it has, or -1. */
int clx_sized_pipe(int *reading, int *writing, int size) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
  *reading = ends[0];
  *writing = ends[1];
  int granted = fcntl(ends[1], F_SETPIPE_SZ, size);
  return granted > 0 ? granted : fcntl(ends[1], F_GETPIPE_SZ);
}
/* One of the two is a pipe. */
ssize_t clx_splice(int from, int to, size_t n, int more) {
  return splice(from, NULL, to, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (more ? SPLICE_F_MORE : 0));
}
