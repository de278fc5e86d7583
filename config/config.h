/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Settings of site, user and job: YAML files that one table (schema.c) describes.  The same table
 * makes the man page ckpt.yaml(5) and the commented examples; what each field means is said there,
 * once.
 *
 * A file is believed whole or not at all: an unknown key, a value out of range or something that
 * the writer of the file may not set is an error, "FILE:LINE:COLUMN: text".  A missing file is no
 * error.
 */
#ifndef CKPT_CONFIG_CONFIG_H
#define CKPT_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

#define CKPTI_CONFIG_NEVER    UINT64_MAX       /* of a time: never, unlimited */
#define CKPTI_CONFIG_AUTO     (UINT64_MAX - 1) /* of interval: chosen by the coordinator */
#define CKPTI_CONFIG_MAX_KEYS 64

enum ckpti_config_pids {
	CKPTI_PIDS_USERNS,
	CKPTI_PIDS_OFF
};
enum ckpti_config_groups {
	CKPTI_GROUPS_ALLOW,
	CKPTI_GROUPS_NEW_PIDS,
	CKPTI_GROUPS_REFUSE
};
enum ckpti_config_auth {
	CKPTI_AUTH_MUNGE
};
enum ckpti_config_log {
	CKPTI_LOG_SYSLOG,
	CKPTI_LOG_NONE
};

struct ckpti_config_list {
	char **item;
	size_t n;
};

/* A part of the whole, or bytes: one of the two is 0. */
struct ckpti_config_reserve {
	uint64_t bytes;
	unsigned percent;
};

struct ckpti_config_ports {
	unsigned low, high; /* both 0: SrunPortRange of Slurm */
};

enum ckpti_config_source {
	CKPTI_CONFIG_DEFAULT,
	CKPTI_CONFIG_SITE,
	CKPTI_CONFIG_USER,
	CKPTI_CONFIG_JOB,
};

struct ckpti_config_origin {
	enum ckpti_config_source source;
	unsigned line, column; /* of SITE and USER */
};

/* Times are seconds.  Strings are never NULL, "" when not set.  In the order of the table. */
struct ckpti_config {
	/* what is done at all, and where */
	bool disabled;
	struct ckpti_config_list directories; /* absolute; empty: anywhere */
	char *directory;                      /* pattern with %j %s %u %n; relative: to the job's */

	/* when, and how much is kept */
	uint64_t interval; /* or NEVER, AUTO */
	uint64_t min_interval;
	uint64_t node_mtbf;
	unsigned jitter; /* percent */
	unsigned keep, max_keep;
	uint64_t expire; /* or NEVER */
	bool delete_on_success;
	struct ckpti_config_list file_policy; /* GLOB=ACTION of cpr --file-policy */
	uint64_t copy_limit;                  /* bytes */
	unsigned signal;                      /* number; 0: none */
	bool incremental;

	/* limits of a round */
	unsigned writers; /* tasks of a node, 0: no limit */
	char *site_writers_directory;
	unsigned site_writers_count; /* 0: no limit */
	struct ckpti_config_reserve reserve;
	struct ckpti_config_reserve memory_reserve;
	struct ckpti_config_list node_local; /* absolute */
	uint64_t heartbeat, silence;
	uint64_t muster_timeout, write_timeout;
	uint64_t max_wait; /* of `scontrol checkpoint` without MaxWait= */
	unsigned parallel; /* jobs at once in a request for many */

	/* restart */
	enum ckpti_config_pids restart_pids;
	enum ckpti_config_groups restart_groups;
	uint64_t fence;
	unsigned max_restarts;
	bool skip_done;

	/* end of a job */
	bool requeue_at_end;
	uint64_t end_margin;
	uint64_t end_poll;
	uint64_t requeue_wait;
	unsigned exit_code;

	/* the world outside */
	enum ckpti_config_auth auth;
	struct ckpti_config_ports ports;
	enum ckpti_config_log log;
	bool comment;
	bool quiet;
	char *hook; /* program of the user, "" none */
	uint64_t hook_timeout;

	/* Where each value comes from, by the row of the table; see ckpti_config_origin(). */
	char *site_path, *user_path; /* as given; "" when there was no such file */
	struct ckpti_config_origin origin[CKPTI_CONFIG_MAX_KEYS];
};

/* Where the site's file is when nobody says otherwise: below the sysconfdir of the build. */
extern const char ckpti_config_site_path[];
/* ~/.config/ckpt.yaml with the home directory that the password database has for geteuid();
 * -ENOENT: it has no such user, who then has no file either. */
int ckpti_config_user_path(char *ret, size_t size, struct ckpti_err *err);

/*
 * Defaults, then the site's file, then the user's.  NULL for a path: no such file.  The site's must
 * be root's or the caller's (geteuid()), the user's the caller's, and neither writable by others
 * (-EPERM). Values are within what the site allows when it returns 0.  *ret needs
 * ckpti_config_free() then.
 */
int ckpti_config_load(const char *site_path, const char *user_path, struct ckpti_config *ret,
		      struct ckpti_err *err);
void ckpti_config_free(struct ckpti_config *c);

/*
 * An option of the job by the name of its key, with a value as the file would have it ("interval",
 * "30s"); lists grow by it.  -EPERM: jobs may not set this key; -ERANGE: beyond what the site
 * allows.  *c is unchanged on failure.  `option` is how messages call it ("--checkpoint").
 */
int ckpti_config_set_job(struct ckpti_config *c, const char *option, const char *key,
			 const char *value, struct ckpti_err *err);

/*
 * The job's demands against the site's limits; for callers that hold numbers.  -ERANGE with a text
 * for people.  The directory is absolute and expanded; symbolic links in it are followed as far as
 * it exists.  A NULL directory, a keep of 0 and an interval of 0 are not looked at.
 */
int ckpti_config_check_job(const struct ckpti_config *c, uint64_t interval, unsigned keep,
			   const char *directory, struct ckpti_err *err);

/* Times as Slurm writes them (a plain number is minutes), or with units: 30s 5m 2h 1d; and never,
 * auto.  Seconds; 0 or -EINVAL. */
int ckpti_config_seconds(const char *text, uint64_t *ret);

/* Where the value of a key comes from; NULL when there is no such key. */
const struct ckpti_config_origin *ckpti_config_origin(const struct ckpti_config *c,
						      const char *key);

#endif
