#define _GNU_SOURCE
#include "scripted_network.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { base = 1 << 28, most = 256, lent_listener = base + most, lent_log = base + most + 1 };

struct bytes { uint8_t *at; size_t count, capacity; };

struct end {
  int kind, port;
  /* of the gateway's descriptor */
  int is_open, is_watched, is_dirty, was_blocked;
  uint64_t token;
  /* the connection */
  int is_accepted, is_connecting, is_refused;
  struct bytes in, out;
  size_t read, room;
  int has_finished, has_left, has_reset, reset_told;
  int ended, closed, was_reset, lingers;
};

struct network {
  struct end ends[most];
  int count, connects;
  uint64_t nanoseconds;
  int listener_open, listener_watched, listener_dirty;
  uint64_t listener_token;
  int log_open;
  struct bytes log;
};

static __thread struct network *network;

static int append(struct bytes *to, const void *from, size_t n) {
  if (to->count + n > to->capacity) {
    size_t capacity = to->capacity ? to->capacity * 2 : 4096;
    while (capacity < to->count + n) capacity *= 2;
    uint8_t *grown = realloc(to->at, capacity);
    if (!grown) abort();
    to->at = grown;
    to->capacity = capacity;
  }
  if (n) memcpy(to->at + to->count, from, n);
  to->count += n;
  return 1;
}

static struct end *find(int fd) {
  if (!network || fd < base || fd >= base + network->count) return NULL;
  return &network->ends[fd - base];
}

static struct end *at(int end) { return network && end >= 0 && end < network->count ? &network->ends[end] : NULL; }

static void touch(struct end *e) { e->is_dirty = 1; }

/* MARK: the test's side */

int scripted_open(void) {
  if (network) return 0;
  network = calloc(1, sizeof *network);
  if (!network) return 0;
  network->nanoseconds = 1000000000000ull;
  return 1;
}

int scripted_close(void) {
  if (!network) return 0;
  int left = network->listener_open + network->log_open;
  for (int i = 0; i < network->count; i++) {
    left += network->ends[i].is_open;
    free(network->ends[i].in.at);
    free(network->ends[i].out.at);
  }
  free(network->log.at);
  free(network);
  network = NULL;
  return left;
}

void scripted_advance(uint64_t milliseconds) {
  if (network) network->nanoseconds += milliseconds * 1000000;
}

int scripted_listener(void) {
  if (!network || network->listener_open) return -1;
  network->listener_open = 1;
  return lent_listener;
}

int scripted_log(void) {
  if (!network || network->log_open) return -1;
  network->log_open = 1;
  return lent_log;
}

const uint8_t *scripted_logged(size_t *count) {
  *count = network ? network->log.count : 0;
  return network ? network->log.at : NULL;
}

static int add(int kind) {
  if (!network || network->count == most) return -1;
  struct end *e = &network->ends[network->count];
  e->kind = kind;
  e->room = SIZE_MAX;
  return network->count++;
}

int scripted_connect(void) {
  int end = network && network->listener_open ? add(SCRIPTED_CLIENT) : -1;
  if (end >= 0) network->listener_dirty = 1;
  return end;
}

int scripted_count(void) { return network ? network->count : 0; }
int scripted_kind(int end) { return at(end) ? at(end)->kind : 0; }
int scripted_port(int end) { return at(end) ? at(end)->port : 0; }

static int is_connected(struct end *e) { return e && !e->is_connecting && !e->is_refused && (e->kind == SCRIPTED_BACKEND || e->is_accepted); }
int scripted_is_connected(int end) { return is_connected(at(end)); }

int scripted_left(int end) {
  struct end *e = at(end);
  return e ? (e->ended ? SCRIPTED_ENDED : 0) | (e->closed ? SCRIPTED_CLOSED : 0) | (e->was_reset ? SCRIPTED_WAS_RESET : 0) : 0;
}

const uint8_t *scripted_sent(int end, size_t *count) {
  struct end *e = at(end);
  *count = e ? e->out.count : 0;
  return e ? e->out.at : NULL;
}

size_t scripted_unread(int end) { return at(end) ? at(end)->in.count - at(end)->read : 0; }

/* A client may act before it is accepted: the kernel's queue has it. */
static int acts(struct end *e) { return e && !e->is_connecting && !e->is_refused && !e->has_reset && !e->closed; }

void scripted_send(int end, const uint8_t *bytes, size_t count) {
  struct end *e = at(end);
  if (!acts(e) || e->has_finished || !count) return;
  append(&e->in, bytes, count);
  touch(e);
}

void scripted_finish(int end) {
  struct end *e = at(end);
  if (!acts(e) || e->has_finished) return;
  e->has_finished = 1;
  touch(e);
}

void scripted_leave(int end) {
  scripted_finish(end);
  if (acts(at(end))) at(end)->has_left = 1;
}

void scripted_reset(int end) {
  struct end *e = at(end);
  if (!acts(e)) return;
  /* What the gateway has not read is gone. */
  e->has_reset = 1;
  e->read = e->in.count;
  touch(e);
}

void scripted_take(int end, size_t room) {
  struct end *e = at(end);
  if (!e) return;
  e->room = room;
  if (e->was_blocked && room) {
    e->was_blocked = 0;
    touch(e);
  }
}

void scripted_connects(int outcome) {
  if (network) network->connects = outcome;
}

void scripted_finish_connects(void) {
  for (int i = 0; network && i < network->count; i++) {
    struct end *e = &network->ends[i];
    if (!e->is_connecting) continue;
    if (e->is_connecting == SCRIPTED_CONNECT_REFUSED_LATER) e->is_refused = 1;
    e->is_connecting = 0;
    touch(e);
  }
}

/* MARK: the gateway's side */

extern int __real_close(int);
extern ssize_t __real_recv(int, void *, size_t, int), __real_send(int, const void *, size_t, int), __real_sendmsg(int, const struct msghdr *, int);
extern ssize_t __real_write(int, const void *, size_t), __real_splice(int, off64_t *, int, off64_t *, size_t, unsigned);
extern int __real_socket(int, int, int), __real_connect(int, const struct sockaddr *, socklen_t);
extern int __real_accept4(int, struct sockaddr *, socklen_t *, int), __real_shutdown(int, int);
extern int __real_getsockopt(int, int, int, void *, socklen_t *), __real_setsockopt(int, int, int, const void *, socklen_t);
extern int __real_epoll_ctl(int, int, int, struct epoll_event *), __real_epoll_wait(int, struct epoll_event *, int, int);
extern int __real_clock_gettime(clockid_t, struct timespec *);

static int failed(int code) {
  errno = code;
  return -1;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time) {
  if (!network) return __real_clock_gettime(clock, time);
  uint64_t now = network->nanoseconds + (clock == CLOCK_REALTIME ? 1700000000ull * 1000000000 : 0);
  time->tv_sec = (time_t)(now / 1000000000);
  time->tv_nsec = (long)(now % 1000000000);
  return 0;
}

int __wrap_socket(int family, int type, int protocol) {
  if (!network) return __real_socket(family, type, protocol);
  int end = add(SCRIPTED_BACKEND);
  if (end < 0) return failed(EMFILE);
  network->ends[end].is_open = 1;
  network->ends[end].is_connecting = SCRIPTED_CONNECT_LATER;
  return base + end;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length) {
  struct end *e = find(fd);
  if (!e) return __real_connect(fd, address, length);
  if (address->sa_family == AF_INET) e->port = ntohs(((const struct sockaddr_in *)address)->sin_port);
  e->is_connecting = 0;
  switch (network->connects) {
  case SCRIPTED_CONNECT_NOW: return 0;
  case SCRIPTED_CONNECT_REFUSED: e->is_refused = 1; return failed(ECONNREFUSED);
  default: e->is_connecting = network->connects; return failed(EINPROGRESS);
  }
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
  if (!network || fd != lent_listener) return __real_accept4(fd, address, length, flags);
  for (int i = 0; i < network->count; i++) {
    struct end *e = &network->ends[i];
    if (e->kind != SCRIPTED_CLIENT || e->is_accepted) continue;
    e->is_accepted = e->is_open = 1;
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(1024 + i)), .sin_addr = {htonl(0x7f000001)}};
    memcpy(address, &peer, *length < sizeof peer ? *length : sizeof peer);
    *length = sizeof peer;
    return base + i;
  }
  return failed(EAGAIN);
}

static ssize_t take_out(struct end *e, void *buffer, size_t n, int peeks) {
  if (!is_connected(e)) return failed(e->is_refused ? ECONNREFUSED : EAGAIN);
  size_t count = e->in.count - e->read;
  if (count) {
    if (count > n) count = n;
    memcpy(buffer, e->in.at + e->read, count);
    if (!peeks) e->read += count;
    return (ssize_t)count;
  }
  if (e->has_reset && !e->reset_told) {
    if (!peeks) e->reset_told = 1;
    return failed(ECONNRESET);
  }
  if (e->has_finished || e->has_reset) return 0;
  return failed(EAGAIN);
}

static ssize_t put_in(struct end *e, const void *buffer, size_t n) {
  if (e->is_connecting) return failed(EAGAIN);
  if (e->is_refused || e->has_reset || e->ended) return failed(EPIPE);
  if (!n) return 0;
  size_t count = n < e->room ? n : e->room;
  if (!count) {
    e->was_blocked = 1;
    return failed(EAGAIN);
  }
  if (count < n) e->was_blocked = 1;
  if (e->room != SIZE_MAX) e->room -= count;
  if (e->has_left) {
    /* Nobody is there any more: the bytes are lost, and the connection with them. */
    e->has_reset = 1;
    e->read = e->in.count;
    touch(e);
    return (ssize_t)count;
  }
  append(&e->out, buffer, count);
  return (ssize_t)count;
}

ssize_t __wrap_recv(int fd, void *buffer, size_t n, int flags) {
  struct end *e = find(fd);
  return e ? take_out(e, buffer, n, flags & MSG_PEEK) : __real_recv(fd, buffer, n, flags);
}

ssize_t __wrap_send(int fd, const void *buffer, size_t n, int flags) {
  struct end *e = find(fd);
  return e ? put_in(e, buffer, n) : __real_send(fd, buffer, n, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
  struct end *e = find(fd);
  if (!e) return __real_sendmsg(fd, message, flags);
  ssize_t sum = 0;
  for (size_t i = 0; i < message->msg_iovlen; i++) {
    if (!message->msg_iov[i].iov_len) continue;
    ssize_t count = put_in(e, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
    if (count < 0) return sum ? sum : count;
    sum += count;
    if ((size_t)count < message->msg_iov[i].iov_len) break;
  }
  return sum;
}

ssize_t __wrap_write(int fd, const void *buffer, size_t n) {
  if (!network || fd != lent_log) return __real_write(fd, buffer, n);
  append(&network->log, buffer, n);
  return (ssize_t)n;
}

/* One side is a pipe of the kernel's. */
ssize_t __wrap_splice(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t n, unsigned flags) {
  struct end *source = find(from), *target = find(to);
  static __thread uint8_t piece[64 << 10];
  if (n > sizeof piece) n = sizeof piece;
  if (source) {
    ssize_t count = take_out(source, piece, n, 1);
    if (count <= 0) {
      if (count < 0 && errno == ECONNRESET) source->reset_told = 1;
      return count;
    }
    ssize_t written = __real_write(to, piece, (size_t)count);
    if (written > 0) source->read += (size_t)written;
    return written;
  }
  if (target) {
    if (target->room < n) n = target->room;
    if (!n || target->is_refused || target->has_reset || target->ended) return put_in(target, piece, 1 < n ? 1 : n);
    ssize_t count = read(from, piece, n);
    return count > 0 ? put_in(target, piece, (size_t)count) : count;
  }
  return __real_splice(from, from_offset, to, to_offset, n, flags);
}

int __wrap_shutdown(int fd, int how) {
  struct end *e = find(fd);
  if (!e) return __real_shutdown(fd, how);
  if (how != SHUT_RD) e->ended = 1;
  if (e->has_finished) touch(e);
  return 0;
}

int __wrap_close(int fd) {
  struct end *e = find(fd);
  if (e) {
    if (!e->is_open) return failed(EBADF);
    e->is_open = 0;
    /* Linux resets a connection of which something was left unread. */
    if (e->lingers || e->read < e->in.count) e->was_reset = 1;
    e->closed = 1;
    return 0;
  }
  if (network && fd == lent_listener) {
    network->listener_open = network->listener_watched = 0;
    return 0;
  }
  if (network && fd == lent_log) {
    network->log_open = 0;
    return 0;
  }
  return __real_close(fd);
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
  struct end *e = find(fd);
  if (!e) return __real_getsockopt(fd, level, name, value, length);
  int code = level == SOL_SOCKET && name == SO_ERROR ? (e->is_refused ? ECONNREFUSED : e->has_reset ? ECONNRESET : 0) : 0;
  memcpy(value, &code, *length < sizeof code ? *length : sizeof code);
  return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
  struct end *e = find(fd);
  if (!e && !(network && fd == lent_listener)) return __real_setsockopt(fd, level, name, value, length);
  if (e && level == SOL_SOCKET && name == SO_LINGER) e->lingers = ((const struct linger *)value)->l_onoff && !((const struct linger *)value)->l_linger;
  return 0;
}

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
  struct end *e = find(fd);
  if (e) {
    e->is_watched = operation != EPOLL_CTL_DEL;
    if (e->is_watched) e->token = event->data.u64;
    touch(e);
    return 0;
  }
  if (network && fd == lent_listener) {
    network->listener_watched = operation != EPOLL_CTL_DEL;
    if (network->listener_watched) network->listener_token = event->data.u64;
    network->listener_dirty = 1;
    return 0;
  }
  return __real_epoll_ctl(epoll, operation, fd, event);
}

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int room, int timeout) {
  if (!network) return __real_epoll_wait(epoll, events, room, timeout);
  int count = 0;
  if (network->listener_watched && network->listener_dirty && count < room) {
    network->listener_dirty = 0;
    events[count++] = (struct epoll_event){.events = EPOLLIN, .data.u64 = network->listener_token};
  }
  for (int i = 0; i < network->count && count < room; i++) {
    struct end *e = &network->ends[i];
    if (!e->is_dirty || !e->is_watched || !e->is_open || e->is_connecting) continue;
    e->is_dirty = 0;
    uint32_t ready = 0;
    if (e->is_refused) {
      ready = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
    } else {
      if (e->read < e->in.count || e->has_finished || e->has_reset) ready |= EPOLLIN;
      if (e->room || e->has_reset) ready |= EPOLLOUT;
      if (e->has_finished || e->has_reset) ready |= EPOLLRDHUP;
      if (e->has_reset) ready |= EPOLLHUP | (e->reset_told ? 0 : EPOLLERR);
      if (e->has_finished && e->ended) ready |= EPOLLHUP;
    }
    if (ready) events[count++] = (struct epoll_event){.events = ready, .data.u64 = e->token};
  }
  return count;
}
