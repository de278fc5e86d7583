/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SIGCKPT is closed from before an exec until the new program's agent has its handler: exec resets
 * the handler but keeps a signal that waits, and the default action of a real-time signal is death.
 * A program that does not bring our agent (static, setuid, "env -i") starts with SIGCKPT blocked.  That
 * is harmless unless a request arrived in the very window and the program opens all signals, as dash
 * does when it waits: the coordinator does not signal a process that it sees without our handler.
 *
 * Everything here may run in a vfork child or in a signal handler: no allocation, no lock, raw system
 * calls for the mask.  vfork() itself cannot be wrapped by a function that returns; a request that
 * reaches the child before its exec is turned away by the agent.
 */
#include "wrap/wrap_private.h"

#include <limits.h>
#include <stdarg.h>
#include <stddef.h>

/* ---- exec --------------------------------------------------------------------------------- */

CKPTI_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	bool was_open = ckpti_wrap_close();
	int r = REAL(execve)(path, argv, envp);

	ckpti_wrap_reopen(was_open);
	return r;
}

CKPTI_EXPORT int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

CKPTI_EXPORT int execvp(const char *file, char *const argv[])
{
	bool was_open = ckpti_wrap_close();
	int r = REAL(execvp)(file, argv);

	ckpti_wrap_reopen(was_open);
	return r;
}

CKPTI_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	bool was_open = ckpti_wrap_close();
	int r = REAL(execvpe)(file, argv, envp);

	ckpti_wrap_reopen(was_open);
	return r;
}

CKPTI_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	bool was_open = ckpti_wrap_close();
	int r = REAL(fexecve)(fd, argv, envp);

	ckpti_wrap_reopen(was_open);
	return r;
}

CKPTI_EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[],
			  int flags)
{
	bool was_open = ckpti_wrap_close();
	int r = REAL(execveat)(dir, path, argv, envp, flags);

	ckpti_wrap_reopen(was_open);
	return r;
}

/*
 * The arguments of execl*() as a vector on the caller's stack (there is nowhere else in a vfork
 * child), and in *ap what follows their NULL.
 */
#define COLLECT(argv, first, ap)                                      \
	do {                                                          \
		size_t n_ = 1;                                        \
                                                                      \
		va_start(ap, first);                                  \
		while (va_arg(ap, const char *))                      \
			n_++;                                         \
		va_end(ap);                                           \
		if (n_ >= INT_MAX) {                                  \
			errno = E2BIG;                                \
			return -1;                                    \
		}                                                     \
		(argv) = __builtin_alloca((n_ + 1) * sizeof(char *)); \
		(argv)[0] = (char *)(uintptr_t)(first);               \
		va_start(ap, first);                                  \
		for (size_t i_ = 1; i_ <= n_; i_++)                   \
			(argv)[i_] = va_arg(ap, char *);              \
	} while (0)

CKPTI_EXPORT int execl(const char *path, const char *arg, ...)
{
	char **argv;
	va_list ap;

	COLLECT(argv, arg, ap);
	va_end(ap);
	return execve(path, argv, environ);
}

CKPTI_EXPORT int execlp(const char *file, const char *arg, ...)
{
	char **argv;
	va_list ap;

	COLLECT(argv, arg, ap);
	va_end(ap);
	return execvp(file, argv);
}

CKPTI_EXPORT int execle(const char *path, const char *arg, ...)
{
	char **argv;
	char *const *envp;
	va_list ap;

	COLLECT(argv, arg, ap);
	envp = va_arg(ap, char *const *);
	va_end(ap);
	return execve(path, argv, envp);
}

/* ---- spawn: the child takes over the caller's mask, or the one in the attributes ---------- */

static const posix_spawnattr_t *closed_attr(const posix_spawnattr_t *attr, posix_spawnattr_t *copy)
{
	short flags;
	sigset_t mask;

	if (!attr || !ckpti_wrap_signo || posix_spawnattr_getflags(attr, &flags) ||
	    !(flags & POSIX_SPAWN_SETSIGMASK) || posix_spawnattr_getsigmask(attr, &mask))
		return attr;
	(void)sigaddset(&mask, ckpti_wrap_signo);
	*copy = *attr; /* glibc's holds no pointers */
	(void)posix_spawnattr_setsigmask(copy, &mask);
	return copy;
}

CKPTI_EXPORT int posix_spawn(pid_t *pid, const char *path,
			     const posix_spawn_file_actions_t *actions,
			     const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	posix_spawnattr_t copy;
	bool was_open = ckpti_wrap_close();
	int r = REAL(posix_spawn)(pid, path, actions, closed_attr(attr, &copy), argv, envp);

	ckpti_wrap_reopen(was_open);
	return r;
}

CKPTI_EXPORT int posix_spawnp(pid_t *pid, const char *file,
			      const posix_spawn_file_actions_t *actions,
			      const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	posix_spawnattr_t copy;
	bool was_open = ckpti_wrap_close();
	int r = REAL(posix_spawnp)(pid, file, actions, closed_attr(attr, &copy), argv, envp);

	ckpti_wrap_reopen(was_open);
	return r;
}

/* libc's popen() returns after the shell's exec. */
CKPTI_EXPORT FILE *popen(const char *command, const char *mode)
{
	bool was_open = ckpti_wrap_close();
	FILE *file = REAL(popen)(command, mode);

	ckpti_wrap_reopen(was_open);
	return file;
}

/* A command substitution keeps a checkpoint waiting until it is done: libc offers no finer grip. */
CKPTI_EXPORT int wordexp(const char *words, wordexp_t *result, int flags)
{
	bool was_open = flags & WRDE_NOCMD ? false : ckpti_wrap_close();
	int r = REAL(wordexp)(words, result, flags);

	ckpti_wrap_reopen(was_open);
	return r;
}
