/* SPDX-License-Identifier: BSD-3-Clause */
/* The gate: see gate.h. */
#include "shim/gate.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int ckpti_mpi_gate;
static __thread bool exempt __attribute__((tls_model("initial-exec")));

void ckpti_mpi_gate_exempt(bool on)
{
	exempt = on;
}

bool ckpti_mpi_gate_is_exempt(void)
{
	return exempt;
}

void ckpti_mpi_gate_stand(struct ckpti_guest_thread *self)
{
	/* Within a call that has passed, as from a user's function that MPI calls. */
	if (exempt || self->depth > 1)
		return;
	do {
		self->depth--;
		(void)syscall(SYS_futex, &ckpti_mpi_gate, FUTEX_WAIT_PRIVATE, CKPTI_MPI_HOLD, NULL,
			      NULL, 0);
		self->depth++;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
	} while (ckpti_mpi_gate_now() == CKPTI_MPI_HOLD);
}

void ckpti_mpi_gate_set(int value)
{
	__atomic_store_n(&ckpti_mpi_gate, value, __ATOMIC_SEQ_CST);
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	(void)syscall(SYS_futex, &ckpti_mpi_gate, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
}

int ckpti_mpi_gate_quiet(int ms)
{
	struct timespec step = {.tv_nsec = 200000};
	int tid = 0;

	for (int i = 0; i < ms * 5; i++) {
		tid = ckpti_guest_inside();
		if (!tid)
			return 0;
		(void)nanosleep(&step, NULL);
	}
	return tid;
}

int ckpti_mpi_gate_prepare(struct ckpti_err *err)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) < 0)
		return ckpti_err(err, -errno, "cannot use membarrier(2): %s", strerror(errno));
	return 0;
}
