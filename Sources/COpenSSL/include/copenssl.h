// copenssl — the part of OpenSSL 3 that the gateway uses, as plain functions over plain memory.
//
// Most of OpenSSL's interface is macros and callbacks, which Swift cannot import; what stands here can. Nothing does
// I/O: a session reads ciphertext from a span that is lent for the duration of a call, and writes ciphertext into
// another. No pointer that is passed in is kept, except where it is said.
#ifndef COPENSSL_H
#define COPENSSL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct x509_store_st X509_STORE;

// Memory lent to a session

/* Where a session finds ciphertext and puts ciphertext; one serves all sessions of one thread. */
typedef struct copenssl_port copenssl_port;

/* What is lent for one call. The call lowers the counts by what it has used, and moves the pointers along. */
typedef struct {
  const uint8_t *input;
  size_t input_count;
  uint8_t *output;
  size_t output_count;
} copenssl_lent;

copenssl_port *copenssl_port_make(void); /* NULL: no memory */
void copenssl_port_free(copenssl_port *port); /* sessions that use it must be gone */

// Sessions

enum {
  COPENSSL_DONE,
  COPENSSL_WANTS_INPUT,
  COPENSSL_WANTS_OUTPUT, /* `output` is too small */
  COPENSSL_CLOSED,       /* the peer has sent close_notify */
  COPENSSL_FAILED,
};

SSL *copenssl_session_make(SSL_CTX *context, copenssl_port *port); /* server side; NULL: no memory */
void copenssl_session_free(SSL *session);
int copenssl_handshake(SSL *session, copenssl_port *port, copenssl_lent *lent);
/* Decrypts into `plain`, up to *count bytes; *count becomes how many there were. May also need `output`. */
int copenssl_read(SSL *session, copenssl_port *port, copenssl_lent *lent, uint8_t *plain, size_t *count);
/* Encrypts *count bytes, at most one record's worth, as one record. */
int copenssl_write(SSL *session, copenssl_port *port, copenssl_lent *lent, const uint8_t *plain, size_t *count);
/* Writes close_notify, once. */
int copenssl_close(SSL *session, copenssl_port *port, copenssl_lent *lent);
/* Whether decrypted bytes, or part of a record, are still inside the session. */
bool copenssl_has_pending(const SSL *session);

/* Why the last call failed. Empties OpenSSL's list of errors. */
enum {
  COPENSSL_REASON_OTHER,
  COPENSSL_REASON_NOT_TLS,
  COPENSSL_REASON_VERSION,
  COPENSSL_REASON_CIPHER,
  COPENSSL_REASON_NO_CERTIFICATE,
  COPENSSL_REASON_BAD_CERTIFICATE,
  COPENSSL_REASON_ALERT,
  COPENSSL_REASON_PROTOCOL,
};
/* `text` gets OpenSSL's own words, which are valid for good; NULL when there are none. */
int copenssl_failure(const SSL *session, const char **text);

// What was agreed on. Texts are valid for good, unless said otherwise.

const char *copenssl_version_name(const SSL *session);
const char *copenssl_cipher_name(const SSL *session);
/* As long as the session; NULL: none was sent. */
const char *copenssl_server_name(const SSL *session);
bool copenssl_was_resumed(SSL *session);
bool copenssl_speaks_h2(const SSL *session);
bool copenssl_speaks_http1(const SSL *session);
/* Writes the subject of the client's certificate (RFC 4514) and its SHA-256 fingerprint. 0: there is none. */
int copenssl_peer_certificate(const SSL *session, char *subject, size_t size, uint8_t fingerprint[32]);

// Contexts

SSL_CTX *copenssl_context_make(void); /* NULL: no memory */
void copenssl_context_free(SSL_CTX *context);
bool copenssl_set_versions(SSL_CTX *context, bool only13);
bool copenssl_set_ciphers(SSL_CTX *context, const char *list); /* TLS 1.2 */
bool copenssl_set_suites(SSL_CTX *context, const char *list);  /* TLS 1.3 */
bool copenssl_set_groups(SSL_CTX *context, const char *list);
/* Certificate chain and key, in PEM; `ocsp` in DER, for stapling until `ocsp_until` (seconds since the epoch). */
bool copenssl_add_certificate(
  SSL_CTX *context, const uint8_t *chain, size_t chain_size, const uint8_t *key, size_t key_size, const uint8_t *ocsp, size_t ocsp_size,
  int64_t ocsp_until);
/* Asks clients for a certificate that one of `ca` (PEM) has issued. */
bool copenssl_set_client_ca(SSL_CTX *context, const uint8_t *ca, size_t size, bool required);
/* Sessions are resumed only between contexts with the same identity. */
bool copenssl_set_identity(SSL_CTX *context, const uint8_t identity[32]);
void copenssl_offer_h2(SSL_CTX *context, bool h2);

/* Finds the context for a server name; NULL: stay with the one the session began with. */
typedef SSL_CTX *(*copenssl_choose)(void *owner, const char *name, size_t size);
/* `owner` must outlive the sessions of the context. */
void copenssl_set_names(SSL_CTX *context, copenssl_choose choose, void *owner);

// The client's side: connections to backends

SSL_CTX *copenssl_client_context_make(void); /* NULL: no memory; nobody is verified */
/* Whom contexts trust: certificates, PEM. Where there are revocation lists (PEM, of lists_size > 0 bytes), every certificate of a
   chain must be covered by one of them, and not be in it. NULL: there is no certificate, or something cannot be read. */
X509_STORE *copenssl_store_make(const uint8_t *text, size_t size, const uint8_t *lists, size_t lists_size);
/* Whether a text consists of revocation lists, and when the first of them wants to be replaced (INT64_MAX: none says). */
bool copenssl_read_next_update(const uint8_t *text, size_t size, int64_t *next_update);
void copenssl_store_free(X509_STORE *store);
/* Servers must show a certificate that leads to one in `store`, which may be shared. */
bool copenssl_trust(SSL_CTX *context, X509_STORE *store);
/* …and is good for this host name, or for this IP address. */
bool copenssl_expect_name(SSL_CTX *context, const char *name);
bool copenssl_expect_address(SSL_CTX *context, const char *address);
/* Application protocols to ask for, the preferred first. */
bool copenssl_ask_protocols(SSL_CTX *context, bool h2, bool http1);
/* Sessions are kept, and each is used for one connection. */
void copenssl_keep_sessions(SSL_CTX *context);
/* `name`: what the server is asked for (SNI); NULL: nothing. NULL: no memory. */
SSL *copenssl_client_session_make(SSL_CTX *context, copenssl_port *port, const char *name);
/* The handshake is over for good. */
void copenssl_client_established(SSL *session);

/* Why the certificate of a server was rejected. */
enum {
  COPENSSL_REJECTED_OTHER,
  COPENSSL_REJECTED_EXPIRED,
  COPENSSL_REJECTED_EARLY,
  COPENSSL_REJECTED_NAME,
  COPENSSL_REJECTED_ISSUER,
  COPENSSL_REJECTED_REVOKED,
};
int copenssl_rejection_kind(const SSL *session);
void copenssl_rejection_text(const SSL *session, char *text, size_t size);

// Session tickets

enum { COPENSSL_TICKET_KEY_SIZE = 80, COPENSSL_MOST_TICKET_KEYS = 16 };
typedef struct copenssl_ticket_keys copenssl_ticket_keys;

copenssl_ticket_keys *copenssl_ticket_keys_make(void);
void copenssl_ticket_keys_free(copenssl_ticket_keys *keys);
/* `bytes` holds `count` keys of COPENSSL_TICKET_KEY_SIZE bytes, the newest first: it encrypts, all decrypt. */
void copenssl_ticket_keys_set(copenssl_ticket_keys *keys, const uint8_t *bytes, size_t count);
/* `keys` must outlive the sessions of the context; NULL: no tickets. `lifetime` in seconds. */
void copenssl_set_tickets(SSL_CTX *context, const copenssl_ticket_keys *keys, long lifetime);

// Judging certificates

enum {
  COPENSSL_CERTIFICATE_GOOD,
  COPENSSL_CHAIN_UNREADABLE,
  COPENSSL_KEY_UNREADABLE,
  COPENSSL_KEY_PROTECTED,
  COPENSSL_KEY_MISMATCH,
  COPENSSL_WEAK_KEY,
  COPENSSL_WEAK_SIGNATURE,
  COPENSSL_CHAIN_BROKEN, /* good, but a certificate in the chain did not issue the one before it */
};

typedef struct {
  int64_t not_before, not_after; /* seconds since the epoch */
  int key_kind;                  /* equal for keys of which a context can have only one */
  int key_bits;
  char key_name[16];             /* "RSA", "EC", "ED25519" */
  char subject[256];
  char issuer[256];
  uint8_t fingerprint[32];       /* SHA-256 */
} copenssl_facts;

typedef void (*copenssl_name)(void *context, const char *name, size_t size);

/* Judges a chain (PEM, the leaf first) and, unless `key` is NULL, its key. Names of the leaf go to `name`. */
int copenssl_inspect(
  const uint8_t *chain, size_t chain_size, const uint8_t *key, size_t key_size, copenssl_facts *facts, copenssl_name name, void *context);
/* The number of certificates in a PEM text; -1: it cannot be read. */
int copenssl_count_certificates(const uint8_t *text, size_t size);

enum {
  COPENSSL_OCSP_GOOD,
  COPENSSL_OCSP_UNREADABLE,
  COPENSSL_OCSP_FOREIGN, /* it is about another certificate */
  COPENSSL_OCSP_REVOKED,
};
/* Judges an OCSP response (DER) for the leaf of `chain`; *until: when it expires, INT64_MAX if it does not say. */
int copenssl_inspect_ocsp(const uint8_t *chain, size_t chain_size, const uint8_t *response, size_t size, int64_t *until);

/* Random bytes for keys. */
bool copenssl_random(uint8_t *bytes, size_t size);
void copenssl_digest(const uint8_t *bytes, size_t size, uint8_t digest[32]); /* SHA-256 */
const char *copenssl_library(void); /* "OpenSSL 3.0.19 27 Jan 2026" */
#endif
