/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Credentials by munge, and the handshake that uses them:
 *
 *     client                                server
 *     KNOCK      nonce Nc, role       ->
 *                            <- CHALLENGE  nonce Ns,
 *                                          cred for owner {server, Ns, Nc, end, job, step}
 *     HELLO      pairs, cred for owner {client, Ns, Nc, end, job, step, pairs}  ->
 *                                    <-     WELCOME or REFUSED
 *
 * `end` is the address and port of the server's end of this very connection, as each side sees it.
 * Somebody who stands between the two has two connections with different ends, so passing messages
 * on is of no use to him; he cannot read the credentials either.  Every munged remembers only what
 * it has decoded itself, so replays are refused by the nonces, which are new for each connection.
 */
#include "spank/lib/auth.h"

#include <errno.h>
#include <munge.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "spank/lib/wire_private.h"
#include "util/clock.h"

/* Time for the way and for clocks that differ, in seconds. */
#define CRED_TTL 120

/* ---- credentials -------------------------------------------------------------------------- */

static int munge_failed(munge_err_t e, munge_ctx_t ctx, const char *what, struct ckpti_err *err)
{
	const char *text = ctx ? munge_ctx_strerror(ctx) : NULL;
	int code = -EPERM;

	if (e == EMUNGE_SOCKET || e == EMUNGE_TIMEOUT || e == EMUNGE_SNAFU)
		code = -EIO;
	else if (e == EMUNGE_NO_MEMORY)
		code = -ENOMEM;
	return ckpti_err(err, code, "munge cannot %s the credential: %s", what,
			 text ? text : munge_strerror(e));
}

static munge_ctx_t new_context(void)
{
	const char *socket = secure_getenv("CKPT_MUNGE_SOCKET");
	munge_ctx_t ctx = munge_ctx_create();

	if (ctx && socket && *socket &&
	    munge_ctx_set(ctx, MUNGE_OPT_SOCKET, socket) != EMUNGE_SUCCESS) {
		munge_ctx_destroy(ctx);
		ctx = NULL;
	}
	return ctx;
}

int ckpti_auth_make(const struct ckpti_kv *bound, uid_t reader, char **ret, struct ckpti_err *err)
{
	munge_err_t e = EMUNGE_NO_MEMORY;
	munge_ctx_t ctx = NULL;
	char *text = NULL;
	size_t len;
	int r;

	r = ckpti_kv_write(bound, &text, &len);
	if (r < 0)
		return ckpti_err(err, r, "cannot make a credential: %s", strerrordesc_np(-r));
	ctx = new_context();
	if (ctx)
		e = munge_ctx_set(ctx, MUNGE_OPT_UID_RESTRICTION, reader);
	if (e == EMUNGE_SUCCESS)
		e = munge_ctx_set(ctx, MUNGE_OPT_TTL, CRED_TTL);
	if (e == EMUNGE_SUCCESS)
		e = munge_encode(ret, ctx, text, (int)len);
	if (e != EMUNGE_SUCCESS)
		r = munge_failed(e, ctx, "make", err);
	if (ctx)
		munge_ctx_destroy(ctx);
	free(text);
	return r;
}

int ckpti_auth_read(const char *cred, uid_t *ret_uid, struct ckpti_kv *ret_bound,
		    struct ckpti_err *err)
{
	munge_err_t e = EMUNGE_NO_MEMORY;
	munge_ctx_t ctx = new_context();
	void *text = NULL;
	int len = 0, r = 0;
	gid_t gid;

	ckpti_kv_init(ret_bound);
	if (ctx)
		e = munge_decode(cred, ctx, &text, &len, ret_uid, &gid);
	if (e != EMUNGE_SUCCESS)
		r = munge_failed(e, ctx, "read", err);
	else if (len > 0)
		r = ckpti_kv_parse(ret_bound, text, (size_t)len);
	if (r < 0) {
		(void)ckpti_err(err, -EPERM, "the credential holds something else");
		ckpti_kv_free(ret_bound);
	}
	if (ctx)
		munge_ctx_destroy(ctx);
	free(text);
	return r == -EBADMSG ? -EPERM : r;
}

/* ---- what both sides bind ----------------------------------------------------------------- */

static int make_nonce(char ret[CKPTI_AUTH_NONCE_SIZE], struct ckpti_err *err)
{
	unsigned char bytes[(CKPTI_AUTH_NONCE_SIZE - 1) / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return ckpti_err(err, -EIO, "no random numbers");
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

static bool is_nonce(const char *text)
{
	return strspn(text, "0123456789abcdef") == CKPTI_AUTH_NONCE_SIZE - 1 &&
	       text[CKPTI_AUTH_NONCE_SIZE - 1] == '\0';
}

/* The names begin with a letter pair that no key of a HELLO uses. */
static void bind_all(struct ckpti_kv *kv, const struct ckpti_auth_server *s, const char *who)
{
	ckpti_kv_set(kv, "h.who", who);
	ckpti_kv_set(kv, "h.server_nonce", s->nonce);
	ckpti_kv_set(kv, "h.client_nonce", s->client_nonce);
	ckpti_kv_set(kv, "h.end", s->end);
	ckpti_kv_set_u64(kv, "h.port", s->port);
	ckpti_kv_set_u64(kv, "h.job", s->job);
	ckpti_kv_set_u64(kv, "h.step", s->step);
	ckpti_kv_set(kv, "h.role", s->role);
}

/* Every pair of `want` is in `have`, and `have` has no other. */
static bool same(const struct ckpti_kv *want, const struct ckpti_kv *have)
{
	const char *value;

	if (want->error || want->n != have->n)
		return false;
	for (size_t i = 0; i < want->n; i++) {
		value = ckpti_kv_get(have, want->pair[i].key, NULL);
		if (!value || strcmp(value, want->pair[i].value) != 0)
			return false;
	}
	return true;
}

/* Adds the pairs of a HELLO; -EPERM when one of them has a name that is not for it. */
static int bind_hello(struct ckpti_kv *kv, const struct ckpti_kv *hello)
{
	for (size_t i = 0; i < hello->n; i++) {
		if (strncmp(hello->pair[i].key, "h.", 2) == 0)
			return -EPERM;
		if (strcmp(hello->pair[i].key, "cred") != 0)
			ckpti_kv_set(kv, hello->pair[i].key, hello->pair[i].value);
	}
	return kv->error;
}

/* ---- server ------------------------------------------------------------------------------- */

int ckpti_auth_challenge(struct ckpti_auth_server *s, struct ckpti_wire *w,
			 const struct ckpti_kv *knock, struct ckpti_err *err)
{
	const char *nonce = ckpti_kv_get(knock, "nonce", "");
	struct ckpti_kv bound, challenge;
	char *cred = NULL;
	int r;

	if (!is_nonce(nonce))
		return ckpti_err(err, -EBADMSG, "a client sent no nonce");
	/* One proof for each connection: another one would only help somebody who collects them. */
	if (s->client_nonce[0])
		return ckpti_err(err, -EBADMSG, "a client knocked twice");
	ckpti_kv_init(&bound);
	ckpti_kv_init(&challenge);
	(void)snprintf(s->client_nonce, sizeof(s->client_nonce), "%s", nonce);
	(void)snprintf(s->role, sizeof(s->role), "%s", ckpti_kv_get(knock, "role", ""));
	r = ckpti_wire_server_end(ckpti_wire_fd(w), true, s->end, sizeof(s->end));
	if (r < 0) {
		(void)ckpti_err(err, r, "cannot tell the end of a connection: %s",
				strerrordesc_np(-r));
		goto out;
	}
	r = make_nonce(s->nonce, err);
	if (r < 0)
		goto out;
	bind_all(&bound, s, "server");
	r = ckpti_auth_make(&bound, s->owner, &cred, err);
	if (r < 0)
		goto out;
	ckpti_kv_set(&challenge, "nonce", s->nonce);
	ckpti_kv_set(&challenge, "cred", cred);
	r = ckpti_wire_send(w, CKPTI_W_CHALLENGE, &challenge);
	if (r < 0)
		(void)ckpti_err(err, r, "cannot answer a client: %s", strerrordesc_np(-r));
out:
	if (r < 0)
		s->nonce[0] = '\0';
	free(cred);
	ckpti_kv_free(&bound);
	ckpti_kv_free(&challenge);
	return r;
}

int ckpti_auth_check_hello(struct ckpti_auth_server *s, const struct ckpti_kv *hello,
			   uid_t *ret_uid, struct ckpti_err *err)
{
	const char *cred = ckpti_kv_get(hello, "cred", NULL);
	struct ckpti_kv want, have;
	uid_t uid;
	int r;

	if (!s->nonce[0] || !cred)
		return ckpti_err(err, -EPERM, "a client gave no proof of who it is");
	r = ckpti_auth_read(cred, &uid, &have, err);
	if (r < 0) {
		s->nonce[0] = '\0';
		return r;
	}
	ckpti_kv_init(&want);
	bind_all(&want, s, "client");
	r = bind_hello(&want, hello);
	if (r < 0 || !same(&want, &have) || strcmp(s->role, ckpti_kv_get(hello, "role", "")) != 0)
		r = ckpti_err(err, -EPERM, "the credential of user %u was made for something else",
			      (unsigned)uid);
	else
		*ret_uid = uid;
	s->nonce[0] = '\0';
	ckpti_kv_free(&want);
	ckpti_kv_free(&have);
	return r;
}

/* ---- client ------------------------------------------------------------------------------- */

/* The next frame of type `want`; frames of types that we do not know are passed over. */
static int expect(struct ckpti_wire *w, unsigned want, const char *what, int64_t end,
		  struct ckpti_kv *ret, struct ckpti_err *err)
{
	int64_t left = end - ckpti_now_ms();
	unsigned type;
	int r;

	for (;;) {
		r = ckpti_wire_wait(w, left > 0 ? (int)left : 0, &type, ret);
		if (r < 0)
			return ckpti_err(err, r, "no %s from the coordinator: %s", what,
					 strerrordesc_np(-r));
		if (type == want)
			return 0;
		if (type == CKPTI_W_REFUSED) {
			/* Before it has proved who it is its words are not repeated. */
			r = want == CKPTI_W_CHALLENGE ? -EPERM : -EACCES;
			(void)ckpti_err(err, r, "the coordinator refuses%s%s",
					r == -EACCES ? ": " : "",
					r == -EACCES ? ckpti_kv_get(ret, "text", "") : "");
			ckpti_kv_free(ret);
			return r;
		}
		ckpti_kv_free(ret);
		left = end - ckpti_now_ms();
		if (left <= 0)
			return ckpti_err(err, -ETIMEDOUT, "no %s from the coordinator in time",
					 what);
	}
}

/* Does the challenge prove that the server is who we mean? */
static int check_server(struct ckpti_auth_server *s, const struct ckpti_kv *challenge,
			struct ckpti_err *err)
{
	const char *cred = ckpti_kv_get(challenge, "cred", "");
	const char *nonce = ckpti_kv_get(challenge, "nonce", "");
	struct ckpti_kv want, have;
	uid_t uid;
	int r;

	if (!is_nonce(nonce))
		return ckpti_err(err, -EPERM, "the coordinator sent no nonce");
	(void)snprintf(s->nonce, sizeof(s->nonce), "%s", nonce);
	r = ckpti_auth_read(cred, &uid, &have, err);
	if (r < 0)
		return r;
	ckpti_kv_init(&want);
	bind_all(&want, s, "server");
	if (uid != s->owner)
		r = ckpti_err(err, -EPERM, "the coordinator runs as user %u, not %u", (unsigned)uid,
			      (unsigned)s->owner);
	else if (!same(&want, &have))
		r = ckpti_err(err, -EPERM, "the coordinator is that of another step or place");
	ckpti_kv_free(&want);
	ckpti_kv_free(&have);
	return r;
}

static int send_hello(struct ckpti_wire *w, const struct ckpti_auth_server *s,
		      struct ckpti_kv *hello, struct ckpti_err *err)
{
	struct ckpti_kv bound;
	char *cred = NULL;
	int r;

	ckpti_kv_init(&bound);
	bind_all(&bound, s, "client");
	r = bind_hello(&bound, hello);
	if (r < 0)
		(void)ckpti_err(err, r, "cannot introduce myself: %s", strerrordesc_np(-r));
	else
		r = ckpti_auth_make(&bound, s->owner, &cred, err);
	if (r == 0) {
		ckpti_kv_set(hello, "cred", cred);
		r = ckpti_wire_send(w, CKPTI_W_HELLO, hello);
		if (r < 0)
			(void)ckpti_err(err, r, "cannot talk to the coordinator: %s",
					strerrordesc_np(-r));
	}
	free(cred);
	ckpti_kv_free(&bound);
	return r;
}

int ckpti_auth_join(struct ckpti_wire *w, uid_t owner, uint32_t job, uint32_t step, unsigned port,
		    struct ckpti_kv *hello, int timeout_ms, struct ckpti_kv *ret_welcome,
		    struct ckpti_err *err)
{
	struct ckpti_auth_server s = {.owner = owner, .job = job, .step = step, .port = port};
	int64_t end = ckpti_now_ms() + timeout_ms;
	struct ckpti_kv knock, challenge;
	int r;

	ckpti_kv_init(&knock);
	ckpti_kv_init(&challenge);
	(void)snprintf(s.role, sizeof(s.role), "%s", ckpti_kv_get(hello, "role", ""));
	r = ckpti_wire_server_end(ckpti_wire_fd(w), false, s.end, sizeof(s.end));
	if (r < 0) {
		(void)ckpti_err(err, r, "cannot tell where the coordinator is: %s",
				strerrordesc_np(-r));
		goto out;
	}
	r = make_nonce(s.client_nonce, err);
	if (r < 0)
		goto out;
	ckpti_kv_set(&knock, "nonce", s.client_nonce);
	ckpti_kv_set(&knock, "role", s.role);
	r = ckpti_wire_send(w, CKPTI_W_KNOCK, &knock);
	if (r < 0) {
		(void)ckpti_err(err, r, "cannot talk to the coordinator: %s", strerrordesc_np(-r));
		goto out;
	}
	r = expect(w, CKPTI_W_CHALLENGE, "proof", end, &challenge, err);
	if (r == 0)
		r = check_server(&s, &challenge, err);
	if (r == 0)
		r = send_hello(w, &s, hello, err);
	if (r == 0)
		r = expect(w, CKPTI_W_WELCOME, "welcome", end, ret_welcome, err);
out:
	ckpti_kv_free(&knock);
	ckpti_kv_free(&challenge);
	return r;
}
