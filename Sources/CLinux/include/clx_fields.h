/* clx_fields — the field section of a head (RFC 9112 section 5): one pass from the first name to the empty line.

   What it records are offsets; nothing is copied. Invariant: every function reads only p[0 ..< n]. Needs n < 2^31. */
#ifndef CLX_FIELDS_H
#define CLX_FIELDS_H
#include <stddef.h>
#include <stdint.h>

/* One field line: where its name and its value begin and end, without the blanks around them; which name it is; and whether the
   line reads exactly "name: value" CRLF. */
struct clx_field { uint32_t name_start, name_end, value_start, value_end; uint16_t name, is_canonical; };

/* Why a section ended where it did. */
enum { CLX_FIELDS_COMPLETE = 0, CLX_FIELDS_INCOMPLETE = 1, CLX_FIELDS_MALFORMED = 2, CLX_FIELDS_TOO_MANY = 3 };

/* What a pass found. Sets of names have one bit for each, by its number; other names (0) are in neither set. */
struct clx_fields {
  uint64_t names, repeated;
  /* Behind the empty line, when complete. */
  size_t end;
  size_t count;
  /* Name, value and 4 for each field. */
  size_t size;
  int outcome;
};

/* Reads field lines from p[i] on into out[0 ..< capacity]. No blank may precede a name or a colon, no line may be folded, and
   lines end with CRLF alone; control characters other than tab are refused. */
struct clx_fields clx_scan_fields(const uint8_t *p, size_t i, size_t n, struct clx_field *out, size_t capacity);

/* Writes the fields whose names are not in `dropped` to out[0 ..< room]: "name: value" CRLF each. Lines that stand so in p[0 ..< n],
   one behind the other, are copied together. Returns the bytes written; SIZE_MAX when there was not enough room. */
size_t clx_write_fields(uint8_t *out, size_t room, const uint8_t *p, size_t n, const struct clx_field *fields, size_t count, uint64_t dropped);

/* A name that is looked for: where it stands, in lower case, in a text of names. */
struct clx_name { uint32_t start, count; };

/* A line, its end included; start == end when there is none. */
struct clx_named_line { size_t start, end, index; };

/* The first line of p[i ..< end], which holds whole lines, that begins with one of names[0 ..< count] and a colon. `letters` has one bit for the low six
   bits of the first letter of each name. */
struct clx_named_line clx_find_named_line(const uint8_t *p, size_t i, size_t end, const uint8_t *text, const struct clx_name *names, size_t count, uint64_t letters);

/* The number of the header name p[0 ..< n], compared without case; 0 for every name that has none. */
unsigned clx_header_name(const uint8_t *p, size_t n);

/* As above for a name of HTTP/2 (RFC 9113 section 8.2.1); -1 for what is none: empty, not a token, or not in lower case. */
int clx_lower_header_name(const uint8_t *p, size_t n);

/* Whether p[0 ..< n] may be a value in HTTP/2 (RFC 9113 section 8.2.1): no control character but tab, no blank or tab at either end. */
int clx_is_field_value(const uint8_t *p, size_t n);

/* The text of a header name in lower case, and its length; "" for what is none. */
const char *clx_header_name_text(unsigned name, size_t *count);
#endif
