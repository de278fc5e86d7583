/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the Slurm side reads and others write: kv text, frames, manifests (with a right check sum,
 * or none would ever get further than that), and what scontrol says.  Any bytes are either refused
 * or give something that can be written and read again with the same result.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "image/image.h"
#include "spank/lib/slurm_private.h"
#include "spank/lib/step_private.h"
#include "spank/lib/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int ok)
{
	if (!ok)
		abort();
}

/* Its own block, so that a read past the end is seen. */
static char *copy_of(const uint8_t *data, size_t size)
{
	char *copy = malloc(size ? size : 1);

	require(copy != NULL);
	memcpy(copy, data, size);
	return copy;
}

static void try_kv(const uint8_t *data, size_t size)
{
	char *copy = copy_of(data, size), *text;
	struct ckpti_kv kv, again;
	size_t len;

	ckpti_kv_init(&kv);
	ckpti_kv_init(&again);
	if (ckpti_kv_parse(&kv, copy, size) == 0) {
		require(ckpti_kv_write(&kv, &text, &len) == 0);
		/* There is one way to write each text. */
		require(len == size && memcmp(text, data, len) == 0);
		require(ckpti_kv_parse(&again, text, len) == 0 && again.n == kv.n);
		for (size_t i = 0; i < kv.n; i++)
			require(strcmp(ckpti_kv_get(&again, kv.pair[i].key, ""),
				       kv.pair[i].value) == 0);
		free(text);
	}
	ckpti_kv_free(&again);
	ckpti_kv_free(&kv);
	free(copy);
}

static void try_wire(const uint8_t *data, size_t size)
{
	struct ckpti_wire *w;
	struct ckpti_kv kv;
	size_t taken = 0, n;
	unsigned type;
	int fd[2], r = 0;

	require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0);
	w = ckpti_wire_new(fd[0]);
	require(w != NULL);
	while (r == 0 && taken < size) {
		n = size - taken < 16384 ? size - taken : 16384;
		require(write(fd[1], data + taken, n) == (ssize_t)n);
		taken += n;
		while ((r = ckpti_wire_recv(w, &type, &kv)) == 1) {
			require(type <= UINT16_MAX);
			ckpti_kv_free(&kv);
		}
	}
	close(fd[1]);
	if (r < 0)
		require(ckpti_wire_recv(w, &type, &kv) == r);
	else
		require(ckpti_wire_recv(w, &type, &kv) < 0);
	ckpti_wire_free(w);
}

static void try_manifest(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 32), *again;
	struct ckpti_manifest m, same;
	size_t len;

	require(text != NULL);
	memcpy(text, data, size);
	if (ckpti_manifest_parse(&m, text, size) == 0)
		ckpti_manifest_free(&m);
	len = size + (size_t)sprintf(text + size, "sum=%016llx\n",
				     (unsigned long long)ckpti_hash64(data, size));
	if (ckpti_manifest_parse(&m, text, len) == 0) {
		require(m.ntasks > 0 && m.task != NULL);
		for (uint32_t i = 0; i < m.ntasks; i++)
			require((m.task[i].generation > 0) == (m.task[i].state == CKPTI_TASK_LIVE));
		require(ckpti_manifest_write(&m, &again, &len) == 0);
		require(ckpti_manifest_parse(&same, again, len) == 0);
		require(same.ntasks == m.ntasks && same.generation == m.generation);
		require(memcmp(same.task, m.task, m.ntasks * sizeof(m.task[0])) == 0);
		ckpti_manifest_free(&same);
		ckpti_manifest_free(&m);
		free(again);
	}
	free(text);
}

static void try_scontrol(const uint8_t *data, size_t size)
{
	struct ckpti_slurm_step *step;
	struct ckpti_slurm_conf conf;
	struct ckpti_slurm_job job;
	char *text = malloc(size + 1);
	size_t n;

	require(text != NULL);
	for (int i = 0; i < 4; i++) {
		memcpy(text, data, size);
		text[size] = '\0';
		if (i < 2 && ckpti_slurm_parse_job(text, i ? 10 : 0, &job) == 0)
			require(i == 0 || job.job == 10);
		if (i == 2 && ckpti_slurm_parse_steps(text, "10", &step, &n) == 0)
			free(step);
		if (i == 3)
			ckpti_slurm_parse_conf(text, &conf);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_kv(data, size);
	try_wire(data, size);
	try_manifest(data, size);
	try_scontrol(data, size);
	return 0;
}
