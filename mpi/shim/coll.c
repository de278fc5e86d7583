/* SPDX-License-Identifier: BSD-3-Clause */
/* Collective calls at the gate, and what is counted for each communicator: see coll.h. */
#include "shim/coll.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shim/buffered.h"
#include "shim/shim.h"

/* A thread that waits at the gate keeps the guest going, as it would inside. */
#define LOOK_NS 100000
/* Freed objects without messages, at most. */
#define KEPT 64

/* A thread that waits; on its stack, in a list under the lock. */
struct waiter {
	struct ckpti_mpi_coll *coll;
	const char *call;
	bool pass; /* not counted, and let pass once */
	struct waiter *next;
};

int ckpti_mpi_epochs;
bool ckpti_mpi_many;
struct ckpti_mpi_coll *ckpti_mpi_last_coll;
bool ckpti_mpi_dynamic;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ckpti_mpi_coll *all;
static struct waiter *waiters;
static uint64_t alone; /* communicators that found an id by themselves */

/* ---- the gate ---------------------------------------------------------------------------------- */

/* Under the lock. */
static bool may_pass(struct waiter *w)
{
	struct ckpti_mpi_coll *c = w->coll;
	int gate = ckpti_mpi_gate_now();

	if (gate == CKPTI_MPI_HOLD)
		return false;
	if (gate != CKPTI_MPI_OPEN && !(c ? c->seq < c->target : w->pass))
		return false;
	if (c) {
		ckpti_mpi_count(&c->seq);
		c->call = w->call;
		ckpti_mpi_last_coll = c;
	}
	return true;
}

static void progress(void)
{
	MPI_Comm self = ckpti_mpi_real(MPI_COMM_SELF);
	int flag;

	(void)GUEST(MPI_Iprobe, MPI_ANY_SOURCE, MPI_ANY_TAG, self, &flag, MPI_STATUS_IGNORE);
}

static void leave_list(struct waiter *w)
{
	struct waiter **at;

	for (at = &waiters; *at != w; at = &(*at)->next)
		;
	*at = w->next;
}

/* Both claims are the caller's: given up while it waits. */
void ckpti_mpi_coll_wait(struct ckpti_guest_thread *self, struct ckpti_mpi_coll *c,
			 const char *call)
{
	const struct timespec step = {.tv_nsec = LOOK_NS};
	struct waiter w = {.coll = c, .call = call};
	bool pass;

	if (ckpti_mpi_gate_is_exempt())
		return;
	/* From a user's function that a call has called: what has passed goes through. */
	if (self->depth > 1) {
		if (c)
			ckpti_mpi_count(&c->seq);
		return;
	}
	(void)pthread_mutex_lock(&lock);
	w.next = waiters;
	waiters = &w;
	while (!(pass = may_pass(&w))) {
		ckpti_mpi_coll_claim(self, -1);
		(void)pthread_mutex_unlock(&lock);
		self->depth--;
		progress();
		(void)nanosleep(&step, NULL);
		self = ckpti_mpi_call_begin();
		(void)pthread_mutex_lock(&lock);
		ckpti_mpi_coll_claim(self, 1);
	}
	leave_list(&w);
	(void)pthread_mutex_unlock(&lock);
}

void ckpti_mpi_colls_close(void)
{
	/* Targets first: who sees the gate closed looks at them. */
	(void)pthread_mutex_lock(&lock);
	ckpti_mpi_gate_set(CKPTI_MPI_CUT);
	for (struct ckpti_mpi_coll *c = all; c; c = c->next)
		c->target = __atomic_load_n(&c->seq, __ATOMIC_RELAXED);
	(void)pthread_mutex_unlock(&lock);
}

void ckpti_mpi_colls_open(void)
{
	ckpti_mpi_gate_set(CKPTI_MPI_OPEN);
}

const char *ckpti_mpi_coll_name(const struct ckpti_mpi_coll *c, char *buf, size_t size)
{
	if (!c->handle)
		(void)snprintf(buf, size, "a freed object");
	else if ((void *)c->handle == (void *)MPI_COMM_WORLD)
		(void)snprintf(buf, size, "MPI_COMM_WORLD");
	else if (c->handle->kind == CKPTI_MPI_WIN)
		(void)snprintf(buf, size, "a window");
	else if (c->handle->kind == CKPTI_MPI_FILE)
		(void)snprintf(buf, size, "a file");
	else
		(void)snprintf(buf, size, "a communicator of %d ranks", c->npeers);
	return buf;
}

/* Under the lock.  Who waits first, for that is what the others miss. */
static void describe(int inside, int epochs, char *text, size_t size)
{
	const struct ckpti_mpi_coll *c = all;
	char name[64];

	while (c && c != ckpti_mpi_last_coll)
		c = c->next;

	if (waiters && waiters->coll)
		(void)snprintf(text, size, "waits before %s no. %llu on %s", waiters->call,
			       (unsigned long long)waiters->coll->seq + 1,
			       ckpti_mpi_coll_name(waiters->coll, name, sizeof(name)));
	else if (waiters)
		(void)snprintf(text, size, "waits before %s", waiters->call);
	else if (epochs)
		(void)snprintf(text, size, "has %d exclusive epoch%s of a window or file open",
			       epochs, epochs == 1 ? "" : "s");
	else if (inside && c)
		(void)snprintf(text, size, "is in %s no. %llu on %s", c->call,
			       (unsigned long long)c->seq,
			       ckpti_mpi_coll_name(c, name, sizeof(name)));
	else if (inside)
		(void)snprintf(text, size, "is in a call that synchronizes ranks");
	else
		(void)snprintf(text, size, "is in no collective call");
}

/* The order is what makes it right: nobody can come in any more without the lock, so when nobody is
 * inside the counts that follow are final until targets are raised. */
size_t ckpti_mpi_colls_report(struct ckpti_mpi_count **ret, bool *ret_whole, bool *ret_waiting,
			      char *text, size_t size)
{
	struct ckpti_mpi_count *count;
	int inside, epochs;
	size_t n = 0;

	(void)pthread_mutex_lock(&lock);
	inside = ckpti_guest_colls();
	epochs = __atomic_load_n(&ckpti_mpi_epochs, __ATOMIC_SEQ_CST);
	*ret_whole = inside == 0 && epochs == 0;
	*ret_waiting = waiters != NULL;
	describe(inside, epochs, text, size);
	for (struct ckpti_mpi_coll *c = all; c; c = c->next)
		n++;
	count = calloc(n + 1, sizeof(*count));
	if (!count)
		ckpti_mpi_fatal("no memory for a checkpoint");
	n = 0;
	for (struct ckpti_mpi_coll *c = all; c; c = c->next) {
		count[n].id = c->id;
		count[n].seq = __atomic_load_n(&c->seq, __ATOMIC_RELAXED);
		if (count[n].seq != c->target)
			*ret_whole = false;
		n++;
	}
	(void)pthread_mutex_unlock(&lock);
	*ret = count;
	return n;
}

void ckpti_mpi_colls_allow(const struct ckpti_mpi_count *count, size_t n)
{
	(void)pthread_mutex_lock(&lock);
	for (struct ckpti_mpi_coll *c = all; c; c = c->next)
		for (size_t i = 0; i < n; i++)
			if (count[i].id == c->id && count[i].seq > c->target)
				c->target = count[i].seq;
	(void)pthread_mutex_unlock(&lock);
}

void ckpti_mpi_colls_relieve(void)
{
	(void)pthread_mutex_lock(&lock);
	for (struct waiter *w = waiters; w; w = w->next) {
		if (!w->coll)
			w->pass = true;
		else if (w->coll->target <= w->coll->seq)
			w->coll->target = w->coll->seq + 1;
	}
	(void)pthread_mutex_unlock(&lock);
}

/* ---- making and dropping ------------------------------------------------------------------------ */

static uint64_t mix(uint64_t a, uint64_t b)
{
	a ^= b + 0x9e3779b97f4a7c15ULL + (a << 6) + (a >> 2);
	a *= 0xff51afd7ed558ccdULL;
	return a ^ a >> 33;
}

static void *need(size_t n, size_t size)
{
	void *p = calloc(n + 1, size);

	if (!p)
		ckpti_mpi_fatal("no memory for an MPI object");
	return p;
}

static struct ckpti_mpi_coll *coll_new(struct ckpti_mpi_handle *h)
{
	struct ckpti_mpi_coll *c = need(0, sizeof(*c));

	c->handle = h;
	h->coll = c;
	return c;
}

/* In a cut a new object is counted from its first call on, as if it had always been there. */
static void enlist(struct ckpti_mpi_coll *c)
{
	(void)pthread_mutex_lock(&lock);
	c->next = all;
	all = c;
	(void)pthread_mutex_unlock(&lock);
}

static void counters_new(struct ckpti_mpi_coll *c, int npeers, int *world)
{
	c->npeers = npeers;
	c->world = world;
	c->sent = need((size_t)npeers, sizeof(*c->sent));
	c->received = need((size_t)npeers, sizeof(*c->received));
}

/* The guest's group is freed.  Local calls only. */
static int *world_ranks(MPI_Group group, int *ret_n)
{
	MPI_Comm world = ckpti_mpi_real(MPI_COMM_WORLD);
	MPI_Group of_all = NULL;
	int n = 0, *rank, *ret;

	(void)GUEST(MPI_Group_size, group, &n);
	rank = need((size_t)n, sizeof(*rank));
	ret = need((size_t)n, sizeof(*ret));
	for (int i = 0; i < n; i++)
		rank[i] = i;
	(void)GUEST(MPI_Comm_group, world, &of_all);
	(void)GUEST(MPI_Group_translate_ranks, group, n, rank, of_all, ret);
	(void)GUEST(MPI_Group_free, &of_all);
	(void)GUEST(MPI_Group_free, &group);
	free(rank);
	for (int i = 0; i < n; i++)
		if (ret[i] == MPI_UNDEFINED)
			ckpti_mpi_dynamic = true;
	*ret_n = n;
	return ret;
}

static uint64_t members(const int *rank, int n)
{
	uint64_t hash = (uint64_t)n;

	for (int i = 0; i < n; i++)
		hash = mix(hash, (uint64_t)rank[i]);
	return hash;
}

/* Who the peers are.  Returns a number for all members, the same on each. */
static uint64_t ask_peers(struct ckpti_mpi_coll *c)
{
	MPI_Comm comm = ckpti_mpi_real(c->handle);
	MPI_Group group = NULL;
	uint64_t ours, theirs;
	int inter = 0, n, *rank;

	(void)GUEST(MPI_Comm_test_inter, comm, &inter);
	(void)GUEST(MPI_Comm_group, comm, &group);
	rank = world_ranks(group, &n);
	ours = theirs = members(rank, n);
	if (inter) {
		free(rank);
		(void)GUEST(MPI_Comm_remote_group, comm, &group);
		rank = world_ranks(group, &n);
		theirs = members(rank, n);
	}
	counters_new(c, n, rank);
	return mix(ours < theirs ? ours : theirs, ours < theirs ? theirs : ours);
}

static bool is_null(const struct ckpti_mpi_handle *h)
{
	return !h || (h->predefined && (const void *)h != (const void *)MPI_COMM_WORLD &&
		      (const void *)h != (const void *)MPI_COMM_SELF);
}

void ckpti_mpi_coll_made(const void *parent, void *handle)
{
	const struct ckpti_mpi_coll *p = ckpti_mpi_coll(parent);
	struct ckpti_mpi_handle *h = handle;
	struct ckpti_mpi_coll *c;

	if (is_null(h) || h->coll || !p)
		return;
	c = coll_new(h);
	c->id = mix(mix(p->id, p->seq), h->kind);
	/* Parts of a split have the same parent, and other members. */
	if (h->kind == CKPTI_MPI_COMM)
		c->id = mix(c->id, ask_peers(c));
	enlist(c);
}

void ckpti_mpi_coll_made_like(const void *parent, void *handle)
{
	const struct ckpti_mpi_coll *p = ckpti_mpi_coll(parent);
	struct ckpti_mpi_coll *c;
	int *world;

	if (!p)
		return;
	world = need((size_t)p->npeers, sizeof(*world));
	memcpy(world, p->world, (size_t)p->npeers * sizeof(*world));
	c = coll_new(handle);
	counters_new(c, p->npeers, world);
	c->id = mix(mix(p->id, p->seq), ~0ULL);
	enlist(c);
}

/* The greatest number of each group names it; of two groups each learns the other's first. */
void ckpti_mpi_coll_made_alone(void *handle)
{
	struct ckpti_mpi_handle *h = handle;
	uint64_t mine, theirs = 0, ours = 0;
	struct ckpti_mpi_coll *c;
	MPI_Datatype type = ckpti_mpi_real(MPI_UINT64_T);
	MPI_Op op = ckpti_mpi_real(MPI_MAX);
	MPI_Comm comm;
	int rank = 0;

	if (is_null(h) || h->coll)
		return;
	c = coll_new(h);
	(void)ask_peers(c);
	comm = ckpti_mpi_real(h);
	(void)PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
	mine = mix((uint64_t)rank + 1, __atomic_add_fetch(&alone, 1, __ATOMIC_RELAXED));
	(void)GUEST(MPI_Allreduce, &mine, &theirs, 1, type, op, comm);
	(void)GUEST(MPI_Allreduce, &theirs, &ours, 1, type, op, comm);
	c->id = mix(theirs < ours ? theirs : ours, theirs < ours ? ours : theirs);
	enlist(c);
}

void ckpti_mpi_coll_made_foreign(void *handle)
{
	struct ckpti_mpi_handle *h = handle;
	struct ckpti_mpi_coll *c;

	if (is_null(h) || h->coll)
		return;
	ckpti_mpi_dynamic = true;
	c = coll_new(h);
	c->id = mix(ask_peers(c), __atomic_add_fetch(&alone, 1, __ATOMIC_RELAXED));
	enlist(c);
}

void ckpti_mpi_colls_begin(void)
{
	struct ckpti_mpi_handle *world = (void *)MPI_COMM_WORLD, *own = (void *)MPI_COMM_SELF;
	int rank = 0;

	if (world->coll)
		return;
	(void)ask_peers(coll_new(world));
	world->coll->id = 1;
	enlist(world->coll);
	(void)PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
	(void)ask_peers(coll_new(own));
	own->coll->id = mix(2, (uint64_t)rank);
	enlist(own->coll);
}

static void coll_free(struct ckpti_mpi_coll *c)
{
	ckpti_mpi_buffered_free(c);
	free(c->world);
	free(c->sent);
	free(c->received);
	free(c);
}

/*
 * What was freed here may not be freed yet elsewhere: until the next cut its last call counts, and
 * messages that were sent on it.  A program without checkpoints must not grow by that.
 */
void ckpti_mpi_coll_drop(struct ckpti_mpi_handle *h)
{
	struct ckpti_mpi_coll **oldest = NULL, *c = h->coll;
	size_t n = 0;

	h->coll = NULL;
	if (!c)
		return;
	(void)pthread_mutex_lock(&lock);
	c->handle = NULL;
	for (struct ckpti_mpi_coll **at = &all; *at; at = &(*at)->next)
		if (!(*at)->handle && !(*at)->p2p) {
			oldest = at;
			n++;
		}
	if (n > KEPT) {
		c = *oldest;
		*oldest = c->next;
		coll_free(c);
	}
	(void)pthread_mutex_unlock(&lock);
}

static void mark_used(struct ckpti_mpi_handle *h, void *arg)
{
	(void)arg;
	if (h->request.comm && !h->request.done)
		h->request.comm->target = ~0ULL;
}

void ckpti_mpi_colls_tidy(bool new_life)
{
	struct ckpti_mpi_coll **at = &all, *c;

	for (c = all; c; c = c->next)
		c->target = 0;
	ckpti_mpi_requests_each(mark_used, NULL);
	(void)pthread_mutex_lock(&lock);
	while ((c = *at)) {
		if (!c->handle && !c->target) {
			*at = c->next;
			coll_free(c);
			continue;
		}
		if (new_life && c->npeers) {
			memset(c->sent, 0, (size_t)c->npeers * sizeof(*c->sent));
			memset(c->received, 0, (size_t)c->npeers * sizeof(*c->received));
		}
		at = &c->next;
	}
	(void)pthread_mutex_unlock(&lock);
}

struct ckpti_mpi_coll *ckpti_mpi_colls(void)
{
	return all;
}

struct ckpti_mpi_coll *ckpti_mpi_coll_of_id(uint64_t id)
{
	struct ckpti_mpi_coll *c;

	for (c = all; c && c->id != id; c = c->next)
		;
	return c;
}
