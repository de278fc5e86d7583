/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handlers set in each way there is, before and after MPI_Init, and storms of signals while MPI works:
 * none ever finds another thread-local variable than the thread's own.
 */
#include <errno.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

static __thread unsigned long mine;
static unsigned long *own;
static volatile unsigned long count[65], wrong, off_stack;
static char alt_stack[65536];

static void look(int sig)
{
	count[sig]++;
	if (&mine != own)
		wrong++;
	else
		mine++;
	errno = 77; /* must not be seen by MPI's own libc */
}

static void handler(int sig)
{
	int saved = errno;

	look(sig);
	errno = saved;
}

static void on_alt_stack(int sig, siginfo_t *info, void *context)
{
	char here;
	int saved = errno;

	(void)context;
	if (&here < alt_stack || &here >= alt_stack + sizeof(alt_stack) || info->si_signo != sig)
		off_stack++;
	look(sig);
	errno = saved;
}

static void timer_for(int sig, long ns)
{
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = sig};
	struct itimerspec every = {{0, ns}, {0, ns}};
	timer_t timer;

	if (timer_create(CLOCK_MONOTONIC, &ev, &timer) != 0 ||
	    timer_settime(timer, 0, &every, NULL) != 0)
		abort();
}

int main(int argc, char **argv)
{
	struct sigaction act = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;
	stack_t stack = {.ss_sp = alt_stack, .ss_size = sizeof(alt_stack)};
	struct itimerval every = {{0, 700}, {0, 700}};
	static char a[65536], b[65536];
	MPI_Request request;
	int rank, ok;
	double end;

	own = &mine;
	sigaction(SIGUSR1, &act, NULL); /* before */
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	sigaction(SIGALRM, &act, NULL);
	if (signal(SIGUSR2, handler) != SIG_DFL)
		return 1;
	sigaltstack(&stack, NULL);
	act.sa_flags = SA_RESTART | SA_ONSTACK | SA_SIGINFO;
	act.sa_sigaction = on_alt_stack;
	sigaction(SIGRTMIN + 4, &act, NULL);
	/* What was set is what is seen. */
	ok = sigaction(SIGALRM, NULL, &old) == 0 && old.sa_handler == handler &&
	     sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == handler &&
	     signal(SIGUSR2, handler) == handler;
	setitimer(ITIMER_REAL, &every, NULL);
	timer_for(SIGUSR1, 900000);
	timer_for(SIGUSR2, 1100000);
	timer_for(SIGRTMIN + 4, 1300000);
	end = MPI_Wtime() + 3;
	while (MPI_Wtime() < end)
		for (int i = 0; i < 500; i++) {
			a[i] = (char)i;
			MPI_Irecv(b, sizeof(b), MPI_BYTE, 0, 1, MPI_COMM_SELF, &request);
			MPI_Send(a, sizeof(a), MPI_BYTE, 0, 1, MPI_COMM_SELF);
			MPI_Wait(&request, MPI_STATUS_IGNORE);
			ok &= b[i] == (char)i;
		}
	memset(&every, 0, sizeof(every));
	setitimer(ITIMER_REAL, &every, NULL);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGRTMIN + 4, SIG_IGN);
	ok &= count[SIGALRM] > 100 && count[SIGUSR1] > 100 && count[SIGUSR2] > 100 &&
	      count[SIGRTMIN + 4] > 100;
	if (ok && wrong == 0 && off_stack == 0)
		printf("passed %d\n", rank);
	else
		printf("rank %d: ok %d, signals %lu %lu %lu %lu, %lu on the wrong thread pointer, %lu off "
		       "the stack\n",
		       rank, ok, count[SIGALRM], count[SIGUSR1], count[SIGUSR2],
		       count[SIGRTMIN + 4], wrong, off_stack);
	MPI_Finalize();
	return 0;
}
