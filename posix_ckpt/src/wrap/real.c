/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks the real functions up; see real.h. */
#include "wrap/real.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

struct ckpti_real ckpti_real_table;
bool ckpti_real_ready;

/* An older libc lacks the function: to the program it looks like an older kernel. */
static long missing(void)
{
	errno = ENOSYS;
	return -1;
}

static const struct {
	const char *name;
	size_t offset;
} entry[] = {
#define CKPTI_REAL_ENTRY(name) {#name, offsetof(struct ckpti_real, name)},
	CKPTI_REAL_LIST(CKPTI_REAL_ENTRY)
#undef CKPTI_REAL_ENTRY
};

void ckpti_real_resolve(void)
{
	int saved = errno;
	bool complete = true;

	for (size_t i = 0; i < sizeof(entry) / sizeof(entry[0]); i++) {
		void **slot = (void **)((char *)&ckpti_real_table + entry[i].offset);
		void *found = dlsym(RTLD_NEXT, entry[i].name);

		*slot = found ? found : (void *)missing;
		complete = complete && found;
	}
	if (!complete)
		(void)dlerror(); /* or the program would find our failure */
	__atomic_store_n(&ckpti_real_ready, true, __ATOMIC_RELEASE);
	errno = saved;
}
