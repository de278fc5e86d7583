/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is at the other end.  One implementation, munge, behind one interface: sites with another
 * authentication get another file.
 *
 * A credential carries a kv text that binds it to this conversation: both sides' nonces, the
 * address and port of the server, job and step, and all that the HELLO says.  It can be read by one
 * uid alone, so that nobody else can use it, and both sides compare every bound value: a credential
 * that was made for another purpose, another connection or another server is worth nothing.
 */
#ifndef CKPT_SPANK_AUTH_H
#define CKPT_SPANK_AUTH_H

#include <sys/types.h>

#include "spank/lib/wire.h"

/* A credential of the calling user that `reader` alone can read: not even root can (unless munged
 * was built to allow it).  *ret is malloc()ed text.  -EIO: munged does not answer. */
int ckpti_auth_make(const struct ckpti_kv *bound, uid_t reader, char **ret, struct ckpti_err *err);
/* Decode: who made it and what it is bound to (ret_bound initialised by the call, caller frees).
 * -EPERM: not valid, replayed, or not for us. */
int ckpti_auth_read(const char *cred, uid_t *ret_uid, struct ckpti_kv *ret_bound,
		    struct ckpti_err *err);

#define CKPTI_AUTH_NONCE_SIZE 33 /* 32 hexadecimal digits */

/*
 * Server side, in steps, because it serves many connections: nothing when a connection is accepted;
 * CKPTI_W_KNOCK: ckpti_auth_challenge(), which answers with the nonce of this connection and the
 * proof that the server runs as `owner`; CKPTI_W_HELLO: ckpti_auth_check_hello(), after which uid
 * is that of the client, which has proved that it means this server, and every pair of the HELLO is
 * known to be the client's.  The caller decides who is welcome (owner and root) and sends WELCOME
 * or REFUSED.  Any other frame before that: the connection is closed.
 *
 * One of these for each connection; owner, job, step and port are filled in by the caller.
 */
struct ckpti_auth_server {
	uid_t owner;
	uint32_t job, step;
	unsigned port;
	/* Of this connection. */
	char nonce[CKPTI_AUTH_NONCE_SIZE], client_nonce[CKPTI_AUTH_NONCE_SIZE];
	char role[16];
	char end[80]; /* our address and port as the connection has it */
};
int ckpti_auth_challenge(struct ckpti_auth_server *s, struct ckpti_wire *w,
			 const struct ckpti_kv *knock, struct ckpti_err *err);
/* -EPERM: not valid.  A challenge is good for one HELLO. */
int ckpti_auth_check_hello(struct ckpti_auth_server *s, const struct ckpti_kv *hello,
			   uid_t *ret_uid, struct ckpti_err *err);

/*
 * Client side, waiting: knock, the server's proof, HELLO with what is in `hello` (at least role),
 * WELCOME. The server must run as `owner` and serve this job and step at the port that w is
 * connected to, or -EPERM: it has been told nothing but the role.  -EACCES: the server knows who we
 * are and does not want us.  The caller runs as owner: root changes to him first, also because
 * credentials for him cannot be read by root.
 */
int ckpti_auth_join(struct ckpti_wire *w, uid_t owner, uint32_t job, uint32_t step, unsigned port,
		    struct ckpti_kv *hello, int timeout_ms, struct ckpti_kv *ret_welcome,
		    struct ckpti_err *err);

#endif
