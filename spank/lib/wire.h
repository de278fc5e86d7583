/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames between coordinator, node agents and clients, over one TCP connection each:
 *
 *     u32 magic "CKP1", u32 length of the payload (at most 1 MiB), u16 type, u16 version, payload
 *
 * all little endian.  `version` is that of the sender; both sides must ignore types and keys that
 * they do not know.  Described in docs/format/step-protocol.md.
 */
#ifndef CKPT_SPANK_WIRE_H
#define CKPT_SPANK_WIRE_H

#include "spank/lib/kv.h"
#include "util/err.h"

#define CKPTI_WIRE_VERSION     1U
#define CKPTI_WIRE_MAX_PAYLOAD (1U << 20)

enum ckpti_wire_type {
	/* Handshake, see auth.h: the client speaks first, and says next to nothing. */
	CKPTI_W_KNOCK = 1, /* nonce, role */
	CKPTI_W_CHALLENGE, /* nonce; the server proves itself: cred */
	CKPTI_W_HELLO,     /* cred; role=node|client, for node: node, host, tasks, ranks … */
	CKPTI_W_WELCOME,   /* heartbeat_ms, fence_s, life, …; or CKPTI_W_REFUSED */
	CKPTI_W_REFUSED,   /* text */

	/* Both ways, every heartbeat_ms. */
	CKPTI_W_PING = 16,

	/* Coordinator to agent. */
	CKPTI_W_ROUND = 32, /* round, kill, keep, hold, timeout_ms, writers … */
	CKPTI_W_MUSTER,     /* round */
	CKPTI_W_RESUME,     /* round */
	CKPTI_W_COMMITTED,  /* round, gen: with kill the tasks are ended now */
	CKPTI_W_ABORT,      /* round, text: everybody goes on */
	CKPTI_W_KILL,       /* text: end the tasks (SIGKILL): this life is over */

	/* Agent to coordinator. */
	CKPTI_W_PREPARED = 48, /* round */
	CKPTI_W_CAPTURED,      /* round */
	/* round; task.<rank>.{gen,pid,procs,threads,stored,stop_us,durable_us}, ended.<rank> */
	CKPTI_W_DURABLE,
	CKPTI_W_FAILED,  /* round, errno, rank, pid, host, object, text, retry=1 for EAGAIN */
	CKPTI_W_STARTED, /* the tasks run: restored=1, gen */
	CKPTI_W_NOTICE,  /* signal=N from Slurm; or text: a line for the user */
	CKPTI_W_TASKS,   /* live=N ended=N: changes of the number of tasks */

	/* Client and coordinator. */
	CKPTI_W_REQUEST = 64, /* verb, max_wait, image_dir … */
	CKPTI_W_PROGRESS,     /* text */
	/* rc: Slurm error name or 0; text; gen, tasks, stored, stop_us, durable_us … */
	CKPTI_W_RESULT
};

struct ckpti_wire; /* buffered, non-blocking; one per connection */

/* Takes over fd (made non-blocking); NULL: out of memory (fd is closed). */
struct ckpti_wire *ckpti_wire_new(int fd);
/* Frames with more than `max` bytes of payload are refused from now on. */
void ckpti_wire_limit(struct ckpti_wire *w, size_t max);
void ckpti_wire_free(struct ckpti_wire *w); /* closes; NULL is allowed */
int ckpti_wire_fd(const struct ckpti_wire *w);
bool ckpti_wire_wants_write(const struct ckpti_wire *w); /* poll for POLLOUT, too */

/* Queue a frame and try to send.  kv may be NULL.  0, or -errno: the connection is broken (-ENOBUFS:
 * the other side does not read, 4 MiB are waiting), or this frame cannot be sent (-EMSGSIZE;
 * kv->error). */
int ckpti_wire_send(struct ckpti_wire *w, unsigned type, const struct ckpti_kv *kv);
/* After POLLOUT. */
int ckpti_wire_flush(struct ckpti_wire *w);
/* Read what is there.  1: a frame in *ret_type, *ret (initialised; caller frees); 0: none complete
 * yet; -EPIPE the other side has ended; -EBADMSG not our protocol; other -errno.  Call until it is
 * not 1. */
int ckpti_wire_recv(struct ckpti_wire *w, unsigned *ret_type, struct ckpti_kv *ret);
/* The same with waiting: for programs that do one thing.  1, -ETIMEDOUT, or as above. */
int ckpti_wire_wait(struct ckpti_wire *w, int timeout_ms, unsigned *ret_type, struct ckpti_kv *ret);

/* A listening TCP socket with a port in [low, high] (0, 0: any), or -errno. */
int ckpti_wire_listen(unsigned low, unsigned high, unsigned *ret_port, struct ckpti_err *err);
/* A connected TCP socket; host is a name or an address. */
int ckpti_wire_connect(const char *host, unsigned port, int timeout_ms, struct ckpti_err *err);

#endif
