// Reading PEM texts and writing names, for the files of this target.
#ifndef COPENSSL_PEM_H
#define COPENSSL_PEM_H
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

/* All certificates of a text, in order; NULL when there is none, or one cannot be read. */
STACK_OF(X509) *copenssl_read_chain(const uint8_t *text, size_t size);
/* All revocation lists of a text; NULL when there is none, or one cannot be read. */
STACK_OF(X509_CRL) *copenssl_read_lists(const uint8_t *text, size_t size);
/* The first private key of a text; NULL when there is none. *is_protected: it asks for a password. */
EVP_PKEY *copenssl_read_key(const uint8_t *text, size_t size, bool *is_protected);

/* A name as RFC 4514 has it, cut off rather than overrun. Returns its length. */
size_t copenssl_name_text(const X509_NAME *name, char *text, size_t size);
#endif
