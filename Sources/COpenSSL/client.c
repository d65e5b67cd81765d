// The client's side: whom a context trusts, which sessions it keeps for later, and why a server was rejected.
#include "copenssl.h"
#include "pem.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

// Sessions kept, the newest last. A context belongs to one thread.

enum { MOST_KEPT = 16 };
typedef struct {
  size_t count;
  SSL_SESSION *sessions[MOST_KEPT];
} kept;

static void free_kept(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index, long number, void *argument) {
  (void)parent, (void)data, (void)index, (void)number, (void)argument;
  kept *kept = pointer;
  if (!kept) return;
  for (size_t i = 0; i < kept->count; i++) SSL_SESSION_free(kept->sessions[i]);
  OPENSSL_free(kept);
}

static void free_rejected(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index, long number, void *argument) {
  (void)parent, (void)data, (void)index, (void)number, (void)argument;
  X509_free(pointer);
}

static int kept_index = -1, rejected_index = -1;
static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
static void set_up(void) {
  kept_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_kept);
  rejected_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_rejected);
}

/* Takes over the reference. A session is not kept longer than the certificate is good that it stands for. */
static void keep(SSL *ssl, SSL_SESSION *session) {
  kept *kept = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), kept_index);
  X509 *certificate = SSL_SESSION_get0_peer(session);
  if (!kept || SSL_SESSION_is_resumable(session) != 1 || (certificate && X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0)) {
    SSL_SESSION_free(session);
    return;
  }
  if (kept->count == MOST_KEPT) {
    SSL_SESSION_free(kept->sessions[0]);
    memmove(kept->sessions, kept->sessions + 1, --kept->count * sizeof *kept->sessions);
  }
  kept->sessions[kept->count++] = session;
}

static int session_is_new(SSL *ssl, SSL_SESSION *session) {
  keep(ssl, session);
  return 1;
}

/* The newest that is still good; the caller's to free. */
static SSL_SESSION *take(SSL_CTX *context) {
  kept *kept = SSL_CTX_get_ex_data(context, kept_index);
  while (kept && kept->count > 0) {
    SSL_SESSION *session = kept->sessions[--kept->count];
    X509 *certificate = SSL_SESSION_get0_peer(session);
    bool is_old = SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session) <= (long)time(NULL);
    bool is_expired = certificate && X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0;
    if (!is_old && !is_expired) return session;
    SSL_SESSION_free(session);
  }
  return NULL;
}

void copenssl_keep_sessions(SSL_CTX *context) {
  kept *kept = OPENSSL_zalloc(sizeof *kept);
  if (!kept || SSL_CTX_set_ex_data(context, kept_index, kept) != 1) {
    OPENSSL_free(kept);
    return;
  }
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, session_is_new);
}

// Making contexts and sessions

SSL_CTX *copenssl_client_context_make(void) {
  if (!CRYPTO_THREAD_run_once(&once, set_up) || kept_index < 0 || rejected_index < 0) return NULL;
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  if (!context) {
    ERR_clear_error();
    return NULL;
  }
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(
    context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
  return context;
}

X509_STORE *copenssl_store_make(const uint8_t *text, size_t size, const uint8_t *lists_text, size_t lists_size) {
  STACK_OF(X509) *list = copenssl_read_chain(text, size);
  STACK_OF(X509_CRL) *lists = lists_size ? copenssl_read_lists(lists_text, lists_size) : NULL;
  X509_STORE *store = list && (lists || !lists_size) ? X509_STORE_new() : NULL;
  bool good = store;
  for (int i = 0; good && i < sk_X509_num(list); i++) good = X509_STORE_add_cert(store, sk_X509_value(list, i)) == 1;
  for (int i = 0; good && lists && i < sk_X509_CRL_num(lists); i++) good = X509_STORE_add_crl(store, sk_X509_CRL_value(lists, i)) == 1;
  /* Without the second flag only the certificate itself is looked up, and not those of its issuers. */
  if (good && lists) good = X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1;
  sk_X509_pop_free(list, X509_free);
  sk_X509_CRL_pop_free(lists, X509_CRL_free);
  ERR_clear_error();
  if (good) return store;
  X509_STORE_free(store);
  return NULL;
}

void copenssl_store_free(X509_STORE *store) { X509_STORE_free(store); }

/* Notes the first certificate that is rejected, for the words about it. */
static int verified(int is_good, X509_STORE_CTX *verification) {
  SSL *session = X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx());
  X509 *certificate = X509_STORE_CTX_get_current_cert(verification);
  if (is_good || !session || !certificate || SSL_get_ex_data(session, rejected_index)) return is_good;
  if (SSL_set_ex_data(session, rejected_index, certificate) == 1) X509_up_ref(certificate);
  return 0;
}

bool copenssl_trust(SSL_CTX *context, X509_STORE *store) {
  SSL_CTX_set1_cert_store(context, store);
  /* Whoever is named is trusted, be it an intermediate authority without its root, or the server itself. */
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, verified);
  return true;
}

bool copenssl_expect_name(SSL_CTX *context, const char *name) {
  X509_VERIFY_PARAM *rules = SSL_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  bool good = X509_VERIFY_PARAM_set1_host(rules, name, 0) == 1;
  ERR_clear_error();
  return good;
}

bool copenssl_expect_address(SSL_CTX *context, const char *address) {
  bool good = X509_VERIFY_PARAM_set1_ip_asc(SSL_CTX_get0_param(context), address) == 1;
  ERR_clear_error();
  return good;
}

bool copenssl_ask_protocols(SSL_CTX *context, bool h2, bool http1) {
  static const unsigned char protocols[] = "\x02h2\x08http/1.1";
  unsigned start = h2 ? 0 : 3, end = http1 ? sizeof protocols - 1 : 3;
  if (start == end) return true;
  bool good = SSL_CTX_set_alpn_protos(context, protocols + start, end - start) == 0;
  ERR_clear_error();
  return good;
}

SSL *copenssl_client_session_make(SSL_CTX *context, copenssl_port *port, const char *name) {
  SSL *session = copenssl_session_make(context, port);
  if (!session) return NULL;
  SSL_set_connect_state(session);
  SSL_SESSION *earlier = take(context);
  bool good = (!name || SSL_set_tlsext_host_name(session, name) == 1) && (!earlier || SSL_set_session(session, earlier) == 1);
  SSL_SESSION_free(earlier);
  ERR_clear_error();
  if (good) return session;
  SSL_free(session);
  return NULL;
}

void copenssl_client_established(SSL *session) {
  /* Before TLS 1.3 a session may be resumed more than once. */
  if (SSL_version(session) >= TLS1_3_VERSION || SSL_session_reused(session) != 1) return;
  SSL_SESSION *used = SSL_get1_session(session);
  if (used) keep(session, used);
}

// Rejections

int copenssl_rejection_kind(const SSL *session) {
  switch (SSL_get_verify_result(session)) {
  case X509_V_ERR_CERT_HAS_EXPIRED: return COPENSSL_REJECTED_EXPIRED;
  case X509_V_ERR_CERT_NOT_YET_VALID: return COPENSSL_REJECTED_EARLY;
  case X509_V_ERR_HOSTNAME_MISMATCH:
  case X509_V_ERR_IP_ADDRESS_MISMATCH: return COPENSSL_REJECTED_NAME;
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
  case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
  case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
  case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
  case X509_V_ERR_CERT_SIGNATURE_FAILURE: /* another authority of the same name, as a rule */
  case X509_V_ERR_CERT_UNTRUSTED: return COPENSSL_REJECTED_ISSUER;
  case X509_V_ERR_CERT_REVOKED: return COPENSSL_REJECTED_REVOKED;
  default: return COPENSSL_REJECTED_OTHER;
  }
}

typedef struct {
  char *text;
  size_t size, count;
} words;

static void say(words *words, const char *text) {
  for (; *text && words->count + 1 < words->size; text++) words->text[words->count++] = *text;
  words->text[words->count] = 0;
}

static void say_time(words *words, const ASN1_TIME *time) {
  struct tm parts;
  char text[32] = "?";
  if (time && ASN1_TIME_to_tm(time, &parts) == 1) strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  say(words, text);
}

static void say_names(words *words, X509 *certificate) {
  GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  const char *before = ", good for ";
  for (int i = 0; i < sk_GENERAL_NAME_num(names) && i < 8; i++) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    char text[128];
    size_t count = 0;
    if (name->type == GEN_DNS) {
      const unsigned char *bytes = ASN1_STRING_get0_data(name->d.dNSName);
      int size = ASN1_STRING_length(name->d.dNSName);
      for (int j = 0; j < size && count + 1 < sizeof text; j++) text[count++] = bytes[j] > 0x20 && bytes[j] < 0x7f ? (char)bytes[j] : '?';
      text[count] = 0;
    } else if (name->type == GEN_IPADD && ASN1_STRING_length(name->d.iPAddress) == 4) {
      const unsigned char *bytes = ASN1_STRING_get0_data(name->d.iPAddress);
      snprintf(text, sizeof text, "%u.%u.%u.%u", bytes[0], bytes[1], bytes[2], bytes[3]);
    } else if (name->type == GEN_IPADD && ASN1_STRING_length(name->d.iPAddress) == 16) {
      const unsigned char *bytes = ASN1_STRING_get0_data(name->d.iPAddress);
      for (int j = 0; j < 16; j += 2) {
        count += (size_t)snprintf(text + count, sizeof text - count, "%s%x", j ? ":" : "", (unsigned)bytes[j] << 8 | bytes[j + 1]);
      }
    } else {
      continue;
    }
    say(words, before);
    say(words, text);
    before = ", ";
  }
  GENERAL_NAMES_free(names);
}

void copenssl_rejection_text(const SSL *session, char *text, size_t size) {
  words words = {text, size, 0};
  if (size == 0) return;
  say(&words, X509_verify_cert_error_string(SSL_get_verify_result(session)));
  X509 *certificate = SSL_get_ex_data(session, rejected_index);
  if (!certificate) return;
  char name[256];
  say(&words, ": subject ");
  copenssl_name_text(X509_get_subject_name(certificate), name, sizeof name);
  say(&words, name);
  say(&words, ", issuer ");
  copenssl_name_text(X509_get_issuer_name(certificate), name, sizeof name);
  say(&words, name);
  say(&words, ", valid from ");
  say_time(&words, X509_get0_notBefore(certificate));
  say(&words, " to ");
  say_time(&words, X509_get0_notAfter(certificate));
  say_names(&words, certificate);
  ERR_clear_error();
}
