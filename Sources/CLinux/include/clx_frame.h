// clx_frame — the two passes over every payload byte of a WebSocket: unmasking, and checking UTF-8.
//
// Invariant: reads only from[0 ..< n] and writes only to[0 ..< n].
#ifndef CLX_FRAME_H
#define CLX_FRAME_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Copies n bytes, each combined with its byte of the key by exclusive or (RFC 6455 section 5.3). The lowest byte of the key goes
   with from[0]. The places may be the same. */
static inline void clx_mask(uint8_t *to, const uint8_t *from, size_t n, uint32_t key) {
  size_t i = 0;
#if defined(__SSE2__)
  __m128i k = _mm_set1_epi32((int)key);
  for (; i + 16 <= n; i += 16)
    _mm_storeu_si128((__m128i *)(to + i), _mm_xor_si128(_mm_loadu_si128((const __m128i *)(from + i)), k));
#endif
  uint64_t wide = (uint64_t)key << 32 | key;
  for (; i + 8 <= n; i += 8) {
    uint64_t word;
    memcpy(&word, from + i, 8);
    word ^= wide;
    memcpy(to + i, &word, 8);
  }
  for (; i < n; i++) to[i] = (uint8_t)(from[i] ^ (uint8_t)(key >> (8 * (i & 3))));
}

/* How far a text has come (RFC 3629): 0 between characters; else, from the lowest byte up, how many bytes are missing from the
   character at hand, and the least and the greatest that the next of them may be. */
#define CLX_UTF8_BAD 0xffffffffu
#define CLX_UTF8_STATE(missing, low, high) ((uint32_t)(missing) | (uint32_t)(low) << 8 | (uint32_t)(high) << 16)

/* The state behind n more bytes; CLX_UTF8_BAD as soon as one of them cannot stand where it stands. */
static inline uint32_t clx_utf8(uint32_t state, const uint8_t *p, size_t n) {
  size_t i = 0;
  for (;;) {
    while (state) {
      if (i == n) return state;
      uint8_t c = p[i++];
      if (c < (uint8_t)(state >> 8) || c > (uint8_t)(state >> 16)) return CLX_UTF8_BAD;
      state = (state & 0xff) > 1 ? CLX_UTF8_STATE((state & 0xff) - 1, 0x80, 0xbf) : 0;
    }
#if defined(__SSE2__)
    while (i + 16 <= n && !_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(p + i)))) i += 16;
#endif
    while (i < n && p[i] < 0x80) i++;
    if (i == n) return 0;
    uint8_t c = p[i++];
    if (c < 0xc2 || c > 0xf4) return CLX_UTF8_BAD;
    if (c < 0xe0) state = CLX_UTF8_STATE(1, 0x80, 0xbf);
    else if (c < 0xf0) state = CLX_UTF8_STATE(2, c == 0xe0 ? 0xa0 : 0x80, c == 0xed ? 0x9f : 0xbf);
    else state = CLX_UTF8_STATE(3, c == 0xf0 ? 0x90 : 0x80, c == 0xf4 ? 0x8f : 0xbf);
  }
}
#endif
