/*
 * What libcrypto does with much data, to be run by emulators and by the machine itself:
 *
 *     guest_crypto NAME MEGABYTES     prints the digest, or the authentication tag; on standard error how long it took
 *     guest_crypto --list             "name megabytes" of each: as many as emulators can be asked for
 *
 * The time is that of the work alone, as finding libcrypto takes longer than some of it does.
 * Linked with the library of each machine, without its headers: the few functions are declared here.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* openssl/evp.h of OpenSSL 3, as its manual pages have them. */
struct evp_cipher_st;
struct evp_cipher_ctx_st;
struct evp_md_st;
struct evp_md_ctx_st;
struct engine_st;
extern const struct evp_cipher_st *EVP_aes_128_gcm(void), *EVP_chacha20_poly1305(void);
extern const struct evp_md_st *EVP_sha256(void);
extern struct evp_cipher_ctx_st *EVP_CIPHER_CTX_new(void);
extern int EVP_EncryptInit_ex(struct evp_cipher_ctx_st *ctx, const struct evp_cipher_st *cipher,
			      struct engine_st *engine, const unsigned char *key, const unsigned char *iv);
extern int EVP_EncryptUpdate(struct evp_cipher_ctx_st *ctx, unsigned char *out, int *out_len, const unsigned char *in,
			     int in_len);
extern int EVP_EncryptFinal_ex(struct evp_cipher_ctx_st *ctx, unsigned char *out, int *out_len);
extern int EVP_CIPHER_CTX_ctrl(struct evp_cipher_ctx_st *ctx, int type, int arg, void *ptr);
extern struct evp_md_ctx_st *EVP_MD_CTX_new(void);
extern int EVP_DigestInit_ex(struct evp_md_ctx_st *ctx, const struct evp_md_st *type, struct engine_st *engine);
extern int EVP_DigestUpdate(struct evp_md_ctx_st *ctx, const void *data, size_t size);
extern int EVP_DigestFinal_ex(struct evp_md_ctx_st *ctx, unsigned char *out, unsigned *size);
enum { EVP_CTRL_AEAD_GET_TAG = 0x10, TAG_SIZE = 16, DIGEST_MAX = 64 };

enum { CHUNK = 16 << 10 }; /* as TLS has it */
static unsigned char data[CHUNK], out[CHUNK + 64];

static void print_bytes(const unsigned char *bytes, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		printf("%02x", bytes[i]);
	printf("\n");
}

/* Each chunk is what the one before became. */
static int encrypt(const struct evp_cipher_st *cipher, unsigned megabytes)
{
	static const unsigned char key[32] = "a key that is known to everybody", iv[16] = "and a number";
	struct evp_cipher_ctx_st *ctx = EVP_CIPHER_CTX_new();
	unsigned char tag[TAG_SIZE];
	int len;

	if (!ctx || !EVP_EncryptInit_ex(ctx, cipher, NULL, key, iv))
		return 1;
	for (size_t i = 0; i < (size_t)megabytes * ((1 << 20) / CHUNK); i++) {
		if (!EVP_EncryptUpdate(ctx, out, &len, data, CHUNK) || len != CHUNK)
			return 1;
		memcpy(data, out, CHUNK);
	}
	if (!EVP_EncryptFinal_ex(ctx, out, &len))
		return 1;
	if (!EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, tag))
		return 1;
	print_bytes(tag, TAG_SIZE);
	return 0;
}

static int digest(const struct evp_md_st *type, unsigned megabytes)
{
	struct evp_md_ctx_st *ctx = EVP_MD_CTX_new();
	unsigned char result[DIGEST_MAX];
	unsigned size = 0;

	if (!ctx || !EVP_DigestInit_ex(ctx, type, NULL))
		return 1;
	for (size_t i = 0; i < (size_t)megabytes * ((1 << 20) / CHUNK); i++)
		if (!EVP_DigestUpdate(ctx, data, CHUNK))
			return 1;
	if (!EVP_DigestFinal_ex(ctx, result, &size))
		return 1;
	print_bytes(result, size);
	return 0;
}

static int aes_gcm(unsigned megabytes)
{
	return encrypt(EVP_aes_128_gcm(), megabytes);
}

static int chacha(unsigned megabytes)
{
	return encrypt(EVP_chacha20_poly1305(), megabytes);
}

static int sha256(unsigned megabytes)
{
	return digest(EVP_sha256(), megabytes);
}

static const struct {
	const char *name;
	int (*run)(unsigned megabytes);
	unsigned megabytes;
} ways[] = {
	{"aes-128-gcm", aes_gcm, 96},
	{"sha-256", sha256, 96},
	{"chacha20-poly1305", chacha, 96},
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int run_timed(int (*run)(unsigned megabytes), unsigned megabytes)
{
	double begin = now();
	int rc = run(megabytes);

	fprintf(stderr, "seconds %.6f\n", now() - begin);
	return rc;
}

int main(int argc, char **argv)
{
	int is_list = argc > 1 && strcmp(argv[1], "--list") == 0;

	memset(data, 'd', sizeof data);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (is_list)
			printf("%s %u\n", ways[i].name, ways[i].megabytes);
		else if (argc > 2 && strcmp(argv[1], ways[i].name) == 0)
			return run_timed(ways[i].run, (unsigned)strtoul(argv[2], NULL, 10));
	}
	return is_list ? 0 : 2;
}
