/* SPDX-License-Identifier: BSD-3-Clause */
/* usage: plugin_manifest EPOCH STATE... -- a manifest on stdout; for each rank gGENERATION, pGENERATION or sSTATUS */
#include <stdio.h>
#include <stdlib.h>

#include "spank/lib/step_private.h"

int main(int argc, char *argv[])
{
	struct ckpti_manifest m = {.generation = 1, .ctime = 1, .reason = "interval"};
	char *text;
	size_t len;

	if (argc < 3)
		return 2;
	m.epoch = (uint32_t)atoi(argv[1]);
	m.ntasks = (uint32_t)argc - 2;
	m.task = calloc(m.ntasks, sizeof(*m.task));
	if (!m.task)
		return 1;
	for (uint32_t i = 0; i < m.ntasks; i++) {
		const char *what = argv[2 + i];

		if (what[0] == 'g' || what[0] == 'p') {
			m.task[i].state = CKPTI_TASK_LIVE;
			m.task[i].puts = what[0] == 'p';
			m.task[i].generation = (uint64_t)atoi(what + 1);
		} else {
			m.task[i].state = CKPTI_TASK_ENDED;
			m.task[i].status = atoi(what + 1);
		}
	}
	if (ckpti_manifest_write(&m, &text, &len) < 0)
		return 1;
	(void)fwrite(text, 1, len, stdout);
	free(text);
	ckpti_manifest_free(&m);
	return 0;
}
