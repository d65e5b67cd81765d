// tlspeer — what the tests of TLS need from OpenSSL: a client in memory, and certificates made on the spot.
#ifndef TLSPEER_H
#define TLSPEER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct peer_text {
  uint8_t *bytes;
  size_t count;
} peer_text;
void peer_text_free(peer_text text);

// Certificates

typedef struct peer_issue {
  const char *names; /* comma-separated alternative names, those of addresses as "IP:…"; NULL: none */
  const char *common_name;
  const char *curve;        /* NULL: RSA */
  int bits;                 /* RSA */
  const char *digest;       /* "SHA256" */
  long from, until;         /* seconds from now */
  bool is_authority;
  const peer_text *issuer;  /* certificate and key in PEM; NULL: it signs itself */
  const peer_text *issuer_key;
  const char *password;     /* NULL: the key is not protected */
} peer_issue;

/* Makes a key and a certificate, both PEM. */
bool peer_make_certificate(const peer_issue *issue, peer_text *certificate, peer_text *key);
/* An OCSP response (DER) that `issuer` gives about `certificate`. */
bool peer_make_ocsp(const peer_text *certificate, const peer_text *issuer, const peer_text *issuer_key, long until, peer_text *response);

// A client

typedef struct peer peer;
typedef struct peer_options {
  const char *server_name;
  const peer_text *authority; /* NULL: the server's certificate is not verified */
  const peer_text *certificate, *key;
  int max_version, min_version; /* 12 or 13; 0: any */
  const char *ciphers;          /* TLS 1.2 */
  const char *groups;
  const char *signatures;
  const uint8_t *protocols; /* ALPN, in wire form */
  size_t protocols_size;
  bool asks_for_ocsp;
  peer *resumes; /* whose session is offered */
} peer_options;

peer *peer_make(const peer_options *options);
void peer_free(peer *peer);
void peer_feed(peer *peer, const uint8_t *bytes, size_t count);
peer_text peer_take(peer *peer); /* all it wants to send */
int peer_handshake(peer *peer);  /* 1 done, 0 wants more, -1 failed */
int peer_write(peer *peer, const uint8_t *bytes, size_t count);
/* Bytes read; 0: wants more, -1: close_notify, -2: failed. */
int peer_read(peer *peer, uint8_t *bytes, size_t count);
void peer_close(peer *peer);
int peer_update_keys(peer *peer);
bool peer_was_resumed(const peer *peer);
int peer_version(const peer *peer); /* 12, 13 */
size_t peer_protocol(const peer *peer, char name[16]);
size_t peer_certificate_name(const peer *peer, char *name, size_t size); /* subject CN of the server's certificate */
int peer_chain_length(const peer *peer);
bool peer_server_key_is_ec(const peer *peer);
size_t peer_ocsp_size(const peer *peer);
#endif
