// clx_path — scanners over request paths and host names: what is not in normal form, where a segment ends, what it hashes to.
//
// Invariant: every function reads only p[0 ..< n] and answers an index in i ... n. Loads of fewer than eight or
// sixteen bytes are put together from overlapping ones inside the bytes, so neither slack nor sentinel is needed.
#ifndef CLX_PATH_H
#define CLX_PATH_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

static inline uint64_t clx_path_load64(const uint8_t *p) { uint64_t w; memcpy(&w, p, 8); return w; }
static inline uint32_t clx_path_load32(const uint8_t *p) { uint32_t w; memcpy(&w, p, 4); return w; }

/* The n < 8 bytes at p as a little-endian word, zeros above them. */
static inline uint64_t clx_path_load_few(const uint8_t *p, size_t n) {
  if (n >= 4) return clx_path_load32(p) | (uint64_t)clx_path_load32(p + n - 4) << (8 * (n - 4));
  if (n == 0) return 0;
  return p[0] | (uint64_t)p[n >> 1] << (8 * (n >> 1)) | (uint64_t)p[n - 1] << (8 * (n - 1));
}

/* The n - i < 8 last bytes of p[0 ..< n]; one load when something stands before them. */
static inline uint64_t clx_path_load_tail(const uint8_t *p, size_t i, size_t n) {
  if (n < 8) return clx_path_load_few(p + i, n - i);
  return clx_path_load64(p + n - 8) >> (56 - 8 * (n - i)) >> 8;
}

/* 1 = may stand in a path as it is: pchar of RFC 3986 without '%', and '/'. */
static inline int clx_path_is_plain(uint8_t c) {
  static const uint64_t set[2] = {0x2fffffd200000000ull, 0x47fffffe87ffffffull};
  return c < 128 && (set[c >> 6] >> (c & 63) & 1);
}

/* Whether p[i] == '.', which follows a '/', begins a segment "." or ".." (parameters after ';' included). */
static inline int clx_path_is_dot_segment(const uint8_t *p, size_t i, size_t n) {
  size_t j = i + 1;
  if (j < n && p[j] == '.') j++;
  return j == n || p[j] == '/' || p[j] == ';' || p[j] == '%';
}

/* Whether p[i], which is unusual or follows a '/', keeps the path from being its own normal form. */
static inline int clx_path_is_irregular(const uint8_t *p, size_t i, size_t n, int follows_slash) {
  uint8_t c = p[i];
  if (!clx_path_is_plain(c)) return 1;
  return follows_slash && (c == '/' || (c == '.' && clx_path_is_dot_segment(p, i, n)));
}

#if defined(__SSE2__)
/* Bits for bytes outside & … ; letters _ ~ (nearly all that stands in paths), and for slashes, and for dots or slashes. */
typedef struct { unsigned unusual, slash, dot_or_slash; } clx_path_masks;
static inline clx_path_masks clx_path_classify(__m128i v) {
  __m128i lower = _mm_or_si128(v, _mm_set1_epi8(0x20));
  __m128i marks = _mm_cmpeq_epi8(_mm_max_epu8(_mm_min_epu8(v, _mm_set1_epi8(';')), _mm_set1_epi8('&')), v);
  __m128i letters = _mm_cmpeq_epi8(_mm_max_epu8(_mm_min_epu8(lower, _mm_set1_epi8('z')), _mm_set1_epi8('a')), lower);
  __m128i others = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('_')), _mm_cmpeq_epi8(v, _mm_set1_epi8('~')));
  __m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('/'));
  clx_path_masks masks = {
    (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(marks, letters), others)) ^ 0xffffu,
    (unsigned)_mm_movemask_epi8(slash),
    (unsigned)_mm_movemask_epi8(_mm_or_si128(slash, _mm_cmpeq_epi8(v, _mm_set1_epi8('.')))),
  };
  return masks;
}
static inline __m128i clx_path_load_short(const uint8_t *p, size_t n) {
  if (n < 8) return _mm_set_epi64x(0, (long long)clx_path_load_few(p, n));
  return _mm_set_epi64x((long long)clx_path_load_tail(p, 8, n), (long long)clx_path_load64(p));
}
#endif

/* The first byte that keeps the path from being its own normal form, or n: an escape, a byte that must be escaped or
   refused, the second of two slashes, a dot segment. A path with escapes may still turn out to be in normal form. */
static inline size_t clx_path_find_irregular(const uint8_t *p, size_t n) {
#if defined(__SSE2__)
  unsigned carry = 0;
  for (size_t i = 0; i < n; i += 16) {
    size_t left = n - i;
    clx_path_masks masks = clx_path_classify(left >= 16 ? _mm_loadu_si128((const __m128i *)(p + i)) : clx_path_load_short(p + i, left));
    unsigned after_slash = (masks.slash << 1 | carry) & masks.dot_or_slash;
    unsigned hits = masks.unusual | after_slash;
    if (left < 16) hits &= (1u << left) - 1;
    for (; hits; hits &= hits - 1) {
      unsigned bit = (unsigned)__builtin_ctz(hits);
      if (clx_path_is_irregular(p, i + bit, n, after_slash >> bit & 1)) return i + bit;
    }
    carry = masks.slash >> 15;
  }
  return n;
#else
  for (size_t i = 0; i < n; i++)
    if (clx_path_is_irregular(p, i, n, i > 0 && p[i - 1] == '/')) return i;
  return n;
#endif
}

/* One segment: where it ends; a hash of all of it; and, when it is shorter than eight bytes, its text with a '/' behind it and
   zeros above that, so that two short segments are equal exactly if these words are. Otherwise `word` is 0. */
typedef struct { uint64_t word; uint64_t hash; size_t end; } clx_path_segment_t;

/* The upper half of what this returns is well mixed. */
static inline uint64_t clx_path_mix(uint64_t hash, uint64_t word) {
  return (hash ^ hash >> 32 ^ word) * 0x9e3779b97f4a7c15ull;
}

/* Eight bytes from i, or what is left of them with a '/' behind, so that every segment ends at one. */
static inline uint64_t clx_path_word(const uint8_t *p, size_t i, size_t n) {
  return n - i >= 8 ? clx_path_load64(p + i) : clx_path_load_tail(p, i, n) | 0x2full << (8 * (n - i));
}
/* 0x80 in each byte of the word that is a '/'; exact up to the lowest of them. */
static inline uint64_t clx_path_slashes(uint64_t word) {
  const uint64_t ones = 0x0101010101010101ull;
  uint64_t differs = word ^ 0x2f * ones;
  return (differs - ones) & ~differs & 0x80 * ones;
}
static inline uint64_t clx_path_through(uint64_t word, uint64_t slashes) { return word & (slashes ^ (slashes - 1)); }

/* A segment of eight bytes or more, the first of which are `word`. */
static __attribute__((noinline, unused)) clx_path_segment_t clx_path_long_segment(const uint8_t *p, size_t i, size_t n, uint64_t word) {
  clx_path_segment_t segment = {0, clx_path_mix(0, word), n};
  for (;;) {
    i += 8;
    word = clx_path_word(p, i, n);
    uint64_t slashes = clx_path_slashes(word);
    segment.hash = clx_path_mix(segment.hash, slashes ? clx_path_through(word, slashes) : word);
    if (slashes) {
      segment.end = i + (size_t)(__builtin_ctzll(slashes) >> 3);
      return segment;
    }
  }
}

/* The segment that begins at i <= n: it ends before the next '/' or at n. */
static inline clx_path_segment_t clx_path_segment(const uint8_t *p, size_t i, size_t n) {
  uint64_t word = clx_path_word(p, i, n), slashes = clx_path_slashes(word);
  if (__builtin_expect(slashes == 0, 0)) return clx_path_long_segment(p, i, n, word);
  uint64_t text = clx_path_through(word, slashes);
  clx_path_segment_t segment = {text, clx_path_mix(0, text), i + (size_t)(__builtin_ctzll(slashes) >> 3)};
  return segment;
}

/* The text p[0 ..< n], n > 0, for finding it among others: its first eight bytes, its last eight (0 when it is shorter), which
   with the length tell texts of up to sixteen bytes apart; and a hash of all of it, the upper half of which is well mixed. */
typedef struct { uint64_t first, last, hash; } clx_path_key_t;
static inline clx_path_key_t clx_path_key(const uint8_t *p, size_t n) {
  clx_path_key_t key = {0, 0, 0};
  if (n < 8) {
    key.first = clx_path_load_few(p, n);
    key.hash = clx_path_mix(n, key.first);
    return key;
  }
  key.first = clx_path_load64(p);
  key.last = clx_path_load64(p + n - 8);
  key.hash = clx_path_mix(n, key.first);
  for (size_t i = 8; i + 8 < n; i += 8) key.hash = clx_path_mix(key.hash, clx_path_load64(p + i));
  key.hash = clx_path_mix(key.hash, key.last);
  return key;
}

/* A hash of p[0 ..< n] in which upper and lower case count as equal. */
static inline uint64_t clx_host_hash(const uint8_t *p, size_t n) {
  const uint64_t lower = 0x2020202020202020ull;
  uint64_t hash = n;
  for (; n >= 8; p += 8, n -= 8) hash = clx_path_mix(hash, clx_path_load64(p) | lower);
  return n ? clx_path_mix(hash, clx_path_load_few(p, n) | lower) : hash;
}

static inline int clx_path_equal(const uint8_t *a, const uint8_t *b, size_t n) { return memcmp(a, b, n) == 0; }
#endif
