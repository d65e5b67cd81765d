#include "scripted_network.h"
#include <nghttp2/nghttp2.h>
#include <string.h>

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static void keep(char *to, size_t room, const uint8_t *text, size_t n) {
  if (n >= room) n = room - 1;
  memcpy(to, text, n);
  to[n] = 0;
}

/* Decodes a piece of a header section; 0 when it is malformed. */
static int inflate(nghttp2_hd_inflater *inflater, struct scripted_request *request, const uint8_t *at, size_t n, int is_last) {
  for (;;) {
    nghttp2_nv field;
    int flags = 0;
    ssize_t used = nghttp2_hd_inflate_hd2(inflater, &field, &flags, (uint8_t *)at, n, is_last);
    if (used < 0) return 0;
    at += used;
    n -= (size_t)used;
    if (flags & NGHTTP2_HD_INFLATE_EMIT) {
      if (field.namelen == 7 && !memcmp(field.name, ":method", 7)) keep(request->method, sizeof request->method, field.value, field.valuelen);
      if (field.namelen == 5 && !memcmp(field.name, ":path", 5)) keep(request->path, sizeof request->path, field.value, field.valuelen);
    }
    if (flags & NGHTTP2_HD_INFLATE_FINAL) {
      nghttp2_hd_inflate_end_headers(inflater);
      return n == 0;
    }
    if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && n == 0) return !is_last;
  }
}

int scripted_requests(const uint8_t *bytes, size_t n, struct scripted_request *list, int room) {
  size_t i = sizeof preface - 1;
  if (memcmp(bytes, preface, n < i ? n : i)) return -1;
  if (n <= i) return 0;
  nghttp2_hd_inflater *inflater;
  if (nghttp2_hd_inflate_new(&inflater)) return -1;
  int count = 0, is_open = 0;
  struct scripted_request request;
  while (n - i >= 9) {
    size_t length = (size_t)bytes[i] << 16 | (size_t)bytes[i + 1] << 8 | bytes[i + 2];
    uint8_t type = bytes[i + 3], flags = bytes[i + 4];
    int32_t stream = (int32_t)((uint32_t)(bytes[i + 5] & 0x7f) << 24 | (uint32_t)bytes[i + 6] << 16 | (uint32_t)bytes[i + 7] << 8 | bytes[i + 8]);
    if (n - i - 9 < length) break;
    const uint8_t *payload = bytes + i + 9;
    i += 9 + length;
    if (type != NGHTTP2_HEADERS && type != NGHTTP2_CONTINUATION) {
      if (is_open) { count = -1; break; }
      continue;
    }
    if ((type == NGHTTP2_CONTINUATION) != is_open) { count = -1; break; }
    if (type == NGHTTP2_HEADERS) {
      memset(&request, 0, sizeof request);
      request.stream = stream;
      if (flags & NGHTTP2_FLAG_PADDED) { count = -1; break; }
      if (flags & NGHTTP2_FLAG_PRIORITY) {
        if (length < 5) { count = -1; break; }
        payload += 5;
        length -= 5;
      }
    }
    is_open = !(flags & NGHTTP2_FLAG_END_HEADERS);
    if (!inflate(inflater, &request, payload, length, !is_open)) { count = -1; break; }
    /* Trailers have no method. */
    if (!is_open && request.method[0] && count < room) list[count++] = request;
  }
  nghttp2_hd_inflate_del(inflater);
  return count;
}
