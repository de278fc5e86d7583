/* SPDX-License-Identifier: BSD-3-Clause */
/* usage: step_static SECONDS: sleeps so long and says "end".  Linked statically, so libckpt is not in it. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned left = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;

	while (left > 0)
		left = sleep(left);
	return puts("end") < 0;
}
