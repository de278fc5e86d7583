/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A look at the file of a command before it runs.  It serves a warning only: whatever cannot be read
 * or understood is let pass.
 */
#include "program.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/mpi.h"

static int open_command(const char *command)
{
	const char *path = getenv("PATH");
	char full[4096];
	int fd;

	if (strchr(command, '/'))
		return open(command, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (!path)
		path = "/bin:/usr/bin"; /* as execvp() */
	for (const char *end; *path; path = *end ? end + 1 : end) {
		end = strchrnul(path, ':');
		(void)snprintf(full, sizeof(full), "%.*s/%s", end > path ? (int)(end - path) : 1,
			       end > path ? path : ".", command);
		if (access(full, X_OK) < 0)
			continue;
		fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

/* ld.so ignores LD_PRELOAD in a program that gains rights by exec. */
static bool gains_rights(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	if ((st.st_mode & S_ISUID && st.st_uid != geteuid()) ||
	    (st.st_mode & S_ISGID && st.st_mode & S_IXGRP && st.st_gid != getegid()))
		return true;
	return geteuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0;
}

static bool has_interpreter(int fd, const ElfW(Ehdr) * eh)
{
	ElfW(Phdr) ph;

	for (unsigned i = 0; i < eh->e_phnum; i++) {
		off_t off = (off_t)(eh->e_phoff + (uint64_t)i * eh->e_phentsize);

		if (pread(fd, &ph, sizeof(ph), off) != (ssize_t)sizeof(ph))
			return true; /* cannot be told */
		if (ph.p_type == PT_INTERP)
			return true;
	}
	return false;
}

/* "#! /path arg": the path, NULL when there is none.  head is changed. */
static char *script_interpreter(char *head)
{
	char *p = head + 2 + strspn(head + 2, " \t");

	p[strcspn(p, " \t\r\n")] = '\0';
	return *p == '/' ? p : NULL;
}

static const char *look(int fd, int depth)
{
	static char text[200];
	char head[256] = "", mpi[96], *script = NULL;
	ElfW(Ehdr) eh, own;
	const char *why = NULL;
	ssize_t n = pread(fd, head, sizeof(head) - 1, 0);
	int self, next;

	if (n > 2 && head[0] == '#' && head[1] == '!') {
		/* What runs is the interpreter; the kernel ignores a script's own set-uid bits. */
		script = depth < 4 ? script_interpreter(head) : NULL;
		next = script ? open(script, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
		if (next >= 0) {
			why = look(next, depth + 1);
			(void)close(next);
		}
		return why;
	}
	if (n < (ssize_t)sizeof(eh) || memcmp(head, ELFMAG, SELFMAG) != 0)
		return NULL;
	if (gains_rights(fd))
		return "it gains rights when it is started (set-user-ID, set-group-ID or "
		       "capabilities)";
	memcpy(&eh, head, sizeof(eh));
	self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (self >= 0) {
		if (pread(self, &own, sizeof(own), 0) == (ssize_t)sizeof(own) &&
		    (own.e_machine != eh.e_machine ||
		     own.e_ident[EI_CLASS] != eh.e_ident[EI_CLASS]))
			why = "it is made for another processor or word size";
		(void)close(self);
	}
	if (!why && !has_interpreter(fd, &eh))
		why = "it is statically linked";
	if (!why && ckpti_mpi_in_program(fd, mpi, sizeof(mpi))) {
		(void)snprintf(text, sizeof(text), "%s " CKPTI_MPI_REFUSED, mpi);
		why = text;
	}
	return why;
}

bool ckpti_program_path(const char *command, char *ret, size_t size)
{
	int fd = open_command(command);
	char link[40];
	ssize_t n;

	if (fd < 0)
		return false;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, ret, size - 1);
	ret[n > 0 ? n : 0] = '\0';
	(void)close(fd);
	return n > 0;
}

const char *ckpti_program_obstacle(const char *command)
{
	const char *why = NULL;
	int fd = open_command(command);

	if (fd >= 0) {
		why = look(fd, 0);
		(void)close(fd);
	}
	return why;
}
