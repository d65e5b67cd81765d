#include "tlspeer.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void peer_text_free(peer_text text) { free(text.bytes); }

static peer_text take_bio(BIO *bio) {
  char *bytes;
  long count = BIO_get_mem_data(bio, &bytes);
  peer_text text = {malloc(count > 0 ? (size_t)count : 1), count > 0 ? (size_t)count : 0};
  memcpy(text.bytes, bytes, text.count);
  BIO_free(bio);
  return text;
}

static X509 *certificate_of(const peer_text *text) {
  BIO *bio = BIO_new_mem_buf(text->bytes, (int)text->count);
  X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
  BIO_free(bio);
  return certificate;
}
static EVP_PKEY *key_of(const peer_text *text) {
  BIO *bio = BIO_new_mem_buf(text->bytes, (int)text->count);
  EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
  BIO_free(bio);
  return key;
}

static void extend(X509 *certificate, X509 *issuer, int kind, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

bool peer_make_certificate(const peer_issue *issue, peer_text *certificate_text, peer_text *key_text) {
  static long serial = 1000;
  EVP_PKEY *key = issue->curve ? EVP_EC_gen(issue->curve) : EVP_RSA_gen(issue->bits);
  X509 *certificate = X509_new();
  X509 *issuer = issue->issuer ? certificate_of(issue->issuer) : NULL;
  EVP_PKEY *signer = issue->issuer_key ? key_of(issue->issuer_key) : NULL;
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED));
  X509_gmtime_adj(X509_getm_notBefore(certificate), issue->from);
  X509_gmtime_adj(X509_getm_notAfter(certificate), issue->until);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8, (const unsigned char *)issue->common_name, -1, -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer ? issuer : certificate));
  if (issue->is_authority) extend(certificate, issuer ? issuer : certificate, NID_basic_constraints, "critical,CA:TRUE");
  if (issue->names) {
    char value[1024] = "";
    char names[1024];
    snprintf(names, sizeof names, "%s", issue->names);
    char *rest = NULL;
    for (char *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
      if (value[0]) strcat(value, ",");
      strcat(strcat(value, strncmp(name, "IP:", 3) == 0 ? "" : "DNS:"), name);
    }
    extend(certificate, issuer ? issuer : certificate, NID_subject_alt_name, value);
  }
  bool good = X509_sign(certificate, signer ? signer : key, EVP_get_digestbyname(issue->digest)) > 0;
  BIO *bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate);
  *certificate_text = take_bio(bio);
  bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(
    bio, key, issue->password ? EVP_aes_128_cbc() : NULL, issue->password, issue->password ? (int)strlen(issue->password) : 0, NULL, NULL);
  *key_text = take_bio(bio);
  X509_free(certificate);
  X509_free(issuer);
  EVP_PKEY_free(key);
  EVP_PKEY_free(signer);
  return good;
}

bool peer_make_ocsp(const peer_text *certificate_text, const peer_text *issuer_text, const peer_text *issuer_key, long until, peer_text *response) {
  X509 *certificate = certificate_of(certificate_text), *issuer = certificate_of(issuer_text);
  EVP_PKEY *key = key_of(issuer_key);
  OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
  ASN1_TIME *from = X509_gmtime_adj(NULL, -3600), *next = X509_gmtime_adj(NULL, until);
  OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), certificate, issuer);
  OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, NULL, from, next);
  bool good = OCSP_basic_sign(basic, issuer, key, EVP_sha256(), NULL, 0) == 1;
  OCSP_RESPONSE *whole = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
  unsigned char *bytes = NULL;
  int count = i2d_OCSP_RESPONSE(whole, &bytes);
  *response = (peer_text){malloc((size_t)count), (size_t)count};
  memcpy(response->bytes, bytes, (size_t)count);
  OPENSSL_free(bytes);
  OCSP_RESPONSE_free(whole);
  OCSP_BASICRESP_free(basic);
  OCSP_CERTID_free(id);
  ASN1_TIME_free(from);
  ASN1_TIME_free(next);
  EVP_PKEY_free(key);
  X509_free(certificate);
  X509_free(issuer);
  return good;
}

struct peer {
  SSL_CTX *context;
  SSL *session;
  BIO *in, *out;
};

static int version(int number) { return number == 12 ? TLS1_2_VERSION : number == 13 ? TLS1_3_VERSION : number == 11 ? TLS1_1_VERSION : 0; }

peer *peer_make(const peer_options *options) {
  peer *peer = calloc(1, sizeof *peer);
  peer->context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_security_level(peer->context, 0);
  SSL_CTX_set_min_proto_version(peer->context, version(options->min_version));
  SSL_CTX_set_max_proto_version(peer->context, version(options->max_version));
  if (options->ciphers) SSL_CTX_set_cipher_list(peer->context, options->ciphers);
  if (options->groups) SSL_CTX_set1_groups_list(peer->context, options->groups);
  if (options->signatures) SSL_CTX_set1_sigalgs_list(peer->context, options->signatures);
  if (options->authority) {
    X509 *authority = certificate_of(options->authority);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(peer->context), authority);
    X509_free(authority);
    SSL_CTX_set_verify(peer->context, SSL_VERIFY_PEER, NULL);
  }
  if (options->certificate) {
    X509 *certificate = certificate_of(options->certificate);
    EVP_PKEY *key = key_of(options->key);
    SSL_CTX_use_cert_and_key(peer->context, certificate, key, NULL, 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  peer->session = SSL_new(peer->context);
  peer->in = BIO_new(BIO_s_mem());
  peer->out = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(peer->in, -1);
  BIO_set_mem_eof_return(peer->out, -1);
  SSL_set_bio(peer->session, peer->in, peer->out);
  SSL_set_connect_state(peer->session);
  if (options->server_name) SSL_set_tlsext_host_name(peer->session, options->server_name);
  if (options->protocols) SSL_set_alpn_protos(peer->session, options->protocols, (unsigned)options->protocols_size);
  if (options->asks_for_ocsp) SSL_set_tlsext_status_type(peer->session, TLSEXT_STATUSTYPE_ocsp);
  if (options->resumes) {
    SSL_SESSION *session = SSL_get1_session(options->resumes->session);
    SSL_set_session(peer->session, session);
    SSL_SESSION_free(session);
  }
  return peer;
}

void peer_free(peer *peer) {
  /* A session that was not closed would be marked as not to be resumed. */
  SSL_set_shutdown(peer->session, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(peer->session);
  SSL_CTX_free(peer->context);
  free(peer);
}

void peer_feed(peer *peer, const uint8_t *bytes, size_t count) { BIO_write(peer->in, bytes, (int)count); }

peer_text peer_take(peer *peer) {
  size_t count = BIO_ctrl_pending(peer->out);
  peer_text text = {malloc(count + 1), count};
  if (count > 0) BIO_read(peer->out, text.bytes, (int)count);
  return text;
}

static int failed(peer *peer, int result) {
  int error = SSL_get_error(peer->session, result);
  ERR_clear_error();
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : error == SSL_ERROR_ZERO_RETURN ? -1 : -2;
}

int peer_handshake(peer *peer) {
  int result = SSL_do_handshake(peer->session);
  return result == 1 ? 1 : failed(peer, result) == 0 ? 0 : -1;
}
int peer_write(peer *peer, const uint8_t *bytes, size_t count) { return SSL_write(peer->session, bytes, (int)count); }
int peer_read(peer *peer, uint8_t *bytes, size_t count) {
  int result = SSL_read(peer->session, bytes, (int)count);
  return result > 0 ? result : failed(peer, result);
}
void peer_close(peer *peer) { SSL_shutdown(peer->session); }
int peer_update_keys(peer *peer) { return SSL_key_update(peer->session, SSL_KEY_UPDATE_REQUESTED) == 1 ? SSL_do_handshake(peer->session) : 0; }
bool peer_was_resumed(const peer *peer) { return SSL_session_reused(peer->session) == 1; }
int peer_version(const peer *peer) { return SSL_version(peer->session) == TLS1_3_VERSION ? 13 : 12; }
size_t peer_protocol(const peer *peer, char name[16]) {
  const unsigned char *bytes = NULL;
  unsigned count = 0;
  SSL_get0_alpn_selected(peer->session, &bytes, &count);
  memcpy(name, bytes ? bytes : (const unsigned char *)"", count);
  return count;
}
size_t peer_certificate_name(const peer *peer, char *name, size_t size) {
  X509 *certificate = SSL_get0_peer_certificate(peer->session);
  if (!certificate) return 0;
  int count = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, (int)size);
  return count > 0 ? (size_t)count : 0;
}
int peer_chain_length(const peer *peer) { return sk_X509_num(SSL_get_peer_cert_chain(peer->session)); }
bool peer_server_key_is_ec(const peer *peer) {
  X509 *certificate = SSL_get0_peer_certificate(peer->session);
  return certificate && EVP_PKEY_get_base_id(X509_get0_pubkey(certificate)) == EVP_PKEY_EC;
}
size_t peer_ocsp_size(const peer *peer) {
  const unsigned char *bytes;
  long count = SSL_get_tlsext_status_ocsp_resp(peer->session, &bytes);
  return count > 0 ? (size_t)count : 0;
}
