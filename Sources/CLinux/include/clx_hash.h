// clx_hash — SipHash-1-3 (Aumasson and Bernstein), the keyed hash for tables that clients can fill.
//
// Reads p[0 ..< n] only.
#ifndef CLX_HASH_H
#define CLX_HASH_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CLX_ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define CLX_SIP_ROUND(a, b, c, d)                                            \
  do {                                                                       \
    a += b; b = CLX_ROTATE(b, 13) ^ a; a = CLX_ROTATE(a, 32);                \
    c += d; d = CLX_ROTATE(d, 16) ^ c;                                       \
    a += d; d = CLX_ROTATE(d, 21) ^ a;                                       \
    c += b; b = CLX_ROTATE(b, 17) ^ c; c = CLX_ROTATE(c, 32);                \
  } while (0)

static inline uint64_t clx_siphash(uint64_t k0, uint64_t k1, const void *p, size_t n) {
  uint64_t a = k0 ^ 0x736f6d6570736575ull, b = k1 ^ 0x646f72616e646f6dull;
  uint64_t c = k0 ^ 0x6c7967656e657261ull, d = k1 ^ 0x7465646279746573ull;
  const uint8_t *at = (const uint8_t *)p, *end = at + (n & ~(size_t)7);
  for (; at < end; at += 8) {
    uint64_t word;
    memcpy(&word, at, 8);
    d ^= word;
    CLX_SIP_ROUND(a, b, c, d);
    a ^= word;
  }
  uint64_t last = (uint64_t)n << 56;
  size_t rest = n & 7;
  if (rest != 0 && n >= 8) {
    // The eight bytes that end where the text does.
    uint64_t word;
    memcpy(&word, at + rest - 8, 8);
    last |= word >> (64 - 8 * rest);
  } else {
    for (size_t i = 0; i < rest; i++) last |= (uint64_t)at[i] << (8 * i);
  }
  d ^= last;
  CLX_SIP_ROUND(a, b, c, d);
  a ^= last;
  c ^= 0xff;
  for (int i = 0; i < 3; i++) CLX_SIP_ROUND(a, b, c, d);
  return a ^ b ^ c ^ d;
}
#endif
