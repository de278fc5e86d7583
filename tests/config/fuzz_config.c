/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of settings: any bytes are either refused in one line with a position, or what is printed
 * of the settings reads as the same settings.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int ok)
{
	if (!ok)
		abort();
}

static void check_refused(const struct ckpti_err *err, int code)
{
	unsigned line, col;
	int end = 0;

	require(err->code == code);
	require(sscanf(err->text, "f:%u:%u: %n", &line, &col, &end) == 2 && end > 0);
	require(line >= 1 && col >= 1);
	for (const char *p = err->text; *p; p++)
		require((unsigned char)*p >= ' ');
}

static void start(struct ckpti_config *c)
{
	struct ckpti_err err = {.code = 0};

	memset(c, 0, sizeof(*c));
	require(ckpti_config_defaults(c, &err) == 0);
	free(c->site_path);
	c->site_path = strdup("f");
	require(c->site_path != NULL);
}

/* The settings without the comments, which tell lines.  To be freed. */
static char *print(const struct ckpti_config *c)
{
	char *text = NULL, *to, *from, *eol, *p, *comment;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	require(f != NULL);
	ckpti_print_values(f, c, CKPTI_BY_SITE);
	require(fclose(f) == 0);
	for (to = from = text; *from; from = eol + 1) {
		eol = strchr(from, '\n');
		require(eol != NULL);
		*eol = '\0';
		comment = eol;
		for (p = from; (p = strstr(p, "  # ")); p++)
			comment = p;
		memmove(to, from, (size_t)(comment - from));
		to += comment - from;
		*to++ = '\n';
	}
	*to = '\0';
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_config c, again;
	char *text, *second;
	int r;

	start(&c);
	r = ckpti_yaml_read(&c, CKPTI_CONFIG_USER, "f", (const char *)data, size, &err);
	if (r < 0)
		check_refused(&err, r);
	ckpti_config_free(&c);

	err = (struct ckpti_err){.code = 0};
	start(&c);
	r = ckpti_yaml_read(&c, CKPTI_CONFIG_SITE, "f", (const char *)data, size, &err);
	if (r < 0) {
		check_refused(&err, r);
	} else {
		(void)ckpti_config_check(&c, &err);
		text = print(&c);
		start(&again);
		err = (struct ckpti_err){.code = 0};
		require(ckpti_yaml_read(&again, CKPTI_CONFIG_SITE, "f", text, strlen(text), &err) ==
			0);
		second = print(&again);
		require(strcmp(text, second) == 0);
		free(text);
		free(second);
		ckpti_config_free(&again);
	}
	ckpti_config_free(&c);
	return 0;
}
