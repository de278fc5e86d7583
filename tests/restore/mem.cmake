# SPDX-License-Identifier: BSD-3-Clause
# Memory, threads, signals, clocks and timers.
ckpt_restore_test(mem_anon VARIANTS lazy kill cont twice reboot reboot-back user bare fresh)
ckpt_restore_test(mem_shared VARIANTS lazy kill cont twice reboot user bare)
ckpt_restore_test(mem_sparse VARIANTS lazy kill cont user bare)
ckpt_restore_test(mem_memfd)
ckpt_restore_test(mem_shm VARIANTS kill cont twice reboot user bare fresh)
ckpt_restore_test(mem_file VARIANTS lazy kill cont twice reboot user bare fresh)
ckpt_restore_test(mem_protect VARIANTS lazy kill cont twice reboot user bare)
ckpt_restore_test(mem_rights VARIANTS kill cont user bare)
ckpt_restore_test(mem_flags VARIANTS lazy kill cont twice reboot user bare)
# Only root can provide huge pages, which are the whole machine's.
ckpt_restore_test(mem_huge VARIANTS kill cont twice bare LOCK huge_pages)
# Not as a user: ulimit -l.
ckpt_restore_test(mem_future VARIANTS kill cont twice bare)
ckpt_restore_test(mem_future_onfault PROGRAM mem_future ARGS onfault VARIANTS kill twice)
ckpt_restore_test(mem_many)
ckpt_restore_test(mem_large VARIANTS lazy kill twice user bare)
ckpt_restore_test(mem_lazy VARIANTS kill lazy bare user)

ckpt_restore_test(mem_pinned)
ckpt_restore_test(mem_data_set VARIANTS no-restart)
ckpt_restore_test(mem_data_set_untouched PROGRAM mem_data_set ARGS untouched VARIANTS kill twice user bare)
ckpt_restore_test(mem_exclude VARIANTS lazy kill cont twice reboot user bare LIBS ckpt)
ckpt_restore_test(mem_hot VARIANTS kill cont twice user)
ckpt_restore_test(mem_hot_direct PROGRAM mem_hot ARGS direct VARIANTS kill)

ckpt_restore_test(threads ARGS 64 VARIANTS lazy kill cont twice reboot user bare fresh)
ckpt_restore_test(threads_512 PROGRAM threads ARGS 512 VARIANTS kill cont user bare)
ckpt_restore_test(threads_1 PROGRAM threads ARGS 1)
ckpt_restore_test(thread_locks)
ckpt_restore_test(thread_fork VARIANTS cont user bare)
ckpt_restore_test(membarrier VARIANTS kill cont twice user bare)
ckpt_restore_test(thread_regs LIBS m VARIANTS kill cont twice reboot user bare fresh)

ckpt_restore_test(sig_actions VARIANTS kill cont twice reboot user bare fresh)
# The kernel counts the waiting signals of a user, not of a process.
ckpt_restore_test(sig_pending LOCK waiting_signals)
ckpt_restore_test(sig_pending_many PROGRAM sig_pending ARGS 6000 VARIANTS no-checkpoint
  LOCK waiting_signals)

set(all kill cont twice reboot user bare)
ckpt_restore_test(clocks VARIANTS ${all} reboot-back)
ckpt_restore_test(timers VARIANTS ${all} reboot-back)
ckpt_restore_test(timer_thread)
ckpt_restore_test(itimers)
ckpt_restore_test(sleeps VARIANTS ${all} reboot-back)
