/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which MPI library a process or a program has: mpi.h.  The names are those of the common ABI of MPICH,
 * Intel MPI, MVAPICH and others (libmpi.so.12), of Debian's MPICH, and of Open MPI.
 */
#include "core/mpi.h"

#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SHIM   "/ckpt-mpi/libmpi.so.40"
#define OPEN   "libmpi.so.40"
#define INSIDE "PMPI_Init" /* defined by a program: it is linked with MPI statically */

static bool is_mpi(const char *name)
{
	return strncmp(name, "libmpi.so", 9) == 0 || strncmp(name, "libmpich.so", 11) == 0;
}

bool ckpti_mpi_in_maps(const char *maps, char *ret, size_t size)
{
	for (const char *p = maps; (p = strstr(p, "/libmpi")); p++) {
		const char *name = p + 1;
		size_t n = strcspn(name, "\n /");

		if (!is_mpi(name) || name[n] == '/')
			continue;
		/* The real one, which the shim has brought. */
		if (strncmp(name, OPEN, strlen(OPEN)) == 0 && strstr(maps, SHIM))
			continue;
		(void)snprintf(ret, size, "%.*s", (int)n, name);
		return true;
	}
	return false;
}

/* ---- a file ------------------------------------------------------------------------------- */

struct file {
	const char *at;
	size_t size;
	const ElfW(Shdr) * section;
	size_t nsections;
};

/* The content of a section, NULL when it does not lie in the file. */
static const void *content(const struct file *f, const ElfW(Shdr) * s)
{
	if (s->sh_type == SHT_NOBITS || s->sh_offset > f->size ||
	    s->sh_size > f->size - s->sh_offset)
		return NULL;
	return f->at + s->sh_offset;
}

/* A string of the table that belongs to a section. */
static const char *string(const struct file *f, const ElfW(Shdr) * of, uint64_t at)
{
	const ElfW(Shdr) *s = of->sh_link < f->nsections ? &f->section[of->sh_link] : NULL;
	const char *table = s ? content(f, s) : NULL;

	if (!table || at >= s->sh_size || !memchr(table + at, '\0', s->sh_size - at))
		return "";
	return table + at;
}

static bool needs(const struct file *f, const ElfW(Shdr) * s, char *ret, size_t size)
{
	const ElfW(Dyn) *d = content(f, s);

	for (size_t n = d ? s->sh_size / sizeof(*d) : 0; n && d->d_tag != DT_NULL; n--, d++) {
		const char *name = d->d_tag == DT_NEEDED ? string(f, s, d->d_un.d_val) : "";

		if (!is_mpi(name) || strcmp(name, OPEN) == 0)
			continue;
		(void)snprintf(ret, size, "%s", name);
		return true;
	}
	return false;
}

static bool defines(const struct file *f, const ElfW(Shdr) * s, char *ret, size_t size)
{
	const ElfW(Sym) *sym = content(f, s);

	for (size_t n = sym ? s->sh_size / sizeof(*sym) : 0; n; n--, sym++) {
		if (sym->st_shndx == SHN_UNDEF || ELF64_ST_TYPE(sym->st_info) != STT_FUNC ||
		    strcmp(string(f, s, sym->st_name), INSIDE) != 0)
			continue;
		(void)snprintf(ret, size, "what it is statically linked with");
		return true;
	}
	return false;
}

static bool look(struct file *f, char *ret, size_t size)
{
	const ElfW(Ehdr) *eh = (const void *)f->at;
	bool found = false;

	if (f->size < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 ||
	    eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_shentsize != sizeof(*f->section) ||
	    eh->e_shoff % sizeof(uint64_t) != 0 || eh->e_shoff > f->size ||
	    eh->e_shnum > (f->size - eh->e_shoff) / sizeof(*f->section))
		return false;
	f->section = (const void *)(f->at + eh->e_shoff);
	f->nsections = eh->e_shnum;
	for (size_t i = 0; !found && i < f->nsections; i++) {
		const ElfW(Shdr) *s = &f->section[i];

		if (s->sh_offset % sizeof(uint64_t) != 0)
			continue;
		if (s->sh_type == SHT_DYNAMIC)
			found = needs(f, s, ret, size);
		else if (s->sh_type == SHT_SYMTAB || s->sh_type == SHT_DYNSYM)
			found = defines(f, s, ret, size);
	}
	return found;
}

bool ckpti_mpi_in_program(int fd, char *ret, size_t size)
{
	struct stat st;
	struct file f = {.size = 0};
	void *at;
	bool found;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0)
		return false;
	f.size = (size_t)st.st_size;
	at = mmap(NULL, f.size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		return false;
	f.at = at;
	found = look(&f, ret, size);
	(void)munmap(at, f.size);
	return found;
}
