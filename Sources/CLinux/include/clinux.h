// CLinux — the few things Swift cannot say: accept4, a packed epoll_event, errno, and SSE2 scanners.
//
// Invariant: every scanner reads only p[0 ..< n] and returns an index in i ... n.
#ifndef CLINUX_H
#define CLINUX_H
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

int clx_accept(int fd, struct sockaddr_storage *address, socklen_t *length);
int clx_socket(int family);
int clx_set_option(int fd, int level, int name, int value);
int clx_socket_error(int fd);
void clx_reset_on_close(int fd);
int clx_has_input(int fd);
ssize_t clx_send_two(int fd, const void *a, size_t na, const void *b, size_t nb);
int clx_is_v4_mapped(const void *address);
int clx_open_null(void);
int clx_http_date(char *text, size_t size, const struct tm *t);
static inline int clx_errno(void) { return errno; }
static inline int clx_epoll_add(int epoll, int fd, uint32_t events, uint64_t token) {
  struct epoll_event event = {.events = events, .data.u64 = token};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}
static inline void clx_epoll_remove(int epoll, int fd) {
  struct epoll_event event = {0};
  epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event);
}
static inline void clx_copy(void *to, const void *from, size_t n) { memcpy(to, from, n); }

#define CLX_IS_CONTROL(c) ((c) < 0x20 ? (c) != '\t' : (c) == 0x7f)
#define CLX_IS_SPACE_OR_CONTROL(c) ((c) <= 0x20 || (c) == 0x7f)

#if defined(__SSE2__)
static inline unsigned clx_control_mask(const uint8_t *p) {
  __m128i v = _mm_loadu_si128((const __m128i *)p);
  __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
  __m128i tab = _mm_cmpeq_epi8(v, _mm_set1_epi8('\t')), del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
  return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del));
}
static inline unsigned clx_space_mask(const uint8_t *p) {
  __m128i v = _mm_loadu_si128((const __m128i *)p);
  __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x20)), v);
  return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f))));
}
/* 1 = neither a letter nor '-' (the two kinds of byte that make up nearly all field names) */
static inline unsigned clx_unusual_name_mask(const uint8_t *p) {
  __m128i v = _mm_loadu_si128((const __m128i *)p), lower = _mm_or_si128(v, _mm_set1_epi8(0x20));
  __m128i clamped = _mm_max_epu8(_mm_min_epu8(lower, _mm_set1_epi8('z')), _mm_set1_epi8('a'));
  __m128i usual = _mm_or_si128(_mm_cmpeq_epi8(clamped, lower), _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));
  return (unsigned)_mm_movemask_epi8(usual) ^ 0xffffu;
}
/* Sixteen bytes at a time; the last, partial step re-reads the sixteen bytes that end at p + n. */
#define CLX_SCAN(mask, stop)                                                       \
  for (; i + 16 <= n; i += 16) {                                                   \
    unsigned m = mask(p + i);                                                      \
    if (m) return i + (size_t)__builtin_ctz(m);                                    \
  }                                                                                \
  if (n >= 16) {                                                                   \
    unsigned m = mask(p + n - 16) >> (i + 16 - n);                                 \
    return m ? i + (size_t)__builtin_ctz(m) : n;                                   \
  }                                                                                \
  for (; i < n; i++) if (stop(p[i])) return i;                                     \
  return n;
#else
#define CLX_SCAN(mask, stop) for (; i < n; i++) if (stop(p[i])) return i; return n;
#endif

static inline size_t clx_find_control(const uint8_t *p, size_t i, size_t n) { CLX_SCAN(clx_control_mask, CLX_IS_CONTROL) }
static inline size_t clx_find_space(const uint8_t *p, size_t i, size_t n) { CLX_SCAN(clx_space_mask, CLX_IS_SPACE_OR_CONTROL) }

static inline int clx_is_token(uint8_t c) {
  static const uint64_t set[2] = {0x03ff6cfa00000000ull, 0x57ffffffc7fffffeull};
  return c < 128 && (set[c >> 6] >> (c & 63) & 1);
}
/* letters, digits and -._~:[] : what a Host may consist of */
static inline size_t clx_find_nonhost(const uint8_t *p, size_t i, size_t n) {
  static const uint64_t set[2] = {0x07ff600000000000ull, 0x47fffffeaffffffeull};
  while (i < n && p[i] < 128 && (set[p[i] >> 6] >> (p[i] & 63) & 1)) i++;
  return i;
}
/* the first '?' or '#' */
static inline size_t clx_find_query(const uint8_t *p, size_t i, size_t n) {
#if defined(__SSE2__)
  for (; i + 16 <= n; i += 16) {
    __m128i v = _mm_loadu_si128((const __m128i *)(p + i));
    unsigned m = (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('?')), _mm_cmpeq_epi8(v, _mm_set1_epi8('#'))));
    if (m) return i + (size_t)__builtin_ctz(m);
  }
#endif
  while (i < n && p[i] != '?' && p[i] != '#') i++;
  return i;
}
static inline size_t clx_find_nontoken(const uint8_t *p, size_t i, size_t n) {
#if defined(__SSE2__)
  while (i + 16 <= n) {
    unsigned m = clx_unusual_name_mask(p + i);
    if (!m) { i += 16; continue; }
    i += (size_t)__builtin_ctz(m);
    if (p[i] == ':' || !clx_is_token(p[i])) return i;
    i++;
  }
#endif
  while (i < n && clx_is_token(p[i])) i++;
  return i;
}
#endif
