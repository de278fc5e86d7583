/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a restart must find again: processor features, the size of the saved register state, the
 * kernel's vdso.  Compared before anything is started.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "arch/cpu.h"
#include "core/capture.h"

static void read_line(const char *path, const char *key, char *buf, size_t size)
{
	char line[256];
	FILE *f = fopen(path, "re");

	buf[0] = 0;
	while (f && fgets(line, sizeof(line), f)) {
		const char *p = line;

		if (key && strncmp(line, key, strlen(key)) != 0)
			continue;
		if (key) {
			p = strchr(line, ':');
			p = p ? p + 1 : line;
			while (*p == ' ' || *p == '\t')
				p++;
		}
		(void)snprintf(buf, size, "%.*s", (int)size - 1, p);
		buf[strcspn(buf, "\n")] = 0;
		break;
	}
	if (f)
		(void)fclose(f);
}

/* The vdso of this very process: all processes of a kernel have the same. */
static uint64_t vdso_hash(uint64_t *ret_size)
{
	const uint8_t *base = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)base;
	uint64_t end = 0;

	*ret_size = 0;
	if (!base)
		return 0;
	/* Section headers stand last in the vdso's image. */
	end = eh->e_shoff + (uint64_t)eh->e_shnum * eh->e_shentsize;
	*ret_size = (end + 4095) & ~4095ULL;
	return ckpti_hash64(base, end);
}

static void fill(struct ckpti_r_machine *m)
{
	memset(m, 0, sizeof(*m));
	m->arch = ARCH_ELF_MACHINE;
	m->page_size = (uint32_t)sysconf(_SC_PAGESIZE);
	m->hwcap = getauxval(AT_HWCAP);
	m->hwcap2 = getauxval(AT_HWCAP2);
	m->cpu_words = arch_cpu_features(m->cpu, 16, &m->xcr0, &m->xsave_size);
	m->vdso_hash = vdso_hash(&m->vdso_size);
}

int ckpti_machine_record(struct ckpti_image *img, struct ckpti_err *err)
{
	struct ckpti_r_machine m;
	struct utsname uts;
	char cpu[128], boot[64];
	const char *strs[3] = {uts.release, cpu, boot};
	int r;

	fill(&m);
	(void)uname(&uts);
	read_line("/proc/cpuinfo", "model name", cpu, sizeof(cpu));
	read_line("/proc/sys/kernel/random/boot_id", NULL, boot, sizeof(boot));
	r = ckpti_image_add(img, CKPTI_R_MACHINE, &m, sizeof(m), strs, 3, NULL, 0, 0);
	return r < 0 ? ckpti_err(err, r, "out of memory") : 0;
}

int ckpti_machine_check(const struct ckpti_image *img, struct ckpti_err *err)
{
	struct ckpti_r_machine then, now;
	struct ckpti_view v;
	uint32_t missing;

	if (!ckpti_image_first(img, CKPTI_R_MACHINE, &v))
		return ckpti_err(err, -EBADMSG, "the statefile does not describe its machine");
	CKPTI_FIXED(&v, &then);
	fill(&now);
	if (then.arch != now.arch)
		return ckpti_err(err, -ENOEXEC,
				 "the image is of another processor architecture (%u)", then.arch);
	if (then.page_size != now.page_size)
		return ckpti_err(err, -ENOEXEC, "the image has pages of %u bytes, this machine %u",
				 then.page_size, now.page_size);
	for (uint32_t i = 0; i < then.cpu_words && i < 16; i++) {
		missing = then.cpu[i] & ~now.cpu[i];
		if (missing)
			return ckpti_err(err, -ENOEXEC,
					 "this processor lacks features that the programs may use "
					 "(%s): the image was made on '%s'",
					 arch_cpu_feature_name(i, missing), ckpti_view_str(&v, 1));
	}
	if ((then.xcr0 & ~now.xcr0) || then.xsave_size > now.xsave_size)
		return ckpti_err(err, -ENOEXEC,
				 "this processor saves less register state (%u bytes, XCR0 %" PRIx64
				 ") than the image needs (%u, %" PRIx64 ")",
				 now.xsave_size, now.xcr0, then.xsave_size, then.xcr0);
	if (then.vdso_hash != now.vdso_hash || then.vdso_size != now.vdso_size)
		return ckpti_err(
			err, -ENOEXEC,
			"this kernel has another vdso than kernel %s of the image; restart "
			"under the same kernel build",
			ckpti_view_str(&v, 0));
	return 0;
}
