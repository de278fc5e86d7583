/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FS base, and the way from a guest's TCB back to the thread that borrows it.  Freestanding.
 */
#include "guest/guest_private.h"

#include <asm/prctl.h>

_Static_assert(offsetof(struct ckpti_guest_port, app_fs) == 88, "cross.S");
_Static_assert(offsetof(struct ckpti_guest_port, app_sp) == 96, "cross.S");

bool ckpti_guest_fsgsbase;
struct ckpti_guest_port *ckpti_guest_port;

uint64_t ckpti_fs_get_slow(void)
{
	uint64_t fs = 0;

	(void)raw(SYS_arch_prctl, ARCH_GET_FS, &fs, 0, 0, 0, 0);
	return fs;
}

void ckpti_fs_set_slow(uint64_t fs)
{
	(void)raw(SYS_arch_prctl, ARCH_SET_FS, fs, 0, 0, 0, 0);
}

void ckpti_guest_set_fs(uint64_t fs); /* for cross.S */
void ckpti_guest_set_fs(uint64_t fs)
{
	ckpti_fs_set(fs);
}

struct ckpti_guest_thread *guest_thread_of(uint64_t fs)
{
	struct ckpti_guest_port *port = __atomic_load_n(&ckpti_guest_port, __ATOMIC_ACQUIRE);

	if (!port || !ckpti_guest_has_addr(fs))
		return NULL;
	return *(struct ckpti_guest_thread **)(fs + (uint64_t)port->thread_offset);
}
