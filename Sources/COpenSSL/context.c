// What all connections of a listener share: certificates, versions, ciphers, the rules of resumption.
#include "copenssl.h"
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include "pem.h"
#include <string.h>
#include <time.h>

// Stapled responses

typedef struct staple {
  struct staple *next;
  X509 *certificate;
  int64_t until;
  size_t size;
  uint8_t bytes[];
} staple;

static void free_staples(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index, long number, void *argument) {
  (void)parent, (void)data, (void)index, (void)number, (void)argument;
  staple *next, *staple = pointer;
  for (; staple; staple = next) {
    next = staple->next;
    X509_free(staple->certificate);
    OPENSSL_free(staple);
  }
}

static int staple_index = -1;
static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
static void set_up(void) { staple_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_staples); }

static int staple_response(SSL *session, void *argument) {
  (void)argument;
  X509 *certificate = SSL_get_certificate(session);
  staple *staple = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(session), staple_index);
  for (; staple; staple = staple->next) {
    if (staple->certificate != certificate && X509_cmp(staple->certificate, certificate) != 0) continue;
    if (staple->until <= (int64_t)time(NULL)) break; /* an old answer is worse than none */
    uint8_t *copy = OPENSSL_memdup(staple->bytes, staple->size); /* the session frees it */
    if (!copy) break;
    SSL_set_tlsext_status_ocsp_resp(session, copy, (long)staple->size);
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

// Making a context

SSL_CTX *copenssl_context_make(void) {
  if (!CRYPTO_THREAD_run_once(&once, set_up) || staple_index < 0) return NULL;
  SSL_CTX *context = SSL_CTX_new(TLS_server_method());
  if (!context) {
    ERR_clear_error();
    return NULL;
  }
  SSL_CTX_set_options(
    context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  /* Whether the peer's end came with a close_notify is seen from the records alone: the port never reports an end. */
  SSL_CTX_set_mode(
    context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_early_data(context, 0);
  SSL_CTX_set_recv_max_early_data(context, 0);
  SSL_CTX_set_tlsext_status_cb(context, staple_response);
  return context;
}

void copenssl_context_free(SSL_CTX *context) { SSL_CTX_free(context); }

static bool finish(bool good) {
  ERR_clear_error();
  return good;
}

bool copenssl_set_versions(SSL_CTX *context, bool only13) {
  return finish(SSL_CTX_set_min_proto_version(context, only13 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
                SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1);
}
bool copenssl_set_ciphers(SSL_CTX *context, const char *list) { return finish(SSL_CTX_set_cipher_list(context, list) == 1); }
bool copenssl_set_suites(SSL_CTX *context, const char *list) { return finish(SSL_CTX_set_ciphersuites(context, list) == 1); }
bool copenssl_set_groups(SSL_CTX *context, const char *list) { return finish(SSL_CTX_set1_groups_list(context, list) == 1); }

bool copenssl_add_certificate(
  SSL_CTX *context, const uint8_t *chain_text, size_t chain_size, const uint8_t *key_text, size_t key_size, const uint8_t *ocsp, size_t ocsp_size,
  int64_t ocsp_until) {
  STACK_OF(X509) *chain = copenssl_read_chain(chain_text, chain_size);
  EVP_PKEY *key = copenssl_read_key(key_text, key_size, NULL);
  bool good = false;
  if (chain && key) {
    X509 *leaf = sk_X509_shift(chain);
    good = SSL_CTX_use_cert_and_key(context, leaf, key, chain, 1) == 1;
    if (good && ocsp_size > 0) {
      staple *new = OPENSSL_malloc(sizeof *new + ocsp_size);
      if (new) {
        new->next = SSL_CTX_get_ex_data(context, staple_index);
        new->until = ocsp_until;
        new->size = ocsp_size;
        memcpy(new->bytes, ocsp, ocsp_size);
        X509_up_ref(leaf);
        new->certificate = leaf;
        SSL_CTX_set_ex_data(context, staple_index, new);
      }
    }
    X509_free(leaf);
  }
  sk_X509_pop_free(chain, X509_free);
  EVP_PKEY_free(key);
  return finish(good);
}

bool copenssl_set_client_ca(SSL_CTX *context, const uint8_t *text, size_t size, bool required) {
  STACK_OF(X509) *list = copenssl_read_chain(text, size);
  STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
  bool good = list && names;
  for (int i = 0; good && i < sk_X509_num(list); i++) {
    X509 *certificate = sk_X509_value(list, i);
    X509_NAME *name = X509_NAME_dup(X509_get_subject_name(certificate));
    good = X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate) == 1 && name && sk_X509_NAME_push(names, name) > 0;
  }
  sk_X509_pop_free(list, X509_free);
  if (!good) {
    sk_X509_NAME_pop_free(names, X509_NAME_free);
    return finish(false);
  }
  /* Whoever is named is trusted, be it an intermediate authority without its root. */
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
  SSL_CTX_set_client_CA_list(context, names);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
  return finish(true);
}

bool copenssl_set_identity(SSL_CTX *context, const uint8_t identity[32]) {
  return finish(SSL_CTX_set_session_id_context(context, identity, SSL_MAX_SID_CTX_LENGTH) == 1);
}

// Application protocols (RFC 7301): the server's preference counts; without a common one the connection goes on as HTTP/1.1.

static int choose_protocol(SSL *session, const unsigned char **out, unsigned char *out_size, const unsigned char *in, unsigned in_size, void *h2) {
  static const unsigned char protocols[] = "\x02h2\x08http/1.1";
  (void)session;
  const unsigned char *ours = h2 ? protocols : protocols + 3;
  const unsigned char *end = protocols + sizeof protocols - 1;
  for (; ours < end; ours += *ours + 1) {
    for (unsigned i = 0; i < in_size; i += in[i] + 1u) {
      if (in[i] != *ours || i + 1 + in[i] > in_size || memcmp(in + i + 1, ours + 1, *ours) != 0) continue;
      *out = in + i + 1;
      *out_size = in[i];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_NOACK;
}

void copenssl_offer_h2(SSL_CTX *context, bool h2) { SSL_CTX_set_alpn_select_cb(context, choose_protocol, h2 ? context : NULL); }

// Server names

static int choose_context(SSL *session, int *alert, void *owner) {
  (void)alert;
  const char *name = SSL_get_servername(session, TLSEXT_NAMETYPE_host_name);
  copenssl_choose choose = (copenssl_choose)(uintptr_t)SSL_CTX_get_app_data(SSL_get_SSL_CTX(session));
  if (!name || !choose) return SSL_TLSEXT_ERR_NOACK;
  SSL_CTX *context = choose(owner, name, strlen(name));
  if (context) SSL_set_SSL_CTX(session, context);
  return SSL_TLSEXT_ERR_OK;
}

void copenssl_set_names(SSL_CTX *context, copenssl_choose choose, void *owner) {
  SSL_CTX_set_app_data(context, (void *)(uintptr_t)choose);
  SSL_CTX_set_tlsext_servername_callback(context, choose_context);
  SSL_CTX_set_tlsext_servername_arg(context, owner);
}

// Session tickets (RFC 5077, RFC 8446 §4.6.1): AES-256-CBC, then HMAC-SHA-256

struct copenssl_ticket_keys {
  EVP_CIPHER *cipher;
  size_t count;
  struct {
    uint8_t name[16], cipher[32], mac[32];
  } keys[COPENSSL_MOST_TICKET_KEYS];
};

copenssl_ticket_keys *copenssl_ticket_keys_make(void) {
  copenssl_ticket_keys *keys = OPENSSL_zalloc(sizeof *keys);
  if (keys && !(keys->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL))) {
    OPENSSL_free(keys);
    keys = NULL;
  }
  return keys;
}

void copenssl_ticket_keys_free(copenssl_ticket_keys *keys) {
  if (!keys) return;
  EVP_CIPHER_free(keys->cipher);
  OPENSSL_clear_free(keys, sizeof *keys);
}

void copenssl_ticket_keys_set(copenssl_ticket_keys *keys, const uint8_t *bytes, size_t count) {
  _Static_assert(sizeof keys->keys[0] == COPENSSL_TICKET_KEY_SIZE, "a key has no padding");
  if (count > COPENSSL_MOST_TICKET_KEYS) count = COPENSSL_MOST_TICKET_KEYS;
  OPENSSL_cleanse(keys->keys, sizeof keys->keys);
  memcpy(keys->keys, bytes, count * COPENSSL_TICKET_KEY_SIZE);
  keys->count = count;
}

static int ticket_index = -1;
static CRYPTO_ONCE ticket_once = CRYPTO_ONCE_STATIC_INIT;
static void set_up_tickets(void) { ticket_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL); }

/* 1: go on. 2: go on, and give the client a new ticket. 0: no such key, so a full handshake. */
static int ticket_key(SSL *session, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypts) {
  const copenssl_ticket_keys *keys = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(session), ticket_index);
  if (!keys || keys->count == 0) return 0;
  size_t chosen = 0;
  if (encrypts) {
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(keys->cipher)) != 1) return -1;
    memcpy(name, keys->keys[0].name, 16);
  } else {
    while (chosen < keys->count && memcmp(name, keys->keys[chosen].name, 16) != 0) chosen++;
    if (chosen == keys->count) return 0;
  }
  OSSL_PARAM parameters[] = {
    OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)keys->keys[chosen].mac, 32),
    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
    OSSL_PARAM_construct_end(),
  };
  if (EVP_CipherInit_ex(cipher, keys->cipher, NULL, keys->keys[chosen].cipher, iv, encrypts) != 1) return -1;
  if (EVP_MAC_CTX_set_params(mac, parameters) != 1) return -1;
  /* From TLS 1.3 on clients use a ticket once (RFC 8446 appendix C.4), so that each needs another. */
  return chosen == 0 && SSL_version(session) < TLS1_3_VERSION ? 1 : 2;
}

void copenssl_set_tickets(SSL_CTX *context, const copenssl_ticket_keys *keys, long lifetime) {
  if (!keys || !CRYPTO_THREAD_run_once(&ticket_once, set_up_tickets) || ticket_index < 0) {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
    return;
  }
  SSL_CTX_set_ex_data(context, ticket_index, (void *)keys);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, ticket_key);
  SSL_CTX_set_timeout(context, lifetime);
  /* A client that opens several connections at once may use one ticket for all; more cost each handshake its time. */
  SSL_CTX_set_num_tickets(context, 1);
}
