/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of srun or sbatch itself: SPANK shows options of its plugins only. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spank/plugin/plugin.h"

#define MAX_LENGTH (1U << 20)

static int read_all(int fd, char **ret, size_t *ret_len)
{
	char *text = malloc(MAX_LENGTH + 1);
	size_t len = 0;
	ssize_t n = 1;

	if (!text)
		return -ENOMEM;
	while (n > 0 && len < MAX_LENGTH) {
		n = read(fd, text + len, MAX_LENGTH - len);
		if (n > 0)
			len += (size_t)n;
	}
	if (n < 0 || len == MAX_LENGTH) {
		free(text);
		return n < 0 ? -EIO : -E2BIG;
	}
	text[len] = '\0';
	*ret = text;
	*ret_len = len;
	return 0;
}

int ckpti_cmdline_read(struct ckpti_cmdline *ret)
{
	struct ckpti_cmdline c = {0};
	size_t len = 0, words = 0;
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = read_all(fd, &c.text, &len);
	(void)close(fd);
	if (r < 0)
		return r;
	for (size_t i = 0; i < len; i++)
		words += c.text[i] == '\0';
	c.word = calloc(words + 1, sizeof(*c.word));
	if (!c.word) {
		free(c.text);
		return -ENOMEM;
	}
	for (char *p = c.text; (size_t)c.n < words; p += strlen(p) + 1)
		c.word[c.n++] = p;
	*ret = c;
	return 0;
}

void ckpti_cmdline_free(struct ckpti_cmdline *c)
{
	free(c->word);
	free(c->text);
	*c = (struct ckpti_cmdline){0};
}

bool ckpti_cmdline_is(const char *word, const char *name, size_t min)
{
	size_t len = strcspn(word, "=");

	return len >= min && len <= strlen(name) && strncmp(word, name, len) == 0;
}
