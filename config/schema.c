/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every setting, once.  Parser, defaults, limits, man page, examples and `ckpt-config --help` are
 * all made from these rows: after a change here run `ninja config-update`.
 */
#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "config/schema.h"

#define S    CKPTI_BY_SITE
#define U    CKPTI_BY_USER
#define J    CKPTI_BY_JOB
#define MOST CKPTI_CEILING

#define MINUTE 60ULL
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define YEAR   (365 * DAY)

/* Offset of a field, which must be of this type: a row cannot write over its neighbours. */
#define FIELD(type, member)                                                            \
	(offsetof(struct ckpti_config, member) +                                       \
	 0 * sizeof(char[__builtin_types_compatible_p(                                 \
				 __typeof__(((struct ckpti_config *)0)->member), type) \
				 ? 1                                                   \
				 : -1]))

#define ROW(t, ctype, key, member) .name = (key), .type = (t), .offset = FIELD(ctype, member)
#define BOOL(m)                    ROW(CKPTI_T_BOOL, bool, #m, m)
#define WORD(tag, m)               ROW(CKPTI_T_WORD, enum tag, #m, m)
#define NUMBER(key, m)             ROW(CKPTI_T_NUMBER, unsigned, key, m)
#define SECONDS(m)                 ROW(CKPTI_T_SECONDS, uint64_t, #m, m)
#define SIZE(m)                    ROW(CKPTI_T_SIZE, uint64_t, #m, m)
#define RESERVE(m)                 ROW(CKPTI_T_RESERVE, struct ckpti_config_reserve, #m, m)
#define PORTS(m)                   ROW(CKPTI_T_PORTS, struct ckpti_config_ports, #m, m)
#define SIGNAL(m)                  ROW(CKPTI_T_SIGNAL, unsigned, #m, m)
#define PATH(key, m)               ROW(CKPTI_T_PATH, char *, key, m)
#define PATTERN(m)                 ROW(CKPTI_T_PATTERN, char *, #m, m)
#define PATHS(m)                   ROW(CKPTI_T_PATHS, struct ckpti_config_list, #m, m)
#define RULES(m)                   ROW(CKPTI_T_RULES, struct ckpti_config_list, #m, m)

/* clang-format off */
static const struct ckpti_key basics[] = {
	{BOOL(disabled), .flags = S, .value = "no", .doc =
	 "The kill switch: yes, and no checkpoint is begun any more and no step is prepared, "
	 "from this moment on. Jobs run as they would without the software. The file is read "
	 "again before each checkpoint, so no daemon needs to be told."},
	{PATTERN(directory), .flags = S | U | J, .value = ".", .doc =
	 "Where checkpoints go; each job step makes a directory of its own below it. %j stands "
	 "for the number of the job, %s for that of the step, %u for the user, %n for the "
	 "cluster, %% for a percent sign. A relative path begins at the working directory of "
	 "the job. It must be on a file system that all nodes share."},
	{PATHS(directories), .flags = S, .value = "", .doc =
	 "The directories below which checkpoints may lie, as absolute paths. With an empty "
	 "list any directory will do."},
};

static const struct ckpti_key course[] = {
	{SECONDS(interval), .flags = S | U | J | CKPTI_HAS_NEVER | CKPTI_HAS_AUTO, .value = "never",
	 .min = 1, .max = YEAR, .doc =
	 "Time from one checkpoint to the next. never: only when somebody asks. auto: the "
	 "square root of 2 x C x M, where C is what a checkpoint of this job step has cost, that "
	 "is the time for which the tasks stood still and a tenth of the time in which it "
	 "was then written, and M is node_mtbf divided by the number of its nodes; at least "
	 "min_interval, at most a day, and 10 minutes for the first one. It holds for steps that can be "
	 "checkpointed: those that were started with an option such as --checkpoint, or all "
	 "when plugstack.conf has the argument 'always', see spank_ckpt(8)."},
	{SECONDS(min_interval), .flags = S, .value = "10s", .min = 1, .max = DAY, .doc =
	 "The shortest interval that a user may ask for."},
	{SECONDS(node_mtbf), .flags = S, .value = "1825d", .min = HOUR, .max = 100 * YEAR, .doc =
	 "The mean time from one failure of a node to the next, for interval: auto. Count "
	 "everything that ends a job without warning, also outages of the network and of "
	 "file systems: with 1825d, five years, one of 1000 nodes fails every other day."},
	{NUMBER("jitter", jitter), .flags = S, .value = "10", .max = 50, .doc =
	 "Each interval is made longer or shorter by a random part of it, up to so many "
	 "percent, so that jobs that were started together do not all write at the same time."},
	{NUMBER("keep", keep), .flags = S | U | J, .value = "2", .min = 1, .max = 10000, .doc =
	 "How many checkpoints are kept. Older ones are removed when a new one is complete, "
	 "never before."},
	{NUMBER("max_keep", max_keep), .flags = S, .value = "100", .min = 1, .max = 10000, .doc =
	 "The largest keep that a user may ask for."},
	{SECONDS(expire), .flags = S | U | CKPTI_CEILING | CKPTI_HAS_NEVER, .value = "never",
	 .min = HOUR, .max = 10 * YEAR, .doc =
	 "Checkpoints of ended jobs that are older than this are removed when the same user's "
	 "next job step starts in the same directory. Those of jobs that Slurm still knows "
	 "stay."},
	{BOOL(delete_on_success), .flags = S | U, .value = "no", .doc =
	 "Remove all checkpoints of a job step when all of its tasks have ended with exit code "
	 "0."},
	{RULES(file_policy), .flags = U, .value = "",
	 .words = "merge ignore append replace substitute relocate", .doc =
	 "What becomes of open files at a restart, as 'GLOB=ACTION', where ACTION is merge, "
	 "ignore, append, replace, substitute or relocate: see --file-policy in cpr(1)."},
	{SIZE(copy_limit), .flags = S | U | MOST, .value = "64M", .max = 1ULL << 50, .doc =
	 "Open files up to this size are saved with their content, see --copy-limit in cpr(1). "
	 "A larger one on a node-local path makes the checkpoint fail with its name."},
	{BOOL(incremental), .flags = S | U, .value = "yes", .doc =
	 "A checkpoint refers to what an earlier one holds already where that pays. With no each "
	 "stores everything anew."},
	{SIGNAL(signal), .flags = U | J, .value = "none",
	 .words = "none HUP USR1 USR2 ALRM URG WINCH", .doc =
	 "A signal which, sent to the job step ('scancel --signal=USR1 JOB.STEP'), asks for a "
	 "checkpoint. The tasks receive it too, so it should be one that they ignore or "
	 "handle."},
};

static const struct ckpti_key limits[] = {
	{NUMBER("writers", writers), .flags = S, .value = "0", .max = 100000, .doc =
	 "How many tasks of a node write at the same time. 0: all of them."},
	{PATH("site_writers.directory", site_writers_directory), .flags = S, .value = "", .doc =
	 "A directory on a shared file system in which every user may lock files. Job steps "
	 "take turns there, so that only site_writers.count of them write at the same time on "
	 "the whole site."},
	{NUMBER("site_writers.count", site_writers_count), .flags = S,
	 .value = "0", .max = 10000, .doc =
	 "How many job steps write at the same time on the whole site. 0: any number."},
	{RESERVE(reserve), .flags = S, .value = "5%", .doc =
	 "Space that must stay free on the file system, or below the user's quota, as a size "
	 "or in percent. A checkpoint that would need it is skipped with a line that says so."},
	{RESERVE(memory_reserve), .flags = S, .value = "5%", .doc =
	 "Memory that must stay free below the job's limit, as a size or in percent, while a "
	 "checkpoint is written to a file system in memory. One that would need it is skipped "
	 "with a line that says so."},
	{PATHS(node_local), .flags = S, .value = "/tmp /var/tmp /dev/shm /run", .doc =
	 "Directories that each node has for itself. Open files there go into the checkpoint "
	 "or make it fail: on another node they would be missing."},
	{SECONDS(heartbeat), .flags = S, .value = "1s", .min = 1, .max = 30, .doc =
	 "How often the parts of a job step tell each other that they are alive."},
	{SECONDS(silence), .flags = S, .value = "3s", .min = 2, .max = 5 * MINUTE, .doc =
	 "A node that has not been heard of for this time makes a checkpoint that is under way "
	 "fail; the job step goes on. At least two heartbeats."},
	{SECONDS(muster_timeout), .flags = S, .value = "10s", .min = 1, .max = 5 * MINUTE, .doc =
	 "By then all tasks must stand still, or the checkpoint is given up and they go on."},
	{SECONDS(write_timeout), .flags = S | U | MOST,
	 .value = "1h", .min = MINUTE, .max = 7 * DAY, .doc =
	 "By then a checkpoint must be on disk, or it is given up. The tasks have long gone "
	 "on."},
	{SECONDS(max_wait), .flags = S | U, .value = "5m", .min = 1, .max = 7 * DAY, .doc =
	 "How long 'scontrol checkpoint' waits for the end of what it asked for when MaxWait= "
	 "is not given."},
	{NUMBER("parallel", parallel), .flags = S, .value = "8", .min = 1, .max = 10000, .doc =
	 "How many jobs are dealt with at the same time when root asks for all of some nodes, "
	 "of a partition or of a reservation."},
};

static const struct ckpti_key restart[] = {
	{WORD(ckpti_config_pids, restart_pids), .flags = S, .value = "userns",
	 .words = "userns off",
	 .doc =
	 "How restarted tasks get their old process numbers: in a user namespace of their own "
	 "(userns), or not at all, they get new ones (off). In a user namespace, files and "
	 "groups of other users look like nobody's, and programs that change their user "
	 "fail."},
	{WORD(ckpti_config_groups, restart_groups), .flags = S, .value = "allow",
	 .words = "allow new-pids refuse", .doc =
	 "What is done with tasks that are in supplementary groups when restart_pids is "
	 "userns, where these groups have no names and files cannot be given to them: restart "
	 "all the same (allow), with new process numbers and without a user namespace "
	 "(new-pids), or not at all (refuse)."},
	{SECONDS(fence), .flags = S, .value = "30s", .min = 5, .max = 20 * MINUTE, .doc =
	 "Tasks whose node cannot reach the directory of their job step for this time are "
	 "stopped; a restart waits as long for tasks which it does not know to be dead. So two "
	 "lives of a job step never write to the same files. At least twice silence."},
	{NUMBER("max_restarts", max_restarts), .flags = S | U | MOST,
	 .value = "3", .min = 1, .max = 1000, .doc =
	 "So many restarts from the same checkpoint, without a newer one, are tried; then the "
	 "checkpoint before it is used, and at last the job is held with the reason."},
	{BOOL(skip_done), .flags = U | J, .value = "no", .doc =
	 "When a job comes back, do not run those job steps again that had ended with exit "
	 "code 0, provided that their output went to a file of their own."},
};

static const struct ckpti_key end[] = {
	{BOOL(requeue_at_end), .flags = S | U | J, .value = "no", .doc =
	 "Before the time limit of a job that can be requeued, checkpoint it, end it and put "
	 "it back into the queue, so that a long run is a chain of jobs. Otherwise only a "
	 "checkpoint is made then."},
	{SECONDS(end_margin), .flags = S | U, .value = "1m", .min = 5, .max = DAY, .doc =
	 "The least time before the end of a job at which its last checkpoint begins. It "
	 "begins earlier when the ones before took more than half of it."},
	{SECONDS(end_poll), .flags = S, .value = "5m", .min = 5, .max = DAY, .doc =
	 "How often Slurm is asked for the end of a job, which administrators can change."},
	{SECONDS(requeue_wait), .flags = S, .value = "10m", .min = 1, .max = DAY, .doc =
	 "How long a job step that was ended for a requeue keeps its srun from returning to "
	 "the batch script, while Slurm ends the job."},
	{NUMBER("exit_code", exit_code), .flags = S, .value = "75", .min = 1, .max = 255, .doc =
	 "Exit code of such an srun when that time is over. 75 is EX_TEMPFAIL of sysexits.h."},
};

static const struct ckpti_key outside[] = {
	{WORD(ckpti_config_auth, auth), .flags = S, .value = "munge", .words = "munge", .doc =
	 "How the parts of a job step, and commands, prove who they are."},
	{PORTS(ports), .flags = S, .value = "slurm", .doc =
	 "TCP ports at which srun's host listens, as LOW-HIGH; slurm: the SrunPortRange of "
	 "slurm.conf, or any when that is not set."},
	{WORD(ckpti_config_log, log), .flags = S, .value = "syslog", .words = "syslog none", .doc =
	 "Where a line about each checkpoint and restart goes for administrators."},
	{BOOL(comment), .flags = S, .value = "yes", .doc =
	 "Put a summary (checkpoints good and failed, age of the last one) into the comment of "
	 "the job at its end."},
	{BOOL(quiet), .flags = U, .value = "no", .doc =
	 "Print no line for a checkpoint that went well. Failures are always printed."},
	{PATH("hook", hook), .flags = U, .value = "", .doc =
	 "A program that is run as the user beside srun after each checkpoint, good or bad, "
	 "with the arguments job number, step number, error code (0: good) and directory."},
	{SECONDS(hook_timeout), .flags = S | U | MOST, .value = "1m", .min = 1, .max = HOUR, .doc =
	 "The hook is killed after this time."},
};

#define SECTION(title, keys) {title, keys, sizeof(keys) / sizeof((keys)[0])}
const struct ckpti_section ckpti_sections[] = {
	SECTION("What can be checkpointed, and where to", basics),
	SECTION("When, and what is kept", course),
	SECTION("Limits of a checkpoint", limits),
	SECTION("Restart", restart),
	SECTION("End of a job", end),
	SECTION("Connections and messages", outside),
};
/* clang-format on */
const size_t ckpti_nsections = sizeof(ckpti_sections) / sizeof(ckpti_sections[0]);

#define COUNT(keys) (sizeof(keys) / sizeof((keys)[0]))
/* struct ckpti_config has an origin for each. */
_Static_assert(COUNT(basics) + COUNT(course) + COUNT(limits) + COUNT(restart) + COUNT(end) +
			       COUNT(outside) <=
		       CKPTI_CONFIG_MAX_KEYS,
	       "CKPTI_CONFIG_MAX_KEYS is too small");

const struct ckpti_key *ckpti_schema_key(size_t number)
{
	for (size_t i = 0; i < ckpti_nsections; i++) {
		if (number < ckpti_sections[i].n)
			return &ckpti_sections[i].key[number];
		number -= ckpti_sections[i].n;
	}
	return NULL;
}

size_t ckpti_schema_number(const struct ckpti_key *key)
{
	size_t number = 0;

	while (ckpti_schema_key(number) != key)
		number++;
	return number;
}

size_t ckpti_schema_group_len(const struct ckpti_key *key)
{
	const char *dot = strchr(key->name, '.');

	return dot ? (size_t)(dot - key->name) : 0;
}

const struct ckpti_key *ckpti_schema_find(const char *prefix, const char *name)
{
	const struct ckpti_key *key;
	size_t len = strlen(prefix);

	/* "group.name" is how we write it down, not how a file may. */
	if (strchr(name, '.'))
		return NULL;
	for (size_t i = 0; (key = ckpti_schema_key(i)); i++) {
		if (strncmp(key->name, prefix, len) == 0 && strcmp(key->name + len, name) == 0)
			return key;
	}
	return NULL;
}

const struct ckpti_key *ckpti_schema_group(const char *name)
{
	const struct ckpti_key *key;
	size_t len = strlen(name);

	for (size_t i = 0; (key = ckpti_schema_key(i)); i++) {
		if (len > 0 && ckpti_schema_group_len(key) == len &&
		    strncmp(key->name, name, len) == 0)
			return key;
	}
	return NULL;
}
