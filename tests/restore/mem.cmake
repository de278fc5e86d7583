# SPDX-License-Identifier: BSD-3-Clause
# Memory, threads, signals, clocks and timers.
ckpt_restore_test(mem_anon VARIANTS kill cont twice reboot reboot-back user fresh)
