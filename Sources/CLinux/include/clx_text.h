// clx_text — copying a short text and looking at it in one go, for logs.
//
// Invariant: reads only from[0 ..< n] and writes only to[0 ..< n].
#ifndef CLX_TEXT_H
#define CLX_TEXT_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static inline int clx_same(const uint8_t *a, const uint8_t *b, size_t n) { return memcmp(a, b, n) == 0; }

#if defined(__SSE2__)
/* What has been seen of bytes that are looked at sixteen at a time. Compared as signed numbers, bytes that are not ASCII are
   below the control characters, so that one comparison finds both. */
typedef struct { __m128i above, special; } clx_seen;

static inline clx_seen clx_nothing_seen(void) { return (clx_seen){_mm_set1_epi8(-1), _mm_setzero_si128()}; }

static inline clx_seen clx_see(clx_seen s, __m128i v) {
  __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"')), backslash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
  s.above = _mm_and_si128(s.above, _mm_cmpgt_epi8(v, _mm_set1_epi8(0x1f)));
  s.special = _mm_or_si128(s.special, _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)), _mm_or_si128(quote, backslash)));
  return s;
}

/* Whether one of the bytes was a quotation mark, a backslash, a control character or not ASCII. */
static inline int clx_saw_special(clx_seen s) { return _mm_movemask_epi8(_mm_andnot_si128(s.special, s.above)) != 0xffff; }
#endif

/* Copies n bytes; returns 1 when they hold a quotation mark, a backslash, a control character or a byte that is not
   ASCII. The last step copies the bytes that end at n once more, so that no step is shorter than a word. */
static inline int clx_copy_has_special(uint8_t *to, const uint8_t *from, size_t n) {
#if defined(__SSE2__)
  if (n >= 16) {
    clx_seen seen = clx_nothing_seen();
    for (size_t i = 0; i < n - 16; i += 16) {
      __m128i v = _mm_loadu_si128((const __m128i *)(from + i));
      _mm_storeu_si128((__m128i *)(to + i), v);
      seen = clx_see(seen, v);
    }
    __m128i v = _mm_loadu_si128((const __m128i *)(from + n - 16));
    _mm_storeu_si128((__m128i *)(to + n - 16), v);
    return clx_saw_special(clx_see(seen, v));
  }
  if (n >= 8) {
    __m128i first = _mm_loadl_epi64((const __m128i *)from), last = _mm_loadl_epi64((const __m128i *)(from + n - 8));
    _mm_storel_epi64((__m128i *)to, first);
    _mm_storel_epi64((__m128i *)(to + n - 8), last);
    return clx_saw_special(clx_see(clx_nothing_seen(), _mm_unpacklo_epi64(first, last)));
  }
  if (n >= 4) {
    uint32_t first, last;
    memcpy(&first, from, 4);
    memcpy(&last, from + n - 4, 4);
    memcpy(to, &first, 4);
    memcpy(to + n - 4, &last, 4);
    return clx_saw_special(clx_see(clx_nothing_seen(), _mm_unpacklo_epi64(_mm_set1_epi32((int)first), _mm_set1_epi32((int)last))));
  }
#endif
  int found = 0;
  for (size_t i = 0; i < n; i++) {
    uint8_t c = from[i];
    to[i] = c;
    found |= c < 0x20 || c >= 0x7f || c == '"' || c == '\\';
  }
  return found;
}
#endif
