/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/hand_on.h"

#include <string.h>
#include <unistd.h>

#include "core/set.h"

#define MOMENT_NS 100000000U /* in which all processes of a job get a signal that goes to all */

void ckpti_hand_on_signals(sigset_t *ret)
{
	static const int plain[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM,  SIGUSR1, SIGUSR2, SIGALRM,
				    SIGCONT, SIGTSTP, SIGURG,  SIGWINCH, SIGXCPU, SIGPWR};

	(void)sigemptyset(ret);
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		(void)sigaddset(ret, plain[i]);
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		(void)sigaddset(ret, sig);
}

void ckpti_hand_on_start(struct ckpti_hand_on *h, int root)
{
	memset(h, 0, sizeof(*h));
	h->root = root;
	/* In a private pid namespace a group from outside has the number 0. */
	h->own_group = getpgid(root) != getpgrp();
	if (h->own_group)
		(void)setpgid(0, 0);
}

void ckpti_hand_on_wanted(struct ckpti_hand_on *h, int signo)
{
	if (signo <= 0 || signo >= _NSIG)
		return;
	if (h->sig[signo].seen) {
		h->sig[signo].seen--;
		return;
	}
	if (!h->sig[signo].wanted++)
		h->sig[signo].due_ns = ckpti_now_ns() + MOMENT_NS;
}

void ckpti_hand_on_seen(struct ckpti_hand_on *h, int signo)
{
	if (h->sig[signo].wanted) {
		h->sig[signo].wanted--;
		return;
	}
	if (!h->sig[signo].seen++)
		h->sig[signo].due_ns = ckpti_now_ns() + MOMENT_NS;
}

/* A group of the root's own gets it as it would from a terminal or a batch system. */
static void send(const struct ckpti_hand_on *h, int signo)
{
	int group = h->own_group && h->root ? getpgid(h->root) : 0;

	if (group > 1)
		(void)kill(-group, signo);
	else if (h->root)
		(void)kill(h->root, signo);
}

int ckpti_hand_on_due(struct ckpti_hand_on *h)
{
	uint64_t now = ckpti_now_ns(), next = UINT64_MAX;

	for (int sig = 1; sig < _NSIG; sig++) {
		if (!h->sig[sig].wanted && !h->sig[sig].seen)
			continue;
		if (now < h->sig[sig].due_ns) {
			next = h->sig[sig].due_ns < next ? h->sig[sig].due_ns : next;
			continue;
		}
		for (; h->sig[sig].wanted; h->sig[sig].wanted--)
			send(h, sig);
		h->sig[sig].seen = 0;
	}
	return next == UINT64_MAX ? -1 : (int)((next - now) / 1000000) + 1;
}
