// clx_files — files that are served: opened below a directory, looked at, read and sent.
#ifndef CLX_FILES_H
#define CLX_FILES_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct clx_file { int64_t size, seconds; uint32_t mode; uint32_t nanoseconds; };

/* A descriptor that stands for the directory at `path`, or -1. */
int clx_open_directory(const char *path);
/* Opens `name` for reading, seen from `directory`. links: 0 none are followed, 1 those that stay below it, 2 all. Waits for no FIFO. */
int clx_open_below(int directory, const char *name, int links);
/* Whether there is what clx_open_below needs, and no filter of system calls forbids it. */
int clx_has_open_below(void);
/* Opens one part of a name without following a link: for reading, or the directory that it must be, to go on from. */
int clx_open_part(int directory, const char *name, int reads);
/* Opens `name` for reading, wherever it leads. */
int clx_open_any(int directory, const char *name);
int clx_look_at(int fd, struct clx_file *file);
ssize_t clx_send_file(int socket, int fd, int64_t *offset, size_t count);
/* As send, and more will follow at once. */
ssize_t clx_send_more(int socket, const void *bytes, size_t count);
/* Says that the file will be read from its beginning to its end. */
void clx_will_read(int fd, int64_t offset, int64_t count);
#endif
