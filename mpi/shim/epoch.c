/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Epochs of windows.  Those of MPI_Win_lock, of post and start, and between fences with an operation in
 * them run to their end before a cut: what is under way in them cannot be completed from outside, and a
 * lock could not be had again in the same order.  None begins during a cut.  That of MPI_Win_lock_all,
 * which programs keep for their whole life, is flushed, and begins again in a new life.
 */
#include "shim/remake.h"
#include "shim/shim.h"

static void epoch_begun(struct ckpti_mpi_coll *c)
{
	(void)__atomic_add_fetch(&ckpti_mpi_epochs, 1, __ATOMIC_SEQ_CST);
	if (c)
		(void)__atomic_add_fetch(&c->exclusive, 1, __ATOMIC_SEQ_CST);
}

static void epoch_ended(struct ckpti_mpi_coll *c)
{
	if (c)
		(void)__atomic_sub_fetch(&c->exclusive, 1, __ATOMIC_SEQ_CST);
	(void)__atomic_sub_fetch(&ckpti_mpi_epochs, 1, __ATOMIC_SEQ_CST);
}

void ckpti_mpi_rma_open(struct ckpti_mpi_coll *c, const char *call)
{
	struct ckpti_guest_thread *self = ckpti_mpi_coll_begin(NULL, call);

	if (!__atomic_exchange_n(&c->fence, true, __ATOMIC_SEQ_CST))
		(void)__atomic_add_fetch(&ckpti_mpi_epochs, 1, __ATOMIC_SEQ_CST);
	ckpti_mpi_coll_end(self);
}

int PMPI_Win_fence(int assert, MPI_Win win)
{
	struct ckpti_guest_thread *self = ckpti_mpi_coll_begin(win, "MPI_Win_fence");
	struct ckpti_mpi_coll *c = ckpti_mpi_coll(win);
	int ret = GUEST(MPI_Win_fence, assert, ckpti_mpi_real(win));

	if (c && __atomic_exchange_n(&c->fence, false, __ATOMIC_SEQ_CST))
		(void)__atomic_sub_fetch(&ckpti_mpi_epochs, 1, __ATOMIC_SEQ_CST);
	if (ret == MPI_SUCCESS)
		ckpti_mpi_win_fenced(win, assert);
	ckpti_mpi_coll_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Win_fence)

int PMPI_Win_lock(int lock_type, int rank, int assert, MPI_Win win)
{
	struct ckpti_guest_thread *self = ckpti_mpi_coll_begin(NULL, "MPI_Win_lock");
	int ret = GUEST(MPI_Win_lock, lock_type, rank, assert, ckpti_mpi_real(win));

	if (ret == MPI_SUCCESS)
		epoch_begun(ckpti_mpi_coll(win));
	ckpti_mpi_coll_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Win_lock)

int PMPI_Win_unlock(int rank, MPI_Win win)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	int ret = GUEST(MPI_Win_unlock, rank, ckpti_mpi_real(win));

	if (ret == MPI_SUCCESS)
		epoch_ended(ckpti_mpi_coll(win));
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Win_unlock)

int PMPI_Win_lock_all(int assert, MPI_Win win)
{
	struct ckpti_guest_thread *self = ckpti_mpi_coll_begin(NULL, "MPI_Win_lock_all");
	struct ckpti_mpi_coll *c = ckpti_mpi_coll(win);
	int ret = GUEST(MPI_Win_lock_all, assert, ckpti_mpi_real(win));

	if (ret == MPI_SUCCESS && c)
		(void)__atomic_add_fetch(&c->shared, 1, __ATOMIC_SEQ_CST);
	ckpti_mpi_coll_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Win_lock_all)

int PMPI_Win_unlock_all(MPI_Win win)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_coll *c = ckpti_mpi_coll(win);
	int ret = GUEST(MPI_Win_unlock_all, ckpti_mpi_real(win));

	if (ret == MPI_SUCCESS && c)
		(void)__atomic_sub_fetch(&c->shared, 1, __ATOMIC_SEQ_CST);
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Win_unlock_all)

int PMPI_Win_start(MPI_Group group, int assert, MPI_Win win)
{
	struct ckpti_guest_thread *self = ckpti_mpi_coll_begin(NULL, "MPI_Win_start");
	int ret = GUEST(MPI_Win_start, ckpti_mpi_real(group), assert, ckpti_mpi_real(win));

	if (ret == MPI_SUCCESS)
		epoch_begun(ckpti_mpi_coll(win));
	ckpti_mpi_coll_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Win_start)

int PMPI_Win_complete(MPI_Win win)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	int ret = GUEST(MPI_Win_complete, ckpti_mpi_real(win));

	if (ret == MPI_SUCCESS)
		epoch_ended(ckpti_mpi_coll(win));
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Win_complete)

int PMPI_Win_post(MPI_Group group, int assert, MPI_Win win)
{
	struct ckpti_guest_thread *self = ckpti_mpi_coll_begin(NULL, "MPI_Win_post");
	int ret = GUEST(MPI_Win_post, ckpti_mpi_real(group), assert, ckpti_mpi_real(win));

	if (ret == MPI_SUCCESS)
		epoch_begun(ckpti_mpi_coll(win));
	ckpti_mpi_coll_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Win_post)

int PMPI_Win_wait(MPI_Win win)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	int ret = GUEST(MPI_Win_wait, ckpti_mpi_real(win));

	if (ret == MPI_SUCCESS)
		epoch_ended(ckpti_mpi_coll(win));
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Win_wait)

int PMPI_Win_test(MPI_Win win, int *flag)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	int ret = GUEST(MPI_Win_test, ckpti_mpi_real(win), flag);

	if (ret == MPI_SUCCESS && *flag)
		epoch_ended(ckpti_mpi_coll(win));
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Win_test)
