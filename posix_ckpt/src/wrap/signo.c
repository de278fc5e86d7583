/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which signals are ours.  Only real-time signals will do: several requests may wait at a time, each
 * with a siginfo of its own.  A CKPT_SIGNO that makes no sense is as if it were not there; `cpr`
 * refuses it with a message, a program that merely inherits it must not fail.
 */
#include "wrap/signo.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Both numbers in one word, so that a reader never sees half of a change: checkpoint << 8 | restart,
 * 0 while the environment was not read yet. */
static int numbers;

/* A decimal number of a usable signal, or -1; *p is moved behind it. */
static int parse_signo(const char **p)
{
	int n = 0;

	if (**p < '0' || **p > '9')
		return -1;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		n = n * 10 + (**p - '0');
		if (n > SIGRTMAX)
			return -1;
	}
	return n < SIGRTMIN ? -1 : n;
}

static int parse(const char *text)
{
	const int preset = (SIGRTMAX - 2) << 8 | (SIGRTMAX - 3);
	int checkpoint, restart;

	if (!text)
		return preset;
	checkpoint = parse_signo(&text);
	if (checkpoint < 0)
		return preset;
	if (*text == ',') {
		text++;
		restart = parse_signo(&text);
	} else {
		restart = checkpoint == SIGRTMAX - 3 ? SIGRTMAX - 2 : SIGRTMAX - 3;
	}
	if (*text || restart < 0 || restart == checkpoint)
		return preset;
	return checkpoint << 8 | restart;
}

void ckpti_signo_read(char *const envp[])
{
	static const char name[] = "CKPT_SIGNO=";
	const char *value = NULL;

	for (; envp && *envp && !value; envp++) {
		if (strncmp(*envp, name, sizeof(name) - 1) == 0)
			value = *envp + sizeof(name) - 1;
	}
	__atomic_store_n(&numbers, parse(value), __ATOMIC_RELAXED);
}

static int get(void)
{
	int n = __atomic_load_n(&numbers, __ATOMIC_RELAXED);

	if (!n) {
		n = parse(getenv("CKPT_SIGNO"));
		__atomic_store_n(&numbers, n, __ATOMIC_RELAXED);
	}
	return n;
}

int ckpti_signo_checkpoint(void)
{
	return get() >> 8;
}

int ckpti_signo_restart(void)
{
	return get() & 0xff;
}
