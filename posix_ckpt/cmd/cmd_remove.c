/* SPDX-License-Identifier: BSD-3-Clause */
/* cpr -D: delete checkpoint directories.  One that fails does not keep the others. */
#include "cmd.h"
#include "mpirun.h"

int ckpti_cmd_remove(const struct ckpti_cmd_opts *o)
{
	int status = CKPTI_EXIT_OK;

	for (int i = 0; i < o->nargs; i++) {
		struct ckpti_err err = {.code = 0};
		int r = ckpti_mpirun_is_dir(o->args[i]) ? ckpti_mpirun_remove(o->args[i], &err)
							: ckpti_store_remove(o->args[i], &err);

		if (r < 0) {
			int one = ckpti_report_error(o, r, &err);

			status = one > status ? one : status;
		}
	}
	return status;
}
