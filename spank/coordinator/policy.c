/* SPDX-License-Identifier: BSD-3-Clause */
/* See policy.h. */
#include "spank/coordinator/policy.h"

#include <inttypes.h>
#include <stdio.h>

#define AUTO_FIRST 600 /* seconds, as long as nothing is known */
#define AUTO_MOST  86400
#define SLOW_PART \
	10 /* of the time in which it is written, a running program loses one part in so many */
#define LOOK_MS 5000 /* agents look at the directory that often, see pause_ms() there */
#define KILL_MS 1000 /* and then kill their tasks */

int64_t ckpti_policy_jitter_ms(uint64_t seconds, unsigned percent, uint32_t random)
{
	int64_t ms = seconds > INT32_MAX ? (int64_t)INT32_MAX * 1000 : (int64_t)seconds * 1000;
	int64_t span = ms * percent / 100;

	return ms - span + (int64_t)((double)random / UINT32_MAX * 2.0 * (double)span);
}

/* Integer square root: no libm for one number. */
static uint64_t root(uint64_t n)
{
	uint64_t r = 0;

	for (uint64_t bit = 1ULL << 31; bit; bit >>= 1)
		if ((r | bit) * (r | bit) <= n)
			r |= bit;
	return r;
}

uint64_t ckpti_policy_cost(uint64_t stop_us, uint64_t durable_us)
{
	return stop_us + (durable_us > stop_us ? (durable_us - stop_us) / SLOW_PART : 0);
}

/*
 * The first order optimum of Young and Daly, sqrt(2 × cost × time between failures): what checkpoints cost is
 * then as much as what failures do.  A step fails as often as its nodes do together.
 */
uint64_t ckpti_policy_auto_interval(uint64_t cost_us, uint64_t node_mtbf, unsigned nodes,
				    uint64_t min_interval)
{
	uint64_t s = AUTO_FIRST;

	if (cost_us > 0 && nodes > 0)
		s = root(2 * (node_mtbf / nodes) * ((cost_us + 999) / 1000) / 1000);
	if (s > AUTO_MOST)
		s = AUTO_MOST;
	return s < min_interval ? min_interval : s;
}

uint64_t ckpti_policy_margin(uint64_t end_margin, uint64_t last_durable_us, int64_t job_s)
{
	uint64_t margin = (2 * last_durable_us + 999999) / 1000000;

	if (margin < end_margin)
		margin = end_margin;
	/* Or each link of a chain of jobs would end as soon as it has begun. */
	if (job_s > 0 && margin > (uint64_t)job_s * 3 / 4)
		margin = (uint64_t)job_s * 3 / 4;
	return margin;
}

enum ckpti_end_action ckpti_policy_end(const struct ckpti_end_facts *f)
{
	if (!f->running)
		return CKPTI_END_NOTHING;
	if (f->preempted)
		return f->requeue ? CKPTI_END_VACATE : CKPTI_END_SAVE;
	if (f->end_time == 0 || f->end_time <= f->now ||
	    (uint64_t)(f->end_time - f->now) > f->margin)
		return CKPTI_END_NOTHING;
	return f->chain && f->requeue ? CKPTI_END_REQUEUE : CKPTI_END_SAVE;
}

enum ckpti_restart_action ckpti_policy_restart(struct ckpti_restarts *r, uint64_t gen,
					       uint64_t older, unsigned max)
{
	if (r->gen != gen) {
		/* A newer one is progress; an older one is where we went ourselves. */
		r->back = gen < r->gen && r->back;
		r->gen = gen;
		r->count = 1;
		return CKPTI_RESTART_USE;
	}
	if (r->count < max) {
		r->count++;
		return CKPTI_RESTART_USE;
	}
	if (!r->back && older) {
		*r = (struct ckpti_restarts){.gen = older, .count = 1, .back = true};
		return CKPTI_RESTART_BACK;
	}
	/* Who releases the job wants it to be tried again. */
	r->count = 0;
	r->back = false;
	return CKPTI_RESTART_HOLD;
}

int64_t ckpti_policy_fence_ms(int64_t alive, int64_t taken, int64_t now, uint64_t fence_s)
{
	int64_t fence = (int64_t)fence_s * 1000, look = fence / 4 < LOOK_MS ? fence / 4 : LOOK_MS;
	int64_t until;

	/* A sign of life from the future is a clock that was set, and says nothing. */
	if (alive > taken)
		alive = taken;
	until = alive + fence;
	if (until < taken + look + KILL_MS)
		until = taken + look + KILL_MS;
	return until > now ? until - now : 0;
}

const char *ckpti_policy_size(uint64_t bytes, char *ret)
{
	static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double value = (double)bytes;
	size_t i = 0;

	while (value >= 1024.0 && i + 1 < sizeof(unit) / sizeof(unit[0])) {
		value /= 1024.0;
		i++;
	}
	(void)snprintf(ret, 32, i > 0 && value < 9.95 ? "%.1f %s" : "%.0f %s", value, unit[i]);
	return ret;
}

const char *ckpti_policy_duration(uint64_t us, char *ret)
{
	double s = (double)us / 1e6;

	if (us < 10000)
		(void)snprintf(ret, 32, "%.1f ms", (double)us / 1e3);
	else if (us < 1000000)
		(void)snprintf(ret, 32, "%.0f ms", (double)us / 1e3);
	else if (s < 100)
		(void)snprintf(ret, 32, "%.1f s", s);
	else
		(void)snprintf(ret, 32, "%.0f s", s);
	return ret;
}

const char *ckpti_policy_age(int64_t seconds, char *ret)
{
	if (seconds < 0)
		seconds = 0;
	if (seconds < 120)
		(void)snprintf(ret, 32, "%" PRId64 " s", seconds);
	else if (seconds < 7200)
		(void)snprintf(ret, 32, "%" PRId64 " min", seconds / 60);
	else if (seconds < 172800)
		(void)snprintf(ret, 32, "%" PRId64 " h", seconds / 3600);
	else
		(void)snprintf(ret, 32, "%" PRId64 " d", seconds / 86400);
	return ret;
}
