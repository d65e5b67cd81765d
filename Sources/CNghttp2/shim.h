// CNghttp2 — nghttp2's header: framing, header compression, flow control and the scheduling of DATA for HTTP/2.
#include <nghttp2/nghttp2.h>
