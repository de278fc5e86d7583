/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpr verify: read everything that a checkpoint consists of and compare it with its checksums.  All
 * generations of a directory are checked, unless one is named.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd.h"
#include "json.h"
#include "mpirun.h"
#include "text.h"

struct verify {
	const struct ckpti_cmd_opts *o;
	struct ckpti_json j;
	int status; /* the worst so far */
};

static uint64_t extents_bytes(const struct ckpti_image *img)
{
	struct ckpti_e_extent e;
	struct ckpti_view v;
	uint64_t sum = 0;
	size_t pos = 0;

	while (ckpti_image_next(img, &pos, &v) == 1) {
		for (uint64_t i = 0; v.type == CKPTI_R_EXTENTS && i < v.count; i++) {
			CKPTI_ELEM(&v, i, &e);
			sum += e.len;
		}
	}
	return sum;
}

static void tell(struct verify *vf, const char *dir, uint64_t gen, uint64_t bytes, int r,
		 const struct ckpti_err *err)
{
	char buf[16];

	if (vf->o->json) {
		ckpti_json_open(&vf->j, NULL, '{');
		ckpti_json_str(&vf->j, "directory", dir);
		if (gen)
			ckpti_json_u64(&vf->j, "generation", gen);
		ckpti_json_bool(&vf->j, "ok", r == 0);
		ckpti_json_u64(&vf->j, "bytes", bytes);
		if (r < 0)
			ckpti_json_str(&vf->j, "error", err->text);
		ckpti_json_close(&vf->j, '}');
	} else if (r == 0 && !vf->o->quiet) {
		(void)printf("%s: generation %" PRIu64 ": ok, %s checked\n", dir, gen,
			     ckpti_text_bytes(bytes, buf));
	}
	if (r < 0) {
		int one = ckpti_report_error(vf->o, r, err);

		vf->status = one > vf->status ? one : vf->status;
	}
}

static void verify_generation(struct verify *vf, struct ckpti_store *st, const char *dir,
			      uint64_t gen)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_image img;
	uint64_t bytes = 0;
	int r;

	ckpti_image_init(&img);
	r = ckpti_store_load(st, gen, &img, &err);
	if (r == 0) {
		bytes = extents_bytes(&img);
		r = ckpti_store_verify(st, &img, NULL, NULL, ckpti_report_progress(vf->o), NULL,
				       &err);
	}
	tell(vf, dir, gen, bytes, r, &err);
	ckpti_image_free(&img);
}

static void verify_statefile(struct verify *vf, const char *dir, uint64_t generation)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_store *st = NULL;
	uint64_t *gens = NULL;
	size_t n;
	int r;

	r = ckpti_store_open_read(dir, &st, &err);
	if (r < 0)
		goto out;
	if (generation) {
		verify_generation(vf, st, dir, generation);
		goto out;
	}
	n = ckpti_store_list(st, NULL, 0);
	gens = calloc(n + 1, sizeof(*gens));
	if (!gens) {
		r = -ENOMEM;
		goto out;
	}
	(void)ckpti_store_list(st, gens, n);
	for (size_t i = 0; i < n; i++)
		verify_generation(vf, st, dir, gens[i]);
out:
	if (r < 0)
		tell(vf, dir, 0, 0, r, &err);
	free(gens);
	ckpti_store_close(st);
}

static void verify_dir(struct verify *vf, const char *dir)
{
	struct ckpti_mpirun_record rec;
	struct ckpti_err err = {.code = 0};
	uint64_t generation = vf->o->generation;
	int r;

	if (!ckpti_mpirun_is_dir(dir)) {
		verify_statefile(vf, dir, generation);
		return;
	}
	r = ckpti_mpirun_load(dir, generation, &rec, &err);
	if (r < 0)
		tell(vf, dir, generation, 0, r, &err);
	for (size_t i = 0; i < rec.nranks; i++) {
		char *rank = ckpti_mpirun_rank_dir(dir, i);

		if (rank)
			verify_statefile(vf, rank, generation ? rec.rank[i] : 0);
		free(rank);
	}
	ckpti_mpirun_record_free(&rec);
}

int ckpti_cmd_verify(const struct ckpti_cmd_opts *o)
{
	struct verify vf = {.o = o, .j = {.f = stdout}};

	if (o->json)
		ckpti_json_open(&vf.j, NULL, '[');
	for (int i = 0; i < o->nargs; i++)
		verify_dir(&vf, o->args[i]);
	if (o->json) {
		ckpti_json_close(&vf.j, ']');
		(void)ckpti_json_end(&vf.j); /* main() notices a failed write */
	}
	return vf.status;
}
