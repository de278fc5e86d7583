/* SPDX-License-Identifier: BSD-3-Clause */
/* x86-64: processor features by cpuid; word meanings are part of docs/format/image-v1.md. */
#ifndef CKPT_ARCH_X86_64_CPU_H
#define CKPT_ARCH_X86_64_CPU_H

#include <cpuid.h>
#include <stdint.h>
#include <string.h>

/* Bits that describe the machine's state at this moment or its topology, not an instruction set. */
#define ARCH_LEAF1_ECX_IGNORED ((1U << 3) | (1U << 15) | (1U << 31)) /* monitor, pdcm, hypervisor */

static inline uint32_t arch_cpu_features(uint32_t *word, uint32_t n, uint64_t *xcr0,
					 uint32_t *xsave_size)
{
	uint32_t a, b, c, d;

	memset(word, 0, n * sizeof(*word));
	*xcr0 = 0;
	*xsave_size = 0;
	if (n < 9 || !__get_cpuid(1, &a, &b, &c, &d))
		return 0;
	word[0] = d;
	word[1] = c & ~ARCH_LEAF1_ECX_IGNORED;
	if (c & bit_OSXSAVE) {
		__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
		*xcr0 = (uint64_t)d << 32 | a;
	}
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		word[2] = b;
		word[3] = c & ~(1U << 22); /* rdpid is emulated through the vdso's choice */
		word[4] =
			d & 0x03c1411cU; /* instruction sets only: avx512*, serialize, amx, fsrm */
	}
	if (__get_cpuid_count(7, 1, &a, &b, &c, &d))
		word[5] = a & 0x00000c30U; /* avx-vnni, avx512-bf16 … */
	if (__get_cpuid_count(0xd, 0, &a, &b, &c, &d))
		*xsave_size = b;
	if (__get_cpuid_count(0xd, 1, &a, &b, &c, &d))
		word[6] = a & 0xfU; /* xsaveopt, xsavec, xgetbv1, xsaves */
	if (__get_cpuid(0x80000001, &a, &b, &c, &d)) {
		word[7] = d;
		word[8] = c & 0x002109e1U; /* lahf, abm, sse4a, misaligned sse, xop, fma4, tbm … */
	}
	return 9;
}

static inline const char *arch_cpu_feature_name(uint32_t word, uint32_t bits)
{
	static const struct {
		uint32_t word;
		uint32_t bit;
		const char *name;
	} names[] = {
		{1, 12, "fma"},      {1, 19, "sse4.1"},     {1, 20, "sse4.2"},
		{1, 23, "popcnt"},   {1, 25, "aes"},        {1, 28, "avx"},
		{2, 3, "bmi1"},      {2, 5, "avx2"},        {2, 8, "bmi2"},
		{2, 16, "avx512f"},  {2, 17, "avx512dq"},   {2, 19, "adx"},
		{2, 28, "avx512cd"}, {2, 29, "sha"},        {2, 30, "avx512bw"},
		{2, 31, "avx512vl"}, {3, 1, "avx512vbmi"},  {3, 8, "gfni"},
		{3, 9, "vaes"},      {3, 11, "avx512vnni"},
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].word == word && (bits >> names[i].bit & 1))
			return names[i].name;
	return "see MACHINE in cpr -i";
}

#endif
