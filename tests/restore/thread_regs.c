/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers that are live in a loop that makes no call: general ones, SSE, AVX, AVX-512 with its masks,
 * MXCSR and the x87 control word.  One thread for each set that the processor has; the loop leaves when
 * a word in memory changes and stores what it then finds.
 */
#include <cpuid.h>
#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "t.h"

static atomic_uint stop;
static atomic_int standing;

static void *sse(void *arg)
{
	unsigned char in[256] __attribute__((aligned(64)));
	unsigned char out[256] __attribute__((aligned(64)));

	t_fill(in, sizeof(in), t_token() + 1);
	memset(out, 0, sizeof(out));
	atomic_fetch_add(&standing, 1);
	__asm__ volatile("movaps 0(%[in]), %%xmm0\n\tmovaps 16(%[in]), %%xmm1\n\t"
			 "movaps 32(%[in]), %%xmm2\n\tmovaps 48(%[in]), %%xmm3\n\t"
			 "movaps 64(%[in]), %%xmm4\n\tmovaps 80(%[in]), %%xmm5\n\t"
			 "movaps 96(%[in]), %%xmm6\n\tmovaps 112(%[in]), %%xmm7\n\t"
			 "movaps 128(%[in]), %%xmm8\n\tmovaps 144(%[in]), %%xmm9\n\t"
			 "movaps 160(%[in]), %%xmm10\n\tmovaps 176(%[in]), %%xmm11\n\t"
			 "movaps 192(%[in]), %%xmm12\n\tmovaps 208(%[in]), %%xmm13\n\t"
			 "movaps 224(%[in]), %%xmm14\n\tmovaps 240(%[in]), %%xmm15\n\t"
			 "1: pause\n\tcmpl $0, %[stop]\n\tjz 1b\n\t"
			 "movaps %%xmm0, 0(%[out])\n\tmovaps %%xmm1, 16(%[out])\n\t"
			 "movaps %%xmm2, 32(%[out])\n\tmovaps %%xmm3, 48(%[out])\n\t"
			 "movaps %%xmm4, 64(%[out])\n\tmovaps %%xmm5, 80(%[out])\n\t"
			 "movaps %%xmm6, 96(%[out])\n\tmovaps %%xmm7, 112(%[out])\n\t"
			 "movaps %%xmm8, 128(%[out])\n\tmovaps %%xmm9, 144(%[out])\n\t"
			 "movaps %%xmm10, 160(%[out])\n\tmovaps %%xmm11, 176(%[out])\n\t"
			 "movaps %%xmm12, 192(%[out])\n\tmovaps %%xmm13, 208(%[out])\n\t"
			 "movaps %%xmm14, 224(%[out])\n\tmovaps %%xmm15, 240(%[out])\n\t"
			 :
			 : [in] "r"(in), [out] "r"(out), [stop] "m"(stop)
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15");
	t_check(memcmp(in, out, sizeof(in)) == 0, "SSE registers differ");
	return arg;
}

static __attribute__((target("avx"))) void *avx(void *arg)
{
	unsigned char in[128] __attribute__((aligned(64)));
	unsigned char out[128] __attribute__((aligned(64)));

	t_fill(in, sizeof(in), t_token() + 2);
	memset(out, 0, sizeof(out));
	atomic_fetch_add(&standing, 1);
	__asm__ volatile("vmovaps 0(%[in]), %%ymm0\n\tvmovaps 32(%[in]), %%ymm5\n\t"
			 "vmovaps 64(%[in]), %%ymm10\n\tvmovaps 96(%[in]), %%ymm15\n\t"
			 "1: pause\n\tcmpl $0, %[stop]\n\tjz 1b\n\t"
			 "vmovaps %%ymm0, 0(%[out])\n\tvmovaps %%ymm5, 32(%[out])\n\t"
			 "vmovaps %%ymm10, 64(%[out])\n\tvmovaps %%ymm15, 96(%[out])\n\t"
			 "vzeroupper\n\t"
			 :
			 : [in] "r"(in), [out] "r"(out), [stop] "m"(stop)
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15");
	t_check(memcmp(in, out, sizeof(in)) == 0, "AVX registers differ");
	return arg;
}

static __attribute__((target("avx512f,avx512bw"))) void *avx512(void *arg)
{
	unsigned char in[256 + 16] __attribute__((aligned(64)));
	unsigned char out[256 + 16] __attribute__((aligned(64)));

	t_fill(in, sizeof(in), t_token() + 3);
	memset(out, 0, sizeof(out));
	atomic_fetch_add(&standing, 1);
	__asm__ volatile("vmovdqa64 0(%[in]), %%zmm0\n\tvmovdqa64 64(%[in]), %%zmm15\n\t"
			 "vmovdqa64 128(%[in]), %%zmm16\n\tvmovdqa64 192(%[in]), %%zmm31\n\t"
			 "kmovq 256(%[in]), %%k1\n\tkmovq 264(%[in]), %%k7\n\t"
			 "1: pause\n\tcmpl $0, %[stop]\n\tjz 1b\n\t"
			 "vmovdqa64 %%zmm0, 0(%[out])\n\tvmovdqa64 %%zmm15, 64(%[out])\n\t"
			 "vmovdqa64 %%zmm16, 128(%[out])\n\tvmovdqa64 %%zmm31, 192(%[out])\n\t"
			 "kmovq %%k1, 256(%[out])\n\tkmovq %%k7, 264(%[out])\n\t"
			 "vzeroupper\n\t"
			 :
			 : [in] "r"(in), [out] "r"(out), [stop] "m"(stop)
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15", "xmm16", "xmm31", "k1", "k7");
	t_check(memcmp(in, out, sizeof(in)) == 0, "AVX-512 registers differ");
	return arg;
}

static void *general(void *arg)
{
	uint64_t in[8], out[8];

	t_fill(in, sizeof(in), t_token() + 4);
	memset(out, 0, sizeof(out));
	atomic_fetch_add(&standing, 1);
	__asm__ volatile(
		"movq 0(%[in]), %%r8\n\tmovq 8(%[in]), %%r9\n\tmovq 16(%[in]), %%r10\n\t"
		"movq 24(%[in]), %%r11\n\tmovq 32(%[in]), %%r12\n\t"
		"movq 40(%[in]), %%r13\n\tmovq 48(%[in]), %%r14\n\tmovq 56(%[in]), %%r15\n\t"
		"1: pause\n\tcmpl $0, %[stop]\n\tjz 1b\n\t"
		"movq %%r8, 0(%[out])\n\tmovq %%r9, 8(%[out])\n\tmovq %%r10, 16(%[out])\n\t"
		"movq %%r11, 24(%[out])\n\tmovq %%r12, 32(%[out])\n\t"
		"movq %%r13, 40(%[out])\n\tmovq %%r14, 48(%[out])\n\t"
		"movq %%r15, 56(%[out])\n\t"
		:
		: [in] "S"(in), [out] "D"(out), [stop] "m"(stop)
		: "memory", "cc", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15");
	t_check(memcmp(in, out, sizeof(in)) == 0, "general registers differ");
	return arg;
}

/* Rounding mode in both units, a value on the x87 stack, a pending exception flag. */
static void *floating(void *arg)
{
	double seven = 7.0, sum = 0;
	long double kept = 1.0L / (long double)(t_token() | 1), left;
	uint32_t mxcsr, after;
	uint16_t cw, cw_after;

	(void)fesetround(FE_UPWARD);
	(void)feraiseexcept(FE_INEXACT);
	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(cw));
	atomic_fetch_add(&standing, 1);
	__asm__ volatile("fldt %[kept]\n\t"
			 "1: pause\n\tcmpl $0, %[stop]\n\tjz 1b\n\t"
			 "fstpt %[left]\n\t"
			 : [left] "=m"(left)
			 : [kept] "m"(kept), [stop] "m"(stop)
			 : "memory", "cc", "st");
	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(after), "=m"(cw_after));
	t_check(memcmp(&kept, &left, 10) == 0, "a value on the x87 stack differs");
	t_check(mxcsr == after, "MXCSR is %#x, was %#x", after, mxcsr);
	t_check(cw == cw_after, "the x87 control word is %#x, was %#x", cw_after, cw);
	for (int i = 0; i < 3; i++) {
		volatile double third = 1.0 / seven;

		sum += third;
	}
	t_check(fegetround() == FE_UPWARD && sum * seven > 3.0, "numbers are not rounded up");
	return arg;
}

static int has_avx512(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

int main(void)
{
	pthread_t thread[5];
	int n = 0;

	t_start();
	(void)pthread_create(&thread[n++], NULL, general, NULL);
	(void)pthread_create(&thread[n++], NULL, sse, NULL);
	(void)pthread_create(&thread[n++], NULL, floating, NULL);
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx"))
		(void)pthread_create(&thread[n++], NULL, avx, NULL);
	if (has_avx512())
		(void)pthread_create(&thread[n++], NULL, avx512, NULL);
	while (atomic_load(&standing) < n)
		t_sleep_ms(1);
	t_sleep_ms(100); /* the last one loads its registers */
	t_ready();
	atomic_store(&stop, 1);
	for (int i = 0; i < n; i++)
		(void)pthread_join(thread[i], NULL);
	t_done();
}
