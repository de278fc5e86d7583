/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handlers of the application never run on the guest's FS base: thread-local variables, errno and the
 * stack guard would be the guest's.  The kernel gets run_handler() in place of each handler; it changes
 * FS base when the signal came inside.
 *
 * All ways to set a handler end in one system call of the application's libc.  That one is patched: its
 * "mov $13, %eax" becomes a jump, in one store, and the syscall instruction behind it stays, so a thread
 * that is just there goes on as before.  A vfork child, which shares our memory, only resets to the
 * default, and that changes nothing here.
 * What runs then is in handler.c.
 */
#include "guest/guest_private.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "ckpt_hooks.h"

#define CALL_LEN 7
#define REACH    (1UL << 30) /* well within that of a jump */

/* Only where libckpt is there. */
#pragma weak ckpt_hooks_register

struct search {
	uintptr_t inside; /* an address in libc */
	uint8_t *found;
	unsigned int count;
};

static int search_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	static const uint8_t call[CALL_LEN] = {0xb8, SYS_rt_sigaction, 0, 0, 0, 0x0f, 0x05};
	struct search *s = arg;
	bool here = false;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		here |= ph->p_type == PT_LOAD &&
			s->inside - (info->dlpi_addr + ph->p_vaddr) < ph->p_memsz;
	}
	if (!here)
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uint8_t *p = (uint8_t *)(info->dlpi_addr + ph->p_vaddr), *end = p + ph->p_filesz;

		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X))
			continue;
		while ((p = memmem(p, (size_t)(end - p), call, sizeof(call)))) {
			s->found = p++;
			s->count++;
		}
	}
	return 1;
}

/* A place near the call for a jump to anywhere. */
static uint8_t *near_page(uintptr_t around)
{
	static const uint8_t jump[] = {0xff, 0x25, 0, 0, 0, 0}; /* jmp *0(%rip) */
	void (*to)(void) = ckpti_guest_signal_entry;
	uint8_t *p;

	around = PAGE_DOWN(around);
	for (size_t away = 16 * PAGE; away < REACH && away < around; away += 256 * PAGE) {
		p = mmap((void *)(around - away), PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (p == MAP_FAILED)
			continue;
		memcpy(p, jump, sizeof(jump));
		memcpy(p + sizeof(jump), &to, sizeof(to));
		if (mprotect(p, PAGE, PROT_READ | PROT_EXEC) == 0)
			return p;
		(void)munmap(p, PAGE);
	}
	return NULL;
}

static int patch_libc(uint8_t *call, struct ckpti_err *err)
{
	uint8_t *page = (uint8_t *)PAGE_DOWN(call);
	size_t len = (size_t)(PAGE_UP(call + sizeof(uint64_t)) - (uintptr_t)page);
	uint8_t *stub = near_page((uintptr_t)call);
	uint64_t code;

	if (!stub)
		return ckpti_err(err, -ENOMEM, "no room for a page near libc at %p", (void *)call);
	guest_signal_back = (uintptr_t)call + CALL_LEN;
	/* Other threads may be running here: it stays executable. */
	if (mprotect(page, len, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
		return ckpti_err(err, -errno, "the code of libc cannot be made writable: %s",
				 strerror(errno));
	memcpy(&code, call, sizeof(code));
	code &= ~0xffffffffffULL;
	code |= 0xe9 | (uint64_t)(uint32_t)((uintptr_t)stub - ((uintptr_t)call + 5)) << 8;
	*(volatile uint64_t *)(void *)call = code;
	if (mprotect(page, len, PROT_READ | PROT_EXEC) < 0)
		return ckpti_err(err, -errno, "the code of libc cannot be protected again: %s",
				 strerror(errno));
	return 0;
}

/* The agent's own handler runs on any FS base, and leaves in ways of its own. */
static bool is_agents(uintptr_t handler)
{
	Dl_info of_handler, of_agent;

	return ckpt_hooks_register && dladdr((void *)handler, &of_handler) &&
	       dladdr((void *)ckpt_hooks_register, &of_agent) &&
	       of_handler.dli_fbase == of_agent.dli_fbase;
}

int ckpti_guest_signals_guard(struct ckpti_err *err)
{
	struct search s = {.inside = (uintptr_t)dlsym(RTLD_DEFAULT, "gnu_get_libc_version")};
	struct guest_sigaction act;
	int r;

	if (guest_signal_back)
		return 0;
	(void)dl_iterate_phdr(search_object, &s);
	if (s.count != 1)
		return ckpti_err(err, -ENOTSUP,
				 "this libc calls rt_sigaction in %u places instead of 1, cannot "
				 "keep handlers out of the guest",
				 s.count);
	r = patch_libc(s.found, err);
	if (r < 0)
		return r;
	for (int sig = 1; sig <= 64; sig++) {
		if (raw(SYS_rt_sigaction, sig, 0, &act, sizeof(act.mask), 0, 0) < 0 ||
		    act.handler == (uintptr_t)SIG_DFL || act.handler == (uintptr_t)SIG_IGN ||
		    is_agents(act.handler))
			continue;
		(void)ckpti_guest_app_sigaction(sig, &act, NULL, sizeof(act.mask));
	}
	return 0;
}
