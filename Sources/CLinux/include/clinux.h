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
/* memcpy, without a call for the short texts that heads are made of */
static inline void clx_copy(void *to, const void *from, size_t n) {
  char *t = (char *)to;
  const char *f = (const char *)from;
  if (n > 32) { memcpy(to, from, n); return; }
  if (n >= 16) { memcpy(t, f, 16); memcpy(t + n - 16, f + n - 16, 16); return; }
  if (n >= 8) { memcpy(t, f, 8); memcpy(t + n - 8, f + n - 8, 8); return; }
  if (n >= 4) { memcpy(t, f, 4); memcpy(t + n - 4, f + n - 4, 4); return; }
  if (n) { t[0] = f[0]; t[n / 2] = f[n / 2]; t[n - 1] = f[n - 1]; }
}

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
/* A host without brackets, and an optional port of up to five digits: letters, digits and -._~ make up the name. */
static inline int clx_is_host(const uint8_t *p, size_t n) {
  static const uint8_t part[256] = {
    ['-'] = 1, ['.'] = 1, ['_'] = 1, ['~'] = 1, ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1,
    ['8'] = 1, ['9'] = 1, ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1, ['F'] = 1, ['G'] = 1, ['H'] = 1, ['I'] = 1, ['J'] = 1,
    ['K'] = 1, ['L'] = 1, ['M'] = 1, ['N'] = 1, ['O'] = 1, ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1, ['V'] = 1,
    ['W'] = 1, ['X'] = 1, ['Y'] = 1, ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1, ['f'] = 1, ['g'] = 1, ['h'] = 1,
    ['i'] = 1, ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1, ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1, ['t'] = 1,
    ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1};
  size_t i = 0;
  while (i < n && part[p[i]]) i++;
  if (i == n) return n > 0;
  if (i == 0 || p[i] != ':' || n - i > 6) return 0;
  while (++i < n) if (p[i] < '0' || p[i] > '9') return 0;
  return 1;
}
/* the first '?' or '#' before n; bytes up to all may be read */
static inline size_t clx_find_query(const uint8_t *p, size_t i, size_t n, size_t all) {
#if defined(__SSE2__)
  for (; i < n && i + 16 <= all; i += 16) {
    __m128i v = _mm_loadu_si128((const __m128i *)(p + i));
    unsigned m = (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('?')), _mm_cmpeq_epi8(v, _mm_set1_epi8('#'))));
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

/* One field line of a head (RFC 9112 section 5), as offsets; small enough to be returned in registers.
   next == 0: there is no field, and name_end says why. */
struct clx_field { uint32_t name_end, value_start, value_end, next; };
enum { CLX_FIELDS_END = 0, CLX_FIELD_INCOMPLETE = 1, CLX_FIELD_MALFORMED = 2 };
static inline struct clx_field clx_no_field(uint32_t why) { struct clx_field f = {why, 0, 0, 0}; return f; }

#if defined(__SSE2__)
/* 1 = a control character, tab included */
static inline unsigned clx_any_control_mask(const uint8_t *p) {
  __m128i v = _mm_loadu_si128((const __m128i *)p);
  __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
  return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f))));
}
#endif

/* The line from the colon at e on; v: everything between the colon and v is known not to be a control character. */
static inline struct clx_field clx_scan_value(const uint8_t *p, size_t e, size_t v, size_t n) {
#if defined(__SSE2__)
  unsigned m = 0;
  while (v + 16 <= n && !(m = clx_any_control_mask(p + v))) v += 16;
  if (m) v += (size_t)__builtin_ctz(m);
  if (!m || p[v] == '\t') v = clx_find_control(p, v, n);
#else
  v = clx_find_control(p, v, n);
#endif
  if (n - v < 2) return clx_no_field(v == n || p[v] == '\r' ? CLX_FIELD_INCOMPLETE : CLX_FIELD_MALFORMED);
  if (p[v] != '\r' || p[v + 1] != '\n') return clx_no_field(CLX_FIELD_MALFORMED);
  size_t start = e + 1, end = v;
  while (start < end && (p[start] == ' ' || p[start] == '\t')) start++;
  while (end > start && (p[end - 1] == ' ' || p[end - 1] == '\t')) end--;
  return (struct clx_field){(uint32_t)e, (uint32_t)start, (uint32_t)end, (uint32_t)v + 2};
}

/* No blank before the name or the colon, CRLF and nothing else at the end; blanks around the value are left out of it.
   The end of the section is CRLF where a name would begin; it is not passed over. Needs n < 2^32. */
static inline struct clx_field clx_scan_field(const uint8_t *p, size_t i, size_t n) {
#if defined(__SSE2__)
  if (i + 16 <= n) {
    /* Nearly every name is of letters and '-' and ends within sixteen bytes. */
    __m128i v = _mm_loadu_si128((const __m128i *)(p + i));
    unsigned colon = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(':')));
    unsigned name = colon & -colon;
    if (name > 1 && !(clx_unusual_name_mask(p + i) & (name - 1))) {
      unsigned m = clx_any_control_mask(p + i) & ~(name - 1);
      size_t e = i + (size_t)__builtin_ctz(name);
      return clx_scan_value(p, e, m ? i + (size_t)__builtin_ctz(m) : i + 16, n);
    }
  }
#endif
  if (n - i < 2) return clx_no_field(i == n || p[i] == '\r' || clx_is_token(p[i]) ? CLX_FIELD_INCOMPLETE : CLX_FIELD_MALFORMED);
  if (p[i] == '\r') return clx_no_field(p[i + 1] == '\n' ? CLX_FIELDS_END : CLX_FIELD_MALFORMED);
  size_t e = clx_find_nontoken(p, i, n);
  if (e == n) return clx_no_field(CLX_FIELD_INCOMPLETE);
  if (p[e] != ':' || e == i) return clx_no_field(CLX_FIELD_MALFORMED);
  return clx_scan_value(p, e, e + 1, n);
}
#endif
