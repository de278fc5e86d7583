/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is at the other end.  One implementation, munge, behind one interface: sites with another
 * authentication get another file.
 *
 * A credential carries a kv text that binds it to this conversation: the server's nonce, job, step and
 * port, and what is asked for.  It is made for one uid alone, so that nobody else can pass it on, and both
 * sides compare every bound value: a credential that was made for another purpose is worth nothing.
 */
#ifndef CKPT_SPANK_AUTH_H
#define CKPT_SPANK_AUTH_H

#include <sys/types.h>

#include "spank/lib/wire.h"

/* A credential of the calling user for `reader` alone (and root, who can always read it).  *ret is
 * malloc()ed text. */
int ckpti_auth_make(const struct ckpti_kv *bound, uid_t reader, char **ret, struct ckpti_err *err);
/* Decode: who made it and what it is bound to (ret_bound initialised by the call, caller frees).  -EPERM:
 * not valid, replayed, or not for us. */
int ckpti_auth_read(const char *cred, uid_t *ret_uid, struct ckpti_kv *ret_bound,
		    struct ckpti_err *err);

/* What both ends of a connection are sure of when the handshake is over. */
struct ckpti_auth_peer {
	uid_t uid;               /* of the other side */
	struct ckpti_kv hello;   /* client side: the WELCOME; server side: the HELLO */
};

/*
 * Server side, in steps, because it serves many connections: send the challenge when a connection was
 * accepted, check the HELLO when it has come (who is allowed: owner and root).  The client proves its uid
 * and that it means this server; the server proves by its own credential that it runs as `owner`.
 */
struct ckpti_auth_server {
	uid_t owner;
	uint32_t job, step;
	unsigned port;
	char nonce[33]; /* of this connection */
};
int ckpti_auth_challenge(struct ckpti_auth_server *s, struct ckpti_wire *w, struct ckpti_err *err);
int ckpti_auth_check_hello(const struct ckpti_auth_server *s, const struct ckpti_kv *hello,
			   uid_t *ret_uid, struct ckpti_err *err);

/*
 * Client side, waiting: challenge, proof, HELLO with `hello` in it, WELCOME.  The server must run as
 * `owner` and serve this job and step, or -EPERM: nothing but the name of the role was told to it.
 */
int ckpti_auth_join(struct ckpti_wire *w, uid_t owner, uint32_t job, uint32_t step, unsigned port,
		    struct ckpti_kv *hello, int timeout_ms, struct ckpti_kv *ret_welcome,
		    struct ckpti_err *err);

#endif
