/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does what the kernel does at an exec, inside the arena: maps the guest program and its linker, makes a
 * stack with arguments, environment and auxiliary vector, and jumps to the linker.  The guest's main()
 * comes back through port->arrived.
 */
#include "guest/guest_private.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#define AT_RSEQ_ALIGN        28
#endif
#define HWCAP2_FSGSBASE_BIT (1UL << 1)
#define MAX_PHDRS           64
#define MAX_AUXV            64

struct image {
	uintptr_t base, entry, phdr;
	size_t phnum;
	char interp[256];
};

/*
 * What the start of a second libc overwrites in the kernel's view of this thread, and the start of UCX,
 * which gives the thread a signal stack in the guest.
 */
struct thread_words {
	int *tid_address;
	void *robust_list;
	size_t robust_size;
	stack_t signal_stack;
};

static uint8_t *stack_bottom;

static int map_part(uintptr_t at, size_t size, int prot, void **ret_part, struct ckpti_err *err)
{
	void *p = mmap((void *)at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		       -1, 0);

	if (p == (void *)at) {
		*ret_part = p;
		return 0;
	}
	if (p != MAP_FAILED)
		(void)munmap(p, size); /* a kernel that does not know the flag */
	return ckpti_err(err, p == MAP_FAILED ? -errno : -ENOTSUP,
			 "no memory for the guest at %#" PRIxPTR ": %s", at, strerror(errno));
}

static int segment_prot(const Elf64_Phdr *ph)
{
	return (ph->p_flags & PF_R ? PROT_READ : 0) | (ph->p_flags & PF_W ? PROT_WRITE : 0) |
	       (ph->p_flags & PF_X ? PROT_EXEC : 0);
}

static int map_segment(int fd, uintptr_t base, const Elf64_Phdr *ph)
{
	int prot = segment_prot(ph), fixed = MAP_PRIVATE | MAP_FIXED;
	uintptr_t start = base + PAGE_DOWN(ph->p_vaddr), lead = ph->p_vaddr % PAGE;
	uintptr_t file_end = base + ph->p_vaddr + ph->p_filesz;
	uintptr_t end = base + ph->p_vaddr + ph->p_memsz;

	if (ph->p_filesz && mmap((void *)start, ph->p_filesz + lead, prot, fixed, fd,
				 (off_t)(ph->p_offset - lead)) == MAP_FAILED)
		return -errno;
	if (end <= file_end)
		return 0;
	if (PAGE_UP(end) > PAGE_UP(file_end) &&
	    mmap((void *)PAGE_UP(file_end), PAGE_UP(end) - PAGE_UP(file_end), prot,
		 fixed | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
		return -errno;
	/* As the kernel does it: to the end of the page, for ld.so uses the rest as zeroed memory. */
	if (prot & PROT_WRITE)
		memset((void *)file_end, 0, PAGE_UP(file_end) - file_end);
	return 0;
}

static int read_headers(int fd, Elf64_Ehdr *eh, Elf64_Phdr *ph)
{
	if (pread(fd, eh, sizeof(*eh), 0) != sizeof(*eh) ||
	    memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 || eh->e_machine != EM_X86_64 ||
	    eh->e_type != ET_DYN || eh->e_phnum > MAX_PHDRS)
		return -ENOEXEC;
	if (pread(fd, ph, eh->e_phnum * sizeof(*ph), (off_t)eh->e_phoff) !=
	    (ssize_t)(eh->e_phnum * sizeof(*ph)))
		return -ENOEXEC;
	return 0;
}

/* is_linker: its system calls are patched, before it runs. */
static int map_image(const char *path, bool is_linker, struct image *im, struct ckpti_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;
	uintptr_t low = UINTPTR_MAX, high = 0;
	Elf64_Phdr ph[MAX_PHDRS];
	Elf64_Ehdr eh;

	memset(im, 0, sizeof(*im));
	if (fd < 0)
		return ckpti_err(err, -errno, "the guest's '%s' cannot be opened: %s", path,
				 strerror(errno));
	r = read_headers(fd, &eh, ph);
	for (size_t i = 0; r == 0 && i < eh.e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD) {
			low = PAGE_DOWN(ph[i].p_vaddr) < low ? PAGE_DOWN(ph[i].p_vaddr) : low;
			high = ph[i].p_vaddr + ph[i].p_memsz > high ? ph[i].p_vaddr + ph[i].p_memsz
								    : high;
		}
		if (ph[i].p_type == PT_INTERP && ph[i].p_filesz < sizeof(im->interp) &&
		    pread(fd, im->interp, ph[i].p_filesz, (off_t)ph[i].p_offset) < 0)
			r = -errno;
	}
	if (r == 0 && high <= low)
		r = -ENOEXEC;
	if (r < 0)
		goto out;
	im->base = guest_arena_place(high - low, true) - low;
	for (size_t i = 0; r == 0 && i < eh.e_phnum; i++) {
		if (ph[i].p_type != PT_LOAD)
			continue;
		r = map_segment(fd, im->base, &ph[i]);
		if (r == 0 && is_linker && (ph[i].p_flags & PF_X))
			r = guest_patch((uint8_t *)im->base + PAGE_DOWN(ph[i].p_vaddr),
					ph[i].p_filesz + ph[i].p_vaddr % PAGE, segment_prot(&ph[i]),
					&ckpti_guest_stats.sites[CKPTI_GUEST_LINKER]);
	}
	im->entry = im->base + eh.e_entry;
	im->phdr = im->base + low + eh.e_phoff;
	im->phnum = eh.e_phnum;
	ckpti_guest_stats.objects[CKPTI_GUEST_LINKER] += is_linker;
out:
	(void)close(fd);
	return r < 0 ? ckpti_err(err, r, "the guest's '%s' cannot be loaded: %s", path,
				 strerror(-r))
		     : 0;
}

/* Strings grow down from the top; NULL when there is no room. */
struct stack {
	uint8_t *bottom, *at;
};

static uintptr_t push(struct stack *s, const void *bytes, size_t size)
{
	if (size > (size_t)(s->at - s->bottom))
		return 0;
	s->at -= size;
	memcpy(s->at, bytes, size);
	return (uintptr_t)s->at;
}

static size_t change_auxv(Elf64_auxv_t *aux, size_t n, const struct image *program,
			  const struct image *linker, uintptr_t name, uintptr_t platform,
			  uintptr_t random)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t *value = &aux[i].a_un.a_val;

		switch (aux[i].a_type) {
		case AT_PHDR:
			*value = program->phdr;
			break;
		case AT_PHNUM:
			*value = program->phnum;
			break;
		case AT_BASE:
			*value = linker->base;
			break;
		case AT_ENTRY:
			*value = program->entry;
			break;
		case AT_EXECFN:
			*value = name;
			break;
		case AT_PLATFORM:
			*value = platform;
			break;
		case AT_RANDOM:
			*value = random;
			break;
		case AT_SYSINFO_EHDR:
			/* After a restart the kernel's own words are those of another exec. */
			*value = getauxval(AT_SYSINFO_EHDR);
			break;
		case AT_RSEQ_FEATURE_SIZE:
		case AT_RSEQ_ALIGN:
			aux[i].a_type = AT_IGNORE;
			break;
		default:
			break;
		}
	}
	return n;
}

static int read_auxv(Elf64_auxv_t *aux, size_t max, size_t *ret_n)
{
	int fd = open("/proc/self/auxv", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, aux, max * sizeof(*aux));

	if (fd >= 0)
		(void)close(fd);
	*ret_n = len > 0 ? (size_t)len / sizeof(*aux) : 0;
	return *ret_n ? 0 : -EIO;
}

/* As the kernel leaves it: argc, argv, environment, auxiliary vector. */
static int make_stack(const char *program, struct ckpti_guest_port *port, char *const *env,
		      const struct image *im, const struct image *linker, uintptr_t *ret_sp)
{
	struct stack s = {stack_bottom, stack_bottom + STACK_SIZE - 64};
	size_t nenv = 0, n = 0, naux, words;
	Elf64_auxv_t aux[MAX_AUXV];
	uintptr_t name, arg, platform, random, *strings, *sp;
	char number[20], seed[16];
	int r = read_auxv(aux, MAX_AUXV, &naux);

	if (r < 0)
		return r;
	while (env[nenv])
		nenv++;
	(void)snprintf(number, sizeof(number), "%" PRIxPTR, (uintptr_t)port);
	if (getentropy(seed, sizeof(seed)) < 0)
		return -errno;
	name = push(&s, program, strlen(program) + 1);
	arg = push(&s, number, strlen(number) + 1);
	platform = push(&s, "x86_64", sizeof("x86_64"));
	random = push(&s, seed, sizeof(seed));
	strings = calloc(nenv + 1, sizeof(*strings));
	if (!strings)
		return -ENOMEM;
	for (size_t i = 0; i < nenv; i++) {
		strings[i] = push(&s, env[i], strlen(env[i]) + 1);
		if (!strings[i])
			r = -E2BIG;
	}
	naux = change_auxv(aux, naux, im, linker, name, platform, random);
	words = 1 + 3 + nenv + 1 + naux * 2 + 2;
	sp = (uintptr_t *)(((uintptr_t)s.at - words * sizeof(*sp)) & ~15UL);
	/* The linker and main() need some as well. */
	if ((uint8_t *)sp < stack_bottom + STACK_SIZE / 2)
		r = -E2BIG;
	if (r == 0) {
		sp[n++] = 2;
		sp[n++] = name;
		sp[n++] = arg;
		sp[n++] = 0;
		memcpy(sp + n, strings, nenv * sizeof(*sp));
		n += nenv;
		sp[n++] = 0;
		memcpy(sp + n, aux, naux * sizeof(aux[0]));
		n += naux * 2;
		sp[n++] = AT_NULL;
		sp[n++] = 0;
	}
	free(strings);
	*ret_sp = (uintptr_t)sp;
	return r;
}

static void save_words(struct thread_words *w)
{
	(void)prctl(PR_GET_TID_ADDRESS, &w->tid_address, 0, 0, 0);
	(void)syscall(SYS_get_robust_list, 0, &w->robust_list, &w->robust_size);
	(void)sigaltstack(NULL, &w->signal_stack);
}

static void restore_words(const struct thread_words *w)
{
	(void)syscall(SYS_set_tid_address, w->tid_address);
	(void)syscall(SYS_set_robust_list, w->robust_list, w->robust_size);
	(void)sigaltstack(&w->signal_stack, NULL);
}

/* The guest has called exit(): the application's handlers have their turn, and its buffers. */
static void guest_leaves(int status)
{
	struct ckpti_guest_thread *thread = guest_thread_of(ckpti_fs_get());

	if (!thread)
		return;
	ckpti_fs_set(thread->app_fs);
	exit(status);
}

static int begin(struct ckpti_err *err)
{
	const char *off = getenv("CKPT_MPI_FSGSBASE"); /* for tests: "0" is an old kernel */
	struct rlimit limit = {1024, 1024};
	uintptr_t base = CKPTI_GUEST_BASE;
	void *part = NULL;
	int r;

	ckpti_guest_fsgsbase =
		(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT) && !(off && *off == '0');
	guest_pid = getpid();
	memset(&ckpti_guest_stats, 0, sizeof(ckpti_guest_stats));
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	guest_arena_reset();
	guest_patch_reset();
	guest_fd_reset(limit.rlim_cur > 1U << 20 ? 1U << 20 : (unsigned int)limit.rlim_cur);
	guest_thread_forget();
	r = ckpti_guest_check_begin(err);
	if (r == 0)
		r = map_part(base + STUBS_OFFSET, STUBS_SIZE, PROT_READ | PROT_WRITE, &part, err);
	if (r == 0)
		r = map_part(base + PORT_OFFSET, PORT_SIZE, PROT_READ | PROT_WRITE, &part, err);
	if (r == 0)
		r = map_part(base + STACK_OFFSET, STACK_SIZE, PROT_READ | PROT_WRITE, &part, err);
	stack_bottom = part;
	return r;
}

int ckpti_guest_load(const char *program, char *const *env, const char *own_dir,
		     const char *const *names, void **table, size_t count, struct ckpti_err *err)
{
	struct ckpti_guest_port *port = (void *)(CKPTI_GUEST_BASE + PORT_OFFSET);
	struct image im, linker;
	struct thread_words words;
	char **guest_env = guest_env_new(env ? env : environ, own_dir);
	uintptr_t sp = 0;
	int r;

	if (!guest_env)
		return ckpti_err(err, -ENOMEM, "no memory for the guest's environment");
	r = begin(err);
	if (r == 0)
		r = map_image(program, false, &im, err);
	if (r == 0)
		r = map_image(im.interp, true, &linker, err);
	if (r < 0)
		goto out;
	r = guest_check_sites(CKPTI_GUEST_LINKER, im.interp, err);
	if (r < 0)
		goto out;
	port->arrived = ckpti_guest_arrived;
	port->leave = guest_leaves;
	port->names = names;
	port->table = table;
	port->count = count;
	port->app_fs = ckpti_fs_get();
	r = make_stack(program, port, guest_env, &im, &linker, &sp);
	if (r < 0) {
		r = ckpti_err(err, r, "no stack for the guest: %s", strerror(-r));
		goto out;
	}
	save_words(&words);
	__atomic_store_n(&guest_loader_tid, gettid(), __ATOMIC_SEQ_CST);
	ckpti_guest_start(linker.entry, sp, port);
	restore_words(&words);
	__atomic_store_n(&guest_loader_tid, 0, __ATOMIC_SEQ_CST);
	if (!port->service_fs)
		r = ckpti_err(err, -EAGAIN, "the guest cannot make a thread");
	else
		r = guest_thread_first(port, err);
out:
	free(guest_env);
	return r;
}

void ckpti_guest_lost(void)
{
	ckpti_guest_port = NULL;
	guest_loader_tid = 0;
	guest_thread_lost();
	guest_fd_reset(1024);
}

void ckpti_guest_drop(void)
{
	if (!ckpti_guest_port)
		return;
	ckpti_guest_port = NULL;
	for (int fd = 0; fd < 65536; fd++)
		if (ckpti_guest_has_fd(fd))
			ckpti_guest_fd_close(fd); /* libc's close() would not see it */
	(void)munmap((void *)CKPTI_GUEST_BASE, CKPTI_GUEST_SIZE);
	guest_thread_forget();
}
