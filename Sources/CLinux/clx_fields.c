/* clx_fields — see the header. Sixteen bytes at a time: the colon, the end of the value and what may not stand in either are
   found by comparing all sixteen at once. The usual name is of letters and '-' and shorter than sixteen bytes. */
#include "clx_fields.h"
#include "clinux.h"
#include "clx_path.h"

/* In the order of HeaderName in HTTPModel: the number of a name is its place. */
static const struct { char text[31]; uint8_t count; } names[] = {
#define NAME(text) {text, sizeof(text) - 1}
  NAME(""), NAME("host"), NAME("connection"), NAME("content-length"), NAME("transfer-encoding"), NAME("expect"), NAME("upgrade"),
  NAME("keep-alive"), NAME("te"), NAME("trailer"), NAME("proxy-connection"), NAME("proxy-authenticate"), NAME("proxy-authorization"),
  NAME("via"), NAME("x-forwarded-for"), NAME("x-forwarded-proto"), NAME("x-forwarded-host"), NAME("x-request-id"), NAME("date"),
  NAME("server"), NAME("authorization"), NAME("content-type"), NAME("content-range"), NAME("content-disposition"), NAME("accept"),
  NAME("x-accel-buffering"), NAME("content-encoding"), NAME("user-agent"), NAME("referer"), NAME("x-client-cert-subject"),
  NAME("x-client-cert-fingerprint"), NAME("forwarded"), NAME("x-forwarded-port"), NAME("x-real-ip"),
  NAME("accept-encoding"),
  NAME("etag"), NAME("vary"), NAME("accept-ranges"), NAME("cache-control"),
#undef NAME
};
enum { NAME_COUNT = sizeof names / sizeof names[0] };

/* By the first letter and the length: the last name that has them; and for each name the one before it that has the same. */
static uint8_t candidates[32][32], others[NAME_COUNT];

__attribute__((constructor)) static void place_names(void) {
  for (unsigned name = 1; name < NAME_COUNT; name++) {
    uint8_t *place = &candidates[names[name].text[0] & 31][names[name].count & 31];
    others[name] = *place;
    *place = (uint8_t)name;
  }
}

const char *clx_header_name_text(unsigned name, size_t *count) {
  if (name >= NAME_COUNT) name = 0;
  *count = names[name].count;
  return names[name].text;
}

unsigned clx_header_name(const uint8_t *p, size_t n) {
  if (n == 0 || n > sizeof names[0].text) return 0;
  for (unsigned name = candidates[p[0] & 31][n]; name; name = others[name]) {
    size_t i = 0;
    while (i < n && (p[i] | 0x20) == names[name].text[i] && clx_is_token(p[i])) i++;
    if (i == n) return name;
  }
  return 0;
}

/* The general way of what follows. */
static __attribute__((noinline)) int unusual_lower_header_name(const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++) if (!clx_is_token(p[i]) || (p[i] >= 'A' && p[i] <= 'Z')) return -1;
  return n > 0 ? (int)clx_header_name(p, n) : -1;
}

int clx_lower_header_name(const uint8_t *p, size_t n) {
#if defined(__SSE2__)
  if (__builtin_expect(n - 1 < 15, 1)) {
    __m128i v = clx_path_load_short(p, n);
    unsigned within = (1u << n) - 1;
    __m128i letters = _mm_cmpeq_epi8(_mm_max_epu8(_mm_min_epu8(v, _mm_set1_epi8('z')), _mm_set1_epi8('a')), v);
    __m128i digits = _mm_cmpeq_epi8(_mm_max_epu8(_mm_min_epu8(v, _mm_set1_epi8('9')), _mm_set1_epi8('0')), v);
    __m128i usual = _mm_or_si128(_mm_or_si128(letters, digits), _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));
    if (__builtin_expect(!(~(unsigned)_mm_movemask_epi8(usual) & within), 1)) {
      unsigned name = candidates[p[0] & 31][n];
      while (name && (~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_loadu_si128((const __m128i *)names[name].text))) & within)) name = others[name];
      return (int)name;
    }
  }
#endif
  return unusual_lower_header_name(p, n);
}

int clx_is_field_value(const uint8_t *p, size_t n) {
  if (n == 0) return 1;
  if (p[0] == ' ' || p[0] == '\t' || p[n - 1] == ' ' || p[n - 1] == '\t') return 0;
#if defined(__SSE2__)
  if (n < 16) return !(clx_control_bits(clx_path_load_short(p, n)) & ((1u << n) - 1));
#endif
  return clx_find_control(p, 0, n) == n;
}

/* Where a line has its colon, and where its value ends: at a control character other than tab. */
struct line { size_t colon, end; unsigned name; };

/* The line at i, read in the general way. Negative: there is one; otherwise why there is none. */
static __attribute__((noinline)) int unusual_line(const uint8_t *p, size_t i, size_t n, struct line *line) {
  if (i == n) return CLX_FIELDS_INCOMPLETE;
  if (n - i < 2) return p[i] == '\r' || clx_is_token(p[i]) ? CLX_FIELDS_INCOMPLETE : CLX_FIELDS_MALFORMED;
  size_t colon = clx_find_nontoken(p, i, n);
  if (colon == n) return CLX_FIELDS_INCOMPLETE;
  if (p[colon] != ':' || colon == i) return CLX_FIELDS_MALFORMED;
  size_t end = clx_find_control(p, colon + 1, n);
  if (n - end < 2) return end == n || p[end] == '\r' ? CLX_FIELDS_INCOMPLETE : CLX_FIELDS_MALFORMED;
  if (p[end] != '\r' || p[end + 1] != '\n') return CLX_FIELDS_MALFORMED;
  *line = (struct line){colon, end, clx_header_name(p + i, colon - i)};
  return -1;
}

static inline int is_line_end(const uint8_t *p, size_t i, size_t n) {
  uint16_t word;
  if (__builtin_expect(n - i < 2, 0)) return 0;
  memcpy(&word, p + i, 2);
  return word == 0x0a0d;
}

#if defined(__SSE2__)
/* 1 = ASCII and no control character, tab included: with one added to it, as a signed number, it is above 0x20. */
static inline unsigned text_mask(__m128i v) {
  return (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(_mm_add_epi8(v, _mm_set1_epi8(1)), _mm_set1_epi8(0x20)));
}
static inline unsigned not_letters(__m128i v, __m128i lower) {
  __m128i letters = _mm_cmpeq_epi8(_mm_max_epu8(_mm_min_epu8(lower, _mm_set1_epi8('z')), _mm_set1_epi8('a')), lower);
  return ~(unsigned)_mm_movemask_epi8(_mm_or_si128(letters, _mm_cmpeq_epi8(v, _mm_set1_epi8('-'))));
}

/* The line at i as nearly all are: a name of letters and '-' shorter than sixteen bytes, a value of ASCII without tabs.
   `last` is n - 16, where the last sixteen bytes begin. Nonzero when it is one. */
static inline __attribute__((always_inline)) int usual_line(const uint8_t *p, size_t i, size_t n, ptrdiff_t last, struct line *line) {
  if (__builtin_expect((ptrdiff_t)i > last, 0)) return 0;
  __m128i head = _mm_loadu_si128((const __m128i *)(p + i)), lower = _mm_or_si128(head, _mm_set1_epi8(0x20));
  unsigned colon = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(head, _mm_set1_epi8(':')));
  unsigned before = (colon - 1) & ~colon, text = text_mask(head);
  /* No colon, or nothing before it. */
  if (__builtin_expect(before - 1 >= 0xffff, 0)) return 0;
  if (__builtin_expect((text & before) != before, 0)) return 0;
  unsigned length = (unsigned)__builtin_ctz(colon), name = candidates[_mm_cvtsi128_si32(head) & 31][length];
  /* Bit 5 makes no letter nor '-' out of any other character that is text. */
  while (name && (~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(lower, _mm_loadu_si128((const __m128i *)names[name].text))) & before)) name = others[name];
  if (!name && __builtin_expect(not_letters(head, lower) & before, 0)) return 0;
  size_t v = i;
  while (text == 0xffff) {
    v += 16;
    if (__builtin_expect((ptrdiff_t)v > last, 0)) {
      /* The last sixteen bytes once more, and with them some that are text. */
      if (v >= n) return 0;
      v = (size_t)last;
      text = text_mask(_mm_loadu_si128((const __m128i *)(p + v)));
      if (text == 0xffff) return 0;
      break;
    }
    text = text_mask(_mm_loadu_si128((const __m128i *)(p + v)));
  }
  v += (size_t)__builtin_ctz(~text);
  if (__builtin_expect(!is_line_end(p, v, n), 0)) return 0;
  line->colon = i + length;
  line->end = v;
  line->name = name;
  return 1;
}
#else
static inline int usual_line(const uint8_t *p, size_t i, size_t n, ptrdiff_t last, struct line *line) { return 0; }
#endif

struct clx_fields clx_scan_fields(const uint8_t *p, size_t i, size_t n, struct clx_field *out, size_t capacity) {
  const size_t first = i;
  const ptrdiff_t last = (ptrdiff_t)n - 16;
  struct clx_field *next = out, *const limit = out + capacity;
  uint64_t seen = 0, repeated = 0;
  ptrdiff_t spare = 0;  /* blanks beyond the usual one, which do not count */
  int outcome;
  for (;;) {
    struct line line;
    if (!usual_line(p, i, n, last, &line)) {
      if (is_line_end(p, i, n)) { outcome = CLX_FIELDS_COMPLETE; break; }
      struct line unusual;
      outcome = unusual_line(p, i, n, &unusual);
      if (outcome >= 0) break;
      line = unusual;
    }
    if (__builtin_expect(next == limit, 0)) { outcome = CLX_FIELDS_TOO_MANY; break; }
    size_t start = line.colon + 2, end = line.end;
    uint16_t is_canonical = 1;
    if (__builtin_expect(p[start - 1] != ' ' || p[start] <= ' ' || p[end - 1] <= ' ', 0)) {
      start--;
      while (p[start] == ' ' || p[start] == '\t') start++;
      if (start < end) while (p[end - 1] == ' ' || p[end - 1] == '\t') end--;
      spare += (ptrdiff_t)(line.end - line.colon - 2) - (ptrdiff_t)(end - start);
      is_canonical = 0;
    }
    *next++ = (struct clx_field){(uint32_t)i, (uint32_t)line.colon, (uint32_t)start, (uint32_t)end, (uint16_t)line.name, is_canonical};
    uint64_t bit = (uint64_t)1 << line.name;
    repeated |= seen & bit;
    seen |= bit;
    i = line.end + 2;
  }
  return (struct clx_fields){
    seen & ~(uint64_t)1, repeated & ~(uint64_t)1, i + (outcome == CLX_FIELDS_COMPLETE ? 2 : 0), (size_t)(next - out), (size_t)((ptrdiff_t)(i - first) - spare), outcome};
}

size_t clx_write_fields(uint8_t *out, size_t room, const uint8_t *p, size_t n, const struct clx_field *fields, size_t count, uint64_t dropped) {
  size_t written = 0, start = 0, end = 0;
  for (const struct clx_field *field = fields, *last = fields + count;; field++) {
    if (field < last) {
      if (dropped >> (field->name & 63) & 1) continue;
      if (__builtin_expect(field->is_canonical && field->name_start == end, 1)) { end = field->value_end + (size_t)2; continue; }
    }
    if (end > start) {
      if (end > n || end - start > room - written) return SIZE_MAX;
      clx_copy(out + written, p + start, end - start);
      written += end - start;
    }
    if (field == last) return written;
    start = end = field->name_start;
    if (field->is_canonical) { end = field->value_end + (size_t)2; continue; }
    size_t name = field->name_end - start, value = field->value_end - (size_t)field->value_start;
    if (field->name_end < start || field->value_end < field->value_start || field->name_end > n || field->value_end > n || name + value + 4 > room - written) return SIZE_MAX;
    clx_copy(out + written, p + start, name);
    memcpy(out + written + name, ": ", 2);
    clx_copy(out + written + name + 2, p + field->value_start, value);
    memcpy(out + written + name + 2 + value, "\r\n", 2);
    written += name + value + 4;
    start = end = 0;
  }
}

static int is_name(const uint8_t *p, const uint8_t *name, size_t count) {
  for (size_t k = 0; k < count; k++) {
    uint8_t c = p[k];
    if (c >= 'A' && c <= 'Z') c |= 0x20;
    if (c != name[k]) return 0;
  }
  return 1;
}

struct clx_named_line clx_find_named_line(const uint8_t *p, size_t i, size_t end, const uint8_t *text, const struct clx_name *names, size_t count, uint64_t letters) {
  while (i < end) {
    uint8_t first = p[i];
    if (first >= 'A' && first <= 'Z') first |= 0x20;
    const uint8_t *stop = memchr(p + i, '\n', end - i);
    size_t next = stop ? (size_t)(stop - p) + 1 : end;
    if (letters >> (first & 63) & 1) {
      for (size_t k = 0; k < count; k++) {
        size_t length = names[k].count;
        if (length < next - i && p[i + length] == ':' && is_name(p + i, text + names[k].start, length)) return (struct clx_named_line){i, next, k};
      }
    }
    i = next;
  }
  return (struct clx_named_line){0, 0, 0};
}
