// CZlib — zlib's raw deflate and inflate, for permessage-deflate. The two initialisers are macros in zlib.h.
#ifndef CZLIB_SHIM_H
#define CZLIB_SHIM_H
#include <zlib.h>

static inline int czl_inflate_init(z_stream *stream, int window_bits) { return inflateInit2(stream, -window_bits); }
static inline int czl_deflate_init(z_stream *stream, int level, int window_bits, int memory_level, int strategy) {
  return deflateInit2(stream, level, Z_DEFLATED, -window_bits, memory_level, strategy);
}
#endif
