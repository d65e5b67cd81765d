// Reading and judging certificates, keys and OCSP responses.
#include "copenssl.h"
#include "pem.h"
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/opensslv.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

static int no_password(char *text, int size, int writing, void *asked) {
  (void)text, (void)size, (void)writing;
  if (asked) *(bool *)asked = true;
  return -1;
}

STACK_OF(X509) *copenssl_read_chain(const uint8_t *text, size_t size) {
  if (size > INT_MAX) return NULL;
  BIO *bio = BIO_new_mem_buf(text, (int)size);
  STACK_OF(X509) *chain = sk_X509_new_null();
  X509 *certificate = NULL;
  bool good = bio && chain;
  while (good && (certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
    if (sk_X509_push(chain, certificate) > 0) continue;
    X509_free(certificate);
    good = false;
  }
  /* The end of the text shows as "no start line"; anything else is a certificate that is broken. */
  unsigned long code = ERR_peek_last_error();
  if (good) good = sk_X509_num(chain) > 0 && ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  BIO_free(bio);
  if (good) return chain;
  sk_X509_pop_free(chain, X509_free);
  return NULL;
}

STACK_OF(X509_CRL) *copenssl_read_lists(const uint8_t *text, size_t size) {
  if (size > INT_MAX) return NULL;
  BIO *bio = BIO_new_mem_buf(text, (int)size);
  STACK_OF(X509_CRL) *lists = sk_X509_CRL_new_null();
  X509_CRL *list = NULL;
  bool good = bio && lists;
  while (good && (list = PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL))) {
    if (sk_X509_CRL_push(lists, list) > 0) continue;
    X509_CRL_free(list);
    good = false;
  }
  unsigned long code = ERR_peek_last_error();
  if (good) good = sk_X509_CRL_num(lists) > 0 && ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  BIO_free(bio);
  if (good) return lists;
  sk_X509_CRL_pop_free(lists, X509_CRL_free);
  return NULL;
}

EVP_PKEY *copenssl_read_key(const uint8_t *text, size_t size, bool *is_protected) {
  if (size > INT_MAX) return NULL;
  BIO *bio = BIO_new_mem_buf(text, (int)size);
  EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, is_protected) : NULL;
  ERR_clear_error();
  BIO_free(bio);
  return key;
}

int copenssl_count_certificates(const uint8_t *text, size_t size) {
  STACK_OF(X509) *chain = copenssl_read_chain(text, size);
  int count = chain ? sk_X509_num(chain) : -1;
  sk_X509_pop_free(chain, X509_free);
  return count;
}

static int64_t seconds(const ASN1_TIME *time) {
  struct tm parts;
  return time && ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

bool copenssl_read_next_update(const uint8_t *text, size_t size, int64_t *next_update) {
  STACK_OF(X509_CRL) *lists = copenssl_read_lists(text, size);
  *next_update = INT64_MAX;
  for (int i = 0; lists && i < sk_X509_CRL_num(lists); i++) {
    const ASN1_TIME *time = X509_CRL_get0_nextUpdate(sk_X509_CRL_value(lists, i));
    if (time && seconds(time) < *next_update) *next_update = seconds(time);
  }
  bool good = lists;
  sk_X509_CRL_pop_free(lists, X509_CRL_free);
  return good;
}

/* RFC 4514; control and non-ASCII characters are escaped, so that it can stand in a header field. Cut off, never overrun. */
size_t copenssl_name_text(const X509_NAME *name, char *text, size_t size) {
  text[0] = 0;
  BIO *bio = BIO_new(BIO_s_mem());
  if (!bio) return 0;
  char *bytes = NULL;
  size_t count = 0;
  if (X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
    long length = BIO_get_mem_data(bio, &bytes);
    count = length > 0 ? (size_t)length : 0;
    if (count >= size) count = size - 1;
    memcpy(text, bytes, count);
    text[count] = 0;
  }
  BIO_free(bio);
  return count;
}

static void names_of(X509 *leaf, copenssl_name name, void *context) {
  GENERAL_NAMES *alternatives = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
  for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); i++) {
    const GENERAL_NAME *alternative = sk_GENERAL_NAME_value(alternatives, i);
    if (alternative->type != GEN_DNS) continue;
    name(context, (const char *)ASN1_STRING_get0_data(alternative->d.dNSName), (size_t)ASN1_STRING_length(alternative->d.dNSName));
  }
  bool hasAlternatives = alternatives != NULL;
  GENERAL_NAMES_free(alternatives);
  if (hasAlternatives) return;
  /* Only a certificate without alternative names is known by its common name. */
  const X509_NAME *subject = X509_get_subject_name(leaf);
  int position = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (position < 0) return;
  const ASN1_STRING *common = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, position));
  name(context, (const char *)ASN1_STRING_get0_data(common), (size_t)ASN1_STRING_length(common));
}

static bool is_weakly_signed(X509 *certificate) {
  int digest = NID_undef, bits = 0;
  uint32_t flags = 0;
  if (X509_self_signed(certificate, 0) == 1) return false; /* nobody relies on that signature */
  if (X509_get_signature_info(certificate, &digest, NULL, &bits, &flags) != 1) return false;
  return digest == NID_md5 || digest == NID_sha1 || (bits >= 0 && bits < 80);
}

static int judge(STACK_OF(X509) *chain, const uint8_t *key_text, size_t key_size, copenssl_facts *facts, copenssl_name name, void *context) {
  X509 *leaf = sk_X509_value(chain, 0);
  EVP_PKEY *public_key = X509_get0_pubkey(leaf);
  if (!public_key) return COPENSSL_CHAIN_UNREADABLE;
  facts->not_before = seconds(X509_get0_notBefore(leaf));
  facts->not_after = seconds(X509_get0_notAfter(leaf));
  facts->key_kind = EVP_PKEY_get_base_id(public_key);
  facts->key_bits = EVP_PKEY_get_bits(public_key);
  const char *kind = EVP_PKEY_get0_type_name(public_key);
  strncpy(facts->key_name, kind ? kind : "?", sizeof facts->key_name - 1);
  copenssl_name_text(X509_get_subject_name(leaf), facts->subject, sizeof facts->subject);
  copenssl_name_text(X509_get_issuer_name(leaf), facts->issuer, sizeof facts->issuer);
  unsigned size = 0;
  X509_digest(leaf, EVP_sha256(), facts->fingerprint, &size);
  names_of(leaf, name, context);
  if (key_text) {
    bool is_protected = false;
    EVP_PKEY *key = copenssl_read_key(key_text, key_size, &is_protected);
    if (!key) return is_protected ? COPENSSL_KEY_PROTECTED : COPENSSL_KEY_UNREADABLE;
    int equal = EVP_PKEY_eq(public_key, key);
    EVP_PKEY_free(key);
    if (equal != 1) return COPENSSL_KEY_MISMATCH;
  }
  if (EVP_PKEY_get_security_bits(public_key) < 112) return COPENSSL_WEAK_KEY;
  if (is_weakly_signed(leaf)) return COPENSSL_WEAK_SIGNATURE;
  for (int i = 1; i < sk_X509_num(chain); i++) {
    if (X509_check_issued(sk_X509_value(chain, i), sk_X509_value(chain, i - 1)) != X509_V_OK) return COPENSSL_CHAIN_BROKEN;
  }
  return COPENSSL_CERTIFICATE_GOOD;
}

int copenssl_inspect(
  const uint8_t *text, size_t size, const uint8_t *key, size_t key_size, copenssl_facts *facts, copenssl_name name, void *context) {
  memset(facts, 0, sizeof *facts);
  STACK_OF(X509) *chain = copenssl_read_chain(text, size);
  if (!chain) return COPENSSL_CHAIN_UNREADABLE;
  int result = judge(chain, key, key_size, facts, name, context);
  sk_X509_pop_free(chain, X509_free);
  ERR_clear_error();
  return result;
}

/* The single response about `leaf`, whoever the issuer's name and key were hashed by. */
static OCSP_SINGLERESP *response_about(OCSP_BASICRESP *basic, X509 *leaf) {
  for (int i = 0; i < OCSP_resp_count(basic); i++) {
    OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
    ASN1_INTEGER *serial = NULL;
    OCSP_id_get0_info(NULL, NULL, NULL, &serial, (OCSP_CERTID *)OCSP_SINGLERESP_get0_id(single));
    if (serial && ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) == 0) return single;
  }
  return NULL;
}

int copenssl_inspect_ocsp(const uint8_t *text, size_t text_size, const uint8_t *bytes, size_t size, int64_t *until) {
  *until = INT64_MAX;
  STACK_OF(X509) *chain = copenssl_read_chain(text, text_size);
  OCSP_RESPONSE *response = size <= LONG_MAX ? d2i_OCSP_RESPONSE(NULL, &bytes, (long)size) : NULL;
  OCSP_BASICRESP *basic = NULL;
  int result = COPENSSL_OCSP_UNREADABLE;
  if (chain && response && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL && (basic = OCSP_response_get1_basic(response))) {
    OCSP_SINGLERESP *single = response_about(basic, sk_X509_value(chain, 0));
    if (!single) {
      result = COPENSSL_OCSP_FOREIGN;
    } else {
      ASN1_GENERALIZEDTIME *next = NULL;
      int status = OCSP_single_get0_status(single, NULL, NULL, NULL, &next);
      if (next) *until = seconds(next);
      result = status == V_OCSP_CERTSTATUS_REVOKED ? COPENSSL_OCSP_REVOKED : COPENSSL_OCSP_GOOD;
    }
  }
  OCSP_BASICRESP_free(basic);
  OCSP_RESPONSE_free(response);
  sk_X509_pop_free(chain, X509_free);
  ERR_clear_error();
  return result;
}

int copenssl_peer_certificate(const SSL *session, char *subject, size_t size, uint8_t fingerprint[32]) {
  X509 *certificate = SSL_get0_peer_certificate(session);
  if (!certificate || SSL_get_verify_result(session) != X509_V_OK) return 0;
  unsigned digest_size = 0;
  if (X509_digest(certificate, EVP_sha256(), fingerprint, &digest_size) != 1) return 0;
  copenssl_name_text(X509_get_subject_name(certificate), subject, size);
  ERR_clear_error();
  return 1;
}

bool copenssl_random(uint8_t *bytes, size_t size) { return size <= INT_MAX && RAND_priv_bytes(bytes, (int)size) == 1; }

void copenssl_digest(const uint8_t *bytes, size_t size, uint8_t digest[32]) { EVP_Q_digest(NULL, "SHA256", NULL, bytes, size, digest, NULL); }

const char *copenssl_library(void) { return OpenSSL_version(OPENSSL_VERSION); }
