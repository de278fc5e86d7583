/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handles.  An MPI handle is a pointer in Open MPI; ours points to one of these, whose first word is the
 * guest's handle.  Predefined objects are data symbols of the size that they have in the real library
 * (programs have copies of them), and the same struct lies at their beginning.
 *
 * Created objects are listed in the order of creation, by kind, so that all of them can be made again in
 * a fresh guest: that only changes `real`.  Requests and messages are many and short-lived: no list.
 *
 * The fixed offsets are fields that Open MPI's libmpi_mpifh reads or writes by itself.
 */
#ifndef CKPT_MPI_HANDLE_H
#define CKPT_MPI_HANDLE_H

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/openmpi.h"

enum ckpti_mpi_kind {
	CKPTI_MPI_COMM,
	CKPTI_MPI_DATATYPE,
	CKPTI_MPI_OP,
	CKPTI_MPI_GROUP,
	CKPTI_MPI_REQUEST,
	CKPTI_MPI_WIN,
	CKPTI_MPI_FILE,
	CKPTI_MPI_INFO,
	CKPTI_MPI_ERRHANDLER,
	CKPTI_MPI_MESSAGE,
	CKPTI_MPI_KINDS
};

struct ckpti_mpi_attr;    /* attr.c */
struct ckpti_mpi_coll;    /* coll.h */
struct ckpti_mpi_segment; /* segment.h */
struct ckpti_mpi_handle;

/*
 * Point-to-point requests are ours: what a fresh guest needs to make them again, and how they have ended
 * if the guest has done with them before the application asked.  See request.h.
 */
enum ckpti_mpi_operation {
	CKPTI_MPI_NOTHING,
	CKPTI_MPI_SEND,
	CKPTI_MPI_RECV,
	CKPTI_MPI_MATCHED, /* a message that is received by its handle */
	CKPTI_MPI_OTHER,   /* collective, file, window: it ends at the drain */
	CKPTI_MPI_GENERAL, /* the application ends it */
	CKPTI_MPI_RECURRING /* a persistent collective call: buf is its definition, see recurring.h */
};

enum ckpti_mpi_mode {
	CKPTI_MPI_STANDARD,
	CKPTI_MPI_BUFFERED,
	CKPTI_MPI_SYNCHRONOUS,
	CKPTI_MPI_READY
};

struct ckpti_mpi_request {
	uint8_t operation, mode;
	uint8_t active : 1;     /* started and not given back to the application */
	uint8_t done : 1;       /* ended, the end is in status and error */
	uint8_t persistent : 1; /* it has no request of the guest while it is inactive */
	uint8_t orphan : 1;     /* the application has freed it, or never had it */
	uint8_t measured : 1;   /* a copy that takes room of the attached buffer */
	uint8_t delivered : 1;  /* its message was one that a drain had taken in */
	int count;
	int number; /* Fortran's, once it has one: libmpi_mpifh takes it from here after a wait */
	int peer, tag;
	void *buf;
	struct ckpti_mpi_handle *type;
	struct ckpti_mpi_coll *comm;
	uint64_t order; /* of receives: they are posted again in this one */
	MPI_Status status;
	void *data; /* a copy of what is sent; a message: what has come */
	int error;
};

struct ckpti_mpi_handle {
	void *real; /* the guest's; NULL before a guest is loaded */
	uint8_t kind;
	bool predefined;
	bool hidden;  /* the application does not have it: a part of one that it has */
	int refs;     /* times that it was given to the application */
	int callback; /* of an op or error handler: number of its thunk */
	int size;     /* of a communicator or datatype; negative: not asked yet */
	int fortran;  /* its integer; -1: none yet */
	int rank;     /* of a communicator, likewise */
	struct ckpti_mpi_handle *next, *prev; /* created ones of this kind, oldest first */
	struct ckpti_mpi_handle *same_hash;
	void *scratch;                /* a pending operation may read it: freed with the request */
	struct ckpti_mpi_attr *attrs; /* of a communicator, datatype or window */
	void *memory;                 /* window: ours; file: its name; freed with it */
	uint8_t pad0[0x54 - 0x50];
	uint32_t op_flags; /* bit 1: the function is Fortran's */
	void *recipe;      /* for a new life: see remake.h */
	union {
		struct ckpti_mpi_request request;    /* of a request or message */
		struct {                             /* of a communicator, window or file */
			struct ckpti_mpi_coll *coll; /* coll.h */
			void *regions; /* window: what is attached to it, see remake_win.c */
			struct ckpti_mpi_segment *segment; /* of a shared window */
			struct ckpti_mpi_own *recurring;   /* of a communicator: see recurring.h */
			bool fenced, shared_position;      /* window, file: see remake.h */
		};
		struct
		{ /* of a datatype or operation: by requests, and put off until there are none */
			int uses, frees;
		};
		uint8_t pad1[0xc0 - 0x60];
	};
	bool grequest_is_c; /* generalized request: its functions are C */
	uint8_t pad2[0xd0 - 0xc1];
	/* Request and message end here.  In the others these lead back to the handle. */
	struct ckpti_mpi_handle *type_self;
	uint8_t pad3[0xf0 - 0xd8];
	struct ckpti_mpi_handle *win_self;
	uint8_t pad4[CKPTI_MPI_COMM_TABLE - 0xf8];
	struct ckpti_mpi_handle *comm_self;
	int words[5]; /* window: values that attributes point to */
};

#define CKPTI_MPI_SHORT_HANDLE offsetof(struct ckpti_mpi_handle, type_self)
#define CKPTI_MPI_OP_FORTRAN   2u

_Static_assert(offsetof(struct ckpti_mpi_handle, fortran) == 0x18, "of a group");
_Static_assert(offsetof(struct ckpti_mpi_handle, request.number) == 0x68, "of a request");
_Static_assert(offsetof(struct ckpti_mpi_handle, op_flags) == 0x54, "Open MPI's libmpi_mpifh");
_Static_assert(offsetof(struct ckpti_mpi_handle, grequest_is_c) == 0xc0, "Open MPI's libmpi_mpifh");
_Static_assert(offsetof(struct ckpti_mpi_handle, type_self) == 0xd0, "Open MPI's libmpi_mpifh");
_Static_assert(offsetof(struct ckpti_mpi_handle, win_self) == 0xf0, "Open MPI's libmpi_mpifh");
_Static_assert(offsetof(struct ckpti_mpi_handle, comm_self) == CKPTI_MPI_COMM_TABLE,
	       "Open MPI's libmpi_mpifh");

/* A predefined object: made by generate.py. */
struct ckpti_mpi_object {
	void *symbol;
	enum ckpti_mpi_kind kind;
};
extern const struct ckpti_mpi_object ckpti_mpi_objects[];
extern const size_t ckpti_mpi_nobjects;

/* The guest's handle.  MPI itself complains about a null pointer. */
static inline void *ckpti_mpi_real(const void *handle)
{
	return handle ? ((const struct ckpti_mpi_handle *)handle)->real : NULL;
}

/* A fresh guest: its predefined objects are at real[i].  In a new life created ones have none yet. */
void ckpti_mpi_handles_begin(void *const *real, bool first_life);
/* The created ones of a kind, oldest first; next: h->next.  While no thread creates or frees any. */
struct ckpti_mpi_handle *ckpti_mpi_handles(enum ckpti_mpi_kind kind);
/* The fresh guest has made its object again. */
void ckpti_mpi_handle_again(struct ckpti_mpi_handle *h, void *real);
/* MPI is up there: the integers of predefined objects are known. */
void ckpti_mpi_handles_number(void);

/* Ours for an object that the guest has returned: predefined, known, or new. */
void *ckpti_mpi_out(enum ckpti_mpi_kind kind, void *real);
/* Ours for an object that the guest shows: NULL when it is not known. */
struct ckpti_mpi_handle *ckpti_mpi_find(const void *real);
void *ckpti_mpi_request_new(void *real);
/* All requests and messages that are in use, while no thread makes or frees any. */
void ckpti_mpi_requests_each(void (*fn)(struct ckpti_mpi_handle *h, void *arg), void *arg);
/* A handle whose object the guest will make later, in ->real. */
struct ckpti_mpi_handle *ckpti_mpi_handle_new(enum ckpti_mpi_kind kind);
/* What the application has after a call that has set its handle's object to real. */
void *ckpti_mpi_after(enum ckpti_mpi_kind kind, void *handle, void *real);
void ckpti_mpi_requests_after(MPI_Request *request, MPI_Request *real, int n);
/* The kind's null handle, ours. */
void *ckpti_mpi_null(enum ckpti_mpi_kind kind);

/* Arrays: on the caller's stack if they are short. */
#define CKPTI_MPI_FEW 64
void *ckpti_mpi_array_new(int n, void **few);
void *ckpti_mpi_array_in(void *const *handle, int n, void **few);
void ckpti_mpi_array_out(enum ckpti_mpi_kind kind, void **handle, void **real, int n);
/* request: who may still read it, NULL: nobody */
void ckpti_mpi_array_free(void *array, void **few, MPI_Request request);

/* Requests and messages that are free, of this thread, by ->next; all but kind is as in a new one. */
extern __thread struct ckpti_mpi_handle *ckpti_mpi_spare
	__attribute__((tls_model("initial-exec"), visibility("hidden")));
struct ckpti_mpi_handle *ckpti_mpi_spare_refill(void);
/* What few requests have: a number in Fortran, arrays. */
void ckpti_mpi_request_strip(struct ckpti_mpi_handle *h);

/* For those who fill in ->request. */
static inline struct ckpti_mpi_handle *ckpti_mpi_request_take(enum ckpti_mpi_kind kind)
{
	struct ckpti_mpi_handle *h = ckpti_mpi_spare;

	if (__builtin_expect(!h, 0))
		h = ckpti_mpi_spare_refill();
	ckpti_mpi_spare = h->next;
	h->kind = (uint8_t)kind;
	return h;
}

static inline void ckpti_mpi_request_drop(struct ckpti_mpi_handle *h)
{
	struct ckpti_mpi_request *r = &h->request;

	if (__builtin_expect(h->fortran >= 0 || h->scratch, 0))
		ckpti_mpi_request_strip(h);
	h->real = NULL;
	h->grequest_is_c = true;
	r->operation = CKPTI_MPI_NOTHING;
	r->active = r->done = r->persistent = r->orphan = r->measured = r->delivered = 0;
	r->type = NULL;
	r->comm = NULL;
	r->data = NULL;
	h->next = ckpti_mpi_spare;
	ckpti_mpi_spare = h;
}

/* Fortran. */
int ckpti_mpi_c2f(enum ckpti_mpi_kind kind, void *handle);
void *ckpti_mpi_f2c(enum ckpti_mpi_kind kind, int number);

/* A forked child has no other threads. */
void ckpti_mpi_handles_forked(void);

#endif
