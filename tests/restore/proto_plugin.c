/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A plug-in's threads, descriptor, mapping and timer are left out: the threads run on while everybody
 * else stands, nothing of them is in the restarted process except what the plug-in made anew.  The
 * program's own thread, descriptor and timer are restored.
 */
#include "proto_plugin.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "t.h"

static int own_pipe[2];
static uint64_t own_beats, end;

static void *own_thread(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&end, __ATOMIC_SEQ_CST)) {
		__atomic_add_fetch(&own_beats, 1, __ATOMIC_SEQ_CST);
		t_sleep_ms(2);
	}
	return &own_beats;
}

static int tasks(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = 0;

	t_check(d, "no /proc/self/task");
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n - 2;
}

static void alive(const uint64_t *count, const char *who)
{
	uint64_t before = __atomic_load_n(count, __ATOMIC_SEQ_CST);

	for (int i = 0; i < 500; i++) {
		if (__atomic_load_n(count, __ATOMIC_SEQ_CST) > before + 2)
			return;
		t_sleep_ms(10);
	}
	t_fail("%s does not run", who);
}

int main(void)
{
	struct plugin_view *v = &plugin_view, before;
	struct itimerspec left, want = {.it_value.tv_sec = 3600};
	struct sigevent ev = {.sigev_notify = SIGEV_NONE};
	pthread_t thread;
	timer_t timer;
	uint64_t word;
	void *ret;

	t_start();
	plugin_start(3);
	t_check(v->odd == 0 && v->fd > 2, "the plug-in does not start");
	t_sys(timer_create(CLOCK_MONOTONIC, &ev, &timer));
	t_sys(timer_settime(timer, 0, &want, NULL));
	t_sys(pipe2(own_pipe, O_CLOEXEC));
	word = t_token();
	t_sys(write(own_pipe[1], &word, sizeof(word)));
	t_check(pthread_create(&thread, NULL, own_thread, NULL) == 0, "pthread_create");
	alive(&v->beats[0], "first thread of the plug-in");
	before = *v;
	t_ready();
	t_check(v->image > 0, "before_image was not called");
	t_check(v->quiesce >= v->image + 3, "quiesce was called %u times for %u checkpoints",
		v->quiesce, v->image);
	t_check(v->after_continue + v->after_restart == v->image,
		"%u images, but the plug-in heard of %u that went on and %u restarts", v->image,
		v->after_continue, v->after_restart);
	t_check(v->odd == 0, "%u hooks came out of order", v->odd);
	t_check(tasks() == 2 + PLUGIN_THREADS, "there are %d tasks", tasks());
	for (int i = 0; i < PLUGIN_THREADS; i++)
		alive(&v->beats[i], "a thread of the plug-in");
	alive(&own_beats, "the program's thread");
	t_check(v->fd == before.fd && inotify_add_watch(v->fd, "/", IN_CREATE) >= 0,
		"the plug-in's descriptor: %m");
	t_check(v->map == before.map, "the plug-in's mapping has moved");
	*(volatile char *)v->map = 1;
	t_sys(timer_gettime(timer, &left));
	t_check(left.it_value.tv_sec > 3000, "the program's timer has %ld s left",
		left.it_value.tv_sec);
	t_check(read(own_pipe[0], &word, sizeof(word)) == sizeof(word) && word == t_token(),
		"the program's pipe");
	plugin_stop();
	end = 1;
	t_check(pthread_join(thread, &ret) == 0 && ret == &own_beats, "pthread_join");
	t_done();
}
