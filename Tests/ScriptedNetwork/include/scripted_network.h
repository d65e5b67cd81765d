// ScriptedNetwork — sockets, epoll and clocks that live in memory, for tests which drive a whole gateway without a kernel socket.
//
// A program that links this target has its calls of the socket functions redirected (`ld --wrap`). While a network is open on a
// thread, that thread's sockets belong to it, and its clocks stand still unless the test moves them; descriptors of the kernel's,
// and all other threads, are served as ever. The far ends (clients and backends) are played by the test.
//
// Invariants: a descriptor of the network is above every one of the kernel's; what the gateway has sent is kept to the end;
// readiness is edge-triggered as epoll(7) says: an end is told of again only when something about it has changed.
#ifndef SCRIPTED_NETWORK_H
#define SCRIPTED_NETWORK_H
#include <stddef.h>
#include <stdint.h>

/* What becomes of a connect. The last two are decided later, by scripted_finish_connects, or never. */
enum { SCRIPTED_CONNECT_NOW, SCRIPTED_CONNECT_REFUSED, SCRIPTED_CONNECT_LATER, SCRIPTED_CONNECT_REFUSED_LATER };

/* What an end is. */
enum { SCRIPTED_CLIENT = 1, SCRIPTED_BACKEND = 2 };

/* How the gateway has left an end: bits. */
enum { SCRIPTED_ENDED = 1, SCRIPTED_CLOSED = 2, SCRIPTED_WAS_RESET = 4 };

/* Opens a network on this thread; 0 when there is one, or no memory. Its clocks start at fixed times. */
int scripted_open(void);
/* Closes it; returns how many descriptors were left open, the lent ones included. */
int scripted_close(void);
/* Moves the clocks on. */
void scripted_advance(uint64_t milliseconds);

/* A listening socket and a log: descriptors to be given to the gateway, which closes them. -1: too many. */
int scripted_listener(void);
int scripted_log(void);
/* What has been written to the log. */
const uint8_t *scripted_logged(size_t *count);

/* A client connects: the number of its end, or -1 when there are too many. */
int scripted_connect(void);
/* Ends so far, clients and backends in the order of their connects, and what they are. */
int scripted_count(void);
int scripted_kind(int end);
/* The port that the gateway has connected to. */
int scripted_port(int end);
/* Whether there is a connection: the far end can act. */
int scripted_is_connected(int end);
/* How the gateway has left it. */
int scripted_left(int end);
/* What the gateway has sent on it. */
const uint8_t *scripted_sent(int end, size_t *count);
/* Bytes for the gateway that it has not read. */
size_t scripted_unread(int end);

/* The far end sends; what comes behind its end, or its reset, is lost. */
void scripted_send(int end, const uint8_t *bytes, size_t count);
/* It has finished sending. */
void scripted_finish(int end);
/* It has closed: the next byte that it is sent is answered with a reset. */
void scripted_leave(int end);
void scripted_reset(int end);
/* How much it takes from now on; SIZE_MAX: everything. */
void scripted_take(int end, size_t room);

/* What becomes of connects from now on. */
void scripted_connects(int outcome);
/* Decides those that were to be decided later. */
void scripted_finish_connects(void);

/* HPACK (RFC 7541), for what a gateway sends to an HTTP/2 backend: takes the bytes of one direction, preface included. */
struct scripted_request { int32_t stream; char method[16]; char path[112]; };
/* Appends the requests that have begun in bytes[0 ..< n] to list[0 ..< room]; returns their number, or -1 when the bytes are not HTTP/2. */
int scripted_requests(const uint8_t *bytes, size_t n, struct scripted_request *list, int room);
#endif
