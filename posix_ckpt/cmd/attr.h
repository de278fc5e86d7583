/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The attribute file of cpr ($CPR_FILE, $HOME/.cpr), described in cpr(5).  The grammar is that of the
 * old command; keywords are read in any case.
 *
 *   file  = { "CKPT" type id "{" { entry } "}" }
 *   type  = "PID" | "GID" | "SID" | "ASH" | "HID" | "SGP" | "JID" | "*"
 *   id    = number | "*"
 *   entry = "FILE" ":" string ":" action [ ";" ]
 *         | ( "WILL" | "CDIR" | "RDIR" | "FORK" ) ":" action [ ";" ]
 */
#ifndef CKPT_CMD_ATTR_H
#define CKPT_CMD_ATTR_H

#include <stdbool.h>
#include <stddef.h>

#include "core/core.h"
#include "state/state.h"
#include "util/err.h"

enum ckpti_attr_policy {
	CKPTI_ATTR_WILL,
	CKPTI_ATTR_CDIR,
	CKPTI_ATTR_RDIR,
	CKPTI_ATTR_FORK,
	CKPTI_ATTR_COUNT,
};

enum ckpti_attr_action {
	CKPTI_ATTR_UNSET = 0,
	CKPTI_ATTR_EXIT, /* WILL */
	CKPTI_ATTR_CONT,
	CKPTI_ATTR_KILL,
	CKPTI_ATTR_REPLACE, /* CDIR, RDIR */
	CKPTI_ATTR_IGNORE,
	CKPTI_ATTR_ORIGINAL, /* FORK */
	CKPTI_ATTR_ANY,
};

struct ckpti_attr_block {
	bool any_type, any_id;
	struct ckpti_target target;
	enum ckpti_attr_action action[CKPTI_ATTR_COUNT];
	struct ckpti_file_rule *rules; /* globs are malloc'ed */
	size_t nrules;
};

struct ckpti_attr {
	struct ckpti_attr_block *blocks;
	size_t nblocks;
};

/* What holds for a request: of the blocks that fit one of its targets, in the order of the file, the
 * first that sets a policy counts; file rules of all of them follow each other. */
struct ckpti_attr_choice {
	enum ckpti_attr_action action[CKPTI_ATTR_COUNT];
	struct ckpti_file_rule *rules; /* to be freed; the globs belong to the struct ckpti_attr */
	size_t nrules;
};

/* A pure function over buf.  -EINVAL: err says name:line:column and what was expected; -ENOMEM.  On
 * failure *ret is empty. */
int ckpti_attr_parse(const char *name, const char *buf, size_t len, struct ckpti_attr *ret,
		     struct ckpti_err *err);
void ckpti_attr_free(struct ckpti_attr *attr);

/* Reads $CPR_FILE, which must exist when it is set, else $HOME/.cpr, which need not. */
int ckpti_attr_load(struct ckpti_attr *ret, struct ckpti_err *err);

int ckpti_attr_select(const struct ckpti_attr *attr, const struct ckpti_target *target,
		      size_t ntarget, struct ckpti_attr_choice *ret);

#endif
