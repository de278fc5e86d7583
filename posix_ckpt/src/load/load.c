/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loader for programs that libckpt is preloaded into or linked with: a constructor that starts the
 * agent.  The library is linked with -z initfirst, so it runs before the constructors of all other
 * libraries, libc's included: the environment comes from the third argument, getenv() does not work
 * yet.
 *
 * It prints nothing and never makes a program fail: when anything is odd, the program runs without an
 * agent, and who wants to checkpoint it is told so.
 */
#include "agent/agent.h"
#include "wrap/signo.h"
#include "wrap/wrap.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>

static const char *get(char *const envp[], const char *name)
{
	size_t len = strlen(name);

	for (; envp && *envp; envp++) {
		if (strncmp(*envp, name, len) == 0 && (*envp)[len] == '=')
			return *envp + len + 1;
	}
	return NULL;
}

/* Exactly 16 hex digits, else 0: outside of any set. */
static uint64_t parse_set(const char *text)
{
	uint64_t id = 0;
	int n;

	for (n = 0; text && text[n]; n++) {
		char c = text[n];

		if (n == 16)
			return 0;
		if (c >= '0' && c <= '9')
			id = id << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			id = id << 4 | (uint64_t)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			id = id << 4 | (uint64_t)(c - 'A' + 10);
		else
			return 0;
	}
	return n == 16 ? id : 0;
}

/* An exec leaves "default" or "ignored"; anything else means that somebody was here before us. */
static bool signal_is_free(int signo)
{
	struct sigaction old;

	if (sigaction(signo, NULL, &old) < 0)
		return false;
	return !(old.sa_flags & SA_SIGINFO) &&
	       (old.sa_handler == SIG_DFL || old.sa_handler == SIG_IGN);
}

/*
 * glibc 2.35 and later say where they registered it.  Looked up, not linked: the names are ld.so's, and
 * the library is to depend on libc alone.
 */
static void find_rseq(struct ckpti_agent_host *host)
{
	const ptrdiff_t *offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
	const unsigned int *size = dlsym(RTLD_DEFAULT, "__rseq_size");

	if (offset && size) {
		host->rseq_offset = *offset;
		host->rseq_size = *size;
	} else {
		(void)dlerror(); /* or the program would find our failure */
	}
}

__attribute__((constructor(101))) static void load(int argc, char **argv, char **envp)
{
	struct ckpti_agent_host host = {
		.foreign = ckpti_wrap_foreign,
		.interrupted = ckpti_wrap_interrupted,
	};
	const char *disable = get(envp, "CKPT_DISABLE");
	int saved = errno;

	(void)argc;
	(void)argv;
	/* A program with more rights than its user must not be steered by its user's environment. */
	if ((disable && strcmp(disable, "1") == 0) || getauxval(AT_SECURE))
		goto out;
	ckpti_signo_read(envp);
	host.signo = ckpti_signo_checkpoint();
	host.signo_restart = ckpti_signo_restart();
	if (!signal_is_free(host.signo))
		goto out;
	find_rseq(&host);
	ckpti_agent.set_id = parse_set(get(envp, "CKPT_SET"));
	ckpti_wrap_start(host.signo);
	(void)ckpti_agent_start(&host);
out:
	errno = saved;
}
