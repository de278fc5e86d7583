/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arguments of our line in plugstack.conf:
 *
 *     optional spank_ckpt.so libexec=DIR bindir=DIR libdir=DIR mpidir=DIR config=FILE always
 *
 * All have defaults from the installation.  They are read again in each callback, which gets them from Slurm.
 */
#include <stdlib.h>
#include <string.h>

#include "spank/plugin/plugin.h"

void ckpti_plugin_conf(int argc, char *argv[], struct ckpti_plugin_conf *ret)
{
	struct ckpti_plugin_conf c = {.libexec = CKPT_SPANK_LIBEXEC,
				      .bindir = CKPT_SPANK_BINDIR,
				      .libdir = CKPT_LIBDIR,
				      .mpidir = CKPT_LIBDIR "/ckpt-mpi",
				      .config = CKPT_SPANK_CONFIG};
	const struct {
		const char *key;
		const char **value;
	} table[] = {{"libexec=", &c.libexec},
		     {"bindir=", &c.bindir},
		     {"libdir=", &c.libdir},
		     {"mpidir=", &c.mpidir},
		     {"config=", &c.config}};
	const size_t n = sizeof(table) / sizeof(table[0]);

	for (int i = 0; i < argc; i++) {
		size_t k = 0;

		while (k < n && strncmp(argv[i], table[k].key, strlen(table[k].key)) != 0)
			k++;
		if (k < n)
			*table[k].value = argv[i] + strlen(table[k].key);
		else if (strcmp(argv[i], "always") == 0)
			c.always = true;
		else
			c.unknown = argv[i];
	}
	*ret = c;
}

int ckpti_plugin_exit_error(void)
{
	const char *text = getenv("SLURM_EXIT_ERROR");
	int code = text ? atoi(text) : 0;

	return code > 0 && code < 256 ? code : 1;
}
