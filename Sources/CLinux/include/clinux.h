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
int clx_datagram_socket(int family);
int clx_set_option(int fd, int level, int name, int value);
int clx_socket_error(int fd);
void clx_reset_on_close(int fd);
int clx_has_input(int fd);
ssize_t clx_send_two(int fd, const void *a, size_t na, const void *b, size_t nb);
int clx_is_v4_mapped(const void *address);
int clx_open_null(void);
/* A range of addresses for `size` bytes of private memory, never in huge pages; NULL on failure. */
void *clx_reserve(size_t size);
void clx_discard(void *base, size_t size); /* its bytes become zeros, its pages the kernel's */
void clx_release(void *base, size_t size);
int clx_sized_pipe(int *reading, int *writing, int size);
ssize_t clx_splice(int from, int to, size_t n, int more);
int clx_http_date(char *text, size_t size, const struct tm *t);
static inline int clx_errno(void) { return errno; }
static inline int clx_epoll_add(int epoll, int fd, uint32_t events, uint64_t token) {
  struct epoll_event event = {.events = events, .data.u64 = token};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}
static inline int clx_epoll_change(int epoll, int fd, uint32_t events, uint64_t token) {
  struct epoll_event event = {.events = events, .data.u64 = token};
  return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
}
static inline void clx_epoll_remove(int epoll, int fd) {
  struct epoll_event event = {0};
  epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event);
}
/* memcpy, without a call for the short texts that heads are made of */
static inline void clx_copy(void *to, const void *from, size_t n) {
  char *t = (char *)to;
  const char *f = (const char *)from;
  if (n > 32) {
    if (n > 64) { memcpy(to, from, n); return; }
    memcpy(t, f, 32);
    memcpy(t + n - 32, f + n - 32, 32);
    return;
  }
  if (n >= 16) { memcpy(t, f, 16); memcpy(t + n - 16, f + n - 16, 16); return; }
  if (n >= 8) { memcpy(t, f, 8); memcpy(t + n - 8, f + n - 8, 8); return; }
  if (n >= 4) { memcpy(t, f, 4); memcpy(t + n - 4, f + n - 4, 4); return; }
  if (n) { t[0] = f[0]; t[n / 2] = f[n / 2]; t[n - 1] = f[n - 1]; }
}

#define CLX_IS_CONTROL(c) ((c) < 0x20 ? (c) != '\t' : (c) == 0x7f)
#define CLX_IS_SPACE_OR_CONTROL(c) ((c) <= 0x20 || (c) == 0x7f)

#if defined(__SSE2__)
static inline unsigned clx_control_bits(__m128i v) {
  __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
  __m128i tab = _mm_cmpeq_epi8(v, _mm_set1_epi8('\t')), del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
  return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del));
}
static inline unsigned clx_control_mask(const uint8_t *p) { return clx_control_bits(_mm_loadu_si128((const __m128i *)p)); }
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
/* 1 = neither a letter nor a digit nor one of -._ (the bytes that nearly all host names are made of) */
static inline unsigned clx_unusual_host_mask(const uint8_t *p) {
  __m128i v = _mm_loadu_si128((const __m128i *)p), lower = _mm_or_si128(v, _mm_set1_epi8(0x20));
  __m128i letters = _mm_cmpeq_epi8(_mm_max_epu8(_mm_min_epu8(lower, _mm_set1_epi8('z')), _mm_set1_epi8('a')), lower);
  __m128i marks = _mm_cmpeq_epi8(_mm_max_epu8(_mm_min_epu8(v, _mm_set1_epi8('9')), _mm_set1_epi8('-')), v);
  return ((unsigned)_mm_movemask_epi8(_mm_or_si128(letters, marks)) & ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('/')))) ^ 0xffffu;
}
/* 1 = '?' or '#' */
static inline unsigned clx_query_mask(const uint8_t *p) {
  __m128i v = _mm_loadu_si128((const __m128i *)p);
  return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('?')), _mm_cmpeq_epi8(v, _mm_set1_epi8('#'))));
}
/* 1 = no digit */
static inline unsigned clx_non_digit_mask(const uint8_t *p) {
  __m128i v = _mm_loadu_si128((const __m128i *)p);
  return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(_mm_min_epu8(v, _mm_set1_epi8('9')), _mm_set1_epi8('0')), v)) ^ 0xffffu;
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
/* A host without brackets, and an optional port of up to five digits: letters, digits and -._~ make up the name.
   It is p[0 ..< n]; bytes up to p[all] may be read. */
static inline int clx_is_host(const uint8_t *p, size_t n, size_t all) {
  static const uint8_t part[256] = {
    ['-'] = 1, ['.'] = 1, ['_'] = 1, ['~'] = 1, ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1,
    ['8'] = 1, ['9'] = 1, ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1, ['F'] = 1, ['G'] = 1, ['H'] = 1, ['I'] = 1, ['J'] = 1,
    ['K'] = 1, ['L'] = 1, ['M'] = 1, ['N'] = 1, ['O'] = 1, ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1, ['V'] = 1,
    ['W'] = 1, ['X'] = 1, ['Y'] = 1, ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1, ['f'] = 1, ['g'] = 1, ['h'] = 1,
    ['i'] = 1, ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1, ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1, ['t'] = 1,
    ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1};
  size_t i = 0;
#if defined(__SSE2__)
  if (n <= 16 && all >= 16) {
    /* All at once: what is not of a name, which may only be a colon, and what behind it is no digit. */
    unsigned within = (1u << n) - 1, odd = clx_unusual_host_mask(p) & within, behind = odd & (odd - 1);
    if (!odd) return n > 0;
    i = (size_t)__builtin_ctz(odd);
    if (p[i] == ':') return i > 0 && n - i <= 6 && !behind && !(clx_non_digit_mask(p) & within & -(odd << 1));
  }
  while (i < n && all - i >= 16) {
    unsigned odd = clx_unusual_host_mask(p + i);
    i += odd ? (size_t)__builtin_ctz(odd) : 16;
    if (i > n) i = n;
    if (odd) break;
  }
#endif
  while (i < n && part[p[i]]) i++;
  if (i == n) return n > 0;
  if (i == 0 || p[i] != ':' || n - i > 6) return 0;
  if (++i == n) return 1;
  if (all - i >= 8) {
    /* Bit 7 of each byte that is no digit: what is below '0' borrows, what is above '9' carries. */
    uint64_t word, high = 0x8080808080808080ull;
    memcpy(&word, p + i, 8);
    uint64_t below = ((word | high) - 0x3030303030303030ull) ^ high, above = (word & ~high) + 0x4646464646464646ull;
    return ((below | above | word) & high) << 8 * (8 - (n - i)) == 0;
  }
  for (; i < n; i++) if (p[i] < '0' || p[i] > '9') return 0;
  return 1;
}
/* the first '?' or '#' before n; bytes up to all may be read */
static inline size_t clx_find_query(const uint8_t *p, size_t i, size_t n, size_t all) {
#if defined(__SSE2__)
  for (; i < n && i + 16 <= all; i += 16) {
    unsigned m = clx_query_mask(p + i);
    if (m) { i += (size_t)__builtin_ctz(m); return i < n ? i : n; }
  }
  if (i > n) return n;
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
