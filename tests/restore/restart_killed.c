/* SPDX-License-Identifier: BSD-3-Clause */
/* Parent and child that leave a mark every few milliseconds; memory to make the restart take its time. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE (96UL << 20)

int main(void)
{
	char *memory = malloc(SIZE);

	if (!memory)
		return 1;
	memset(memory, 'x', SIZE);
	if (fork() != 0)
		(void)!write(STDOUT_FILENO, "ready\n", 6);
	for (;;) {
		if (write(STDOUT_FILENO, "tick\n", 5) < 0)
			return 2;
		(void)usleep(5000);
	}
}
