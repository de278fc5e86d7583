/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Program of the test `inherited`: answers each line of standard input with its number, on standard
 * output and, through duplicates, on standard error.  "token" asks for what only memory knows.
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

int main(void)
{
	unsigned long token = 0;
	char line[100];
	int out, err;

	if (getrandom(&token, sizeof(token), 0) != (ssize_t)sizeof(token))
		return 1;
	out = dup2(STDOUT_FILENO, 40);
	err = dup2(STDERR_FILENO, 41);
	for (int n = 1; n < 100; n++) {
		/* Without stdio, which would read ahead. */
		size_t len = 0;

		while (len < sizeof(line) - 1 && read(STDIN_FILENO, line + len, 1) == 1)
			if (line[len++] == '\n')
				break;
		line[len] = 0;
		if (!len)
			return 7;
		(void)dprintf(out, "%d %s", n, line);
		(void)dprintf(err, "e%d\n", n);
		if (strcmp(line, "token\n") == 0)
			(void)dprintf(STDOUT_FILENO, "%016lx\n", token);
	}
	return 1;
}
