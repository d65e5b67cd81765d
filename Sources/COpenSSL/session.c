// One TLS connection: a custom BIO over lent memory, and the calls that lend it.
//
// All sessions of a port share its one BIO: it has no state of its own between calls. (Its flags are set by each
// call of its functions and read right after.) The reference that each session holds keeps it alive.
#include "copenssl.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

struct copenssl_port {
  BIO *bio;
  BIO_METHOD *method;
  copenssl_lent *lent; /* during a call */
};

static int port_read(BIO *bio, char *bytes, int size) {
  copenssl_port *port = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  copenssl_lent *lent = port->lent;
  if (!lent || lent->input_count == 0 || size <= 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  size_t count = lent->input_count < (size_t)size ? lent->input_count : (size_t)size;
  memcpy(bytes, lent->input, count);
  lent->input += count;
  lent->input_count -= count;
  return (int)count;
}

static int port_write(BIO *bio, const char *bytes, int size) {
  copenssl_port *port = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  copenssl_lent *lent = port->lent;
  if (!lent || lent->output_count == 0 || size <= 0) {
    BIO_set_retry_write(bio);
    return -1;
  }
  size_t count = lent->output_count < (size_t)size ? lent->output_count : (size_t)size;
  memcpy(lent->output, bytes, count);
  lent->output += count;
  lent->output_count -= count;
  return (int)count;
}

static long port_control(BIO *bio, int command, long number, void *pointer) {
  (void)bio, (void)number, (void)pointer;
  return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static int port_create(BIO *bio) {
  BIO_set_init(bio, 1);
  return 1;
}

copenssl_port *copenssl_port_make(void) {
  copenssl_port *port = OPENSSL_zalloc(sizeof *port);
  if (!port) return NULL;
  port->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lent memory");
  if (port->method) {
    BIO_meth_set_create(port->method, port_create);
    BIO_meth_set_read(port->method, port_read);
    BIO_meth_set_write(port->method, port_write);
    BIO_meth_set_ctrl(port->method, port_control);
    port->bio = BIO_new(port->method);
  }
  if (!port->bio) {
    copenssl_port_free(port);
    return NULL;
  }
  BIO_set_data(port->bio, port);
  return port;
}

void copenssl_port_free(copenssl_port *port) {
  if (!port) return;
  BIO_free(port->bio);
  BIO_meth_free(port->method);
  OPENSSL_free(port);
}

SSL *copenssl_session_make(SSL_CTX *context, copenssl_port *port) {
  SSL *session = SSL_new(context);
  if (!session) {
    ERR_clear_error();
    return NULL;
  }
  BIO_up_ref(port->bio);
  SSL_set_bio(session, port->bio, port->bio);
  SSL_set_accept_state(session);
  return session;
}

void copenssl_session_free(SSL *session) {
  /* A connection that was cut off would make its session useless, as TLS 1.0 wanted. */
  if (session && !SSL_is_server(session)) SSL_set_shutdown(session, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(session);
}

/* What became of a call that returned `result`. On failure the errors stay for copenssl_failure. */
static int outcome(SSL *session, int result) {
  if (result > 0) return COPENSSL_DONE;
  switch (SSL_get_error(session, result)) {
  case SSL_ERROR_WANT_READ: return COPENSSL_WANTS_INPUT;
  case SSL_ERROR_WANT_WRITE: return COPENSSL_WANTS_OUTPUT;
  case SSL_ERROR_ZERO_RETURN: return COPENSSL_CLOSED;
  default: return COPENSSL_FAILED;
  }
}

int copenssl_handshake(SSL *session, copenssl_port *port, copenssl_lent *lent) {
  port->lent = lent;
  int result = outcome(session, SSL_do_handshake(session));
  port->lent = NULL;
  return result;
}

int copenssl_read(SSL *session, copenssl_port *port, copenssl_lent *lent, uint8_t *plain, size_t *count) {
  size_t moved = 0;
  port->lent = lent;
  int result = outcome(session, SSL_read_ex(session, plain, *count, &moved));
  port->lent = NULL;
  *count = moved;
  return result;
}

int copenssl_write(SSL *session, copenssl_port *port, copenssl_lent *lent, const uint8_t *plain, size_t *count) {
  size_t moved = 0;
  port->lent = lent;
  int result = outcome(session, SSL_write_ex(session, plain, *count, &moved));
  port->lent = NULL;
  *count = moved;
  return result;
}

int copenssl_close(SSL *session, copenssl_port *port, copenssl_lent *lent) {
  port->lent = lent;
  int sent = SSL_shutdown(session);
  /* 0: ours is sent, the peer's has not come. */
  int result = sent >= 0 ? COPENSSL_DONE : outcome(session, sent);
  port->lent = NULL;
  return result;
}

bool copenssl_has_pending(const SSL *session) { return SSL_pending(session) > 0; }

int copenssl_failure(const SSL *session, const char **text) {
  unsigned long code = ERR_peek_error();
  unsigned long last = ERR_peek_last_error();
  int library = ERR_GET_LIB(code), reason = ERR_GET_REASON(code);
  /* Errors of the cryptography below lie in front of what TLS makes of them. */
  if (library != ERR_LIB_SSL && ERR_GET_LIB(last) == ERR_LIB_SSL) {
    library = ERR_LIB_SSL;
    reason = ERR_GET_REASON(last);
    code = last;
  }
  *text = code ? ERR_reason_error_string(code) : NULL;
  (void)session;
  ERR_clear_error();
  if (library != ERR_LIB_SSL) return COPENSSL_REASON_OTHER;
  if (reason > SSL_AD_REASON_OFFSET) return COPENSSL_REASON_ALERT;
  switch (reason) {
  case SSL_R_HTTP_REQUEST:
  case SSL_R_HTTPS_PROXY_REQUEST:
  case SSL_R_WRONG_VERSION_NUMBER:
    return COPENSSL_REASON_NOT_TLS;
  case SSL_R_UNSUPPORTED_PROTOCOL:
  case SSL_R_UNKNOWN_PROTOCOL:
  case SSL_R_VERSION_TOO_LOW:
  case SSL_R_INAPPROPRIATE_FALLBACK:
  case SSL_R_NO_PROTOCOLS_AVAILABLE:
    return COPENSSL_REASON_VERSION;
  case SSL_R_NO_SHARED_CIPHER:
  case SSL_R_NO_SHARED_GROUPS:
  case SSL_R_NO_SUITABLE_GROUPS:
  case SSL_R_NO_SUITABLE_KEY_SHARE:
  case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
  case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    return COPENSSL_REASON_CIPHER;
  case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    return COPENSSL_REASON_NO_CERTIFICATE;
  case SSL_R_CERTIFICATE_VERIFY_FAILED:
  case SSL_R_CA_MD_TOO_WEAK:
  case SSL_R_EE_KEY_TOO_SMALL:
    return COPENSSL_REASON_BAD_CERTIFICATE;
  default:
    return COPENSSL_REASON_PROTOCOL;
  }
}

const char *copenssl_version_name(const SSL *session) { return SSL_get_version(session); }
const char *copenssl_cipher_name(const SSL *session) { return SSL_get_cipher_name(session); }
const char *copenssl_server_name(const SSL *session) { return SSL_get_servername(session, TLSEXT_NAMETYPE_host_name); }
bool copenssl_was_resumed(SSL *session) { return SSL_session_reused(session) == 1; }

static bool speaks(const SSL *session, const char *protocol) {
  const unsigned char *name = NULL;
  unsigned size = 0;
  SSL_get0_alpn_selected(session, &name, &size);
  return size == strlen(protocol) && memcmp(name, protocol, size) == 0;
}

bool copenssl_speaks_h2(const SSL *session) { return speaks(session, "h2"); }
bool copenssl_speaks_http1(const SSL *session) { return speaks(session, "http/1.1"); }
