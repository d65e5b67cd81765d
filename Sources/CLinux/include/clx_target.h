// clx_target — a request target in one pass: where it ends, where its path ends, whether the path is its own normal form.
//
// Invariant: reads only p[0 ..< n]. Needs n < 2^31.
#ifndef CLX_TARGET_H
#define CLX_TARGET_H
#include "clinux.h"
#include "clx_path.h"

/* `end`: the first blank or control character, or n. `mark`: the first '?' or '#' before it, or `end`. `is_regular`: what comes
   before the mark begins with a '/' and is in normal form. */
typedef struct { uint32_t end, mark, is_regular; } clx_target_t;

static inline clx_target_t clx_make_target(const uint8_t *p, size_t i, size_t mark, size_t end, unsigned irregular) {
  int is_regular = mark > i && p[i] == '/' && (!irregular || clx_path_find_irregular(p + i, mark - i) == mark - i);
  clx_target_t target = {(uint32_t)end, (uint32_t)mark, (uint32_t)is_regular};
  return target;
}

/* Sixteen bytes at a time. */
static __attribute__((noinline, unused)) clx_target_t clx_scan_long_target(const uint8_t *p, size_t i, size_t n) {
  size_t at = i;
#if defined(__SSE2__)
  unsigned carry = 0, irregular = 0;
  for (; n - at >= 16; at += 16) {
    clx_path_masks masks = clx_path_classify(_mm_loadu_si128((const __m128i *)(p + at)));
    unsigned after_slash = (masks.slash << 1 | carry) & masks.dot_or_slash;
    carry = masks.slash >> 15;
    if (!(masks.unusual | after_slash)) continue;
    /* Blanks and both marks are among the unusual. */
    unsigned blank = clx_space_mask(p + at), stop = blank | clx_query_mask(p + at), first = stop & -stop;
    irregular |= (masks.unusual | after_slash) & ~stop & (first - 1);
    if (!stop) continue;
    size_t mark = at + (size_t)__builtin_ctz(stop);
    size_t end = blank & first ? mark : blank ? at + (size_t)__builtin_ctz(blank) : clx_find_space(p, at + 16, n);
    return clx_make_target(p, i, mark, end, irregular);
  }
#endif
  size_t end = clx_find_space(p, at, n);
  return clx_make_target(p, i, clx_find_query(p, at, end, n), end, 1);
}

/* The target that begins at i <= n. A path of less than sixteen bytes with nothing unusual in it, and no query, is told at once. */
static inline clx_target_t clx_scan_target(const uint8_t *p, size_t i, size_t n) {
#if defined(__SSE2__)
  if (__builtin_expect(n - i >= 16 && p[i] == '/', 1)) {
    clx_path_masks masks = clx_path_classify(_mm_loadu_si128((const __m128i *)(p + i)));
    unsigned before = (masks.unusual - 1) & ~masks.unusual;
    if (__builtin_expect(masks.unusual && !(masks.slash << 1 & masks.dot_or_slash & before), 1)) {
      size_t end = i + (size_t)__builtin_ctz(masks.unusual);
      if (__builtin_expect(p[end] == ' ', 1)) {
        clx_target_t target = {(uint32_t)end, (uint32_t)end, 1};
        return target;
      }
    }
  }
#endif
  return clx_scan_long_target(p, i, n);
}
#endif
