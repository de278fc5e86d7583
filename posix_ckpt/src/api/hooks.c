/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plug-ins: the agent walks a short array of pointers while the process stands still.  It changes under
 * a hold, and keeps the order of registration.
 */
#include <errno.h>

#include "agent/agent.h"
#include "api/api_private.h"
#include "ckpt_hooks.h"

static size_t find(const struct ckpt_hooks *hooks)
{
	size_t i = 0;

	while (i < ckpti_agent.nhooks && ckpti_agent.hooks[i] != hooks)
		i++;
	return i;
}

static int check(const struct ckpt_hooks *hooks, struct ckpti_err *err)
{
	if (!hooks || hooks->version != CKPT_HOOKS_VERSION || !hooks->name)
		return ckpti_err(err, -EINVAL, "a plug-in has no name or is not of version %d",
				 CKPT_HOOKS_VERSION);
	return 0;
}

static int add(const struct ckpt_hooks *hooks, struct ckpti_err *err)
{
	int r = 0;

	ckpti_api_lock();
	if (find(hooks) < ckpti_agent.nhooks) {
		r = ckpti_err(err, -EINVAL, "plug-in '%s' is registered already", hooks->name);
	} else if (ckpti_agent.nhooks == CKPTI_MAX_HOOKS) {
		r = ckpti_err(err, -ENOSPC, "plug-in '%s': there are %d already", hooks->name,
			      CKPTI_MAX_HOOKS);
	} else {
		ckpti_hold_enter();
		ckpti_agent.hooks[ckpti_agent.nhooks] = hooks;
		ckpti_agent.nhooks++;
		ckpti_hold_leave();
	}
	ckpti_api_unlock();
	return r;
}

static int remove_hooks(const struct ckpt_hooks *hooks, struct ckpti_err *err)
{
	size_t i;
	int r = 0;

	ckpti_api_lock();
	i = find(hooks);
	if (i == ckpti_agent.nhooks) {
		r = ckpti_err(err, -ENOENT, "this plug-in is not registered");
	} else {
		ckpti_hold_enter();
		for (; i + 1 < ckpti_agent.nhooks; i++)
			ckpti_agent.hooks[i] = ckpti_agent.hooks[i + 1];
		ckpti_agent.nhooks--;
		ckpti_hold_leave();
	}
	ckpti_api_unlock();
	return r;
}

int ckpt_hooks_register(const struct ckpt_hooks *hooks)
{
	struct ckpti_err err = {0};
	int r = check(hooks, &err);

	if (r == 0)
		r = add(hooks, &err);
	return r < 0 ? ckpti_api_fail(CKPT_AT_CALL, r, &err) : 0;
}

int ckpt_hooks_remove(const struct ckpt_hooks *hooks)
{
	struct ckpti_err err = {0};
	int r = remove_hooks(hooks, &err);

	return r < 0 ? ckpti_api_fail(CKPT_AT_CALL, r, &err) : 0;
}
